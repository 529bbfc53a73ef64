// Package fold holds the rules by which the changes of one key become one row: which of two changes is the newer, what
// is carried over when an event does not tell a column's value, what a key change, a truncate or a key shift inside one
// transaction mean. Everything here is a pure function of its arguments: no clock, no store, no goroutine.
//
// Laws, which the property tests check against a simulated database:
//
//	commutative   the order in which the events of a key arrive does not matter, within the allowed lateness
//	associative   cutting the input into batches anywhere does not matter (D7)
//	idempotent    an event that was merged before changes nothing, not even _event_id
//
// Key types: Seq (the bytes of column _cdc_sequence), Stamp (a Seq taken apart, with what is known of its quality), Hash
// (96 bits that stand for a key, the same whatever width the key's columns have), Lineages (which epoch an event belongs to).
package fold
