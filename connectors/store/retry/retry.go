// Package retry tries the idempotent operations of a bucket again when they fail for a reason that may pass. It never
// repeats PutIfAbsent, whose outcome the caller must look at (D3), nor a streamed Create.
package retry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"sluice.io/sluice/connectors/store"
)

// Options bound the attempts.
type Options struct {
	Tries int           // attempts in all; default 5
	First time.Duration // the first pause; default 50 ms. It doubles, with jitter.
	Most  time.Duration // the longest pause; default 3 s
}

// Wrap gives b with retries.
func Wrap(b store.Bucket, o Options) store.Bucket {
	if o.Tries <= 0 {
		o.Tries = 5
	}
	if o.First <= 0 {
		o.First = 50 * time.Millisecond
	}
	if o.Most <= 0 {
		o.Most = 3 * time.Second
	}
	return &bucket{Bucket: b, o: o}
}

type bucket struct {
	store.Bucket
	o Options
}

// Temporary tells whether trying again may help.
func Temporary(err error) bool {
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrPermission),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}

func (b *bucket) do(ctx context.Context, f func() error) error {
	pause := b.o.First
	for try := 1; ; try++ {
		err := f()
		if !Temporary(err) {
			return err
		}
		if try == b.o.Tries {
			return fmt.Errorf("%w (tried %d times)", err, try)
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		}
		pause = min(2*pause, b.o.Most)
	}
}

func (b *bucket) Get(ctx context.Context, key string) (data []byte, err error) {
	err = b.do(ctx, func() error { data, err = b.Bucket.Get(ctx, key); return err })
	return data, err
}

func (b *bucket) ReadRange(ctx context.Context, key string, offset, length int64) (data []byte, err error) {
	err = b.do(ctx, func() error { data, err = b.Bucket.ReadRange(ctx, key, offset, length); return err })
	return data, err
}

func (b *bucket) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = b.do(ctx, func() error { info, err = b.Bucket.Stat(ctx, key); return err })
	return info, err
}

func (b *bucket) Put(ctx context.Context, key string, data []byte) error {
	return b.do(ctx, func() error { return b.Bucket.Put(ctx, key, data) })
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	return b.do(ctx, func() error { return b.Bucket.Delete(ctx, key) })
}

// List goes on after the last key when a listing breaks off.
func (b *bucket) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		stopped := false
		err := b.do(ctx, func() error {
			for info, err := range b.Bucket.List(ctx, prefix, after) {
				if err != nil {
					return err
				}
				after = info.Key
				if !yield(info, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(store.Info{}, err)
		}
	}
}
