package columnar

import (
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"sluice.io/sluice/connectors/columnar/parquet"
)

// Run is a range of rows, To not included.
type Run struct{ From, To int }

// RunRows counts the rows of runs.
func RunRows(runs []Run) int {
	n := 0
	for _, r := range runs {
		n += r.To - r.From
	}
	return n
}

// Select gives the rows of ascending or any other runs, in that order, as a record.
func Select(rec arrow.Record, runs []Run) (arrow.Record, error) {
	n := RunRows(runs)
	if len(runs) == 1 {
		return rec.NewSlice(int64(runs[0].From), int64(runs[0].To)), nil
	}
	cols := make([]arrow.Array, rec.NumCols())
	for i := range cols {
		d, err := selectData(rec.Column(i), runs, n, nil)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", rec.ColumnName(i), err)
		}
		cols[i] = array.MakeFromData(d)
	}
	return array.NewRecord(rec.Schema(), cols, int64(n)), nil
}

// SelectRows gives single rows, in the order of rows.
func SelectRows(rec arrow.Record, rows []int32) (arrow.Record, error) {
	runs := make([]Run, 0, len(rows))
	for _, r := range rows {
		if n := len(runs); n > 0 && runs[n-1].To == int(r) {
			runs[n-1].To++
			continue
		}
		runs = append(runs, Run{int(r), int(r) + 1})
	}
	return Select(rec, runs)
}

// selectArray is Select of one array, in the memory of a lease; nil runs are all rows.
func selectArray(a arrow.Array, runs []Run, mem *parquet.Lease) (arrow.Array, error) {
	switch {
	case runs == nil:
		return a, nil
	case len(runs) == 1:
		return array.NewSlice(a, int64(runs[0].From), int64(runs[0].To)), nil
	}
	d, err := selectData(a, runs, RunRows(runs), mem)
	if err != nil {
		return nil, err
	}
	return array.MakeFromData(d), nil
}

func selectData(a arrow.Array, runs []Run, n int, mem *parquet.Lease) (arrow.ArrayData, error) {
	var valid *memory.Buffer
	nulls := 0
	t := a.DataType()
	if t.ID() == arrow.NULL {
		return array.NewData(t, n, []*memory.Buffer{nil}, nil, n, 0), nil
	}
	if a.NullN() > 0 {
		b, set := selectBits(a.NullBitmapBytes(), a.Data().Offset(), runs, n)
		if nulls = n - set; nulls > 0 {
			valid = memory.NewBufferBytes(b)
		}
	}
	fixed := func(b *memory.Buffer) arrow.ArrayData {
		return array.NewData(t, n, []*memory.Buffer{valid, b}, nil, nulls, 0)
	}
	switch a := a.(type) {
	case *array.Boolean:
		b, _ := selectBits(a.Data().Buffers()[1].Bytes(), a.Data().Offset(), runs, n)
		return fixed(memory.NewBufferBytes(b)), nil
	case *array.Int8:
		return fixed(bufferOf(selectFixed[int8](a, runs, n, mem))), nil
	case *array.Int16:
		return fixed(bufferOf(selectFixed[int16](a, runs, n, mem))), nil
	case *array.Int32, *array.Float32, *array.Date32:
		return fixed(bufferOf(selectFixed[int32](a, runs, n, mem))), nil
	case *array.Int64, *array.Float64, *array.Timestamp:
		return fixed(bufferOf(selectFixed[int64](a, runs, n, mem))), nil
	case *array.Decimal128:
		return fixed(bufferOf(selectFixed[decimal128.Num](a, runs, n, mem))), nil
	case *array.String, *array.Binary:
		offs, data, err := selectStrings(a, runs, n, mem)
		if err != nil {
			return nil, err
		}
		return array.NewData(t, n, []*memory.Buffer{valid, bufferOf(offs), memory.NewBufferBytes(data)}, nil, nulls, 0), nil
	case *array.Struct:
		kids := make([]arrow.ArrayData, a.NumField())
		for i := range kids {
			d, err := selectData(a.Field(i), runs, n, mem)
			if err != nil {
				return nil, err
			}
			kids[i] = d
		}
		return array.NewData(t, n, []*memory.Buffer{valid}, kids, nulls, 0), nil
	case *array.Map:
		offs, inner, elems := selectLists(a.List, runs, n)
		k, err := selectData(a.Keys(), inner, elems, mem)
		if err != nil {
			return nil, err
		}
		v, err := selectData(a.Items(), inner, elems, mem)
		if err != nil {
			return nil, err
		}
		pairs := array.NewData(t.(*arrow.MapType).Elem(), elems, []*memory.Buffer{nil}, []arrow.ArrayData{k, v}, 0, 0)
		return array.NewData(t, n, []*memory.Buffer{valid, bufferOf(offs)}, []arrow.ArrayData{pairs}, nulls, 0), nil
	case *array.List:
		offs, inner, elems := selectLists(a, runs, n)
		e, err := selectData(a.ListValues(), inner, elems, mem)
		if err != nil {
			return nil, err
		}
		return array.NewData(t, n, []*memory.Buffer{valid, bufferOf(offs)}, []arrow.ArrayData{e}, nulls, 0), nil
	}
	return nil, fmt.Errorf("%w: rows of Arrow's %s are not selected", ErrType, t)
}

func selectFixed[T any](a arrow.Array, runs []Run, n int, mem *parquet.Lease) []T {
	out := parquet.RawIn[T](mem, n)
	if a.Len() == 0 {
		return out
	}
	src := view[T](a)
	for _, r := range runs {
		out = append(out, src[r.From:r.To]...)
	}
	return out
}

// selectBits copies bits and counts those that are set.
func selectBits(src []byte, off int, runs []Run, n int) (dst []byte, set int) {
	dst = make([]byte, (n+7)/8)
	at := 0
	for _, r := range runs {
		for i := off + r.From; i < off+r.To; i++ {
			if src[i>>3]>>(i&7)&1 == 1 {
				dst[at>>3] |= 1 << (at & 7)
				set++
			}
			at++
		}
	}
	return dst, set
}

func selectStrings(a arrow.Array, runs []Run, n int, mem *parquet.Lease) ([]int32, []byte, error) {
	src, data := stringParts(a)
	var size int64
	for _, r := range runs {
		size += int64(src[r.To] - src[r.From])
	}
	if size > math.MaxInt32 {
		return nil, nil, ErrFull
	}
	offs, out := append(parquet.RawIn[int32](mem, n+1), 0), parquet.RawIn[byte](mem, int(size))
	for _, r := range runs {
		base := int32(len(out)) - src[r.From]
		out = append(out, data[src[r.From]:src[r.To]]...)
		from := src[r.From+1 : r.To+1]
		at := len(offs)
		offs = offs[:at+len(from)]
		to := offs[at:]
		for i, o := range from {
			to[i] = o + base
		}
	}
	return offs, out, nil
}

func selectLists(l *array.List, runs []Run, n int) (offs []int32, inner []Run, elems int) {
	src := listOffsets(l)
	offs = make([]int32, 1, n+1)
	for _, r := range runs {
		from, to := src[r.From], src[r.To]
		base := int32(elems) - from
		for _, o := range src[r.From+1 : r.To+1] {
			offs = append(offs, o+base)
		}
		if to > from {
			inner = append(inner, Run{int(from), int(to)})
		}
		elems += int(to - from)
	}
	return offs, inner, elems
}

// Concat makes one record of many of the schema.
func Concat(s *arrow.Schema, recs []arrow.Record) (arrow.Record, error) {
	if len(recs) == 1 {
		return recs[0], nil
	}
	var n int64
	for _, r := range recs {
		n += r.NumRows()
	}
	cols := make([]arrow.Array, s.NumFields())
	for i := range cols {
		if n == 0 {
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, s.Field(i).Type, 0)
			continue
		}
		parts := make([]arrow.Array, len(recs))
		for k, r := range recs {
			parts[k] = r.Column(i)
		}
		c, err := array.Concatenate(parts, memory.DefaultAllocator)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", s.Field(i).Name, err)
		}
		cols[i] = c
	}
	return array.NewRecord(s, cols, n), nil
}
