package bronze

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/testkit"
	"sluice.io/sluice/internal/testkit/streams"
	"sluice.io/sluice/worker/commit"
)

// throughBronze appends records of one topic partition and reads the changes of the table.
func throughBronze(t *testing.T, format string, records []connectors.Record) []connectors.Change {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	b := mem.New("lake")
	decoder := func() (connectors.Decoder, error) { return formats.Default().New(format, cdc.Options{}) }
	o := Options{Connector: "c", Topic: records[0].Topic, Interval: 1e7, MaxBytes: 1 << 30, Bucket: b, Path: "bronze/t", Tables: commit.NewTables(nil),
		NewDecoder: decoder, DeadLetters: &lettersSink{m: map[string]int{}}}
	a := New(o)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	p, err := a.Join(ctx, records[0].Partition, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin(records[0].Offset)
	if err := p.Add(ctx, kafka.Batch{Records: records, Next: records[len(records)-1].Offset + 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	table, err := delta.Open(context.Background(), b, "bronze/t")
	if err != nil {
		t.Fatal(err)
	}
	dec, _ := decoder()
	var out []connectors.Change
	s, _ := table.Snapshot(context.Background())
	for v := int64(1); v <= s.Version; v++ {
		pieces, _, err := ReadVersion(context.Background(), table, v, dec, ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range pieces {
			out = append(out, piece...)
		}
	}
	return out
}

// sameChanges compares what decoding records gives with what their rows give.
func sameChanges(t *testing.T, format string, records []connectors.Record) (n int) {
	t.Helper()
	dec, err := formats.Default().New(format, cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var want []connectors.Change
	for i := range records {
		out, err := dec.Decode(want, &records[i])
		if err == nil {
			want = out
		}
	}
	got := throughBronze(t, format, records)
	if len(got) != len(want) {
		t.Fatalf("%s: %d changes come back of %d", records[0].Topic, len(got), len(want))
	}
	for i := range want {
		a, b := want[i], got[i]
		if a.Record.EventID() != b.Record.EventID() || a.Record.TimestampMs != b.Record.TimestampMs || string(a.Record.Key) != string(b.Record.Key) ||
			!reflect.DeepEqual(a.Record.Headers, b.Record.Headers) {
			t.Fatalf("record %s came back as %s", a.Record.EventID(), b.Record.EventID())
		}
		value := string(b.Record.Value)
		a.Record, b.Record = nil, nil
		// A text "null" and no text are the same to every reader of a change; Complete says how bronze kept it.
		a.Raw.Complete, b.Raw.Complete = false, false
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%s: the change came back different\nwas %s\nis  %s\nfrom %s", want[i].Record.EventID(), show(a), show(b), value)
		}
	}
	return len(want)
}

func show(c connectors.Change) string { return fmt.Sprintf("%+v source %+v", c, c.Source) }

func TestStreamsComeBack(t *testing.T) {
	for _, name := range streams.Names {
		if name == "pg-avro" {
			continue // needs a registry
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := streams.Load(t, name)
			byPartition := map[string][]connectors.Record{}
			for _, r := range s.Records {
				x := connectors.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, TimestampMs: r.TimestampMs, Key: r.Key, Value: r.Value}
				for _, h := range r.Headers {
					x.Headers = append(x.Headers, connectors.Header{Key: h.Name, Value: h.Value})
				}
				k := fmt.Sprintf("%s-%d", r.Topic, r.Partition)
				byPartition[k] = append(byPartition[k], x)
			}
			n := 0
			for _, records := range byPartition {
				n += sameChanges(t, "debezium", records)
			}
			t.Logf("%d changes", n)
		})
	}
}

// Every sample event, of every format, comes back as it was decoded.
func TestSamplesComeBack(t *testing.T) {
	t.Parallel()
	dir := testkit.Shared(t, "samples")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Topic      string
			Key, Value json.RawMessage
			ValueRaw   *string `json:"value_raw"`
		}
		if err := json.Unmarshal(text, &f); err != nil || len(f.Value) == 0 && f.ValueRaw == nil {
			continue
		}
		r := connectors.Record{Topic: "samples." + name, Offset: 7, TimestampMs: 1773480413500, Key: f.Key, Value: f.Value}
		if string(f.Key) == "null" {
			r.Key = nil
		}
		if string(f.Value) == "null" {
			r.Value = nil
		}
		if f.ValueRaw != nil {
			r.Value = []byte(*f.ValueRaw)
		}
		n += sameChanges(t, "auto", []connectors.Record{r})
	}
	if n < 20 {
		t.Errorf("only %d changes", n)
	}
}
