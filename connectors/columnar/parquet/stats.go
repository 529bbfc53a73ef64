package parquet

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Order says how values of a column compare, and so whether minimum and maximum are kept.
type Order uint8

// The orders.
const (
	Unordered Order = iota
	SignedInt       // INT32, INT64
	FloatOrder
	BytesOrder   // unsigned bytes, lexicographic
	DecimalOrder // big-endian two's complement of fixed length
)

// Stats are the statistics of the values that a ColumnWriter was given since they were last taken.
type Stats struct {
	Order Order
	// Values counts the values that are present, Nulls the entries without one.
	Values, Nulls int64
	// Has tells that there is a minimum and a maximum. A NaN takes them away: readers order it differently.
	Has, NaN bool
	// MinI and MaxI belong to SignedInt, MinF and MaxF to FloatOrder, MinB and MaxB to the others.
	MinI, MaxI int64
	MinF, MaxF float64
	MinB, MaxB []byte
}

// Merge adds o to s.
func (s *Stats) Merge(o *Stats) {
	s.Order = o.Order
	s.Values += o.Values
	s.Nulls += o.Nulls
	s.NaN = s.NaN || o.NaN
	if !o.Has {
		return
	}
	switch o.Order {
	case SignedInt:
		s.addInt(o.MinI)
		s.addInt(o.MaxI)
	case FloatOrder:
		s.addFloat(o.MinF)
		s.addFloat(o.MaxF)
	case BytesOrder, DecimalOrder:
		s.addBytes(o.MinB)
		s.addBytes(o.MaxB)
	}
}

func (s *Stats) addInt(x int64) {
	if !s.Has {
		s.Has, s.MinI, s.MaxI = true, x, x
		return
	}
	s.MinI, s.MaxI = min(s.MinI, x), max(s.MaxI, x)
}

func (s *Stats) addFloat(x float64) {
	if x != x {
		s.NaN = true
		return
	}
	if !s.Has {
		s.Has, s.MinF, s.MaxF = true, x, x
		return
	}
	if x < s.MinF {
		s.MinF = x
	}
	if x > s.MaxF {
		s.MaxF = x
	}
}

func (s *Stats) addBytes(b []byte) {
	switch {
	case !s.Has:
		s.Has = true
		s.MinB, s.MaxB = append([]byte(nil), b...), append([]byte(nil), b...)
	case s.less(b, s.MinB):
		s.MinB = append(s.MinB[:0], b...)
	case s.less(s.MaxB, b):
		s.MaxB = append(s.MaxB[:0], b...)
	}
}

func (s *Stats) less(a, b []byte) bool {
	if s.Order == DecimalOrder && len(a) > 0 && len(b) > 0 && (a[0]^b[0])&0x80 != 0 {
		return a[0]&0x80 != 0
	}
	return bytes.Compare(a, b) < 0
}

func (s *Stats) addInts4(v []uint32) {
	if len(v) == 0 {
		return
	}
	lo, hi := int32(v[0]), int32(v[0])
	for _, x := range v {
		lo, hi = min(lo, int32(x)), max(hi, int32(x))
	}
	s.addInt(int64(lo))
	s.addInt(int64(hi))
}

func (s *Stats) addInts8(v []uint64) {
	if len(v) == 0 {
		return
	}
	lo, hi := int64(v[0]), int64(v[0])
	for _, x := range v {
		lo, hi = min(lo, int64(x)), max(hi, int64(x))
	}
	s.addInt(lo)
	s.addInt(hi)
}

// maxStat bounds the length of a minimum or maximum in a footer.
const maxStat = 256

// encoded gives min_value and max_value of the footer; nil where there are none.
func (s *Stats) encoded(t Type) (lo, hi []byte) {
	if !s.Has || s.NaN {
		return nil, nil
	}
	switch t {
	case Int32:
		return binary.LittleEndian.AppendUint32(nil, uint32(s.MinI)), binary.LittleEndian.AppendUint32(nil, uint32(s.MaxI))
	case Int64:
		return binary.LittleEndian.AppendUint64(nil, uint64(s.MinI)), binary.LittleEndian.AppendUint64(nil, uint64(s.MaxI))
	case Float, Double:
		a, b := s.MinF, s.MaxF
		if a == 0 { // zeros compare equal: the format asks for the outer one
			a = math.Copysign(0, -1)
		}
		if b == 0 {
			b = math.Copysign(0, 1)
		}
		if t == Float {
			return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(a))), binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(b)))
		}
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(a)), binary.LittleEndian.AppendUint64(nil, math.Float64bits(b))
	}
	if len(s.MinB) > maxStat || len(s.MaxB) > maxStat {
		return nil, nil
	}
	return s.MinB, s.MaxB
}
