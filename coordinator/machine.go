package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"sluice.io/sluice/coordinator/state"
)

// Event is a change of the agreed state.
type Event = state.Event

// signal wakes all who wait. The zero value is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that the next broadcast closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// machine guards the replicated state: Raft writes, everybody reads.
type machine struct {
	mu sync.RWMutex
	st *state.State

	applied signal // after every entry
	changed signal // after what changes who owns what, or under which configuration
	// changes counts those, so that who polls knows whether to look.
	changes atomic.Uint64
	observe func(Event)
}

func newMachine(observe func(Event)) *machine {
	return &machine{st: state.New(), observe: observe}
}

// Apply implements raftnode.Machine.
func (m *machine) Apply(index uint64, data []byte) (any, error) {
	m.mu.Lock()
	res, events, err := m.st.ApplyBytes(index, data)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	wake := false
	for _, e := range events {
		wake = wake || e.Kind != state.StatusChanged
		if m.observe != nil {
			m.observe(e)
		}
	}
	m.applied.broadcast()
	if wake {
		m.changes.Add(1)
		m.changed.broadcast()
	}
	return res, nil
}

// Snapshot implements raftnode.Machine. The state is written to memory at once: some megabytes at 10 000 tasks.
func (m *machine) Snapshot() (func(io.Writer) error, error) {
	data, err := m.save()
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		return nil
	}, nil
}

func (m *machine) save() ([]byte, error) {
	var buf bytes.Buffer
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.st.Save(&buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Restore implements raftnode.Machine.
func (m *machine) Restore(r io.Reader) error {
	st, err := state.Load(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.st = st
	m.mu.Unlock()
	m.changes.Add(1)
	m.applied.broadcast()
	m.changed.broadcast()
	return nil
}

// view runs f with the state, which must not be kept.
func view[T any](m *machine, f func(*state.State) T) T {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(m.st)
}

// waitIndex waits until the entry at index has been applied here.
func (m *machine) waitIndex(ctx context.Context, index uint64) error {
	for {
		ch := m.applied.wait()
		if view(m, (*state.State).Index) >= index {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// until waits until f holds of the state.
func (m *machine) until(ctx context.Context, f func(*state.State) bool) error {
	for {
		ch := m.applied.wait()
		if view(m, f) {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
