// Package raftnode keeps hashicorp/raft and its bolt store: the only room that imports them. It starts, bootstraps,
// restores and stops one Raft node, applies committed entries to a Machine, and gives the few verbs that the
// coordinator needs, in its own errors.
//
// What it is not: it does not know what a command means, who the members are beyond their id and address, or when
// somebody should become a voter.
//
// Files, below data.dir/raft:
//
//	raft.db      log and vote (bolt)
//	snapshots/   the last two snapshots
//
// Failure modes: a damaged raft.db or one that another process holds is an error of Open that names the file and what
// to do. An entry that the machine does not know stops the node: nothing more is applied, no snapshot is taken, and
// Fatal fires (D10). A lost leadership leaves the outcome of a pending Apply unknown, and says so (ErrUnknown).
//
// Goroutines: those of hashicorp/raft (its docs/README.md lists them) and one that forwards its requests, all ended by
// Close.
package raftnode
