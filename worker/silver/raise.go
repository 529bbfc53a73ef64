package silver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/silver/state"
)

// ErrNoSource: the table has no source of that name, or nothing was merged into it.
var ErrNoSource = errors.New("nothing of this source was merged into the table")

// RaiseEpoch begins a new epoch for a source of a silver table, or for all of its sources: every event that is merged from now on is
// newer than every row, whatever its position says (D5). It gives the epochs by source. It is one commit of the table; the owner, which may run
// meanwhile and anywhere, finds it, drops what it had in hand and goes on with the new epoch.
func RaiseEpoch(ctx context.Context, b store.Bucket, path, connector, source string) (map[string]uint32, error) {
	path = strings.Trim(path, "/")
	t, err := delta.Open(ctx, b, path)
	if err != nil {
		return nil, fmt.Errorf("new epoch for %s: %w", path, err)
	}
	id := appPrefix + connector + "/state"
	objects := state.NewStore(b, path)
	for attempt := 1; ; attempt++ {
		snap, err := t.Snapshot(ctx)
		if err != nil {
			return nil, fmt.Errorf("new epoch for %s: %w", path, err)
		}
		at, ok := snap.Txn(id)
		if !ok {
			return nil, fmt.Errorf("new epoch for %s: %w by %s", path, ErrNoSource, connector)
		}
		st, err := objects.Load(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("new epoch for %s: %w", path, err)
		}
		out := map[string]uint32{}
		for _, name := range slices.Sorted(maps.Keys(st.Lineages.Sources)) {
			if source == "" || source == name {
				out[name] = st.Lineages.Raise(name)
			}
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("new epoch for %s: %w: %s; it has %s", path, ErrNoSource, source, strings.Join(slices.Sorted(maps.Keys(st.Lineages.Sources)), ", "))
		}
		to, err := objects.Save(ctx, at+1, st, func(*state.Tomb) bool { return true }, math.MinInt64)
		if err != nil {
			return nil, fmt.Errorf("new epoch for %s: %w", path, err)
		}
		c := t.NewCommit(snap)
		c.Progress(id, at, to)
		params := map[string]string{"connector": connector}
		for name, e := range out {
			params["epoch of "+name] = fmt.Sprint(e)
		}
		c.Info(delta.CommitInfo{Operation: "NEW EPOCH", OperationParameters: params})
		res := c.Do(ctx)
		switch {
		case res.Kind == delta.Committed:
			return out, nil
		case res.Kind == delta.Conflict && errors.Is(res.Err, delta.ErrProgress) && attempt < maxAttempts:
			continue // the owner was quicker
		}
		return nil, fmt.Errorf("new epoch for %s: %w", path, res.Err)
	}
}
