package silver

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
)

// rowKey is what the index needs of one row.
type rowKey struct {
	h       fold.Hash
	st      fold.Stamp
	row     int64
	carried bool
	// Of a row of a history: whether and where it ended, and of which event it is.
	ended bool
	end   fold.Stamp
	event string
	// source is its source table, where it tells one.
	source string
}

// keyReader computes hashes and sequences of the rows of a file.
type keyReader struct {
	m       *Merger
	sch     schema.Schema
	cols    []string
	types   []schema.Type // of cols
	keys    []int         // index in cols; of a table without key all source columns
	names   []string
	seq     int
	carried int
	end     int
	event   int
	source  int
	rescued int
	apart   bool // equal rows are told apart by their source tables
	buf     []byte
	// Of the record at hand: its key columns, and the sequences where none is NULL.
	rec     arrow.Record
	columns []keyColumn
	seqs    *array.Binary
}

// keyColumn is a column of the key; most keys are numbers, which are taken as they are.
type keyColumn struct {
	from   arrow.Array
	typ    schema.Type
	longs  []int64
	shorts []int32
}

func (c *keyColumn) at(i int) value {
	switch {
	case c.longs != nil:
		return connectors.Int(c.typ.Kind, c.longs[i])
	case c.shorts != nil:
		return connectors.Int(c.typ.Kind, int64(c.shorts[i]))
	}
	return columnar.ValueAt(c.from, c.typ, i)
}

// bind makes a record the one at hand.
func (r *keyReader) bind(rec arrow.Record) {
	r.rec, r.columns, r.seqs = rec, r.columns[:0], nil
	for _, k := range r.keys {
		c := keyColumn{from: rec.Column(k), typ: r.types[k]}
		if c.from.NullN() == 0 {
			switch a := c.from.(type) {
			case *array.Int64:
				c.longs = a.Int64Values()
			case *array.Int32:
				c.shorts = a.Int32Values()
			}
		}
		r.columns = append(r.columns, c)
	}
	if a, ok := rec.Column(r.seq).(*array.Binary); ok && a.NullN() == 0 {
		r.seqs = a
	}
}

func (m *Merger) keyReader(sch schema.Schema) *keyReader {
	r := &keyReader{m: m, sch: sch, seq: -1, carried: -1, end: -1, event: -1, source: -1, rescued: -1}
	src := evolve.New(sch, evolve.Policy{})
	if m.keyed() {
		for _, k := range m.keys {
			if i := src.BySource(k); i >= 0 {
				r.keys = append(r.keys, len(r.cols))
				r.cols = append(r.cols, src.Source[i].Name)
			}
		}
	} else {
		for i := range src.Source {
			r.keys = append(r.keys, len(r.cols))
			r.cols = append(r.cols, src.Source[i].Name)
			r.names = append(r.names, src.Source[i].Source)
		}
	}
	r.seq = len(r.cols)
	r.cols = append(r.cols, evolve.ColSequence)
	if sch.Index(evolve.ColCarried) >= 0 {
		r.carried = len(r.cols)
		r.cols = append(r.cols, evolve.ColCarried)
	}
	if sch.Index(evolve.ColEndSequence) >= 0 {
		r.end = len(r.cols)
		r.cols = append(r.cols, evolve.ColEndSequence)
	}
	if sch.Index(evolve.ColRescued) >= 0 {
		r.rescued = len(r.cols)
		r.cols = append(r.cols, evolve.ColRescued)
	}
	for _, c := range r.cols {
		r.types = append(r.types, sch.Fields[sch.Index(c)].Type)
	}
	if !m.keyed() && m.state != nil && (len(m.state.Topics) > 1 || sch.Index(evolve.ColSource) >= 0) {
		r.apart = true
		r.tellSource()
	}
	return r
}

// tellSource lets keys tell of which event and source table their rows are.
func (r *keyReader) tellSource() {
	if r.event < 0 {
		r.event = len(r.cols)
		r.cols = append(r.cols, evolve.ColEventID)
	}
	if r.source < 0 && r.sch.Index(evolve.ColSource) >= 0 {
		r.source = len(r.cols)
		r.cols = append(r.cols, evolve.ColSource)
	}
	for _, c := range r.cols[len(r.types):] {
		r.types = append(r.types, r.sch.Fields[r.sch.Index(c)].Type)
	}
}

// each calls f for each row of a file that want accepts; want nil: all.
func (r *keyReader) each(ctx context.Context, path string, size int64, want func(row int64) bool, f func(rowKey) error) error {
	file, err := r.m.openFile(ctx, path, size)
	if err != nil {
		return err
	}
	for b, err := range file.Read(ctx, columnar.ReadOptions{Columns: r.cols, Target: &r.sch}) {
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		for i := range int(b.Record.NumRows()) {
			if want != nil && !want(b.FirstRow+int64(i)) {
				continue
			}
			k, err := r.key(b, i)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := f(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// key takes the key of row i of a batch, which must have the columns r.cols.
func (r *keyReader) key(b columnar.Batch, i int) (rowKey, error) {
	k := rowKey{row: b.FirstRow + int64(i)}
	if r.rec != b.Record {
		r.bind(b.Record)
	}
	r.buf = r.buf[:0]
	var rescued evolve.Rescue
	if r.rescued >= 0 && !b.Record.Column(r.rescued).IsNull(i) {
		rescued = evolve.ParseRescue(columnar.ValueAt(b.Record.Column(r.rescued), r.types[r.rescued], i).Str)
	}
	for n := range r.columns {
		v := r.columns[n].at(i)
		r.buf = r.appendKey(r.buf, n, &v, rescued)
	}
	if r.event >= 0 {
		k.event = columnar.ValueAt(b.Record.Column(r.event), r.types[r.event], i).Str
	}
	if r.source >= 0 {
		k.source = sourceKey(columnar.ValueAt(b.Record.Column(r.source), r.types[r.source], i).Str)
	}
	if r.apart {
		r.buf = appendSource(r.buf, r.m.state, eventTopic(k.event), k.source)
	}
	k.h = fold.Sum(r.buf)
	var err error
	seq := ""
	if r.seqs != nil {
		seq = r.seqs.ValueString(i)
	} else {
		seq = columnar.ValueAt(b.Record.Column(r.seq), r.types[r.seq], i).Str
	}
	if k.st, err = fold.Parse(seq); err != nil {
		return k, fmt.Errorf("row %d has no sequence: it was not written by Sluice: %w", k.row, err)
	}
	if r.end >= 0 && !b.Record.Column(r.end).IsNull(i) {
		k.ended = true
		if k.end, err = fold.Parse(columnar.ValueAt(b.Record.Column(r.end), r.types[r.end], i).Str); err != nil {
			return k, fmt.Errorf("row %d: %s: %w", k.row, evolve.ColEndSequence, err)
		}
	}
	k.carried = r.carried >= 0 && !b.Record.Column(r.carried).IsNull(i)
	return k, nil
}

// appendKey appends a column of the key, or of a row that is hashed whole, and what of it was rescued.
func (r *keyReader) appendKey(dst []byte, n int, v *value, rescued evolve.Rescue) []byte {
	raw := ""
	if len(rescued) > 0 {
		_, raw, _ = rescued.Of(&r.sch.Fields[r.sch.Index(r.cols[r.keys[n]])])
	}
	if r.names != nil {
		return appendNamed(dst, r.names[n], v, raw)
	}
	return appendSaved(fold.AppendCanonical(dst, v), raw)
}

func appendSaved(dst []byte, raw string) []byte {
	if raw == "" {
		return dst
	}
	return fold.AppendRescued(dst, raw)
}

// pick calls f for the rows of a file that one of two deletion vectors has and the other has not. Where they are few, only
// they are read.
func (r *keyReader) pick(ctx context.Context, a *delta.Add, was, is *bitmap, f func(rowKey) error) error {
	differ := newBitmap()
	for _, b := range []*bitmap{was, is} {
		if b != nil {
			differ.Xor(b)
		}
	}
	n, known := a.NumRecords()
	if few := int64(differ.GetCardinality()); !known || few > 4096 && few > n/16 {
		return r.each(ctx, a.Path, a.Size, func(row int64) bool { return differ.Contains(uint64(row)) }, f)
	}
	rows := make([]int64, 0, differ.GetCardinality())
	for it := differ.Iterator(); it.HasNext(); {
		rows = append(rows, int64(it.Next()))
	}
	rec, err := r.m.readRows(ctx, a.Path, a.Size, r.cols, r.sch, rows)
	if err != nil {
		return err
	}
	defer rec.Release()
	for i, row := range rows {
		k, err := r.key(columnar.Batch{Record: rec}, i)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		k.row = row
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// appendNamed appends a column of a row that is hashed whole, and raw, what it could not hold; NULLs of which nothing was rescued are left out, so that a
// column that was added later changes no hash.
func appendNamed(dst []byte, name string, v *value, raw string) []byte {
	if raw == "" && (fold.Unknown(v) || v.Equal(nullValue)) {
		return dst
	}
	dst = append(dst, name...)
	dst = append(dst, 0)
	return appendSaved(fold.AppendCanonical(dst, v), raw)
}
