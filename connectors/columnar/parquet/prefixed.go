package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// prefixes reads how many bytes each string of a DELTA_BYTE_ARRAY page shares with the one before.
type prefixes struct {
	lengths packed
	last    []byte // the string before the next one
	size    int    // of all strings that were read
}

// openPrefixed begins a page of strings that are the beginning of the one before and a rest: n bounds their number.
func (d *values) openPrefixed(b []byte, n int) error {
	d.mode, d.prefix.last, d.prefix.size = modePrefixed, d.prefix.last[:0], 0
	if len(b) == 0 { // a page of nulls only
		d.left = 0
		return nil
	}
	var used int
	var err error
	if d.prefix.lengths, used, err = openPacked(b, n); err != nil {
		return err
	}
	if d.deltas, d.p, err = openPacked(b[used:], n); err != nil {
		return err
	}
	d.p += used
	if d.left = d.deltas.left; d.prefix.lengths.left != d.left {
		return fmt.Errorf("%w: %d prefixes, %d strings", ErrCorrupt, d.prefix.lengths.left, d.left)
	}
	return nil
}

// readPrefixed reads the next n strings, some at a time: first their lengths, by which their ends and the room for them are known.
func (d *values) readPrefixed(v *Vector, n int) error {
	v.openOffs(n)
	at := len(v.Offs)
	v.Offs = room(v.Offs, v, n)[:at+n]
	var shared, own [256]uint32
	last := len(d.prefix.last)
	for offs := v.Offs[at:]; len(offs) > 0; {
		k := min(len(offs), len(shared))
		if err := readPacked(&d.prefix.lengths, shared[:k]); err != nil {
			return err
		}
		if err := readPacked(&d.deltas, own[:k]); err != nil {
			return err
		}
		began := len(v.Data)
		end, rest, before, wrong := uint64(began), uint64(0), uint64(last), uint64(0)
		for i := range k {
			p, s := uint64(shared[i]), uint64(own[i])
			wrong |= before - p // its highest bit: more than the string before has
			before = p + s
			rest += s
			end += before
			offs[i] = int32(end)
		}
		last = int(before)
		if wrong>>63 != 0 || rest > uint64(len(d.b)-d.p) {
			return fmt.Errorf("%w: strings take more bytes than the page has", ErrCorrupt)
		}
		if d.prefix.size += int(end) - began; d.prefix.size > maxPage {
			return fmt.Errorf("%w: strings of more than %d bytes in one page", ErrCorrupt, maxPage)
		}
		if end > math.MaxInt32 {
			return errTooLong
		}
		v.roomFor(int(end)-began, k)
		v.Data = joinPrefixed(v.Data, d.prefix.last, d.b[d.p:], shared[:k], own[:k])
		d.p += int(rest)
		d.prefix.last = append(d.prefix.last[:0], v.Data[len(v.Data)-last:]...)
		offs = offs[k:]
	}
	return nil
}

// roomFor makes room for n bytes more of k values and slack; the first time for all rows, if they are about as long.
func (v *Vector) roomFor(n, k int) {
	need := len(v.Data) + n + 2*slack
	if cap(v.Data) >= need {
		return
	}
	want := need + need/2
	if v.Data == nil {
		want = max(need, min(n/k*9/8*min(v.rows, maxReserve), maxBlock))
	}
	v.Data = append(RawIn[uint8](v.mem, want), v.Data...)
}

// joinPrefixed appends strings to dst, which has room for them and twice the slack: shared[i] bytes of the string before, at first of last, and
// own[i] of src. The lengths fit to both.
func joinPrefixed(dst, last, src []byte, shared, own []uint32) []byte {
	own = own[:len(shared)]
	for i := 0; ; i++ {
		k, at, from := joinShort(dst, last, src, shared[i:], own[i:])
		if i += k; i == len(shared) {
			return dst[:at]
		}
		if k > 0 {
			n := int(shared[i-1] + own[i-1])
			last = dst[at-n : at]
		}
		n := int(own[i])
		dst, src = append(append(dst[:at], last[:shared[i]]...), src[from:from+n]...), src[from+n:]
		last = dst[at:]
	}
}

// joinShort is joinPrefixed of strings that share less than 16 bytes and have at most 16 of their own, up to one that is longer or lies near the end
// of src. It tells how many there were, and where it stands in dst and src.
//
// The first 16 bytes of the string before are kept in two words: loading them from where they were stored in parts just now would wait for those stores.
func joinShort(dst, last, src []byte, shared, own []uint32) (n, at, from int) {
	var head [16]byte
	copy(head[:], last)
	lo, hi := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint64(head[8:])
	to, in, near := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), len(src)-16
	at, own = len(dst), own[:len(shared)]
	for i, p := range shared {
		n := own[i]
		if p > 15 || n > 16 || from > near {
			return i, at, from
		}
		a, b := *(*uint64)(unsafe.Add(in, from)), *(*uint64)(unsafe.Add(in, from+8))
		shift := 8 * p & 63
		keep := uint64(1)<<shift - 1
		if p >= 8 {
			hi = hi&keep | a<<shift
		} else {
			lo = lo&keep | a<<shift
			hi = a>>1>>(63-shift) | b<<shift
		}
		out := unsafe.Add(to, at)
		*(*uint64)(out), *(*uint64)(unsafe.Add(out, 8)) = lo, hi
		*(*uint64)(unsafe.Add(out, p)), *(*uint64)(unsafe.Add(out, p+8)) = a, b
		at, from = at+int(p+n), from+int(n)
	}
	return len(shared), at, from
}

// appendPrefixed appends the strings of the page at work as DELTA_BYTE_ARRAY, if the row group has them so. It has where its first page takes no more
// than its plain bytes do when they are compressed: prefixes are then all that compression would find, and everybody who reads is
// spared it.
func (c *ColumnWriter) appendPrefixed(b []byte) (out []byte, ok bool) {
	if c.hasCodec && !c.prefixed || len(c.plain) == 0 {
		return b, false
	}
	s := &c.strings
	if !s.split(c.plain, !c.prefixed) {
		return b, false
	}
	out, _ = appendDeltas(b, s.shared, nil)
	out, _ = appendDeltas(out, s.own, nil)
	out = append(out, s.rest...)
	if c.prefixed {
		return out, true
	}
	compressed, err := compress(c.opts.Codec, c.packed[:0], c.plain)
	if err != nil { // encodePage fails in the same way
		return b, false
	}
	if c.packed = compressed; len(out)-len(b) > len(compressed) {
		return b, false
	}
	c.prefixed, c.codec, c.hasCodec = true, Uncompressed, true
	return out, true
}

// splitStrings are strings as what each shares with the one before, and its rest.
type splitStrings struct {
	shared, own []uint32
	rest        []byte
}

// split splits the strings of a plain page. With onlyIfPays it gives false where what they share is less than a quarter of the page, or of its first
// strings: they are not split to the end then.
func (s *splitStrings) split(page []byte, onlyIfPays bool) bool {
	pays := func(size int) bool { return !onlyIfPays || 4*len(s.rest) <= 3*size }
	s.shared, s.own, s.rest = s.shared[:0], s.own[:0], s.rest[:0]
	if cap(s.rest) < len(page) {
		s.rest = make([]byte, 0, len(page)+len(page)/8)
	}
	rest := s.rest[:len(page)]
	last, lastLen, n := 0, 0, 0
	for p := 0; p < len(page); {
		l := int(binary.LittleEndian.Uint32(page[p:]))
		p += 4
		same := commonPrefix(page[last:last+lastLen], page[p:p+l])
		s.shared, s.own = append(s.shared, uint32(same)), append(s.own, uint32(l-same))
		if from := p + same; l-same <= 16 && from+16 <= len(page) {
			*(*[16]byte)(rest[n:]) = *(*[16]byte)(page[from:]) // there is room: the four bytes of each length are not there
		} else {
			copy(rest[n:], page[from:p+l])
		}
		n += l - same
		last, lastLen, p = p, l, p+l
		if s.rest = rest[:n]; len(s.own) == packedTrial && !pays(p) {
			return false
		}
	}
	return pays(len(page))
}

// commonPrefix is how many bytes two strings begin with that are the same. It may look at up to 8 bytes of memory behind them.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i < n && i+8 <= cap(a) && i+8 <= cap(b); i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:i+8:cap(a)]) ^ binary.LittleEndian.Uint64(b[i:i+8:cap(b)]); x != 0 {
			return min(n, i+bits.TrailingZeros64(x)>>3)
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return min(i, n)
}
