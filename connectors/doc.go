// Package connectors is the vocabulary of data: what a record, a change, a value and a position are, and how a
// plugin says what it can be configured with. The rooms below it answer one question, "what do outside bytes
// mean?": kafka (the broker), cdc (change formats), smt (transforms), columnar (Arrow and Parquet), store
// (objects), delta (the table format).
//
// What it is not: it starts no goroutine on the data path, knows no cluster and serves no HTTP. Everything here
// can be used, tested and fuzzed without a broker, a node or a disk.
//
// Key types, in the order in which a record meets them: Record (bytes and Kafka coordinates), Change (what one
// event says of one row or table), Row and Value (four states: present, NULL, unavailable, absent), Position
// (where in the source's log, as bytes that compare).
package connectors
