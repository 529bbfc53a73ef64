package bronze

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/commit"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_LONG") == "" {
		_ = flag.Set("rapid.checks", "30")
	}
	goleak.VerifyTestMain(m)
}

// textDecoder takes every value for the after image; "bad" has no meaning.
type textDecoder struct{ src *connectors.Source }

func newText() (connectors.Decoder, error) {
	return &textDecoder{src: &connectors.Source{DB: "d", Schema: "s", Table: "t"}}, nil
}

func (d *textDecoder) Decode(dst []connectors.Change, r *connectors.Record) ([]connectors.Change, error) {
	switch {
	case r.Value == nil:
		return append(dst, connectors.Change{Kind: connectors.Tombstone, Record: r, OpText: "tombstone"}), nil
	case strings.HasPrefix(string(r.Value), "bad"):
		return dst, connectors.Poison(connectors.ClassMalformed, "%q is bad", r.Value)
	}
	return append(dst, connectors.Change{
		Kind: connectors.RowChange, Op: connectors.Insert, Record: r, OpText: "c", Source: d.src, SourceTsNs: 5_000_000, CaptureTsNs: 7,
		Raw: connectors.Raw{After: string(r.Value), Complete: true},
	}), nil
}

func (d *textDecoder) Rebuild(dst []byte, _ string, _ int64, raw connectors.Raw) []byte {
	return append(dst, raw.After...)
}

// log is a topic: records by partition and offset, with gaps.
type log struct {
	topic string
	parts map[int32][]connectors.Record
}

func makeLog(partitions, n int) *log {
	l := &log{topic: "shop.t", parts: map[int32][]connectors.Record{}}
	for p := range int32(partitions) {
		offset := int64(p) * 3 // logs do not all begin at 0
		for i := range n {
			r := connectors.Record{Topic: l.topic, Partition: p, Offset: offset, TimestampMs: int64(i), Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, `{"i":%d}`, i)}
			switch i % 11 {
			case 3:
				r.Value = nil
			case 5:
				r.Value = fmt.Appendf(nil, "bad %d", i)
			case 7:
				r.Headers = []connectors.Header{{Key: "h", Value: nil}, {Key: "", Value: []byte("x")}}
				r.Key = nil
			}
			l.parts[p] = append(l.parts[p], r)
			offset++
			if i%13 == 12 {
				offset += 2 // a gap
			}
		}
	}
	return l
}

func (l *log) end(p int32) int64 {
	rs := l.parts[p]
	return rs[len(rs)-1].Offset + 1
}

// from gives at most n records from an offset on, as a reader would.
func (l *log) from(p int32, offset int64, n int) kafka.Batch {
	var b kafka.Batch
	b.Next = offset
	for _, r := range l.parts[p] {
		if r.Offset >= offset && len(b.Records) < n {
			b.Records = append(b.Records, r)
			b.Next = r.Offset + 1
		}
	}
	return b
}

type lettersSink struct {
	mu sync.Mutex
	m  map[string]int
}

func (s *lettersSink) Write(_ context.Context, letters []connectors.DeadLetter, _ []Range) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range letters {
		s.m[l.Record.EventID()]++
	}
	return nil
}

func options(b store.Bucket, l *log) Options {
	return Options{
		Connector: "c", Topic: l.topic, TopicID: "AAAAAAAAAAAAAAAAAAAAAQ", Interval: 20 * time.Millisecond, MaxBytes: 8 << 10, Bucket: b, Path: "bronze/" + l.topic,
		Tables: commit.NewTables(nil), NewDecoder: newText, DeadLetters: &lettersSink{m: map[string]int{}},
	}
}

// content reads all rows of a bronze table: how often each event is there, and the changes.
func content(t interface{ Fatal(...any) }, b store.Bucket, l *log) (map[string]int, []connectors.Change) {
	ctx := context.Background()
	table, err := delta.Open(ctx, b, "bronze/"+l.topic)
	if err != nil {
		t.Fatal(err)
	}
	s, err := table.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	events := map[string]int{}
	var changes []connectors.Change
	dec, _ := newText()
	for v := int64(0); v <= s.Version; v++ {
		cs, _, err := ReadVersion(ctx, table, v, dec, ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range cs {
			changes = append(changes, piece...)
		}
		files, err := commit.Appended(ctx, table, v)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, id := range column(t, b, "bronze/"+l.topic+"/"+f.Path, "event_id") {
				events[id]++
			}
		}
	}
	return events, changes
}

func wantOnce(t interface{ Errorf(string, ...any) }, l *log, events map[string]int) {
	want := map[string]int{}
	for _, rs := range l.parts {
		for i := range rs {
			want[rs[i].EventID()] = 1
		}
	}
	if !maps.Equal(want, events) {
		missing, twice := 0, 0
		for id := range want {
			switch {
			case events[id] == 0:
				missing++
			case events[id] > 1:
				twice++
			}
		}
		t.Errorf("of %d events %d are missing and %d are there more than once (%d ids in all)", len(want), missing, twice, len(events))
	}
}

func TestRowsGiveTheChangesBack(t *testing.T) {
	t.Parallel()
	l := makeLog(3, 200)
	b := mem.New("lake")
	o := options(b, l)
	a := New(o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for p := range l.parts {
		part, err := a.Join(ctx, p, 9)
		if err != nil {
			t.Fatal(err)
		}
		part.Begin(0)
		if err := part.Add(ctx, l.from(p, 0, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := part.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		if part.Committed() != l.end(p) {
			t.Errorf("partition %d is committed to %d, want %d", p, part.Committed(), l.end(p))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	events, changes := content(t, b, l)
	wantOnce(t, l, events)
	dec, _ := newText()
	bad := 0
	got := map[string]connectors.Change{}
	for _, c := range changes {
		got[c.Record.EventID()] = c
	}
	for _, rs := range l.parts {
		for i := range rs {
			want, err := dec.Decode(nil, &rs[i])
			if err != nil {
				bad++
				continue
			}
			g := got[rs[i].EventID()]
			if g.Record == nil || g.OpText != want[0].OpText || string(g.Record.Value) != string(rs[i].Value) ||
				(g.Record.Value == nil) != (rs[i].Value == nil) || (g.Record.Key == nil) != (rs[i].Key == nil) ||
				string(g.Record.Key) != string(rs[i].Key) || g.Record.TimestampMs != rs[i].TimestampMs || len(g.Record.Headers) != len(rs[i].Headers) {
				t.Fatalf("record %+v came back as %+v", rs[i], g.Record)
			}
		}
	}
	if n := len(o.DeadLetters.(*lettersSink).m); n != bad || bad == 0 {
		t.Errorf("%d dead letters, want %d", n, bad)
	}
}

// Any cuts, any restarts, any races of two owners: each offset is there once (D1, D2, D7).
func TestEveryOffsetOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := makeLog(rapid.IntRange(1, 3).Draw(t, "partitions"), rapid.IntRange(1, 150).Draw(t, "records"))
		b := mem.New("lake")
		faults := rapid.IntRange(0, 3).Draw(t, "faults")
		bucket := &flaky{Bucket: b, left: faults}
		for life := 0; ; life++ {
			limit := rapid.IntRange(1, 400).Draw(t, "records before the crash")
			if life > 6 {
				limit = 1 << 30
			}
			owners := rapid.IntRange(1, 2).Draw(t, "owners at a time")
			sizes := make([]int, owners)
			for i := range sizes {
				sizes[i] = rapid.IntRange(1, 60).Draw(t, "batch")
			}
			done := make(chan bool, owners)
			for _, size := range sizes {
				go func() { done <- live(options(bucket, l), l, size, limit, uint64(life+1)) }()
			}
			finished := false
			for range owners {
				finished = <-done || finished
			}
			if finished {
				break
			}
		}
		events, _ := content(t, b, l)
		wantOnce(t, l, events)
	})
}

// live runs an Appender over all partitions until limit records were added, then drops everything, as a crash does. It tells
// whether all was committed.
func live(o Options, l *log, size, limit int, epoch uint64) bool {
	ctx, crash := context.WithTimeout(context.Background(), 20*time.Second)
	defer crash()
	a := New(o)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(ctx) }()
	var wg sync.WaitGroup
	var mu sync.Mutex
	complete := true
	for _, p := range slices.Sorted(maps.Keys(l.parts)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ok := pumpAll(ctx, a, l, p, size, limit, epoch)
			mu.Lock()
			complete = complete && ok
			mu.Unlock()
		}()
	}
	wg.Wait()
	crash()
	<-ended
	return complete
}

func pumpAll(ctx context.Context, a *Appender, l *log, p int32, size, limit int, epoch uint64) bool {
	part, err := a.Join(ctx, p, epoch)
	if err != nil {
		return false
	}
	part.Begin(0)
	for limit > 0 {
		b := l.from(p, part.Next(), size)
		if len(b.Records) == 0 {
			err := part.Leave(ctx)
			if errors.Is(err, ErrReseek) {
				if part, err = a.Join(ctx, p, epoch); err != nil {
					return false
				}
				part.Begin(0)
				continue
			}
			return err == nil
		}
		limit -= len(b.Records)
		err := part.Add(ctx, b)
		if errors.Is(err, ErrReseek) {
			if err = part.Reseek(ctx); err == nil {
				part.Begin(0)
			}
		}
		if err != nil {
			return false
		}
	}
	return false
}

// flaky fails some writes, and leaves some outcomes unknown.
type flaky struct {
	store.Bucket
	mu   sync.Mutex
	n    int
	left int
}

func (f *flaky) fails() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.left > 0 && f.n%5 == 0 {
		f.left--
		return true
	}
	return false
}

func (f *flaky) Put(ctx context.Context, key string, data []byte) error {
	if f.fails() {
		return errors.New("the store is down")
	}
	return f.Bucket.Put(ctx, key, data)
}

func (f *flaky) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if f.fails() {
		err := f.Bucket.PutIfAbsent(ctx, key, data)
		if err == nil || errors.Is(err, store.ErrExists) {
			return fmt.Errorf("the answer was lost: %w", store.ErrUnknownOutcome)
		}
		return err
	}
	return f.Bucket.PutIfAbsent(ctx, key, data)
}

func TestTopicThatWasMadeAnewIsRefused(t *testing.T) {
	t.Parallel()
	l := makeLog(1, 10)
	b := mem.New("lake")
	if !live(options(b, l), l, 5, 1000, 1) {
		t.Fatal("not committed")
	}
	o := options(b, l)
	o.TopicID = "AAAAAAAAAAAAAAAAAAAAAgAA"
	o.TopicID = "BBBBBBBBBBBBBBBBBBBBBQ"
	a := New(o)
	if _, err := a.Join(context.Background(), 0, 2); !errors.Is(err, ErrTopicChanged) || !strings.Contains(err.Error(), "bronze.path") {
		t.Errorf("got %v", err)
	}
}

// A store that is down costs time and nothing else; memory stays bounded meanwhile (D9).
func TestStoreDown(t *testing.T) {
	t.Parallel()
	l := makeLog(2, 3000)
	b := &gate{Bucket: mem.New("lake"), closed: true}
	o := options(b, l)
	o.Memory = kafka.NewBudget(64 << 10)
	a := New(o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var wg sync.WaitGroup
	for p := range l.parts {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if !pumpAll(ctx, a, l, p, 50, 1<<30, 1) {
				t.Errorf("partition %d was not finished", p)
			}
		}()
	}
	poll(t, "trouble", func() bool {
		return strings.Contains(a.Trouble(), "no space left") && strings.Contains(a.Trouble(), "going on when there is room")
	})
	if used := o.Memory.Used(); used > 3*o.MaxBytes+64<<10 {
		t.Errorf("%d bytes are held while the store is down", used)
	}
	b.set(false)
	wg.Wait()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a.Trouble() != "" {
		t.Errorf("still in trouble: %s", a.Trouble())
	}
	if used := o.Memory.Used(); used != 0 {
		t.Errorf("%d bytes were not given back", used)
	}
	events, _ := content(t, b.Bucket, l)
	wantOnce(t, l, events)
}

type gate struct {
	store.Bucket
	mu     sync.Mutex
	closed bool
}

func (g *gate) set(closed bool) {
	g.mu.Lock()
	g.closed = closed
	g.mu.Unlock()
}

func (g *gate) Put(ctx context.Context, key string, data []byte) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return errors.New("write: no space left on device")
	}
	return g.Bucket.Put(ctx, key, data)
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("no %s", what)
}
