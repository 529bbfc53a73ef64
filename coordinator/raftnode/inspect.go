package raftnode

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// Extent says how far the Raft log of a stopped node goes.
type Extent struct {
	// LastIndex and LastTerm are those of the last entry, or of the snapshot that took its place.
	LastIndex, LastTerm uint64
	// Servers is the last configuration that a snapshot holds; empty before the first snapshot.
	Servers []Server
}

// Inspect reads how far the files in dir go. The node must not be running.
func Inspect(dir string, log *slog.Logger) (Extent, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if _, err := os.Stat(filepath.Join(dir, dbFile)); err != nil {
		return Extent{}, fmt.Errorf("%s holds no raft state of a cluster: %w", dir, err)
	}
	st, err := openStores(dir, Options{Logger: log})
	if err != nil {
		return Extent{}, err
	}
	x, err := inspect(dir, st)
	return x, errors.Join(err, st.close())
}

func inspect(dir string, st *stores) (x Extent, err error) {
	has, err := raft.HasExistingState(st.log, st.stable, st.snaps)
	if err != nil || !has {
		return x, errors.Join(fmt.Errorf("%s holds no raft state of a cluster", dir), err)
	}
	snaps, err := st.snaps.List()
	if err != nil {
		return x, fmt.Errorf("list snapshots: %w", err)
	}
	if len(snaps) > 0 {
		x.LastIndex, x.LastTerm = snaps[0].Index, snaps[0].Term
		for _, s := range snaps[0].Configuration.Servers {
			x.Servers = append(x.Servers, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
		}
	}
	last, err := st.log.LastIndex()
	if err != nil {
		return x, fmt.Errorf("read last index: %w", err)
	}
	if last > x.LastIndex {
		var l raft.Log
		if err := st.log.GetLog(last, &l); err != nil {
			return x, fmt.Errorf("read entry %d: %w", last, err)
		}
		x.LastIndex, x.LastTerm = l.Index, l.Term
	}
	return x, nil
}
