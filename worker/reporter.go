package worker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice.io/sluice/internal/ownership"
)

// reporter sends statuses and releases to the cluster, the newest of each task, and tries again while there is no
// leader. Nothing in the data path waits for it.
type reporter struct {
	port Ownership
	log  *slog.Logger

	mu       sync.Mutex
	newest   map[ownership.TaskID]ownership.TaskStatus
	dirty    map[ownership.TaskID]bool
	loads    map[ownership.TaskID]int64
	releases map[ownership.TaskID]uint64
	topics   map[string]map[string]bool // of which records have passed, and nobody was told, by connector
	poke     chan struct{}
}

func newReporter(o Options) *reporter {
	return &reporter{
		port: o.Ownership, log: o.Logger, newest: map[ownership.TaskID]ownership.TaskStatus{}, dirty: map[ownership.TaskID]bool{},
		loads: map[ownership.TaskID]int64{}, releases: map[ownership.TaskID]uint64{}, topics: map[string]map[string]bool{}, poke: make(chan struct{}, 1),
	}
}

func (p *reporter) kick() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

func (p *reporter) report(s ownership.TaskStatus) {
	p.mu.Lock()
	p.newest[s.ID] = s
	p.dirty[s.ID] = true
	p.mu.Unlock()
	p.kick()
}

// load remembers what a task did in the last second; it goes out with the next round.
func (p *reporter) load(id ownership.TaskID, bytes int64) {
	p.mu.Lock()
	p.loads[id] = (p.loads[id]*7 + bytes) / 8
	p.mu.Unlock()
}

// active notes that records of a topic have passed since it was looked last.
func (p *reporter) active(connector, topic string) {
	p.note(connector, topic)
	p.kick()
}

func (p *reporter) note(connector, topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.topics[connector] == nil {
		p.topics[connector] = map[string]bool{}
	}
	p.topics[connector][topic] = true
}

func (p *reporter) release(id ownership.TaskID, epoch uint64) {
	p.mu.Lock()
	p.releases[id] = epoch
	delete(p.newest, id)
	delete(p.dirty, id)
	p.mu.Unlock()
	p.kick()
}

func (p *reporter) forget(id ownership.TaskID) {
	p.mu.Lock()
	delete(p.newest, id)
	delete(p.dirty, id)
	delete(p.loads, id)
	p.mu.Unlock()
}

// loadEvery is how often the loads of tasks are told when nothing else is.
const loadEvery = 10 * time.Second

func (p *reporter) run(ctx context.Context) {
	timer := time.NewTimer(loadEvery)
	defer timer.Stop()
	for {
		again := loadEvery
		if !p.send(ctx, false) {
			again = time.Second
		}
		timer.Reset(again)
		select {
		case <-p.poke:
		case <-timer.C:
			p.touch()
		case <-ctx.Done():
			// The last words: what tasks became, for the little time that a leader may take.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			p.send(last, true)
			cancel()
			return
		}
	}
}

// touch makes the next round tell all tasks, for their loads.
func (p *reporter) touch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.newest {
		p.dirty[id] = true
	}
}

// send tells what is due. false: try again.
func (p *reporter) send(ctx context.Context, last bool) bool {
	p.mu.Lock()
	releases := maps.Clone(p.releases)
	var statuses []ownership.TaskStatus
	for id := range p.dirty {
		s := p.newest[id]
		s.Load = p.loads[id]
		statuses = append(statuses, s)
	}
	clear(p.dirty)
	topics := p.topics
	p.topics = map[string]map[string]bool{}
	p.mu.Unlock()
	ok := true
	if len(statuses) > 0 {
		slices.SortFunc(statuses, func(a, b ownership.TaskStatus) int { return a.ID.Compare(b.ID) })
		if err := p.port.Report(ctx, statuses); err != nil {
			ok = false
			p.log.Debug("statuses are told later", "error", err)
			p.mu.Lock()
			for _, s := range statuses {
				if _, there := p.newest[s.ID]; there {
					p.dirty[s.ID] = true
				}
			}
			p.mu.Unlock()
		}
	}
	for id, epoch := range releases {
		if err := p.port.Release(ctx, id, epoch); err != nil {
			ok = false
			p.log.Debug("the task is given back later", "task", id.String(), "error", err)
			continue
		}
		p.mu.Lock()
		if p.releases[id] == epoch {
			delete(p.releases, id)
		}
		p.mu.Unlock()
	}
	for connector, names := range topics {
		err := p.port.AddActiveTopics(ctx, connector, slices.Sorted(maps.Keys(names))...)
		if err == nil || errors.Is(err, ownership.ErrNotFound) { // it was deleted meanwhile
			continue
		}
		ok = false
		p.log.Debug("topics of which records pass are told later", "connector", connector, "error", err)
		for topic := range names {
			p.note(connector, topic)
		}
	}
	return ok || last
}
