// Package columnar is where rows become columns and columns become Parquet files, and back: the mapping of Delta types
// to Arrow and Parquet, builders that take values of changes, files with the statistics that the Delta log wants, and the
// canonical JSON that tables are compared in.
//
// What it is not: it knows no table, no log and no store (package delta), and starts no goroutine but those of a Writer with Options.Parallel, which end with Write. The bytes of the
// Parquet format are package parquet's, below it.
//
// Key types: Builder (values in, arrow.Record out), Writer (records in, Parquet and FileStats out), File (Parquet in,
// records out, in the file's own schema or in that of a table: missing columns are null, narrower types are widened,
// legacy encodings are understood), Projection (which part of a schema is read).
//
// Memory: arrays live in ordinary Go memory and are never reused, so values that point into them stay valid; Release
// of records is harmless and not needed. Builder, Writer and iterators belong to one goroutine; File may be read by many.
//
// Failure modes: a value of another type than its column's is ErrKind, and nothing was appended; a file that is not what
// the format says wraps parquet.ErrCorrupt; a file whose columns cannot be read as the table's types wraps ErrType.
package columnar
