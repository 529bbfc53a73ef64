package commit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var options = delta.CreateOptions{Schema: schema.Schema{Fields: []schema.Field{{Name: "a", Type: schema.Of(schema.Long), Nullable: true}}}}

func open(t *testing.T, ts *Tables, b store.Bucket) *delta.Table {
	t.Helper()
	table, err := ts.OpenOrCreate(context.Background(), b, "t", options)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func appendOf(name string, from, to int64) Append {
	return Append{
		Files: []delta.Add{{Path: name, Size: 1, Written: &delta.Written{Size: 1, Rows: 1}, DataChange: true, Stats: `{"numRecords":1}`}},
		Steps: []Step{{App: "app", From: from, To: to}},
	}
}

func TestProgressIsComparedAndSet(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("lake")
	ts := NewTables(nil)
	table := open(t, ts, b)
	v, err := ts.Append(ctx, table, appendOf("f1", -1, 10))
	if err != nil || v != 1 {
		t.Fatal(v, err)
	}
	if _, err := ts.Append(ctx, table, appendOf("f2", 5, 20)); !errors.Is(err, ErrLost) || Transient(err) {
		t.Errorf("from another progress: %v", err)
	}
	// The same append again, as after an error that left its outcome open: found, not doubled (D3).
	if again, err := ts.Append(ctx, table, appendOf("f1", -1, 10)); err != nil || again != v {
		t.Errorf("again: %d %v", again, err)
	}
	files, err := Appended(ctx, table, 1)
	if err != nil || len(files) != 1 || files[0].Path != "f1" {
		t.Errorf("version 1 brought %v, %v", files, err)
	}
}

// Writers of several nodes and partitions share one table; all get in, each once.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("lake")
	var wg sync.WaitGroup
	for node := range 3 {
		ts := NewTables(nil)
		for part := range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				table, err := ts.OpenOrCreate(ctx, b, "t", options)
				if err != nil {
					t.Error(err)
					return
				}
				app := fmt.Sprintf("%d/%d", node, part)
				for i := range int64(10) {
					a := Append{Files: []delta.Add{{Path: fmt.Sprintf("f-%s-%d", app, i), Size: 1, Written: &delta.Written{Size: 1, Rows: 1}, DataChange: true}}, Steps: []Step{{App: app, From: i - 1, To: i}}}
					if _, err := ts.Append(ctx, table, a); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		t.Cleanup(ts.Wait)
	}
	wg.Wait()
	table, err := delta.Open(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	s, err := table.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.NumFiles() != 90 || s.Version != 90 {
		t.Errorf("%d files in %d versions", s.NumFiles(), s.Version)
	}
}

// Who shares a table with others looks before it commits: nearly no commit meets a version that is taken.
func TestWritersInTurnDoNotMeet(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	lake := mem.New("lake")
	met := 0
	b := Fenced(lake, func() { met++ })
	var writers []*Tables
	var tables []*delta.Table
	for range 3 {
		ts := NewTables(nil)
		writers, tables = append(writers, ts), append(tables, open(t, ts, b))
	}
	for i := range int64(20) {
		for w, ts := range writers {
			a := Append{Files: []delta.Add{{Path: fmt.Sprintf("f%d-%d", w, i), Size: 1, Written: &delta.Written{Size: 1, Rows: 1}, DataChange: true}}, Steps: []Step{{App: fmt.Sprint(w), From: i - 1, To: i}}}
			if _, err := ts.Append(ctx, tables[w], a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if met > 2*len(writers) {
		t.Errorf("%d of 60 commits met a version that was taken", met)
	}
}

// lying answers some conditional puts with "unknown", whether they took effect or not.
type lying struct {
	store.Bucket
	mu   sync.Mutex
	plan []bool // took effect?
	dark bool   // reads fail
}

func (l *lying) Get(ctx context.Context, key string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dark {
		return nil, errors.New("the line is cut")
	}
	return l.Bucket.Get(ctx, key)
}

func (l *lying) set(plan []bool, dark bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan, l.dark = plan, dark
}

func (l *lying) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	l.mu.Lock()
	var lie, effect bool
	if len(l.plan) > 0 {
		lie, effect, l.plan = true, l.plan[0], l.plan[1:]
	}
	l.mu.Unlock()
	if lie && !effect {
		return fmt.Errorf("the line was cut: %w", store.ErrUnknownOutcome)
	}
	err := l.Bucket.PutIfAbsent(ctx, key, data)
	if lie && err == nil {
		return fmt.Errorf("the line was cut: %w", store.ErrUnknownOutcome)
	}
	return err
}

func TestUnknownOutcomesAreSettledByReading(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	never := make([]bool, 8)            // longer than a commit tries: it ends as unknown and has not happened
	landed := append(never[:5:5], true) // it has happened, and nobody can look until the next call
	for _, plan := range [][]bool{{true}, {false}, {false, true}, {true, false}, {false, false, false}, never, landed} {
		b := &lying{Bucket: mem.New("lake")}
		ts := NewTables(nil)
		table := open(t, ts, b)
		b.set(plan, len(plan) == len(landed))
		var err error
		for range len(plan) + 1 {
			_, err = ts.Append(ctx, table, appendOf("f", -1, 1))
			if err == nil || !Transient(err) {
				break
			}
			b.mu.Lock()
			b.dark = false
			b.mu.Unlock()
		}
		if err != nil {
			t.Errorf("plan %v: %v", plan, err)
		}
		s, err := table.Snapshot(ctx)
		if err != nil || s.NumFiles() != 1 || s.Version != 1 {
			t.Errorf("plan %v: %d files in version %d, %v", plan, s.NumFiles(), s.Version, err)
		}
	}
}

func TestTransient(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("connection reset"), true},
		{errors.New("write x: no space left on device"), true},
		{fmt.Errorf("put: %w", store.ErrPermission), false},
		{Permanent(errors.New("x")), false},
		{Retry(store.ErrPermission), true},
		{fmt.Errorf("x: %w", delta.ErrInvalidCommit), false},
		{context.Canceled, false},
	} {
		if got := Transient(c.err); got != c.want {
			t.Errorf("Transient(%v) = %t", c.err, got)
		}
	}
}

func TestCheckpointsComeByThemselves(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("lake")
	ts := NewTables(nil)
	table := open(t, ts, b)
	for i := range int64(CheckpointEvery) {
		if _, err := ts.Append(ctx, table, appendOf(fmt.Sprintf("f%d", i), i-1, i)); err != nil {
			t.Fatal(err)
		}
	}
	ts.Wait()
	if _, err := b.Stat(ctx, fmt.Sprintf("t/_delta_log/%020d.checkpoint.parquet", CheckpointEvery)); err != nil {
		t.Error(err)
	}
}
