package delta

import (
	"context"
	"fmt"
	"io"
	"math"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/store"
)

// wholeCheckpoint is up to which size a checkpoint file is read with one request instead of one per column chunk.
const wholeCheckpoint = 64 << 20

// heldFile is a file in memory.
type heldFile []byte

func (h heldFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(h)) {
		n = copy(p, h[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h heldFile) ReadRange(off, n int64) ([]byte, error) {
	if n > int64(len(h))-off {
		return nil, io.ErrUnexpectedEOF
	}
	return h[off : off+n : off+n], nil
}

// objectFile is a file that is read from its store, a range at a time.
type objectFile struct {
	ctx  context.Context
	b    store.Bucket
	key  string
	size int64
}

func (o *objectFile) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), o.size-off)
	if n <= 0 {
		return 0, io.EOF
	}
	data, err := o.ReadRange(off, n)
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return copy(p, data), err
}

func (o *objectFile) ReadRange(off, n int64) ([]byte, error) {
	return o.b.ReadRange(o.ctx, o.key, off, n)
}

// cursor walks over the levels of one leaf column of one row group. A nil cursor is a column that the file lacks: all
// null. Nullability of the file is taken from the file, names alone decide (delta.md §1.10).
type cursor struct {
	chunk *parquet.Chunk
	leaf  *parquet.Node
	left  int64 // rows that are not in vec yet
	pool  *parquet.Pool
	mem   *parquet.Lease // of vec

	vec   parquet.Vector
	i, vi int // entries and values of vec that were passed

	rep   uint8
	ended bool // there is no level more
	here  bool // the current level holds a value, at vi-1
	ahead bool // the current level belongs to a row that was not asked for yet
	err   error
}

const cursorBatch = 1024

func (c *cursor) fill() bool {
	n := min(c.left, cursorBatch)
	if n == 0 {
		return false
	}
	c.mem.Done()
	c.mem = c.pool.Lease()
	c.vec.Reset(c.mem)
	c.i, c.vi = 0, 0
	if err := c.chunk.Read(&c.vec, int(n)); err != nil {
		c.vec.N, c.err = 0, err
		return false
	}
	c.left -= n
	return c.vec.N > 0
}

// close gives memory back: what the cursor showed is not valid any more.
func (c *cursor) close() {
	c.mem.Done()
	c.chunk.Close()
}

// next goes to the next level.
func (c *cursor) next() bool {
	if c.i >= c.vec.N && (c.ended || c.err != nil || !c.fill()) {
		c.here, c.ended = false, true
		return false
	}
	c.here = c.vec.Defs == nil || c.vec.Defs[c.i] == c.leaf.MaxDef
	if c.vec.Reps != nil {
		c.rep = c.vec.Reps[c.i]
	}
	c.i++
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
	switch c.leaf.Type {
	case parquet.ByteArray:
		return c.vec.Data[c.vec.Offs[c.vi-1]:c.vec.Offs[c.vi]]
	case parquet.FixedLenByteArray:
		n := int(c.leaf.TypeLength)
		return c.vec.Data[n*(c.vi-1) : n*c.vi]
	}
	c.mismatch("text")
	return nil
}

func (c *cursor) str() string { return string(c.view()) }

func (c *cursor) int() int64 {
	switch c.leaf.Type {
	case parquet.Int64:
		return int64(c.vec.W8[c.vi-1])
	case parquet.Int32:
		return int64(int32(c.vec.W4[c.vi-1]))
	}
	c.mismatch("whole numbers")
	return 0
}

// float gives a number of a column that is FLOAT or DOUBLE.
func (c *cursor) float() float64 {
	if c.leaf.Type == parquet.Float {
		return float64(math.Float32frombits(c.vec.W4[c.vi-1]))
	}
	return math.Float64frombits(c.vec.W8[c.vi-1])
}

func (c *cursor) bool() bool {
	if c.leaf.Type == parquet.Boolean {
		return c.vec.W1[c.vi-1] != 0
	}
	c.mismatch("true or false")
	return false
}

func (c *cursor) mismatch(want string) {
	if c.err == nil {
		c.err = fmt.Errorf("column %s holds %s, not %s", c.leaf.Path(), c.leaf.Type, want)
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
