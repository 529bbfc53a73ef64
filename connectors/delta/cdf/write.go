package cdf

import (
	"context"
	"fmt"
	"iter"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
)

// Folder is where change files lie, below the table's folder. VACUUM treats it as the table's own.
const Folder = "_change_data"

// WriteFile writes change rows as a new file and gives the action for it. sc is the schema of the table's columns in the
// records, without partition columns; behind them the records have one more column, _change_type, whose values are the
// constants of this package. The name is relative to Folder.
//
// A commit that has one such action must cover all its changes with them, inserts included: readers look at nothing else then.
func WriteFile(ctx context.Context, s *delta.Snapshot, name string, sc schema.Schema, recs iter.Seq2[arrow.Record, error], o rows.WriteOptions) (delta.AddCDC, error) {
	fields, err := rows.FileSchema(s, sc)
	if err != nil {
		return delta.AddCDC{}, err
	}
	// Pre-images may hold what the table no longer takes: nullability is not judged.
	for i := range fields.Fields {
		fields.Fields[i].Nullable = true
	}
	fields.Fields = append(fields.Fields, typeField)
	path := Folder + "/" + name
	size, _, err := rows.WriteRaw(ctx, s, path, fields, recs, o)
	if err != nil {
		return delta.AddCDC{}, fmt.Errorf("write change file %s of table %s: %w", path, s.Table().URL(), err)
	}
	return delta.AddCDC{Path: rows.EncodePath(path), PartitionValues: o.Partition, Size: size, Tags: o.Tags}, nil
}
