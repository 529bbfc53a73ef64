package delta

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"
)

// cpRow is one row of a checkpoint: exactly one member is set.
type cpRow struct {
	txn      *Txn
	add      *Add
	remove   *Remove
	metadata *Metadata
	protocol *Protocol
	domain   *DomainMetadata
	meta     *CheckpointMetadata
	sidecar  *Sidecar
}

// action names the member that is set.
func (r *cpRow) action() string {
	switch {
	case r.add != nil:
		return "add"
	case r.remove != nil:
		return "remove"
	case r.txn != nil:
		return "txn"
	case r.domain != nil:
		return "domainMetadata"
	case r.metadata != nil:
		return "metaData"
	case r.protocol != nil:
		return "protocol"
	case r.meta != nil:
		return "checkpointMetadata"
	}
	return "sidecar"
}

// cpColumn is a leaf of the checkpoint's schema, with how its levels and values are made.
type cpColumn struct {
	path string
	rows int    // that buf has
	buf  colBuf // of the row group that is being collected
	full colBuf // of the one that is being encoded
	emit func(c *colBuf, r *cpRow)
}

// add takes the n'th row of the row group, counted from 0. Those before it that were left out had other actions.
func (c *cpColumn) add(r *cpRow, n int) {
	c.pad(n)
	c.emit(&c.buf, r)
	c.rows++
}

// pad makes up for rows that were left out: nothing of their action is in this column.
func (c *cpColumn) pad(n int) {
	k := n - c.rows
	if k <= 0 {
		return
	}
	c.rows = n
	c.buf.defs = zeros(c.buf.defs, k)
	if c.buf.repeats {
		c.buf.reps = zeros(c.buf.reps, k)
	}
}

func zeros(s []int16, k int) []int16 {
	s = slices.Grow(s, k)
	at := len(s)
	s = s[:at+k]
	clear(s[at:])
	return s
}

// colBuf collects the levels and values of one column chunk.
type colBuf struct {
	repeats    bool // the column has repetition levels
	defs, reps []int16
	bytes      []parquet.ByteArray
	i64        []int64
	i32        []int32
	bools      []bool
	f32        []float32
	f64        []float64
	fixed      []parquet.FixedLenByteArray
}

func (c *colBuf) reset() {
	clear(c.bytes) // do not keep strings alive
	c.f32, c.f64, c.fixed = c.f32[:0], c.f64[:0], c.fixed[:0]
	c.defs, c.reps, c.bytes, c.i64, c.i32, c.bools = c.defs[:0], c.reps[:0], c.bytes[:0], c.i64[:0], c.i32[:0], c.bools[:0]
}

func (c *colBuf) level(def, rep int16) {
	c.defs = append(c.defs, def)
	if c.repeats {
		c.reps = append(c.reps, rep)
	}
}

func (c *colBuf) str(s string) {
	c.bytes = append(c.bytes, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// write puts the chunk that is full.
func (c *cpColumn) write(w file.ColumnChunkWriter) error {
	var err error
	b := &c.full
	switch w := w.(type) {
	case *file.ByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(b.bytes, b.defs, b.reps)
	case *file.Int64ColumnChunkWriter:
		_, err = w.WriteBatch(b.i64, b.defs, b.reps)
	case *file.Int32ColumnChunkWriter:
		_, err = w.WriteBatch(b.i32, b.defs, b.reps)
	case *file.BooleanColumnChunkWriter:
		_, err = w.WriteBatch(b.bools, b.defs, b.reps)
	case *file.Float32ColumnChunkWriter:
		_, err = w.WriteBatch(b.f32, b.defs, b.reps)
	case *file.Float64ColumnChunkWriter:
		_, err = w.WriteBatch(b.f64, b.defs, b.reps)
	case *file.FixedLenByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(b.fixed, b.defs, b.reps)
	default:
		err = fmt.Errorf("no writer for %T", w)
	}
	if err != nil {
		return fmt.Errorf("column %s: %w", c.path, err)
	}
	return nil
}

// cpBuilder makes schema nodes and columns together, depth first, so that both have the same order.
type cpBuilder struct {
	cols []*cpColumn
	err  error
}

var (
	optional = parquet.Repetitions.Optional
	required = parquet.Repetitions.Required
	repeated = parquet.Repetitions.Repeated
	noType   = pqschema.LogicalType(pqschema.NoLogicalType{})
	textType = pqschema.StringLogicalType{}
)

func (b *cpBuilder) leaf(path, name string, typ parquet.Type, logical pqschema.LogicalType, rep parquet.Repetition,
	emit func(*colBuf, *cpRow)) pqschema.Node {
	n, err := pqschema.NewPrimitiveNodeLogical(name, rep, logical, typ, -1, -1)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.cols = append(b.cols, &cpColumn{path: path, emit: emit})
	return n
}

// repeating is leaf for a column inside a list or map.
func (b *cpBuilder) repeating(path, name string, rep parquet.Repetition, emit func(*colBuf, *cpRow)) pqschema.Node {
	n := b.leaf(path, name, parquet.Types.ByteArray, textType, rep, emit)
	c := b.cols[len(b.cols)-1]
	c.buf.repeats, c.full.repeats = true, true
	return n
}

// sized is leaf for a leaf of a type that may have a length.
func (b *cpBuilder) sized(path, name string, l typedLeaf, emit func(*colBuf, *cpRow)) pqschema.Node {
	length := -1
	if l.length > 0 {
		length = l.length
	}
	n, err := pqschema.NewPrimitiveNodeLogical(name, optional, l.logical, l.typ, length, -1)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.cols = append(b.cols, &cpColumn{path: path, emit: emit})
	return n
}

func (b *cpBuilder) group(name string, rep parquet.Repetition, logical pqschema.LogicalType, kids ...pqschema.Node) pqschema.Node {
	var n *pqschema.GroupNode
	var err error
	if logical == noType {
		n, err = pqschema.NewGroupNode(name, rep, kids, -1)
	} else {
		n, err = pqschema.NewGroupNodeLogical(name, rep, kids, logical, -1)
	}
	if err != nil && b.err == nil {
		b.err = err
	}
	return n
}

// cpStruct builds a struct of the schema, at definition level depth. of gives the struct of a row, or nil and the level at
// which it is missing.
type cpStruct[T any] struct {
	b     *cpBuilder
	path  string
	depth int16
	of    func(*cpRow) (*T, int16)
}

func cpAction[T any](b *cpBuilder, name string, of func(*cpRow) *T) cpStruct[T] {
	return cpStruct[T]{b, name, 1, func(r *cpRow) (*T, int16) { return of(r), 0 }}
}

// value builds a leaf; put appends the value, or gives false for null.
func (a cpStruct[T]) value(name string, typ parquet.Type, logical pqschema.LogicalType, put func(*colBuf, *T) bool) pqschema.Node {
	return a.b.leaf(a.path+"."+name, name, typ, logical, optional, func(c *colBuf, r *cpRow) {
		x, def := a.of(r)
		if x != nil {
			def = a.depth
			if put(c, x) {
				def++
			}
		}
		c.level(def, 0)
	})
}

func (a cpStruct[T]) str(name string, get func(*T) string) pqschema.Node {
	return a.value(name, parquet.Types.ByteArray, textType, func(c *colBuf, x *T) bool { c.str(get(x)); return true })
}

// strOpt takes the empty string for null.
func (a cpStruct[T]) strOpt(name string, get func(*T) string) pqschema.Node {
	return a.value(name, parquet.Types.ByteArray, textType, func(c *colBuf, x *T) bool {
		s := get(x)
		if s != "" {
			c.str(s)
		}
		return s != ""
	})
}

func (a cpStruct[T]) long(name string, get func(*T) int64) pqschema.Node {
	return a.value(name, parquet.Types.Int64, noType, func(c *colBuf, x *T) bool { c.i64 = append(c.i64, get(x)); return true })
}

func (a cpStruct[T]) longOpt(name string, get func(*T) *int64) pqschema.Node {
	return a.value(name, parquet.Types.Int64, noType, func(c *colBuf, x *T) bool {
		v := get(x)
		if v != nil {
			c.i64 = append(c.i64, *v)
		}
		return v != nil
	})
}

func (a cpStruct[T]) int(name string, get func(*T) int32) pqschema.Node {
	return a.value(name, parquet.Types.Int32, noType, func(c *colBuf, x *T) bool { c.i32 = append(c.i32, get(x)); return true })
}

func (a cpStruct[T]) bool(name string, get func(*T) bool) pqschema.Node {
	return a.value(name, parquet.Types.Boolean, noType, func(c *colBuf, x *T) bool { c.bools = append(c.bools, get(x)); return true })
}

// list builds list<string>; nil is null.
func (a cpStruct[T]) list(name string, get func(*T) []string) pqschema.Node {
	el := a.b.repeating(a.path+"."+name, "element", optional, func(c *colBuf, r *cpRow) {
		x, def := a.of(r)
		if x == nil {
			c.level(def, 0)
			return
		}
		l := get(x)
		switch {
		case l == nil:
			c.level(a.depth, 0)
		case len(l) == 0:
			c.level(a.depth+1, 0)
		}
		for i, s := range l {
			c.level(a.depth+3, int16(min(i, 1)))
			c.str(s)
		}
	})
	return a.b.group(name, optional, pqschema.NewListLogicalType(), a.b.group("list", repeated, noType, el))
}

// entries visits a map; it gives false where the map is null.
type entries func(visit func(key, value string, null bool)) bool

// dict builds map<string,string>.
func (a cpStruct[T]) dict(name string, get func(*T) entries) pqschema.Node {
	emit := func(c *colBuf, r *cpRow, keys bool) {
		x, def := a.of(r)
		if x == nil {
			c.level(def, 0)
			return
		}
		n := int16(0)
		ok := get(x)(func(k, v string, null bool) {
			switch {
			case keys:
				c.level(a.depth+2, n)
				c.str(k)
			case null:
				c.level(a.depth+2, n)
			default:
				c.level(a.depth+3, n)
				c.str(v)
			}
			n = 1
		})
		if !ok {
			c.level(a.depth, 0)
		} else if n == 0 {
			c.level(a.depth+1, 0)
		}
	}
	path := a.path + "." + name
	key := a.b.repeating(path+".key", "key", required, func(c *colBuf, r *cpRow) { emit(c, r, true) })
	val := a.b.repeating(path+".value", "value", optional, func(c *colBuf, r *cpRow) { emit(c, r, false) })
	return a.b.group(name, optional, pqschema.MapLogicalType{}, a.b.group("key_value", repeated, noType, key, val))
}

// sortedEntries visits a map in the order of its keys: key and value columns are made in two passes, which must agree.
func sortedEntries(m map[string]string, nullable bool) entries {
	return func(visit func(k, v string, null bool)) bool {
		if m == nil && nullable {
			return false
		}
		for _, k := range sortedKeys(m) {
			visit(k, m[k], false)
		}
		return true
	}
}

func partitionEntries(p Partition) entries {
	return func(visit func(k, v string, null bool)) bool {
		for v := range p.All() {
			visit(v.Name, v.Value, v.Null)
		}
		return true
	}
}
