// Package feed writes the records of a shop to a Kafka broker, each of them once: it keeps the shop's state in a file,
// and after a crash compares it with what the broker has, lives through the steps since again, and writes only the
// records that are missing. The offset of every record is known before it is written, and checked.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice.io/sluice/internal/shop"
)

// Options of a Feed.
type Options struct {
	// Brokers are bootstrap addresses.
	Brokers []string
	// State is the file that keeps the shop between runs; empty: none, and a run can't be continued.
	State string
	// Shop is how a new shop begins; a shop in State goes on as it began.
	Shop shop.Options
	// Rate is how many records a second Run writes; 0: as many as the broker takes.
	Rate float64
	// SaveEvery is how often Run saves the state. Default 10 s.
	SaveEvery time.Duration
}

var (
	// ErrLost: the broker has fewer records than the shop has written.
	ErrLost = errors.New("records were lost")
	// ErrState: the file with the shop's state can't be read.
	ErrState = errors.New("the shop's state can't be read")
)

// Feed is a shop with a connection to a broker. Run is called once, from one goroutine; Written from any.
type Feed struct {
	opts    Options
	shop    *shop.Shop
	client  *kgo.Client
	written atomic.Int64
	failed  atomic.Pointer[error]

	mu    sync.Mutex
	ended map[string][]int64
}

// recordsPerStep is how many records a step gives, about; it turns a rate into the shop's clock.
const recordsPerStep = 2.6

// Open loads or begins the shop, makes its topics, and brings the broker to where the shop is.
func Open(ctx context.Context, o Options) (*Feed, error) {
	if o.SaveEvery == 0 {
		o.SaveEvery = 10 * time.Second
	}
	f := &Feed{opts: o}
	var err error
	if f.shop, err = load(o); err != nil {
		return nil, err
	}
	f.client, err = kgo.NewClient(kgo.SeedBrokers(o.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchMaxBytes(1<<20), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("connect the shop to the broker: %w", err)
	}
	if err := f.catchUp(ctx); err != nil {
		f.client.Close()
		return nil, err
	}
	return f, nil
}

func load(o Options) (*shop.Shop, error) {
	if o.State == "" {
		return shop.New(o.Shop), nil
	}
	file, err := os.Open(o.State)
	if errors.Is(err, fs.ErrNotExist) {
		return shop.New(o.Shop), nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the shop's state: %w", err)
	}
	defer file.Close()
	s, err := shop.Load(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrState, o.State, err)
	}
	return s, nil
}

// catchUp makes the topics and writes what the broker lacks of the life up to now.
func (f *Feed) catchUp(ctx context.Context) error {
	if err := f.makeTopics(ctx); err != nil {
		return err
	}
	have, err := f.ends(ctx)
	if err != nil {
		return err
	}
	f.ended = map[string][]int64{}
	for t, ends := range have {
		f.ended[t] = slices.Clone(ends)
	}
	behind := func() bool {
		for topic, ends := range f.shop.Ends() {
			for p, end := range ends {
				if end < have[topic][p] {
					return true
				}
			}
		}
		return false
	}
	for topic, ends := range f.shop.Ends() {
		for p, end := range ends {
			if have[topic][p] < end {
				return fmt.Errorf("the broker has %d records of %s-%d and the shop has written %d: %w", have[topic][p], topic, p, end, ErrLost)
			}
		}
	}
	for behind() {
		for _, r := range f.shop.Next() {
			if r.Offset >= have[r.Topic][r.Partition] {
				f.produce(ctx, r)
			}
		}
	}
	return f.checkpoint(ctx)
}

// checkpoint makes sure that the broker has everything and saves the state, with the clock set forward to now: only
// then may a record be written that shows the new time.
func (f *Feed) checkpoint(ctx context.Context) error {
	if err := f.flush(ctx); err != nil {
		return err
	}
	f.shop.AdvanceTo(time.Now())
	if f.opts.Rate > 0 {
		f.shop.SetStep(time.Duration(recordsPerStep / f.opts.Rate * float64(time.Second)))
	}
	return f.save()
}

func (f *Feed) flush(ctx context.Context) error {
	if err := f.client.Flush(ctx); err != nil {
		return fmt.Errorf("write the shop's records: %w", err)
	}
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *Feed) save() error {
	if f.opts.State == "" {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.opts.State), ".shop-*")
	if err != nil {
		return fmt.Errorf("save the shop: %w", err)
	}
	defer os.Remove(tmp.Name())
	err = f.shop.Save(tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.opts.State)
	}
	if err != nil {
		return fmt.Errorf("save the shop: %w", err)
	}
	return nil
}

func (f *Feed) produce(ctx context.Context, r shop.Record) {
	kr := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		kr.Headers = append(kr.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	want := r.Offset
	f.mu.Lock()
	f.ended[r.Topic][r.Partition] = r.Offset + 1
	f.mu.Unlock()
	f.client.Produce(ctx, kr, func(got *kgo.Record, err error) {
		if err == nil && got.Offset != want {
			err = fmt.Errorf("offset %d of %s-%d was expected and %d given: something else writes this topic", want, got.Topic, got.Partition, got.Offset)
		}
		if err != nil {
			err = fmt.Errorf("write the shop's records: %w", err)
			f.failed.CompareAndSwap(nil, &err)
			return
		}
		f.written.Add(1)
	})
}

// Run lives until ctx ends, then writes what is left and saves.
func (f *Feed) Run(ctx context.Context) error {
	for _, r := range f.shop.Next() { // maybe the snapshot: it does not count against the rate
		f.produce(context.WithoutCancel(ctx), r)
	}
	began, saved := time.Now(), time.Now()
	sent := 0.0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for batch := 0; batch < 2000 && (f.opts.Rate == 0 || sent < f.opts.Rate*time.Since(began).Seconds()); batch++ {
			for _, r := range f.shop.Next() {
				f.produce(context.WithoutCancel(ctx), r)
				sent++
			}
		}
		if err := f.failed.Load(); err != nil {
			return *err
		}
		if time.Since(saved) > f.opts.SaveEvery {
			if err := f.checkpoint(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			saved = time.Now()
		}
		if f.opts.Rate > 0 {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
	return f.Save(context.WithoutCancel(ctx))
}

// Write lives through n steps and waits until the broker has their records.
func (f *Feed) Write(ctx context.Context, n int) error {
	for range n {
		for _, r := range f.shop.Next() {
			f.produce(ctx, r)
		}
	}
	return f.flush(ctx)
}

// Drain writes what is held back, so that the tables are what Shop().Expected says.
func (f *Feed) Drain(ctx context.Context) error {
	for _, r := range f.shop.Drain() {
		f.produce(ctx, r)
	}
	return f.flush(ctx)
}

// Save writes what is left and saves the state. Not during Run.
func (f *Feed) Save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := f.flush(ctx); err != nil {
		return err
	}
	return f.save()
}

// Shop is the shop; not to be touched during Run.
func (f *Feed) Shop() *shop.Shop { return f.shop }

// Written counts the records that the broker has confirmed.
func (f *Feed) Written() int64 { return f.written.Load() }

// Ends gives for each topic the offset behind the last record of each partition that was handed to the broker.
func (f *Feed) Ends() map[string][]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string][]int64, len(f.ended))
	for t, ends := range f.ended {
		out[t] = slices.Clone(ends)
	}
	return out
}

// Close ends the connection.
func (f *Feed) Close() { f.client.Close() }

func (f *Feed) makeTopics(ctx context.Context) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, topic := range f.shop.Topics() {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic, f.shop.Partitions(), -1
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, f.client)
	if err != nil {
		return fmt.Errorf("make the shop's topics: %w", err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("make the topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

// ends asks the broker for the end of every partition.
func (f *Feed) ends(ctx context.Context) (map[string][]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	out := map[string][]int64{}
	for _, topic := range f.shop.Topics() {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for p := range f.shop.Partitions() {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p, -1
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
		out[topic] = make([]int64, f.shop.Partitions())
	}
	for {
		retry := false
		for _, shard := range f.client.RequestSharded(ctx, req) {
			if shard.Err != nil {
				return nil, fmt.Errorf("ask for the ends of the shop's topics: %w", shard.Err)
			}
			for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
				for _, p := range t.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); kerr.IsRetriable(err) {
						retry = true // a topic just made has no leader for a moment
					} else if err != nil {
						return nil, fmt.Errorf("ask for the end of %s-%d: %w", t.Topic, p.Partition, err)
					}
					out[t.Topic][p.Partition] = p.Offset
				}
			}
		}
		if !retry {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
