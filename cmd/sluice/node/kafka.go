package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/internal/ownership"
)

// clients shares Kafka clients between connectors: one for each set of properties.
type clients struct {
	base   kafka.Properties // of the node's settings
	budget *kafka.Budget
	log    *slog.Logger

	mu     sync.Mutex
	byKey  map[string]*kafka.Client
	closed bool
}

func newClients(base kafka.Properties, budget *kafka.Budget, log *slog.Logger) *clients {
	return &clients{base: base, budget: budget, log: log, byKey: map[string]*kafka.Client{}}
}

// properties are the node's, with the connector's consumer.override.* over them.
func (c *clients) properties(s *config.Sink) kafka.Properties {
	return c.base.With(s.ConsumerOverride)
}

// get gives the client for a connector, connecting if it is the first. The client stays the pool's: never close it.
func (c *clients) get(ctx context.Context, s *config.Sink) (*kafka.Client, error) {
	return c.dial(ctx, c.properties(s))
}

// dial is get for any properties.
func (c *clients) dial(ctx context.Context, p kafka.Properties) (*kafka.Client, error) {
	key := p.Key()
	c.mu.Lock()
	have, closed := c.byKey[key], c.closed
	c.mu.Unlock()
	if closed {
		return nil, kafka.ErrClosed
	}
	if have != nil {
		return have, nil
	}
	made, err := kafka.Dial(ctx, p, kafka.Options{Logger: c.log, Budget: c.budget})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		made.Close()
		return nil, kafka.ErrClosed
	case c.byKey[key] != nil: // somebody else was faster
		made.Close()
	default:
		c.byKey[key] = made
	}
	return c.byKey[key], nil
}

// clusterID is the id of the Kafka cluster of the node's settings; empty until it has been reached.
func (c *clients) clusterID() string {
	c.mu.Lock()
	cl := c.byKey[c.properties(&config.Sink{}).Key()]
	c.mu.Unlock()
	if cl == nil {
		return ""
	}
	return cl.ClusterID()
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cl := range c.byKey {
		cl.Close()
	}
	c.byKey = nil
}

// discovery finds topics and tasks: the coordinator's port to Kafka.
type discovery struct {
	clients  *clients
	defaults config.Defaults
}

// Discover implements coordinator.Discovery.
func (d *discovery) Discover(ctx context.Context, c ownership.Connector) ([]ownership.Topic, []ownership.Task, error) {
	sink, err := config.Parse(withName(c), d.defaults)
	if err != nil {
		return nil, nil, ownership.Errorf(ownership.ErrInvalid, "%w", err)
	}
	cl, err := d.clients.get(ctx, sink)
	if err != nil {
		if _, wrong := errors.AsType[*kafka.ConfigError](err); wrong {
			return nil, nil, ownership.Errorf(ownership.ErrInvalid, "%w", err)
		}
		return nil, nil, err
	}
	var found []kafka.Topic
	if sink.TopicsRegex != "" {
		found, err = cl.MatchingTopics(ctx, sink.TopicsRegex)
	} else {
		found, err = cl.Topics(ctx, sink.Topics...)
	}
	if err != nil {
		return nil, nil, err
	}
	topics := make([]ownership.Topic, 0, len(found))
	for _, t := range found {
		topics = append(topics, ownership.Topic{Name: t.Name, ID: t.ID, Partitions: t.Partitions})
	}
	slices.SortFunc(topics, func(a, b ownership.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return topics, tasksOf(sink, topics), waitsFor(sink, topics)
}

// waitsFor says which topics are not there yet; nil when all are.
func waitsFor(s *config.Sink, topics []ownership.Topic) error {
	if s.TopicsRegex != "" {
		if len(topics) == 0 {
			return fmt.Errorf("waiting for a topic that matches topics.regex %q: the broker has none yet", s.TopicsRegex)
		}
		return nil
	}
	var missing []string
	for _, name := range s.Topics {
		if !slices.ContainsFunc(topics, func(t ownership.Topic) bool { return t.Name == name }) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("waiting for topics that the broker does not have yet: %s", strings.Join(missing, ", "))
}

func withName(c ownership.Connector) map[string]string {
	m := maps.Clone(c.Config)
	if m == nil {
		m = map[string]string{}
	}
	m["name"] = c.Name
	return m
}

// validate is the coordinator's last look before a configuration is agreed on: it must parse, and no other connector may
// write one of its tables.
func validate(d config.Defaults) func(context.Context, ownership.Connector, []ownership.Connector) error {
	return func(_ context.Context, c ownership.Connector, others []ownership.Connector) error {
		sink, err := config.Parse(withName(c), d)
		if err != nil {
			return ownership.Errorf(ownership.ErrInvalid, "%w", err)
		}
		for _, o := range others {
			other, err := config.Parse(withName(o), d)
			if err != nil {
				continue // it writes nothing while it can't be read
			}
			if table, both := config.Conflict(sink, other); both {
				return ownership.Errorf(ownership.ErrInvalid, "connector %s writes the table %s of this lake already, and a table has one writing connector; "+
					"give bronze.path and silver.path of one of them another value", o.Name, table)
			}
		}
		return nil
	}
}
