package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
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
	var written []lakeTable
	for _, name := range streams.Names {
		t.Run(name, func(t *testing.T) {
			s := streams.Load(t, name)
			want := fill(t, client, s)
			for i, v := range variants(name) {
				written = append(written, n.replay(t, s, want, v, i == 0)...)
			}
		})
	}
	startReaders(t, "spark", "delta-rs", "duckdb", "kernel-java").agree(t, written...)
}

// variant is a kind of silver table: what silver.scd.type and silver.merge.mode say.
type variant struct{ scd, mode string }

// variants are the kinds in which a stream is replayed, the default first: all four where real systems are, else a history of two
// streams.
func variants(stream string) []variant {
	all := []variant{{"1", "deletion-vectors"}, {"2", "deletion-vectors"}, {"1", "copy-on-write"}, {"2", "copy-on-write"}}
	switch {
	case !slices.Contains(mustPass, stream):
		return all[:1]
	case os.Getenv("SLUICE_REAL") != "":
		return all
	case stream == "maria-orders":
		return []variant{all[0], all[1]}
	case stream == "pg-evolve":
		return []variant{all[0], all[3]}
	}
	return all[:1]
}

// replay gives a stream to connectors of their own, on a part of the lake of its own for each variant. It gives the
// tables that other engines are to read.
func (n *node) replay(t *testing.T, s *streams.Stream, ends map[string]map[int32]int64, v variant, first bool) []lakeTable {
	t.Helper()
	name, suffix := s.Name, ""
	if !first {
		suffix = "-" + v.scd + "-" + v.mode
		n = &node{Process: n.Process, id: n.id, dir: n.dir, lake: n.lake + "/variant" + suffix, rest: n.rest}
	}
	name += suffix
	feed := !first || os.Getenv("READERS_HOME") != "" // every kind of table has one where others are to read it
	// Small commits: a table that gets all in one has a feed of nothing but insertions.
	config := func(more map[string]string) map[string]string {
		c := map[string]string{"connector.class": "LakehouseSink", "commit.interval.ms": "100", "lake.url": "file://" + n.lake, "silver.scd.type": v.scd, "silver.merge.mode": v.mode, "commit.max.bytes": "20000",
			"silver.change.data.feed": strconv.FormatBool(feed)}
		maps.Copy(c, more)
		return c
	}
	want := maps.Clone(ends)
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
	n.put(t, name, config(map[string]string{"topics.regex": strings.Join(plain, "|")}))
	for _, table := range s.Tables {
		if len(table.Topics) > 1 {
			one := name + "-" + table.Name
			n.put(t, one, config(map[string]string{"topics": strings.Join(table.Topics, ","), "silver.path": "silver/" + s.Name + "/" + table.Name}))
			part := map[string]map[int32]int64{}
			for _, topic := range table.Topics {
				part[topic] = want[topic]
				delete(want, topic)
			}
			n.caughtUp(t, one, part, feeds{"silver/" + s.Name + "/" + table.Name: table.Topics}, 2*time.Minute)
			n.everyOffsetOnce(t, part)
		} else if must {
			silver["silver/"+table.Topics[0]] = table.Topics
		}
	}
	n.caughtUp(t, name, want, silver, 2*time.Minute)
	if first {
		n.everyOffsetOnce(t, want)
	}
	var written []lakeTable
	for _, table := range slices.Sorted(maps.Keys(s.Tables)) {
		want := s.Tables[table]
		path := "silver/" + want.Topics[0]
		if len(want.Topics) > 1 {
			path = "silver/" + s.Name + "/" + table
		}
		if !must {
			t.Logf("FIGURE stream %s: %s: bronze whole; silver of Avro records belongs to a later step", s.Name, table)
			continue
		}
		all := n.cat(t, path)
		rows := all
		if v.scd == "2" {
			rows = slices.DeleteFunc(slices.Clone(all), func(l string) bool { return !strings.Contains(l, `"__END_AT":null`) })
		}
		diffs := want.Compare(rows)
		switch {
		case len(diffs) == 0 && first: // the other variants would only make the list long
			t.Logf("FIGURE stream %s: %s: %d rows as the database showed them, of %d (silver.scd.type %s, %s)", s.Name, table, len(rows), len(all), v.scd, v.mode)
		case len(diffs) > 0:
			t.Errorf("stream %s: %s (silver.scd.type %s, %s): %d differences, the first:\n  %s", s.Name, table, v.scd, v.mode, len(diffs), strings.Join(diffs[:min(8, len(diffs))], "\n  "))
		}
		written = append(written, lakeTable{n, path, feed})
		if first {
			written = append(written, lakeTable{n, "bronze/" + want.Topics[0], false})
		}
	}
	if !first {
		for _, c := range append([]string{name}, n.sharedOf(s, name)...) {
			n.call(t, "DELETE", "/connectors/"+url.PathEscape(c), nil)
		}
	}
	return written
}

// sharedOf names the connectors of tables that several topics feed.
func (n *node) sharedOf(s *streams.Stream, name string) []string {
	var out []string
	for _, table := range s.Tables {
		if len(table.Topics) > 1 {
			out = append(out, name+"-"+table.Name)
		}
	}
	return out
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
