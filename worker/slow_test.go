package worker

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
)

// slowStore takes its time for writes below a prefix, once it is told to.
type slowStore struct {
	store.Bucket
	mu     sync.Mutex
	prefix string
	delay  time.Duration
}

func (s *slowStore) slow(prefix string, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefix, s.delay = prefix, delay
}

func (s *slowStore) wait(key string) {
	s.mu.Lock()
	d := s.delay
	if s.prefix == "" || !strings.HasPrefix(key, s.prefix) {
		d = 0
	}
	s.mu.Unlock()
	time.Sleep(d)
}

func (s *slowStore) Put(ctx context.Context, key string, data []byte) error {
	s.wait(key)
	return s.Bucket.Put(ctx, key, data)
}

func (s *slowStore) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	s.wait(key)
	return s.Bucket.PutIfAbsent(ctx, key, data)
}

func (s *slowStore) Get(ctx context.Context, key string) ([]byte, error) {
	s.wait(key)
	return s.Bucket.Get(ctx, key)
}

func (s *slowStore) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	s.wait(key)
	return s.Bucket.ReadRange(ctx, key, offset, length)
}

// lines is a log that a test reads while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return true
		}
	}
	return false
}

// A store that has become slow is named in the log by the step that waits for it: the merge, the bronze commit, or the reading of bronze.
func TestSlowStoreIsNamedByTheStepThatWaits(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ name, slow, what, why string }{
		{"merge", "silver/", `"batch `, "s: store latency"},
		{"bronze", "bronze/" + topic + "/bronze-", `"bronze commit `, "s: store latency"},
		{"read", "bronze/" + topic + "/bronze-", `"batch `, "s: reading bronze files"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			lake, log := &slowStore{Bucket: mem.New("lake")}, &lines{}
			w := newWorld(t, lake)
			w.log = slog.New(slog.NewTextHandler(log, nil))
			w.start()
			w.b.Topic(topic, 1)
			w.c.set(func() { w.c.conns, w.c.mine = []ownership.Connector{connector("c")}, own(1, partitionTask(0, 0)) })
			w.produce(0, 0, 10)
			until(t, "the first rows are in bronze", func() bool { return w.rows() == 10 })
			if x.name == "read" { // by a table task that comes later
				lake.slow(x.slow, slowBatch*11/10)
			}
			w.c.set(func() { w.c.mine = own(1, partitionTask(0, 0), tableTask()) })
			if x.name != "read" {
				until(t, "the first rows are in silver", func() bool { return w.tableRows("silver/"+topic) == 10 })
				lake.slow(x.slow, slowBatch*11/10)
				w.produce(0, 10, 10)
			}
			until(t, "the log says what is slow", func() bool { return log.has(x.what, x.why, topic) })
			lake.slow("", 0)
		})
	}
}
