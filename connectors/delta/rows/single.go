package rows

import (
	"context"
	"iter"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// Single is one file to be read on its own: a change file, or a part of a data file.
type Single struct {
	// File gives path, size and partition values. Its deletion vector is not looked at.
	File *delta.Add
	// Drop leaves out rows, Only leaves out all others. nil: none.
	Drop, Only *roaring64.Bitmap
	// Extra are columns that the file has besides the table's, found by name.
	Extra []schema.Field
}

// ReadSingle reads one file as the rows of a snapshot's table, with the columns of Extra behind the table's. Files and Where of the
// options do not count; columns that Options names may be of Extra.
func ReadSingle(ctx context.Context, s *delta.Snapshot, f Single, o Options) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		sc := s.Schema()
		sc.Fields = append(sc.Fields[:len(sc.Fields):len(sc.Fields)], f.Extra...)
		l, err := newLayout(sc, s.Metadata)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		o.Where, o.Files, o.Parallel, o.IncludeDeleted = nil, nil, 1, true
		r, err := newScanner(s.Table(), l, o)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		parts, err := partitionValues(f.File, l, o.Zone)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		op := r.open(ctx, f.File, parts)
		op.deleted = f.Drop
		if f.Only != nil && op.err == nil {
			not := roaring64.New()
			not.AddRange(0, uint64(op.file.NumRows()))
			not.AndNot(f.Only)
			if f.Drop != nil {
				not.Or(f.Drop)
			}
			op.deleted = not
		}
		r.decode(ctx, op, nil, func(i item) bool { return yield(i.batch, i.err) && i.err == nil })
	}
}

// WriteRaw streams records into the table's folder under a name, as a file of the fields given: nothing is compared with
// the table's schema. It is for files that are no data files; WriteFile writes those.
func WriteRaw(ctx context.Context, s *delta.Snapshot, name string, fields schema.Schema, recs iter.Seq2[arrow.Record, error], o WriteOptions) (size int64, stats columnar.FileStats, err error) {
	w, err := writerOptions(s, o)
	if err != nil {
		return 0, stats, err
	}
	return writeObject(ctx, s.Table(), name, fields, recs, w)
}

// FileSchema gives the table's own fields, with their metadata, for columns of a file.
func FileSchema(s *delta.Snapshot, sc schema.Schema) (schema.Schema, error) {
	return tableFields(s, sc)
}
