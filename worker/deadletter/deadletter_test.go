package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/commit"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func letter(topic string, p int32, offset int64, stage connectors.Stage) connectors.DeadLetter {
	return connectors.DeadLetter{
		Record: &connectors.Record{Topic: topic, Partition: p, Offset: offset, TimestampMs: 1000 + offset, Key: []byte("k"), Value: []byte{},
			Headers: []connectors.Header{{Key: "h", Value: nil}, {Key: "i", Value: []byte("v")}}},
		Connector: "c", Stage: stage, Class: connectors.ClassMalformed, Reason: "because",
	}
}

// content prints the rows of the table.
func content(t interface{ Fatal(...any) }, b store.Bucket) []string {
	ctx := context.Background()
	table, err := delta.Open(ctx, b, Path)
	if errors.Is(err, delta.ErrNotTable) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := table.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	cols := []string{"topic", "partition", "offset", "stage", "kafka_key", "kafka_value", "reason", "error_class", "connector"}
	for batch, err := range rows.Scan(ctx, s, rows.Options{Columns: cols}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(batch.Record.NumRows()) {
			var v []any
			for c, name := range cols {
				x := columnar.ValueAt(batch.Record.Column(c), tableSchema.Fields[tableSchema.Index(name)].Type, i)
				if x.Str != "" || x.State == connectors.Null {
					v = append(v, x.Str)
				} else {
					v = append(v, x.Int)
				}
			}
			out = append(out, fmt.Sprint(v...))
		}
	}
	slices.Sort(out)
	return out
}

func TestOnceHoweverOftenWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := mem.New("lake")
		tables := commit.NewTables(nil)
		defer tables.Wait()
		boxes := []*Box{New(Options{Connector: "c", Bucket: b, Tables: tables}), New(Options{Connector: "c", Bucket: b, Tables: commit.NewTables(nil)})}
		want := map[name]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "writes") {
			var ls []connectors.DeadLetter
			for range rapid.IntRange(0, 5).Draw(t, "letters") {
				l := letter("t", int32(rapid.IntRange(0, 1).Draw(t, "partition")), int64(rapid.IntRange(0, 9).Draw(t, "offset")),
					rapid.SampledFrom([]connectors.Stage{connectors.StageDecode, connectors.StageApply}).Draw(t, "stage"))
				ls = append(ls, l)
				want[nameOf(&l)] = true
			}
			var wg sync.WaitGroup
			for _, box := range boxes[:rapid.IntRange(1, 2).Draw(t, "writers")] {
				wg.Add(1)
				go func() {
					defer wg.Done()
					if err := box.Write(context.Background(), ls, nil); err != nil {
						t.Errorf("write: %v", err)
					}
				}()
			}
			wg.Wait()
		}
		if got := content(t, b); len(got) != len(want) {
			t.Errorf("%d rows for %d letters: %v", len(got), len(want), got)
		}
	})
}

type topic struct {
	mu      sync.Mutex
	records []connectors.Record
	err     error
}

func (p *topic) Produce(_ context.Context, rs []connectors.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, rs...)
	return p.err
}

func TestKafkaTopicGetsConnectsHeaders(t *testing.T) {
	t.Parallel()
	p := &topic{}
	box := New(Options{Connector: "c", Bucket: mem.New("lake"), Tables: commit.NewTables(nil), Topic: "dlq", Headers: true, Producer: p})
	if err := box.Write(context.Background(), []connectors.DeadLetter{letter("t", 3, 7, connectors.StageDecode)}, nil); err != nil {
		t.Fatal(err)
	}
	if len(p.records) != 1 {
		t.Fatalf("%d records", len(p.records))
	}
	r := p.records[0]
	want := map[string]string{
		"topic": "t", "partition": "3", "offset": "7", "connector.name": "c", "stage": "VALUE_CONVERTER", "exception.message": "because",
	}
	for k, v := range want {
		if got, ok := r.Header("__connect.errors." + k); !ok || string(got) != v {
			t.Errorf("header %s is %q", k, got)
		}
	}
	if r.Topic != "dlq" || r.Headers[0].Key != "h" || r.Headers[0].Value != nil || r.Value == nil || r.TimestampMs != 1007 {
		t.Errorf("record %+v", r)
	}
	p.err = errors.New("no such topic")
	if err := box.Write(context.Background(), []connectors.DeadLetter{letter("t", 3, 8, connectors.StageDecode)}, nil); err == nil {
		t.Error("a topic that refuses is not told")
	}
}

func TestBytesAreKept(t *testing.T) {
	t.Parallel()
	b := mem.New("lake")
	box := New(Options{Connector: "c", Bucket: b, Tables: commit.NewTables(nil)})
	l := letter("t", 0, 1, connectors.StageDecode)
	l.Record.Value = []byte("\xff\x00not text")
	if err := box.Write(context.Background(), []connectors.DeadLetter{l}, nil); err != nil {
		t.Fatal(err)
	}
	got := content(t, b)
	if len(got) != 1 || got[0] != fmt.Sprint("t", int64(0), int64(1), "decode", "k", "\xff\x00not text", "because", "malformed", "c") {
		t.Errorf("%q", got)
	}
}
