// Package silver merges changes into silver tables: the current state of a source table, one row for each key, in Delta
// tables that any engine reads. Its question: which row is right, whatever the order in which events arrive, and how does
// the table get it at a cost that follows the change and not the table?
//
// The way of a batch through Merge:
//
//	gather    each change gets its sequence and its key's hash; columns follow (package evolve); poison becomes dead letters
//	decide    changes are grouped by key. Nearly every key is decided here: newest change against the key index (package
//	          index), without a read. The others are
//	fold      put together with the located row, the old key's row, what the state remembers (packages fold, state)
//	emit      new images become columns and one Parquet file; positions of old images become deletion vectors, all in one
//	          file (or, under copy-on-write, the files are written anew without them)
//	commit    one Delta commit with the progress of each feed (D1, D2) and the number of the state object; then, and only
//	          then, the index follows (D8)
//
// What it is not: it reads no Kafka and no bronze (worker's runtime hands it changes), owns no goroutine between calls, and
// agrees with nobody: two Mergers of one table do no harm, since one of them loses every commit (D2).
//
// Key types: Merger (one table), Batch (changes of one bronze version), Result.
//
// Failure modes: a store that fails makes Merge fail without effect, call it again; a commit of unknown outcome (D3) is
// resolved by reading the table; ErrFenced says that somebody else has merged the same feed: stop, and seek again from
// Progress of a Merger opened anew. Foreign commits (OPTIMIZE, DELETE by hand) are followed by re-reading what they
// changed; an index that does not agree with the table's row count is rebuilt, with an error in the log.
package silver
