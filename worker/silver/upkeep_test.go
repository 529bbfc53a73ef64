package silver_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver"
)

// stepper merges into a table whose compactions take many steps, and keeps a model of its rows.
type stepper struct {
	*bench
	rng  *rand.Rand
	off  int64
	rows map[int64]int64
}

func newStepper(t *testing.T, u silver.Upkeep) *stepper {
	x := &stepper{bench: newBench(t, nil), rng: rand.New(rand.NewPCG(3, 5)), rows: map[int64]int64{}}
	u.Manual = true
	x.m = x.open(u)
	return x
}

func (x *stepper) open(u silver.Upkeep) *silver.Merger {
	x.t.Helper()
	m, err := silver.Open(context.Background(), silver.Options{Bucket: x.b, Path: "silver/t", Connector: "c", Config: sinkConfig(), Upkeep: u})
	if err != nil {
		x.t.Fatal(err)
	}
	return m
}

// change merges n changes of keys below limit: one in four is a delete, where the key is there.
func (x *stepper) change(n int, limit int64, more ...any) {
	x.t.Helper()
	var in []connectors.Change
	for range n {
		x.off++
		id := x.rng.Int64N(limit)
		_, there := x.rows[id]
		switch {
		case there && x.rng.IntN(4) == 0:
			in = append(in, rec(dOp, x.off, id))
			delete(x.rows, id)
			continue
		case there:
			in = append(in, rec(uOp, x.off, id, append([]any{"a", long(x.off)}, more...)...))
		default:
			in = append(in, rec(cOp, x.off, id, append([]any{"a", long(x.off)}, more...)...))
		}
		x.rows[id] = x.off
	}
	x.merge(in...)
}

func (x *stepper) step() bool {
	x.t.Helper()
	did, err := x.m.Maintain(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	return did
}

func (x *stepper) files() []*delta.Add {
	x.t.Helper()
	tab, err := delta.Open(context.Background(), x.b, "silver/t")
	if err != nil {
		x.t.Fatal(err)
	}
	return slices.Collect(tab.Cached().Files())
}

// check compares the table with the model, and the index with the table.
func (x *stepper) check() {
	x.t.Helper()
	var want []string
	for id, a := range x.rows {
		want = append(want, fmt.Sprintf(`{"a":%d,"id":%d}`, a, id))
	}
	slices.Sort(want)
	x.want(want...)
	if err := x.m.Scrub(context.Background(), math.MaxInt); err != nil {
		x.t.Fatal(err)
	}
	if s := x.m.Stats(); s.Mismatches != 0 || s.Rows != int64(len(x.rows)) {
		x.t.Fatalf("%d mismatches, %d rows, want %d", s.Mismatches, s.Rows, len(x.rows))
	}
}

// A compaction goes on between merges; rows that die meanwhile stay dead, those that are written meanwhile are not touched.
func TestCompactionBetweenMerges(t *testing.T) {
	t.Parallel()
	x := newStepper(t, silver.Upkeep{SmallFiles: 4, PieceBytes: 1})
	translated := 0
	for range 60 {
		x.change(20, 100)
		x.step()
		for _, f := range x.files() {
			if strings.HasPrefix(f.Path, "opt-") && f.DeletionVector != nil {
				translated++
			}
		}
	}
	x.check()
	if n := x.m.Stats(); n.Compactions < 5 || n.Rebuilds > 1 || translated == 0 {
		t.Fatalf("%d compactions, %d of their files seen with dead rows, index built %d times", n.Compactions, translated, n.Rebuilds)
	}
	for x.step() {
	}
	x.check()
}

// What a compaction began with may be gone when it ends: by another writer, by a column that came, by an owner that closed.
func TestCompactionGivenUp(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) *stepper {
		x := newStepper(t, silver.Upkeep{SmallFiles: 4, PieceBytes: 1})
		for range 4 {
			x.change(20, 100)
		}
		for range 2 {
			if !x.step() {
				t.Fatal("there is nothing to compact")
			}
		}
		if x.m.Stats().Compactions != 1 {
			t.Fatal("no compaction is under way")
		}
		return x
	}
	goOn := func(x *stepper, more ...any) {
		for range 20 {
			x.change(10, 100, more...)
			x.step()
		}
		if len(more) == 0 {
			x.check()
		}
	}
	t.Run("another writer compacts", func(t *testing.T) {
		x := begin(t)
		other := x.open(silver.Upkeep{SmallFiles: 4})
		for {
			did, err := other.Maintain(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !did {
				break
			}
		}
		goOn(x)
	})
	t.Run("a column comes", func(t *testing.T) {
		x := begin(t)
		x.change(10, 100, "b", text("new"))
		goOn(x, "b", text("new"))
		if err := x.m.Scrub(context.Background(), math.MaxInt); err != nil || x.m.Stats().Mismatches != 0 {
			t.Fatal(err, x.m.Stats())
		}
	})
	t.Run("the owner closes", func(t *testing.T) {
		x := begin(t)
		if err := x.m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.m = x.open(silver.Upkeep{SmallFiles: 4, PieceBytes: 1, Manual: true})
		goOn(x)
	})
	t.Run("the call's context ends", func(t *testing.T) {
		x := begin(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if did, err := x.m.Maintain(ctx); err == nil {
			t.Fatal("no error", did)
		}
		goOn(x)
	})
}

// A table of which much is dead is written anew though no file is bad by itself.
func TestCompactionOfDeadRows(t *testing.T) {
	t.Parallel()
	x := newStepper(t, silver.Upkeep{})
	x.change(4000, 4000)
	first := len(x.rows)
	for range 2 {
		x.change(first/40, 4000)
	}
	if x.step() {
		t.Fatal("a twentieth is dead")
	}
	for range 5 {
		x.change(first/40, 4000)
	}
	if !x.step() || x.m.Stats().Compactions != 1 {
		t.Fatalf("more than a tenth is dead: %+v", x.m.Stats())
	}
	for x.step() {
	}
	x.check()
}

// What the last changes left to do is done when no more come, piece by piece; then the table rests.
func TestUpkeepGoesOnWithoutChanges(t *testing.T) {
	t.Parallel()
	x := newStepper(t, silver.Upkeep{SmallFiles: 4, PieceBytes: 1})
	x.m = x.open(silver.Upkeep{SmallFiles: 4, PieceBytes: 1}) // not by hand
	for range 40 {
		x.change(50, 400)
	}
	ctx, before := context.Background(), x.m.Stats()
	for range 100 {
		if err := x.m.Idle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	s := x.m.Stats()
	if s.Files >= 4 || s.Compactions == before.Compactions || s.Version == before.Version {
		t.Errorf("at rest: %+v; when the changes ended: %+v", s, before)
	}
	if did := x.step(); did {
		t.Error("there was something left to do")
	}
	if err := x.m.Idle(ctx); err != nil || x.m.Stats() != s {
		t.Errorf("at rest something was done: %v, %+v, before %+v", err, x.m.Stats(), s)
	}
	x.check()
}

// Files whose vectors change with every commit leave a tombstone each time: those that keep nothing are forgotten with each checkpoint, by the log
// and by who goes on merging, so that neither grows with the commits of a week (D9).
func TestTombstonesOfVectorsAreForgotten(t *testing.T) {
	t.Parallel()
	x := newStepper(t, silver.Upkeep{Checkpoint: 10, SmallFiles: -1})
	for range 4 {
		x.change(200, 1000)
	}
	most := 0
	for range 120 {
		x.change(60, 1000)
		x.step()
		most = max(most, x.m.Tombstones())
	}
	tab, err := delta.Open(context.Background(), x.b, "silver/t")
	if err != nil {
		t.Fatal(err)
	}
	if s := tab.Cached(); s.Version < 120 || s.NumTombstones() > most {
		t.Errorf("version %d is read with %d tombstones", s.Version, s.NumTombstones())
	}
	// Each of 124 files may have its newest and its oldest, and what ten commits bring; all together were some thousands.
	if files := x.m.Stats().Files; most > 2*124+10*files {
		t.Errorf("%d tombstones, and %d files", most, files)
	}
	x.check()
}

// A table that always has something to compact gets its checkpoints all the same: else its next owner would have to read all commits since.
func TestCheckpointsBeforeCompactions(t *testing.T) {
	t.Parallel()
	const every = 10
	x := newStepper(t, silver.Upkeep{Checkpoint: every, SmallFiles: 2, PieceBytes: 1})
	for range 6 * every {
		x.change(20, 200)
		x.step()
	}
	newest := int64(-1)
	for info, err := range x.b.List(context.Background(), "silver/t/_delta_log/", "") {
		if err != nil {
			t.Fatal(err)
		}
		var v int64
		if strings.HasSuffix(info.Key, ".checkpoint.parquet") {
			if _, err := fmt.Sscanf(info.Key, "silver/t/_delta_log/%d.", &v); err != nil {
				t.Fatal(err)
			}
			newest = max(newest, v)
		}
	}
	if v := x.m.Stats().Version; newest < v-every {
		t.Errorf("the newest checkpoint is of version %d, the table is at %d", newest, v)
	}
	x.check()
}

// A piece of a compaction ends with its time, however many bytes it may have, and the next one goes on.
func TestCompactionGivesWayAfterItsTime(t *testing.T) {
	t.Parallel()
	steps := func(span time.Duration) int {
		x := newStepper(t, silver.Upkeep{SmallFiles: 8, PieceBytes: 1 << 30, PieceTime: span})
		for range 8 {
			x.change(50, 1000)
		}
		n := 0
		for len(x.files()) >= 8 && n < 100 {
			x.step()
			n++
		}
		x.check()
		return n
	}
	if n := steps(time.Hour); n != 1 {
		t.Errorf("with all time it took %d steps", n)
	}
	if n := steps(1); n < 3 || n == 100 {
		t.Errorf("with no time it took %d steps", n)
	}
}
