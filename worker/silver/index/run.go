package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"sort"

	"sluice.io/sluice/worker/silver/fold"
)

// run is a file of entries in the order of their hashes: what of an index does not fit into memory. An entry has 15 bytes: hash, file and
// row. The sequence is left out: that of the file's newest row stands for it, which is enough to tell that a change is newer. Entries of
// 30 bytes have the whole hash and the sequence too. The file has no name: it is gone with the process.
type run struct {
	f     *os.File
	yard  *yard
	whole bool
	entry int      // bytes of an entry
	bits  int      // of the hash, that choose a bucket
	dir   []uint32 // the first entry of each bucket
	buf   []byte
}

// Of a hash 72 bits are kept, 8 of them by its shard: the chance that two of 10^9 keys share them is one in ten thousand.
const (
	runEntry   = 15
	runWhole   = runEntry + 15
	runBucket  = 64 // entries of a bucket, about
	maxRunFile = 1<<24 - 1
)

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

// size is how many bytes it has on disk, its tombstones included.
func (r *run) size() int64 {
	if r == nil {
		return 0
	}
	return int64(r.len())*int64(r.entry) + r.yard.size
}

func (r *run) len() int {
	if r == nil {
		return 0
	}
	return int(r.dir[len(r.dir)-1])
}

func (r *run) bytes() int64 {
	if r == nil {
		return 0
	}
	return int64(cap(r.dir))*4 + int64(cap(r.buf)) + r.yard.bytes()
}

// read gives the bytes of the entries from…to. They are valid until the next read.
func (r *run) read(from, to uint32) ([]byte, error) {
	n := int(to-from) * r.entry
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := r.f.ReadAt(b, int64(from)*int64(r.entry)); err != nil {
		return nil, fmt.Errorf("read the key index from %s: %w", r.f.Name(), err)
	}
	return b, nil
}

// find gives the entries of a hash.
func (r *run) find(h fold.Hash, f func(Entry) bool) error {
	bucket := h.Lo >> (64 - r.bits)
	from, to := r.dir[bucket], r.dir[bucket+1]
	if from == to {
		return nil
	}
	b, err := r.read(from, to)
	if err != nil {
		return err
	}
	key := runKey(h)
	n := len(b) / r.entry
	for i := sort.Search(n, func(i int) bool { return binary.BigEndian.Uint64(b[i*r.entry:]) >= key }); i < n; i++ {
		e := b[i*r.entry:]
		if binary.BigEndian.Uint64(e) != key {
			break
		}
		c := r.decode(h, e)
		if r.whole && c.Hash != h {
			continue
		}
		if !f(c) {
			break
		}
	}
	return nil
}

// decode reads an entry whose hash has the upper byte of Lo, and all that the file leaves out, from h.
func (r *run) decode(h fold.Hash, b []byte) Entry {
	e := Entry{Hash: h, File: uint32(b[8])<<16 | uint32(b[9])<<8 | uint32(b[10]), Row: binary.BigEndian.Uint32(b[11:])}
	if r.whole {
		e.Hash.Hi = h.Hi&^(1<<24-1) | uint32(b[15])<<16 | uint32(b[16])<<8 | uint32(b[17])
		e.SeqHash, e.Prefix = binary.BigEndian.Uint32(b[18:]), binary.BigEndian.Uint64(b[22:])
	}
	switch {
	case e.File == maxRunFile:
		e.File = Dead
	case !r.whole:
		e.Row |= flagBound
	}
	return e
}

// scan gives the entries whose buckets are from…to, in order; their hashes are masked ones.
func (r *run) scan(from, to int, f func(Entry) bool) (more bool, err error) {
	const step = 1 << 14 // entries
	for bucket := from; bucket < to; {
		last := bucket + 1
		for last < to && r.dir[last+1]-r.dir[bucket] < step {
			last++
		}
		b, err := r.read(r.dir[bucket], r.dir[last])
		if err != nil {
			return false, err
		}
		// f may read the run: it gets its own copy.
		b = append([]byte(nil), b...)
		at := r.dir[bucket]
		for k := bucket; k < last; k++ {
			for ; at < r.dir[k+1]; at++ {
				e := b[int(at-r.dir[bucket])*r.entry:]
				key := binary.BigEndian.Uint64(e)
				h := fold.Hash{Lo: uint64(k)>>(r.bits-shardBits)<<(64-shardBits) | key>>8, Hi: uint32(key) << 24}
				if !f(r.decode(h, e)) {
					return false, nil
				}
			}
		}
		bucket = last
	}
	return true, nil
}

// sample gives about n entries from a few places.
func (r *run) sample(n int, f func(Entry) bool, fail func(error)) {
	for seen, tries := 0, 0; seen < n && tries < 8*n; tries++ {
		k := rand.IntN(len(r.dir) - 1)
		more, err := r.scan(k, k+1, func(e Entry) bool {
			seen++
			return f(e)
		})
		if err != nil {
			fail(err)
		}
		if err != nil || !more {
			return
		}
	}
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
	yard *yardWriter
	w    *bufio.Writer
	n    uint32
	next int // first bucket whose beginning is not known
}

func newRun(dir string, n int, whole bool) (*runWriter, error) {
	f, err := unnamed(dir)
	if err != nil {
		return nil, err
	}
	y, err := unnamed(dir)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	k := min(max(bits.Len(uint(n/runBucket)), shardBits), 28)
	r := &run{f: f, yard: &yard{f: y}, whole: whole, entry: runEntry, bits: k, dir: make([]uint32, 1<<k+1)}
	if whole {
		r.entry = runWhole
	}
	return &runWriter{r: r, yard: &yardWriter{y: r.yard, w: bufio.NewWriterSize(y, 1<<18)}, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

// unnamed makes a file that is gone when it is closed.
func unnamed(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("spill the key index: %w", err)
	}
	f, err := os.CreateTemp(dir, "index-*")
	if err != nil {
		return nil, fmt.Errorf("spill the key index: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("spill the key index: %w", err)
	}
	return f, nil
}

func (w *runWriter) add(e Entry) error {
	bucket := int(e.Hash.Lo >> (64 - w.r.bits))
	for ; w.next <= bucket; w.next++ {
		w.r.dir[w.next] = w.n
	}
	file, row := e.File, e.Row
	switch {
	case file == Dead:
		file = maxRunFile
	case !w.r.whole:
		row &^= flagBound
	}
	var b [runWhole]byte
	binary.BigEndian.PutUint64(b[:], runKey(e.Hash))
	b[8], b[9], b[10] = byte(file>>16), byte(file>>8), byte(file)
	binary.BigEndian.PutUint32(b[11:], row)
	if w.r.whole {
		b[15], b[16], b[17] = byte(e.Hash.Hi>>16), byte(e.Hash.Hi>>8), byte(e.Hash.Hi)
		binary.BigEndian.PutUint32(b[18:], e.SeqHash)
		binary.BigEndian.PutUint64(b[22:], e.Prefix)
	}
	w.n++
	_, err := w.w.Write(b[:w.r.entry])
	return err
}

func (w *runWriter) finish() (*run, error) {
	for ; w.next < len(w.r.dir); w.next++ {
		w.r.dir[w.next] = w.n
	}
	if err := errors.Join(w.w.Flush(), w.yard.w.Flush()); err != nil {
		return nil, fmt.Errorf("spill the key index: %w", err)
	}
	return w.r, nil
}
