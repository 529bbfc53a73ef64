package columnar

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// assembler makes Arrow arrays out of what the leaves of one batch hold.
type assembler struct {
	vectors map[*parquet.Node]*parquet.Vector
	mem     *parquet.Lease
}

// place says which level entries of a leaf are a value of a node: those that do not repeat deeper than rep, and whose
// definition reaches def.
type place struct{ rep, def uint8 }

// array makes the node's array of n values.
func (a *assembler) array(r *readNode, p place, n int) (arrow.ArrayData, error) {
	switch {
	case r.missing:
		return nullData(r.arrow, n), nil
	case r.leaf != nil:
		return a.leafData(r, p, n)
	}
	switch r.typ.Kind {
	case schema.Struct, schema.Variant:
		return a.structData(r, p, n)
	}
	return a.listData(r, p, n)
}

func nullData(t arrow.DataType, n int) arrow.ArrayData {
	return array.MakeArrayOfNull(memory.DefaultAllocator, t, n).Data()
}

func (a *assembler) structData(r *readNode, p place, n int) (arrow.ArrayData, error) {
	var valid []byte
	nulls := 0
	if r.levels == nil {
		return nil, fmt.Errorf("%w: struct without columns", parquet.ErrUnsupported)
	}
	v := a.vectors[r.levels]
	if v.Defs != nil {
		// A struct reads its levels from a leaf that may repeat below it.
		valid = make([]byte, (n+7)/8)
		i := 0
		for k, d := range v.Defs {
			if d < p.def || v.Reps != nil && v.Reps[k] > p.rep {
				continue
			}
			if i >= n {
				return nil, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
			}
			if d >= r.def {
				valid[i>>3] |= 1 << (i & 7)
			} else {
				nulls++
			}
			i++
		}
		if i != n {
			return nil, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
		}
	}
	var buf *memory.Buffer
	if nulls > 0 {
		buf = memory.NewBufferBytes(valid)
	}
	kids := make([]arrow.ArrayData, len(r.kids))
	for i, k := range r.kids {
		d, err := a.array(k, p, n)
		if err != nil {
			return nil, err
		}
		kids[i] = d
	}
	return array.NewData(r.arrow, n, []*memory.Buffer{buf}, kids, nulls, 0), nil
}

func (a *assembler) listData(r *readNode, p place, n int) (arrow.ArrayData, error) {
	v := a.vectors[r.levels]
	offs := make([]int32, 1, n+1)
	valid := make([]byte, (n+7)/8)
	nulls, elems := 0, int32(0)
	own, elem := r.rep.MaxRep, r.rep.MaxDef
	for k, d := range v.Defs {
		rep := v.Reps[k]
		switch {
		case rep <= p.rep: // begins a slot of the list, or of something around it that is null
			if d < p.def {
				continue
			}
			i := len(offs) - 1
			if i >= n {
				return nil, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
			}
			if d >= r.def {
				valid[i>>3] |= 1 << (i & 7)
			} else {
				nulls++
			}
			if d >= elem {
				elems++
			}
			offs = append(offs, elems)
		case rep <= own: // one more element
			if d < elem || len(offs) == 1 {
				return nil, fmt.Errorf("%w: list element without a list", parquet.ErrCorrupt)
			}
			elems++
			offs[len(offs)-1] = elems
		}
	}
	if len(offs) != n+1 {
		return nil, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
	}
	var buf *memory.Buffer
	if nulls > 0 {
		buf = memory.NewBufferBytes(valid)
	}
	inner := place{rep: own, def: elem}
	kids := make([]arrow.ArrayData, len(r.kids))
	for i, k := range r.kids {
		d, err := a.array(k, inner, int(elems))
		if err != nil {
			return nil, err
		}
		kids[i] = d
	}
	bufs := []*memory.Buffer{buf, bufferOf(offs)}
	if r.typ.Kind == schema.Map {
		if kids[0].NullN() > 0 {
			return nil, fmt.Errorf("%w: map with a null key", parquet.ErrCorrupt)
		}
		pairs := array.NewData(r.arrow.(*arrow.MapType).Elem(), int(elems), []*memory.Buffer{nil}, kids, 0, 0)
		kids = []arrow.ArrayData{pairs}
	}
	return array.NewData(r.arrow, n, bufs, kids, nulls, 0), nil
}

func (a *assembler) leafData(r *readNode, p place, n int) (arrow.ArrayData, error) {
	v := a.vectors[r.leaf]
	d, err := r.conv(v)
	if err != nil {
		return nil, err
	}
	valid, nulls, err := validity(v, p, r.leaf.MaxDef, n)
	if err != nil {
		return nil, err
	}
	if n-nulls != v.Values {
		return nil, fmt.Errorf("%w: %d values where the levels say %d", parquet.ErrCorrupt, v.Values, n-nulls)
	}
	var buf *memory.Buffer
	if nulls > 0 {
		buf = memory.NewBufferBytes(valid)
	}
	bufs := []*memory.Buffer{buf, nil}
	switch {
	case r.typ.Kind == schema.Boolean:
		bufs[1] = memory.NewBufferBytes(packBools(spread(a.mem, d.w1, valid, n, nulls)))
	case d.offs != nil || r.typ.Kind == schema.String || r.typ.Kind == schema.Binary:
		bufs[1] = bufferOf(spreadOffsets(a.mem, d.offs, valid, n, nulls))
		bufs = append(bufs, memory.NewBufferBytes(d.data))
	case r.typ.Kind == schema.Decimal:
		bufs[1] = bufferOf(spread(a.mem, d.dec, valid, n, nulls))
	case r.typ.Kind == schema.Byte:
		bufs[1] = memory.NewBufferBytes(spread(a.mem, d.w1, valid, n, nulls))
	case r.typ.Kind == schema.Short:
		s := spread(a.mem, d.w2, valid, n, nulls)
		bufs[1] = memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s)))
	case d.w4 != nil || r.typ.Kind == schema.Integer || r.typ.Kind == schema.Float || r.typ.Kind == schema.Date:
		bufs[1] = bufferOf(spread(a.mem, d.w4, valid, n, nulls))
	default:
		bufs[1] = bufferOf(spread(a.mem, d.w8, valid, n, nulls))
	}
	return array.NewData(r.arrow, n, bufs, nil, nulls, 0), nil
}

// validity makes the bitmap of the n values of a leaf; nil where none is null.
func validity(v *parquet.Vector, p place, top uint8, n int) (valid []byte, nulls int, err error) {
	if v.Defs == nil {
		if v.N != n {
			return nil, 0, fmt.Errorf("%w: %d values, %d rows", parquet.ErrCorrupt, v.N, n)
		}
		return nil, 0, nil
	}
	if v.Values == n {
		return nil, 0, nil
	}
	valid = make([]byte, (n+7)/8+8)
	if p.def == 0 && v.Reps == nil {
		if v.N != n {
			return nil, 0, fmt.Errorf("%w: %d values, %d rows", parquet.ErrCorrupt, v.N, n)
		}
		return packLevels(valid, v.Defs, top), n - v.Values, nil
	}
	i := 0
	for _, d := range v.Defs {
		if d < p.def {
			continue
		}
		if i >= n {
			return nil, 0, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
		}
		if d == top {
			valid[i>>3] |= 1 << (i & 7)
		} else {
			nulls++
		}
		i++
	}
	if i != n {
		return nil, 0, fmt.Errorf("%w: levels of columns do not agree", parquet.ErrCorrupt)
	}
	return valid[:(n+7)/8], nulls, nil
}

// packLevels makes the bitmap of the levels that equal top.
func packLevels(dst, levels []uint8, top uint8) []byte {
	n := len(levels)
	i := 0
	if top == 1 {
		for ; i+8 <= n; i += 8 {
			dst[i>>3] = byte(binary.LittleEndian.Uint64(levels[i:]) * 0x0102040810204080 >> 56)
		}
	}
	for ; i < n; i++ {
		if levels[i] == top {
			dst[i>>3] |= 1 << (i & 7)
		}
	}
	return dst[:(n+7)/8]
}

// spread makes room for the nulls: value i goes to the place of the i'th bit that is set.
func spread[T any](mem *parquet.Lease, s []T, valid []byte, n, nulls int) []T {
	if nulls == 0 {
		return s
	}
	out := parquet.RawIn[T](mem, n)[:n]
	clear(out) // what nulls have is the same each time
	at := 0
	for w := 0; w < (n+7)/8; w++ {
		b := valid[w]
		if b == 0xff {
			at += copy(out[8*w:8*w+8], s[at:])
			continue
		}
		for b != 0 {
			out[8*w+bits.TrailingZeros8(b)] = s[at]
			at++
			b &= b - 1
		}
	}
	return out
}

func spreadOffsets(mem *parquet.Lease, offs []int32, valid []byte, n, nulls int) []int32 {
	if len(offs) == 0 {
		offs = []int32{0}
	}
	if nulls == 0 {
		return offs
	}
	out := parquet.RawIn[int32](mem, n+1)[:n+1]
	out[0] = offs[0]
	at := 0
	for i := range n {
		if valid[i>>3]>>(i&7)&1 == 1 {
			at++
		}
		out[i+1] = offs[at]
	}
	return out
}

// packBools makes a bitmap of one-byte booleans.
func packBools(b []uint8) []byte { return packLevels(make([]byte, (len(b)+7)/8+8), b, 1) }
