package kafka

import (
	"context"
	"fmt"
	"time"

	"sluice.io/sluice/connectors"

	"github.com/IBM/sarama"
)

// Produce writes records to their topics and waits until all in-sync replicas have them. Partition and
// Offset of the records are not used: the key's hash chooses the partition. On error some may have been written.
func (c *Client) Produce(ctx context.Context, records []connectors.Record) error {
	if len(records) == 0 {
		return nil
	}
	p, err := c.syncProducer(ctx)
	if err != nil {
		return err
	}
	msgs := make([]*sarama.ProducerMessage, len(records))
	for i := range records {
		r := &records[i]
		m := &sarama.ProducerMessage{Topic: r.Topic}
		if r.TimestampMs > 0 {
			m.Timestamp = time.UnixMilli(r.TimestampMs)
		}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		msgs[i] = m
	}
	_, err = do(ctx, c, func() (struct{}, error) { return struct{}{}, p.SendMessages(msgs) })
	if err != nil {
		return fmt.Errorf("produce %d records to %s: %w", len(records), records[0].Topic, err)
	}
	return nil
}

func (c *Client) syncProducer(ctx context.Context) (sarama.SyncProducer, error) {
	c.mu.Lock()
	p := c.producer
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := do(ctx, c, func() (sarama.SyncProducer, error) {
		conf := *c.s.conf
		return sarama.NewSyncProducer(c.addresses(), &conf)
	})
	if err != nil {
		return nil, fmt.Errorf("start a producer: %w", err)
	}
	c.mu.Lock()
	if c.producer == nil && !c.closed {
		c.producer = p
		c.mu.Unlock()
		return p, nil
	}
	first, closed := c.producer, c.closed
	c.mu.Unlock()
	_ = p.Close() // another call was faster, or the Client is closing
	if closed {
		return nil, ErrClosed
	}
	return first, nil
}
