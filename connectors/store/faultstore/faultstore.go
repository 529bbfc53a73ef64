// Package faultstore breaks a store on purpose, for tests: answers that are errors, writes that take effect and say that it
// is not known, slow answers, reads that end early, listings that lag behind.
package faultstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"sluice.io/sluice/connectors/store"
)

// ErrUnavailable is the answer of a store that is overloaded (503): nothing was done.
var ErrUnavailable = errors.New("503 service unavailable")

// Options are probabilities from 0 to 1 per operation.
type Options struct {
	Seed uint64
	// Unavailable: the operation fails and nothing was done.
	Unavailable float64
	// LostAnswer: a write takes effect, and the caller learns that the outcome is unknown.
	LostAnswer float64
	// LostWrite: a write does not take effect, and the caller learns that the outcome is unknown.
	LostWrite float64
	// Late: a write takes effect up to Lag after the caller has learned that the outcome is unknown.
	Late float64
	// Truncated: a read fails after a part.
	Truncated float64
	// Slow: the operation takes up to Delay, unless its context ends first.
	Slow  float64
	Delay time.Duration
	// Lag is for how long a listing may not know of an object.
	Lag time.Duration
}

// Bucket is a store with faults. It is safe for concurrent use.
type Bucket struct {
	store.Bucket
	o Options

	mu     sync.Mutex
	rnd    *rand.Rand
	seen   map[string]time.Time // when a key was written through this bucket
	faults map[string]int
	late   sync.WaitGroup
}

// Wrap gives b with faults.
func Wrap(b store.Bucket, o Options) *Bucket {
	return &Bucket{Bucket: b, o: o, rnd: rand.New(rand.NewPCG(o.Seed, 1)), seen: map[string]time.Time{}, faults: map[string]int{}}
}

// Faults gives the number of faults by kind.
func (b *Bucket) Faults() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]int{}
	for k, n := range b.faults {
		out[k] = n
	}
	return out
}

// Settle waits for late writes.
func (b *Bucket) Settle() { b.late.Wait() }

func (b *Bucket) hit(kind string, p float64) bool {
	if p <= 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rnd.Float64() >= p {
		return false
	}
	b.faults[kind]++
	return true
}

func (b *Bucket) upTo(d time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d <= 0 {
		return 0
	}
	return time.Duration(b.rnd.Int64N(int64(d)))
}

func (b *Bucket) before(ctx context.Context, op, key string) error {
	if b.hit("slow", b.o.Slow) {
		timer := time.NewTimer(b.upTo(b.o.Delay))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("%s %s: %w", op, key, ctx.Err())
		}
	}
	if b.hit("unavailable", b.o.Unavailable) {
		return fmt.Errorf("%s %s: %w", op, key, ErrUnavailable)
	}
	return nil
}

// Get reads a whole object.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	if err := b.before(ctx, "read", key); err != nil {
		return nil, err
	}
	if b.hit("truncated", b.o.Truncated) {
		return nil, fmt.Errorf("read %s: %w", key, io.ErrUnexpectedEOF)
	}
	return b.Bucket.Get(ctx, key)
}

// ReadRange reads a part of an object.
func (b *Bucket) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := b.before(ctx, "read", key); err != nil {
		return nil, err
	}
	if b.hit("truncated", b.o.Truncated) {
		return nil, fmt.Errorf("read %s: %w", key, io.ErrUnexpectedEOF)
	}
	return b.Bucket.ReadRange(ctx, key, offset, length)
}

// Stat describes an object.
func (b *Bucket) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := b.before(ctx, "stat", key); err != nil {
		return store.Info{}, err
	}
	return b.Bucket.Stat(ctx, key)
}

func (b *Bucket) wrote(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[key] = time.Now()
}

func (b *Bucket) write(ctx context.Context, key string, do func(context.Context) error) error {
	if err := b.before(ctx, "write", key); err != nil {
		return err
	}
	unknown := fmt.Errorf("write %s: %w: the connection was closed", key, store.ErrUnknownOutcome)
	switch {
	case b.hit("lost write", b.o.LostWrite):
		return unknown
	case b.hit("late write", b.o.Late):
		wait := b.upTo(b.o.Lag)
		b.late.Go(func() {
			time.Sleep(wait)
			_ = do(context.WithoutCancel(ctx)) // whether it still works is what the test is about
			b.wrote(key)
		})
		return unknown
	}
	err := do(ctx)
	b.wrote(key)
	if err == nil && b.hit("lost answer", b.o.LostAnswer) {
		return unknown
	}
	return err
}

// Put writes an object.
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	return b.write(ctx, key, func(ctx context.Context) error { return b.Bucket.Put(ctx, key, data) })
}

// PutIfAbsent writes an object if the key is free.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	return b.write(ctx, key, func(ctx context.Context) error { return b.Bucket.PutIfAbsent(ctx, key, data) })
}

// Create streams an object; it fails at its start or not at all.
func (b *Bucket) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	if err := b.before(ctx, "write", key); err != nil {
		return nil, err
	}
	return b.Bucket.Create(ctx, key)
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := b.before(ctx, "delete", key); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, key)
}

// List lists objects; it may break off, and does not know of the newest.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if err := b.before(ctx, "list", prefix); err != nil {
			yield(store.Info{}, err)
			return
		}
		for info, err := range b.Bucket.List(ctx, prefix, after) {
			if err == nil && b.o.Lag > 0 {
				b.mu.Lock()
				at, ok := b.seen[info.Key]
				b.mu.Unlock()
				if ok && time.Since(at) < b.o.Lag {
					continue
				}
			}
			if err == nil && b.hit("list broken off", b.o.Truncated/10) {
				yield(store.Info{}, fmt.Errorf("list %s: %w", prefix, io.ErrUnexpectedEOF))
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}
