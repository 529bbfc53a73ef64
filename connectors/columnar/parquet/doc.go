// Package parquet reads and writes the bytes of Parquet files: footers, pages, levels, encodings. It knows neither Arrow
// nor Delta; package columnar above it does.
//
// Why not the Parquet half of arrow/go v17: it loses field ids on groups, forces list elements to be nullable, knows no
// BYTE_STREAM_SPLIT, panics on corrupt pages, allocates what a corrupt header asks for, and makes a Go slice header out of
// each string. Reading straight into the memory of Arrow arrays is several times faster (BenchmarkRead, BenchmarkWrite in
// columnar compare the two), and the tests of columnar read our files with arrow/go's reader and its files with ours.
//
// What it is not: a general Parquet library. It reads data pages of both versions, every encoding and every codec but LZO,
// and neither encryption nor Bloom filters nor page indexes. It writes data page v1 with PLAIN, dictionary and DELTA_BINARY_PACKED encoding.
//
// Key types: Node (the schema's tree), Meta (the footer), Chunk (reads one column of one row group in order), Vector
// (what Chunk fills), FileWriter and ColumnWriter.
//
// It starts no goroutines. A Chunk or a FileWriter belongs to one goroutine; Meta is immutable.
//
// Input is not trusted: lengths are checked against the bytes that are there before memory is asked for, and everything that
// is wrong wraps ErrCorrupt or ErrUnsupported. The host is little endian, as every platform that the binary is built for.
package parquet
