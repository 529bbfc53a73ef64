// Package delta is the Delta Lake protocol: the log of a table, read and written. The rows are the business of its
// sub-packages (rows: data files, dv: deletion vectors, vacuum) and of connectors/columnar.
//
// It answers "which files are the table at version n" (Table, Snapshot), "make version n+1" (Commit, Outcome), and looks after
// the log (Checkpoint, WriteChecksum, PlanCleanup, Upkeep). What it is not: it starts no goroutine that outlives a call, it
// decides nothing about when to commit, compact or clean up, and it does not coordinate: any number of processes, ours or others,
// may write one table, and the store's put-if-absent decides.
//
// # Snapshots
//
// A Snapshot is immutable. Files, tombstones and txns are persistent hash tries (hamt), so that the snapshot after a commit
// costs what the commit costs, whatever the size of the table, and old snapshots can be held for nothing. Table.Snapshot follows
// the log from the newest snapshot it knows; with none it reads the newest checkpoint that is whole and the commits after it, and
// works around a hint or checkpoint that is missing, stale or damaged as long as the commits allow it. Compactions are read in
// place of the commits they cover, unless they list a logical file twice.
//
// # Commits
//
// D2: Progress makes a commit depend on a txn; Do checks it on every version that it tries to continue. D3: an Outcome is one of
// three. After a write of unknown outcome the version is read back and the commitInfo's txnId compared; the same bytes are put
// again at the same version, and no other version is tried before this one is known to be someone else's. A commit that met
// another one is put after it when they do not conflict (conflicts: delta.md §4.2): appends, changes of different files, and
// deletions of different rows of one file, whose vectors are merged. Before every put the commit is checked against the rules of
// delta.md Appendix B; an error names the rule.
//
// # Failure modes
//
// CorruptError names table, version, file and place. UnsupportedError names the feature and who could read the table. Errors
// of a lost race wrap ErrConflict. Errors of the store come through wrapped (store.ErrPermission and so on). A reader that has
// slept longer than the log's retention does not take a log that was cleaned up behind it for a quiet one (Table.trusted).
//
// # Concurrency
//
// Table and Snapshot are safe for concurrent use; a Commit belongs to one goroutine. Reading a log keeps up to eight files in
// memory; writing a checkpoint keeps one row group.
package delta
