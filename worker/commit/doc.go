// Package commit brings appended files into Delta tables for all writers of a node: one Tables holds each table open once,
// and one committer at a time speaks for it.
//
// Purpose: D2 and D3 for appends, in one place. An append carries its files and the steps of progress that they make; it
// is in the table once, or the caller learns that the progress is another's. An unknown outcome is settled here by
// reading the table, never by deleting files.
//
// What it is not: it decides nothing about what is appended or when, and knows no Kafka.
//
// Failure modes: Transient tells errors that pass (a store that does not answer, a full disk) from those that do not (a
// refusal, a table that cannot be written).
package commit
