package columnar

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// view gives the memory of an array's fixed-width values, at its slice.
func view[T any](a arrow.Array) []T {
	b := a.Data().Buffers()[1].Bytes()
	var z T
	s := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(z)))
	off := a.Data().Offset()
	return s[off : off+a.Len()]
}

// stringParts gives offsets (of the slice) and data of a string or binary array.
func stringParts(a arrow.Array) (offs []int32, data []byte) {
	if a.Len() == 0 {
		return []int32{0}, nil
	}
	bufs := a.Data().Buffers()
	b := bufs[1].Bytes()
	offs = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
	off := a.Data().Offset()
	if bufs[2] != nil {
		data = bufs[2].Bytes()
	}
	return offs[off : off+a.Len()+1], data
}

// width tells which member of a Vector a leaf's values go to.
type width uint8

const (
	wBits width = iota
	w1
	w2
	w4
	w8
	wDec4
	wDec8
	wDecFixed
	wBytes
)

// layout gives the Arrow layout of a type; ok is false where the array is of another.
func layout(t schema.Type, a arrow.Array) (width, bool) {
	id := a.DataType().ID()
	switch t.Kind {
	case schema.Boolean:
		return wBits, id == arrow.BOOL
	case schema.Byte:
		return w1, id == arrow.INT8
	case schema.Short:
		return w2, id == arrow.INT16
	case schema.Integer:
		return w4, id == arrow.INT32
	case schema.Date:
		return w4, id == arrow.DATE32
	case schema.Float:
		return w4, id == arrow.FLOAT32
	case schema.Long:
		return w8, id == arrow.INT64
	case schema.Double:
		return w8, id == arrow.FLOAT64
	case schema.Timestamp, schema.TimestampNTZ:
		ts, ok := a.DataType().(*arrow.TimestampType)
		return w8, ok && ts.Unit == arrow.Microsecond
	case schema.String:
		return wBytes, id == arrow.STRING || id == arrow.BINARY
	case schema.Binary:
		return wBytes, id == arrow.BINARY || id == arrow.STRING
	case schema.Decimal:
		d, ok := a.DataType().(*arrow.Decimal128Type)
		ok = ok && int(d.Scale) == t.Scale
		switch {
		case t.Precision <= 9:
			return wDec4, ok
		case t.Precision <= 18:
			return wDec8, ok
		}
		return wDecFixed, ok
	}
	return 0, false
}

// num is the memory of a decimal128: low half first.
type num struct {
	lo uint64
	hi int64
}

func fillAll(v *parquet.Vector, t schema.Type, a arrow.Array) error {
	l, ok := layout(t, a)
	if !ok {
		return fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
	}
	if a.Len() == 0 {
		return nil
	}
	switch l {
	case wBits:
		b := a.(*array.Boolean)
		v.W1 = make([]uint8, b.Len())
		for i := range v.W1 {
			if b.Value(i) {
				v.W1[i] = 1
			}
		}
	case w1:
		s := view[int8](a)
		v.W4 = make([]uint32, len(s))
		for i, x := range s {
			v.W4[i] = uint32(int32(x))
		}
	case w2:
		s := view[int16](a)
		v.W4 = make([]uint32, len(s))
		for i, x := range s {
			v.W4[i] = uint32(int32(x))
		}
	case w4:
		v.W4 = view[uint32](a)
	case w8:
		v.W8 = view[uint64](a)
	case wDec4:
		s := view[num](a)
		v.W4 = make([]uint32, len(s))
		for i, x := range s {
			v.W4[i] = uint32(x.lo)
		}
	case wDec8:
		s := view[num](a)
		v.W8 = make([]uint64, len(s))
		for i, x := range s {
			v.W8[i] = x.lo
		}
	case wDecFixed:
		s := view[num](a)
		size := int(decimalBytes(t.Precision))
		v.Data = make([]byte, 0, len(s)*size)
		for _, x := range s {
			v.Data = appendFixed(v.Data, x, size)
		}
	case wBytes:
		v.Offs, v.Data = stringParts(a)
		v.Data = v.Data[:v.Offs[len(v.Offs)-1]]
	}
	return nil
}

func appendFixed(dst []byte, x num, size int) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(x.hi))
	binary.BigEndian.PutUint64(b[8:], x.lo)
	return append(dst, b[16-size:]...)
}

// fillValid takes the values that are not null.
func fillValid(v *parquet.Vector, t schema.Type, a arrow.Array) error {
	if l, ok := layout(t, a); ok && (l == w4 || l == w8 || l == wBytes) {
		n := a.Len() - a.NullN()
		v.Values = n
		switch l {
		case w4:
			v.W4 = compact(make([]uint32, 0, n), view[uint32](a), a)
		case w8:
			v.W8 = compact(make([]uint64, 0, n), view[uint64](a), a)
		default:
			// Nulls have no bytes where the array was built here; elsewhere they may.
			offs, data := stringParts(a)
			v.Offs, v.Data = make([]int32, 1, n+1), data
			v.Offs[0] = offs[0]
			if tight(offs, a) {
				eachRun(a, func(from, to int) { v.Offs = append(v.Offs, offs[from+1:to+1]...) })
				v.Data = data[:v.Offs[len(v.Offs)-1]]
				return nil
			}
			v.Offs[0], v.Data = 0, nil
			eachRun(a, func(from, to int) {
				base := int32(len(v.Data)) - offs[from]
				v.Data = append(v.Data, data[offs[from]:offs[to]]...)
				for _, o := range offs[from+1 : to+1] {
					v.Offs = append(v.Offs, o+base)
				}
			})
		}
		return nil
	}
	pick := make([]int32, 0, a.Len())
	for i := range a.Len() {
		if a.IsValid(i) {
			pick = append(pick, int32(i))
		}
	}
	v.Values = len(pick)
	return fillPicked(v, t, a, pick)
}

// tight tells that the nulls of a string array have no bytes.
func tight(offs []int32, a arrow.Array) bool {
	for i := range a.Len() {
		if offs[i] != offs[i+1] && a.IsNull(i) {
			return false
		}
	}
	return true
}

func compact[T any](dst, src []T, a arrow.Array) []T {
	eachRun(a, func(from, to int) { dst = append(dst, src[from:to]...) })
	return dst
}

// eachRun calls fn for each run of values that are not null.
func eachRun(a arrow.Array, fn func(from, to int)) {
	valid, off, n := a.NullBitmapBytes(), a.Data().Offset(), a.Len()
	at := func(i int) bool { p := off + i; return valid[p>>3]>>(p&7)&1 == 1 }
	for i := 0; i < n; {
		if !at(i) {
			if p := off + i; p&7 == 0 && n-i >= 8 {
				i += max(bits.TrailingZeros8(valid[p>>3]), 1)
				continue
			}
			i++
			continue
		}
		from := i
		for i < n && at(i) {
			if p := off + i; p&7 == 0 && n-i >= 8 {
				k := bits.TrailingZeros8(^valid[p>>3])
				i += max(k, 1)
				continue
			}
			i++
		}
		fn(from, i)
	}
}

// fillPicked takes the values that pick names.
func fillPicked(v *parquet.Vector, t schema.Type, a arrow.Array, pick []int32) error {
	l, ok := layout(t, a)
	if !ok {
		return fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
	}
	if len(pick) == 0 {
		return nil
	}
	switch l {
	case wBits:
		b := a.(*array.Boolean)
		for _, i := range pick {
			x := uint8(0)
			if b.Value(int(i)) {
				x = 1
			}
			v.W1 = append(v.W1, x)
		}
	case w4:
		s := view[uint32](a)
		v.W4 = make([]uint32, len(pick))
		for k, i := range pick {
			v.W4[k] = s[i]
		}
	case w8:
		s := view[uint64](a)
		v.W8 = make([]uint64, len(pick))
		for k, i := range pick {
			v.W8[k] = s[i]
		}
	case wBytes:
		offs, data := stringParts(a)
		v.Offs = make([]int32, 1, len(pick)+1)
		for _, i := range pick {
			v.Data = append(v.Data, data[offs[i]:offs[i+1]]...)
			v.Offs = append(v.Offs, int32(len(v.Data)))
		}
	default: // the narrow ones go through a copy of all
		all := &parquet.Vector{}
		if err := fillAll(all, t, a); err != nil {
			return err
		}
		size := int(0)
		if l == wDecFixed {
			size = int(decimalBytes(t.Precision))
		}
		for _, i := range pick {
			switch l {
			case w1, w2, wDec4:
				v.W4 = append(v.W4, all.W4[i])
			case wDec8:
				v.W8 = append(v.W8, all.W8[i])
			case wDecFixed:
				v.Data = append(v.Data, all.Data[int(i)*size:(int(i)+1)*size]...)
			}
		}
	}
	return nil
}
