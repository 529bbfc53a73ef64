package index

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/worker/silver/fold"
)

// An index that was staged has what was put into it, wherever equal hashes came from and however many there are of one, and tells of those that it was given twice.
func TestStagedIndexHasAll(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		n := rapid.IntRange(2*minRoom+1, 20_000).Draw(t, "entries")
		again := rapid.SampledFrom([]int{0, 1, 3000}).Draw(t, "equal ones")
		x := New(1)
		x.WithSpill(Spill{Dir: dir, Whole: rapid.Bool().Draw(t, "whole"), Limit: func() int64 { return 0 }, perRun: rapid.IntRange(50, 1000).Draw(t, "entries of a run")})
		defer x.disk.close()
		x.AddFile(File{Path: "a", Rows: int64(n + again)})
		s, err := x.Stage(n)
		if err != nil || s == nil {
			t.Fatalf("%d entries are not staged: %v", n, err)
		}
		defer s.Close()
		var all []Entry
		for i := range n + again {
			key := i
			if i >= n {
				key = n / 2
			}
			all = append(all, At(hashOf(key), fold.Stamp{Epoch: 1, Part: 1, Off: int64(i)}, 0, int64(i), false))
		}
		rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		var wg sync.WaitGroup
		for part := range slices.Chunk(all, 1+len(all)/3) {
			wg.Go(func() {
				if err := s.Add(part); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		twice, err := s.Fill(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		if x.Len() != n+again || x.Table.Len() != 0 {
			t.Fatalf("the index has %d entries, want %d, %d of them in memory", x.Len(), n+again, x.Table.Len())
		}
		for i := range n {
			want := 1
			if i == n/2 {
				want += again
			}
			var rows []int64
			x.Each(hashOf(i), func(e Entry) bool {
				rows = append(rows, e.Position())
				return true
			})
			slices.Sort(rows)
			if len(slices.Compact(rows)) != want || !slices.Contains(rows, int64(i)) {
				t.Fatalf("key %d has %d rows, want %d", i, len(rows), want)
			}
		}
		slices.SortFunc(twice, func(a, b fold.Hash) int { return int(a.Hi) - int(b.Hi) })
		twice = slices.Compact(twice)
		switch {
		case again == 0 && len(twice) > 0:
			t.Fatalf("%d keys are there twice, want none", len(twice))
		case again > 0 && len(twice) != 1:
			t.Fatalf("%d keys are there twice, want one", len(twice))
		}
	})
}

// What memory has room for is not staged.
func TestSmallIndexIsNotStaged(t *testing.T) {
	x := New(1)
	if s, err := x.Stage(1 << 30); s != nil || err != nil {
		t.Fatalf("an index that may not spill is staged: %v", err)
	}
	x.WithSpill(Spill{Dir: t.TempDir(), Limit: func() int64 { return 0 }})
	if s, err := x.Stage(2 * minRoom); s != nil || err != nil {
		t.Fatalf("few entries are staged: %v", err)
	}
}
