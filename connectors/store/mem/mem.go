// Package mem keeps objects in memory: a store for tests and for trying things out. It behaves as the port says, also
// under races, and forgets all when the process ends.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice.io/sluice/connectors/store"
)

// Bucket holds objects in memory. It is safe for concurrent use.
type Bucket struct {
	name string
	now  func() time.Time

	mu      sync.RWMutex
	objects map[string]object
}

type object struct {
	data []byte
	at   time.Time
}

var _ store.Bucket = (*Bucket)(nil)

// New makes an empty bucket.
func New(name string) *Bucket {
	return &Bucket{name: name, now: time.Now, objects: map[string]object{}}
}

// SetClock sets the clock that modification times come from, for tests of retention.
func (b *Bucket) SetClock(now func() time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = now
}

// URL gives mem://name.
func (b *Bucket) URL() string { return "mem://" + b.name }

// Close does nothing: the objects stay for other holders of the bucket.
func (b *Bucket) Close() error { return nil }

func (b *Bucket) get(ctx context.Context, key string) (object, error) {
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	o, ok := b.objects[key]
	if !ok {
		return object{}, store.ErrNotFound
	}
	return o, nil
}

// Get reads a whole object.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	return b.ReadRange(ctx, key, 0, -1)
}

// ReadRange reads a part of an object.
func (b *Bucket) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	o, err := b.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	size := int64(len(o.data))
	if offset < 0 || offset > size {
		return nil, fmt.Errorf("read %s: offset %d is outside of its %d bytes", key, offset, size)
	}
	if length < 0 {
		length = size - offset
	}
	if length > size-offset {
		return nil, fmt.Errorf("read %s: %d bytes at %d asked for, it has %d: %w", key, length, offset, size,
			io.ErrUnexpectedEOF)
	}
	return bytes.Clone(o.data[offset : offset+length]), nil
}

// Stat describes an object.
func (b *Bucket) Stat(ctx context.Context, key string) (store.Info, error) {
	o, err := b.get(ctx, key)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return store.Info{Key: key, Size: int64(len(o.data)), ModTime: o.at}, nil
}

func (b *Bucket) put(ctx context.Context, key string, data []byte, absent bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.objects[key]; taken && absent {
		return fmt.Errorf("write %s: %w", key, store.ErrExists)
	}
	b.objects[key] = object{data: bytes.Clone(data), at: b.now()}
	return nil
}

// Put writes an object.
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	return b.put(ctx, key, data, false)
}

// PutIfAbsent writes an object if the key is free.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	return b.put(ctx, key, data, true)
}

type writer struct {
	b    *Bucket
	ctx  context.Context
	key  string
	buf  bytes.Buffer
	err  error
	done bool
}

// Create streams an object.
func (b *Bucket) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	return &writer{b: b, ctx: ctx, key: key}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err = w.ctx.Err(); w.err != nil {
		return 0, fmt.Errorf("write %s: %w", w.key, w.err)
	}
	return w.buf.Write(p)
}

func (w *writer) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.err != nil {
		return fmt.Errorf("write %s: %w", w.key, w.err)
	}
	return w.b.Put(w.ctx, w.key, w.buf.Bytes())
}

// List gives objects in the order of their keys.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		b.mu.RLock()
		var found []store.Info
		for k, o := range b.objects {
			if strings.HasPrefix(k, prefix) && k > after {
				found = append(found, store.Info{Key: k, Size: int64(len(o.data)), ModTime: o.at})
			}
		}
		b.mu.RUnlock()
		slices.SortFunc(found, func(x, y store.Info) int { return strings.Compare(x.Key, y.Key) })
		for _, i := range found {
			if err := ctx.Err(); err != nil {
				yield(store.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}
