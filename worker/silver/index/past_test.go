package index

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/worker/silver/fold"
)

// Versions on disk are found as those in memory are, in the same order, whatever came between; so are they without files that were dropped.
func TestSpilledPastIsTheSame(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		small, big := NewPast(Spill{Dir: dir, Limit: func() int64 { return 0 }, perRun: rapid.IntRange(1, 50).Draw(t, "entries of a run")}), NewPast(Spill{})
		defer small.disk.close()
		type version struct {
			key int
			x   Spot
		}
		var live []version
		next := int64(0)
		both := func(what string, f func(p *Past) bool) {
			if a, b := f(small), f(big); !a || !b {
				t.Fatalf("%s: %v %v", what, a, b)
			}
		}
		for i, ops := 0, rapid.IntRange(1, 150).Draw(t, "ops"); i < ops; i++ {
			op := rapid.IntRange(0, 9).Draw(t, "op")
			if len(live) == 0 && op > 4 {
				op = 0
			}
			file := rapid.Uint32Range(0, 4).Draw(t, "file")
			switch {
			case op < 5:
				next++
				s := fold.Stamp{Epoch: 1, Part: 1, Off: rapid.Int64Range(0, 9).Draw(t, "off")}
				if rapid.IntRange(0, 4).Draw(t, "positioned") > 0 {
					s.Pos = string([]byte{0, 0, rapid.Byte().Draw(t, "pos"), 2})
				}
				v := version{rapid.IntRange(0, 20).Draw(t, "key"), SpotAt(s, file, next)}
				small.Add(hashOf(v.key), v.x)
				big.Add(hashOf(v.key), v.x)
				live = append(live, v)
			case op < 7:
				k := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				v := live[k]
				live = slices.Delete(live, k, k+1)
				both("remove", func(p *Past) bool { return p.Knows(hashOf(v.key), v.x) && p.Remove(hashOf(v.key), v.x) })
				if small.Remove(hashOf(v.key), v.x) || small.Knows(hashOf(v.key), v.x) {
					t.Fatal("removed twice")
				}
			case op == 7:
				v := &live[rapid.IntRange(0, len(live)-1).Draw(t, "which")]
				next++
				both("move", func(p *Past) bool { return p.Move(hashOf(v.key), v.x, file, uint32(next)) })
				v.x.File, v.x.row = file, uint32(next)|v.x.row&spotBare
			case op == 8 && rapid.IntRange(0, 3).Draw(t, "drop") == 0:
				for _, p := range []*Past{small, big} {
					if err := p.DropFiles(map[uint32]bool{file: true}); err != nil {
						t.Fatal(err)
					}
				}
				live = slices.DeleteFunc(live, func(v version) bool { return v.x.File == file })
			default:
				held := func() bool { return small.mem.Len() > 0 }
				if small.Over() != held() {
					t.Fatalf("over: %v", small.Over())
				}
				move := small.Compact
				if rapid.Bool().Draw(t, "shrink") {
					move = small.Shrink
				}
				if err := move(); err != nil {
					t.Fatal(err)
				}
				if small.Over() || held() {
					t.Fatal("still in memory")
				}
			}
		}
		if small.Err() != nil || small.Len() != int64(len(live)) || big.Len() != int64(len(live)) {
			t.Fatalf("%v: %d versions, want %d", small.Err(), small.Len(), len(live))
		}
		place := func(a, b Spot) int { return int(a.Position() - b.Position()) }
		for key := range 21 {
			a, b := slices.Clone(small.Of(hashOf(key))), slices.Clone(big.Of(hashOf(key)))
			if !slices.IsSortedFunc(a, Spot.cmp) || has(small, key) != (len(b) > 0) {
				t.Fatalf("key %d: %v", key, a)
			}
			slices.SortFunc(a, place)
			slices.SortFunc(b, place)
			if !slices.Equal(a, b) {
				t.Fatalf("key %d: %v, want %v", key, a, b)
			}
		}
	})
}

// Versions on disk need next to nothing in memory.
func TestSpilledPastBytes(t *testing.T) {
	p := NewPast(Spill{Dir: t.TempDir(), Limit: func() int64 { return 1 << 20 }})
	const versions = 100_000
	most := int64(0)
	for i := range versions {
		p.Add(hashOf(i%1000), SpotAt(fold.Stamp{Epoch: 1, Pos: string([]byte{byte(i >> 16), byte(i >> 8), byte(i)})}, 0, int64(i)))
		most = max(most, p.MemoryBytes())
		if p.Over() {
			if err := p.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Compact(); err != nil {
		t.Fatal(err)
	}
	defer p.disk.close()
	if disk := p.Spilled() / versions; disk > 32 || most > 3<<20 || p.MemoryBytes() > 1<<18 || p.Len() != versions {
		t.Fatalf("%d bytes a version on disk, at most %d in memory, %d now", disk, most, p.MemoryBytes())
	}
	for i := range 1000 {
		if l := p.Of(hashOf(i)); len(l) != versions/1000 || !slices.IsSortedFunc(l, Spot.cmp) {
			t.Fatalf("key %d has %d versions", i, len(l))
		}
	}
}

func has(p *Past, key int) bool {
	is, _ := p.Has(hashOf(key))
	return is
}

func (x Spot) cmp(o Spot) int { return x.entry(fold.Hash{}).cmp(o.entry(fold.Hash{})) }
