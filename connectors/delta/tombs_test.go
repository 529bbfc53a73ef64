package delta

import (
	"fmt"
	"runtime"
	"testing"
	"time"

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
