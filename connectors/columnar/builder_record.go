package columnar

import (
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"sluice.io/sluice/connectors/schema"
)

// take moves the column's memory into array data. The next batch of about the same size gets memory for it at once.
func (c *column) take() *array.Data {
	var bufs []*memory.Buffer
	var kids []arrow.ArrayData
	var valid *memory.Buffer
	if c.nulls > 0 {
		valid = memory.NewBufferBytes(c.valid)
	}
	n, nulls := c.n, c.nulls
	switch c.typ.Kind {
	case schema.Void:
		bufs, nulls = []*memory.Buffer{nil}, n
	case schema.Boolean:
		bufs = []*memory.Buffer{valid, memory.NewBufferBytes(c.bits)}
	case schema.Byte:
		bufs = []*memory.Buffer{valid, bufferOf(c.w1)}
	case schema.Short:
		bufs = []*memory.Buffer{valid, bufferOf(c.w2)}
	case schema.Integer, schema.Float, schema.Date:
		bufs = []*memory.Buffer{valid, bufferOf(c.w4)}
	case schema.Long, schema.Double, schema.Timestamp, schema.TimestampNTZ:
		bufs = []*memory.Buffer{valid, bufferOf(c.w8)}
	case schema.Decimal:
		bufs = []*memory.Buffer{valid, bufferOf(c.dec)}
	case schema.String, schema.Binary:
		if len(c.offs) == 0 {
			c.offs = []int32{0}
		}
		bufs = []*memory.Buffer{valid, bufferOf(c.offs), memory.NewBufferBytes(c.data)}
	case schema.Array:
		if len(c.offs) == 0 {
			c.offs = []int32{0}
		}
		bufs, kids = []*memory.Buffer{valid, bufferOf(c.offs)}, []arrow.ArrayData{c.kids[0].take()}
	case schema.Map:
		if len(c.offs) == 0 {
			c.offs = []int32{0}
		}
		entries := c.kids[0].n
		k, v := c.kids[0].take(), c.kids[1].take()
		st := array.NewData(c.arrow.(*arrow.MapType).Elem(), entries, []*memory.Buffer{nil}, []arrow.ArrayData{k, v}, 0, 0)
		bufs, kids = []*memory.Buffer{valid, bufferOf(c.offs)}, []arrow.ArrayData{st}
	case schema.Struct, schema.Variant:
		bufs = []*memory.Buffer{valid}
		for i := range c.kids {
			kids = append(kids, c.kids[i].take())
		}
	}
	d := array.NewData(c.arrow, n, bufs, kids, nulls, 0)
	c.again(n)
	return d
}

// again empties the column, with room for another n values.
func (c *column) again(n int) {
	fresh := column{typ: c.typ, arrow: c.arrow, kids: c.kids}
	switch {
	case c.w8 != nil:
		fresh.w8 = make([]int64, 0, n)
	case c.w4 != nil:
		fresh.w4 = make([]int32, 0, n)
	case c.dec != nil:
		fresh.dec = make([]decimal128.Num, 0, n)
	case c.offs != nil:
		fresh.offs = make([]int32, 0, n+1)
		fresh.data = make([]byte, 0, len(c.data)+len(c.data)/8)
	}
	*c = fresh
}

func bufferOf[T int8 | int16 | int32 | int64 | uint32 | uint64 | decimal128.Num](s []T) *memory.Buffer {
	var z T
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(z))))
}
