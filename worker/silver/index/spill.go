package index

import (
	"cmp"
	"fmt"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

// Spill is where and when an index that grows too large for memory goes on in a file.
type Spill struct {
	// Whole keeps all of an entry, in 30 bytes: of a table whose merges need the sequence of each row. Without it an entry has 15 bytes,
	// and a bound of the sequence.
	Whole bool
	// Dir is a folder for files that need not outlive the process; "": never.
	Dir string
	// Limit gives the bytes that the index may have in memory, now.
	Limit func() int64
}

// WithSpill sets where the index may spill. Before the first entry.
func (x *Index) WithSpill(s Spill) { x.spill = s }

// Spilled tells that a part of the index is in a file, and how many bytes it has.
func (x *Index) Spilled() int64 { return x.run.size() }

// Err is why the index could not be read or written. After that it is not to be trusted (D8).
func (x *Index) Err() error { return x.err }

func (x *Index) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

// Over tells that the index needs more memory than it may have: Compact it.
func (x *Index) Over() bool {
	return x.spill.Dir != "" && x.spill.Limit != nil && x.Table.n+x.gone.n > 0 && x.held() > x.spill.Limit()
}

// minRoom is how many entries are taken into memory before they go to the file, however little it may have.
const minRoom = 1 << 10

// Room is how many entries fit into memory, of n.
func (x *Index) Room(n int) int {
	if x.spill.Dir == "" || x.spill.Limit == nil {
		return n
	}
	return min(n, max(int(x.spill.Limit()/40), minRoom))
}

// Compact moves what is in memory into the file: a new one, of the old one and the memory. twice are hashes that the file has
// more than once.
func (x *Index) Compact() (twice []fold.Hash, err error) {
	if len(x.files) > maxRunFile {
		return nil, fmt.Errorf("spill the key index: %d files are more than it can hold", len(x.files))
	}
	w, err := newRun(x.spill.Dir, x.Len(), x.spill.Whole)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.r.close()
			x.fail(err)
		}
	}()
	m := mover{x: x, w: w}
	for s := range x.shards {
		if err := m.shard(s); err != nil {
			return nil, fmt.Errorf("spill the key index: %w", err)
		}
	}
	r, err := w.finish()
	if err != nil {
		return nil, err
	}
	x.run.close()
	x.run, x.gone, x.graves, x.freeG, x.named = r, Table{}, nil, nil, 0
	x.Table.n -= m.moved
	x.dead -= m.expired
	return m.twice, nil
}

// mover is one Compact.
type mover struct {
	x              *Index
	w              *runWriter
	part           []Entry
	last           Entry
	fresh          bool // last came from memory
	twice          []fold.Hash
	moved, expired int
}

// shard merges one shard of the memory with its part of the old file, and gives its memory back at once, so that old and new are never
// there together.
func (m *mover) shard(s int) error {
	x, w := m.x, m.w
	sh := &x.shards[s]
	part := m.part[:0]
	for i := range sh.slots {
		if !sh.slots[i].Hash.IsZero() {
			part = append(part, sh.slots[i])
		}
	}
	m.part, m.moved = part, m.moved+len(part)
	slices.SortFunc(part, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Hash.Lo, b.Hash.Lo), cmp.Compare(w.r.low(a.Hash), w.r.low(b.Hash)), cmp.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row))
	})
	if x.run != nil {
		per := 1 << (x.run.bits - shardBits)
		var failed error
		_, err := x.run.scan(s*per, (s+1)*per, func(e Entry) bool {
			if x.isGone(e) {
				return true
			}
			for failed == nil && len(part) > 0 && (part[0].Hash.Lo < e.Hash.Lo || part[0].Hash.Lo == e.Hash.Lo && w.r.low(part[0].Hash) <= w.r.low(e.Hash)) {
				failed = m.put(part[0], true)
				part = part[1:]
			}
			if failed == nil {
				failed = m.put(e, false)
			}
			return failed == nil
		})
		if err := cmp.Or(err, failed); err != nil {
			return err
		}
	}
	for _, e := range part {
		if err := m.put(e, true); err != nil {
			return err
		}
	}
	*sh = shard{}
	return nil
}

// put writes an entry, a tombstone with its grave. fresh: it comes from memory.
func (m *mover) put(e Entry, fresh bool) error {
	x, r := m.x, m.w.r
	if r.masked(m.last.Hash) == r.masked(e.Hash) && !m.last.Hash.IsZero() {
		switch { // of two that are in the file already it was told before
		case fresh:
			m.twice = append(m.twice, e.Hash)
		case m.fresh:
			m.twice = append(m.twice, m.last.Hash)
		}
	}
	m.last, m.fresh = e, fresh
	if e.File != Dead {
		return m.w.add(e)
	}
	var g Grave
	var err error
	if e.Row&onDisk == 0 {
		g = x.graves[e.Row]
	} else if g, err = x.run.yard.grave(e.Row, true); err != nil {
		return err
	}
	if g.AtMs < x.expired {
		m.expired++
		return nil
	}
	if e.Row, err = m.w.yard.bury(&g); err != nil {
		return err
	}
	return m.w.add(e)
}

func (x *Index) isGone(e Entry) bool {
	if x.gone.n == 0 {
		return false
	}
	h := x.run.masked(e.Hash)
	s := &x.gone.shards[shardOf(h)]
	return s.find(h, e.File, e.row()) >= 0
}

// bound gives an entry whose own sequence is not kept that of the newest row of its file.
func (x *Index) bound(e Entry) Entry {
	if e.File != Dead && e.Row&flagBound != 0 {
		e.Prefix, e.SeqHash = x.files[e.File].newest, 0
	}
	return e
}

// inRun calls f for the entries of a hash that are in the file and not gone.
func (x *Index) inRun(h fold.Hash, f func(Entry) bool) {
	if x.run == nil {
		return
	}
	if err := x.run.find(h, func(e Entry) bool { return x.isGone(e) || f(x.bound(e)) }); err != nil {
		x.fail(err)
	}
}

// hasRun tells whether the file has an entry, and takes it away.
func (x *Index) takeRun(h fold.Hash, file, row uint32) (e Entry, ok bool) {
	want := Entry{Hash: x.run.masked(h), File: file, Row: row}
	want.Row = want.row()
	x.inRun(h, func(c Entry) bool {
		if c.File == file && c.row() == want.Row {
			e, ok = c, true
		}
		return !ok
	})
	if ok {
		x.gone.Insert(want)
	}
	return e, ok
}

// Len is the number of entries, Dead ones included.
func (x *Index) Len() int { return x.Table.n + x.run.len() - x.gone.n }

// Get finds the entry of a key. Where there are several it gives one, with more set.
func (x *Index) Get(h fold.Hash) (e Entry, ok, more bool) {
	e, ok, more = x.Table.Get(h)
	if ok {
		e = x.bound(e)
	}
	if x.run != nil && !more {
		x.inRun(h, func(c Entry) bool {
			if ok {
				more = true
				return false
			}
			e, ok = c, true
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
		x.inRun(h, f)
	}
}

// Insert adds an entry beside those that the hash has.
func (x *Index) Insert(e Entry) {
	x.see(e)
	x.Table.Insert(e)
}

// see lets the entry's file know its sequence.
func (x *Index) see(e Entry) {
	if e.File == Dead || int(e.File) >= len(x.files) {
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

// Replace puts e in the place of the entry of its hash that points to file and row (Row as stored). It tells whether
// there was one.
func (x *Index) Replace(file, row uint32, e Entry) bool {
	x.see(e)
	if x.Table.Replace(file, row, e) {
		return true
	}
	if x.run == nil {
		return false
	}
	if _, ok := x.takeRun(e.Hash, file, row); !ok {
		return false
	}
	x.Table.Insert(e)
	return true
}

// Move lets the entry of a hash that points to file and row point to another place. It tells whether there was one.
func (x *Index) Move(h fold.Hash, file, row, toFile, toRow uint32) bool {
	if int(file) < len(x.files) && int(toFile) < len(x.files) {
		x.files[toFile].newest = max(x.files[toFile].newest, x.files[file].newest)
	}
	if x.Table.Move(h, file, row, toFile, toRow) {
		return true
	}
	if x.run == nil {
		return false
	}
	e, ok := x.takeRun(h, file, row)
	if !ok {
		return false
	}
	e.Hash, e.File, e.Row = h, toFile, e.Row&^rowMask|toRow&rowMask
	x.Table.Insert(e)
	return true
}

// Remove takes away the entry of a hash that points to file and row, flags aside. It tells whether there was one.
func (x *Index) Remove(h fold.Hash, file, row uint32) bool {
	if x.Table.Remove(h, file, row) {
		return true
	}
	if x.run == nil {
		return false
	}
	_, ok := x.takeRun(h, file, row)
	return ok
}

// All calls f for each entry until f gives false. The index must not be changed meanwhile. Hashes of entries that are in a file
// are cut off: they serve to Remove the entry, and for nothing else.
func (x *Index) All(f func(*Entry) bool) {
	goOn := true
	x.Table.All(func(e *Entry) bool {
		if e.File != Dead && e.Row&flagBound != 0 {
			*e = x.bound(*e)
		}
		goOn = f(e)
		return goOn
	})
	if !goOn || x.run == nil {
		return
	}
	if _, err := x.run.scan(0, len(x.run.dir)-1, func(e Entry) bool {
		if x.isGone(e) {
			return true
		}
		e = x.bound(e)
		return f(&e)
	}); err != nil {
		x.fail(err)
	}
}

// Sample calls f for about n entries taken at random, for each one where there are no more, until f gives false. Of an index in a
// file it takes neighbours.
func (x *Index) Sample(n int, f func(Entry) bool) {
	if x.run == nil {
		x.Table.Sample(n, f)
		return
	}
	if n >= x.Len() {
		x.All(func(e *Entry) bool { return f(*e) })
		return
	}
	x.run.sample(n, func(e Entry) bool { return x.isGone(e) || f(x.bound(e)) }, x.fail)
}
