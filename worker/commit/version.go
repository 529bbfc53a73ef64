package commit

import (
	"context"
	"fmt"

	"sluice.io/sluice/connectors/delta"
)

// Appended gives the files that a version of an append-only table brought; none for a version that moved
// progress, or rows between files.
func Appended(ctx context.Context, t *delta.Table, version int64) ([]*delta.Add, error) {
	var out []*delta.Add
	for entry, err := range t.Commits(ctx, version, version) {
		if err != nil {
			return nil, fmt.Errorf("read version %d of %s: %w", version, t.URL(), err)
		}
		for _, add := range entry.Adds {
			if add.DataChange {
				out = append(out, add)
			}
		}
	}
	return out, nil
}
