package parquet

import (
	"errors"
	"unsafe"
)

var errSnappy = errors.New("the compressed bytes do not fit together")

const (
	// snappyLeft is how much output is left at least where an element is decoded by whole words: none but a long literal gives more.
	snappyLeft = 64
	// snappyAhead is how much input is left there: the tag and 16 bytes of a literal.
	snappyAhead = 17
)

// decodeSnappy decodes the elements of a Snappy block, without the length in front, to all of dst, behind which slack bytes are written over.
//
// Why not s2.Decode, which is in assembler: columns of numbers are mostly a byte or two that differ and a short copy from the value before. A load
// that spans two stores which are still on their way waits for both to arrive, and each value waits for the one before. Here a short copy is loaded
// in two words that lie within what an earlier one stored, which takes a third less time for numbers that count up, and an eighth to a quarter less for prices
// (BenchmarkSnappy). Texts take up to a tenth longer than there, small numbers without order half as long again.
func decodeSnappy(dst, src []byte) error {
	d, s, err := decodeSnappyWords(dst, src)
	if err != nil {
		return err
	}
	for s < len(src) {
		tag := int(src[s])
		extra := tag & 3 // bytes behind the tag, of a copy's offset or a literal's length
		switch {
		case extra == 0 && tag>>2 >= 60:
			extra = tag>>2 - 59
		case extra == 3:
			extra = 4
		}
		if len(src)-s <= extra {
			return errSnappy
		}
		x := 0
		for i := extra; i > 0; i-- {
			x = x<<8 | int(src[s+i])
		}
		s += 1 + extra
		n := tag>>2 + 1
		switch {
		case tag&3 == 0 && extra > 0:
			n = x + 1
		case tag&3 == 1:
			n, x = tag>>2&7+4, tag>>5<<8|x
		}
		if n > len(dst)-d {
			return errSnappy
		}
		if tag&3 == 0 {
			if n > len(src)-s {
				return errSnappy
			}
			copy(dst[d:d+n], src[s:])
			s += n
		} else {
			if x == 0 || x > d {
				return errSnappy
			}
			for i := d; i < d+n; i++ {
				dst[i] = dst[i-x]
			}
		}
		d += n
	}
	if d != len(dst) {
		return errSnappy
	}
	return nil
}

// decodeSnappyWords decodes until one of the ends is near, and tells how far it came.
func decodeSnappyWords(dst, src []byte) (d, s int, err error) {
	to, from := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	for s <= len(src)-snappyAhead && d <= len(dst)-snappyLeft {
		at, out := unsafe.Add(from, s), unsafe.Add(to, d)
		tag := uint(*(*uint8)(at))
		var n, off uint
		switch tag & 3 {
		case 0:
			n = tag>>2 + 1
			if n <= 16 {
				*(*[16]byte)(out) = *(*[16]byte)(unsafe.Add(at, 1))
				d, s = d+int(n), s+1+int(n)
				continue
			}
			if s++; n > 60 {
				extra := n - 60
				n = uint(word32(unsafe.Add(at, 1)))&(1<<(8*extra)-1) + 1
				s += int(extra)
			}
			if n > uint(len(src)-s) || n > uint(len(dst)-d) {
				return d, s, errSnappy
			}
			copy(dst[d:d+int(n)], src[s:])
			d, s = d+int(n), s+int(n)
			continue
		case 1:
			n, off = tag>>2&7+4, tag>>5<<8|uint(*(*uint8)(unsafe.Add(at, 1)))
			s += 2
			if n <= 8 && off >= n && off <= uint(d) {
				p := unsafe.Add(out, -int(off))
				*(*uint64)(out) = uint64(word32(p)) | uint64(word32(unsafe.Add(p, n-4)))<<((8*n-32)&63)
				d += int(n)
				continue
			}
		case 2:
			n, off = tag>>2+1, uint(*(*uint16)(unsafe.Add(at, 1)))
			s += 3
		default:
			n, off = tag>>2+1, uint(word32(unsafe.Add(at, 1)))
			s += 5
		}
		if off-1 >= uint(d) {
			return d, s, errSnappy
		}
		p := unsafe.Add(out, -int(off))
		d += int(n)
		if off < 8 { // what repeats is stored as often as it fits into a word, at a time
			unused := (64 - 8*off) & 63
			x := *(*uint64)(p) << unused >> unused * snappyRepeat[off]
			step := 8 / off * off
			for i := uint(0); i < n; i += step {
				*(*uint64)(unsafe.Add(out, i)) = x
			}
			continue
		}
		*(*uint64)(out) = *(*uint64)(p)
		*(*uint64)(unsafe.Add(out, 8)) = *(*uint64)(unsafe.Add(p, 8))
		for i := uint(16); i < n; i += 8 {
			*(*uint64)(unsafe.Add(out, i)) = *(*uint64)(unsafe.Add(p, i))
		}
	}
	return d, s, nil
}

// snappyRepeat has for each length of a pattern the factor that repeats it through a word.
var snappyRepeat = [8]uint64{1: 0x0101010101010101, 2: 0x0001000100010001, 3: 1 | 1<<24 | 1<<48, 4: 1 | 1<<32, 5: 1 | 1<<40, 6: 1 | 1<<48, 7: 1 | 1<<56}

func word32(p unsafe.Pointer) uint32 { return *(*uint32)(p) }
