package index

import (
	"cmp"
	"fmt"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

// Past finds the ended versions of the keys of a history (silver.scd.type=2); the Index has the others. Like that it
// belongs to one version of the table and can be built from it at any time (D8). In memory it holds 24 bytes for each version, 48 for
// each key that has one; on disk 30 for each version (Spill).
type Past struct {
	shards [shards]map[fold.Hash][]Spot
	held   [shards]held
	total  held
	spill  Spill
	disk   disk
}

// held is what a shard has in memory.
type held struct{ keys, versions int64 }

func (n held) bytes() int64 { return n.versions*24 + n.keys*48 }

// Spot says where an ended version is, and about when it began. The spots of a key are in the order of their marks, those
// without position first.
type Spot struct {
	prefix  uint64
	seqHash uint32
	File    uint32
	row     uint32 // with spotBare
}

const spotBare = 1 << 31

// NewPast makes an empty Past. Of the Spill's settings it takes no heed of Whole: all of a Spot is kept.
func NewPast(s Spill) *Past {
	p := &Past{}
	p.WithSpill(s)
	return p
}

// WithSpill sets where the Past may spill, while nothing is on disk yet.
func (p *Past) WithSpill(s Spill) {
	s.Whole = true
	p.spill = s
}

// SpotAt makes the spot of the version that began with s.
func SpotAt(s fold.Stamp, file uint32, row int64) Spot {
	x := Spot{File: file, row: uint32(row)}
	x.prefix, x.seqHash = Mark(s)
	if s.Pos == "" {
		x.row |= spotBare
	}
	return x
}

// Bare tells that the version began with an event without position.
func (x Spot) Bare() bool { return x.row&spotBare != 0 }

// Position gives the row's place in its file.
func (x Spot) Position() int64 { return int64(x.row &^ spotBare) }

// SameMark tells that both versions may have begun with one event.
func (x Spot) SameMark(o Spot) bool {
	return x.prefix == o.prefix && x.seqHash == o.seqHash && x.Bare() == o.Bare()
}

func (x Spot) cmp(o Spot) int {
	if x.Bare() != o.Bare() {
		if x.Bare() {
			return -1
		}
		return 1
	}
	return cmp.Compare(x.prefix, o.prefix)
}

func (x Spot) entry(h fold.Hash) Entry {
	e := Entry{Hash: h, SeqHash: x.seqHash, Prefix: x.prefix, File: x.File, Row: uint32(x.Position())}
	if x.Bare() {
		e.Row |= flagUnsequence
	}
	return e
}

func spotOf(e Entry) Spot {
	x := Spot{prefix: e.Prefix, seqHash: e.SeqHash, File: e.File, row: e.row()}
	if e.Unpositioned() {
		x.row |= spotBare
	}
	return x
}

// OlderThan gives the place of the first of a key's spots that is needed to know what was there before a mark: what began last before it, with all
// that have that one's mark.
func OlderThan(l []Spot, mark uint64) int {
	i, _ := slices.BinarySearchFunc(l, mark, func(x Spot, m uint64) int {
		if x.Bare() {
			return -1
		}
		return cmp.Compare(x.prefix, m)
	})
	if i--; i < 0 {
		return 0
	}
	for i > 0 && l[i-1].cmp(l[i]) == 0 {
		i--
	}
	return i
}

// Len is the number of ended versions.
func (p *Past) Len() int64 { return p.total.versions + int64(p.disk.len()) }

func (p *Past) ofShard(s int) int { return int(p.held[s].versions) }

// hold counts what comes into memory, or goes.
func (p *Past) hold(s uint64, keys, versions int64) {
	for _, n := range []*held{&p.held[s], &p.total} {
		n.keys, n.versions = n.keys+keys, n.versions+versions
	}
}

// MemoryBytes is about what is in memory.
func (p *Past) MemoryBytes() int64 { return p.total.bytes() + p.disk.bytes() }

// Spilled tells how many bytes are on disk.
func (p *Past) Spilled() int64 { return p.disk.size() }

// Err is why spots could not be read or written. After that they are not to be trusted (D8).
func (p *Past) Err() error { return p.disk.err }

// Of gives the spots of a key. They are not to be changed, and valid until the next change.
func (p *Past) Of(h fold.Hash) []Spot {
	l := p.shards[shardOf(h)][h]
	var all []Spot
	p.disk.find(h, func(e Entry) bool {
		all = append(all, spotOf(e))
		return true
	})
	if len(all) == 0 {
		return l
	}
	if len(l) > 0 {
		all = append(all, l...)
		slices.SortStableFunc(all, Spot.cmp)
	}
	return all
}

// Has tells whether a key has ended versions.
func (p *Past) Has(h fold.Hash) bool {
	found := len(p.shards[shardOf(h)][h]) > 0
	if !found {
		p.disk.find(h, func(Entry) bool {
			found = true
			return false
		})
	}
	return found
}

// Add adds a version.
func (p *Past) Add(h fold.Hash, x Spot) {
	s := &p.shards[shardOf(h)]
	if *s == nil {
		*s = map[fold.Hash][]Spot{}
	}
	l := (*s)[h]
	if len(l) == 0 {
		p.hold(shardOf(h), 1, 0)
	}
	i := len(l)
	for i > 0 && l[i-1].cmp(x) > 0 { // nearly always the newest
		i--
	}
	(*s)[h] = slices.Insert(l, i, x)
	p.hold(shardOf(h), 0, 1)
}

// find gives the place in memory of the spot that points where x does.
func find(l []Spot, x Spot) int {
	i, _ := slices.BinarySearchFunc(l, x, Spot.cmp)
	for ; i < len(l) && l[i].cmp(x) == 0; i++ {
		if l[i].File == x.File && l[i].row == x.row {
			return i
		}
	}
	return -1
}

// Knows tells whether there is a version at a spot.
func (p *Past) Knows(h fold.Hash, x Spot) bool {
	if find(p.shards[shardOf(h)][h], x) >= 0 {
		return true
	}
	known := false
	p.disk.find(h, func(e Entry) bool {
		known = x.is(e)
		return !known
	})
	return known
}

// is tells that an entry on disk is that of the spot.
func (x Spot) is(e Entry) bool {
	s := spotOf(e)
	return s.cmp(x) == 0 && s.File == x.File && s.row == x.row
}

// Remove takes away the version at a spot. It tells whether there was one.
func (p *Past) Remove(h fold.Hash, x Spot) bool {
	s := p.shards[shardOf(h)]
	l := s[h]
	i := find(l, x)
	if i < 0 {
		_, ok := p.disk.take(h, x.is)
		return ok
	}
	p.hold(shardOf(h), 0, -1)
	if l = slices.Delete(l, i, i+1); len(l) > 0 {
		s[h] = l
	} else {
		delete(s, h)
		p.hold(shardOf(h), -1, 0)
	}
	return true
}

// Move lets the spot x of a key point to another place. It tells whether there was one.
func (p *Past) Move(h fold.Hash, x Spot, file, row uint32) bool {
	l := p.shards[shardOf(h)][h]
	i := find(l, x)
	if i < 0 {
		return p.disk.move(h, x.is, file, row)
	}
	l[i].File, l[i].row = file, row|l[i].row&spotBare
	return true
}

// DropFiles forgets the versions in some files.
func (p *Past) DropFiles(gone map[uint32]bool) error {
	for i, s := range p.shards {
		for h, l := range s {
			kept := slices.DeleteFunc(l, func(x Spot) bool { return gone[x.File] })
			p.hold(uint64(i), 0, int64(len(kept)-len(l)))
			if len(kept) == 0 {
				delete(s, h)
				p.hold(uint64(i), -1, 0)
			} else {
				s[h] = kept
			}
		}
	}
	if p.disk.len() == 0 {
		return nil
	}
	return p.compact(func(e Entry) bool { return !gone[e.File] })
}

// Over tells that more memory is needed than there may be, or more of the disk than should be: Shrink it.
func (p *Past) Over() bool {
	return p.total.versions > 0 && p.spill.over(p.total.bytes()) || p.disk.wasteful(p.ofShard) != nil
}

// Shrink moves to disk what is too much in memory, one part of the shards after the other, until enough has moved.
func (p *Past) Shrink() (err error) {
	all := pastMover{p, func(Entry) bool { return true }}
	for err == nil && p.Over() {
		if r := p.disk.wasteful(p.ofShard); r != nil {
			err = all.part(r.begin, r.end)
		} else {
			err = all.part(p.disk.fullest(func(s int) int64 { return p.held[s].bytes() }))
		}
	}
	return err
}

// Compact moves all that is in memory to disk.
func (p *Past) Compact() error { return p.compact(func(Entry) bool { return true }) }

// compact writes all anew, without what keep refuses.
func (p *Past) compact(keep func(Entry) bool) (err error) {
	m := pastMover{p, keep}
	for s := 0; err == nil && s < shards; {
		end := p.disk.part(s)
		err = m.part(s, end)
		s = end
	}
	return err
}

// pastMover moves versions from memory to disk.
type pastMover struct {
	p    *Past
	keep func(Entry) bool
}

func (m pastMover) part(begin, end int) error {
	n := m.p.disk.runs[begin].len()
	for s := begin; s < end; s++ {
		n += int(m.p.held[s].versions)
	}
	return m.p.disk.rewrite(m.p.spill, begin, end, n, m)
}

// fresh takes a shard out of the memory, which is given back at once.
func (m pastMover) fresh(s int, order func(a, b Entry) int) (sorted []Entry) {
	p := m.p
	for h, l := range p.shards[s] {
		for _, x := range l {
			sorted = append(sorted, x.entry(h))
		}
	}
	p.shards[s] = nil
	p.hold(uint64(s), -p.held[s].keys, -p.held[s].versions)
	slices.SortStableFunc(sorted, order)
	return sorted
}

func (m pastMover) put(w *runWriter, e Entry, _ *run) error {
	if !m.keep(e) {
		return nil
	}
	if e.File >= maxRunFile {
		return fmt.Errorf("%d files of a history are more than it can hold", e.File)
	}
	return w.add(e)
}
