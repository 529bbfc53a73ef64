package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// WriterOptions are the choices of a FileWriter. Zero values mean the defaults.
type WriterOptions struct {
	Codec Codec
	// PageRows and PageBytes (before compression) end a page: 20 000 rows, 1 MiB.
	PageRows, PageBytes int
	// NoDictionary writes plain values always.
	NoDictionary bool
	// NoPacking writes values that have no dictionary as they are, for readers that know no encoding but PLAIN and dictionaries. Else
	// integers become DELTA_BINARY_PACKED page by page, where that is smaller, and strings DELTA_BYTE_ARRAY, where that is no larger than compressing them.
	NoPacking bool
	// ExpectedRows is about how many rows a row group will have, where that is known: columns of many values, each of them often, get dictionaries then.
	ExpectedRows int64
	CreatedBy    string
	KeyValue     map[string]string
	// Buffers, where not nil, lends its memory to the writer: for those who write one file after another.
	Buffers *Buffers
}

// Buffers is memory that a FileWriter leaves to the next one of about the same columns. One writer has it at a time; it takes it
// in NewFileWriter and gives it back in Close, so that a writer that fails takes its memory along.
type Buffers struct{ columns []buffers }

// maxKept is up to how many bytes Buffers keeps of one buffer.
const maxKept = 8 << 20

// buffers is the memory of one ColumnWriter.
type buffers struct {
	plain, scratch, packed []byte
	pages                  pageList
	idx                    []uint32
	strings                splitStrings
	levels                 Vector
	dict                   *dictionary
}

// Size is about how many bytes are kept.
func (b *Buffers) Size() int64 {
	n := 0
	for i := range b.columns {
		k := &b.columns[i]
		n += cap(k.plain) + cap(k.scratch) + cap(k.packed) + cap(k.strings.rest) + 4*(cap(k.idx)+cap(k.strings.shared)+cap(k.strings.own)) + cap(k.levels.Reps)
		for _, b := range k.pages.free {
			n += cap(b)
		}
		if k.dict != nil {
			d := k.dict
			n += cap(d.plain) + 4*(cap(d.ends)+cap(d.slots)+cap(d.hashes))
		}
	}
	return int64(n)
}

func (b *Buffers) take(i int) buffers {
	if b == nil || i >= len(b.columns) {
		return buffers{}
	}
	out := b.columns[i]
	b.columns[i] = buffers{}
	return out
}

func (b *Buffers) give(i int, c *ColumnWriter) {
	if b == nil {
		return
	}
	for i >= len(b.columns) {
		b.columns = append(b.columns, buffers{})
	}
	k := buffers{idx: c.idx[:0], strings: c.strings, levels: Vector{Reps: c.levels.Reps[:0]}, dict: c.spare, pages: c.pages.kept(maxKept)}
	for to, from := range map[*[]byte][]byte{&k.plain: c.plain, &k.scratch: c.scratch, &k.packed: c.packed} {
		if cap(from) <= maxKept {
			*to = from[:0]
		}
	}
	b.columns[i] = k
}

// FileWriter writes a file, row group by row group. Nothing of a row group reaches the sink before FlushRowGroup. It belongs to
// one goroutine.
type FileWriter struct {
	w       io.Writer
	opts    WriterOptions
	root    *Node
	leaves  []*Node
	columns []*ColumnWriter
	pos     int64
	groups  []writtenGroup
	rows    int64
	total   []Stats
	err     error
}

type writtenGroup struct {
	rows, uncompressed, compressed int64
	columns                        []writtenColumn
}

type writtenColumn struct {
	ColumnChunk
	encodings []Encoding
	dictSize  int64
}

// NewFileWriter begins a file. root is the schema: Finish is called on it.
func NewFileWriter(w io.Writer, root *Node, opts WriterOptions) (*FileWriter, error) {
	if opts.PageRows <= 0 {
		opts.PageRows = 20_000
	}
	if opts.PageBytes <= 0 {
		opts.PageBytes = 1 << 20
	}
	leaves, err := Finish(root)
	if err != nil {
		return nil, err
	}
	f := &FileWriter{w: w, opts: opts, root: root, leaves: leaves, total: make([]Stats, len(leaves))}
	for i, l := range leaves {
		f.columns = append(f.columns, newColumnWriter(l, &f.opts, opts.Buffers.take(i)))
	}
	return f, f.write([]byte(magic))
}

// Column gives the writer of a leaf.
func (f *FileWriter) Column(i int) *ColumnWriter { return f.columns[i] }

// Leaves gives the leaves of the schema, in the order of columns.
func (f *FileWriter) Leaves() []*Node { return f.leaves }

// Buffered is about how many bytes the row group at work takes.
func (f *FileWriter) Buffered() int64 {
	var n int64
	for _, c := range f.columns {
		n += c.buffered()
	}
	return n
}

// Stats gives the statistics of a column over all row groups that were flushed.
func (f *FileWriter) Stats(i int) *Stats { return &f.total[i] }

// Size is how many bytes were written.
func (f *FileWriter) Size() int64 { return f.pos }

func (f *FileWriter) write(b []byte) error {
	if f.err != nil {
		return f.err
	}
	n, err := f.w.Write(b)
	f.pos += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	f.err = err
	return err
}

// FlushRowGroup writes the row group, which has this many rows, to the sink.
func (f *FileWriter) FlushRowGroup(rows int64) error {
	if f.err != nil {
		return f.err
	}
	g := writtenGroup{rows: rows, columns: make([]writtenColumn, 0, len(f.columns))}
	for i, c := range f.columns {
		dict, pages, cc, encodings, err := c.finish()
		if err != nil {
			f.err = fmt.Errorf("column %s: %w", f.leaves[i].Path(), err)
			return f.err
		}
		cc.Offset = f.pos
		for _, b := range slices.Concat(dict, pages) {
			if err := f.write(b); err != nil {
				return err
			}
		}
		g.columns = append(g.columns, writtenColumn{cc, encodings, sizeOf(dict)})
		g.uncompressed += cc.Uncompressed
		g.compressed += cc.Compressed
		f.total[i].Merge(&c.chunk)
		c.reset()
	}
	f.groups = append(f.groups, g)
	f.rows += rows
	return nil
}

// Close writes the footer. The sink stays open.
func (f *FileWriter) Close() error {
	if f.err != nil {
		return f.err
	}
	t := &thriftWriter{}
	t.i32(1, 1)
	t.list(2, tStruct, countNodes(f.root))
	writeNode(t, f.root, true)
	t.i64(3, f.rows)
	t.list(4, tStruct, len(f.groups))
	for i := range f.groups {
		f.writeGroup(t, &f.groups[i], i)
	}
	if len(f.opts.KeyValue) > 0 {
		keys := make([]string, 0, len(f.opts.KeyValue))
		for k := range f.opts.KeyValue {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		t.list(5, tStruct, len(keys))
		for _, k := range keys {
			t.begin(0)
			t.string(1, k)
			t.string(2, f.opts.KeyValue[k])
			t.end()
		}
	}
	if f.opts.CreatedBy != "" {
		t.string(6, f.opts.CreatedBy)
	}
	t.list(7, tStruct, len(f.leaves))
	for range f.leaves {
		t.begin(0)
		t.begin(1)
		t.end()
		t.end()
	}
	t.b = append(t.b, 0)
	t.b = binary.LittleEndian.AppendUint32(t.b, uint32(len(t.b)))
	if err := f.write(append(t.b, magic...)); err != nil {
		return err
	}
	for i, c := range f.columns {
		f.opts.Buffers.give(i, c)
	}
	f.columns = nil
	return nil
}

func (f *FileWriter) writeGroup(t *thriftWriter, g *writtenGroup, ordinal int) {
	t.begin(0)
	t.list(1, tStruct, len(g.columns))
	for i := range g.columns {
		c := &g.columns[i]
		t.begin(0)
		t.i64(2, c.Offset)
		t.begin(3)
		t.i32(1, int32(f.leaves[i].Type))
		t.list(2, tI32, len(c.encodings))
		for _, e := range c.encodings {
			t.b = binary.AppendVarint(t.b, int64(e))
		}
		path := f.leaves[i].path()
		t.list(3, tBinary, len(path))
		for _, p := range path {
			t.elemString(p)
		}
		t.i32(4, int32(c.Codec))
		t.i64(5, c.NumValues)
		t.i64(6, c.Uncompressed)
		t.i64(7, c.Compressed)
		t.i64(9, c.Offset+c.dictSize)
		if c.dictSize > 0 {
			t.i64(11, c.Offset)
		}
		t.begin(12)
		t.i64(3, c.NullCount)
		if c.Min != nil && c.Max != nil {
			t.bytes(5, c.Max)
			t.bytes(6, c.Min)
		}
		t.end()
		t.end()
		t.end()
	}
	t.i64(2, g.uncompressed)
	t.i64(3, g.rows)
	if len(g.columns) > 0 {
		t.i64(5, g.columns[0].Offset)
	}
	t.i64(6, g.compressed)
	t.field(7, tI16)
	t.b = binary.AppendVarint(t.b, int64(int16(ordinal)))
	t.end()
}

func countNodes(n *Node) int {
	k := 1
	for _, c := range n.Children {
		k += countNodes(c)
	}
	return k
}

func writeNode(t *thriftWriter, n *Node, root bool) {
	t.begin(0)
	if n.IsLeaf() {
		t.i32(1, int32(n.Type))
		if n.Type == FixedLenByteArray {
			t.i32(2, n.TypeLength)
		}
	}
	t.i32(3, int32(n.Rep))
	t.string(4, n.Name)
	if !n.IsLeaf() {
		t.i32(5, int32(len(n.Children)))
	}
	if c, ok := converted(n); ok {
		t.i32(6, c)
	}
	if n.Logical == LogicalDecimal {
		t.i32(7, n.Scale)
		t.i32(8, n.Precision)
	}
	if n.HasFieldID {
		t.i32(9, n.FieldID)
	}
	if !root {
		writeLogical(t, n)
	}
	t.end()
	for _, c := range n.Children {
		writeNode(t, c, false)
	}
}

func converted(n *Node) (int32, bool) {
	switch n.Logical {
	case LogicalString:
		return 0, true
	case LogicalMap:
		return 1, true
	case LogicalList:
		return 3, true
	case LogicalDecimal:
		return 5, true
	case LogicalDate:
		return 6, true
	case LogicalTimestamp:
		// The converted type means an instant, so a wall clock reading has none.
		if n.UTC && n.Unit == Micros {
			return 10, true
		}
	case LogicalInt:
		switch n.BitWidth {
		case 8:
			return 15, true
		case 16:
			return 16, true
		}
	}
	return 0, false
}

func writeLogical(t *thriftWriter, n *Node) {
	empty := func(id int16) {
		t.begin(10)
		t.begin(id)
		t.end()
		t.end()
	}
	switch n.Logical {
	case LogicalString:
		empty(1)
	case LogicalMap:
		empty(2)
	case LogicalList:
		empty(3)
	case LogicalDate:
		empty(6)
	case LogicalNull:
		empty(11)
	case LogicalDecimal:
		t.begin(10)
		t.begin(5)
		t.i32(1, n.Scale)
		t.i32(2, n.Precision)
		t.end()
		t.end()
	case LogicalTimestamp:
		t.begin(10)
		t.begin(8)
		t.bool(1, n.UTC)
		t.begin(2)
		t.begin(int16(n.Unit) + 1)
		t.end()
		t.end()
		t.end()
		t.end()
	case LogicalInt:
		t.begin(10)
		t.begin(10)
		t.i8(1, n.BitWidth)
		t.bool(2, n.Signed)
		t.end()
		t.end()
	}
}
