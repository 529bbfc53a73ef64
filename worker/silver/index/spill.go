package index

import (
	"cmp"
	"fmt"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

// Spill is where and when an index that grows too large for memory goes on in a file.
type Spill struct {
	// Dir is a folder for files that need not outlive the process; "": never.
	Dir string
	// Limit gives the bytes that the index may have in memory, now.
	Limit func() int64
}

// WithSpill sets where the index may spill. Before the first entry.
func (x *Index) WithSpill(s Spill) { x.spill = s }

// Spilled tells that a part of the index is in a file, and how many bytes it has.
func (x *Index) Spilled() int64 { return int64(x.run.len()) * runEntry }

// Err is why the index could not be read or written. After that it is not to be trusted (D8).
func (x *Index) Err() error { return x.err }

func (x *Index) fail(err error) {
	if x.err == nil {
		x.err = err
	}
}

// Over tells that the index needs more memory than it may have: Compact it.
func (x *Index) Over() bool {
	return x.spill.Dir != "" && x.spill.Limit != nil && x.Table.n-x.dead+x.gone.n > 0 && x.Table.Bytes()+x.gone.Bytes() > x.spill.Limit()
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

// Compact moves what is in memory into the file: a new one, of the old one and the memory. Tombstones stay, and rows
// that carry values over. twice are hashes that the file has more than once.
func (x *Index) Compact() (twice []fold.Hash, err error) {
	if len(x.files) > maxRunFile {
		return nil, fmt.Errorf("spill the key index: %d files are more than it can hold", len(x.files))
	}
	w, err := newRun(x.spill.Dir, x.Len())
	if err != nil {
		return nil, err
	}
	var part []Entry
	var last Entry
	put := func(e Entry) error {
		if masked(last.Hash) == masked(e.Hash) && !last.Hash.IsZero() {
			switch { // of two that are in the file already it was told before
			case last.Hash != masked(last.Hash):
				twice = append(twice, last.Hash)
			case e.Hash != masked(e.Hash):
				twice = append(twice, e.Hash)
			}
		}
		last = e
		return w.add(e)
	}
	moved := 0
	for s := range x.shards {
		sh := &x.shards[s]
		part = part[:0]
		var stay []Entry
		for i := range sh.slots {
			switch e := sh.slots[i]; {
			case e.Hash.IsZero():
			case e.File == Dead || e.Carried():
				stay = append(stay, e)
			default:
				part = append(part, e)
			}
		}
		slices.SortFunc(part, func(a, b Entry) int {
			return cmp.Or(cmp.Compare(a.Hash.Lo, b.Hash.Lo), cmp.Compare(a.Hash.Hi>>24, b.Hash.Hi>>24), cmp.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row))
		})
		k := 0
		if x.run != nil {
			per := 1 << (x.run.bits - shardBits)
			_, err := x.run.scan(s*per, (s+1)*per, func(e Entry) bool {
				if x.isGone(e) {
					return true
				}
				for ; err == nil && k < len(part) && (part[k].Hash.Lo < e.Hash.Lo || part[k].Hash.Lo == e.Hash.Lo && part[k].Hash.Hi>>24 <= e.Hash.Hi>>24); k++ {
					err = put(part[k])
				}
				if err == nil {
					err = put(e)
				}
				return err == nil
			})
			if err != nil {
				x.fail(err)
				return nil, err
			}
		}
		for ; err == nil && k < len(part); k++ {
			err = put(part[k])
		}
		if err != nil {
			w.r.close()
			x.fail(fmt.Errorf("spill the key index: %w", err))
			return nil, x.err
		}
		moved += len(part)
		// The shard gives its memory back at once, so that old and new are never there together.
		*sh = shard{}
		for _, e := range stay {
			sh.add(e)
		}
	}
	r, err := w.finish()
	if err != nil {
		x.fail(err)
		return nil, err
	}
	x.run.close()
	x.run, x.gone = r, Table{}
	x.Table.n -= moved
	return twice, nil
}

func (x *Index) isGone(e Entry) bool {
	if x.gone.n == 0 {
		return false
	}
	h := masked(e.Hash)
	s := &x.gone.shards[shardOf(h)]
	return s.find(h, e.File, e.Row&rowMask) >= 0
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
	if file == Dead {
		return
	}
	x.inRun(h, func(c Entry) bool {
		if c.File == file && c.Row&rowMask == row&rowMask {
			e, ok = c, true
		}
		return !ok
	})
	if ok {
		x.gone.Insert(Entry{Hash: masked(h), File: file, Row: row & rowMask})
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
