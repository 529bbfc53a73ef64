package delta

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"

	"sluice.io/sluice/connectors/store"
)

// wholeCheckpoint is up to which size a checkpoint file is read with one request instead of one per column chunk.
const wholeCheckpoint = 64 << 20

// rangeReader gives Arrow's reader random access to an object. It remembers the object's end, where the footer is.
type rangeReader struct {
	ctx  context.Context
	b    store.Bucket
	key  string
	size int64
	pos  int64
	tail []byte
}

const tailSize = 64 << 10

func (r *rangeReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), r.size-off)
	if at := r.size - int64(len(r.tail)); r.tail != nil && off >= at {
		copy(p, r.tail[off-at:])
	} else if at := max(0, r.size-tailSize); r.tail == nil && off >= at {
		tail, err := r.b.ReadRange(r.ctx, r.key, at, r.size-at)
		if err != nil {
			return 0, err
		}
		r.tail = tail
		copy(p, tail[off-at:])
	} else {
		data, err := r.b.ReadRange(r.ctx, r.key, off, n)
		if err != nil {
			return 0, err
		}
		copy(p, data)
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (r *rangeReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	r.pos = offset
	return offset, nil
}

func (r *rangeReader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	return n, err
}

// cursor walks over the levels of one leaf column of one row group. A nil cursor is a column that the file lacks: all
// null. Nullability of the file is taken from the file, names alone decide (delta.md §1.10).
type cursor struct {
	rd     file.ColumnChunkReader
	descr  *pqschema.Column
	maxDef int16
	maxRep int16

	n, i, vi   int
	defs, reps []int16
	bytes      []parquet.ByteArray
	fixed      []parquet.FixedLenByteArray
	i64        []int64
	i32        []int32
	f64        []float64
	f32        []float32
	bools      []bool

	def, rep int16
	ended    bool // there is no level more
	here     bool // the current level holds a value, at vi-1
	ahead    bool // the current level belongs to a row that was not asked for yet
	err      error
}

const cursorBatch = 1024

func newCursor(rg *file.RowGroupReader, col int) (*cursor, error) {
	rd, err := rg.Column(col)
	if err != nil {
		return nil, err
	}
	d := rd.Descriptor()
	return &cursor{rd: rd, descr: d, maxDef: d.MaxDefinitionLevel(), maxRep: d.MaxRepetitionLevel(),
		defs: make([]int16, cursorBatch), reps: make([]int16, cursorBatch)}, nil
}

func grow[T any](s []T) []T {
	if s == nil {
		return make([]T, cursorBatch)
	}
	return s
}

func (c *cursor) fill() bool {
	if !c.rd.HasNext() {
		c.err = c.rd.Err()
		return false
	}
	if c.maxDef == 0 {
		clear(c.defs)
	}
	if c.maxRep == 0 {
		clear(c.reps)
	}
	var n int64
	var err error
	switch rd := c.rd.(type) {
	case *file.ByteArrayColumnChunkReader:
		c.bytes = grow(c.bytes)
		n, _, err = rd.ReadBatch(cursorBatch, c.bytes, c.defs, c.reps)
	case *file.FixedLenByteArrayColumnChunkReader:
		c.fixed = grow(c.fixed)
		n, _, err = rd.ReadBatch(cursorBatch, c.fixed, c.defs, c.reps)
	case *file.Int64ColumnChunkReader:
		c.i64 = grow(c.i64)
		n, _, err = rd.ReadBatch(cursorBatch, c.i64, c.defs, c.reps)
	case *file.Int32ColumnChunkReader:
		c.i32 = grow(c.i32)
		n, _, err = rd.ReadBatch(cursorBatch, c.i32, c.defs, c.reps)
	case *file.Float64ColumnChunkReader:
		c.f64 = grow(c.f64)
		n, _, err = rd.ReadBatch(cursorBatch, c.f64, c.defs, c.reps)
	case *file.Float32ColumnChunkReader:
		c.f32 = grow(c.f32)
		n, _, err = rd.ReadBatch(cursorBatch, c.f32, c.defs, c.reps)
	case *file.BooleanColumnChunkReader:
		c.bools = grow(c.bools)
		n, _, err = rd.ReadBatch(cursorBatch, c.bools, c.defs, c.reps)
	default:
		err = fmt.Errorf("column %s is of the physical type %s", c.descr.Path(), c.descr.PhysicalType())
	}
	if err != nil {
		c.err = fmt.Errorf("column %s: %w", c.descr.Path(), err)
		return false
	}
	c.n, c.i, c.vi = int(n), 0, 0
	return n > 0
}

// next goes to the next level.
func (c *cursor) next() bool {
	if c.i >= c.n && (c.ended || c.err != nil || !c.fill()) {
		c.here, c.ended = false, true
		return false
	}
	c.def, c.rep = c.defs[c.i], c.reps[c.i]
	c.i++
	c.here = c.def == c.maxDef
	if c.here {
		c.vi++
	}
	return true
}

// row goes to the next row of a column that is not repeated, and tells whether it has a value.
func (c *cursor) row() bool {
	if c == nil {
		return false
	}
	return c.next() && c.here
}

// each visits the values of the next row of a repeated column.
func (c *cursor) each(visit func()) {
	if c == nil {
		return
	}
	if !c.ahead && !c.next() {
		return
	}
	c.ahead = false
	for {
		if c.here {
			visit()
		}
		if !c.next() {
			return
		}
		if c.rep == 0 {
			c.ahead = true
			return
		}
	}
}

// eachPair visits key and value of the next row of a map. The levels of the two columns run in step.
func eachPair(key, value *cursor, visit func(key string, value *cursor)) {
	if key == nil || value == nil {
		return
	}
	if !key.ahead && !(key.next() && value.next()) {
		return
	}
	key.ahead = false
	for {
		if key.here {
			visit(key.str(), value)
		}
		if !key.next() || !value.next() {
			return
		}
		if key.rep == 0 {
			key.ahead = true
			return
		}
	}
}

// view gives the bytes of the current value; they are valid until the next batch.
func (c *cursor) view() []byte {
	switch {
	case c.bytes != nil:
		return c.bytes[c.vi-1]
	case c.fixed != nil:
		return c.fixed[c.vi-1]
	}
	c.mismatch("text")
	return nil
}

func (c *cursor) str() string { return string(c.view()) }

func (c *cursor) int() int64 {
	switch {
	case c.i64 != nil:
		return c.i64[c.vi-1]
	case c.i32 != nil:
		return int64(c.i32[c.vi-1])
	}
	c.mismatch("whole numbers")
	return 0
}

func (c *cursor) bool() bool {
	if c.bools != nil {
		return c.bools[c.vi-1]
	}
	c.mismatch("true or false")
	return false
}

func (c *cursor) mismatch(want string) {
	if c.err == nil {
		c.err = fmt.Errorf("column %s holds %s, not %s", c.descr.Path(), c.descr.PhysicalType(), want)
	}
}

func (c *cursor) strOpt() string {
	if c.row() {
		return c.str()
	}
	return ""
}

func (c *cursor) intOpt() *int64 {
	if c.row() {
		v := c.int()
		return &v
	}
	return nil
}

func (c *cursor) intOr(def int64) int64 {
	if c.row() {
		return c.int()
	}
	return def
}

func (c *cursor) boolOr(def bool) bool {
	if c.row() {
		return c.bool()
	}
	return def
}
