// Package settings reads what one node is told: defaults, then the file, then SLUICE_* of the environment, then flags,
// each overruling those before. The same name is used everywhere: rest.listen in sluice.yaml (nested or dotted) is
// SLUICE_REST_LISTEN and --rest-listen.
//
// An unknown name or a value that does not fit is an error that names the setting, where it was said, what was
// found, and the way out. All errors are told at once.
//
// It is not the configuration of connectors: that comes by REST and is the question of connectors/config.
package settings
