package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/commit"
)

// lakes keeps each lake open once.
type lakes struct {
	open  func(context.Context, string) (store.Bucket, error)
	taken func() // a commit met another
	mu    sync.Mutex
	m     map[string]store.Bucket
}

func newLakes(open func(context.Context, string) (store.Bucket, error), taken func()) *lakes {
	return &lakes{open: open, taken: taken, m: map[string]store.Bucket{}}
}

func (l *lakes) get(ctx context.Context, url string) (store.Bucket, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.m[url]; b != nil {
		return b, nil
	}
	b, err := l.open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open lake.url %s: %w", url, err)
	}
	b = commit.Fenced(b, l.taken)
	l.m[url] = b
	return b, nil
}

func (l *lakes) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, b := range l.m {
		errs = append(errs, b.Close())
	}
	clear(l.m)
	return errors.Join(errs...)
}

// clients shares Kafka clients between tasks that have the same properties.
type clients struct {
	log    *slog.Logger
	budget *kafka.Budget
	mu     sync.Mutex
	m      map[string]*sharedClient
}

type sharedClient struct {
	mu   sync.Mutex // held while dialing
	c    *kafka.Client
	refs int // under clients.mu
}

func newClients(log *slog.Logger, budget *kafka.Budget) *clients {
	return &clients{log: log, budget: budget, m: map[string]*sharedClient{}}
}

// get gives a client of these properties; release it when done.
func (cs *clients) get(ctx context.Context, p kafka.Properties) (*kafka.Client, func(), error) {
	key := p.Key()
	cs.mu.Lock()
	s := cs.m[key]
	if s == nil {
		s = &sharedClient{}
		cs.m[key] = s
	}
	s.refs++
	cs.mu.Unlock()
	release := sync.OnceFunc(func() { cs.release(key, s) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		c, err := kafka.Dial(ctx, p, kafka.Options{Logger: cs.log, Budget: cs.budget})
		if err != nil {
			release()
			return nil, nil, err
		}
		s.c = c
	}
	return s.c, release, nil
}

func (cs *clients) release(key string, s *sharedClient) {
	cs.mu.Lock()
	s.refs--
	last := s.refs == 0
	if last && cs.m[key] == s {
		delete(cs.m, key)
	}
	c := s.c
	cs.mu.Unlock()
	if last && c != nil {
		c.Close()
	}
}

func (cs *clients) closeAll() {
	cs.mu.Lock()
	var all []*kafka.Client
	for _, s := range cs.m {
		if s.c != nil {
			all = append(all, s.c)
		}
	}
	clear(cs.m)
	cs.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// properties are the worker's with a connector's overrides: consumer.override.* to read, producer.override.* and admin.override.* for the dead-letter topic.
func (r *Runtime) properties(override map[string]string) kafka.Properties {
	p := r.o.Kafka.With(override)
	delete(p, "group.id") // that of the mirror; clients that differ in nothing else are shared
	return p
}
