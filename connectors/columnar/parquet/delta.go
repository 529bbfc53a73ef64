package parquet

import "fmt"

// materialise decodes all values of a page whose encoding is not read value by value. n bounds their number.
func materialise(e Encoding, t Type, length int, b []byte, n int, v *Vector) error {
	switch {
	case e == DeltaBytes && (t == ByteArray || t == FixedLenByteArray):
		return v.deltaBytes(t, length, b, n)
	case e == ByteStreamSplit:
		return v.byteStreams(t, length, b)
	}
	return fmt.Errorf("%w: encoding %d of %s values", ErrUnsupported, e, t)
}

func (v *Vector) deltaBytes(t Type, length int, b []byte, n int) error {
	prefixes, used, err := packedInts(b, n)
	if err != nil {
		return err
	}
	b = b[used:]
	lengths, used, err := packedInts(b, n)
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
