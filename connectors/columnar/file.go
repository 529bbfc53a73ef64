package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// DefaultBatchRows is how many rows a batch has where ReadOptions does not say: as many as a page has at most by the habit of all writers (and
// Writer), so that a batch is mostly a page of each column, which need not be copied.
const DefaultBatchRows = 20_000

// File is an open Parquet file. It is immutable: any number of goroutines may read it.
type File struct {
	r    io.ReaderAt
	meta *parquet.Meta
	err  error // why Schema is not known
	s    schema.Schema
}

// ReadOptions say what of a file is read, and as what.
type ReadOptions struct {
	// Columns names the top-level columns, in the order wanted. nil: all. With Target they are names of it.
	Columns []string
	// Target is the schema to read as, with logical names: columns that the file lacks are null, narrower types are
	// widened. nil: the file's own.
	Target *schema.Schema
	// Mapping says how the columns of Target are found.
	Mapping Mapping
	// RowGroups names the row groups, in ascending order. nil: all.
	RowGroups []int
	// BatchRows bounds a batch: default 20 000.
	BatchRows int
	// Block is how many bytes of a column are fetched at once: default 4 MiB.
	Block int
}

// Batch is a part of a file. Row i of Record is row FirstRow+i of the file.
type Batch struct {
	Record   arrow.Record
	FirstRow int64
}

// OpenFile reads the footer of a file of size bytes. r must allow concurrent use where the File is.
func OpenFile(ctx context.Context, r io.ReaderAt, size int64) (*File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := parquet.ReadMeta(r, size)
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	f := &File{r: r, meta: m}
	f.s.Fields, f.err = fileFields(m.Root.Children)
	return f, nil
}

// Schema gives the file's own schema.
func (f *File) Schema() (schema.Schema, error) { return f.s, f.err }

// NumRows is the number of rows.
func (f *File) NumRows() int64 { return f.meta.NumRows }

// Meta gives the footer. It must not be changed.
func (f *File) Meta() *parquet.Meta { return f.meta }

// plan is what ReadOptions ask for, of this file.
type plan struct {
	fields []*readNode
	arrow  *arrow.Schema
	leaves []*parquet.Node
}

func (f *File) plan(o ReadOptions) (*plan, error) {
	target := o.Target
	if target == nil {
		if f.err != nil {
			return nil, f.err
		}
		target = &f.s
		o.Mapping = MapNone
	}
	fields := target.Fields
	if o.Columns != nil {
		fields = make([]schema.Field, 0, len(o.Columns))
		for _, c := range o.Columns {
			i := target.Index(c)
			if i < 0 {
				i = target.IndexFold(c)
			}
			if i < 0 {
				return nil, fmt.Errorf("%w: there is no column %q", ErrType, c)
			}
			fields = append(fields, target.Fields[i])
		}
	}
	// A column that the table says has no nulls may be missing or null in the file: the reader does not judge.
	loose := make([]schema.Field, len(fields))
	for i, fl := range fields {
		fl.Nullable = true
		loose[i] = fl
	}
	p := &plan{}
	var err error
	if p.arrow, err = ArrowSchema(schema.Schema{Fields: loose}); err != nil {
		return nil, err
	}
	if p.fields, err = (planner{mapping: o.Mapping}).fields(fields, f.meta.Root.Children); err != nil {
		return nil, err
	}
	seen := map[*parquet.Node]bool{}
	for _, r := range p.fields {
		r.leaves(func(n *parquet.Node) {
			if !seen[n] {
				seen[n] = true
				p.leaves = append(p.leaves, n)
			}
		})
	}
	slices.SortFunc(p.leaves, func(a, b *parquet.Node) int { return a.Column - b.Column })
	return p, nil
}

// Readable tells why the file can't be read as ReadOptions ask, without reading it: nil where it can.
func (f *File) Readable(o ReadOptions) error {
	_, err := f.plan(o)
	return err
}

// Read gives the rows in order. The first error ends the sequence.
func (f *File) Read(ctx context.Context, o ReadOptions) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		p, err := f.plan(o)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		rows := o.BatchRows
		if rows <= 0 {
			rows = DefaultBatchRows
		}
		groups := o.RowGroups
		if groups == nil {
			groups = make([]int, len(f.meta.RowGroups))
			for i := range groups {
				groups[i] = i
			}
		}
		for _, g := range groups {
			if g < 0 || g >= len(f.meta.RowGroups) {
				yield(Batch{}, fmt.Errorf("there is no row group %d", g))
				return
			}
			rg := &f.meta.RowGroups[g]
			r := f.openGroup(p, g, o.Block)
			for at := int64(0); at < rg.NumRows; {
				if err := ctx.Err(); err != nil {
					yield(Batch{}, err)
					return
				}
				n := int(min(rg.NumRows-at, int64(rows)))
				rec, err := r.next(n)
				if err != nil {
					yield(Batch{}, fmt.Errorf("row group %d: %w", g, err))
					return
				}
				if !yield(Batch{rec, rg.FirstRow + at}, nil) {
					return
				}
				at += int64(n)
			}
		}
	}
}

// groupReader reads one row group.
type groupReader struct {
	plan   *plan
	chunks []*parquet.Chunk
	vecs   []parquet.Vector
	asm    assembler
}

func (f *File) openGroup(p *plan, g, block int) *groupReader {
	r := &groupReader{plan: p, vecs: make([]parquet.Vector, len(p.leaves)), asm: assembler{vectors: map[*parquet.Node]*parquet.Vector{}}}
	for i, l := range p.leaves {
		r.chunks = append(r.chunks, parquet.NewChunk(f.r, l, &f.meta.RowGroups[g].Columns[l.Column], block))
		r.asm.vectors[l] = &r.vecs[i]
	}
	return r
}

func (r *groupReader) skip(rows int) error {
	for _, c := range r.chunks {
		if err := c.Skip(rows); err != nil {
			return err
		}
	}
	return nil
}

// next makes a record of the next rows.
func (r *groupReader) next(rows int) (arrow.Record, error) {
	for i, c := range r.chunks {
		r.vecs[i].Reset()
		if err := c.Read(&r.vecs[i], rows); err != nil {
			return nil, err
		}
	}
	cols := make([]arrow.Array, len(r.plan.fields))
	for i, n := range r.plan.fields {
		d, err := r.asm.array(n, place{}, rows)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", r.plan.arrow.Field(i).Name, err)
		}
		cols[i] = array.MakeFromData(d)
	}
	return array.NewRecord(r.plan.arrow, cols, int64(rows)), nil
}

// errUnsorted tells that the rows of a point read are not in order.
var errUnsorted = errors.New("rows must ascend")

// ReadRowsAt reads single rows, which must be in ascending order, in one record. Pages without any of them are passed over.
func (f *File) ReadRowsAt(ctx context.Context, o ReadOptions, rows []int64) (arrow.Record, error) {
	p, err := f.plan(o)
	if err != nil {
		return nil, err
	}
	block := o.Block
	if block <= 0 {
		block = 128 << 10
	}
	var parts []arrow.Record
	at := 0
	for g := range f.meta.RowGroups {
		rg := &f.meta.RowGroups[g]
		end := rg.FirstRow + rg.NumRows
		if at == len(rows) || rows[at] >= end {
			continue
		}
		if rows[at] < rg.FirstRow {
			return nil, fmt.Errorf("%w: %d", errUnsorted, rows[at])
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := f.openGroup(p, g, block)
		pos := rg.FirstRow
		for at < len(rows) && rows[at] < end {
			if rows[at] < pos {
				return nil, fmt.Errorf("%w: %d", errUnsorted, rows[at])
			}
			if err := r.skip(int(rows[at] - pos)); err != nil {
				return nil, fmt.Errorf("row group %d: %w", g, err)
			}
			pos = rows[at]
			n := 1
			for at+n < len(rows) && rows[at+n] == pos+int64(n) && rows[at+n] < end && n < DefaultBatchRows {
				n++
			}
			rec, err := r.next(n)
			if err != nil {
				return nil, fmt.Errorf("row group %d: %w", g, err)
			}
			parts = append(parts, rec)
			pos += int64(n)
			at += n
		}
	}
	if at < len(rows) {
		return nil, fmt.Errorf("row %d is behind the end of the file, which has %d", rows[at], f.meta.NumRows)
	}
	return Concat(p.arrow, parts)
}
