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
	"slices"

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
	// Dead is the File of a key that was deleted. In a table without key it is that of a removal.
	Dead = ^uint32(0)
	// Waiting is the File of a removal, in a table without key, that found no row: its insert is to come.
	Waiting = Dead - 1
	// Undone is the File of an insert, in a table without key, whose row was removed.
	Undone = Dead - 2

	firstGrave = Undone
	inBag      = firstGrave - 1 // the File of a slot whose entries are in the hash's bag

	flagCarried    = 1 << 31
	flagUnsequence = 1 << 30
	flagBound      = 1 << 29 // the row's sequence is not kept: Prefix is that of its file's newest row
	rowMask        = flagBound - 1
	// MaxRows is the highest number of rows of one file.
	MaxRows = rowMask
)

// Position gives the row's place in its file.
func (e Entry) Position() int64 { return int64(e.Row & rowMask) }

// Gone tells a tombstone, of whatever kind.
func (e Entry) Gone() bool { return e.File >= firstGrave }

// row is Row without the flags, by which an entry is found among others of its hash.
func (e Entry) row() uint32 {
	if e.Gone() {
		return e.Row
	}
	return e.Row & rowMask
}

// Carried tells that the row has columns whose values were carried over from an older image.
func (e Entry) Carried() bool { return !e.Gone() && e.Row&flagCarried != 0 }

// Unpositioned tells that Prefix holds partition and offset.
func (e Entry) Unpositioned() bool { return e.Row&flagUnsequence != 0 && !e.Gone() }

// Bound tells that Prefix is only a bound: the row's sequence is that or a lower one.
func (e Entry) Bound() bool { return e.Row&flagBound != 0 && !e.Gone() }

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
// key that are equal, or duplicates that somebody else wrote. Where they are many they are in a bag, of which the slot tells.
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
	n     int     // slots in use
	bags  map[fold.Hash]*bag
	// Of the bags: entries and bytes.
	bagged, bagBytes int
}

// Len is the number of entries, Dead ones included.
func (t *Table) Len() int { return t.n }

// len is the number of entries.
func (s *shard) len() int { return s.n - len(s.bags) + s.bagged }

// Bytes is the memory that the table holds.
func (t *Table) Bytes() int64 {
	var n int64
	for i := range t.shards {
		n += t.shards[i].bytes()
	}
	return n
}

func (s *shard) bytes() int64 { return int64(cap(s.slots))*32 + int64(s.bagBytes) }

func shardOf(h fold.Hash) uint64 { return h.Lo >> (64 - shardBits) }

// slot maps a hash to its home slot: the hash's next 32 bits, scaled.
func (s *shard) slot(h fold.Hash) int {
	hi, _ := bits.Mul64((h.Lo<<shardBits)|uint64(h.Hi>>24), uint64(len(s.slots)))
	return int(hi)
}

// Get finds the entry of a key. Where there are several it gives one, with more set.
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
			if e, ok = *c, true; e.File == inBag {
				b := s.bags[h]
				return b.blocks[0][0].entry(h), true, b.n > 1
			}
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
		if s.slots[i].Hash == h {
			if s.slots[i].File == inBag {
				s.bags[h].each(h, f)
				return
			}
			if !f(s.slots[i]) {
				return
			}
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

// From calls f for each entry of e's hash that is not below e, in order (Entry.cmp), until f gives false.
func (t *Table) From(e Entry, f func(Entry) bool) {
	if b := t.shards[shardOf(e.Hash)].bags[e.Hash]; b != nil {
		b.from(e, f)
		return
	}
	for _, c := range t.few(e.Hash) {
		if c.cmp(e) >= 0 && !f(c) {
			return
		}
	}
}

// Below calls f for each entry of e's hash that is below e, the highest first, until f gives false.
func (t *Table) Below(e Entry, f func(Entry) bool) {
	if b := t.shards[shardOf(e.Hash)].bags[e.Hash]; b != nil {
		b.below(e, f)
		return
	}
	l := t.few(e.Hash)
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].cmp(e) < 0 && !f(l[i]) {
			return
		}
	}
}

// few gives the entries of a hash that has no bag, in order.
func (t *Table) few(h fold.Hash) (l []Entry) {
	t.Each(h, func(e Entry) bool {
		l = append(l, e)
		return true
	})
	slices.SortStableFunc(l, Entry.cmp)
	return l
}

// Insert adds an entry beside those that the hash has.
func (t *Table) Insert(e Entry) {
	t.shards[shardOf(e.Hash)].add(e)
	t.n++
}

// add adds an entry; it tells whether the hash had one already.
func (s *shard) add(e Entry) (twice bool) {
	if (s.n+1)*10 > len(s.slots)*9 {
		s.grow()
	}
	same := 0
	i := s.slot(e.Hash)
	for !s.slots[i].Hash.IsZero() {
		if s.slots[i].Hash == e.Hash {
			if same++; s.slots[i].File == inBag {
				s.bagBytes += s.bags[e.Hash].insert(e)
				s.bagged++
				return true
			}
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = e
	s.n++
	if same+1 >= bagFrom {
		s.gather(e.Hash)
	}
	return same > 0
}

// gather makes a bag of a hash's entries.
func (s *shard) gather(h fold.Hash) {
	b := &bag{}
	for i := s.slot(h); !s.slots[i].Hash.IsZero(); {
		if s.slots[i].Hash == h {
			s.bagBytes += b.insert(s.slots[i])
			s.remove(i) // another one may come here
			continue
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	if s.bags == nil {
		s.bags = map[fold.Hash]*bag{}
	}
	s.bags[h] = b
	s.bagged += b.n
	s.put(Entry{Hash: h, File: inBag})
	s.n++
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
		e := s.slots[i]
		if e.File == inBag {
			b := s.bags[e.Hash]
			l := b.blocks[rand.IntN(len(b.blocks))]
			e = l[rand.IntN(len(l))].entry(e.Hash)
		}
		if !f(e) {
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

// Replace puts e in the place of another entry of its hash, which points to old's file and row. It tells whether there was one.
func (t *Table) Replace(old, e Entry) bool {
	s := &t.shards[shardOf(e.Hash)]
	i := s.find(old)
	if i < 0 {
		return false
	}
	if s.slots[i].File != inBag {
		s.slots[i] = e
		return true
	}
	if !t.Remove(old) {
		return false
	}
	t.Insert(e)
	return true
}

// Move lets the entry that points to e's file and row point to another place. It tells whether there was one.
func (t *Table) Move(e Entry, toFile, toRow uint32) bool {
	s := &t.shards[shardOf(e.Hash)]
	i := s.find(e)
	if i < 0 {
		return false
	}
	file, row := &s.slots[i].File, &s.slots[i].Row
	if *file == inBag {
		b := s.bags[e.Hash]
		block, at, ok := b.find(e)
		if !ok {
			return false
		}
		x := &b.blocks[block][at]
		file, row = &x.file, &x.row
	}
	*file, *row = toFile, *row&^rowMask|toRow&rowMask
	return true
}

// Remove takes away the entry of a hash that points to e's file and row. It tells whether there was one.
func (t *Table) Remove(e Entry) bool {
	s := &t.shards[shardOf(e.Hash)]
	i := s.find(e)
	if i < 0 {
		return false
	}
	if s.slots[i].File == inBag {
		b := s.bags[e.Hash]
		block, at, ok := b.find(e)
		if !ok {
			return false
		}
		s.bagBytes -= b.remove(block, at)
		s.bagged--
		t.n--
		if b.n > 0 {
			return true
		}
		delete(s.bags, e.Hash)
	} else {
		t.n--
	}
	s.remove(i)
	return true
}

// Knows tells whether there is an entry of e's hash that points to its file and row.
func (t *Table) Knows(e Entry) bool {
	s := &t.shards[shardOf(e.Hash)]
	i := s.find(e)
	if i < 0 || s.slots[i].File != inBag {
		return i >= 0
	}
	_, _, ok := s.bags[e.Hash].find(e)
	return ok
}

// find gives the slot of the entry that points to e's file and row, or of its hash's bag; -1 where there is neither.
func (s *shard) find(e Entry) int {
	if s.n == 0 {
		return -1
	}
	for i := s.slot(e.Hash); !s.slots[i].Hash.IsZero(); {
		if c := &s.slots[i]; c.Hash == e.Hash && (c.File == inBag || c.File == e.File && c.row() == e.row()) {
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

// All calls f for each entry until f gives false. The table must not be changed meanwhile. f gets copies of those that are in a bag.
func (t *Table) All(f func(*Entry) bool) {
	for i := range t.shards {
		if !t.shards[i].each(f) {
			return
		}
	}
}

func (s *shard) each(f func(*Entry) bool) bool {
	for k := range s.slots {
		switch e := &s.slots[k]; {
		case e.Hash.IsZero():
		case e.File == inBag:
			if !s.bags[e.Hash].each(e.Hash, func(e Entry) bool { return f(&e) }) {
				return false
			}
		case !f(e):
			return false
		}
	}
	return true
}
