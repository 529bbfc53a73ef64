// Package broker gives tests a Kafka broker in this process: kfake behind the real wire protocol, with helpers to
// fill its topics. Production code never imports it.
package broker

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is a cluster of fake brokers.
type Broker struct {
	*kfake.Cluster
	tb testing.TB
	cl *kgo.Client
}

// Start runs a cluster of one broker until the test ends. Options are those of kfake.
func Start(tb testing.TB, options ...kfake.Opt) *Broker {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		tb.Fatal("start a broker: ", err)
	}
	b := &Broker{Cluster: c, tb: tb}
	tb.Cleanup(func() {
		if b.cl != nil {
			b.cl.Close()
		}
		c.Close()
	})
	return b
}

// Listen is an option for Start: the broker takes its listener from fn, and announces that listener's address.
func Listen(fn func(network, address string) (net.Listener, error)) kfake.Opt {
	return kfake.ListenFn(fn)
}

// Servers is the value of bootstrap.servers.
func (b *Broker) Servers() string { return strings.Join(b.ListenAddrs(), ",") }

// Client gives a franz-go client of the cluster; the broker closes it.
func (b *Broker) Client() *kgo.Client {
	b.tb.Helper()
	if b.cl == nil {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<20))
		if err != nil {
			b.tb.Fatal("make a Kafka client: ", err)
		}
		b.cl = cl
	}
	return b.cl
}

// Forget drops the client, which remembers topic ids; needed after a topic was deleted and made anew.
func (b *Broker) Forget() {
	if b.cl != nil {
		b.cl.Close()
		b.cl = nil
	}
}

// Topic makes a topic.
func (b *Broker) Topic(name string, partitions int32) {
	b.tb.Helper()
	if err := b.CreateTopic(name, partitions, nil); err != nil {
		b.tb.Fatalf("create topic %s: %v", name, err)
	}
}

// Put writes records, each to the partition that it names, and waits for them.
func (b *Broker) Put(records ...*kgo.Record) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Client().ProduceSync(ctx, records...).FirstErr(); err != nil {
		b.tb.Fatal("produce: ", err)
	}
}

// Rec makes a record; an empty key or value is a null.
func Rec(topic string, partition int32, key, value string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: partition}
	if key != "" {
		r.Key = []byte(key)
	}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

// Transaction writes records in one transaction and ends it.
func (b *Broker) Transaction(id string, commit bool, records ...*kgo.Record) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.tb.Fatal("make a transactional client: ", err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		b.tb.Fatal("begin: ", err)
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		b.tb.Fatal("produce: ", err)
	}
	if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		b.tb.Fatal("end: ", err)
	}
}

// GroupOffsets gives the offsets that were committed to a group, by topic and partition.
func (b *Broker) GroupOffsets(group string) map[string]map[int32]int64 {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req := kmsg.NewOffsetFetchRequest()
	req.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, b.Client())
	if err != nil {
		return nil
	}
	out := map[string]map[int32]int64{}
	set := func(topic string, p int32, offset int64) {
		if out[topic] == nil {
			out[topic] = map[int32]int64{}
		}
		out[topic][p] = offset
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			set(t.Topic, p.Partition, p.Offset)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				set(t.Topic, p.Partition, p.Offset)
			}
		}
	}
	return out
}
