package columnar

import (
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// dense are values without gaps, in the layout of their Arrow type. One member is set.
type dense struct {
	w1  []uint8 // booleans, one byte each; bytes
	w2  []uint16
	w4  []uint32
	w8  []uint64
	dec []decimal128.Num
	// strings
	offs []int32
	data []byte
}

// converter makes values of the wanted type out of what a page holds.
type converter func(*parquet.Vector) (dense, error)

// converterOf decides how the values of a leaf become a type: as they are, out of a legacy encoding, or widened (the
// changes of delta.md §1.12 that a file written before them needs).
func converterOf(n *parquet.Node, t schema.Type) (converter, error) {
	refuse := fmt.Errorf("%w: the file has %s (%s) where the table has %s", ErrType, describe(n), n.Type, t)
	unsigned := n.Logical == parquet.LogicalInt && !n.Signed
	plainInt := n.Logical == parquet.NoLogical || n.Logical == parquet.LogicalInt
	switch t.Kind {
	case schema.Boolean:
		if n.Type == parquet.Boolean {
			return func(v *parquet.Vector) (dense, error) { return dense{w1: v.W1}, nil }, nil
		}
	case schema.Byte:
		if n.Type == parquet.Int32 && plainInt {
			return narrow(math.MinInt8, math.MaxInt8, func(d *dense, w []uint32) {
				d.w1 = make([]uint8, len(w))
				for i, x := range w {
					d.w1[i] = uint8(x)
				}
			}), nil
		}
	case schema.Short:
		if n.Type == parquet.Int32 && plainInt {
			return narrow(math.MinInt16, math.MaxInt16, func(d *dense, w []uint32) {
				d.w2 = make([]uint16, len(w))
				for i, x := range w {
					d.w2[i] = uint16(x)
				}
			}), nil
		}
	case schema.Integer:
		if n.Type == parquet.Int32 && plainInt && !(unsigned && n.BitWidth == 32) {
			return same4, nil
		}
	case schema.Date:
		if n.Type == parquet.Int32 && (n.Logical == parquet.LogicalDate || n.Logical == parquet.NoLogical) {
			return same4, nil
		}
	case schema.Long:
		if n.Type == parquet.Int64 && (plainInt || n.Logical == parquet.LogicalTime) && !unsigned {
			return same8, nil
		}
		if n.Type == parquet.Int32 && unsigned {
			return widen8(func(x uint32) uint64 { return uint64(x) }), nil
		}
		if n.Type == parquet.Int32 && (plainInt || n.Logical == parquet.LogicalTime) {
			return widen8(func(x uint32) uint64 { return uint64(int64(int32(x))) }), nil
		}
	case schema.Float:
		if n.Type == parquet.Float {
			return same4, nil
		}
	case schema.Double:
		switch {
		case n.Type == parquet.Double:
			return same8, nil
		case n.Type == parquet.Float:
			return widen8(func(x uint32) uint64 { return math.Float64bits(float64(math.Float32frombits(x))) }), nil
		case n.Type == parquet.Int32 && plainInt && !unsigned:
			return widen8(func(x uint32) uint64 { return math.Float64bits(float64(int32(x))) }), nil
		}
	case schema.String:
		if n.Type == parquet.ByteArray && n.Logical != parquet.LogicalDecimal {
			return sameBytes, nil
		}
	case schema.Binary:
		if n.Type == parquet.ByteArray {
			return sameBytes, nil
		}
		if n.Type == parquet.FixedLenByteArray {
			return fixedBytes(int(n.TypeLength)), nil
		}
	case schema.Timestamp, schema.TimestampNTZ:
		return timeConverter(n, t, refuse)
	case schema.Decimal:
		return decimalConverter(n, t, refuse)
	}
	return nil, refuse
}

func same4(v *parquet.Vector) (dense, error)     { return dense{w4: v.W4}, nil }
func same8(v *parquet.Vector) (dense, error)     { return dense{w8: v.W8}, nil }
func sameBytes(v *parquet.Vector) (dense, error) { return dense{offs: v.Offs, data: v.Data}, nil }

func narrow(lo, hi int32, fn func(*dense, []uint32)) converter {
	return func(v *parquet.Vector) (dense, error) {
		for _, x := range v.W4 {
			if int32(x) < lo || int32(x) > hi {
				return dense{}, fmt.Errorf("%w: %d is outside %d…%d", ErrType, int32(x), lo, hi)
			}
		}
		var d dense
		fn(&d, v.W4)
		return d, nil
	}
}

func widen8(fn func(uint32) uint64) converter {
	return func(v *parquet.Vector) (dense, error) {
		out := make([]uint64, len(v.W4))
		for i, x := range v.W4 {
			out[i] = fn(x)
		}
		return dense{w8: out}, nil
	}
}

func fixedBytes(size int) converter {
	return func(v *parquet.Vector) (dense, error) {
		n := len(v.Data) / size
		offs := make([]int32, n+1)
		for i := range offs {
			offs[i] = int32(i * size)
		}
		return dense{offs: offs, data: v.Data}, nil
	}
}

func timeConverter(n *parquet.Node, t schema.Type, refuse error) (converter, error) {
	switch {
	case n.Type == parquet.Int96:
		return same8, nil
	case n.Type == parquet.Int64 && (n.Logical == parquet.NoLogical || n.Logical == parquet.LogicalTimestamp && n.Unit == parquet.Micros):
		return same8, nil
	case n.Type == parquet.Int64 && n.Logical == parquet.LogicalTimestamp && n.Unit == parquet.Millis:
		return func(v *parquet.Vector) (dense, error) {
			out := make([]uint64, len(v.W8))
			for i, x := range v.W8 {
				if ms := int64(x); ms > math.MaxInt64/1000 || ms < math.MinInt64/1000 {
					return dense{}, fmt.Errorf("%w: %d ms does not fit a timestamp", ErrType, ms)
				}
				out[i] = x * 1000
			}
			return dense{w8: out}, nil
		}, nil
	case n.Type == parquet.Int64 && n.Logical == parquet.LogicalTimestamp:
		return func(v *parquet.Vector) (dense, error) {
			out := make([]uint64, len(v.W8))
			for i, x := range v.W8 {
				out[i] = uint64(floorDiv(int64(x), 1000))
			}
			return dense{w8: out}, nil
		}, nil
	case n.Type == parquet.Int32 && n.Logical == parquet.LogicalDate && t.Kind == schema.TimestampNTZ:
		return widen8(func(x uint32) uint64 { return uint64(int64(int32(x)) * 86_400_000_000) }), nil
	}
	return nil, refuse
}

func decimalConverter(n *parquet.Node, t schema.Type, refuse error) (converter, error) {
	scale := 0
	switch {
	case n.Logical == parquet.LogicalDecimal:
		scale = int(n.Scale)
	case (n.Type == parquet.Int32 || n.Type == parquet.Int64) && (n.Logical == parquet.NoLogical || n.Logical == parquet.LogicalInt && n.Signed):
	default:
		return nil, refuse
	}
	// put checks each number: the file may hold a narrower type, or a wrong one.
	put := func(out []decimal128.Num, x decimal128.Num) ([]decimal128.Num, error) {
		y, ok := rescale(x, scale, t.Scale)
		if !ok || !fitsPrecision(y, t.Precision) {
			return out, fmt.Errorf("%w: %s does not fit %s", ErrType, string(appendDecimal(nil, x, scale)), t)
		}
		return append(out, y), nil
	}
	// The common case: the file's numbers are what the table wants, as they are.
	asIs := n.Logical == parquet.LogicalDecimal && scale == t.Scale && int(n.Precision) <= t.Precision
	switch {
	case asIs && n.Type == parquet.Int32:
		return func(v *parquet.Vector) (dense, error) {
			out := make([]decimal128.Num, len(v.W4))
			for i, x := range v.W4 {
				out[i] = decimal128.New(int64(int32(x))>>63, uint64(int64(int32(x))))
			}
			return dense{dec: out}, nil
		}, nil
	case asIs && n.Type == parquet.Int64:
		return func(v *parquet.Vector) (dense, error) {
			out := make([]decimal128.Num, len(v.W8))
			for i, x := range v.W8 {
				out[i] = decimal128.New(int64(x)>>63, x)
			}
			return dense{dec: out}, nil
		}, nil
	case asIs && n.Type == parquet.FixedLenByteArray && n.TypeLength <= 16:
		size := int(n.TypeLength)
		return func(v *parquet.Vector) (dense, error) {
			out := make([]decimal128.Num, v.Values)
			for i := range out {
				out[i] = numBE(v.Data[i*size : (i+1)*size])
			}
			return dense{dec: out}, nil
		}, nil
	}
	switch n.Type {
	case parquet.Int32:
		return func(v *parquet.Vector) (d dense, err error) {
			d.dec = make([]decimal128.Num, 0, len(v.W4))
			for _, x := range v.W4 {
				if d.dec, err = put(d.dec, decimal128.FromI64(int64(int32(x)))); err != nil {
					return d, err
				}
			}
			return d, nil
		}, nil
	case parquet.Int64:
		return func(v *parquet.Vector) (d dense, err error) {
			d.dec = make([]decimal128.Num, 0, len(v.W8))
			for _, x := range v.W8 {
				if d.dec, err = put(d.dec, decimal128.FromI64(int64(x))); err != nil {
					return d, err
				}
			}
			return d, nil
		}, nil
	case parquet.FixedLenByteArray:
		size := int(n.TypeLength)
		return func(v *parquet.Vector) (d dense, err error) {
			d.dec = make([]decimal128.Num, 0, v.Values)
			for i := range v.Values {
				x, ok := parseUnscaled(string(v.Data[i*size : (i+1)*size]))
				if !ok {
					return d, tooLong(v.Data[i*size : (i+1)*size])
				}
				if d.dec, err = put(d.dec, x); err != nil {
					return d, err
				}
			}
			return d, nil
		}, nil
	case parquet.ByteArray:
		return func(v *parquet.Vector) (d dense, err error) {
			d.dec = make([]decimal128.Num, 0, v.Values)
			for i := range v.Values {
				b := v.Data[v.Offs[i]:v.Offs[i+1]]
				x, ok := parseUnscaled(string(b))
				if !ok {
					return d, tooLong(b)
				}
				if d.dec, err = put(d.dec, x); err != nil {
					return d, err
				}
			}
			return d, nil
		}, nil
	}
	return nil, refuse
}

func tooLong(b []byte) error {
	if len(b) > 64 {
		return fmt.Errorf("%w: decimal of %d bytes", ErrType, len(b))
	}
	return fmt.Errorf("%w: decimal %s is longer than 38 digits", ErrType, connectors.Unscaled(string(b)))
}
