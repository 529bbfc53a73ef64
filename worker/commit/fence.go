package commit

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"sluice.io/sluice/connectors/store"
)

// fenceKey finds the fence of a commit in its context.
type fenceKey struct{}

// Fence watches one commit, or the merge that ends in one, for a refusal that nobody is left to hear of: a task whose node has lost
// its lease is stopped at once, most of the time between the answer of the table's log and the look at who was faster. Such a
// commit was refused all the same (D2), and whoever looks after the cluster wants to know.
type Fence struct {
	ctx     context.Context
	refused atomic.Bool
}

// Watch gives the context in which to commit, through a bucket that Fenced has made.
func Watch(ctx context.Context) (context.Context, *Fence) {
	f := &Fence{ctx: ctx}
	return context.WithValue(ctx, fenceKey{}, f), f
}

// Refused says of a commit that ended with err whether the log had refused it and its task was stopped before it could find out
// by whom. Errors that say so themselves (delta.ErrProgress) are not meant.
func (f *Fence) Refused(err error) bool {
	return err != nil && f.ctx.Err() != nil && f.refused.Load()
}

// fenced is a bucket that tells the Fence of a commit's context what the log answers.
type fenced struct {
	store.Bucket
	taken func()
}

// Fenced makes refusals by the logs of the bucket's tables known to Watch, and calls taken for each commit that met a version that
// somebody else had written: it is tried again on top of that one, or refused for good.
func Fenced(b store.Bucket, taken func()) store.Bucket { return &fenced{b, taken} }

// PutIfAbsent implements store.Bucket.
func (b *fenced) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	err := b.Bucket.PutIfAbsent(ctx, key, data)
	if errors.Is(err, store.ErrExists) && strings.Contains(key, "/_delta_log/") && strings.HasSuffix(key, ".json") {
		b.taken()
		if f, ok := ctx.Value(fenceKey{}).(*Fence); ok {
			f.refused.Store(true)
		}
	}
	return err
}
