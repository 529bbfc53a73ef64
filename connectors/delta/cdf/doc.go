// Package cdf reads and writes the change data feed of Delta tables (PROTOCOL.md, "Change Data Files"; delta.md §3): which
// rows each version inserted, updated and deleted.
//
// A version that has change files is read from them alone. Of any other the changes are derived: rows of an added file are
// inserts, rows of a removed one deletes, and where a file is removed and added again with another deletion vector, the
// rows by which the vectors differ.
//
// The rows have the columns of the newest version (Shape).
//
// It starts no goroutines.
package cdf
