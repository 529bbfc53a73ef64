// Package rows reads and writes the rows of Delta tables: data files as Arrow records, with partition values, deletion
// vectors, column mapping and type widening applied, files and row groups skipped by statistics, and new data files with
// the statistics that the log wants.
//
// What it is not: it makes no commit (package delta) and knows no SQL beyond conditions on columns
// and literals.
//
// Key types: Options and Batch of Scan, Predicate, WriteOptions.
//
// Goroutines: a Scan runs at most Options.Parallel readers, each at most two batches ahead, and ends them all before it
// returns. Batches come in the order of files and of rows in a file whatever the parallelism.
//
// Invariant: a row's position is its place in its Parquet file. Row groups are skipped and rows are filtered after the
// positions are known, never before (delta.md, Appendix C).
package rows
