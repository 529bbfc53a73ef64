// Package state keeps, in the lake and beside the table, what a merge must remember but the table's rows do not show:
// tombstones, truncates, epochs, halves of key changes, open transactions, deletes whose tombstone record is to come.
//
// A state object <table>/_sluice/state/<m> is written once, put-if-absent, before the commit of merge m. The commit's txn
// action sluice/<connector>/state = m makes exactly this object the valid one, atomically with the rows: a crash between
// the two leaves an object that nothing refers to. It lists segments of tombstones, immutable too, and holds the rest
// inline. VACUUM of other engines leaves folders alone whose name begins with an underscore, and OPTIMIZE does not touch txn
// actions, so it survives both.
//
// Key types: State (decoded), Tomb, Segment, Store (reads, writes and cleans up the objects). The bytes are ours and
// versioned; a golden test holds them fast.
package state
