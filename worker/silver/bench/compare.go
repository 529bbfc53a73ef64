package bench

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
)

// compare reads two tables whose ids are 1…n and gives how many rows are equal; a row that is not is an error.
func compare(ctx context.Context, ours string, version int64, theirs string, n int) (int, error) {
	a, err := hashes(ctx, ours, version, n)
	if err != nil {
		return 0, err
	}
	b, err := hashes(ctx, theirs, -1, n)
	if err != nil {
		return 0, err
	}
	for i := range a {
		if a[i] != b[i] {
			return i, fmt.Errorf("the row with id %d differs between %s and %s", i+1, ours, theirs)
		}
	}
	return len(a), nil
}

// hashes gives a hash of each row, by id.
func hashes(ctx context.Context, dir string, version int64, n int) ([]uint64, error) {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	t, err := delta.Open(ctx, b, filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	s := t.Cached()
	if version >= 0 {
		if s, err = t.SnapshotAt(ctx, version); err != nil {
			return nil, err
		}
	}
	id := s.Schema().Index("id")
	out := make([]uint64, n)
	var line []byte
	for batch, err := range rows.Scan(ctx, s, rows.Options{}) {
		if err != nil {
			return nil, err
		}
		for i := range int(batch.Record.NumRows()) {
			k := columnar.ValueAt(batch.Record.Column(id), schema.Of(schema.Long), i).Int
			if k < 1 || k > int64(n) || out[k-1] != 0 {
				return nil, fmt.Errorf("%s has a row with id %d too much", dir, k)
			}
			if line, err = columnar.AppendCanonicalJSON(line[:0], batch.Record, s.Schema(), i); err != nil {
				return nil, err
			}
			out[k-1] = xxh3.Hash(line) | 1
		}
	}
	return out, nil
}
