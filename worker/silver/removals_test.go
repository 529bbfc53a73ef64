package silver

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// What the index knows of removals does not depend on how many may wait for their insert in memory, nor on the order of the words that the state has on each, nor on
// where the index is. No more wait than may.
func TestRemovalsAreBounded(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		stamp := func(n int) fold.Stamp {
			return fold.Stamp{Pos: string(binary.BigEndian.AppendUint64(nil, uint64(n)+1<<32)), Off: int64(n), Exact: true}
		}
		var words []state.Tomb
		for i := range rapid.IntRange(1, 60).Draw(t, "removals") {
			w := state.Tomb{Hash: fold.Sum([]byte{byte(rapid.IntRange(1, 3).Draw(t, "content"))}), Seq: stamp(1000 + i).Seq(), AtMs: int64(i)}
			for range rapid.IntRange(0, 2).Draw(t, "words that it waits") {
				w.AtMs += 1000
				words = append(words, w)
			}
			if rapid.Bool().Draw(t, "found its insert") {
				w.Add, w.AtMs = stamp(i).Seq(), w.AtMs+1000
				words = append(words, w)
			}
		}
		words = rapid.Permutation(words).Draw(t, "order")
		type told struct {
			add fold.Seq
			ms  int64
		}
		want := map[fold.Seq]told{}
		for _, w := range words {
			if was := want[w.Seq]; w.Add != "" || was.add == "" {
				want[w.Seq] = told{w.Add, w.AtMs}
			}
		}
		var lines []string
		for seq, x := range want {
			kind := index.Waiting
			if x.add != "" {
				kind = index.Dead
				lines = append(lines, fmt.Sprintf("%x %x %d", index.Undone, x.add, x.ms))
			}
			lines = append(lines, fmt.Sprintf("%x %x %d", kind, seq, x.ms))
		}
		slices.Sort(lines)

		x := index.New(1)
		if rapid.Bool().Draw(t, "on disk") {
			x.WithSpill(index.Spill{Dir: dir, Limit: func() int64 { return 0 }, Whole: true})
		}
		l := removals{x: x, most: rapid.SampledFrom([]int{0, 1, 5, 1000}).Draw(t, "may wait")}
		for i := range words {
			w := &words[i]
			st, err := fold.Parse(string(w.Seq))
			if err != nil {
				t.Fatal(err)
			}
			g := index.Grave{Stamp: st, AtMs: w.AtMs}
			if w.Add != "" {
				if g.Add, err = fold.Parse(string(w.Add)); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.load(w, g); err != nil {
				t.Fatal(err)
			}
			if len(l.waiting) > l.most {
				t.Fatalf("%d wait in memory, %d may", len(l.waiting), l.most)
			}
			if rapid.IntRange(0, 9).Draw(t, "shrink") == 0 {
				if _, err := x.Shrink(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.enter(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for c := byte(1); c <= 3; c++ {
			var entries []index.Entry
			x.Each(fold.Sum([]byte{c}), func(e index.Entry) bool {
				entries = append(entries, e)
				return true
			})
			for _, e := range entries {
				g := x.Grave(e)
				got = append(got, fmt.Sprintf("%x %x %d", index.Kind(e), g.Stamp.Seq(), g.AtMs))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, lines) {
			t.Fatalf("the index has\n%q, want\n%q", got, lines)
		}
		if x.Tombstones() != len(lines) || x.Err() != nil {
			t.Fatalf("%d tombstones, want %d, error %v", x.Tombstones(), len(lines), x.Err())
		}
	})
}
