package kafka

import (
	"context"
	"sync"
)

// Budget bounds bytes in flight (D9). It is a counting semaphore that may be overdrawn: what a broker sends is known only
// when it is there, so a taker reserves what it expects and corrects afterwards. All methods are safe for concurrent
// use.
type Budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	freed chan struct{} // closed and replaced whenever bytes come free
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, freed: make(chan struct{})}
}

// Acquire takes n bytes as soon as some are free: it waits while the budget is used up, and takes no more than
// is left of it then, but at least least. It gives what was taken.
func (b *Budget) Acquire(ctx context.Context, n, least int64) (int64, error) {
	for {
		b.mu.Lock()
		left := b.limit - b.used
		if left >= least || b.used <= 0 { // an idle budget serves even what is larger than it
			n = max(min(n, left), least)
			b.used += n
			b.mu.Unlock()
			return n, nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Add takes n more bytes without waiting; n may be negative, which gives bytes back.
func (b *Budget) Add(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.used += n
	if n < 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
	b.mu.Unlock()
}

// Used gives the bytes taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Limit gives the bytes that may be taken.
func (b *Budget) Limit() int64 { return b.limit }
