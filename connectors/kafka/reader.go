package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/internal/guard"

	"github.com/IBM/sarama"
)

// Batch is a run of one partition's records.
type Batch struct {
	// Records in offset order. There may be none where only offsets without records were passed.
	Records []connectors.Record
	// Next is the offset to go on from: beyond the last record, and beyond what was jumped over after it.
	Next int64
	// HighWater is the partition's end as of this batch.
	HighWater int64
	// Bytes is the size of keys, values and headers.
	Bytes int64
}

// Reader reads one partition in offset order, from an offset on. Next is for one goroutine; the other methods are safe
// for concurrent use.
type Reader struct {
	c         *Client
	topic     string
	partition int32

	mu       sync.Mutex
	queue    []block
	queued   int64 // bytes in queue
	wake     chan struct{}
	closed   bool
	err      error
	trouble  string
	topicID  string // as first seen, or as the caller knew it
	position int64  // next offset to fetch
	size     int32  // bytes to ask for
	notYet   time.Time
	high     int64
	fetcher  *fetcher
	checked  time.Time // when the topic's id was last looked at
	below    int       // times in a row that the broker's end was below position
	retryAt  time.Time
	backoff  time.Duration

	next int64 // next offset to hand out; Next's only
}

// block is what one response held for the partition.
type block struct {
	resp  *sarama.FetchResponseBlock
	from  int64 // records before it were had already
	next  int64
	high  int64
	bytes int64
}

// Read begins to read a partition at offset, in the background; nothing is asked of the broker by the call itself.
// topicID is the id that the topic had when offset was reached, empty if not known: another id ends the Reader with
// ErrTopicRecreated.
func (c *Client) Read(topic string, partition int32, offset int64, topicID string) *Reader {
	r := &Reader{
		c: c, topic: topic, partition: partition, topicID: topicID,
		position: offset, next: offset, high: -1, size: c.s.partitionMaxBytes,
		wake: make(chan struct{}, 1),
	}
	c.mu.Lock()
	if c.closed {
		r.closed = true
	} else {
		c.readers[r] = struct{}{}
		c.parked[r] = struct{}{}
	}
	c.mu.Unlock()
	c.kickRouter()
	return r
}

// Next waits for records and gives them. It ends with ctx's error, with ErrClosed, or with a *PartitionError that
// waiting cannot mend; a broker that does not answer is no such error (see Trouble).
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	for {
		r.mu.Lock()
		switch {
		case r.closed:
			r.mu.Unlock()
			return Batch{}, ErrClosed
		case len(r.queue) > 0:
			b := r.queue[0]
			r.queue[0] = block{}
			r.queue = r.queue[1:]
			r.queued -= b.bytes
			f := r.fetcher
			r.mu.Unlock()
			r.c.budget.Add(-b.bytes)
			if f != nil {
				f.kick()
			}
			out, err := r.convert(b)
			if err != nil {
				return Batch{}, err
			}
			if out.Next == r.next && len(out.Records) == 0 {
				continue
			}
			r.next = out.Next
			return out, nil
		case r.err != nil:
			err := r.err
			r.mu.Unlock()
			return Batch{}, err
		}
		r.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// Trouble says what keeps the Reader from its broker at the moment, empty when nothing does.
func (r *Reader) Trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

// HighWater gives the partition's end as the broker last told it, -1 before that.
func (r *Reader) HighWater() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.high
}

// Close ends the Reader. What was fetched and not handed out is dropped.
func (r *Reader) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	bytes := r.queued
	r.queue, r.queued = nil, 0
	f := r.fetcher
	r.mu.Unlock()
	r.c.budget.Add(-bytes)
	if f != nil {
		f.detach(r)
	}
	r.c.mu.Lock()
	delete(r.c.readers, r)
	delete(r.c.parked, r)
	r.c.mu.Unlock()
	r.signal()
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// wants tells whether the fetcher shall ask for this partition now, from where, and for how many bytes. full: it has
// fetched enough that was not handed out yet (D9).
func (r *Reader) wants(now time.Time) (offset int64, size int32, ok, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil || now.Before(r.notYet) {
		return 0, 0, false, false
	}
	if r.queued >= int64(r.c.s.partitionMaxBytes) {
		return 0, 0, false, true
	}
	return r.position, r.size, true, false
}

// deliver takes the partition's part of a response. It gives the bytes that it keeps, and whether the partition must
// look for another leader.
func (r *Reader) deliver(b *sarama.FetchResponseBlock, now time.Time) (kept int64, park bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.err != nil {
		return 0, false
	}
	if !errors.Is(b.Err, sarama.ErrNoError) {
		r.refused(b.Err)
		return 0, r.err == nil
	}
	r.trouble, r.backoff, r.below = "", 0, 0
	r.high = b.HighWaterMarkOffset
	next, bytes, whole := measure(b, r.position)
	end := b.HighWaterMarkOffset
	if r.c.s.isolation == sarama.ReadCommitted && b.LastStableOffset >= 0 {
		end = min(end, b.LastStableOffset)
	}
	if !whole {
		// Nothing but a cut batch, or batches that compaction has emptied: ask for more bytes. Sarama does not tell the
		// second case from "nothing new", so the wish for more grows while the end lies ahead.
		if r.position < end {
			r.size = grow(r.size)
			r.notYet = now.Add(20 * time.Millisecond)
		}
		return 0, false
	}
	r.size = fit(r.size, bytes, r.c.s.partitionMaxBytes)
	r.queue = append(r.queue, block{resp: b, from: r.position, next: next, high: r.high, bytes: bytes})
	r.queued += bytes
	r.position = next
	r.signal()
	return bytes, false
}

// fit gives the size to ask for next: what is bounded is bytes in memory, but a broker counts compressed bytes (D9).
func fit(asked int32, got int64, limit int32) int32 {
	switch {
	case got > int64(limit):
		return int32(max(int64(asked)*int64(limit)/got, 32<<10, 1))
	case asked < limit && got < int64(limit)/2:
		return min(asked*2, limit)
	}
	return min(asked, limit)
}

func grow(size int32) int32 {
	const most = 512 << 20
	if size >= most/2 {
		return most
	}
	return max(size*2, 1<<10)
}

// refused handles an error code of the broker for this partition; r.mu is held.
func (r *Reader) refused(err error) {
	switch {
	case errors.Is(err, sarama.ErrOffsetOutOfRange):
		r.trouble = "the broker does not have the offset; looking at the partition's ends"
		return // the router looks, and decides
	case authorization(err):
		r.fail(fmt.Errorf("%w: %w", ErrAuthorization, err))
		return
	case !retriable(err):
		r.fail(err)
		return
	}
	r.trouble = fmt.Sprintf("reading %s-%d: %v", r.topic, r.partition, err)
}

// guarded runs f, of one reader: a panic there ends this Reader, and none of those that share its connection.
func (r *Reader) guarded(f func()) {
	if err := guard.Do(func() error { f(); return nil }); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fail(err)
	}
}

// fail ends the Reader with err once what is queued has been handed out; r.mu is held.
func (r *Reader) fail(err error) {
	if r.err == nil {
		var pe *PartitionError
		if !errors.As(err, &pe) {
			err = &PartitionError{Topic: r.topic, Partition: r.partition, Offset: r.position, Start: -1, End: -1, Err: err}
		}
		r.err = err
	}
	r.signal()
}
