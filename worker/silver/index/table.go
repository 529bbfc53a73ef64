// Package index is the key index of a silver table (D8): for each key the file and row that hold its newest image, and
// enough of the image's sequence that nearly every comparison is decided without a read.
//
// It is a cache of the table at one version, which it states, and can be rebuilt from the table at any time. What it is
// not: durable, or shared; one Index belongs to the goroutine that merges the table.
//
// Key types: Table (the hash table, 32 bytes a slot), Entry (what it says of a key), Index (Table, the files its entries
// point to and the version). An index that may not have the memory goes on in files, 15 bytes for a key (Spill), its tombstones in others.
package index

import (
	"math/bits"
	"math/rand/v2"

	"sluice.io/sluice/worker/silver/fold"
)

// Entry says where the newest image of a key is, or that the key was deleted.
type Entry struct {
	Hash fold.Hash
	// SeqHash is a hash of epoch and position.
	SeqHash uint32
	// Prefix orders sequences as fold.Mark does; of an image without position it holds partition and offset.
	Prefix uint64
	// File is the ordinal of the file, or Dead.
	File uint32
	// Row is the row's position in the file with flags in the upper three bits; of a Dead entry the slot in its graveyard.
	Row uint32
}

const (
	// Dead is the File of a key that was deleted.
	Dead = ^uint32(0)

	flagCarried    = 1 << 31
	flagUnsequence = 1 << 30
	flagBound      = 1 << 29 // the row's sequence is not kept: Prefix is that of its file's newest row
	rowMask        = flagBound - 1
	// MaxRows is the highest number of rows of one file.
	MaxRows = rowMask
)

// Position gives the row's place in its file.
func (e Entry) Position() int64 { return int64(e.Row & rowMask) }

// row is Row without the flags, by which an entry is found among others of its hash.
func (e Entry) row() uint32 {
	if e.File == Dead {
		return e.Row
	}
	return e.Row & rowMask
}

// Carried tells that the row has columns whose values were carried over from an older image.
func (e Entry) Carried() bool { return e.File != Dead && e.Row&flagCarried != 0 }

// Unpositioned tells that Prefix holds partition and offset.
func (e Entry) Unpositioned() bool { return e.Row&flagUnsequence != 0 && e.File != Dead }

// Bound tells that Prefix is only a bound: the row's sequence is that or a lower one.
func (e Entry) Bound() bool { return e.Row&flagBound != 0 && e.File != Dead }

// At makes the entry of a row.
func At(h fold.Hash, s fold.Stamp, file uint32, row int64, carried bool) Entry {
	e := Entry{Hash: h, File: file, Row: uint32(row)}
	if carried {
		e.Row |= flagCarried
	}
	if s.Pos == "" {
		e.Row |= flagUnsequence
	}
	e.Prefix, e.SeqHash = Mark(s)
	return e
}

// Table is an open-addressing hash table of entries in shards that grow one by one, by an eighth, so that no insert
// waits long and at most 40 bytes are used for a key. Several entries may have the same hash: the rows of a table without
// key that are equal, or duplicates that somebody else wrote.
type Table struct {
	shards [shards]shard
	n      int
}

const (
	shardBits = 8
	shards    = 1 << shardBits
	minSlots  = 16
)

type shard struct {
	slots []Entry // Hash zero: free
	n     int
}

// Len is the number of entries, Dead ones included.
func (t *Table) Len() int { return t.n }

// Bytes is the memory that the table holds.
func (t *Table) Bytes() int64 {
	var n int64
	for i := range t.shards {
		n += t.shards[i].bytes()
	}
	return n
}

func (s *shard) bytes() int64 { return int64(cap(s.slots)) * 32 }

func shardOf(h fold.Hash) uint64 { return h.Lo >> (64 - shardBits) }

// slot maps a hash to its home slot: the hash's next 32 bits, scaled.
func (s *shard) slot(h fold.Hash) int {
	hi, _ := bits.Mul64((h.Lo<<shardBits)|uint64(h.Hi>>24), uint64(len(s.slots)))
	return int(hi)
}

// Get finds the entry of a key. Where there are several it gives the first, with more set.
func (t *Table) Get(h fold.Hash) (e Entry, ok, more bool) {
	s := &t.shards[shardOf(h)]
	if s.n == 0 {
		return
	}
	for i := s.slot(h); ; {
		c := &s.slots[i]
		if c.Hash == h {
			if ok {
				return e, true, true
			}
			e, ok = *c, true
		} else if c.Hash.IsZero() {
			return
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

// Touch reads the place where the entries of a hash begin, and gives what is there, which means nothing. Reads of several hashes do not wait for each
// other, as look-ups do: who touches a few dozen before looking them up waits once.
func (t *Table) Touch(h fold.Hash) uint64 {
	s := &t.shards[shardOf(h)]
	if s.n == 0 {
		return 0
	}
	return s.slots[s.slot(h)].Hash.Lo
}

// Each calls f for each entry of the hash until f gives false.
func (t *Table) Each(h fold.Hash, f func(Entry) bool) {
	s := &t.shards[shardOf(h)]
	if s.n == 0 {
		return
	}
	for i := s.slot(h); !s.slots[i].Hash.IsZero(); {
		if s.slots[i].Hash == h && !f(s.slots[i]) {
			return
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

// Insert adds an entry beside those that the hash has.
func (t *Table) Insert(e Entry) {
	s := &t.shards[shardOf(e.Hash)]
	if (s.n+1)*10 > len(s.slots)*9 {
		s.grow()
	}
	s.put(e)
	s.n++
	t.n++
}

// add is put behind room being made; it tells whether the hash had an entry already.
func (s *shard) add(e Entry) (twice bool) {
	if (s.n+1)*10 > len(s.slots)*9 {
		s.grow()
	}
	i := s.slot(e.Hash)
	for !s.slots[i].Hash.IsZero() {
		twice = twice || s.slots[i].Hash == e.Hash
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = e
	s.n++
	return twice
}

// Sample calls f for about n entries taken at random, for each one where there are no more, until f gives false.
func (t *Table) Sample(n int, f func(Entry) bool) {
	if n >= t.n {
		t.All(func(e *Entry) bool { return f(*e) })
		return
	}
	for range n {
		s := &t.shards[rand.IntN(shards)]
		if s.n == 0 {
			continue
		}
		i := rand.IntN(len(s.slots))
		for s.slots[i].Hash.IsZero() {
			if i++; i == len(s.slots) {
				i = 0
			}
		}
		if !f(s.slots[i]) {
			return
		}
	}
}

// Reserve makes room for n entries in all.
func (t *Table) Reserve(n int) {
	per := n/shards + n/shards/50 + 8
	for i := range t.shards {
		if s := &t.shards[i]; per*10 > len(s.slots)*9 {
			s.resize(per*10/9 + 2)
		}
	}
}

func (s *shard) grow() { s.resize(max(minSlots, len(s.slots)+len(s.slots)/8+1)) }

func (s *shard) resize(n int) {
	old := s.slots
	s.slots = make([]Entry, n)
	for i := range old {
		if !old[i].Hash.IsZero() {
			s.put(old[i])
		}
	}
}

func (s *shard) put(e Entry) {
	i := s.slot(e.Hash)
	for !s.slots[i].Hash.IsZero() {
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = e
}

// Replace puts e in the place of the entry of its hash that points to file and row (Row as stored). It tells whether
// there was one.
func (t *Table) Replace(file, row uint32, e Entry) bool {
	s := &t.shards[shardOf(e.Hash)]
	if i := s.find(e.Hash, file, row); i >= 0 {
		s.slots[i] = e
		return true
	}
	return false
}

// Move lets the entry of a hash that points to file and row point to another place. It tells whether there was one.
func (t *Table) Move(h fold.Hash, file, row, toFile, toRow uint32) bool {
	s := &t.shards[shardOf(h)]
	i := s.find(h, file, row)
	if i < 0 {
		return false
	}
	c := &s.slots[i]
	c.File, c.Row = toFile, c.Row&^rowMask|toRow&rowMask
	return true
}

// Remove takes away the entry of a hash that points to file and row, flags aside. It tells whether there was one.
func (t *Table) Remove(h fold.Hash, file, row uint32) bool {
	s := &t.shards[shardOf(h)]
	i := s.find(h, file, row)
	if i < 0 {
		return false
	}
	s.remove(i)
	t.n--
	return true
}

func (s *shard) find(h fold.Hash, file, row uint32) int {
	if s.n == 0 {
		return -1
	}
	mask := uint32(rowMask)
	if file == Dead {
		mask = ^uint32(0)
	}
	for i := s.slot(h); !s.slots[i].Hash.IsZero(); {
		if c := &s.slots[i]; c.Hash == h && c.File == file && c.Row&mask == row&mask {
			return i
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	return -1
}

// remove frees a slot and moves those behind it up, so that probing needs no marks of deleted slots.
func (s *shard) remove(i int) {
	s.n--
	n := len(s.slots)
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		if s.slots[j].Hash.IsZero() {
			break
		}
		home := s.slot(s.slots[j].Hash)
		// May the entry at j move to i? Not if its home lies behind i on the way to j.
		if (i < j && (home <= i || home > j)) || (i > j && home <= i && home > j) {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = Entry{}
}

// All calls f for each entry until f gives false. The table must not be changed meanwhile, but f may change the entry
// in place, its Hash aside.
func (t *Table) All(f func(*Entry) bool) {
	for i := range t.shards {
		for k := range t.shards[i].slots {
			if e := &t.shards[i].slots[k]; !e.Hash.IsZero() && !f(e) {
				return
			}
		}
	}
}
