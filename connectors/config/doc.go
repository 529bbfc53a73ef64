// Package config says what connectors can be configured with: the definitions that the REST API shows and
// validates, and the typed, checked form that workers run with.
//
// It follows Kafka Connect's ConfigDef so closely because forms are drawn from the definitions and scripts match on
// the messages: types, groups, orders, and the text of each error are Connect's. One pass (evaluate) serves both
// Check, which shows what is wrong for REST, and Parse, which gives the Sink or lists all problems: they cannot
// disagree.
//
// Key types: Definition (a key), Plugin and Registry (what a configuration can name by class), Report (the answer of
// a validation), Sink (the parsed form), Defaults (what the node's settings add).
//
// Secrets: ${env:VAR}, ${file:path:key} and ${directory:path:file} are resolved on the node that parses. Reports and
// errors show the reference, never what it stands for; PASSWORD values are shown as [hidden].
//
// What it is not: it reaches neither store nor broker (Reach is a port for that), starts no goroutine and keeps no
// state. Everything is safe for concurrent use once a Registry is filled.
package config
