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
			m.write(last)
			cancel()
			return
		}
		m.write(ctx)
		t := time.NewTimer(mirrorEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

func (m *mirror) write(ctx context.Context) {
	m.mu.Lock()
	due := m.due
	m.due = map[mirrorKey]map[string]map[int32]int64{}
	m.mu.Unlock()
	for k, next := range due {
		err := k.client.MirrorOffsets(ctx, k.group, next)
		if err != nil && time.Since(m.said[k]) > time.Minute {
			m.said[k] = time.Now()
			m.log.Info("group offsets were not moved; they are a mirror only, the tables have the progress", "group", k.group, "error", err)
		}
	}
}
