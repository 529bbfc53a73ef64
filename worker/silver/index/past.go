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
	keys   int64 // in memory
	held   int64 // versions in memory
	n      int64
	spill  Spill
	run    *run
	gone   Table // as of an Index
	err    error
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
func NewPast(s Spill) *Past { return &Past{spill: s} }

// WithSpill sets where the Past may spill, while nothing is on disk yet.
func (p *Past) WithSpill(s Spill) { p.spill = s }

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
func (p *Past) Len() int64 { return p.n }

// MemoryBytes is about what is in memory.
func (p *Past) MemoryBytes() int64 { return p.bytes() + p.run.bytes() }

func (p *Past) bytes() int64 { return p.held*24 + p.keys*48 + p.gone.Bytes() }

// Spilled tells how many bytes are on disk.
func (p *Past) Spilled() int64 { return p.run.size() }

// Err is why spots could not be read or written. After that they are not to be trusted (D8).
func (p *Past) Err() error { return p.err }

func (p *Past) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// Of gives the spots of a key. They are not to be changed, and valid until the next change.
func (p *Past) Of(h fold.Hash) []Spot {
	l := p.shards[shardOf(h)][h]
	if p.run == nil {
		return l
	}
	var all []Spot
	p.inRun(h, func(e Entry) bool {
		all = append(all, spotOf(e))
		return true
	})
	if len(all) == 0 {
		return l
	}
	all = append(all, l...)
	slices.SortStableFunc(all, Spot.cmp)
	return all
}

// Has tells whether a key has ended versions.
func (p *Past) Has(h fold.Hash) bool {
	found := len(p.shards[shardOf(h)][h]) > 0
	if !found {
		p.inRun(h, func(Entry) bool {
			found = true
			return false
		})
	}
	return found
}

// inRun calls f for the versions of a key that are on disk and not gone, in the order of their marks.
func (p *Past) inRun(h fold.Hash, f func(Entry) bool) {
	if p.run == nil {
		return
	}
	if err := p.run.find(h, func(e Entry) bool { return p.isGone(e) || f(e) }); err != nil {
		p.fail(err)
	}
}

func (p *Past) isGone(e Entry) bool {
	return p.gone.n > 0 && p.gone.shards[shardOf(e.Hash)].find(e.Hash, e.File, e.row()) >= 0
}

// Add adds a version.
func (p *Past) Add(h fold.Hash, x Spot) {
	s := &p.shards[shardOf(h)]
	if *s == nil {
		*s = map[fold.Hash][]Spot{}
	}
	l := (*s)[h]
	if len(l) == 0 {
		p.keys++
	}
	i := len(l)
	for i > 0 && l[i-1].cmp(x) > 0 { // nearly always the newest
		i--
	}
	(*s)[h] = slices.Insert(l, i, x)
	p.held++
	p.n++
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
	_, ok := p.diskSpot(h, x)
	return ok
}

func (p *Past) diskSpot(h fold.Hash, x Spot) (e Entry, ok bool) {
	p.inRun(h, func(c Entry) bool {
		if s := spotOf(c); s.cmp(x) == 0 && s.File == x.File && s.row == x.row {
			e, ok = c, true
		}
		return !ok
	})
	return e, ok
}

// Remove takes away the version at a spot. It tells whether there was one.
func (p *Past) Remove(h fold.Hash, x Spot) bool {
	s := p.shards[shardOf(h)]
	l := s[h]
	if i := find(l, x); i >= 0 {
		if l = slices.Delete(l, i, i+1); len(l) > 0 {
			s[h] = l
		} else {
			delete(s, h)
			p.keys--
		}
		p.held--
		p.n--
		return true
	}
	e, ok := p.diskSpot(h, x)
	if ok {
		p.gone.Insert(Entry{Hash: h, File: e.File, Row: e.row()})
		p.n--
	}
	return ok
}

// Move lets the spot x of a key point to another place. It tells whether there was one.
func (p *Past) Move(h fold.Hash, x Spot, file, row uint32) bool {
	l := p.shards[shardOf(h)][h]
	if i := find(l, x); i >= 0 {
		l[i].File, l[i].row = file, row|l[i].row&spotBare
		return true
	}
	if !p.Remove(h, x) {
		return false
	}
	x.File, x.row = file, row|x.row&spotBare
	p.Add(h, x)
	return true
}

// DropFiles forgets the versions in some files.
func (p *Past) DropFiles(gone map[uint32]bool) error {
	for _, s := range p.shards {
		for h, l := range s {
			kept := slices.DeleteFunc(l, func(x Spot) bool { return gone[x.File] })
			p.held -= int64(len(l) - len(kept))
			p.n -= int64(len(l) - len(kept))
			if len(kept) == 0 {
				delete(s, h)
				p.keys--
			} else {
				s[h] = kept
			}
		}
	}
	if p.run == nil {
		return nil
	}
	return p.compact(func(e Entry) bool { return !gone[e.File] })
}

// Over tells that more memory is needed than there may be: Compact it.
func (p *Past) Over() bool {
	return p.spill.Dir != "" && p.spill.Limit != nil && p.held+int64(p.gone.n) > 0 && p.bytes() > p.spill.Limit()
}

// Compact moves what is in memory to disk.
func (p *Past) Compact() error { return p.compact(func(Entry) bool { return true }) }

// compact writes the run anew, of the old one and the memory, without what keep refuses.
func (p *Past) compact(keep func(Entry) bool) (err error) {
	w, err := newRun(p.spill.Dir, int(p.n), true)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.r.close()
			p.fail(err)
		}
	}()
	kept := int64(0)
	put := func(e Entry) error {
		if !keep(e) {
			return nil
		}
		if e.File >= maxRunFile {
			return fmt.Errorf("spill the versions of a history: %d files are more than it can hold", e.File)
		}
		kept++
		return w.add(e)
	}
	var part []Entry
	for s := range p.shards {
		part = part[:0]
		for h, l := range p.shards[s] {
			for _, x := range l {
				part = append(part, x.entry(h))
			}
		}
		p.shards[s] = nil // as in an Index, old and new are never there together
		slices.SortStableFunc(part, byHashAndMark)
		rest := part
		if p.run != nil {
			per := 1 << (p.run.bits - shardBits)
			var failed error
			_, serr := p.run.scan(s*per, (s+1)*per, func(e Entry) bool {
				if p.isGone(e) {
					return true
				}
				for failed == nil && len(rest) > 0 && byHashAndMark(rest[0], e) < 0 {
					failed = put(rest[0])
					rest = rest[1:]
				}
				if failed == nil {
					failed = put(e)
				}
				return failed == nil
			})
			if err := cmp.Or(serr, failed); err != nil {
				return fmt.Errorf("spill the versions of a history: %w", err)
			}
		}
		for _, e := range rest {
			if err := put(e); err != nil {
				return fmt.Errorf("spill the versions of a history: %w", err)
			}
		}
	}
	r, err := w.finish()
	if err != nil {
		return err
	}
	p.run.close()
	p.run, p.gone, p.keys, p.held, p.n = r, Table{}, 0, 0, kept
	return nil
}

func byHashAndMark(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Hash.Lo, b.Hash.Lo), cmp.Compare(a.Hash.Hi, b.Hash.Hi), spotOf(a).cmp(spotOf(b)))
}
