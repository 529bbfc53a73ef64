package delta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/faultstore"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/connectors/store/retry"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_WRITER") != "" {
		os.Exit(writerProcess())
	}
	os.Exit(m.Run())
}

// writeCommits makes n commits of writer w: each moves the writer's txn by one and adds one file. Outcomes are treated as
// a worker would: after Conflict or Unknown it reads the table and goes on from its txn.
func writeCommits(ctx context.Context, tab *Table, w string, n int64) error {
	app := "app" + w
	for {
		s, err := tab.Snapshot(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue // the store is broken on purpose
		}
		at, ok := s.Txn(app)
		if !ok {
			at = -1
		}
		if at == n-1 {
			return nil
		}
		c := tab.NewCommit(s)
		c.Append(testAdd(fmt.Sprintf("%s-%d.parquet", w, at+1), 1))
		c.Progress(app, at, at+1)
		out := c.Do(ctx)
		if out.Err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(out.Err, ErrInvalidCommit) {
			return out.Err
		}
		if out.Kind == Committed && at%25 == 24 {
			if _, err := tab.Checkpoint(ctx, out.Snapshot, CheckpointOptions{}); err != nil && ctx.Err() != nil {
				return err
			}
		}
	}
}

// checkCommits reads the log from its first commit: no commit is lost, none is there twice.
func checkCommits(t *testing.T, b store.Bucket, writers int, n int64) {
	t.Helper()
	ctx := context.Background()
	tab, err := Open(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	s := tab.Cached()
	if want := int64(writers) * n; s.Version != want || int64(s.NumFiles()) != want {
		t.Errorf("version %d, %d files, want %d", s.Version, s.NumFiles(), want)
	}
	next := map[string]int64{}
	for e, err := range tab.Commits(ctx, 1, -1) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Txns) != 1 || len(e.Adds) != 1 {
			t.Fatalf("version %d: %d txns, %d adds", e.Version, len(e.Txns), len(e.Adds))
		}
		x := e.Txns[0]
		if x.Version != next[x.AppID] {
			t.Fatalf("version %d: %s goes to %d, want %d", e.Version, x.AppID, x.Version, next[x.AppID])
		}
		next[x.AppID]++
		if want := fmt.Sprintf("%s-%d.parquet", strings.TrimPrefix(x.AppID, "app"), x.Version); e.Adds[0].Path != want {
			t.Fatalf("version %d adds %s, want %s", e.Version, e.Adds[0].Path, want)
		}
	}
	for i := range writers {
		if v, _ := s.Txn(fmt.Sprintf("app%d", i)); v != n-1 {
			t.Errorf("app%d is at %d", i, v)
		}
	}
	full, err := OpenAt(ctx, b, "t", s.Version)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(state(s), "\n"), strings.Join(state(full), "\n"); a != b {
		t.Error("the snapshots differ")
	}
}

func size(t *testing.T, short, long int64) int64 {
	t.Helper()
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		return long
	}
	return short
}

// TestWritersOverABrokenStore: commits survive a store that fails in every way it may, none is lost or doubled.
func TestWritersOverABrokenStore(t *testing.T) {
	t.Parallel()
	const writers = 4
	n := size(t, 40, 500)
	inner := mem.New("x")
	newTestTable(t, inner, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	faults := map[string]int{}
	var mu sync.Mutex
	for w := range writers {
		wg.Go(func() {
			b := faultstore.Wrap(inner, faultstore.Options{Seed: uint64(w), Unavailable: 0.05, LostAnswer: 0.08, LostWrite: 0.05, Late: 0.03,
				Truncated: 0.03, Slow: 0.05, Delay: 2 * time.Millisecond, Lag: 5 * time.Millisecond})
			defer b.Settle()
			tab := newTable(retry.Wrap(b, retry.Options{First: time.Millisecond}), "t", nil)
			if err := writeCommits(ctx, tab, strconv.Itoa(w), n); err != nil {
				t.Errorf("writer %d: %v", w, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for k, v := range b.Faults() {
				faults[k] += v
			}
		})
	}
	wg.Wait()
	t.Logf("faults: %v", faults)
	checkCommits(t, inner, writers, n)
}

// TestManyProcessesWriteOneTable: processes that share nothing but a folder.
func TestManyProcessesWriteOneTable(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: -short; starts processes")
	}
	const writers = 8
	n := size(t, 12, 500)
	dir := t.TempDir()
	b, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	newTestTable(t, b, nil)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), "SLUICE_TEST_WRITER="+strconv.Itoa(w), "SLUICE_TEST_DIR="+dir, fmt.Sprintf("SLUICE_TEST_N=%d", n))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v\n%s", w, err, out)
			}
		})
	}
	wg.Wait()
	checkCommits(t, b, writers, n)
}

func writerProcess() int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	n, err := strconv.ParseInt(os.Getenv("SLUICE_TEST_N"), 10, 64)
	if err == nil {
		var b *file.Bucket
		if b, err = file.Open(os.Getenv("SLUICE_TEST_DIR")); err == nil {
			var tab *Table
			if tab, err = Open(ctx, b, "t"); err == nil {
				err = writeCommits(ctx, tab, os.Getenv("SLUICE_TEST_WRITER"), n)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestUnknownOutcomeIsReadBack: an answer that is lost is not a lost commit, and no other version is made of it (D3).
func TestUnknownOutcomeIsReadBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	inner := mem.New("x")
	newTestTable(t, inner, nil)
	for name, o := range map[string]faultstore.Options{"lost answer": {LostAnswer: 1}, "unavailable": {Unavailable: 1}, "lost write": {LostWrite: 1}} {
		good, err := Open(ctx, inner, "t")
		if err != nil {
			t.Fatal(err)
		}
		before := good.Cached()
		tab := newTable(faultstore.Wrap(inner, o), "t", nil)
		tab.publish(&Snapshot{}, time.Time{})
		s := *before
		s.table = tab
		c := tab.NewCommit(&s)
		tab.cached.Store(&cachedSnapshot{Snapshot: &s, verified: time.Now()})
		c.Append(testAdd(name, 1))
		out := c.Do(ctx)
		want := map[string]Kind{"lost answer": Committed, "unavailable": Conflict, "lost write": Unknown}[name]
		if out.Kind != want || want == Unknown && !errors.Is(out.Err, store.ErrUnknownOutcome) {
			t.Errorf("%s: %s, %v", name, out.Kind, out.Err)
		}
		after, err := good.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, there := after.File(name); there != (want == Committed) {
			t.Errorf("%s: in the table: %v", name, there)
		}
	}
}

func TestSlowStoreRespectsTheContext(t *testing.T) {
	t.Parallel()
	inner := mem.New("x")
	newTestTable(t, inner, nil)
	tab := newTable(faultstore.Wrap(inner, faultstore.Options{Slow: 1, Delay: time.Hour}), "t", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := tab.Snapshot(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("snapshot: %v", err)
	}
}
