package index

import (
	"cmp"
	"fmt"
	"math/rand/v2"

	"sluice.io/sluice/worker/silver/fold"
)

// Spill is where and when an index that grows too large for memory goes on in files.
type Spill struct {
	// Whole keeps all of an entry, in 30 bytes: of a table whose merges need the sequence of each row. Without it an entry has 15 bytes,
	// and a bound of the sequence.
	Whole bool
	// Dir is a folder for files that need not outlive the process; "": never.
	Dir string
	// Limit gives the bytes that the index may have in memory, now.
	Limit func() int64

	perRun int // 0: partEntries
}

// over tells that more is held than may be.
func (s *Spill) over(held int64) bool { return s.Dir != "" && s.Limit != nil && held > s.Limit() }

// partEntries is about how many entries a run has, so that a merge that waits for one to be written anew does not wait long. A table of so many keys that
// the shards are not enough has larger ones.
const partEntries = 1 << 18

// disk is what of an index does not fit into memory: runs, each of some neighbouring shards. Entries are moved in place, and those that go are marked in memory, a bit
// for each; new ones come when a run is written anew, one run at a time.
type disk struct {
	runs [shards]*run // of each shard the one that it is in; nil where nothing is on disk
	win  window
	gone int // entries that were taken since wasteful found nothing
	err  error
}

// fail keeps the first error: after it the entries are not to be trusted (D8).
func (d *disk) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// all calls f for each run until f gives false.
func (d *disk) all(f func(r *run) bool) {
	for s := 0; s < shards; {
		r := d.runs[s]
		if r == nil {
			s++
			continue
		}
		if !f(r) {
			return
		}
		s = r.end
	}
}

// len is the number of entries that are not gone.
func (d *disk) len() (n int) {
	d.all(func(r *run) bool {
		n += r.len()
		return true
	})
	return n
}

// size is how many bytes there are on disk, tombstones included.
func (d *disk) size() (n int64) {
	d.all(func(r *run) bool {
		n += r.size()
		return true
	})
	return n
}

// bytes is what it needs in memory.
func (d *disk) bytes() (n int64) {
	d.all(func(r *run) bool {
		n += r.bytes()
		return true
	})
	return n + int64(cap(d.win.b))
}

func (d *disk) close() {
	d.all(func(r *run) bool {
		r.close()
		return true
	})
}

// find gives the entries of a hash until f gives false. f must not read from disk.
func (d *disk) find(h fold.Hash, f func(Entry) bool) { d.from(first(h), f) }

// from gives the entries of e's hash that are not below e, in order, until f gives false; of an index that keeps no sequences all. f must not read from disk.
func (d *disk) from(e Entry, f func(Entry) bool) {
	if r := d.runs[shardOf(e.Hash)]; r != nil {
		d.failed(r.from(&d.win, e, func(_ uint32, c Entry) bool { return f(c) }))
	}
}

// below gives the entries of e's hash that are below e, the highest first, until f gives false. f must not read from disk.
func (d *disk) below(e Entry, f func(Entry) bool) {
	if r := d.runs[shardOf(e.Hash)]; r != nil {
		d.failed(r.below(&d.win, e, func(_ uint32, c Entry) bool { return f(c) }))
	}
}

func (d *disk) failed(err error) {
	if err != nil {
		d.fail(err)
	}
}

// locate finds the entry that points to e's file and row. f gets its place, which is in the window.
func (d *disk) locate(e Entry, f func(r *run, at uint32, c Entry)) (ok bool) {
	r := d.runs[shardOf(e.Hash)]
	if r == nil {
		return false
	}
	begin := e
	if !r.whole || e.Prefix == 0 { // not everybody knows the mark
		begin = first(e.Hash)
	}
	d.failed(r.from(&d.win, begin, func(at uint32, c Entry) bool {
		if ok = c.File == e.File && c.row() == e.row(); ok {
			f(r, at, c)
			return false
		}
		return begin != e || c.cmp(e) == 0
	}))
	return ok
}

// take takes the entry away that points to e's file and row.
func (d *disk) take(e Entry) bool {
	return d.locate(e, func(r *run, at uint32, _ Entry) {
		r.take(at)
		d.gone++
	})
}

// move lets the entry that points to e's file and row point to another place.
func (d *disk) move(e Entry, file, row uint32) bool {
	return d.locate(e, func(r *run, at uint32, c Entry) {
		c.File, c.Row = file, c.Row&^rowMask|row&rowMask
		r.put(d.win.at(at), c)
		d.win.dirty = true
	})
}

// scan gives the entries of all runs, in the order of their hashes, until f gives false. f must not change them.
func (d *disk) scan(f func(Entry) bool) {
	d.win.flush(d)
	d.all(func(r *run) bool {
		more, err := r.scan(r.begin, r.end, f)
		if err != nil {
			d.fail(err)
		}
		return more && err == nil
	})
}

// sample gives about n entries from a few places.
func (d *disk) sample(n int, f func(Entry) bool) {
	d.win.flush(d)
	for seen, tries := 0, 0; seen < n && tries < 8*n; tries++ {
		r := d.runs[rand.IntN(shards)]
		if r == nil {
			continue
		}
		k := rand.IntN(len(r.dir) - 1)
		more, err := r.buckets(k, k+1, func(e Entry) bool {
			seen++
			return f(e)
		})
		if err != nil {
			d.fail(err)
		}
		if err != nil || !more {
			return
		}
	}
}

// wasteful gives a run that has much more entries than its shards have in all, nil where there is none. inMemory is what a shard has in memory.
func (d *disk) wasteful(inMemory func(shard int) int) (found *run) {
	if d.gone == 0 {
		return nil
	}
	d.all(func(r *run) bool {
		most := r.left
		for s := r.begin; s < r.end; s++ {
			most += inMemory(s)
		}
		if int(r.n) > most+most/8+1024 {
			found = r
		}
		return found == nil
	})
	if found == nil {
		d.gone = 0
	}
	return found
}

// part gives the shards whose entries are in one run, or in none, beginning with the shard s.
func (d *disk) part(s int) (end int) {
	if r := d.runs[s]; r != nil {
		return r.end
	}
	for end = s + 1; end < shards && d.runs[end] == nil; {
		end++
	}
	return end
}

// fullest gives the part that has the most in memory.
func (d *disk) fullest(held func(shard int) int64) (begin, end int) {
	most := int64(-1)
	for s := 0; s < shards; {
		e, n := d.part(s), int64(0)
		for k := s; k < e; k++ {
			n += held(k)
		}
		if n > most {
			most, begin, end = n, s, e
		}
		s = e
	}
	return begin, end
}

// source is what a part is written of: fresh gives the entries of a shard that come from memory, in order, and put writes an entry, or leaves it out. old is
// the run that it was in, nil for fresh ones.
type source interface {
	fresh(shard int, order func(a, b Entry) int) []Entry
	put(w *runWriter, e Entry, old *run) error
}

// rewrite writes the shards of a part anew: of its run, if it has one, and what comes from memory, n entries in all. They become several runs where they are
// many. After an error with which nothing was changed, fail is not called.
func (d *disk) rewrite(s Spill, begin, end, n int, src source) error {
	d.win.flush(d)
	if d.err != nil {
		return d.err
	}
	old := d.runs[begin]
	parts := min(max(1, n/cmp.Or(s.perRun, partEntries)), end-begin)
	for k := range parts {
		from, to := begin+k*(end-begin)/parts, begin+(k+1)*(end-begin)/parts
		w, err := newRun(s, from, to, n/parts)
		if err != nil && k == 0 {
			return fmt.Errorf("spill the key index: %w", err) // all is as it was
		}
		for shard := from; shard < to && err == nil; shard++ {
			err = old.merge(shard, src.fresh(shard, w.r.order), w, src.put)
		}
		if err == nil {
			err = w.finish()
		}
		if err != nil {
			d.fail(fmt.Errorf("spill the key index: %w", err))
			w.close()
			return d.err
		}
		for shard := from; shard < to; shard++ {
			d.runs[shard] = w.r
		}
	}
	old.close()
	return nil
}

// merge puts the entries of a shard that are in the run, and fresh ones, together, in order.
func (r *run) merge(shard int, fresh []Entry, w *runWriter, put func(w *runWriter, e Entry, old *run) error) error {
	var failed error
	if r != nil {
		_, err := r.scan(shard, shard+1, func(e Entry) bool {
			for failed == nil && len(fresh) > 0 && w.r.order(fresh[0], e) < 0 {
				failed = put(w, fresh[0], nil)
				fresh = fresh[1:]
			}
			if failed == nil {
				failed = put(w, e, r)
			}
			return failed == nil
		})
		failed = cmp.Or(err, failed)
	}
	for i := 0; failed == nil && i < len(fresh); i++ {
		failed = put(w, fresh[i], nil)
	}
	return failed
}
