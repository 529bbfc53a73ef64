package index

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

// WithSpill sets where the index may spill. Before the first entry.
func (x *Index) WithSpill(s Spill) { x.spill = s }

// Spilled tells that a part of the index is on disk, and how many bytes it has.
func (x *Index) Spilled() int64 { return x.disk.size() }

// Err is why the index could not be read or written. After that it is not to be trusted (D8).
func (x *Index) Err() error { return x.disk.err }

// Over tells that the index needs more memory than it may have, or more of the disk than it should: Shrink it.
func (x *Index) Over() bool {
	return x.Table.n > 0 && x.spill.over(x.held()) || x.disk.wasteful(x.inMemory) != nil
}

func (x *Index) inMemory(s int) int { return x.shards[s].len() }

// minRoom is how many entries are taken into memory before they go to the file, however little it may have.
const minRoom = 1 << 10

// Room is how many entries fit into memory, of n.
func (x *Index) Room(n int) int {
	if x.spill.Dir == "" || x.spill.Limit == nil {
		return n
	}
	return min(n, max(int(x.spill.Limit()/40), minRoom))
}

// Shrink moves to disk what is too much in memory, one part of the shards after the other, until enough has moved. twice are hashes that turned out to have
// several entries on disk.
func (x *Index) Shrink() (twice []fold.Hash, err error) {
	m := mover{x: x}
	for err == nil && x.Over() {
		if r := x.disk.wasteful(x.inMemory); r != nil {
			err = m.part(r.begin, r.end)
		} else {
			err = m.part(x.disk.fullest(x.heldBy))
		}
	}
	return m.twice, err
}

// Compact moves all that is in memory to disk.
func (x *Index) Compact() (twice []fold.Hash, err error) {
	m := mover{x: x}
	err = m.parts(0, shards)
	return m.twice, err
}

// mover moves entries from memory to disk.
type mover struct {
	x      *Index
	sorted []Entry
	graves []Grave // of the shard that is moved
	last   Entry
	known  bool // last comes from disk
	twice  []fold.Hash
}

// parts moves shards, a part after the other.
func (m *mover) parts(begin, end int) (err error) {
	for s := begin; err == nil && s < end; {
		next := min(m.x.disk.part(s), end)
		err = m.part(s, next)
		s = next
	}
	return err
}

// part moves a part of the shards.
func (m *mover) part(begin, end int) error {
	x := m.x
	if len(x.files) > maxRunFile {
		return fmt.Errorf("spill the key index: %d files are more than it can hold", len(x.files))
	}
	n := x.disk.runs[begin].len()
	for s := begin; s < end; s++ {
		n += x.shards[s].len()
	}
	return x.disk.rewrite(x.spill, begin, end, n, m)
}

// fresh takes a shard out of the memory, which is given back at once, so that old and new are never there together.
func (m *mover) fresh(s int, order func(a, b Entry) int) []Entry {
	x := m.x
	m.graves = x.graves[s].graves
	x.graves[s] = graveyard{}
	m.sorted = x.Table.take(s, m.sorted[:0], order)
	return m.sorted
}

// take takes the entries of a shard out of the table, in order, behind those in l.
func (t *Table) take(s int, l []Entry, order func(a, b Entry) int) []Entry {
	t.shards[s].each(func(e *Entry) bool {
		l = append(l, *e)
		return true
	})
	t.n -= len(l)
	t.shards[s] = shard{}
	slices.SortFunc(l, func(a, b Entry) int {
		return cmp.Or(order(a, b), cmp.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row))
	})
	return l
}

// put writes an entry, a tombstone with its grave.
func (m *mover) put(w *runWriter, e Entry, old *run) (err error) {
	if n := len(m.twice); w.r.masked(m.last.Hash) == w.r.masked(e.Hash) && !m.last.Hash.IsZero() && (n == 0 || m.twice[n-1] != e.Hash) {
		switch { // of two that are on disk already it was told before
		case old == nil:
			m.twice = append(m.twice, e.Hash)
		case !m.known:
			m.twice = append(m.twice, m.last.Hash)
		}
	}
	m.last, m.known = e, old != nil
	if !e.Gone() {
		return w.add(e)
	}
	var g Grave
	if old == nil {
		g = m.graves[e.Row]
	} else if g, err = old.yard.grave(e.Row, true); err != nil {
		return err
	}
	if g.AtMs < m.x.expired {
		m.x.dead--
		return nil
	}
	if e.Row, err = w.bury(&g); err != nil {
		return err
	}
	return w.add(e)
}

// bound gives an entry whose own sequence is not kept that of the newest row of its file.
func (x *Index) bound(e Entry) Entry {
	if e.Bound() {
		e.Prefix, e.SeqHash = x.files[e.File].newest, 0
	}
	return e
}

// Len is the number of entries, Dead ones included.
func (x *Index) Len() int { return x.Table.n + x.disk.len() }

// Get finds the entry of a key. Where there are several it gives one, with more set.
func (x *Index) Get(h fold.Hash) (e Entry, ok, more bool) {
	e, ok, more = x.Table.Get(h)
	if ok {
		e = x.bound(e)
	}
	if !more {
		x.disk.find(h, func(c Entry) bool {
			if ok {
				more = true
				return false
			}
			e, ok = x.bound(c), true
			return true
		})
	}
	return e, ok, more
}

// Each calls f for each entry of the hash until f gives false.
func (x *Index) Each(h fold.Hash, f func(Entry) bool) {
	goOn := true
	x.Table.Each(h, func(e Entry) bool {
		goOn = f(x.bound(e))
		return goOn
	})
	if goOn {
		x.disk.find(h, func(e Entry) bool { return f(x.bound(e)) })
	}
}

// From calls f for each entry of e's hash that is not below e, in order (Entry.cmp), until f gives false. The index must be one that keeps all of an
// entry (Spill.Whole), and f must not ask it.
func (x *Index) From(e Entry, f func(Entry) bool) {
	both(e, f, 1, x.Table.From, x.disk.from, x.disk.len() > 0)
}

// Below calls f for each entry of e's hash that is below e, the highest first, until f gives false. See From.
func (x *Index) Below(e Entry, f func(Entry) bool) {
	both(e, f, -1, x.Table.Below, x.disk.below, x.disk.len() > 0)
}

// both gives what memory and disk have in one order.
func both(e Entry, f func(Entry) bool, order int, memory, disk func(Entry, func(Entry) bool), onDisk bool) {
	if !onDisk {
		memory(e, f)
		return
	}
	next, stop := iter.Pull(func(yield func(Entry) bool) { memory(e, yield) })
	defer stop()
	m, ok := next()
	goOn := true
	disk(e, func(d Entry) bool {
		for goOn && ok && m.cmp(d)*order <= 0 {
			goOn = f(m)
			m, ok = next()
		}
		goOn = goOn && f(d)
		return goOn
	})
	for goOn && ok {
		goOn = f(m)
		m, ok = next()
	}
}

// Insert adds an entry beside those that the hash has.
func (x *Index) Insert(e Entry) {
	x.see(e)
	x.Table.Insert(e)
}

// see lets the entry's file know its sequence.
func (x *Index) see(e Entry) {
	if e.Gone() || int(e.File) >= len(x.files) {
		return
	}
	x.files[e.File].See(e)
}

// Join takes over what another File has seen.
func (f *File) Join(o *File) { f.newest = max(f.newest, o.newest) }

// See notes the sequence of a row of the file.
func (f *File) See(e Entry) {
	if e.Unpositioned() {
		f.newest = 1<<64 - 1 // nothing is surely newer
	}
	f.newest = max(f.newest, e.Prefix)
}

// Replace puts e in the place of another entry of its hash, which points to old's file and row. It tells whether there was one.
func (x *Index) Replace(old, e Entry) bool {
	x.see(e)
	if x.Table.Replace(old, e) {
		return true
	}
	ok := x.disk.take(old)
	if ok {
		x.Table.Insert(e)
	}
	return ok
}

// Move lets the entry that points to e's file and row point to another place. It tells whether there was one. Where e has no mark the entries of
// its hash are looked through.
func (x *Index) Move(e Entry, toFile, toRow uint32) bool {
	if int(e.File) < len(x.files) && int(toFile) < len(x.files) {
		x.files[toFile].newest = max(x.files[toFile].newest, x.files[e.File].newest)
	}
	return x.Table.Move(e, toFile, toRow) || x.disk.move(e, toFile, toRow)
}

// Remove takes away the entry of a hash that points to e's file and row. It tells whether there was one.
func (x *Index) Remove(e Entry) bool { return x.Table.Remove(e) || x.disk.take(e) }

// Knows tells whether there is an entry that points to e's file and row, with its mark.
func (x *Index) Knows(e Entry) bool {
	return x.Table.Knows(e) || x.disk.locate(e, func(*run, uint32, Entry) {})
}

// All calls f for each entry until f gives false. The index must not be changed meanwhile. Hashes of entries that are on disk
// are cut off: they serve to Remove the entry, and for nothing else.
func (x *Index) All(f func(*Entry) bool) {
	goOn := true
	x.Table.All(func(e *Entry) bool {
		if e.Bound() {
			*e = x.bound(*e)
		}
		goOn = f(e)
		return goOn
	})
	if goOn {
		x.disk.scan(func(e Entry) bool {
			e = x.bound(e)
			return f(&e)
		})
	}
}

// Sample calls f for about n entries taken at random, for each one where there are no more, until f gives false. Of an index on
// disk it takes neighbours.
func (x *Index) Sample(n int, f func(Entry) bool) {
	if x.disk.len() == 0 {
		x.Table.Sample(n, f)
		return
	}
	if n >= x.Len() {
		x.All(func(e *Entry) bool { return f(*e) })
		return
	}
	x.disk.sample(n, func(e Entry) bool { return f(x.bound(e)) })
}
