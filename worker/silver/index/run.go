package index

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sort"

	"sluice.io/sluice/worker/silver/fold"
)

// run is a file of entries in the order of their hashes: what of some shards of an index does not fit into memory. An entry has 15 bytes: hash, file and
// row. The sequence is left out: that of the file's newest row stands for it, which is enough to tell that a change is newer. Entries of
// 30 bytes have the whole hash and the sequence too. The file has no name: it is gone with the process.
type run struct {
	f          *os.File
	yard       *yard // nil: no tombstone
	whole      bool
	entry      int      // bytes of an entry
	begin, end int      // its shards
	bits       int      // of the hash, that choose a bucket
	dir        []uint32 // the first entry of each bucket, from the first of begin on
	n          uint32   // entries, gone ones included
	gone       []uint64 // of each entry a bit: it is no more; nil while all are there
	left       int      // entries that are not gone
}

// Of a hash 72 bits are kept, 8 of them by its shard: the chance that two of 10^9 keys share them is one in ten thousand.
const (
	runEntry   = 15
	runWhole   = runEntry + 15
	runBucket  = 64        // entries of a bucket, about
	runDead    = 1<<24 - 1 // the file of a tombstone; the other kinds have those below
	maxRunFile = runDead - 3
)

// runPage is how many entries are read at once of a bucket that has more: those of one hash may be any number. Tests make it small.
var runPage uint32 = 256

// runKey is what a run keeps of a hash, without the upper byte, which is that of the shard.
func runKey(h fold.Hash) uint64 { return h.Lo<<8 | uint64(h.Hi>>24) }

// masked is a hash as far as a run knows it.
func masked(h fold.Hash) fold.Hash { return fold.Hash{Lo: h.Lo, Hi: h.Hi &^ (1<<24 - 1)} }

func (r *run) masked(h fold.Hash) fold.Hash {
	if r.whole {
		return h
	}
	return masked(h)
}

// low orders hashes whose Lo is equal.
func (r *run) low(h fold.Hash) uint32 {
	if r.whole {
		return h.Hi
	}
	return h.Hi >> 24
}

// order compares entries as the run has them: by hash, as far as it is kept, and where the sequence is kept by that.
func (r *run) order(a, b Entry) int {
	if c := cmp.Or(cmp.Compare(a.Hash.Lo, b.Hash.Lo), cmp.Compare(r.low(a.Hash), r.low(b.Hash))); c != 0 || !r.whole {
		return c
	}
	return a.cmp(b)
}

// size is how many bytes it has on disk, its tombstones included.
func (r *run) size() int64 { return int64(r.n)*int64(r.entry) + r.yard.length() }

func (r *run) len() int {
	if r == nil {
		return 0
	}
	return r.left
}

func (r *run) isGone(at uint32) bool { return r.gone != nil && r.gone[at/64]&(1<<(at%64)) != 0 }

// take lets an entry be no more.
func (r *run) take(at uint32) {
	if r.gone == nil {
		r.gone = make([]uint64, r.n/64+1)
	}
	r.gone[at/64] |= 1 << (at % 64)
	r.left--
}

func (r *run) bytes() int64 { return int64(cap(r.dir))*4 + int64(cap(r.gone))*8 + r.yard.bytes() }

// bucket gives the place in dir of a hash's bucket.
func (r *run) bucket(h fold.Hash) int { return int(h.Lo>>(64-r.bits)) - r.begin<<(r.bits-shardBits) }

// window is a piece of a run that was read last, and may have been changed since. Who goes through hashes in order reads and writes each piece once.
type window struct {
	r        *run
	from, to uint32 // entries
	b        []byte
	dirty    bool
}

// windowAhead is how many entries are read at once by one who seems to go through the hashes in order, windowNear how far its steps may be.
const (
	windowAhead = 1 << 12
	windowNear  = 1 << 9
)

// at gives the bytes of an entry that is in the window.
func (w *window) at(entry uint32) []byte { return w.b[int(entry-w.from)*w.r.entry:] }

// load makes entries of a run part of the window.
func (w *window) load(r *run, from, to uint32) error {
	if w.r == r && from >= w.from && to <= w.to {
		return nil
	}
	near := w.r == r && from >= w.to && from-w.to < windowNear
	if err := w.write(); err != nil {
		return err
	}
	if near {
		to = max(to, min(from+windowAhead, r.n))
	}
	n := int(to-from) * r.entry
	if cap(w.b) < n {
		w.b = make([]byte, n)
	}
	w.r, w.from, w.to, w.b = r, from, to, w.b[:n]
	if err := r.read(w.b, from); err != nil {
		w.r = nil
		return err
	}
	return nil
}

// write writes back what was changed.
func (w *window) write() error {
	if !w.dirty {
		return nil
	}
	w.dirty = false
	if _, err := w.r.f.WriteAt(w.b, int64(w.from)*int64(w.r.entry)); err != nil {
		return fmt.Errorf("write the key index to %s: %w", w.r.f.Name(), err)
	}
	return nil
}

// flush writes back what was changed, and forgets it all.
func (w *window) flush(d *disk) {
	if err := w.write(); err != nil {
		d.fail(err)
	}
	w.r = nil
}

// read reads entries, as many as b has room for.
func (r *run) read(b []byte, from uint32) error {
	if _, err := r.f.ReadAt(b, int64(from)*int64(r.entry)); err != nil {
		return fmt.Errorf("read the key index from %s: %w", r.f.Name(), err)
	}
	return nil
}

// lower gives the place of the first entry that is not below e, among those from…to.
func (r *run) lower(w *window, e Entry, from, to uint32) (uint32, error) {
	key := runKey(e.Hash)
	below := func(b []byte) bool {
		if k := binary.BigEndian.Uint64(b); k != key || !r.whole {
			return k < key
		}
		c := r.decode(e.Hash, b)
		if c.Hash.Hi != e.Hash.Hi {
			return c.Hash.Hi < e.Hash.Hi
		}
		return c.cmp(e) < 0
	}
	if w.r == r { // it is there already, mostly
		a, b := max(from, w.from), min(to, w.to)
		if a < b && below(w.at(a)) && !below(w.at(b-1)) {
			from, to = a, b
		}
	}
	for to-from > runPage {
		mid := from + (to-from)/2
		if err := w.load(r, mid, mid+1); err != nil {
			return 0, err
		}
		if below(w.at(mid)) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	if from == to {
		return from, nil
	}
	if err := w.load(r, from, to); err != nil {
		return 0, err
	}
	return from + uint32(sort.Search(int(to-from), func(i int) bool { return !below(w.at(from + uint32(i))) })), nil
}

// first is below all entries of a hash.
func first(h fold.Hash) Entry { return Entry{Hash: h, Row: flagUnsequence} }

// from gives the entries of e's hash that are not below e, and their places, which are in the window. Where sequences are not kept it gives all.
func (r *run) from(w *window, e Entry, f func(at uint32, e Entry) bool) error {
	bucket := r.bucket(e.Hash)
	from, to := r.dir[bucket], r.dir[bucket+1]
	i, err := r.lower(w, e, from, to)
	for ; err == nil && i < to; i++ {
		if i >= w.to || i < w.from || w.r != r {
			if err = w.load(r, i, min(i+runPage, to)); err != nil {
				break
			}
		}
		more := r.give(w, e.Hash, i, f)
		if !more {
			break
		}
	}
	return err
}

// below gives the entries of e's hash that are below e, the highest first.
func (r *run) below(w *window, e Entry, f func(at uint32, e Entry) bool) error {
	bucket := r.bucket(e.Hash)
	from, to := r.dir[bucket], r.dir[bucket+1]
	i, err := r.lower(w, e, from, to)
	for ; err == nil && i > from; i-- {
		if i > w.to || i-1 < w.from || w.r != r {
			if err = w.load(r, max(from, i-min(i, runPage)), i); err != nil {
				break
			}
		}
		if !r.give(w, e.Hash, i-1, f) {
			break
		}
	}
	return err
}

// give calls f for an entry in the window, unless it is gone. It gives false where f does, or where it is of another hash.
func (r *run) give(w *window, h fold.Hash, i uint32, f func(at uint32, e Entry) bool) bool {
	b := w.at(i)
	if binary.BigEndian.Uint64(b) != runKey(h) {
		return false
	}
	c := r.decode(h, b)
	return c.Hash == h && (r.isGone(i) || f(i, c))
}

// decode reads an entry whose hash has the upper byte of Lo, and all that the file leaves out, from h.
func (r *run) decode(h fold.Hash, b []byte) Entry {
	e := Entry{Hash: h, File: uint32(b[8])<<16 | uint32(b[9])<<8 | uint32(b[10]), Row: binary.BigEndian.Uint32(b[11:])}
	if r.whole {
		e.Hash.Hi = h.Hi&^(1<<24-1) | uint32(b[15])<<16 | uint32(b[16])<<8 | uint32(b[17])
		e.SeqHash, e.Prefix = binary.BigEndian.Uint32(b[18:]), binary.BigEndian.Uint64(b[22:])
	}
	switch {
	case e.File > maxRunFile:
		e.File += Dead - runDead
	case !r.whole:
		e.Row |= flagBound
	}
	return e
}

// put writes where an entry points to, and its flags, into its bytes.
func (r *run) put(b []byte, e Entry) {
	file, row := e.File, e.Row
	switch {
	case e.Gone():
		file -= Dead - runDead
	case !r.whole:
		row &^= flagBound
	}
	b[8], b[9], b[10] = byte(file>>16), byte(file>>8), byte(file)
	binary.BigEndian.PutUint32(b[11:], row)
}

// scan gives the entries of the shards from…to, in order. Where it has no whole hashes they are masked ones.
func (r *run) scan(from, to int, f func(Entry) bool) (more bool, err error) {
	per := r.bits - shardBits
	return r.buckets((from-r.begin)<<per, (to-r.begin)<<per, f)
}

func (r *run) buckets(from, to int, f func(Entry) bool) (more bool, err error) {
	const step = 1 << 12 // entries
	var b []byte
	for bucket := from; bucket < to; {
		last := bucket + 1
		for last < to && r.dir[last+1]-r.dir[bucket] < step {
			last++
		}
		at := r.dir[bucket]
		b = slices.Grow(b[:0], int(r.dir[last]-at)*r.entry)[:int(r.dir[last]-at)*r.entry]
		if err := r.read(b, at); err != nil {
			return false, err
		}
		for e := b; bucket < last; bucket++ {
			shard := uint64(r.begin + bucket>>(r.bits-shardBits))
			for ; at < r.dir[bucket+1]; at++ {
				key := binary.BigEndian.Uint64(e)
				if !r.isGone(at) && !f(r.decode(fold.Hash{Lo: shard<<(64-shardBits) | key>>8, Hi: uint32(key) << 24}, e)) {
					return false, nil
				}
				e = e[r.entry:]
			}
		}
	}
	return true, nil
}

func (r *run) close() {
	if r != nil {
		_ = r.f.Close() // it has no name: nothing is left
		r.yard.close()
	}
}

// runWriter writes a run; entries come in ascending order.
type runWriter struct {
	r    *run
	dir  string
	yard *yardWriter // nil: no tombstone yet
	w    *bufio.Writer
	next int // first bucket whose beginning is not known
}

// newRun begins a run of about n entries, of the shards begin…end.
func newRun(s Spill, begin, end, n int) (*runWriter, error) {
	f, err := unnamed(s.Dir)
	if err != nil {
		return nil, err
	}
	k := min(bits.Len(uint(n/runBucket/(end-begin))), 20)
	r := &run{f: f, whole: s.Whole, entry: runEntry, begin: begin, end: end, bits: shardBits + k, dir: make([]uint32, (end-begin)<<k+1)}
	if s.Whole {
		r.entry = runWhole
	}
	return &runWriter{r: r, dir: s.Dir, w: bufio.NewWriterSize(f, 1<<18)}, nil
}

// unnamed makes a file that is gone when it is closed.
func unnamed(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "index-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (w *runWriter) add(e Entry) error {
	for bucket := w.r.bucket(e.Hash); w.next <= bucket; w.next++ {
		w.r.dir[w.next] = w.r.n
	}
	var b [runWhole]byte
	binary.BigEndian.PutUint64(b[:], runKey(e.Hash))
	w.r.put(b[:], e)
	if w.r.whole {
		b[15], b[16], b[17] = byte(e.Hash.Hi>>16), byte(e.Hash.Hi>>8), byte(e.Hash.Hi)
		binary.BigEndian.PutUint32(b[18:], e.SeqHash)
		binary.BigEndian.PutUint64(b[22:], e.Prefix)
	}
	w.r.n, w.r.left = w.r.n+1, w.r.left+1
	_, err := w.w.Write(b[:w.r.entry])
	return err
}

// bury writes a tombstone and gives the Row of its entry.
func (w *runWriter) bury(g *Grave) (uint32, error) {
	if w.yard == nil {
		f, err := unnamed(w.dir)
		if err != nil {
			return 0, err
		}
		w.r.yard = &yard{f: f}
		w.yard = &yardWriter{y: w.r.yard, w: bufio.NewWriterSize(f, 1<<16)}
	}
	return w.yard.bury(g)
}

func (w *runWriter) close() {
	if w != nil {
		w.r.close()
	}
}

func (w *runWriter) finish() error {
	for ; w.next < len(w.r.dir); w.next++ {
		w.r.dir[w.next] = w.r.n
	}
	err := w.w.Flush()
	if w.yard != nil {
		err = errors.Join(err, w.yard.w.Flush())
	}
	return err
}
