package raftnode

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// Machine is the replicated state machine, as its owner offers it. Calls come one at a time, except that the function
// which Snapshot returns runs beside later calls of Apply.
type Machine interface {
	// Apply takes one committed entry. The value goes to whoever proposed it on this node. An error means that this
	// node cannot go on.
	Apply(index uint64, data []byte) (any, error)
	// Snapshot freezes the present state and gives a function that writes it.
	Snapshot() (func(io.Writer) error, error)
	// Restore replaces the state by one that a snapshot holds.
	Restore(io.Reader) error
}

// fsm adapts a Machine to raft and keeps its first fatal error.
type fsm struct {
	m     Machine
	once  sync.Once
	fatal chan error // buffered, one error at most
	err   error      // guarded by once and by raft's single FSM goroutine
}

func newFSM(m Machine) *fsm { return &fsm{m: m, fatal: make(chan error, 1)} }

func (f *fsm) stop(err error) {
	f.once.Do(func() {
		f.err = err
		f.fatal <- err
	})
}

var errHalted = errors.New("state machine is halted")

// Apply implements raft.FSM. D10: after an entry that is not understood nothing more is applied.
func (f *fsm) Apply(l *raft.Log) any {
	if f.err != nil {
		return fmt.Errorf("%w: %w", errHalted, f.err)
	}
	v, err := f.m.Apply(l.Index, l.Data)
	if err != nil {
		f.stop(err)
		return err
	}
	return v
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.err != nil {
		return nil, fmt.Errorf("%w: %w", errHalted, f.err)
	}
	write, err := f.m.Snapshot()
	if err != nil {
		return nil, err
	}
	return snapshot(write), nil
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	err := f.m.Restore(r)
	if err != nil {
		f.stop(fmt.Errorf("restore snapshot: %w", err))
	}
	return errors.Join(err, r.Close())
}

type snapshot func(io.Writer) error

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s snapshot) Release() {}
