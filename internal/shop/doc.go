// Package shop is a database that lives: customers, orders and order lines of a small web shop, with the change events
// that a Debezium PostgreSQL connector (3.x, JSON converter) would emit for it. `sluice dev` shows it, the kill test and
// the benchmarks feed on it.
//
// It is deterministic: the same Options give the same records at the same offsets, byte for byte, so that a run can
// be continued after a crash (Save, Load, and skipping what the broker already has) and so that a test knows what
// must come out: Expected says which rows each table has now, DeadLetters which records nobody can decode. It shares
// no code with the product: it is the independent model.
//
// Its life is not a smooth one. Besides inserts, updates and deletes with tombstones there are changes of primary keys
// (delete, tombstone and create with the headers of Debezium), rows that are created again under a key used before,
// several changes of one row in one transaction, truncates, repeats after a pretended restart of the connector (the
// same positions at later offsets), events that come late over another partition, and records that are malformed.
//
// What it is not: a generator of load of any shape (that is cmd/sluice/bench), nor a client of Kafka (that is the
// package feed below). A Shop is used by one goroutine.
package shop
