package worker

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"sluice.io/sluice/connectors/kafka"
)

// mirror moves group offsets after commits (D1), for tools that show lag. Newer offsets replace older ones that were
// not written yet; a broker that refuses costs a line in the log and nothing else.
type mirror struct {
	log  *slog.Logger
	mu   sync.Mutex
	due  map[mirrorKey]map[string]map[int32]int64
	poke chan struct{}
	said map[mirrorKey]time.Time
}

type mirrorKey struct {
	client *kafka.Client
	group  string
}

// mirrorEvery is the shortest time between two offset commits of a group.
const mirrorEvery = time.Second

func newMirror(log *slog.Logger) *mirror {
	return &mirror{log: log, due: map[mirrorKey]map[string]map[int32]int64{}, poke: make(chan struct{}, 1), said: map[mirrorKey]time.Time{}}
}

func (m *mirror) set(c *kafka.Client, group, topic string, next map[int32]int64) {
	m.mu.Lock()
	k := mirrorKey{c, group}
	if m.due[k] == nil {
		m.due[k] = map[string]map[int32]int64{}
	}
	if m.due[k][topic] == nil {
		m.due[k][topic] = map[int32]int64{}
	}
	maps.Copy(m.due[k][topic], next)
	m.mu.Unlock()
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

func (m *mirror) run(ctx context.Context) {
	for {
		select {
		case <-m.poke:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			m.write(last, nil)
			cancel()
			return
		}
		m.write(ctx, nil)
		t := time.NewTimer(mirrorEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// flush writes what is due for a client that is about to be given back, and forgets it.
func (m *mirror) flush(ctx context.Context, c *kafka.Client) {
	m.write(ctx, c)
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.said, func(k mirrorKey, _ time.Time) bool { return k.client == c })
}

// write writes what is due: of one client, or, for nil, of all.
func (m *mirror) write(ctx context.Context, only *kafka.Client) {
	m.mu.Lock()
	due := map[mirrorKey]map[string]map[int32]int64{}
	for k, next := range m.due {
		if only == nil || k.client == only {
			due[k] = next
			delete(m.due, k)
		}
	}
	m.mu.Unlock()
	for k, next := range due {
		err := k.client.MirrorOffsets(ctx, k.group, next)
		if err != nil && m.say(k) {
			m.log.Info("group offsets were not moved; they are a mirror only, the tables have the progress", "group", k.group, "error", err)
		}
	}
}

// say tells whether a complaint about a group is due again.
func (m *mirror) say(k mirrorKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.said[k]) < time.Minute {
		return false
	}
	m.said[k] = time.Now()
	return true
}
