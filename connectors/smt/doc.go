// Package smt runs the Kafka Connect transforms that make sense for a sink of tables, on decoded changes: ReplaceField,
// MaskField and InsertField ($Value: both images; $Key: the keys), Filter, RegexRouter, with the predicates
// TopicNameMatches, HasHeaderKey and RecordIsTombstone. Class names and settings are those of Kafka Connect.
//
// What it is not: a host for foreign Java classes; and no transform sees bytes, since decoding comes first. What bronze
// keeps of a record is decided by who calls (the record's bytes are never changed here).
//
// A Chain is compiled once from a connector's configuration. It is owned by one goroutine: it caches, per row shape,
// what each transform does. Rows are never changed in place: they may be shared.
package smt
