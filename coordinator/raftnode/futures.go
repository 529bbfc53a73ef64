package raftnode

import (
	"sync"
	"time"
)

// futures counts the questions that raft has not answered. Raft answers while it runs, but forgets those that wait in its queue when it shuts down: who
// waits for one of them would wait for ever. So there must be none by then. It is safe for concurrent use.
type futures struct {
	mu     sync.Mutex
	open   int
	closed bool
	none   chan struct{} // closed when it is closed and nothing is open
}

// begin counts a question; false: it is not to be asked any more.
func (f *futures) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.open++
	return true
}

// end counts an answer.
func (f *futures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open--; f.closed && f.open == 0 {
		close(f.none)
	}
}

// close ends questions, and waits for the answers, at most so long.
func (f *futures) close(atMost time.Duration) {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	if first && f.open == 0 {
		close(f.none)
	}
	f.mu.Unlock()
	select {
	case <-f.none:
	case <-time.After(atMost):
	}
}
