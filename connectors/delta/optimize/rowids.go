package optimize

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
)

// rowIDFields gives the columns that keep the ids of rows, and the versions that they are of, where the table tracks rows (PROTOCOL.md, "Row
// Tracking"): a row that moves to another file takes both along.
func rowIDFields(s *delta.Snapshot) (fields []schema.Field, ok bool, err error) {
	id, version, ok, err := s.RowIDColumns()
	if err != nil || !ok {
		return nil, false, err
	}
	long := schema.Of(schema.Long)
	return []schema.Field{{Name: id, Type: long, Nullable: true}, {Name: version, Type: long, Nullable: true}}, true, nil
}

// trackedRows is liveRows with the columns of rowIDFields behind the others: as the file has them, else as its add action implies.
func trackedRows(ctx context.Context, s *delta.Snapshot, b Bin, cols []string, ids []schema.Field, n *int64) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) {
		for _, f := range b.Files {
			if f.BaseRowID == nil || f.DefaultRowCommitVersion == nil {
				yield(nil, fmt.Errorf("table %s tracks rows, and %s has no baseRowId or defaultRowCommitVersion", s.Table().URL(), f.Path))
				return
			}
			gone, err := rows.DeletedRows(ctx, s.Table(), f)
			if err != nil {
				yield(nil, err)
				return
			}
			o := rows.Options{Columns: append(slices.Clone(cols), ids[0].Name, ids[1].Name), Positions: true}
			for batch, err := range rows.ReadSingle(ctx, s, rows.Single{File: f, Drop: gone, Extra: ids}, o) {
				if err != nil {
					yield(nil, err)
					return
				}
				arrays := slices.Clone(batch.Record.Columns())
				k := len(cols)
				arrays[k] = orElse(arrays[k], func(i int) int64 { return *f.BaseRowID + batch.Positions[i] })
				arrays[k+1] = orElse(arrays[k+1], func(int) int64 { return *f.DefaultRowCommitVersion })
				*n += batch.Record.NumRows()
				if !yield(array.NewRecord(batch.Record.Schema(), arrays, batch.Record.NumRows()), nil) {
					return
				}
			}
		}
	}
}

// orElse puts values in the place of nulls.
func orElse(a arrow.Array, value func(i int) int64) arrow.Array {
	from, _ := a.(*array.Int64)
	if from != nil && from.NullN() == 0 {
		return a
	}
	b := array.NewInt64Builder(memory.DefaultAllocator)
	b.Reserve(a.Len())
	for i := range a.Len() {
		if from != nil && from.IsValid(i) {
			b.UnsafeAppend(from.Value(i))
		} else {
			b.UnsafeAppend(value(i))
		}
	}
	return b.NewArray()
}
