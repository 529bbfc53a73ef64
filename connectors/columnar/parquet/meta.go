package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Codec is a compression of pages, with the format's number.
type Codec int32

// The codecs.
const (
	Uncompressed Codec = iota
	Snappy
	Gzip
	LZO
	Brotli
	LZ4 // Hadoop's framing
	Zstd
	LZ4Raw
)

// Encoding is an encoding of values or levels, with the format's number.
type Encoding int32

// The encodings.
const (
	Plain             Encoding = 0
	PlainDictionary   Encoding = 2
	RLE               Encoding = 3
	BitPacked         Encoding = 4
	DeltaBinaryPacked Encoding = 5
	DeltaLengthBytes  Encoding = 6
	DeltaBytes        Encoding = 7
	RLEDictionary     Encoding = 8
	ByteStreamSplit   Encoding = 9
)

// Meta is a file's footer.
type Meta struct {
	Root      *Node
	Leaves    []*Node
	NumRows   int64
	RowGroups []RowGroup
	KeyValue  map[string]string
	CreatedBy string
}

// RowGroup describes a row group.
type RowGroup struct {
	// FirstRow is the number of rows in the row groups before this one.
	FirstRow int64
	NumRows  int64
	Columns  []ColumnChunk
}

// ColumnChunk describes a column of a row group.
type ColumnChunk struct {
	Codec        Codec
	NumValues    int64
	Uncompressed int64
	Compressed   int64
	// Offset is where the first page begins, a dictionary's included.
	Offset int64
	// Min and Max are the encoded statistics of min_value and max_value; nil where the file gives none.
	Min, Max  []byte
	NullCount int64 // -1: unknown
}

const (
	magic          = "PAR1"
	magicEncrypted = "PARE"
	footerTail     = 8
	// firstRead is how much of a file's end is read at once: most footers are smaller.
	firstRead = 64 << 10
)

// ReadMeta reads the footer of a file of size bytes.
func ReadMeta(r io.ReaderAt, size int64) (*Meta, error) {
	if size < int64(len(magic))+footerTail {
		return nil, fmt.Errorf("%w: %d bytes are too few for a file", ErrCorrupt, size)
	}
	buf := make([]byte, min(size, firstRead))
	if _, err := r.ReadAt(buf, size-int64(len(buf))); err != nil && err != io.EOF {
		return nil, err
	}
	tail := buf[len(buf)-footerTail:]
	switch string(tail[4:]) {
	case magic:
	case magicEncrypted:
		return nil, fmt.Errorf("%w: the file's footer is encrypted", ErrUnsupported)
	default:
		return nil, fmt.Errorf("%w: the file does not end with %s", ErrCorrupt, magic)
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n+footerTail+int64(len(magic)) > size {
		return nil, fmt.Errorf("%w: footer of %d bytes in a file of %d", ErrCorrupt, n, size)
	}
	if n+footerTail > int64(len(buf)) {
		buf = make([]byte, n)
		if _, err := r.ReadAt(buf, size-footerTail-n); err != nil && err != io.EOF {
			return nil, err
		}
	} else {
		buf = buf[int64(len(buf))-footerTail-n : len(buf)-footerTail]
	}
	return parseMeta(buf, size)
}

func parseMeta(b []byte, size int64) (*Meta, error) {
	t := &thriftReader{b: b}
	m := &Meta{}
	var elems []schemaElement
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 2 && typ == tList:
			n, _ := t.list()
			elems = make([]schemaElement, 0, min(n, 1024))
			for i := 0; i < n && t.err == nil; i++ {
				elems = append(elems, readSchemaElement(t))
			}
		case id == 3 && typ == tI64:
			m.NumRows = t.i64()
		case id == 4 && typ == tList:
			n, _ := t.list()
			for i := 0; i < n && t.err == nil; i++ {
				m.RowGroups = append(m.RowGroups, readRowGroup(t))
			}
		case id == 5 && typ == tList:
			n, _ := t.list()
			m.KeyValue = make(map[string]string, min(n, 64))
			for i := 0; i < n && t.err == nil; i++ {
				var k, v string
				t.fields(func(id int16, typ byte) {
					switch {
					case id == 1 && typ == tBinary:
						k = t.string()
					case id == 2 && typ == tBinary:
						v = t.string()
					default:
						t.skip(typ)
					}
				})
				m.KeyValue[k] = v
			}
		case id == 6 && typ == tBinary:
			m.CreatedBy = t.string()
		default:
			t.skip(typ)
		}
	})
	if t.err != nil {
		return nil, fmt.Errorf("read footer: %w", t.err)
	}
	root, err := buildTree(elems)
	if err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	m.Root = root
	if m.Leaves, err = Finish(root); err != nil {
		return nil, err
	}
	return m, m.check(size)
}

// check compares the row groups with the schema and the file's size.
func (m *Meta) check(size int64) error {
	var first int64
	for i := range m.RowGroups {
		g := &m.RowGroups[i]
		if len(g.Columns) != len(m.Leaves) {
			return fmt.Errorf("%w: row group %d has %d columns, the schema %d", ErrCorrupt, i, len(g.Columns), len(m.Leaves))
		}
		if g.NumRows < 0 || first+g.NumRows < first {
			return fmt.Errorf("%w: row group %d has %d rows", ErrCorrupt, i, g.NumRows)
		}
		g.FirstRow = first
		first += g.NumRows
		for c := range g.Columns {
			cc := &g.Columns[c]
			if cc.Offset < 0 || cc.Compressed < 0 || cc.Offset > size-cc.Compressed {
				return fmt.Errorf("%w: row group %d, column %s: bytes %d+%d lie outside the file of %d bytes", ErrCorrupt, i, m.Leaves[c].Path(), cc.Offset, cc.Compressed, size)
			}
			if cc.NumValues < 0 || m.Leaves[c].MaxRep == 0 && cc.NumValues != g.NumRows {
				return fmt.Errorf("%w: row group %d, column %s: %d values, %d rows", ErrCorrupt, i, m.Leaves[c].Path(), cc.NumValues, g.NumRows)
			}
		}
	}
	if m.NumRows != first {
		return fmt.Errorf("%w: the footer says %d rows, its row groups %d", ErrCorrupt, m.NumRows, first)
	}
	return nil
}

func readRowGroup(t *thriftReader) RowGroup {
	var g RowGroup
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tList:
			n, _ := t.list()
			g.Columns = make([]ColumnChunk, 0, min(n, 1024))
			for i := 0; i < n && t.err == nil; i++ {
				g.Columns = append(g.Columns, readColumnChunk(t))
			}
		case id == 3 && typ == tI64:
			g.NumRows = t.i64()
		default:
			t.skip(typ)
		}
	})
	return g
}

func readColumnChunk(t *thriftReader) ColumnChunk {
	c := ColumnChunk{NullCount: -1}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tBinary:
			if p := t.string(); p != "" {
				t.fail("column chunk lies in another file %q", p)
			}
		case id == 3 && typ == tStruct:
			readColumnMeta(t, &c)
		default:
			t.skip(typ)
		}
	})
	return c
}

func readColumnMeta(t *thriftReader, c *ColumnChunk) {
	var data, dict int64
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 4 && typ == tI32:
			c.Codec = Codec(t.i32())
		case id == 5 && typ == tI64:
			c.NumValues = t.i64()
		case id == 6 && typ == tI64:
			c.Uncompressed = t.i64()
		case id == 7 && typ == tI64:
			c.Compressed = t.i64()
		case id == 9 && typ == tI64:
			data = t.i64()
		case id == 11 && typ == tI64:
			dict = t.i64()
		case id == 12 && typ == tStruct:
			readStatistics(t, c)
		default:
			t.skip(typ)
		}
	})
	c.Offset = data
	if dict > 0 && dict < data {
		c.Offset = dict
	}
}

func readStatistics(t *thriftReader, c *ColumnChunk) {
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 3 && typ == tI64:
			c.NullCount = t.i64()
		case id == 5 && typ == tBinary:
			c.Max = append([]byte{}, t.bytes()...)
		case id == 6 && typ == tBinary:
			c.Min = append([]byte{}, t.bytes()...)
		default:
			t.skip(typ)
		}
	})
}
