package raftnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Names on disk. Changing them would lose clusters.
const (
	dbFile      = "raft.db"
	snapshotDir = "snapshots" // made by raft.FileSnapshotStore
)

// checkedSize bounds the file that is checked page by page at start; larger ones are only opened and read at their
// ends. Trimming after snapshots keeps the file far below it.
const checkedSize = 64 << 20

type stores struct {
	log    raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore
	close  func() error
}

func memoryStores() *stores {
	mem := raft.NewInmemStore()
	return &stores{log: mem, stable: mem, snaps: raft.NewInmemSnapshotStore(), close: func() error { return nil }}
}

func openStores(dir string, o Options) (*stores, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of raft: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, newLogger(o.Logger))
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	taken, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots in %s: %w", dir, err)
	}
	covered := uint64(0)
	if len(taken) > 0 {
		covered = taken[0].Index
	}
	bolt, err := openBolt(filepath.Join(dir, dbFile), covered)
	if err != nil {
		return nil, err
	}
	cache, err := raft.NewLogCache(512, bolt)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make cache of raft log: %w", err), bolt.Close())
	}
	return &stores{log: cache, stable: bolt, snaps: snaps, close: bolt.Close}, nil
}

// openBolt opens and checks a log; what it lacks up to covered is in a snapshot.
func openBolt(path string, covered uint64) (store *raftboltdb.BoltStore, err error) {
	damaged := func(cause any) error {
		return fmt.Errorf("%w: %s cannot be read (%v). Stop this node, move the folder %s out of the way and start it again: in a cluster it "+
			"joins anew and gets everything from the others. On a cluster of one the connectors have to be created again; "+
			"the tables are in the lake with their progress, so each goes on where it was", ErrDamaged, path, cause, filepath.Dir(path))
	}
	// A damaged page makes bolt panic, or read beyond the file, which is a fault unless it is turned into a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			store, err = nil, damaged(r)
		}
	}()
	store, err = raftboltdb.New(raftboltdb.Options{
		Path: path,
		// The list of free pages is kept in the file: without it bolt walks all pages at start, on a goroutine of its
		// own, where a damaged page would end the process before anybody could say why.
		BoltOptions:             &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s is locked. Is another sluice running with this data.dir?", ErrInUse, path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	case err != nil:
		return nil, damaged(err)
	}
	if err := checkBolt(path, store, covered); err != nil {
		return nil, errors.Join(damaged(err), store.Close())
	}
	return store, nil
}

func checkBolt(path string, store *raftboltdb.BoltStore, covered uint64) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at raft log: %w", err)
	}
	first, err := store.FirstIndex()
	if err != nil {
		return fmt.Errorf("read first index: %w", err)
	}
	last, err := store.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	if info.Size() > checkedSize || first == 0 {
		return nil
	}
	var l raft.Log
	for i := first; i <= last; i++ {
		err := store.GetLog(i, &l)
		if errors.Is(err, raft.ErrLogNotFound) && i <= covered {
			continue // a restore passes over an index, and entries that trail a snapshot may lie before and behind it
		}
		if err != nil {
			return fmt.Errorf("read entry %d of %d to %d: %w", i, first, last, err)
		}
		if l.Index != i {
			return fmt.Errorf("entry %d says that it is %d", i, l.Index)
		}
	}
	return nil
}
