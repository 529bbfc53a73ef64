package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
)

// materialise decodes all values of a page whose encoding is not read value by value. n bounds their number.
func materialise(e Encoding, t Type, length int, b []byte, n int, v *Vector) error {
	switch {
	case e == DeltaBinaryPacked && (t == Int32 || t == Int64):
		nums, _, err := deltaInts(b, n)
		if err != nil {
			return err
		}
		v.Values = len(nums)
		if t == Int64 {
			v.W8 = nums
			return nil
		}
		v.W4 = make([]uint32, len(nums))
		for i, x := range nums {
			v.W4[i] = uint32(x)
		}
		return nil
	case e == DeltaLengthBytes && t == ByteArray:
		lengths, used, err := deltaInts(b, n)
		if err != nil {
			return err
		}
		return v.sliceBytes(lengths, b[used:])
	case e == DeltaBytes && (t == ByteArray || t == FixedLenByteArray):
		return v.deltaBytes(t, length, b, n)
	case e == ByteStreamSplit:
		return v.byteStreams(t, length, b)
	}
	return fmt.Errorf("%w: encoding %d of %s values", ErrUnsupported, e, t)
}

func (v *Vector) sliceBytes(lengths []uint64, b []byte) error {
	v.Offs = make([]int32, 1, len(lengths)+1)
	var end uint64
	for _, l := range lengths {
		if l > uint64(len(b))-end {
			return fmt.Errorf("%w: value of %d bytes, %d left in the page", ErrCorrupt, int64(l), uint64(len(b))-end)
		}
		end += l
		v.Offs = append(v.Offs, int32(end))
	}
	v.Data = append([]byte(nil), b[:end]...)
	v.Values = len(lengths)
	return nil
}

func (v *Vector) deltaBytes(t Type, length int, b []byte, n int) error {
	prefixes, used, err := deltaInts(b, n)
	if err != nil {
		return err
	}
	b = b[used:]
	lengths, used, err := deltaInts(b, n)
	if err != nil {
		return err
	}
	b = b[used:]
	if len(prefixes) != len(lengths) {
		return fmt.Errorf("%w: %d prefixes, %d suffixes", ErrCorrupt, len(prefixes), len(lengths))
	}
	v.Offs = make([]int32, 1, len(lengths)+1)
	last, end := 0, 0
	for i, l := range lengths {
		if prefixes[i] > uint64(end-last) || l > uint64(len(b)) {
			return fmt.Errorf("%w: value %d takes more than there is", ErrCorrupt, i)
		}
		size := int(prefixes[i]) + int(l)
		if end+size > maxPage || t == FixedLenByteArray && size != length {
			return fmt.Errorf("%w: value %d has %d bytes", ErrCorrupt, i, size)
		}
		v.Data = append(v.Data, v.Data[last:last+int(prefixes[i])]...)
		v.Data = append(v.Data, b[:l]...)
		b = b[l:]
		last, end = end, end+size
		v.Offs = append(v.Offs, int32(end))
	}
	v.Values = len(lengths)
	return nil
}

func (v *Vector) byteStreams(t Type, length int, b []byte) error {
	width := map[Type]int{Int32: 4, Float: 4, Int64: 8, Double: 8, FixedLenByteArray: length}[t]
	if width == 0 || len(b)%width != 0 {
		return fmt.Errorf("%w: %d bytes of split %s values", ErrCorrupt, len(b), t)
	}
	n := len(b) / width
	out := make([]byte, len(b)+slack)[:len(b)]
	for s := range width {
		stream := b[s*n : (s+1)*n]
		for i, c := range stream {
			out[i*width+s] = c
		}
	}
	v.Values = n
	switch {
	case t == FixedLenByteArray:
		v.Data = out
	case width == 4:
		v.W4 = append(v.W4, castTo[uint32](out, n)...)
	default:
		v.W8 = append(v.W8, castTo[uint64](out, n)...)
	}
	return nil
}

// deltaInts reads DELTA_BINARY_PACKED numbers and tells how many bytes they took.
func deltaInts(b []byte, limit int) ([]uint64, int, error) {
	short := fmt.Errorf("%w: packed numbers are cut off", ErrCorrupt)
	p := 0
	next := func() (uint64, bool) {
		x, n := binary.Uvarint(b[p:])
		if n <= 0 {
			return 0, false
		}
		p += n
		return x, true
	}
	block, ok1 := next()
	minis, ok2 := next()
	total, ok3 := next()
	first, ok4 := next()
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, 0, short
	}
	if block == 0 || block > 1<<20 || block%128 != 0 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0 {
		return nil, 0, fmt.Errorf("%w: packed numbers in blocks of %d with %d parts", ErrCorrupt, block, minis)
	}
	if total > uint64(limit) || total > math.MaxInt32 {
		return nil, 0, fmt.Errorf("%w: %d packed numbers in a page of %d values", ErrCorrupt, total, limit)
	}
	per := int(block / minis)
	out := make([]uint64, 0, min(int(total), 64*len(b)+1))
	if total == 0 {
		return out, p, nil
	}
	last := first>>1 ^ -(first & 1)
	out = append(out, last)
	for uint64(len(out)) < total {
		head, ok := next()
		if !ok || len(b)-p < int(minis) {
			return nil, 0, short
		}
		low := head>>1 ^ -(head & 1)
		widths := b[p : p+int(minis)]
		p += int(minis)
		for _, w := range widths {
			if uint64(len(out)) >= total {
				break
			}
			if w > 64 {
				return nil, 0, fmt.Errorf("%w: bit width %d", ErrCorrupt, w)
			}
			size := per * int(w) / 8
			if size > len(b)-p {
				return nil, 0, short
			}
			part := b[p : p+size]
			p += size
			for i := 0; i < per && uint64(len(out)) < total; i++ {
				last += low + bitsAt(part, i*int(w), uint(w))
				out = append(out, last)
			}
		}
	}
	return out, p, nil
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
