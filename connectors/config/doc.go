// Package config says what connectors can be configured with: the definitions that the REST API shows and
// validates, and the typed, checked form that workers run with.
package config
