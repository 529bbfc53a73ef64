package index

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/worker/silver/fold"
)

// An index of which a part is in a file says what one in memory says, whenever it moved there: of each key the same places, of each
// sequence nothing that is wrong.
func TestSpilledIndexIsTheSame(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		small, big := New(1), New(1)
		small.WithSpill(Spill{Dir: dir, Limit: func() int64 { return 0 }})
		defer func() { small.run.close() }()
		for range 3 {
			f := File{Path: string(rune('a' + len(small.files))), Rows: 1 << 20}
			small.AddFile(f)
			big.AddFile(f)
		}
		type place struct {
			key       int
			file, row uint32
		}
		var live []place
		next := uint32(0)
		stamp := func() fold.Stamp {
			s := fold.Stamp{Epoch: 1, Part: 1, Off: rapid.Int64Range(0, 9).Draw(t, "off")}
			if rapid.IntRange(0, 3).Draw(t, "positioned") > 0 {
				s.Pos, s.Exact = string([]byte{0, 0, rapid.Byte().Draw(t, "pos"), 2}), true
			}
			return s
		}
		entry := func(key int, file uint32) Entry {
			next++
			live = append(live, place{key, file, next})
			return At(hashOf(key), stamp(), file, int64(next), rapid.IntRange(0, 9).Draw(t, "carried") == 0)
		}
		for i, ops := 0, rapid.IntRange(1, 150).Draw(t, "ops"); i < ops; i++ {
			key, file := rapid.IntRange(0, 300).Draw(t, "key"), rapid.Uint32Range(0, 2).Draw(t, "file")
			op := rapid.IntRange(0, 9).Draw(t, "op")
			if len(live) == 0 && op > 3 {
				op = 0
			}
			switch {
			case op < 4:
				e := entry(key, file)
				small.Insert(e)
				big.Insert(e)
			case op < 9:
				k := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				p := live[k]
				live = slices.Delete(live, k, k+1)
				var a, b bool
				switch op {
				case 4, 5:
					e := entry(p.key, file)
					a, b = small.Replace(p.file, p.row, e), big.Replace(p.file, p.row, e)
				case 6:
					next++
					a, b = small.Move(hashOf(p.key), p.file, p.row, file, next), big.Move(hashOf(p.key), p.file, p.row, file, next)
					live = append(live, place{p.key, file, next})
				default:
					a, b = small.Remove(hashOf(p.key), p.file, p.row), big.Remove(hashOf(p.key), p.file, p.row)
					if small.Remove(hashOf(p.key), p.file, p.row) {
						t.Fatal("removed twice")
					}
				}
				if !a || !b {
					t.Fatalf("op %d: %v %v", op, a, b)
				}
			default:
				if small.Over() != (small.Table.n+small.gone.n > 0) {
					t.Fatalf("over: %v", small.Over())
				}
				if _, err := small.Compact(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if small.Err() != nil || small.Len() != big.Len() || small.LiveRows() != int64(len(live)) {
			t.Fatalf("%v: %d entries, want %d, %d", small.Err(), small.Len(), big.Len(), len(live))
		}
		places := func(x *Index, h fold.Hash) (out []place) {
			x.Each(h, func(e Entry) bool {
				out = append(out, place{0, e.File, uint32(e.Position())})
				return true
			})
			slices.SortFunc(out, func(a, b place) int { return int(a.row) - int(b.row) })
			return out
		}
		for key := range 301 {
			h := hashOf(key)
			a, b := places(small, h), places(big, h)
			if !slices.Equal(a, b) {
				t.Fatalf("key %d: %v, want %v", key, a, b)
			}
			_, ok, more := small.Get(h)
			if ok != (len(b) > 0) || more != (len(b) > 1) {
				t.Fatalf("key %d: get of %d entries: %v %v", key, len(b), ok, more)
			}
			s := stamp()
			small.Each(h, func(e Entry) bool {
				big.Each(h, func(full Entry) bool {
					if full.File == e.File && full.Position() == e.Position() {
						if v := Judge(e, s); v != Unsure && v != Judge(full, s) {
							t.Fatalf("judged %v, want %v", v, Judge(full, s))
						}
						if full.Carried() != e.Carried() || full.Unpositioned() != e.Unpositioned() {
							t.Fatal("flags differ")
						}
					}
					return true
				})
				return true
			})
		}
		n := 0
		small.All(func(e *Entry) bool {
			if _, ok, _ := small.Get(e.Hash); !ok {
				t.Fatal("an entry is not found by its own hash")
			}
			n++
			return true
		})
		if n != len(live) {
			t.Fatalf("all: %d entries, want %d", n, len(live))
		}
	})
}

// A key in the file needs at most 16 bytes there, and next to nothing in memory.
func TestSpilledBytesPerKey(t *testing.T) {
	x := New(1)
	x.WithSpill(Spill{Dir: t.TempDir(), Limit: func() int64 { return 1 << 20 }})
	x.AddFile(File{Path: "a", Rows: 1 << 20})
	const keys = 200_000
	for i := range keys {
		x.Insert(At(hashOf(i), fold.Stamp{Epoch: 1, Pos: "1", Exact: true}, 0, int64(i), false))
		if i%10_000 == 0 && x.Over() {
			if _, err := x.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := x.Compact(); err != nil {
		t.Fatal(err)
	}
	defer x.run.close()
	disk, memory := float64(x.Spilled())/keys, float64(x.MemoryBytes())/keys
	if disk > 16 || memory > 1 || x.Len() != keys {
		t.Fatalf("%.1f bytes per key on disk, %.1f in memory", disk, memory)
	}
	t.Logf("%.1f bytes per key on disk, %.2f in memory", disk, memory)
	for i := range keys {
		if e, ok, more := x.Get(hashOf(i)); !ok || more || e.Position() != int64(i) {
			t.Fatalf("key %d: %+v %v %v", i, e, ok, more)
		}
	}
}

// What cannot be read is told, and never taken for a key that is not there.
func TestSpilledFileFails(t *testing.T) {
	x := New(1)
	x.WithSpill(Spill{Dir: t.TempDir(), Limit: func() int64 { return 0 }})
	x.AddFile(File{Path: "a", Rows: 9})
	x.Insert(At(hashOf(1), fold.Stamp{Epoch: 1, Pos: "1"}, 0, 1, false))
	if _, err := x.Compact(); err != nil {
		t.Fatal(err)
	}
	x.run.close()
	if _, ok, _ := x.Get(hashOf(1)); ok || x.Err() == nil {
		t.Fatalf("%v %v", ok, x.Err())
	}
}
