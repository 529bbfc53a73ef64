package worker

import (
	"context"
	"errors"
	"sync"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/deadletter"
)

// letterBoxes gives the dead-letter boxes of connectors.
type letterBoxes struct{ rt *Runtime }

func newLetterBoxes(rt *Runtime) *letterBoxes { return &letterBoxes{rt: rt} }

// of gives the box of records that cannot be decoded.
func (l *letterBoxes) of(lake store.Bucket, cfg *config.Sink, client *kafka.Client) bronze.DeadLetters {
	return l.make(lake, cfg, "", &dlqProducer{cfg: cfg, get: func(context.Context) (*kafka.Client, func(), error) { return client, func() {}, nil }})
}

// box gives the box of records that cannot be applied to a table.
func (l *letterBoxes) box(lake store.Bucket, cfg *config.Sink, table string) *deadletter.Box {
	return l.make(lake, cfg, table, &dlqProducer{cfg: cfg, get: func(ctx context.Context) (*kafka.Client, func(), error) {
		return l.rt.clients.get(ctx, l.rt.properties(cfg))
	}})
}

func (l *letterBoxes) make(lake store.Bucket, cfg *config.Sink, scope string, p deadletter.Producer) *deadletter.Box {
	return deadletter.New(deadletter.Options{
		Connector: cfg.Name, Scope: scope, Bucket: lake, Tables: l.rt.tables, Topic: cfg.DLQTopic, Headers: cfg.DLQHeaders,
		Producer: p, Log: cfg.ErrorsLog, LogPlace: cfg.ErrorsLogDetails, Logger: l.rt.log,
	})
}

// dlqProducer writes to the dead-letter topic, which it makes when it is not there.
type dlqProducer struct {
	cfg  *config.Sink
	get  func(context.Context) (*kafka.Client, func(), error)
	mu   sync.Mutex
	made bool
}

// Produce implements deadletter.Producer.
func (p *dlqProducer) Produce(ctx context.Context, records []connectors.Record) error {
	client, release, err := p.get(ctx)
	if err != nil {
		return err
	}
	defer release()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.made {
		found, err := client.Topics(ctx, p.cfg.DLQTopic)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			err := client.CreateTopic(ctx, p.cfg.DLQTopic, 1, p.cfg.DLQReplication)
			if err != nil && !errors.Is(err, kafka.ErrTopicExists) {
				return err
			}
		}
		p.made = true
	}
	return client.Produce(ctx, records)
}
