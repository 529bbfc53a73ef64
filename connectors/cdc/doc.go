// Package cdc turns the records of change topics into changes. It holds the registry of formats, the options common
// to all decoders, and the detection of a topic's format; each format has its room below (debezium, …), and formats
// puts them all into one registry.
//
// What it is not: it reads no broker, keeps no state that decides over data (a decoder that is thrown away and made
// anew gives the same changes, D7), and applies nothing.
//
// A decoder is a pure function of the record, with caches. It is owned by one goroutine; what it gives out points
// into the record and into slabs that are never reused, so it may be kept, but keeping a short text keeps what it
// points into: clone what outlives a batch.
//
// Failure modes: a record without meaning gives a *connectors.DecodeError (a dead letter), never a panic, whatever its
// bytes; memory is bounded by the record's size times a constant, nesting by js.MaxDepth.
package cdc
