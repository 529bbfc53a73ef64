package optimize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/vacuum"
)

// TestTablesWithConstraints looks after a table into which we may write no rows, for we have no SQL: what is there keeps its constraints.
func TestTablesWithConstraints(t *testing.T) {
	ctx := context.Background()
	s := newTable(t).Cached()
	for i := range 4 {
		s = add(t, s, fmt.Sprintf("f%d", i), "x", int64(i))
	}
	s = del(t, s, map[string][]uint64{"f1": {0}}) // which takes the file out, too
	meta := *s.Metadata
	line := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return append(b, '\n')
	}
	conf := map[string]string{"delta.constraints.positive": "id >= 0"}
	for k, v := range meta.Configuration {
		conf[k] = v
	}
	foreign := slices.Concat(
		line(map[string]any{"protocol": map[string]any{"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": []string{"deletionVectors"},
			"writerFeatures": []string{"deletionVectors", "checkConstraints"}}}),
		line(map[string]any{"metaData": map[string]any{"id": meta.ID, "format": map[string]any{"provider": "parquet", "options": map[string]string{}},
			"schemaString": meta.SchemaString, "partitionColumns": meta.PartitionColumns, "configuration": conf}}))
	if err := s.Table().Bucket().PutIfAbsent(ctx, fmt.Sprintf("t/_delta_log/%020d.json", s.Version+1), foreign); err != nil {
		t.Fatal(err)
	}
	s, err := s.Table().Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := ids(t, s)
	var unsupported *delta.UnsupportedError
	c := s.Table().NewCommit(s)
	c.Append(delta.Add{Path: "new", Size: 1, PartitionValues: delta.NewPartition(delta.PartitionValue{Name: "p", Value: "x"}), Stats: `{"numRecords":1}`})
	if out := c.Do(ctx); !errors.As(out.Err, &unsupported) {
		t.Errorf("rows are appended: %v", out.Err)
	}
	res, err := Run(ctx, s.Table(), Options{})
	if err != nil || res.FilesRemoved != 3 || res.FilesAdded != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if s, err = s.Table().Snapshot(ctx); err != nil || !slices.Equal(ids(t, s), want) || s.NumFiles() != 1 {
		t.Errorf("%v, want %v: %v", ids(t, s), want, err)
	}
	if _, err := vacuum.Make(ctx, s, vacuum.Options{}); err != nil {
		t.Errorf("vacuum: %v", err)
	}
}
