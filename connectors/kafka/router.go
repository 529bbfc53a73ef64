package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"sluice.io/sluice/internal/guard"
)

const (
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = 5 * time.Second
	// idCheck is how often the ids of topics that are read are looked at: a topic that is deleted and made anew
	// between two fetches would otherwise be read on as if it were the old one.
	idCheck = 10 * time.Second
)

func (c *Client) kickRouter() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// park gives a reader to the router, which finds its leader; after a failure only after a pause.
func (c *Client) park(r *Reader, failed bool) {
	r.mu.Lock()
	r.fetcher = nil
	over := r.closed || r.err != nil
	if failed {
		r.backoff = min(max(r.backoff*2, leastBackoff), mostBackoff)
		r.retryAt = time.Now().Add(r.backoff)
	}
	r.mu.Unlock()
	c.mu.Lock()
	if !c.closed && !over {
		c.parked[r] = struct{}{}
	}
	c.mu.Unlock()
	c.kickRouter()
}

// route finds leaders for readers that have none and looks at topic ids, until the Client is closed.
func (c *Client) route() {
	defer c.wg.Done()
	for {
		next := idCheck
		if err := guard.Do(func() error { next = c.routeOnce(c.ctx); return nil }); err != nil {
			c.failParked(err)
		}
		t := time.NewTimer(next)
		select {
		case <-c.kick:
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// failParked ends the readers that look for a leader, at a defect of the router.
func (c *Client) failParked(err error) {
	c.mu.Lock()
	parked := keys(c.parked)
	clear(c.parked)
	c.mu.Unlock()
	for _, r := range parked {
		r.mu.Lock()
		r.fail(err)
		r.mu.Unlock()
	}
}

// routeOnce handles the readers that are due and gives the time to the next one.
func (c *Client) routeOnce(ctx context.Context) time.Duration {
	now := time.Now()
	c.mu.Lock()
	parked, all := keys(c.parked), keys(c.readers)
	c.mu.Unlock()
	next := idCheck
	var due []*Reader
	topics := map[string]struct{}{}
	for _, r := range parked {
		r.mu.Lock()
		at := r.retryAt
		r.mu.Unlock()
		if at.After(now) {
			next = min(next, at.Sub(now))
			continue
		}
		due = append(due, r)
		topics[r.topic] = struct{}{}
	}
	var check []*Reader
	for _, r := range all {
		r.mu.Lock()
		if r.fetcher != nil && now.Sub(r.checked) >= idCheck {
			r.checked = now
			check = append(check, r)
			topics[r.topic] = struct{}{}
		}
		r.mu.Unlock()
	}
	if len(topics) == 0 {
		return next
	}
	names := keys(topics)
	slices.Sort(names)
	ask, cancel := context.WithTimeout(ctx, c.s.requestTimeout)
	defer cancel()
	resp, err := c.metadata(ask, names)
	for _, r := range check {
		if err == nil {
			_, _, id, e := leaderOf(resp, r.topic, r.partition)
			if e == nil {
				r.sameTopic(id)
			}
		}
	}
	ends := c.ends(ask, due, resp, err)
	for _, r := range due {
		if c.place(r, resp, ends[r], err) {
			continue
		}
		r.mu.Lock()
		r.backoff = min(max(r.backoff*2, leastBackoff), mostBackoff)
		r.retryAt = time.Now().Add(r.backoff)
		next = min(next, r.backoff)
		r.mu.Unlock()
	}
	return next
}

// sameTopic ends the reader when its topic has another id than it had.
func (r *Reader) sameTopic(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == "" {
		return true
	}
	if r.topicID == "" {
		r.topicID = id
	}
	if r.topicID != id {
		r.fail(fmt.Errorf("%w: its id was %s and is %s now; the offsets of the table belong to the old one. "+
			"Point bronze.path at another table, or delete the connector's table to begin anew", ErrTopicRecreated, r.topicID, id))
		return false
	}
	return true
}

// place brings a parked reader to the fetcher of its leader. It tells whether the reader needs no more of the router.
func (c *Client) place(r *Reader, resp *sarama.MetadataResponse, ends limits, err error) bool {
	var id int32
	var addr, topicid string
	if err == nil {
		id, addr, topicid, err = leaderOf(resp, r.topic, r.partition)
	}
	if err == nil && !r.sameTopic(topicid) {
		c.unpark(r)
		return true
	}
	if err == nil {
		err = r.inRange(ends)
	}
	r.mu.Lock()
	if r.closed || r.err != nil {
		r.mu.Unlock()
		c.unpark(r)
		return true
	}
	if err != nil {
		if authorization(err) {
			r.fail(fmt.Errorf("%w: %w", ErrAuthorization, err))
		}
		r.trouble = fmt.Sprintf("no leader of %s-%d is to be had: %v", r.topic, r.partition, err)
		over := r.err != nil
		r.mu.Unlock()
		if over {
			c.unpark(r)
		}
		return over
	}
	r.checked = time.Now()
	r.mu.Unlock()
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return true
		}
		at := lane{leader: id}
		f := c.fetchers[at]
		for f != nil && f.addr == addr && f.busy(r) { // only the router attaches, so this stays true
			at.n++
			f = c.fetchers[at]
		}
		if f == nil || f.addr != addr {
			f = &fetcher{c: c, at: at, addr: addr, poke: make(chan struct{}, 1), readers: map[*Reader]struct{}{}}
			c.fetchers[at] = f
			c.wg.Add(1)
			f.readers[r] = struct{}{} // so that it does not end before the reader is there
			go f.run()
		}
		delete(c.parked, r)
		c.mu.Unlock()
		r.mu.Lock()
		r.fetcher = f
		closed := r.closed
		r.mu.Unlock()
		if closed {
			f.detach(r)
			return true
		}
		if f.attach(r) {
			return true
		}
		c.mu.Lock()
		if c.fetchers[at] == f {
			delete(c.fetchers, at)
		}
		c.mu.Unlock()
	}
}

func (c *Client) unpark(r *Reader) {
	c.mu.Lock()
	delete(c.parked, r)
	c.mu.Unlock()
}

// limits are a partition's ends, or why they are not known.
type limits struct {
	start, end int64
	err        error
}

// ends asks the leaders for the ends of all partitions that look for one: two requests for each leader and topic.
func (c *Client) ends(ctx context.Context, due []*Reader, resp *sarama.MetadataResponse, err error) map[*Reader]limits {
	type place struct{ addr, topic string }
	by := map[place][]*Reader{}
	for _, r := range due {
		if err != nil {
			break
		}
		if _, addr, _, e := leaderOf(resp, r.topic, r.partition); e == nil {
			by[place{addr, r.topic}] = append(by[place{addr, r.topic}], r)
		}
	}
	out := make(map[*Reader]limits, len(due))
	for at, readers := range by {
		partitions := make([]int32, len(readers))
		for i, r := range readers {
			partitions[i] = r.partition
		}
		starts, err := c.listOffsets(ctx, at.addr, at.topic, partitions, sarama.OffsetOldest)
		var ends map[int32]int64
		if err == nil {
			ends, err = c.listOffsets(ctx, at.addr, at.topic, partitions, sarama.OffsetNewest)
		}
		for _, r := range readers {
			out[r] = limits{starts[r.partition], ends[r.partition], err}
		}
	}
	return out
}

// inRange compares the reader's position with the ends of the partition, so that a position that the broker does not have
// ends the reader with the reason rather than with silence. An end below the position must be seen three times: a broker
// that has just become leader may not know its end yet.
func (r *Reader) inRange(l limits) error {
	if l.err != nil {
		return l.err
	}
	start, end := l.start, l.end
	r.mu.Lock()
	defer r.mu.Unlock()
	r.high = end
	switch {
	case r.position < start:
		r.fail(&PartitionError{Topic: r.topic, Partition: r.partition, Offset: r.position, Start: start, End: end, Err: ErrRetentionLoss})
	case r.position > end:
		if r.below++; r.below < 3 {
			return errors.New("the partition's end is below the offset that was reached; looking again")
		}
		r.fail(&PartitionError{Topic: r.topic, Partition: r.partition, Offset: r.position, Start: start, End: end, Err: ErrEndBelow})
	default:
		r.below = 0
	}
	return nil
}
