package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"sluice.io/sluice/internal/guard"
)

// fetchVersion is the newest Fetch that names topics rather than ids; every broker since 2.7 speaks it, Kafka 4 too.
const fetchVersion = 12

// pace is the pause between two fetches that bring little, so that a trickle of records does not become a request for each.
// A fetch that fills half of a response is followed by the next one at once.
const pace = 15 * time.Millisecond

// lane is where a fetcher reads: from a leader, and which of several fetchers of that leader it is. A request can name a partition
// only once, so a partition that is read twice at different offsets (two connectors, one topic) has its Readers in different lanes.
type lane struct {
	leader int32
	n      int
}

// fetcher asks one leader for all the partitions that are read from it in its lane, over a connection of its own: a long poll must
// not stand in the way of other requests, and a broker answers one connection in order.
type fetcher struct {
	c    *Client
	at   lane
	addr string
	poke chan struct{}

	mu      sync.Mutex
	readers map[*Reader]struct{} // no two of them of one partition
	gone    bool
}

func (f *fetcher) kick() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// attach gives a reader to the fetcher; false: the fetcher has ended.
func (f *fetcher) attach(r *Reader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return false
	}
	f.readers[r] = struct{}{}
	f.kick()
	return true
}

// busy tells whether another reader reads the partition of r here.
func (f *fetcher) busy(r *Reader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := range f.readers {
		if x != r && x.partition == r.partition && x.topic == r.topic {
			return true
		}
	}
	return false
}

func (f *fetcher) detach(r *Reader) {
	f.mu.Lock()
	delete(f.readers, r)
	f.mu.Unlock()
	f.kick()
}

// run asks until the connection breaks or no reader is left; then its readers go back to the router.
func (f *fetcher) run() {
	defer f.c.wg.Done()
	ctx := f.c.ctx
	conf := *f.c.s.conf
	conf.Net.ReadTimeout = f.c.s.fetchMaxWait + f.c.s.requestTimeout
	b := sarama.NewBroker(f.addr)
	err := b.Open(&conf)
	if err == nil {
		_, err = b.Connected()
	}
	for err == nil && ctx.Err() == nil {
		var more bool
		err = guard.Do(func() (err error) {
			more, err = f.round(ctx, b)
			return err
		})
		if !more {
			break
		}
	}
	if c, _ := b.Connected(); c {
		_ = b.Close()
	}
	f.end(err)
}

// end sends the readers back to the router; those of a defect have failed.
func (f *fetcher) end(err error) {
	f.c.mu.Lock()
	if f.c.fetchers[f.at] == f {
		delete(f.c.fetchers, f.at)
	}
	f.c.mu.Unlock()
	f.mu.Lock()
	f.gone = true
	readers := keys(f.readers)
	clear(f.readers)
	f.mu.Unlock()
	for _, r := range readers {
		if err != nil {
			var defect *guard.PanicError
			r.mu.Lock()
			switch {
			case errors.As(err, &defect):
				r.fail(err)
			case authorization(err):
				r.fail(fmt.Errorf("%w: %w", ErrAuthorization, err))
			default:
				r.trouble = fmt.Sprintf("broker %s: %v", f.addr, err)
			}
			r.mu.Unlock()
		}
		f.c.park(r, err != nil)
	}
}

// round sends one request and hands its answer out. more is false when there is nobody left to ask for.
func (f *fetcher) round(ctx context.Context, b *sarama.Broker) (more bool, err error) {
	f.mu.Lock()
	readers := keys(f.readers)
	if len(readers) == 0 {
		f.gone = true
		f.mu.Unlock()
		return false, nil
	}
	f.mu.Unlock()

	now := time.Now()
	req := &sarama.FetchRequest{
		Version: fetchVersion, MinBytes: f.c.s.fetchMinBytes, Isolation: f.c.s.isolation,
		SessionID: 0, SessionEpoch: -1, RackID: f.c.s.rack,
	}
	asked, skipped, want := 0, 0, int64(0)
	for _, r := range readers { // in random order, so that each partition comes first at times
		var offset int64
		var size int32
		var ok, full bool
		r.guarded(func() { offset, size, ok, full = r.wants(now) })
		if !ok {
			if !full {
				skipped++
			}
			continue
		}
		req.AddBlock(r.topic, r.partition, offset, size, -1)
		want += int64(size)
		asked++
	}
	if asked == 0 {
		wait := time.Minute
		if skipped > 0 {
			wait = pace
		}
		f.wait(ctx, wait)
		return true, nil
	}
	// A response stays in memory as a whole while any record of it does, so it is to be a small part of what there is.
	most := max(f.c.budget.Limit()/8, 256<<10)
	reserved, err := f.c.budget.Acquire(ctx, min(want, int64(f.c.s.fetchMaxBytes), most), min(want, 256<<10))
	if err != nil {
		return false, nil
	}
	req.MaxBytes = int32(reserved)
	wait := f.c.s.fetchMaxWait
	if asked < len(readers) {
		wait = min(wait, 2*pace) // those left out may have room before a long poll ends
	}
	req.MaxWaitTime = int32(wait.Milliseconds())
	kept, err := f.fetch(b, req, readers, reserved)
	if err != nil {
		return true, err
	}
	if kept < int64(f.c.s.fetchMaxBytes)/2 && kept < want/2 {
		f.pause(ctx)
	}
	return true, nil
}

// fetch sends a request and hands its answer out; what was reserved for it and is not kept is given back.
func (f *fetcher) fetch(b *sarama.Broker, req *sarama.FetchRequest, readers []*Reader, reserved int64) (kept int64, err error) {
	defer func() { f.c.budget.Add(kept - reserved) }()
	resp, err := b.Fetch(req)
	if err != nil {
		return 0, err
	}
	return f.handOut(readers, resp), nil
}

func (f *fetcher) handOut(readers []*Reader, resp *sarama.FetchResponse) (kept int64) {
	now := time.Now()
	for _, r := range readers {
		block := resp.GetBlock(r.topic, r.partition)
		if block == nil {
			continue
		}
		var n int64
		var park bool
		r.guarded(func() { n, park = r.deliver(block, now) })
		kept += n
		if park {
			f.detach(r)
			f.c.park(r, true)
		}
	}
	return kept
}

// wait sleeps until something changes.
func (f *fetcher) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.poke:
	case <-t.C:
	case <-ctx.Done():
	}
}

func (f *fetcher) pause(ctx context.Context) { sleep(ctx, pace) }
