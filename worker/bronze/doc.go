// Package bronze appends the records of topics to append-only Delta tables and reads them back as changes.
//
// Purpose: every offset of every partition that this node owns is in the topic's bronze table once, with all that is
// needed to decode it again, and the offset to go on from is in the same Delta commit as the rows (D1).
//
// What it is not: it reads no broker (a pump hands it batches), knows no cluster, and never waits for silver.
//
// # Key types
//
// An Appender owns what this node appends to one table for one topic. Each partition that is joined to it has a Partition:
// its pump's goroutine decodes and buffers rows there. When the interval or the size is reached the Appender cuts a
// chunk: what all partitions have, rows sorted by (partition, offset), one Parquet file, one commit with one txn per
// partition. While one chunk is committed the next is encoded and a third fills; no more (D9).
//
// # Goroutines
//
// Two per Appender, started by Run: the cutter (encodes and uploads) and the committer (dead letters, then the commit,
// in order). Pumps belong to the caller.
//
// # Failure modes
//
// A store that fails for a while: the chunk at hand is tried again without end, with growing pauses; the Appender says
// so in Trouble, and pumps block as buffers are full. A txn that is not what it was (another node writes the partition,
// D2): all chunks in flight are dropped, and each Partition tells its pump to read on from the table (ErrReseek). An outcome
// that is not known (D3): the table is read until it is, and no file is deleted. A refusal for good (permission, a table
// that is no table of ours): the Appender ends with the error.
package bronze
