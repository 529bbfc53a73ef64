//go:build !unix

package node

import "os"

// flock has no counterpart here; the Raft log's own lock has to do.
func flock(*os.File) error { return nil }
