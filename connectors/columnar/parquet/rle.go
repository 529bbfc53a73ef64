package parquet

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// hybrid reads the RLE/bit-packed hybrid of levels, dictionary indexes and booleans.
type hybrid struct {
	b     []byte
	p     int
	width uint

	run    int    // values left in a repeated run
	value  uint32 // its value
	packed int    // values left in a bit-packed run
	bit    int    // position of the next one in bits from packedAt
	at     int
}

func newHybrid(b []byte, width uint) (hybrid, error) {
	if width > 32 {
		return hybrid{}, fmt.Errorf("%w: bit width %d", ErrCorrupt, width)
	}
	return hybrid{b: b, width: width}, nil
}

// next opens the next run.
func (h *hybrid) next() error {
	head, n := binary.Uvarint(h.b[h.p:])
	if n <= 0 {
		return fmt.Errorf("%w: runs end too soon", ErrCorrupt)
	}
	h.p += n
	if head&1 == 1 {
		groups := head >> 1
		left := uint64(len(h.b) - h.p)
		if groups > 1<<28 {
			return fmt.Errorf("%w: bit-packed run of %d groups", ErrCorrupt, groups)
		}
		size := groups * uint64(h.width)
		values := int(groups * 8)
		if size > left { // the last run may leave out bytes that hold only padding
			size = left
			if h.width > 0 {
				values = int(left * 8 / uint64(h.width))
			}
		}
		if values == 0 {
			return fmt.Errorf("%w: empty run", ErrCorrupt)
		}
		h.packed, h.at, h.bit = values, h.p, 0
		h.p += int(size)
		return nil
	}
	count := head >> 1
	if count == 0 || count > 1<<31 {
		return fmt.Errorf("%w: run of %d values", ErrCorrupt, count)
	}
	bytes := int(h.width+7) / 8
	if len(h.b)-h.p < bytes {
		return fmt.Errorf("%w: runs end too soon", ErrCorrupt)
	}
	h.value = 0
	for i := range bytes {
		h.value |= uint32(h.b[h.p+i]) << (8 * i)
	}
	h.p += bytes
	h.run = int(count)
	return nil
}

// u8s reads len(dst) values of at most 8 bits.
func (h *hybrid) u8s(dst []uint8) error {
	for len(dst) > 0 {
		switch {
		case h.run > 0:
			n := min(h.run, len(dst))
			fill(dst[:n], uint8(h.value))
			h.run -= n
			dst = dst[n:]
		case h.packed > 0:
			n := min(h.packed, len(dst))
			h.unpack8(dst[:n])
			h.packed -= n
			dst = dst[n:]
		default:
			if err := h.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// same reports how many of the next n values are in a repeated run, with its value; 0 where the next run is bit-packed.
func (h *hybrid) same(n int) (int, uint8, error) {
	if h.run == 0 && h.packed == 0 {
		if err := h.next(); err != nil {
			return 0, 0, err
		}
	}
	return min(h.run, n), uint8(h.value), nil
}

func fill(dst []uint8, v uint8) {
	if v == 0 {
		clear(dst)
		return
	}
	if len(dst) == 0 {
		return
	}
	dst[0] = v
	for n := 1; n < len(dst); n *= 2 {
		copy(dst[n:], dst[:n])
	}
}

func (h *hybrid) unpack8(dst []uint8) {
	if h.width == 1 {
		i := 0
		for ; i < len(dst) && h.bit&7 != 0; i++ {
			dst[i] = h.b[h.at+h.bit>>3] >> (h.bit & 7) & 1
			h.bit++
		}
		for ; i+8 <= len(dst); i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], spread8(h.b[h.at+h.bit>>3]))
			h.bit += 8
		}
		for ; i < len(dst); i++ {
			dst[i] = h.b[h.at+h.bit>>3] >> (h.bit & 7) & 1
			h.bit++
		}
		return
	}
	for i := range dst {
		dst[i] = uint8(h.one())
	}
}

// spread8 puts bit i of c into byte i.
func spread8(c byte) uint64 {
	x := uint64(c) * 0x0101010101010101 & 0x8040201008040201
	// Now byte i has only bit i, or none. Adding 0x7f carries whatever it has into bit 7, and no further.
	return (x + 0x7f7f7f7f7f7f7f7f) >> 7 & 0x0101010101010101
}

// one reads the next bit-packed value. It reads at most the bytes of the run.
func (h *hybrid) one() uint32 {
	pos := h.at + h.bit>>3
	var x uint64
	if pos+8 <= len(h.b) {
		x = binary.LittleEndian.Uint64(h.b[pos:])
	} else {
		for i, c := range h.b[pos:] {
			x |= uint64(c) << (8 * i)
		}
	}
	v := uint32(x >> (h.bit & 7) & (1<<h.width - 1))
	h.bit += int(h.width)
	return v
}

// u32s reads len(dst) values.
func (h *hybrid) u32s(dst []uint32) error {
	for len(dst) > 0 {
		switch {
		case h.run > 0:
			n := min(h.run, len(dst))
			for i := range dst[:n] {
				dst[i] = h.value
			}
			h.run -= n
			dst = dst[n:]
		case h.packed > 0:
			n := min(h.packed, len(dst))
			h.unpack32(dst[:n])
			h.packed -= n
			dst = dst[n:]
		default:
			if err := h.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *hybrid) unpack32(dst []uint32) {
	i := 0
	if h.width > 0 {
		mask := uint64(1)<<h.width - 1
		bit, w := h.bit, int(h.width)
		b := h.b[h.at:]
		if w <= 14 { // four numbers, and the bits before them in their first byte, fit into a word
			w1, w2, w3 := uint(w), uint(2*w), uint(3*w)
			for ; i+4 <= len(dst) && bit>>3+8 <= len(b); i += 4 {
				x := binary.LittleEndian.Uint64(b[bit>>3:]) >> (bit & 7)
				four := dst[i : i+4 : i+4]
				four[0], four[1], four[2], four[3] = uint32(x&mask), uint32(x>>(w1&63)&mask), uint32(x>>(w2&63)&mask), uint32(x>>(w3&63)&mask)
				bit += 4 * w
			}
		}
		for ; i < len(dst); i++ {
			pos := bit >> 3
			if pos+8 > len(b) {
				break
			}
			dst[i] = uint32(binary.LittleEndian.Uint64(b[pos:]) >> (bit & 7) & mask)
			bit += w
		}
		h.bit = bit
	}
	for ; i < len(dst); i++ {
		dst[i] = h.one()
	}
}

// appendHybrid appends values in the hybrid encoding: repeated runs of at least 8 equal values, else groups of 8.
func appendHybrid[T uint8 | uint32](dst []byte, v []T, width uint) []byte {
	bytes := int(width+7) / 8
	repeat := func(n int, val T) {
		dst = binary.AppendUvarint(dst, uint64(n)<<1)
		for i := range bytes {
			dst = append(dst, byte(uint32(val)>>(8*i)))
		}
	}
	packFrom, i := 0, 0 // v[packFrom:i] waits to be packed; its length is a multiple of 8
	flush := func() {
		if n := i - packFrom; n > 0 {
			dst = binary.AppendUvarint(dst, uint64(n/8)<<1|1)
			dst = packBits(dst, v[packFrom:i], width)
		}
	}
	for i < len(v) {
		n := 1
		for i+n < len(v) && v[i+n] == v[i] {
			n++
		}
		if n >= 8 {
			flush()
			repeat(n, v[i])
			i += n
			packFrom = i
			continue
		}
		if i+8 > len(v) { // the last group is padded
			flush()
			var last [8]T
			copy(last[:], v[i:])
			dst = append(dst, 1<<1|1)
			dst = packBits(dst, last[:], width)
			return dst
		}
		i += 8
	}
	flush()
	return dst
}

// packBits appends values of width bits, lowest bits first; len(v) is a multiple of 8.
func packBits[T uint8 | uint32](dst []byte, v []T, width uint) []byte {
	var acc uint64
	var n uint
	for _, x := range v {
		acc |= uint64(x) << n
		n += width
		for n >= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
			n -= 8
		}
	}
	if n > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// widthOf is the number of bits that values up to v need.
func widthOf(v uint32) uint { return uint(bits.Len32(v)) }

// countLevel counts the entries of the highest level and checks that none is above it.
func countLevel(levels []uint8, top uint8) (int, error) {
	n := 0
	if top == 1 {
		i := 0
		var high uint64
		for ; i+8 <= len(levels); i += 8 {
			x := binary.LittleEndian.Uint64(levels[i:])
			high |= x
			n += bits.OnesCount64(x & 0x0101010101010101)
		}
		for ; i < len(levels); i++ {
			high |= uint64(levels[i])
			n += int(levels[i] & 1)
		}
		if high&^0x0101010101010101 != 0 {
			return 0, fmt.Errorf("%w: definition level above 1", ErrCorrupt)
		}
		return n, nil
	}
	for _, l := range levels {
		if l == top {
			n++
		} else if l > top {
			return 0, fmt.Errorf("%w: definition level %d above %d", ErrCorrupt, l, top)
		}
	}
	return n, nil
}
