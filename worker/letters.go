package worker

import (
	"context"
	"errors"
	"sync"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/deadletter"
)

// letterBoxes gives the dead-letter boxes of connectors.
type letterBoxes struct{ rt *Runtime }

func newLetterBoxes(rt *Runtime) *letterBoxes { return &letterBoxes{rt: rt} }

// box gives the box of records that cannot be applied to a table; with an empty table, of those that cannot be decoded.
func (l *letterBoxes) box(lake store.Bucket, cfg *config.Sink, table string) *deadletter.Box {
	return deadletter.New(deadletter.Options{
		Connector: cfg.Name, Scope: table, Bucket: lake, Tables: l.rt.tables, Topic: cfg.DLQTopic, Headers: cfg.DLQHeaders,
		Producer: &dlqProducer{rt: l.rt, cfg: cfg}, Log: cfg.ErrorsLog, LogPlace: cfg.ErrorsLogDetails, Logger: l.rt.log,
	})
}

// dlqProducer writes to the dead-letter topic, which it makes when it is not there.
type dlqProducer struct {
	rt   *Runtime
	cfg  *config.Sink
	mu   sync.Mutex
	made bool
}

// Produce implements deadletter.Producer.
func (p *dlqProducer) Produce(ctx context.Context, records []connectors.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.makeTopic(ctx); err != nil {
		return err
	}
	client, release, err := p.rt.clients.get(ctx, p.rt.properties(p.cfg.ProducerOverride))
	if err != nil {
		return err
	}
	defer release()
	return client.Produce(ctx, records)
}

// makeTopic makes the topic if it is not there; p.mu is held.
func (p *dlqProducer) makeTopic(ctx context.Context) error {
	if p.made {
		return nil
	}
	admin, release, err := p.rt.clients.get(ctx, p.rt.properties(p.cfg.AdminOverride))
	if err != nil {
		return err
	}
	defer release()
	found, err := admin.Topics(ctx, p.cfg.DLQTopic)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		err := admin.CreateTopic(ctx, p.cfg.DLQTopic, 1, p.cfg.DLQReplication)
		if err != nil && !errors.Is(err, kafka.ErrTopicExists) {
			return err
		}
	}
	p.made = true
	return nil
}
