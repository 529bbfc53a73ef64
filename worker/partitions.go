package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/smt"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/commit"
)

// partitions runs a partition task: it joins the topic's Appender and pumps each partition of the group into it.
func (u *run) partitions(cfg *config.Sink) error {
	props := u.rt.properties(cfg.ConsumerOverride)
	u.wait("connecting to the brokers " + props["bootstrap.servers"])
	client, release, err := u.rt.clients.get(u.ctx, props)
	if err != nil {
		return brokerError(err)
	}
	defer release()
	u.wait("")
	topic, err := u.awaitTopic(client, u.task.ID.Topic, u.task.Partitions)
	if err != nil {
		return brokerError(err)
	}
	g, err := u.rt.groups.join(u, cfg, client, topic)
	if err != nil {
		return err
	}
	defer func() {
		u.rt.groups.leave(g)
		last, cancel := context.WithTimeout(u.hard, time.Second)
		defer cancel()
		u.rt.mirror.flush(last, client)
	}()

	pumpCtx, stop := context.WithCancelCause(u.ctx)
	defer stop(nil)
	var mu sync.Mutex
	readers := map[int32]*kafka.Reader{}
	var wg sync.WaitGroup
	for _, id := range u.task.Partitions {
		p := &pump{u: u, g: g, client: client, topic: topic, id: id, seen: func(r *kafka.Reader) {
			mu.Lock()
			readers[id] = r
			mu.Unlock()
		}}
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := guard.Do(func() error { return p.run(pumpCtx) }); err != nil {
				stop(err) // one partition's trouble ends the group: its task is the unit that fails and is tried again
			}
		}()
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		running := func() []*kafka.Reader {
			mu.Lock()
			defer mu.Unlock()
			return slices.Collect(maps.Values(readers))
		}
		if err := guard.Do(func() error { u.watch(pumpCtx, g, running); return nil }); err != nil {
			stop(err)
		}
	}()
	wg.Wait()
	err = context.Cause(pumpCtx)
	stop(nil)
	<-watching
	if u.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// watch keeps the run's waiting text true.
func (u *run) watch(ctx context.Context, g *group, readers func() []*kafka.Reader) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		text := g.appender.Trouble()
		for _, r := range readers() {
			if text != "" {
				break
			}
			text = r.Trouble()
		}
		u.wait(text)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// awaitTopic waits until the topic exists with all partitions of the task.
func (u *run) awaitTopic(client *kafka.Client, name string, partitions []int32) (kafka.Topic, error) {
	last := int32(0)
	for _, p := range partitions {
		last = max(last, p)
	}
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		ts, err := client.Topics(u.ctx, name)
		switch {
		case u.ctx.Err() != nil:
			return kafka.Topic{}, u.ctx.Err()
		case errors.Is(err, kafka.ErrAuthorization), err != nil && !commit.Transient(err):
			return kafka.Topic{}, err
		case err != nil:
			u.wait(fmt.Sprintf("looking for topic %s: %v", name, err))
		case len(ts) == 0:
			u.wait(fmt.Sprintf("topic %s does not exist yet; waiting for it", name))
		case ts[0].Partitions <= last:
			u.wait(fmt.Sprintf("topic %s has %d partitions; waiting for partition %d", name, ts[0].Partitions, last))
		default:
			u.wait("")
			return ts[0], nil
		}
		if !sleep(u.ctx, pause) {
			return kafka.Topic{}, u.ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// brokerError tells errors of a broker that pass from those that do not.
func brokerError(err error) error {
	var bad *kafka.ConfigError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad), errors.Is(err, kafka.ErrAuthorization), errors.Is(err, kafka.ErrRetentionLoss),
		errors.Is(err, kafka.ErrEndBelow), errors.Is(err, kafka.ErrTopicRecreated), errors.Is(err, bronze.ErrTopicChanged):
		return commit.Permanent(err)
	}
	return err
}

// pump reads one partition and adds it to the Appender.
type pump struct {
	u      *run
	g      *group
	client *kafka.Client
	topic  kafka.Topic
	id     int32
	seen   func(*kafka.Reader)
}

// run pumps until ctx ends, then commits what it added.
func (p *pump) run(ctx context.Context) error {
	part, err := p.g.appender.Join(ctx, p.id, p.u.epoch)
	if err != nil {
		return brokerError(err)
	}
	for {
		err := p.read(ctx, part)
		switch {
		case ctx.Err() != nil:
			// Told to end, by the owner or by a sibling's error: finish the batch.
			grace, cancel := context.WithTimeout(p.u.hard, p.u.rt.o.Grace)
			defer cancel()
			if err := part.Leave(grace); err != nil && !errors.Is(err, bronze.ErrReseek) {
				p.u.log.Info("a partition was left with records that are not committed", "partition", p.id, "error", err)
			}
			return nil
		case errors.Is(err, bronze.ErrReseek):
			if err := part.Reseek(ctx); err != nil {
				part.Drop()
				return brokerError(err)
			}
		default:
			part.Drop()
			return brokerError(err)
		}
	}
}

// read reads from the partition's next offset on, until an error.
func (p *pump) read(ctx context.Context, part *bronze.Partition) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	partCtx := part.Context()
	defer context.AfterFunc(partCtx, func() { cancel(context.Cause(partCtx)) })()
	from := part.Next()
	if from < 0 {
		ends, err := p.client.Offsets(ctx, p.topic.Name, p.id)
		if err != nil {
			return err
		}
		if from = ends[p.id].Start; p.client.StartAtEnd() {
			from = ends[p.id].End
		}
		part.Begin(from)
	}
	reader := p.client.Read(p.topic.Name, p.id, from, p.topic.ID)
	p.seen(reader)
	defer reader.Close()
	seen := p.u.rt.stats.partition(p.u.task.ID.Connector, p.topic.Name, p.id)
	seen.follow(part.Committed, reader.HighWater)
	for {
		b, err := reader.Next(ctx)
		if err == nil {
			err = part.Add(ctx, b)
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		p.u.bytes.Add(b.Bytes)
	}
}

// groups holds the Appenders of this node, by connector, configuration and topic.
type groups struct {
	rt *Runtime
	mu sync.Mutex
	m  map[groupKey]*group
}

type groupKey struct {
	connector string
	version   uint64 // of the configuration: a changed one gets a new Appender
	topic     string
	topicID   string
}

// group is one Appender and those who use it.
type group struct {
	key      groupKey
	appender *bronze.Appender
	feed     *feed
	refs     int
	stop     context.CancelFunc
	done     chan struct{}
}

func newGroups(rt *Runtime) *groups { return &groups{rt: rt, m: map[groupKey]*group{}} }

// join gives the Appender of the run's topic, and makes it run.
func (gs *groups) join(u *run, cfg *config.Sink, client *kafka.Client, topic kafka.Topic) (*group, error) {
	lake, err := gs.rt.lakes.get(u.ctx, cfg.LakeURL)
	if err != nil {
		return nil, err
	}
	if _, err := gs.rt.decoder(cfg); err != nil {
		return nil, commit.Permanent(err)
	}
	path := config.ResolvePath(cfg.BronzePath, topic.Name, nil, cfg.Name)
	k := groupKey{cfg.Name, u.connector.Version, topic.Name, topic.ID}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g := gs.m[k]; g != nil {
		select {
		case <-g.done: // it ended with an error; its users are about to leave
		default:
			g.refs++
			return g, nil
		}
	}
	g := &group{key: k, refs: 1, done: make(chan struct{}), feed: gs.rt.feeds.get(lake.URL(), path, u.connector.Version)}
	g.appender = bronze.New(bronze.Options{
		Connector: cfg.Name, Topic: topic.Name, TopicID: topic.ID, Interval: cfg.CommitInterval, MaxBytes: cfg.CommitMaxBytes,
		Bucket: lake, Path: path, Tables: gs.rt.tables,
		NewDecoder:   func() (connectors.Decoder, error) { return gs.rt.decoder(cfg) },
		FailOnPoison: cfg.ErrorsTolerance == "none",
		DeadLetters:  gs.rt.letters.box(lake, cfg, ""),
		Hot:          g.feed,
		Mirror:       func(topic string, next map[int32]int64) { gs.rt.mirror.set(client, cfg.GroupID, topic, next) },
		Refused:      func() { gs.rt.stats.refusedBronze.Add(1) },
		Memory:       gs.rt.memory, Slabs: gs.rt.slabs, Spares: gs.rt.spares, Encoders: gs.rt.encoders,
		Logger: gs.rt.log, Crash: gs.rt.o.Crash,
	})
	gs.rt.stats.appender(cfg.Name, topic.Name, path, g.appender)
	ctx, stop := context.WithCancel(gs.rt.hard)
	g.stop = stop
	gs.m[k] = g
	gs.rt.runs.Add(1)
	go func() {
		defer gs.rt.runs.Done()
		defer close(g.done)
		if err := guard.Do(func() error { return g.appender.Run(ctx) }); err != nil {
			gs.rt.log.Error("bronze cannot go on", "connector", cfg.Name, "topic", topic.Name, "error", err)
		}
	}()
	return g, nil
}

func (gs *groups) leave(g *group) {
	gs.mu.Lock()
	g.refs--
	last := g.refs == 0
	if last && gs.m[g.key] == g {
		delete(gs.m, g.key)
	}
	gs.mu.Unlock()
	if last {
		g.stop()
		<-g.done
	}
}

// decoder makes a decoder of the connector's format, with its transforms behind it.
func (r *Runtime) decoder(cfg *config.Sink) (connectors.Decoder, error) {
	chain, err := cfg.Chain()
	if err != nil {
		return nil, err
	}
	o := cdc.OptionsOf(cfg)
	if chain.NeedsBefore() {
		o.Before = cdc.BeforeAlways
	}
	d, err := r.o.Formats.New(cfg.Format, o)
	if err != nil {
		return nil, err
	}
	return smt.Wrap(d, chain), nil
}
