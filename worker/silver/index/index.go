package index

import (
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
	dead    int
}

// New makes an empty index of the table at a version.
func New(version int64) *Index { return &Index{Version: version, byPath: map[string]uint32{}} }

// LiveRows is the number of rows that the index knows.
func (x *Index) LiveRows() int64 { return int64(x.Len() - x.dead) }

// Tombstones is the number of deleted keys.
func (x *Index) Tombstones() int { return x.dead }

// MemoryBytes is about what the index holds.
func (x *Index) MemoryBytes() int64 {
	return x.Table.Bytes() + x.gone.Bytes() + x.run.bytes() + int64(cap(x.graves))*112
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

// Grave gives the tombstone of a Dead entry.
func (x *Index) Grave(e Entry) *Grave { return &x.graves[e.Row] }

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
	return Entry{Hash: h, File: Dead, Row: slot}
}

// Raise takes a tombstone away whose entry has been or will be replaced or removed.
func (x *Index) Raise(e Entry) {
	x.graves[e.Row] = Grave{}
	x.freeG = append(x.freeG, e.Row)
	x.dead--
}

// Expire takes away the tombstones that gone tells. It looks at every entry.
func (x *Index) Expire(gone func(fold.Hash, *Grave) bool) int {
	var drop []Entry
	x.Table.All(func(e *Entry) bool { // tombstones are in memory
		if e.File == Dead && gone(e.Hash, x.Grave(*e)) {
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
