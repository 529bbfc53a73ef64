package commit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"sluice.io/sluice/connectors/delta"
)

// Appended gives the paths of the files that a version of an append-only table brought; none for a version that moved
// progress only.
func Appended(ctx context.Context, t *delta.Table, version int64) ([]string, error) {
	data, err := t.Bucket().Get(ctx, fmt.Sprintf("%s/_delta_log/%020d.json", t.Path(), version))
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte(`{"add"`)) {
			continue
		}
		var action struct {
			Add struct {
				Path       string `json:"path"`
				DataChange bool   `json:"dataChange"`
			} `json:"add"`
		}
		if err := json.Unmarshal(line, &action); err != nil {
			return nil, fmt.Errorf("version %d of %s: %w", version, t.URL(), err)
		}
		if action.Add.DataChange {
			out = append(out, action.Add.Path)
		}
	}
	return out, nil
}
