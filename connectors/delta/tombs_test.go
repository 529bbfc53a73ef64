package delta

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store/mem"
)

// vectorCommits gives the snapshots after n commits that each give every one of some files another deletion vector.
func vectorCommits(tb testing.TB, s *Snapshot, files, n int) *Snapshot {
	tb.Helper()
	for range n {
		v := s.Version + 1
		a := &Actions{}
		for i := range files {
			old, ok := s.File(fmt.Sprintf("f%d", i))
			if !ok {
				tb.Fatalf("version %d lost f%d", s.Version, i)
			}
			offset := int32(1 + 50*i)
			next := *old
			next.DeletionVector = &dv.Descriptor{StorageType: dv.StorageUUID, PathOrInlineDv: fmt.Sprintf("%020d", v), Offset: &offset, SizeInBytes: 40, Cardinality: 1}
			a.Removes = append(a.Removes, removeOf(old, v, true))
			a.Adds = append(a.Adds, &next)
		}
		var err error
		if s, err = s.next(v, a, time.Unix(v, 0)); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func vectorTable(tb testing.TB, files int) *Snapshot {
	tb.Helper()
	s := newTestTable(tb, mem.New("x"), nil).Cached()
	a := &Actions{}
	for i := range files {
		f := testAdd(fmt.Sprintf("f%d", i), 1000)
		a.Adds = append(a.Adds, &f)
	}
	s, err := s.next(s.Version+1, a, time.Unix(1, 0))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// A file whose vector changes with every commit leaves a tombstone each time, and the log remembers them for a week: a commit must not cost more
// for those that came before it.
func TestCommitsOfVectorsDoNotGrowWithTheirTombstones(t *testing.T) {
	const files, few = 8, 64
	taken := func(s *Snapshot) (*Snapshot, uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s = vectorCommits(t, s, files, few)
		runtime.ReadMemStats(&after)
		return s, after.TotalAlloc - before.TotalAlloc
	}
	s, first := taken(vectorTable(t, files))
	s = vectorCommits(t, s, files, 2000)
	s, last := taken(s)
	if n := s.NumTombstones(); n != files*(2000+2*few) {
		t.Errorf("%d tombstones, want %d", n, files*(2000+2*few))
	}
	if s.NumFiles() != files || s.NumDeletionVectors() != files {
		t.Errorf("%d files with %d vectors", s.NumFiles(), s.NumDeletionVectors())
	}
	if last > 4*first {
		t.Errorf("%d commits take %d bytes behind 2000 others, %d as the first", few, last, first)
	}
}

// BenchmarkVectorCommits follows a commit that changes the vectors of 32 files, of a table that has seen 5000 such commits.
func BenchmarkVectorCommits(b *testing.B) {
	s := vectorCommits(b, vectorTable(b, 32), 32, 5000)
	b.ReportAllocs()
	for b.Loop() {
		vectorCommits(b, s, 32, 1)
	}
}

// A checkpoint that is asked to leaves out the tombstones of vectors that lived for a moment, of files that others keep, and no other; whoever
// reads the table from it finds the same files.
func TestTombstonesOfMomentaryVectors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := mem.New("x")
	tab, err := Create(ctx, b, "t", CreateOptions{Schema: testSchema(), Configuration: map[string]string{PropEnableDVs: "true"}}, WithClock(func() time.Time { return clock }))
	if err != nil {
		t.Fatal(err)
	}
	do := func(f func(c *Commit)) {
		t.Helper()
		c := tab.NewCommit(tab.Cached())
		f(c)
		if out := c.Do(ctx); out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	do(func(c *Commit) {
		for _, name := range []string{"busy", "gone", "calm", "whole"} {
			c.Append(testAdd(name, 1000))
		}
	})
	dead := map[string]uint64{}
	vector := func(after time.Duration, names ...string) {
		t.Helper()
		clock = clock.Add(after)
		do(func(c *Commit) {
			for _, name := range names {
				a, ok := tab.Cached().File(name)
				if !ok {
					t.Fatal("no ", name)
				}
				v := roaring64.New()
				dead[name]++
				v.AddRange(0, dead[name])
				ds, _, err := dv.Write(ctx, b, tab.Path(), []*roaring64.Bitmap{v})
				if err != nil {
					t.Fatal(err)
				}
				c.SetDV(a, ds[0])
			}
		})
	}
	for range 30 {
		vector(time.Second, "busy", "gone")
	}
	for range 5 {
		vector(time.Hour, "calm")
	}
	do(func(c *Commit) {
		for _, name := range []string{"gone", "whole"} {
			a, _ := tab.Cached().File(name)
			c.Remove(a)
		}
	})
	if n := tab.Cached().NumTombstones(); n != 30+31+5+1 {
		t.Fatalf("%d tombstones", n)
	}
	files := func(s *Snapshot) (out []string) {
		for a := range s.Files() {
			out = append(out, a.Path+" "+a.DVID())
		}
		slices.Sort(out)
		return out
	}
	before := files(tab.Cached())
	if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{Vectors: true}); err != nil {
		t.Fatal(err)
	}
	// busy and gone: the newest stays; that of gone was one hour old. calm: each vector was there for an hour, only that of the file alone goes.
	want := map[string]int{"busy": 1, "gone": 1, "calm": 4, "whole": 1}
	check := func(where string, s *Snapshot) {
		t.Helper()
		got := map[string]int{}
		for r := range s.Tombstones() {
			got[r.Path]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: tombstones %v, want %v", where, got, want)
		}
		if !slices.Equal(files(s), before) {
			t.Errorf("%s: files\n%v, want\n%v", where, files(s), before)
		}
	}
	check("in memory", tab.Cached())
	again, err := Open(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	check("read again", again.Cached())
	// And on: what stayed tells how old the next one is.
	for range 10 {
		vector(time.Second, "busy")
	}
	before = files(tab.Cached())
	if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{Vectors: true}); err != nil {
		t.Fatal(err)
	}
	want["busy"] = 3 // before the long pause, after it, and the newest
	check("later", tab.Cached())
}
