package optimize

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

var sc = schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long)}, {Name: "p", Type: schema.Of(schema.String), Nullable: true}}}

type fatal interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

func one(r arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) { yield(r, nil) }
}

func newTable(t fatal) *delta.Table {
	tab, err := delta.Create(context.Background(), mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: []string{"p"},
		Configuration: map[string]string{delta.PropEnableDVs: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func must(t fatal, out delta.Outcome) *delta.Snapshot {
	if out.Kind != delta.Committed {
		t.Fatal(out.Err)
	}
	return out.Snapshot
}

func add(t fatal, s *delta.Snapshot, name, p string, ids ...int64) *delta.Snapshot {
	return addPart(t, s, name, "p", p, ids...)
}

// addTo adds a file to the partition x of a table whose partition column has a physical name.
func addTo(t fatal, s *delta.Snapshot, name, column string, ids ...int64) *delta.Snapshot {
	return addPart(t, s, name, column, "x", ids...)
}

func addPart(t fatal, s *delta.Snapshot, name, column, p string, ids ...int64) *delta.Snapshot {
	b := columnar.NewBuilder(schema.Schema{Fields: sc.Fields[:1]})
	for _, i := range ids {
		b.AppendInt(0, i)
	}
	a, err := rows.WriteFile(context.Background(), s, name, schema.Schema{Fields: sc.Fields[:1]}, one(b.NewRecord()),
		rows.WriteOptions{Partition: delta.NewPartition(delta.PartitionValue{Name: column, Value: p})})
	if err != nil {
		t.Fatal(err)
	}
	a.ModificationTime = int64(len(name))*1000 + int64(name[len(name)-1]) // the order of the names
	c := s.Table().NewCommit(s)
	c.Append(a)
	return must(t, c.Do(context.Background()))
}

// del deletes rows of files by position, in one commit.
func del(t fatal, s *delta.Snapshot, what map[string][]uint64) *delta.Snapshot {
	c := s.Table().NewCommit(s)
	for path, pos := range what {
		if len(pos) == 0 {
			continue
		}
		a, ok := s.File(path)
		if !ok {
			t.Fatalf("no file %s", path)
		}
		v := roaring64.BitmapOf(pos...)
		old, err := rows.DeletedRows(context.Background(), s.Table(), a)
		if err != nil {
			t.Fatal(err)
		}
		if old != nil {
			v.Or(old)
		}
		d, _, err := dv.Write(context.Background(), s.Table().Bucket(), "t", []*roaring64.Bitmap{v})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDV(a, d[0])
	}
	return must(t, c.Do(context.Background()))
}

func ids(t fatal, s *delta.Snapshot) []string {
	var out []string
	for b, err := range rows.Scan(context.Background(), s, rows.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.Record.NumRows()) {
			l, err := columnar.AppendCanonicalJSON(nil, b.Record, sc, i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(l))
		}
	}
	sort.Strings(out)
	return out
}

func TestRunKeepsRowsAndOrder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := newTable(t)
	s := tab.Cached()
	for i := range 9 {
		s = add(t, s, fmt.Sprintf("f%d", i), []string{"x", "y"}[i%2], int64(i*10), int64(i*10+1), int64(i*10+2))
	}
	s = del(t, s, map[string][]uint64{"f0": {1}, "f3": {0, 2}})
	before := ids(t, s)
	calls := 0
	res, err := Run(ctx, tab, Options{Progress: func(done, total int64) { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	s, err = tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.NumFiles() != 2 || s.NumDeletionVectors() != 0 || res.Bins != 2 || res.FilesRemoved != 9 || res.RowsPurged != 3 || calls != 2 || res.Version != s.Version {
		t.Errorf("%d files, %+v", s.NumFiles(), res)
	}
	if after := ids(t, s); !slices.Equal(before, after) {
		t.Errorf("rows before\n%v\nafter\n%v", before, after)
	}
	var order []string
	for b, err := range rows.Scan(ctx, s, rows.Options{Where: rows.Term{Column: "p", Op: rows.Eq}}) {
		t.Fatal(b, err) // a predicate without a literal holds nowhere
	}
	for f := range s.Files() {
		if v, _, _ := f.PartitionValues.Get("p"); v != "y" {
			continue
		}
		for b, err := range rows.Scan(ctx, s, rows.Options{Files: []*delta.Add{f}, Columns: []string{"id"}}) {
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, fmt.Sprint(b.Record.Column(0)))
		}
	}
	if want := []string{"[10 11 12 31 50 51 52 70 71 72]"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if res, err := Run(ctx, tab, Options{}); err != nil || res.Bins != 0 {
		t.Errorf("a second run: %+v, %v", res, err)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := newTable(t)
	s := add(t, tab.Cached(), "a", "x", 1, 2, 3)
	s = add(t, s, "b", "x", 4)
	s = del(t, s, map[string][]uint64{"a": {0}})
	before := ids(t, s)
	res, err := Purge(ctx, tab, Options{})
	if err != nil || res.Bins != 1 || res.RowsPurged != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	s, _ = tab.Snapshot(ctx)
	if s.NumDeletionVectors() != 0 || s.NumFiles() != 2 || !slices.Equal(before, ids(t, s)) {
		t.Errorf("%d vectors, %d files", s.NumDeletionVectors(), s.NumFiles())
	}
}

// TestDeletesThatHappenMeanwhile lets deletes, removals and appends of others pass between the rewrite and its commit.
func TestDeletesThatHappenMeanwhile(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		tab := newTable(t)
		s := tab.Cached()
		files := rapid.IntRange(2, 4).Draw(t, "files")
		size := map[string]int{}
		next := int64(0)
		for i := range files {
			n := rapid.IntRange(1, 6).Draw(t, "rows")
			var v []int64
			for range n {
				v = append(v, next)
				next++
			}
			name := fmt.Sprintf("f%d", i)
			size[name] = n
			s = add(t, s, name, "x", v...)
		}
		pick := func(keep map[string]bool) map[string][]uint64 {
			out := map[string][]uint64{}
			for i := range files {
				name := fmt.Sprintf("f%d", i)
				if a, ok := s.File(name); ok {
					var v *roaring64.Bitmap
					if v, _ = rows.DeletedRows(ctx, tab, a); v == nil {
						v = roaring64.New()
					}
					for p := range size[name] {
						if !v.Contains(uint64(p)) && rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
							out[name] = append(out[name], uint64(p))
						}
					}
				}
			}
			return out
		}
		nonEmpty := func(m map[string][]uint64) bool {
			for _, v := range m {
				if len(v) > 0 {
					return true
				}
			}
			return false
		}
		if d := pick(nil); nonEmpty(d) {
			s = del(t, s, d)
		}
		var bin Bin
		for i := range files {
			if f, ok := s.File(fmt.Sprintf("f%d", i)); ok {
				bin.Files = append(bin.Files, f)
			}
		}
		if len(bin.Files) == 0 {
			return
		}
		w, err := Rewrite(ctx, s, bin, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 2).Draw(t, "others") {
			if d := pick(nil); nonEmpty(d) {
				s = del(t, s, d)
			}
		}
		s = add(t, s, "late", "x", 1000)
		want := ids(t, s)
		left := 0
		for _, f := range bin.Files {
			if _, ok := s.File(f.Path); ok {
				left++
			}
		}
		out := w.Commit(ctx, Options{})
		if left == 0 {
			if out.Kind != delta.Conflict {
				t.Fatalf("all files are gone: %+v", out)
			}
			return
		}
		s = must(t, out)
		if got := ids(t, s); !slices.Equal(got, want) {
			t.Fatalf("rows %v, want %v", got, want)
		}
		for f, err := range rows.Fsck(ctx, s, rows.FsckOptions{Deep: true}) {
			t.Fatalf("%+v %v", f, err)
		}
	})
}

func TestTwoOptimizers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := newTable(t)
	s := tab.Cached()
	for i := range 3 {
		s = add(t, s, fmt.Sprintf("f%d", i), "x", int64(i))
	}
	want := ids(t, s)
	var ws []*Rewritten
	for range 2 {
		w, err := Rewrite(ctx, s, Plan(s, Options{})[0], Options{})
		if err != nil {
			t.Fatal(err)
		}
		ws = append(ws, w)
	}
	must(t, ws[0].Commit(ctx, Options{}))
	if out := ws[1].Commit(ctx, Options{}); out.Kind != delta.Conflict {
		t.Errorf("the second optimizer: %+v", out)
	}
	s, _ = tab.Snapshot(ctx)
	if !slices.Equal(ids(t, s), want) {
		t.Error("rows changed")
	}
	if p, ok := ws[0].Ranks().New("f2", 0); !ok || p != 2 {
		t.Errorf("row 0 of f2 is at %d", p)
	}
}
