package index

import (
	"fmt"

	"sluice.io/sluice/worker/silver/fold"
)

// Past finds the ended versions of the keys of a history (silver.scd.type=2); the Index has the others. Like that it
// belongs to one version of the table and can be built from it at any time (D8). In memory it holds at most 40 bytes for each version; on
// disk 30 (Spill).
type Past struct {
	mem   Table
	spill Spill
	disk  disk
}

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

// Position gives the row's place in its file.
func (x Spot) Position() int64 { return int64(x.row &^ spotBare) }

// Compare orders the spots of a key, first those without position.
func (x Spot) Compare(o Spot) int { return Order(x.entry(fold.Hash{}), o.entry(fold.Hash{})) }

func (x Spot) entry(h fold.Hash) Entry {
	e := Entry{Hash: h, SeqHash: x.seqHash, Prefix: x.prefix, File: x.File, Row: uint32(x.Position())}
	if x.row&spotBare != 0 {
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

// Len is the number of ended versions.
func (p *Past) Len() int64 { return int64(p.mem.Len() + p.disk.len()) }

func (p *Past) ofShard(s int) int { return p.mem.shards[s].len() }

// MemoryBytes is about what is in memory.
func (p *Past) MemoryBytes() int64 { return p.mem.Bytes() + p.disk.bytes() }

// Spilled tells how many bytes are on disk.
func (p *Past) Spilled() int64 { return p.disk.size() }

// Err is why spots could not be read or written. After that they are not to be trusted (D8).
func (p *Past) Err() error { return p.disk.err }

// Of gives the spots of a key, in order.
func (p *Past) Of(h fold.Hash) []Spot { return p.since(first(h)) }

// Since gives those spots of a key, in order, that are needed to know what was there before a mark and since: what began last before it, with all that
// have that one's mark, and all later ones. all: there are no others.
func (p *Past) Since(h fold.Hash, mark uint64) (l []Spot, all bool) {
	from := Entry{Hash: h, Prefix: mark}
	found := false
	p.below(from, func(e Entry) bool {
		if found && (e.Prefix != from.Prefix || e.Unpositioned() != from.Unpositioned()) {
			return false
		}
		from, found = Entry{Hash: h, Prefix: e.Prefix, Row: e.Row & flagUnsequence}, true
		return true
	})
	if !found {
		from = first(h)
	}
	all = true
	p.below(from, func(Entry) bool {
		all = false
		return false
	})
	return p.since(from), all
}

func (p *Past) since(from Entry) (l []Spot) {
	both(from, func(e Entry) bool {
		l = append(l, spotOf(e))
		return true
	}, 1, p.mem.From, p.disk.from, p.disk.len() > 0)
	return l
}

func (p *Past) below(e Entry, f func(Entry) bool) {
	both(e, f, -1, p.mem.Below, p.disk.below, p.disk.len() > 0)
}

// Marked gives the spots of a key whose versions may have begun with one event, wide: with another one at its position, too.
func (p *Past) Marked(h fold.Hash, s fold.Stamp, wide bool) (l []Spot) {
	from := Marked(h, 0, s)
	if wide {
		from.SeqHash = 0
	}
	both(from, func(e Entry) bool {
		ok := e.SameMark(from) || wide && e.Prefix == from.Prefix
		if ok {
			l = append(l, spotOf(e))
		}
		return ok
	}, 1, p.mem.From, p.disk.from, p.disk.len() > 0)
	return l
}

// Has tells whether a key has ended versions, and whether one began with an event without position.
func (p *Past) Has(h fold.Hash) (has, bare bool) {
	both(first(h), func(e Entry) bool {
		has, bare = true, e.Unpositioned()
		return false
	}, 1, p.mem.From, p.disk.from, p.disk.len() > 0)
	return has, bare
}

// Add adds a version.
func (p *Past) Add(h fold.Hash, x Spot) { p.mem.Insert(x.entry(h)) }

// Knows tells whether there is a version at a spot.
func (p *Past) Knows(h fold.Hash, x Spot) bool {
	e := x.entry(h)
	known := false
	both(e, func(c Entry) bool {
		known = known || c.File == e.File && c.Row == e.Row
		return !known && c.SameMark(e)
	}, 1, p.mem.From, p.disk.from, p.disk.len() > 0)
	return known
}

// Remove takes away the version at a spot. It tells whether there was one.
func (p *Past) Remove(h fold.Hash, x Spot) bool {
	e := x.entry(h)
	return p.mem.Remove(e) || p.disk.take(e)
}

// Move lets the spot x of a key point to another place. It tells whether there was one.
func (p *Past) Move(h fold.Hash, x Spot, file, row uint32) bool {
	e := x.entry(h)
	return p.mem.Move(e, file, row) || p.disk.move(e, file, row)
}

// DropFiles forgets the versions in some files.
func (p *Past) DropFiles(gone map[uint32]bool) error {
	var lost []Entry
	p.mem.All(func(e *Entry) bool {
		if gone[e.File] {
			lost = append(lost, *e)
		}
		return true
	})
	for _, e := range lost {
		p.mem.Remove(e)
	}
	if p.disk.len() == 0 {
		return nil
	}
	return p.compact(func(e Entry) bool { return !gone[e.File] })
}

// Over tells that more memory is needed than there may be, or more of the disk than should be: Shrink it.
func (p *Past) Over() bool {
	return p.mem.Len() > 0 && p.spill.over(p.mem.Bytes()) || p.disk.wasteful(p.ofShard) != nil
}

// Shrink moves to disk what is too much in memory, one part of the shards after the other, until enough has moved.
func (p *Past) Shrink() (err error) {
	all := pastMover{p, func(Entry) bool { return true }}
	for err == nil && p.Over() {
		if r := p.disk.wasteful(p.ofShard); r != nil {
			err = all.part(r.begin, r.end)
		} else {
			err = all.part(p.disk.fullest(func(s int) int64 { return p.mem.shards[s].bytes() }))
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
		n += m.p.ofShard(s)
	}
	return m.p.disk.rewrite(m.p.spill, begin, end, n, m)
}

// fresh takes a shard out of the memory, which is given back at once.
func (m pastMover) fresh(s int, order func(a, b Entry) int) []Entry {
	return m.p.mem.take(s, nil, order)
}

func (m pastMover) put(w *runWriter, e Entry, _ *run) error {
	if !m.keep(e) {
		return nil
	}
	if e.File > maxRunFile {
		return fmt.Errorf("%d files of a history are more than it can hold", e.File)
	}
	return w.add(e)
}
