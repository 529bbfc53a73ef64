package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// MirrorOffsets writes next offsets, by topic and partition, to a consumer group, so that tools which know groups show
// the lag. It is a mirror: nothing is ever read back from it (D1). A group that has members of its own refuses.
func (c *Client) MirrorOffsets(ctx context.Context, group string, next map[string]map[int32]int64) error {
	var last error
	for range 3 { // the coordinator may have moved, or be loading
		addr, err := c.coordinator(ctx, group)
		if err != nil {
			return fmt.Errorf("mirror offsets to group %s: %w", group, err)
		}
		last = c.commitOffsets(ctx, addr, group, next)
		if last == nil {
			return nil
		}
		c.mu.Lock()
		delete(c.groups, group)
		c.mu.Unlock()
		if !retriable(last) || ctx.Err() != nil {
			break
		}
		if !sleep(ctx, leastBackoff) {
			break
		}
	}
	return fmt.Errorf("mirror offsets to group %s: %w", group, last)
}

func (c *Client) commitOffsets(ctx context.Context, addr, group string, next map[string]map[int32]int64) error {
	resp, err := ask(ctx, c, addr, func(b *sarama.Broker) (*sarama.OffsetCommitResponse, error) {
		req := sarama.NewOffsetCommitRequest(c.s.conf, group)
		for topic, partitions := range next {
			for p, offset := range partitions {
				req.AddBlock(topic, p, offset, 0, "")
			}
		}
		return b.CommitOffset(req)
	})
	if err != nil {
		return err
	}
	for topic, partitions := range resp.Errors {
		for p, e := range partitions {
			if !errors.Is(e, sarama.ErrNoError) {
				return fmt.Errorf("%s-%d: %w", topic, p, e)
			}
		}
	}
	return nil
}

// coordinator gives the address of a group's coordinator.
func (c *Client) coordinator(ctx context.Context, group string) (string, error) {
	c.mu.Lock()
	addr := c.groups[group]
	c.mu.Unlock()
	if addr != "" {
		return addr, nil
	}
	var errs []error
	for _, a := range c.addresses() {
		resp, err := ask(ctx, c, a, func(b *sarama.Broker) (*sarama.FindCoordinatorResponse, error) {
			return b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: 2, CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup})
		})
		if err == nil && !errors.Is(resp.Err, sarama.ErrNoError) {
			err = resp.Err
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if resp.Coordinator == nil || resp.Coordinator.Addr() == "" {
			errs = append(errs, sarama.ErrConsumerCoordinatorNotAvailable)
			continue
		}
		c.mu.Lock()
		c.groups[group] = resp.Coordinator.Addr()
		c.mu.Unlock()
		return resp.Coordinator.Addr(), nil
	}
	return "", fmt.Errorf("find its coordinator: %w", errors.Join(errs...))
}
