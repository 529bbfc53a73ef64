package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

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
	// Block is how many bytes of a column are fetched at once: default parquet.DefaultBlock.
	Block int
	// Select tells which of the n rows from row first of the file on are wanted: ascending runs, counted from first, which are not
	// changed afterwards. It is called in the order of the rows. nil: all.
	Select func(first int64, n int) []Run
	// Pool is where memory comes from: what a batch has goes back to it with Batch.Done. nil: new memory.
	Pool *parquet.Pool
	// Slots makes columns be decoded at the same time, ahead of what is asked for: each at work holds a place in it. nil: one after
	// the other.
	Slots chan struct{}
}

// Batch is a part of a file: Rows rows from row FirstRow on, or those of them that Select wants.
type Batch struct {
	Record   arrow.Record
	FirstRow int64
	Rows     int
	// Runs are what Select wants; nil where all rows are there.
	Runs   []Run
	leases []*parquet.Lease
}

// Done gives the memory of the batch back to the pool that it is from, if any: the record must not be used any more.
func (b *Batch) Done() {
	for _, l := range b.leases {
		l.Done()
	}
	b.leases = nil
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
	mapping := o.Mapping
	if mapping == MapID && !hasFieldIDs(f.meta.Root) {
		mapping = MapName // a file without any id: of a writer that knows names only, as other engines take it
	}
	if p.fields, err = (planner{mapping: mapping}).fields(fields, f.meta.Root.Children); err != nil {
		return nil, err
	}
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
			if !f.readGroup(ctx, p, g, o, rows, yield) {
				return
			}
		}
	}
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
		r := f.openLane(p, p.all(), g, block, nil)
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
			cols, err := r.next(n, nil, nil)
			if err != nil {
				return nil, fmt.Errorf("row group %d: %w", g, err)
			}
			parts = append(parts, array.NewRecord(p.arrow, cols, int64(n)))
			pos += int64(n)
			at += n
		}
	}
	if at < len(rows) {
		return nil, fmt.Errorf("row %d is behind the end of the file, which has %d", rows[at], f.meta.NumRows)
	}
	return Concat(p.arrow, parts)
}
