package index

import (
	"math"
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/worker/silver/fold"
)

// File is a data file that entries point to.
type File struct {
	// Path as the log has it; "" for an ordinal that is free.
	Path string
	Rows int64 // physical rows
	Size int64
	// Deleted are the rows that are not live; nil for none. It is never changed in place.
	Deleted *roaring64.Bitmap
	// newest is not below the Prefix of any of its rows; the highest number where a row has no position.
	newest uint64
}

// Live is the number of rows that are not deleted.
func (f *File) Live() int64 {
	if f.Deleted == nil {
		return f.Rows
	}
	return f.Rows - int64(f.Deleted.GetCardinality())
}

// Grave is a tombstone: what is kept of a Dead entry.
type Grave struct {
	Stamp fold.Stamp
	// Add is the sequence of the insert that was taken back; the zero Stamp where it is not known.
	Add  fold.Stamp
	AtMs int64
}

// graveyard has the tombstones of a shard that are in memory.
type graveyard struct {
	graves []Grave
	free   []uint32
	named  int64 // bytes of their positions
}

func (y *graveyard) bytes() int64 { return int64(cap(y.graves))*graveBytes + y.named }

// Index is the key index of one table at Version.
type Index struct {
	Table
	Version int64
	files   []File
	byPath  map[string]uint32
	freeF   []uint32
	graves  [shards]graveyard
	spill   Spill
	disk    disk
	dead    int   // tombstones, also those on disk
	expired int64 // tombstones of before are not needed, in ms
}

// New makes an empty index of the table at a version.
func New(version int64) *Index {
	return &Index{Version: version, byPath: map[string]uint32{}, expired: math.MinInt64}
}

// LiveRows is the number of rows that the index knows.
func (x *Index) LiveRows() int64 { return int64(x.Len() - x.dead) }

// Tombstones is the number of deleted keys.
func (x *Index) Tombstones() int { return x.dead }

// MemoryBytes is about what the index holds.
func (x *Index) MemoryBytes() int64 {
	return x.held() + x.disk.bytes()
}

// held is what can be moved to disk.
func (x *Index) held() (n int64) {
	for s := range shards {
		n += x.heldBy(s)
	}
	return n
}

func (x *Index) heldBy(shard int) int64 { return x.shards[shard].bytes() + x.graves[shard].bytes() }

// AddFile registers a file and gives its ordinal.
func (x *Index) AddFile(f File) uint32 {
	var o uint32
	if n := len(x.freeF); n > 0 {
		o, x.freeF = x.freeF[n-1], x.freeF[:n-1]
		x.files[o] = f
	} else {
		o = uint32(len(x.files))
		x.files = append(x.files, f)
	}
	x.byPath[f.Path] = o
	return o
}

// Known gives a registered file, nil where the ordinal is none.
func (x *Index) Known(o uint32) *File {
	if int64(o) >= int64(len(x.files)) || x.files[o].Path == "" {
		return nil
	}
	return &x.files[o]
}

// File gives a registered file.
func (x *Index) File(o uint32) *File { return &x.files[o] }

// Ordinal finds a file by path.
func (x *Index) Ordinal(path string) (uint32, bool) {
	o, ok := x.byPath[path]
	return o, ok
}

// Ordinals calls f for each file.
func (x *Index) Ordinals(f func(o uint32, file *File)) {
	for i := range x.files {
		if x.files[i].Path != "" {
			f(uint32(i), &x.files[i])
		}
	}
}

// DropFile forgets a file. No entry may point to it any more.
func (x *Index) DropFile(o uint32) {
	delete(x.byPath, x.files[o].Path)
	x.files[o] = File{}
	x.freeF = append(x.freeF, o)
}

// Grave gives the tombstone of a Dead entry. It is for reading: Rebury changes one.
func (x *Index) Grave(e Entry) *Grave {
	if e.Row&onDisk == 0 {
		return &x.graves[shardOf(e.Hash)].graves[e.Row]
	}
	g, err := x.disk.runs[shardOf(e.Hash)].yard.grave(e.Row, false)
	if err != nil {
		x.disk.fail(err)
	}
	return &g
}

// Bury makes the entry of a tombstone; Insert it, or Replace another by it.
func (x *Index) Bury(h fold.Hash, g Grave) Entry { return x.BuryAs(Dead, h, g) }

// BuryAs is Bury for the kinds of tombstones that a table without key has: Dead, Waiting, Undone.
func (x *Index) BuryAs(kind uint32, h fold.Hash, g Grave) Entry {
	y := &x.graves[shardOf(h)]
	var slot uint32
	if n := len(y.free); n > 0 {
		slot, y.free = y.free[n-1], y.free[:n-1]
		y.graves[slot] = g
	} else {
		slot = uint32(len(y.graves))
		y.graves = append(y.graves, g)
	}
	x.dead++
	y.named += positions(&g)
	e := Marked(h, kind, g.Stamp)
	e.Row = slot
	return e
}

// Marked is the first place, among the entries of a hash, of a tombstone's kind or, with kind 0, a row's that has the mark of a stamp. From gives what is there.
func Marked(h fold.Hash, kind uint32, s fold.Stamp) Entry {
	e := Entry{Hash: h, File: kind}
	if kind == 0 && s.Pos == "" {
		e.Row = flagUnsequence
	}
	e.Prefix, e.SeqHash = Mark(s)
	return e
}

// SameMark tells that two entries of a hash and a kind have one mark.
func (e Entry) SameMark(o Entry) bool { return e.cmp(o) == 0 }

// Rebury puts a tombstone in the place of another, that of the entry e.
func (x *Index) Rebury(e Entry, g Grave) {
	n := x.BuryAs(e.File, e.Hash, g)
	x.Raise(e)
	x.Replace(e, n)
}

// Raise takes a tombstone away whose entry has been or will be replaced or removed.
func (x *Index) Raise(e Entry) {
	x.dead--
	if e.Row&onDisk != 0 {
		return
	}
	y := &x.graves[shardOf(e.Hash)]
	y.named -= positions(&y.graves[e.Row])
	y.graves[e.Row] = Grave{}
	y.free = append(y.free, e.Row)
}

// positions is about what the texts of a tombstone need.
func positions(g *Grave) int64 { return int64(len(g.Stamp.Pos) + len(g.Add.Pos)) }

// graveBytes is what a tombstone needs beside its entry and the texts of its positions.
const graveBytes = int64(unsafe.Sizeof(Grave{}))

// Expire takes away the tombstones of before a time, in ms, and gives their number. It looks at every entry in memory; those on
// disk go when their part is written anew.
func (x *Index) Expire(before int64) int {
	x.expired = max(x.expired, before)
	var drop []Entry
	x.Table.All(func(e *Entry) bool {
		if e.Gone() && x.Grave(*e).AtMs < before {
			drop = append(drop, *e)
		}
		return true
	})
	for _, e := range drop {
		x.Remove(e)
		x.Raise(e)
	}
	return len(drop)
}
