package columnar

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

var (
	// ErrKind tells that a value is not of its column's type: nothing was appended.
	ErrKind = errors.New("value is not of its column's type")
	// ErrFull tells that a column holds 2 GiB of strings: take the record and go on.
	ErrFull = errors.New("batch is full")
)

// Builder collects rows as columns. Append one value to each column, then the next row. It belongs to one goroutine.
//
// The typed methods are for the hot path: they do not look at the column's kind, and a caller that mixes them up gets a
// record that says nonsense or a panic. Append checks.
type Builder struct {
	schema schema.Schema
	arrow  *arrow.Schema
	cols   []column
	err    error
}

// column is the memory of one column, or of a part of one.
type column struct {
	typ   schema.Type
	arrow arrow.DataType
	n     int
	nulls int
	valid []byte // bitmap; nil while there are no nulls

	bits []byte // boolean
	w1   []int8
	w2   []int16
	w4   []int32 // also float bits
	w8   []int64 // also double bits
	dec  []decimal128.Num
	offs []int32
	data []byte
	kids []column
}

// NewBuilder makes a builder of a schema. A type that Arrow has no counterpart of shows as an error of Append and NewRecord.
func NewBuilder(s schema.Schema) *Builder {
	b := &Builder{schema: s}
	if b.arrow, b.err = ArrowSchema(s); b.err != nil {
		b.arrow = arrow.NewSchema(nil, nil)
		return b
	}
	b.cols = make([]column, len(s.Fields))
	for i, f := range s.Fields {
		b.cols[i] = newColumn(f.Type, b.arrow.Field(i).Type)
	}
	return b
}

func newColumn(t schema.Type, at arrow.DataType) column {
	c := column{typ: t, arrow: at}
	switch t.Kind {
	case schema.Array:
		c.kids = []column{newColumn(*t.Elem, at.(*arrow.ListType).Elem())}
	case schema.Map:
		m := at.(*arrow.MapType)
		c.kids = []column{newColumn(*t.Key, m.KeyType()), newColumn(*t.Elem, m.ItemType())}
	case schema.Struct, schema.Variant:
		fields := t.Fields
		if t.Kind == schema.Variant {
			fields = variantFields
		}
		st := at.(*arrow.StructType)
		for i, f := range fields {
			c.kids = append(c.kids, newColumn(f.Type, st.Field(i).Type))
		}
	}
	return c
}

// Schema gives the schema of the rows.
func (b *Builder) Schema() schema.Schema { return b.schema }

// Len is the number of rows: of values that the longest column has.
func (b *Builder) Len() int {
	n := 0
	for i := range b.cols {
		n = max(n, b.cols[i].n)
	}
	return n
}

// Bytes is about how much memory the rows take.
func (b *Builder) Bytes() int64 {
	var n int64
	for i := range b.cols {
		n += b.cols[i].bytes()
	}
	return n
}

func (c *column) bytes() int64 {
	n := int64(len(c.bits) + len(c.valid) + len(c.w1) + 2*len(c.w2) + 4*len(c.w4) + 8*len(c.w8) + 16*len(c.dec) + 4*len(c.offs) + len(c.data))
	for i := range c.kids {
		n += c.kids[i].bytes()
	}
	return n
}

// Append appends a value to a column: null unless it is present. Integers of any kind fit an integer column in whose range
// they lie, a float fits a double column, a decimal one whose scale and precision hold it exactly.
func (b *Builder) Append(col int, v connectors.Value) error {
	if b.err != nil {
		return b.err
	}
	c := &b.cols[col]
	if err := c.append(v); err != nil {
		return fmt.Errorf("column %q: %w", b.schema.Fields[col].Name, err)
	}
	return nil
}

func (c *column) append(v connectors.Value) error {
	if v.State != connectors.Present {
		c.appendNull()
		return nil
	}
	mismatch := func() error { return fmt.Errorf("%w: %s in a column of %s", ErrKind, v.Kind, c.typ) }
	switch c.typ.Kind {
	case schema.Boolean:
		if v.Kind != schema.Boolean {
			return mismatch()
		}
		c.appendBool(v.Int != 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		if v.Kind < schema.Byte || v.Kind > schema.Long {
			return mismatch()
		}
		if !inRange(c.typ.Kind, v.Int) {
			return fmt.Errorf("%w: %d in a column of %s", ErrKind, v.Int, c.typ)
		}
		c.appendInt(v.Int)
	case schema.Date:
		if v.Kind != schema.Date || !inRange(schema.Integer, v.Int) {
			return mismatch()
		}
		c.appendInt(v.Int)
	case schema.Timestamp, schema.TimestampNTZ:
		if v.Kind != c.typ.Kind {
			return mismatch()
		}
		c.appendInt(v.Int)
	case schema.Float, schema.Double:
		if v.Kind != c.typ.Kind && !(v.Kind == schema.Float && c.typ.Kind == schema.Double) {
			return mismatch()
		}
		c.appendFloat(v.Float64())
	case schema.Decimal:
		if v.Kind != schema.Decimal {
			return mismatch()
		}
		n, ok := parseUnscaled(v.Str)
		if ok {
			n, ok = rescale(n, int(v.Int), c.typ.Scale)
		}
		if !ok || !fitsPrecision(n, c.typ.Precision) {
			return fmt.Errorf("%w: the decimal does not fit %s", ErrKind, c.typ)
		}
		c.appendDecimal(n)
	case schema.String, schema.Binary:
		if v.Kind != c.typ.Kind {
			return mismatch()
		}
		return c.appendString(v.Str)
	case schema.Array, schema.Map, schema.Struct, schema.Variant:
		if v.Kind != c.typ.Kind {
			return mismatch()
		}
		return c.appendNested(v.Kids())
	default:
		return mismatch()
	}
	return nil
}

func inRange(k schema.Kind, i int64) bool {
	switch k {
	case schema.Byte:
		return i >= math.MinInt8 && i <= math.MaxInt8
	case schema.Short:
		return i >= math.MinInt16 && i <= math.MaxInt16
	case schema.Integer:
		return i >= math.MinInt32 && i <= math.MaxInt32
	}
	return true
}

// appendNested takes back what it appended where a part does not fit.
func (c *column) appendNested(kids []connectors.Value) error {
	marks := make([]int, len(c.kids))
	for i := range c.kids {
		marks[i] = c.kids[i].n
	}
	undo := func(err error) error {
		for i := range c.kids {
			c.kids[i].truncate(marks[i])
		}
		return err
	}
	switch c.typ.Kind {
	case schema.Array:
		for i := range kids {
			if err := c.kids[0].append(kids[i]); err != nil {
				return undo(fmt.Errorf("element %d: %w", i, err))
			}
		}
	case schema.Map:
		if len(kids)%2 != 0 {
			return undo(fmt.Errorf("%w: map of %d parts", ErrKind, len(kids)))
		}
		for i := range kids {
			if i%2 == 0 && kids[i].State != connectors.Present {
				return undo(fmt.Errorf("%w: map with a null key", ErrKind))
			}
			if err := c.kids[i%2].append(kids[i]); err != nil {
				return undo(fmt.Errorf("map entry %d: %w", i/2, err))
			}
		}
	default:
		if len(kids) != len(c.kids) {
			return undo(fmt.Errorf("%w: %d members, %s has %d", ErrKind, len(kids), c.typ, len(c.kids)))
		}
		for i := range kids {
			if err := c.kids[i].append(kids[i]); err != nil {
				return undo(fmt.Errorf("member %d: %w", i, err))
			}
		}
	}
	c.present()
	if c.typ.Kind == schema.Array || c.typ.Kind == schema.Map {
		c.closeList()
	}
	return nil
}

// closeList notes where the list that ends here ends. c.n counts it already.
func (c *column) closeList() {
	if len(c.offs) == 0 {
		c.offs = append(c.offs, 0)
	}
	c.offs = append(c.offs, int32(c.kids[0].n))
}

// present counts one more value that is not null.
func (c *column) present() {
	if c.valid != nil {
		if c.n&7 == 0 {
			c.valid = append(c.valid, 0)
		}
		c.valid[c.n>>3] |= 1 << (c.n & 7)
	}
	c.n++
}

func (c *column) appendNull() {
	if c.valid == nil {
		c.valid = make([]byte, (c.n+7)/8, (c.n+7)/8+64)
		for i := range c.valid {
			c.valid[i] = 0xff
		}
		if r := c.n & 7; r != 0 {
			c.valid[len(c.valid)-1] = 1<<r - 1
		}
	}
	if c.n&7 == 0 {
		c.valid = append(c.valid, 0)
	}
	c.nulls++
	switch c.typ.Kind {
	case schema.Boolean:
		if c.n&7 == 0 {
			c.bits = append(c.bits, 0)
		}
	case schema.Byte:
		c.w1 = append(c.w1, 0)
	case schema.Short:
		c.w2 = append(c.w2, 0)
	case schema.Integer, schema.Float, schema.Date:
		c.w4 = append(c.w4, 0)
	case schema.Long, schema.Double, schema.Timestamp, schema.TimestampNTZ:
		c.w8 = append(c.w8, 0)
	case schema.Decimal:
		c.dec = append(c.dec, decimal128.Num{})
	case schema.String, schema.Binary:
		if len(c.offs) == 0 {
			c.offs = append(c.offs, 0)
		}
		c.offs = append(c.offs, int32(len(c.data)))
	case schema.Array, schema.Map:
		c.closeList()
	case schema.Struct, schema.Variant:
		for i := range c.kids {
			c.kids[i].appendNull()
		}
	}
	c.n++
}

func (c *column) appendBool(v bool) {
	if c.n&7 == 0 {
		c.bits = append(c.bits, 0)
	}
	if v {
		c.bits[c.n>>3] |= 1 << (c.n & 7)
	}
	c.present()
}

func (c *column) appendInt(i int64) {
	switch c.typ.Kind {
	case schema.Byte:
		c.w1 = append(c.w1, int8(i))
	case schema.Short:
		c.w2 = append(c.w2, int16(i))
	case schema.Integer, schema.Date:
		c.w4 = append(c.w4, int32(i))
	default:
		c.w8 = append(c.w8, i)
	}
	c.present()
}

func (c *column) appendFloat(f float64) {
	if c.typ.Kind == schema.Float {
		c.w4 = append(c.w4, int32(math.Float32bits(float32(f))))
	} else {
		c.w8 = append(c.w8, int64(math.Float64bits(f)))
	}
	c.present()
}

func (c *column) appendDecimal(n decimal128.Num) {
	c.dec = append(c.dec, n)
	c.present()
}

func (c *column) appendString(s string) error {
	if len(c.data)+len(s) > math.MaxInt32 {
		return ErrFull
	}
	if len(c.offs) == 0 {
		c.offs = append(c.offs, 0)
	}
	c.data = append(c.data, s...)
	c.offs = append(c.offs, int32(len(c.data)))
	c.present()
	return nil
}

// truncate takes back what was appended since the column had n values.
func (c *column) truncate(n int) {
	if n >= c.n {
		return
	}
	cut := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		b = b[:(n+7)/8]
		if r := n & 7; r != 0 {
			b[len(b)-1] &= 1<<r - 1
		}
		return b
	}
	if c.valid != nil {
		for i := n; i < c.n; i++ {
			if c.valid[i>>3]>>(i&7)&1 == 0 {
				c.nulls--
			}
		}
	}
	c.valid = cut(c.valid)
	switch c.typ.Kind {
	case schema.Boolean:
		c.bits = cut(c.bits)
	case schema.Byte:
		c.w1 = c.w1[:n]
	case schema.Short:
		c.w2 = c.w2[:n]
	case schema.Integer, schema.Float, schema.Date:
		c.w4 = c.w4[:n]
	case schema.Long, schema.Double, schema.Timestamp, schema.TimestampNTZ:
		c.w8 = c.w8[:n]
	case schema.Decimal:
		c.dec = c.dec[:n]
	case schema.String, schema.Binary:
		c.offs = c.offs[:n+1]
		c.data = c.data[:c.offs[n]]
	case schema.Array, schema.Map:
		c.offs = c.offs[:n+1]
		for i := range c.kids {
			c.kids[i].truncate(int(c.offs[n]))
		}
	case schema.Struct, schema.Variant:
		for i := range c.kids {
			c.kids[i].truncate(n)
		}
	}
	c.n = n
}

// AppendNull appends a null to a column of any type.
func (b *Builder) AppendNull(col int) { b.cols[col].appendNull() }

// AppendBool appends to a boolean column.
func (b *Builder) AppendBool(col int, v bool) { b.cols[col].appendBool(v) }

// AppendInt appends to a column of an integer type, of dates (days) or of timestamps (microseconds). The number must be in the
// column's range.
func (b *Builder) AppendInt(col int, i int64) { b.cols[col].appendInt(i) }

// AppendFloat appends to a float or double column.
func (b *Builder) AppendFloat(col int, f float64) { b.cols[col].appendFloat(f) }

// AppendDecimal appends to a decimal column an unscaled number that has its scale and fits its precision.
func (b *Builder) AppendDecimal(col int, n decimal128.Num) { b.cols[col].appendDecimal(n) }

// AppendString appends to a string or binary column. A column that would pass 2 GiB takes a null instead, and NewRecord
// gives no record: watch Bytes.
func (b *Builder) AppendString(col int, s string) {
	if err := b.cols[col].appendString(s); err != nil {
		b.err = err
		b.cols[col].appendNull()
	}
}

// AppendBinary is AppendString.
func (b *Builder) AppendBinary(col int, s string) { b.AppendString(col, s) }

// AppendBytes is AppendString of bytes, which are copied.
func (b *Builder) AppendBytes(col int, s []byte) {
	b.AppendString(col, unsafe.String(unsafe.SliceData(s), len(s)))
}

// NewRecord gives the rows as a record and starts afresh. Columns that have fewer values than the longest are filled up with
// nulls.
//
// It panics where strings passed 2 GiB in spite of AppendString's warning: the rows would be wrong.
func (b *Builder) NewRecord() arrow.Record { return b.record((*column).take) }

// View gives the rows as a record in the builder's own memory: it is valid until the next append, Reset or Release. It panics as
// NewRecord does.
func (b *Builder) View() arrow.Record { return b.record((*column).view) }

func (b *Builder) record(data func(*column) *array.Data) arrow.Record {
	if b.err != nil {
		panic("columnar: " + b.err.Error())
	}
	n := b.Len()
	arrs := make([]arrow.Array, len(b.cols))
	for i := range b.cols {
		c := &b.cols[i]
		for c.n < n {
			c.appendNull()
		}
		arrs[i] = array.MakeFromData(data(c))
	}
	return array.NewRecord(b.arrow, arrs, int64(n))
}

// Reset empties the builder and keeps its memory for the next rows.
func (b *Builder) Reset() {
	if errors.Is(b.err, ErrFull) {
		b.err = nil
	}
	for i := range b.cols {
		b.cols[i].reset()
	}
}

// Release gives the memory back. The builder is empty then, and can be used again.
func (b *Builder) Release() {
	for i := range b.cols {
		b.cols[i] = newColumn(b.schema.Fields[i].Type, b.arrow.Field(i).Type)
	}
}
