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
	d := c.view()
	c.again()
	return d
}

// view gives array data in the column's memory.
func (c *column) view() *array.Data {
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
		bufs, kids = []*memory.Buffer{valid, bufferOf(c.offs)}, []arrow.ArrayData{c.kids[0].view()}
	case schema.Map:
		if len(c.offs) == 0 {
			c.offs = []int32{0}
		}
		entries := c.kids[0].n
		k, v := c.kids[0].view(), c.kids[1].view()
		st := array.NewData(c.arrow.(*arrow.MapType).Elem(), entries, []*memory.Buffer{nil}, []arrow.ArrayData{k, v}, 0, 0)
		bufs, kids = []*memory.Buffer{valid, bufferOf(c.offs)}, []arrow.ArrayData{st}
	case schema.Struct, schema.Variant:
		bufs = []*memory.Buffer{valid}
		for i := range c.kids {
			kids = append(kids, c.kids[i].view())
		}
	}
	return array.NewData(c.arrow, n, bufs, kids, nulls, 0)
}

// again empties the column, whose memory is somebody else's now, with room for as many values as it had.
func (c *column) again() {
	fresh := column{typ: c.typ, arrow: c.arrow, kids: c.kids}
	for i := range fresh.kids {
		fresh.kids[i].again()
	}
	n := c.n
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

// reset empties the column and keeps its memory.
func (c *column) reset() {
	c.n, c.nulls, c.valid = 0, 0, nil
	c.bits, c.w1, c.w2, c.w4, c.w8, c.dec = c.bits[:0], c.w1[:0], c.w2[:0], c.w4[:0], c.w8[:0], c.dec[:0]
	c.offs, c.data = c.offs[:0], c.data[:0]
	for i := range c.kids {
		c.kids[i].reset()
	}
}

func bufferOf[T int8 | int16 | int32 | int64 | uint32 | uint64 | decimal128.Num](s []T) *memory.Buffer {
	var z T
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(z))))
}
