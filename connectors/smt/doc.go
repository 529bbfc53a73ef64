// Package smt runs the Kafka Connect transforms that make sense for a sink of tables, on decoded changes: ReplaceField,
// MaskField and InsertField ($Value: both images; $Key: the keys), Filter, RegexRouter, with the predicates
// TopicNameMatches, HasHeaderKey and RecordIsTombstone. Class names and settings are those of Kafka Connect.
//
// Behind the transforms it runs silver.columns.computed, a map of CEL from column to expression, silver.filter, an expression over the row, and the masks of silver.columns.mask.
//
// Key types: Chain (all of that, compiled by New), Wrap (a Decoder that runs a Chain on what another one decodes), Router (what
// RegexRouters do to names of topics, without a record). Failure: a change that can't be transformed makes its record a dead letter of stage
// transform; a configuration that can't be compiled gives a ConfigError for each key.
//
// What it is not: a host for foreign Java classes; and no transform sees bytes, since decoding comes first. What bronze
// keeps of a record is decided by who calls (the record's bytes are never changed here).
//
// A Chain is compiled once from a connector's configuration. It is owned by one goroutine: it caches, per row shape,
// what each transform does. Rows are never changed in place: they may be shared.
package smt
