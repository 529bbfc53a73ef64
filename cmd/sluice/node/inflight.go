package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"sluice.io/sluice/connectors/store"
)

// inFlight stands before the lake of a process that a kill test stops in the middle of a commit, and of no other: a commit
// that was on its way to the store arrives there, however long the process stood still, as a request does that is in the network
// already. What the table's log answers is logged.
type inFlight struct {
	store.Bucket
	hook func(phase string)
	log  *slog.Logger
}

// openInFlight wraps what open opens.
func openInFlight(open func(context.Context, string) (store.Bucket, error), hook func(string), log *slog.Logger) func(context.Context, string) (store.Bucket, error) {
	return func(ctx context.Context, url string) (store.Bucket, error) {
		b, err := open(ctx, url)
		if err != nil {
			return nil, err
		}
		return &inFlight{b, hook, log}, nil
	}
}

// PutIfAbsent implements store.Bucket. Its phases are bronze-in-flight and silver-in-flight, for tables at the default paths.
func (b *inFlight) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	layer, _, _ := strings.Cut(key, "/")
	commit := strings.Contains(key, "/_delta_log/") && strings.HasSuffix(key, ".json") // not a checksum file
	if !commit || strings.Contains(key, "_dead_letters") {
		return b.Bucket.PutIfAbsent(ctx, key, data)
	}
	before := time.Now()
	b.hook(layer + "-in-flight")
	if time.Since(before) < time.Second {
		return b.Bucket.PutIfAbsent(ctx, key, data)
	}
	err := b.Bucket.PutIfAbsent(context.WithoutCancel(ctx), key, data)
	b.log.Warn("a commit was on its way while this process stood still", "key", key, "refused", errors.Is(err, store.ErrExists), "error", err)
	return err
}
