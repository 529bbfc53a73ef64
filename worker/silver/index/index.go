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
	// Add is, in a table without key, the sequence of the insert that was taken back; the zero Stamp where it is to come.
	Add  fold.Stamp
	AtMs int64
}

// Index is the key index of one table at Version.
type Index struct {
	Table
	Version int64
	files   []File
	byPath  map[string]uint32
	freeF   []uint32
	graves  []Grave
	spill   Spill
	run     *run
	gone    Table // entries of run that are no more: masked hash, file, row
	err     error
	freeG   []uint32
	dead    int   // tombstones, also those in the file
	named   int64 // bytes of the positions of those in memory
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
	return x.held() + x.run.bytes()
}

// held is what can be moved into the file.
func (x *Index) held() int64 {
	return x.Table.Bytes() + x.gone.Bytes() + int64(cap(x.graves))*graveBytes + x.named
}

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
		return &x.graves[e.Row]
	}
	g, err := x.run.yard.grave(e.Row, false)
	if err != nil {
		x.fail(err)
	}
	return &g
}

// Bury makes the entry of a tombstone; Insert it, or Replace another by it.
func (x *Index) Bury(h fold.Hash, g Grave) Entry {
	var slot uint32
	if n := len(x.freeG); n > 0 {
		slot, x.freeG = x.freeG[n-1], x.freeG[:n-1]
		x.graves[slot] = g
	} else {
		slot = uint32(len(x.graves))
		x.graves = append(x.graves, g)
	}
	x.dead++
	x.named += positions(&g)
	return Entry{Hash: h, File: Dead, Row: slot}
}

// Rebury puts a tombstone in the place of another, that of the entry e.
func (x *Index) Rebury(e Entry, g Grave) {
	if e.Row&onDisk == 0 {
		x.named += positions(&g) - positions(&x.graves[e.Row])
		x.graves[e.Row] = g
		return
	}
	n := x.Bury(e.Hash, g)
	x.Raise(e)
	x.Replace(Dead, e.Row, n)
}

// Raise takes a tombstone away whose entry has been or will be replaced or removed.
func (x *Index) Raise(e Entry) {
	x.dead--
	if e.Row&onDisk != 0 {
		return
	}
	x.named -= positions(&x.graves[e.Row])
	x.graves[e.Row] = Grave{}
	x.freeG = append(x.freeG, e.Row)
}

// positions is about what the texts of a tombstone need.
func positions(g *Grave) int64 { return int64(len(g.Stamp.Pos) + len(g.Add.Pos)) }

// graveBytes is what a tombstone needs beside its entry and the texts of its positions.
const graveBytes = int64(unsafe.Sizeof(Grave{}))

// Expire takes away the tombstones of before a time, in ms, and gives their number. It looks at every entry in memory; those in the
// file go when it is written anew.
func (x *Index) Expire(before int64) int {
	x.expired = max(x.expired, before)
	var drop []Entry
	x.Table.All(func(e *Entry) bool {
		if e.File == Dead && x.graves[e.Row].AtMs < before {
			drop = append(drop, *e)
		}
		return true
	})
	for _, e := range drop {
		x.Remove(e.Hash, Dead, e.Row)
		x.Raise(e)
	}
	return len(drop)
}
