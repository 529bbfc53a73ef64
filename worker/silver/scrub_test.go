package silver_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// damages are ways in which an index may lie about a row: e is its entry.
var damages = map[string]func(x *index.Index, e index.Entry){
	"row lost":     func(x *index.Index, e index.Entry) { x.Remove(e) },
	"other row":    func(x *index.Index, e index.Entry) { x.Move(e, e.File, e.Row^1) },
	"row too high": func(x *index.Index, e index.Entry) { x.Move(e, e.File, 1<<20) },
	"file unknown": func(x *index.Index, e index.Entry) { x.Move(e, 77, e.Row) },
	"sequence": func(x *index.Index, e index.Entry) {
		e2 := e
		e2.Prefix++
		x.Replace(e, e2)
	},
	"key": func(x *index.Index, e index.Entry) {
		x.Remove(e)
		e.Hash = fold.Sum([]byte("another key"))
		x.Insert(e)
	},
}

func damage(x *index.Index, f func(*index.Index, index.Entry)) {
	var e index.Entry
	x.All(func(c *index.Entry) bool {
		e = *c
		return e.File == index.Dead
	})
	f(x, e)
}

// D8, E11: an index that lies is found, told, and not merged onto: it is built anew, and where the new one lies too the merge
// stops until the table is opened anew.
func TestScrubFindsWhatLies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, f := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newBench(t, nil)
			for i := range int64(4) {
				x.merge(rec(cOp, 1+3*i, 1+3*i, "a", long(i)), rec(cOp, 2+3*i, 2+3*i, "a", long(i)), rec(cOp, 3+3*i, 3+3*i, "a", long(i)))
			}
			x.merge(rec(dOp, 20, 4))
			if err := x.m.Scrub(ctx, math.MaxInt); err != nil {
				t.Fatal(err)
			}
			damage(x.m.Index(), f)
			if err := x.m.Scrub(ctx, math.MaxInt); !errors.Is(err, silver.ErrIndex) {
				t.Fatalf("not found: %v", err)
			}
			x.merge(rec(uOp, 21, 1, "a", long(100)))
			if s := x.m.Stats(); s.Mismatches != 1 || s.Rows != 11 || !x.has(`"a":100`, `"id":1`) {
				t.Fatalf("%+v\n%s", s, x.rows())
			}
			before := x.rows()
			damage(x.m.Index(), f)
			if err := x.m.Scrub(ctx, math.MaxInt); !errors.Is(err, silver.ErrIndex) {
				t.Fatalf("not found again: %v", err)
			}
			if _, err := x.mergeVersion(x.version, rec(uOp, 22, 1, "a", long(200))); !errors.Is(err, silver.ErrIndex) || !strings.Contains(err.Error(), "version") {
				t.Fatalf("merged onto an index that lies: %v", err)
			}
			if x.rows() != before {
				t.Fatal("rows changed")
			}
			x.reopen(nil)
			x.merge(rec(uOp, 22, 1, "a", long(200)))
			if !x.has(`"a":200`, `"id":1`) {
				t.Fatal(x.rows())
			}
		})
	}
}

// D8: keys that somebody else wrote twice have one row after the next merge, whatever it merges: the newest.
func TestDuplicatesAreHealed(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		x := newBench(t, nil)
		ctx := context.Background()
		x.merge(rec(cOp, 1, 1, "a", text("old")), rec(cOp, 2, 2, "a", text("y")))
		x.merge(rec(uOp, 3, 1, "a", text("new")))
		tab, err := delta.Open(ctx, x.b, "silver/t")
		if err != nil {
			t.Fatal(err)
		}
		snap := tab.Cached()
		c := tab.NewCommit(snap)
		for a := range snap.Files() { // every file once more, without deletion vectors
			twin := *a
			data, err := x.b.Get(ctx, "silver/t/"+a.Path)
			if err != nil {
				t.Fatal(err)
			}
			twin.Path, twin.DeletionVector = "twin-"+a.Path, nil
			if err := x.b.Put(ctx, "silver/t/"+twin.Path, data); err != nil {
				t.Fatal(err)
			}
			c.Append(twin)
		}
		if out := c.Do(ctx); out.Kind != delta.Committed {
			t.Fatal(out.Err)
		}
		if n := strings.Count(x.rows(), "\n") + 1; n != 5 {
			t.Fatalf("%d rows", n)
		}
		if reopen {
			x.reopen(nil)
		}
		x.merge(rec(cOp, 9, 9, "a", text("z"))) // where it was not opened anew, this finds out that somebody else was there
		x.merge(rec(uOp, 10, 9, "a", text("z")))
		x.want(`{"a":"new","id":1}`, `{"a":"y","id":2}`, `{"a":"z","id":9}`)
		if s := x.m.Stats(); s.Healed != 2 || s.Rows != 3 {
			t.Fatalf("%+v", s)
		}
		if err := x.m.Scrub(ctx, math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}
}

// D8: after commits of others, also ones that came between the merger's last look and its own commit, only what they changed is read: the
// index is not built anew. Tombstones of the merger's own commit are kept.
func TestForeignCommitsAreFollowed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	x := newBench(t, nil)
	for i := range int64(5) {
		x.merge(rec(cOp, 1+2*i, 1+2*i, "a", text("x")), rec(cOp, 2+2*i, 2+2*i, "a", text("x")))
	}
	x.merge(rec(dOp, 20, 3))
	tab, err := delta.Open(ctx, x.b, "silver/t")
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(edit func(c *delta.Commit, s *delta.Snapshot)) {
		t.Helper()
		s, err := tab.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c := tab.NewCommit(s)
		edit(c, s)
		if out := c.Do(ctx); out.Kind != delta.Committed {
			t.Fatal(out.Err)
		}
	}
	// Somebody brings a deleted key back, in a file of their own: a copy of that of keys 3 and 4 without its deletion vector.
	foreign(func(c *delta.Commit, s *delta.Snapshot) {
		for a := range s.Files() {
			if a.DeletionVector == nil {
				continue
			}
			data, err := x.b.Get(ctx, "silver/t/"+a.Path)
			if err != nil {
				t.Fatal(err)
			}
			twin := *a
			twin.Path, twin.DeletionVector = "twin.parquet", nil
			if err := x.b.Put(ctx, "silver/t/twin.parquet", data); err != nil {
				t.Fatal(err)
			}
			c.Append(twin)
		}
	})
	res := x.merge(rec(uOp, 21, 1, "a", text("y")), rec(dOp, 22, 2), rec(cOp, 23, 30, "a", text("z"))) // behind it
	if !res.Committed {
		t.Fatalf("%+v", res)
	}
	x.merge(rec(cOp, 2, 2, "a", text("late")), rec(uOp, 24, 5, "a", text("y")))
	// Somebody deletes a row.
	foreign(func(c *delta.Commit, s *delta.Snapshot) {
		for a := range s.Files() {
			if n, _ := a.LiveRecords(); n == 1 && a.Path != "twin.parquet" {
				c.Remove(a)
				return
			}
		}
	})
	x.merge(rec(uOp, 30, 7, "a", text("w")))
	x.merge(rec(uOp, 31, 8, "a", text("w")))
	if s := x.m.Stats(); s.Rebuilds != 0 || s.Foreign < 2 || s.Mismatches != 0 {
		t.Fatalf("%+v", s)
	}
	if err := x.m.Scrub(ctx, math.MaxInt); err != nil {
		t.Fatal(err)
	}
	if !x.has(`"id":3`) || !x.has(`"a":"w"`, `"id":7`) || x.has(`"id":2`) || strings.Count(x.rows(), `"id":4}`) != 1 {
		t.Fatal(x.rows())
	}
}
