package index

import (
	"fmt"
	"slices"
	"strings"
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
		whole := rapid.Bool().Draw(t, "whole")
		small.WithSpill(Spill{Dir: dir, Whole: whole, Limit: func() int64 { return 0 }, perRun: rapid.IntRange(1, 100).Draw(t, "entries of a run")})
		defer small.disk.close()
		for range 3 {
			f := File{Path: string(rune('a' + len(small.files))), Rows: 1 << 20}
			small.AddFile(f)
			big.AddFile(f)
		}
		type place struct {
			key       int
			file, row uint32
			entry     Entry // as far as who asks knows it
		}
		keys := rapid.SampledFrom([]int{1, 5, 300}).Draw(t, "keys")
		var live []place
		dead := map[int]Grave{} // of keys that have no other entry
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
			e := At(hashOf(key), stamp(), file, int64(next), rapid.IntRange(0, 9).Draw(t, "carried") == 0)
			p := place{key, file, next, e}
			if rapid.Bool().Draw(t, "no mark") {
				p.entry = Entry{Hash: e.Hash, File: file, Row: next}
			}
			live = append(live, p)
			return e
		}
		// tombs does one thing to the tombstone of a key, by its entry, as it is in either index.
		tombs := func(do func(x *Index, e Entry, ok bool), h fold.Hash) {
			for _, x := range []*Index{small, big} {
				e, ok, _ := x.Get(h)
				do(x, e, ok)
			}
		}
		for i, ops := 0, rapid.IntRange(1, 150).Draw(t, "ops"); i < ops; i++ {
			if rapid.IntRange(0, 3).Draw(t, "tomb") == 0 {
				key := rapid.IntRange(400, 420).Draw(t, "deleted")
				_, has := dead[key]
				g := Grave{Stamp: stamp(), AtMs: rapid.Int64Range(0, 100).Draw(t, "at")}
				if rapid.Bool().Draw(t, "takes back") {
					g.Add = stamp()
				}
				if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
					g.Stamp.Pos = strings.Repeat("long", rapid.IntRange(30, 3000).Draw(t, "position"))
				}
				tombs(func(x *Index, e Entry, ok bool) {
					switch {
					case ok != has:
						t.Fatalf("tombstone of %d: %v, want %v", key, ok, has)
					case !has:
						x.Insert(x.Bury(hashOf(key), g))
						dead[key] = g
					case g.AtMs < 30:
						x.Raise(e)
						if !x.Remove(e) || x.Remove(e) {
							t.Fatalf("tombstone of %d is not removed once", key)
						}
						delete(dead, key)
					case g.AtMs < 60:
						e2 := x.Bury(hashOf(key), g)
						x.Raise(e)
						if !x.Replace(e, e2) {
							t.Fatalf("tombstone of %d is not replaced", key)
						}
						dead[key] = g
					default:
						x.Rebury(e, g)
						dead[key] = g
					}
				}, hashOf(key))
				continue
			}
			key, file := rapid.IntRange(0, keys).Draw(t, "key"), rapid.Uint32Range(0, 2).Draw(t, "file")
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
					a, b = small.Replace(p.entry, e), big.Replace(p.entry, e)
				case 6:
					next++
					a, b = small.Move(p.entry, file, next), big.Move(p.entry, file, next)
					p.file, p.row, p.entry.File, p.entry.Row = file, next, file, p.entry.Row&^rowMask|next
					live = append(live, p)
				default:
					a, b = small.Remove(p.entry), big.Remove(p.entry)
					if small.Remove(p.entry) {
						t.Fatal("removed twice")
					}
				}
				if !a || !b {
					t.Fatalf("op %d: %v %v", op, a, b)
				}
			default:
				if small.Over() != (small.Table.n > 0) {
					t.Fatalf("over: %v", small.Over())
				}
				move := small.Shrink
				switch rapid.IntRange(0, 2).Draw(t, "how") {
				case 0:
					move = small.Compact
				case 1: // some of it
					m := mover{x: small}
					begin := partOf(&small.disk, rapid.IntRange(0, shards-1).Draw(t, "shard"))
					if err := m.part(begin, small.disk.part(begin)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if _, err := move(); err != nil {
					t.Fatal(err)
				}
				if small.Over() || small.Table.n > 0 {
					t.Fatal("still in memory")
				}
			}
		}
		if small.Err() != nil || small.Len() != big.Len() || small.LiveRows() != int64(len(live)) || small.Tombstones() != len(dead) {
			t.Fatalf("%v: %d entries, want %d, %d", small.Err(), small.Len(), big.Len(), len(live))
		}
		for key := 400; key <= 420; key++ {
			want, has := dead[key]
			tombs(func(x *Index, e Entry, ok bool) {
				if ok != has || ok && (e.File != Dead || *x.Grave(e) != want) {
					t.Fatalf("tombstone of %d: %v %+v, want %v %+v", key, ok, e, has, want)
				}
			}, hashOf(key))
		}
		places := func(x *Index, h fold.Hash) (out []place) {
			x.Each(h, func(e Entry) bool {
				out = append(out, place{0, e.File, uint32(e.Position()), Entry{}})
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
			if whole {
				sameOrder(t, small, big, Marked(h, 0, s))
			}
			small.Each(h, func(e Entry) bool {
				big.Each(h, func(full Entry) bool {
					if full.File == e.File && full.Position() == e.Position() {
						if whole && (e.Bound() || e.Hash != full.Hash || e.Prefix != full.Prefix || e.SeqHash != full.SeqHash) {
							t.Fatalf("entry is %+v, want %+v", e, full)
						}
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
		if n != len(live)+len(dead) {
			t.Fatalf("all: %d entries, want %d and %d tombstones", n, len(live), len(dead))
		}
		// What is expired goes at once from memory, and from the file when it is written anew.
		const expired = 50
		small.Expire(expired)
		if _, err := small.Compact(); err != nil {
			t.Fatal(err)
		}
		for key, g := range dead {
			if _, ok, _ := small.Get(hashOf(key)); ok != (g.AtMs >= expired) {
				t.Fatalf("tombstone of %d after the others expired: %v", key, ok)
			}
			if g.AtMs < expired {
				delete(dead, key)
			}
		}
		if small.Tombstones() != len(dead) || small.LiveRows() != int64(len(live)) {
			t.Fatalf("%d tombstones, want %d; %d rows, want %d", small.Tombstones(), len(dead), small.LiveRows(), len(live))
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
	defer x.disk.close()
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

// Tombstones have next to nothing in memory either, however many there are.
func TestSpilledTombstones(t *testing.T) {
	x := New(1)
	x.WithSpill(Spill{Dir: t.TempDir(), Limit: func() int64 { return 1 << 20 }})
	const keys = 100_000
	grave := func(i int) Grave {
		return Grave{Stamp: fold.Stamp{Epoch: 1, Pos: fmt.Sprintf("%024d", i), Part: 3, Off: int64(i), Exact: true}, AtMs: int64(i)}
	}
	most := int64(0)
	for i := range keys {
		x.Insert(x.Bury(hashOf(i), grave(i)))
		most = max(most, x.MemoryBytes())
		if x.Over() {
			if _, err := x.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := x.Compact(); err != nil {
		t.Fatal(err)
	}
	defer x.disk.close()
	if x.Tombstones() != keys || most > 4<<20 {
		t.Fatalf("%d tombstones, at most %d bytes in memory", x.Tombstones(), most)
	}
	for i := range keys {
		if e, ok, _ := x.Get(hashOf(i)); !ok || *x.Grave(e) != grave(i) {
			t.Fatalf("tombstone %d: %v %+v", i, ok, e)
		}
	}
	if err := x.Err(); err != nil {
		t.Fatal(err)
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
	x.disk.close()
	if _, ok, _ := x.Get(hashOf(1)); ok || x.Err() == nil {
		t.Fatalf("%v %v", ok, x.Err())
	}
}

// partOf gives the beginning of the part that a shard is in.
func partOf(d *disk, s int) (begin int) {
	for d.part(begin) <= s {
		begin = d.part(begin)
	}
	return begin
}

// Runs are written anew one at a time, by what is in memory of each, and those alone of which much is gone; the memory keeps to its bound.
func TestShrinkWritesOneRunAtATime(t *testing.T) {
	const limit, keys, perRun = 1 << 20, 100_000, 5000
	x := New(1)
	x.WithSpill(Spill{Dir: t.TempDir(), Limit: func() int64 { return limit }, perRun: perRun})
	defer x.disk.close()
	x.AddFile(File{Path: "a", Rows: 1 << 20})
	most := 0
	shrink := func() {
		before := x.disk.runs
		if _, err := x.Shrink(); err != nil {
			t.Fatal(err)
		}
		written := 0
		x.disk.all(func(r *run) bool {
			if before[r.begin] != r {
				written += int(r.n)
			}
			return true
		})
		most = max(most, written)
		if held := x.held(); held > limit {
			t.Fatalf("%d bytes in memory", held)
		}
	}
	place := make([]uint32, 0, keys)
	next := uint32(0)
	insert := func() {
		x.Insert(At(hashOf(len(place)), fold.Stamp{Epoch: 1, Pos: "1", Exact: true}, 0, int64(next), false))
		place = append(place, next)
		next++
	}
	for len(place) < keys {
		insert()
		if len(place)%100 == 0 {
			shrink()
		}
	}
	most = 0
	for i := range keys { // each is updated and, by a compaction, moved
		k, e := i*7%keys, At(hashOf(i*7%keys), fold.Stamp{Epoch: 1, Pos: "2", Exact: true}, 0, int64(next), false)
		if !x.Replace(Entry{Hash: e.Hash, Row: place[k]}, e) || !x.Move(e, 0, next+1) {
			t.Fatal(k)
		}
		place[k], next = next+1, next+2
		if i%100 == 0 {
			shrink()
		}
	}
	if most == 0 || most > 4*perRun {
		t.Errorf("%d entries were written at once, want some, and at most those of two runs of %d to %d", most, perRun, 2*perRun)
	}
	size := x.Spilled()
	for k := range keys / 2 { // gone without one that takes the place
		if !x.Remove(Entry{Hash: hashOf(k), Row: place[k]}) {
			t.Fatal(k)
		}
		if k%100 == 0 {
			shrink()
		}
	}
	if x.Len() != keys/2 || x.Spilled() > size*5/8 {
		t.Errorf("%d entries; %d bytes on disk of %d before half of them went", x.Len(), x.Spilled(), size)
	}
}

// sameOrder tells that two indexes give the same entries from a place on, up and down, in order.
func sameOrder(t *rapid.T, small, big *Index, at Entry) {
	walk := func(x *Index, go_ func(Entry, func(Entry) bool), up bool) (out []Entry) {
		go_(at, func(e Entry) bool {
			if n := len(out); n > 0 && out[n-1].cmp(e) != 0 && out[n-1].cmp(e) < 0 != up {
				t.Fatalf("%+v comes behind %+v", e, out[n-1])
			}
			out = append(out, e)
			return true
		})
		slices.SortFunc(out, func(a, b Entry) int { return int(a.Position() - b.Position()) })
		return out
	}
	all := 0
	big.Each(at.Hash, func(Entry) bool {
		all++
		return true
	})
	up, down := walk(small, small.From, true), walk(small, small.Below, false)
	if !slices.Equal(up, walk(big, big.From, true)) || !slices.Equal(down, walk(big, big.Below, false)) || len(up)+len(down) != all {
		t.Fatalf("%d up, %d down, of %d", len(up), len(down), all)
	}
}

func init() { bagBlock, runPage = 4, 4 }
