// Package cli is the command line: it reads arguments and settings, calls the rooms, and says what came out in words or, with
// --output json, in JSON. Errors are printed once, here, and turned into an exit code.
//
// What it is not: the node itself is put together in cmd/sluice/node, the sample pipeline in cmd/sluice/dev.
package cli
