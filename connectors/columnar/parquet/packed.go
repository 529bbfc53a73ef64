package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

const (
	// packedBlock and packedMinis are the shape of what is written as DELTA_BINARY_PACKED: what all writers take.
	packedBlock = 128
	packedMinis = 4
	packedMini  = packedBlock / packedMinis
	// packedTrial is after how many numbers packing that hardly helps is given up.
	packedTrial = 8 * packedBlock
)

// packed reads DELTA_BINARY_PACKED numbers in order.
type packed struct {
	b     []byte
	p     int // the next block's header, or the next miniblock's numbers
	per   int // numbers of a miniblock
	minis int
	left  int  // numbers that are still to come
	began bool // the first one, which the header has, was given
	last  uint64
	low   uint64 // what each delta of the block has at least
	// widths are those of the block's miniblocks that were not begun; mini, width, bit are the rest of the open one.
	widths []byte
	mini   int
	width  uint
	bit    int // of the next number, from b's beginning on
}

// openPacked reads the header and walks over the blocks, so that reading can't fail, and tells where they end. limit bounds
// how many numbers there may be.
func openPacked(b []byte, limit int) (packed, int, error) {
	d := packed{b: b}
	block, ok1 := d.varint()
	minis, ok2 := d.varint()
	total, ok3 := d.varint()
	first, ok4 := d.varint()
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return d, 0, errPackedShort
	}
	if block == 0 || block > 1<<20 || block%128 != 0 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0 {
		return d, 0, fmt.Errorf("%w: packed numbers in blocks of %d with %d parts", ErrCorrupt, block, minis)
	}
	if total > uint64(limit) || total > math.MaxInt32 {
		return d, 0, fmt.Errorf("%w: %d packed numbers in a page of %d values", ErrCorrupt, total, limit)
	}
	d.per, d.minis, d.left, d.last = int(block/minis), int(minis), int(total), unzigzag(first)
	walk := d
	for n := d.left - 1; n > 0; {
		if err := walk.block(); err != nil {
			return d, 0, err
		}
		for _, w := range walk.widths {
			if n <= 0 {
				break
			}
			if w > 64 {
				return d, 0, fmt.Errorf("%w: bit width %d", ErrCorrupt, w)
			}
			size := d.per * int(w) / 8
			if size > len(b)-walk.p {
				return d, 0, errPackedShort
			}
			walk.p += size
			n -= d.per
		}
	}
	return d, walk.p, nil
}

var errPackedShort = fmt.Errorf("%w: packed numbers are cut off", ErrCorrupt)

func (d *packed) varint() (uint64, bool) {
	x, n := binary.Uvarint(d.b[d.p:])
	if n <= 0 {
		return 0, false
	}
	d.p += n
	return x, true
}

// block reads the header of a block.
func (d *packed) block() error {
	head, ok := d.varint()
	if !ok || len(d.b)-d.p < d.minis {
		return errPackedShort
	}
	d.low = unzigzag(head)
	d.widths = d.b[d.p : d.p+d.minis]
	d.p += d.minis
	return nil
}

func unzigzag(x uint64) uint64 { return x>>1 ^ -(x & 1) }

// readPacked gives the next len(dst) numbers; the caller asks for no more than are left.
func readPacked[T uint32 | uint64](d *packed, dst []T) error {
	d.left -= len(dst)
	if len(dst) > 0 && !d.began {
		d.began, dst[0] = true, T(d.last)
		dst = dst[1:]
	}
	for len(dst) > 0 {
		if d.mini == 0 {
			if len(d.widths) == 0 {
				if err := d.block(); err != nil {
					return err
				}
			}
			d.mini, d.width, d.bit = d.per, uint(d.widths[0]), 8*d.p
			d.p += d.per * int(d.width) / 8
			d.widths = d.widths[1:]
		}
		n := min(d.mini, len(dst))
		unpackDeltas(d, dst[:n])
		d.mini -= n
		dst = dst[n:]
	}
	return nil
}

// unpackDeltas gives numbers of the open miniblock.
func unpackDeltas[T uint32 | uint64](d *packed, dst []T) {
	last, low, w, bit := d.last, d.low, d.width, d.bit
	i := 0
	switch {
	case w == 0:
		for i = range dst {
			last += low
			dst[i] = T(last)
		}
		i = len(dst)
	case w <= 8 && bit&7 == 0 && len(dst) >= 8: // eight numbers are w bytes, and fit into a word
		mask := uint64(1)<<w - 1
		for ; i+8 <= len(dst) && bit>>3+8 <= len(d.b); i += 8 {
			x := binary.LittleEndian.Uint64(d.b[bit>>3:])
			eight := dst[i : i+8 : i+8]
			a := last + (low + x&mask)
			b := a + (low + x>>(w&63)&mask)
			c := b + (low + x>>(2*w&63)&mask)
			e := c + (low + x>>(3*w&63)&mask)
			eight[0], eight[1], eight[2], eight[3] = T(a), T(b), T(c), T(e)
			x >>= 4 * w & 63
			a = e + (low + x&mask)
			b = a + (low + x>>(w&63)&mask)
			c = b + (low + x>>(2*w&63)&mask)
			last = c + (low + x>>(3*w&63)&mask)
			eight[4], eight[5], eight[6], eight[7] = T(a), T(b), T(c), T(last)
			bit += 8 * int(w)
		}
	case w <= 56: // a number and the bits before it in its first byte fit into a word
		mask := uint64(1)<<w - 1
		// As many as have a whole word of b behind their first bit.
		n := 0
		if room := 8*(len(d.b)-8) + 7 - bit; room >= 0 {
			n = min(len(dst), room/int(w)+1)
		}
		for ; i < n; i++ {
			last += low + binary.LittleEndian.Uint64(d.b[bit>>3:])>>(bit&7)&mask
			bit += int(w)
			dst[i] = T(last)
		}
	}
	for ; i < len(dst); i++ {
		last += low + bitsAt(d.b, bit, w)
		bit += int(w)
		dst[i] = T(last)
	}
	d.last, d.bit = last, bit
}

// packedInts reads all numbers and tells how many bytes they took.
func packedInts(b []byte, limit int) ([]uint64, int, error) {
	d, used, err := openPacked(b, limit)
	if err != nil {
		return nil, 0, err
	}
	out := make([]uint64, d.left)
	return out, used, readPacked(&d, out)
}

// bitsAt reads w bits (at most 64) from bit position at.
func bitsAt(b []byte, at int, w uint) uint64 {
	if w == 0 {
		return 0
	}
	var x uint64
	p, off := at>>3, uint(at&7)
	var n uint
	for n < w {
		x |= uint64(b[p]) >> off << n
		n += 8 - off
		off = 0
		p++
	}
	if w < 64 {
		x &= 1<<w - 1
	}
	return x
}

// appendPacked appends numbers of size bytes as DELTA_BINARY_PACKED where that takes at most three quarters of their plain bytes, else nothing.
func appendPacked[T uint32 | uint64](dst []byte, v []T, size int) (out []byte, ok bool) {
	if len(v) < packedMini {
		return dst, false
	}
	pays := func(n, bytes int) bool { return 4*bytes <= 3*size*n }
	if out, ok = appendDeltas(dst, v, pays); !ok {
		return out[:len(dst)], false
	}
	return out, true
}

// appendDeltas appends numbers as DELTA_BINARY_PACKED. It ends early, with false, where pays says of the first of them or of all that they take too
// many bytes; nil: they never do.
func appendDeltas[T uint32 | uint64](dst []byte, v []T, pays func(n, bytes int) bool) ([]byte, bool) {
	began := len(dst)
	dst = binary.AppendUvarint(dst, packedBlock)
	dst = binary.AppendUvarint(dst, packedMinis)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	first := int64(0)
	if len(v) > 0 {
		first = signed(v[0])
	}
	dst = binary.AppendVarint(dst, first)
	for i := 1; i < len(v); i += packedBlock {
		if pays != nil && i > packedTrial && i <= packedTrial+packedBlock && !pays(i, len(dst)-began) {
			return dst, false
		}
		dst = appendPackedBlock(dst, v[i-1:min(i+packedBlock, len(v))])
	}
	return dst, pays == nil || pays(len(v), len(dst)-began)
}

// signed gives a number of either width with its sign.
func signed[T uint32 | uint64](x T) int64 {
	if ^T(0) == T(math.MaxUint32) {
		return int64(int32(x))
	}
	return int64(x)
}

// appendPackedBlock appends the block of the numbers behind the first of v.
func appendPackedBlock[T uint32 | uint64](dst []byte, v []T) []byte {
	var deltas [packedBlock]uint64
	d := deltas[:len(v)-1]
	// Differences wrap around in the width of the type: readers add in it, and none is wider.
	low := signed(v[1] - v[0])
	for i := range d {
		x := signed(v[i+1] - v[i])
		low = min(low, x)
		d[i] = uint64(x)
	}
	dst = binary.AppendVarint(dst, low)
	widths := len(dst)
	dst = append(dst, make([]byte, packedMinis)...)
	for m := 0; m*packedMini < len(d); m++ {
		mini := deltas[m*packedMini : (m+1)*packedMini]
		var all uint64
		for i := range min(packedMini, len(d)-m*packedMini) {
			mini[i] -= uint64(low)
			all |= mini[i]
		}
		w := uint(bits.Len64(all))
		dst[widths+m] = byte(w)
		dst = appendBits(dst, mini, w)
	}
	return dst
}

// appendBits appends numbers of w bits, lowest bits first; len(v) is a multiple of 8.
func appendBits(dst []byte, v []uint64, w uint) []byte {
	if w == 0 {
		return dst
	}
	var acc uint64
	var n uint // bits in acc
	for _, x := range v {
		acc |= x << n
		if n+w >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			acc = x >> (64 - n) // none where n is 0: Go shifts by 64 to 0
			n += w - 64
			continue
		}
		n += w
	}
	for ; n > 0; n -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}
