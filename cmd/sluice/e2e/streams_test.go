package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/proc"
	"sluice.io/sluice/internal/testkit/streams"
)

// mustPass are the streams whose every table must equal the database's; the others are replayed and told about.
var mustPass = []string{"pg-types", "pg-restart", "maria-types", "pg-toast", "pg-evolve", "maria-orders"}

// TestStreams replays streams captured from real Debezium connectors through `sluice serve` and compares silver with
// the rows that the databases had at the end, and bronze with the records, offset by offset. The broker is kfake, or a real
// Apache Kafka where SLUICE_KAFKA_LIBS names its jars.
func TestStreams(t *testing.T) {
	var client *kgo.Client
	var servers string
	if os.Getenv("SLUICE_KAFKA_LIBS") != "" {
		k := proc.StartKafka(t, t.TempDir())
		servers = k.Addr
		var err error
		// A new topic takes a moment until every part of the broker knows it.
		client, err = kgo.NewClient(kgo.SeedBrokers(servers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(100))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
	} else {
		b := broker.Start(t)
		servers, client = b.Servers(), b.Client()
	}
	n := newNode(t, servers)
	n.start(t)
	n.ready(t)
	for _, name := range streams.Names {
		t.Run(name, func(t *testing.T) { n.replay(t, client, streams.Load(t, name)) })
	}
}

func (n *node) replay(t *testing.T, client *kgo.Client, s *streams.Stream) {
	want := fill(t, client, s)
	must := slices.Contains(mustPass, s.Name)
	// Tables that several topics feed get a connector of their own; the rest of the stream goes to one.
	shared := map[string]string{}
	silver := feeds{}
	for name, table := range s.Tables {
		for _, topic := range table.Topics {
			if len(table.Topics) > 1 {
				shared[topic] = name
			}
		}
	}
	var plain []string
	for topic := range s.Topics {
		if shared[topic] == "" {
			plain = append(plain, regexp.QuoteMeta(topic))
		}
	}
	slices.Sort(plain)
	n.put(t, s.Name, map[string]string{"connector.class": "LakehouseSink", "topics.regex": strings.Join(plain, "|"), "commit.interval.ms": "100"})
	for _, table := range s.Tables {
		if len(table.Topics) > 1 {
			name := s.Name + "-" + table.Name
			n.put(t, name, map[string]string{"connector.class": "LakehouseSink", "topics": strings.Join(table.Topics, ","),
				"silver.path": "silver/" + s.Name + "/" + table.Name, "commit.interval.ms": "100"})
			part := ends{}
			for _, topic := range table.Topics {
				part[topic] = want[topic]
				delete(want, topic)
			}
			n.caughtUp(t, name, part, feeds{"silver/" + s.Name + "/" + table.Name: table.Topics}, 2*time.Minute)
			n.everyOffsetOnce(t, part)
		} else if must {
			silver["silver/"+table.Topics[0]] = table.Topics
		}
	}
	n.caughtUp(t, s.Name, want, silver, 2*time.Minute)
	n.everyOffsetOnce(t, want)
	var written []string
	for name, table := range s.Tables {
		path := "silver/" + table.Topics[0]
		if len(table.Topics) > 1 {
			path = "silver/" + s.Name + "/" + name
		}
		if !must {
			t.Logf("FIGURE stream %s: %s: bronze whole; silver of Avro records belongs to a later step", s.Name, name)
			continue
		}
		rows := n.cat(t, path)
		diffs := table.Compare(rows)
		if len(diffs) == 0 {
			t.Logf("FIGURE stream %s: %s: %d rows as the database showed them", s.Name, name, len(rows))
		} else {
			t.Errorf("stream %s: %s: %d differences, the first:\n  %s", s.Name, name, len(diffs), strings.Join(diffs[:min(8, len(diffs))], "\n  "))
		}
		written = append(written, path, "bronze/"+table.Topics[0])
	}
	n.foreignReaders(t, written...)
}

// fill creates the stream's topics and writes its records in their order, and gives the end offsets. Gaps of the
// captured offsets are not kept: the broker numbers anew.
func fill(t *testing.T, client *kgo.Client, s *streams.Stream) ends {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	want := ends{}
	admin := kadm.NewClient(client)
	for name, topic := range s.Topics {
		if _, err := admin.CreateTopic(ctx, int32(max(1, topic.Partitions)), 1, nil, name); err != nil {
			t.Fatalf("create topic %s: %v", name, err)
		}
		want[name] = map[int32]int64{}
	}
	out := make([]*kgo.Record, len(s.Records))
	for i, r := range s.Records {
		k := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.TimestampMs)}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		out[i] = k
		want[r.Topic][r.Partition]++
	}
	if err := client.ProduceSync(ctx, out...).FirstErr(); err != nil {
		t.Fatal(fmt.Errorf("produce the records of %s: %w", s.Name, err))
	}
	return want
}
