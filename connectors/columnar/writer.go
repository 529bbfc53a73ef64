package columnar

import (
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// createdBy names the writer in footers. Some readers parse it: name, "version", number.
const createdBy = "sluice version 1.0.0"

// WriterOptions are the choices of a Writer. Zero values mean the defaults.
type WriterOptions struct {
	// Compression: snappy (default), zstd, gzip, lz4_raw, uncompressed.
	Compression string
	// RowGroupRows and RowGroupBytes (compressed) end a row group: 1 048 576 rows, 128 MiB.
	RowGroupRows, RowGroupBytes int64
	// StatsColumns is how many leaf columns have statistics: default 32, negative for all.
	StatsColumns int
	// StatsNames, where not nil, names the columns that have statistics, instead (delta.dataSkippingStatsColumns).
	StatsNames []string
	// StatsAlways are physical paths of columns that have statistics in any case: those that a table is clustered by.
	StatsAlways [][]string
	// Mapping makes the file's names physical and gives field ids.
	Mapping Mapping
	// Metadata goes to the footer.
	Metadata map[string]string
	// PageRows and PageBytes end a page: see parquet.WriterOptions.
	PageRows, PageBytes int
	// NoDictionary writes plain values always.
	NoDictionary bool
	// NoPacking writes integers without DELTA_BINARY_PACKED and strings without DELTA_BYTE_ARRAY, which Spark before 3.3 does not read.
	NoPacking bool
	// ExpectedRows is about how many rows the file will have, where that is known: columns of many values, each of them often, get dictionaries then.
	ExpectedRows int64
	// Buffers, where not nil, lends its memory to the writer, until Close: for those who write one file after another.
	Buffers *Buffers
	// Parallel is how many columns of a record are encoded at once, by goroutines that end with Write. 0: one.
	Parallel int
}

// Buffers is memory that one Writer leaves to the next. One Writer has it at a time.
type Buffers struct{ parquet parquet.Buffers }

func (b *Buffers) pages() *parquet.Buffers {
	if b == nil {
		return nil
	}
	return &b.parquet
}

// maxSlice is how many rows are turned into levels at once: bounds the memory of that.
const maxSlice = 1 << 16

// Writer writes records to one Parquet file. It belongs to one goroutine.
type Writer struct {
	schema schema.Schema
	opts   WriterOptions
	root   *parquet.Node
	w      *parquet.FileWriter
	shred  shredder
	rows   int64 // in the row group
	total  int64
	err    error
}

// NewWriter begins a file of a schema with logical names (partition columns left out). Columns of type void are not written.
func NewWriter(w io.Writer, s schema.Schema, opts WriterOptions) (*Writer, error) {
	codec, err := parquet.ParseCodec(opts.Compression)
	if err != nil {
		return nil, err
	}
	if opts.RowGroupRows <= 0 {
		opts.RowGroupRows = 1 << 20
	}
	if opts.RowGroupBytes <= 0 {
		opts.RowGroupBytes = 128 << 20
	}
	limit := opts.StatsColumns
	if limit == 0 {
		limit = DefaultStatsColumns
	}
	root, err := fileSchema(s, opts.Mapping)
	if err != nil {
		return nil, err
	}
	fw, err := parquet.NewFileWriter(w, root, parquet.WriterOptions{Codec: codec, CreatedBy: createdBy, KeyValue: opts.Metadata,
		PageRows: opts.PageRows, PageBytes: opts.PageBytes, NoDictionary: opts.NoDictionary, NoPacking: opts.NoPacking,
		ExpectedRows: min(opts.ExpectedRows, opts.RowGroupRows), Buffers: opts.Buffers.pages()})
	if err != nil {
		return nil, err
	}
	return &Writer{schema: s, opts: opts, root: root, w: fw,
		shred: shredder{w: fw, parallel: opts.Parallel, stats: newStatsTree(s, opts.Mapping, limit, opts.StatsNames, opts.StatsAlways)}}, nil
}

// Write appends the rows of a record, whose columns are those of the schema in the same order. The first error sticks.
func (w *Writer) Write(rec arrow.Record) error {
	if w.err != nil {
		return w.err
	}
	if int(rec.NumCols()) != len(w.schema.Fields) {
		return fmt.Errorf("%w: record of %d columns, the file has %d", ErrType, rec.NumCols(), len(w.schema.Fields))
	}
	for from := int64(0); from < rec.NumRows(); {
		n := min(rec.NumRows()-from, maxSlice, w.opts.RowGroupRows-w.rows)
		part := rec
		if n < rec.NumRows() {
			part = rec.NewSlice(from, from+n)
		}
		if w.err = w.shred.record(part, w.schema.Fields, w.root); w.err != nil {
			return w.err
		}
		from += n
		w.rows += n
		w.total += n
		if w.rows >= w.opts.RowGroupRows || w.w.Buffered() >= w.opts.RowGroupBytes {
			if w.err = w.flush(); w.err != nil {
				return w.err
			}
		}
	}
	return nil
}

func (w *Writer) flush() error {
	if w.rows == 0 {
		return nil
	}
	err := w.w.FlushRowGroup(w.rows)
	w.rows = 0
	return err
}

// Rows is the number of rows so far, Size about how many bytes they take.
func (w *Writer) Rows() int64 { return w.total }

// Size is about how many bytes the file has so far.
func (w *Writer) Size() int64 { return w.w.Size() + w.w.Buffered() }

// Close writes the rest and gives the file's statistics. The sink stays open. A file that failed gives its error again.
func (w *Writer) Close() (FileStats, error) {
	if w.err != nil {
		return FileStats{}, w.err
	}
	if w.err = w.flush(); w.err != nil {
		return FileStats{}, w.err
	}
	if w.err = w.w.Close(); w.err != nil {
		return FileStats{}, w.err
	}
	w.err = fmt.Errorf("file of %s rows is closed", strconv.FormatInt(w.total, 10))
	return FileStats{NumRecords: w.total, Columns: w.shred.stats.collect(w.w)}, nil
}
