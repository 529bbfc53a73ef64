// Package dv reads and writes the deletion vectors of Delta tables (PROTOCOL.md, "Deletion Vectors"; delta.md §2): which rows
// of a data file are deleted, as a 64-bit roaring bitmap of their positions in the file.
//
// A vector lies in a file beside the data (storage u, the only one that is written here), in the log itself (i), or
// under an absolute path (p). One file holds the vectors of many data files. Every read checks length, checksum and cardinality:
// a vector that is not what its descriptor says is ErrCorrupt, never a guess.
//
// It starts no goroutines and keeps no state.
package dv
