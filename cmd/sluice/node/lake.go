package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/api"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/coordinator"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/deadletter"
	"sluice.io/sluice/worker/silver"
)

// lakePort answers REST's questions that only the tables can answer (D1).
type lakePort struct {
	lakes    *lakes
	clients  *clients
	defaults config.Defaults
	coord    *coordinator.Coordinator
}

var _ api.Lake = (*lakePort)(nil)

// bronzeOf opens the bronze tables of a connector, by topic.
func (l *lakePort) bronzeOf(ctx context.Context, c ownership.Connector) (map[string]*delta.Snapshot, error) {
	s, err := config.Parse(withName(c), l.defaults)
	if err != nil {
		return nil, err
	}
	b, err := l.lakes.get(ctx, s.LakeURL)
	if err != nil {
		return nil, err
	}
	out := map[string]*delta.Snapshot{}
	for _, t := range l.coord.Topics(c.Name) {
		snap, err := snapshotOf(ctx, b, config.ResolvePath(s.BronzePath, t.Name, nil, s.Name))
		if errors.Is(err, delta.ErrNotTable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[t.Name] = snap
	}
	return out, nil
}

func snapshotOf(ctx context.Context, b store.Bucket, path string) (*delta.Snapshot, error) {
	t, err := delta.Open(ctx, b, path)
	if err != nil {
		return nil, err
	}
	return t.Snapshot(ctx)
}

// Offsets implements api.Lake.
func (l *lakePort) Offsets(ctx context.Context, c ownership.Connector) ([]api.Offset, error) {
	tables, err := l.bronzeOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var out []api.Offset
	for topic, snap := range tables {
		prefix := strings.TrimSuffix(bronze.AppID(c.Name, topic, 0), "0")
		for x := range snap.Txns() {
			p, err := strconv.ParseInt(strings.TrimPrefix(x.AppID, prefix), 10, 32)
			if !strings.HasPrefix(x.AppID, prefix) || err != nil {
				continue
			}
			out = append(out, api.Offset{Topic: topic, Partition: int32(p), Next: x.Version})
		}
	}
	slices.SortFunc(out, func(a, b api.Offset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out, nil
}

// Move implements api.Lake: one commit for each topic moves its partitions forward, and says in the table's history that
// the records between were passed over on demand.
func (l *lakePort) Move(ctx context.Context, c ownership.Connector, to []api.Offset) error {
	s, err := config.Parse(withName(c), l.defaults)
	if err != nil {
		return err
	}
	tables, err := l.bronzeOf(ctx, c)
	if err != nil {
		return err
	}
	cl, err := l.clients.get(ctx, s)
	if err != nil {
		return err
	}
	topics := map[string][]api.Offset{}
	for _, o := range to {
		topics[o.Topic] = append(topics[o.Topic], o)
	}
	// All are checked before one is moved.
	for topic, offsets := range topics {
		if !s.Reads(topic) {
			return ownership.Errorf(ownership.ErrInvalid, "connector %s does not read topic %s", c.Name, topic)
		}
		for _, o := range offsets { // before the broker is asked: it may not have the topic any more
			from := int64(0)
			if snap := tables[topic]; snap != nil {
				from, _ = snap.Txn(bronze.AppID(c.Name, topic, o.Partition))
			}
			if o.Next < from && from > 0 {
				return &api.BackwardError{Connector: c.Name, Topic: topic, Partition: o.Partition, From: from, To: o.Next}
			}
		}
		have, err := cl.Topics(ctx, topic)
		if err != nil {
			return err
		}
		if len(have) == 0 {
			return ownership.Errorf(ownership.ErrInvalid, "the broker has no topic %s", topic)
		}
		var parts []int32
		for _, o := range offsets {
			if o.Partition < 0 || o.Partition >= have[0].Partitions {
				return ownership.Errorf(ownership.ErrInvalid, "topic %s has %d partitions, so none with the number %d", topic, have[0].Partitions, o.Partition)
			}
			parts = append(parts, o.Partition)
		}
		ends, err := cl.Offsets(ctx, topic, parts...)
		if err != nil {
			return err
		}
		for _, o := range offsets {
			if end := ends[o.Partition].End; o.Next > end {
				return ownership.Errorf(ownership.ErrInvalid, "partition %d of %s ends at %d, so nothing can be read from %d", o.Partition, topic, end, o.Next)
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if err := l.moveTopic(ctx, s, topic, tables[topic], topics[topic]); err != nil {
			return err
		}
	}
	return nil
}

func (l *lakePort) moveTopic(ctx context.Context, s *config.Sink, topic string, snap *delta.Snapshot, offsets []api.Offset) error {
	if snap == nil {
		b, err := l.lakes.get(ctx, s.LakeURL)
		if err != nil {
			return err
		}
		path := config.ResolvePath(s.BronzePath, topic, nil, s.Name)
		t, err := delta.Create(ctx, b, path, bronze.TableOptions(topic))
		if err != nil && !errors.Is(err, delta.ErrTableExists) {
			return err
		}
		if t == nil {
			if t, err = delta.Open(ctx, b, path); err != nil {
				return err
			}
		}
		if snap, err = t.Snapshot(ctx); err != nil {
			return err
		}
	}
	commit := snap.Table().NewCommit(snap)
	params := map[string]string{}
	for _, o := range offsets {
		if o.Next < 0 {
			continue // nothing is recorded of it, so there is nothing to forget
		}
		id := bronze.AppID(s.Name, topic, o.Partition)
		from, ok := snap.Txn(id)
		if !ok {
			from = -1
		}
		if from == o.Next {
			continue
		}
		commit.Progress(id, from, o.Next)
		params[strconv.Itoa(int(o.Partition))] = fmt.Sprintf("%d to %d", max(from, 0), o.Next)
	}
	if len(params) == 0 {
		return nil
	}
	commit.Info(delta.CommitInfo{Operation: "SKIP OFFSETS", OperationParameters: params})
	if out := commit.Do(ctx); out.Kind != delta.Committed {
		return fmt.Errorf("move the offsets of %s: %w", topic, out.Err)
	}
	return nil
}

// raiseEpoch begins a new epoch in the silver tables of a connector, or in one of them.
func (l *lakePort) raiseEpoch(ctx context.Context, c ownership.Connector, table, source string) ([]api.RaisedEpoch, error) {
	s, err := config.Parse(withName(c), l.defaults)
	if err != nil {
		return nil, err
	}
	b, err := l.lakes.get(ctx, s.LakeURL)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, t := range l.coord.Topics(c.Name) {
		if p := config.ResolvePath(s.SilverPath, s.SilverTopic(t.Name), nil, s.Name); s.SilverEnabled && !strings.Contains(p, "${") && !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	if table != "" {
		// A path with a variable that only rows resolve is not listed: the table's own progress tells whether it is the connector's.
		paths = []string{table}
	}
	if len(paths) == 0 {
		return nil, ownership.Errorf(ownership.ErrInvalid, "the tables of %s are known by their rows only: name one (?table=silver/...)", c.Name)
	}
	out := []api.RaisedEpoch{}
	for _, p := range paths {
		epochs, err := silver.RaiseEpoch(ctx, b, p, c.Name, source)
		switch {
		case errors.Is(err, silver.ErrNoSource), errors.Is(err, delta.ErrNotTable):
			if table != "" {
				return nil, ownership.Errorf(ownership.ErrInvalid, "%w", err)
			}
		case err != nil:
			return out, err
		default:
			out = append(out, api.RaisedEpoch{Table: p, Epochs: epochs})
		}
	}
	if len(out) == 0 {
		return nil, ownership.Errorf(ownership.ErrInvalid, "no silver table of %s has anything of the source %q", c.Name, source)
	}
	return out, nil
}

// Tables implements api.Lake.
func (l *lakePort) Tables(ctx context.Context) ([]api.Table, error) {
	var out []api.Table
	seen := map[string]bool{}
	for _, c := range l.coord.Connectors() {
		s, err := config.Parse(withName(c), l.defaults)
		if err != nil {
			continue // it writes nothing while it can't be read
		}
		b, err := l.lakes.get(ctx, s.LakeURL)
		if err != nil {
			return nil, err
		}
		add := func(path, kind string) error {
			if seen[s.LakeURL+" "+path] {
				return nil
			}
			seen[s.LakeURL+" "+path] = true
			snap, err := snapshotOf(ctx, b, path)
			if errors.Is(err, delta.ErrNotTable) {
				return nil
			}
			if err != nil {
				return err
			}
			rows, _ := snap.NumRecords()
			out = append(out, api.Table{Path: path, Lake: b.URL(), Kind: kind, Connector: c.Name, Version: snap.Version,
				Files: int64(snap.NumFiles()), Rows: rows, Bytes: snap.SizeBytes(), CommittedMs: snap.Timestamp.UnixMilli()})
			return nil
		}
		for _, t := range l.coord.Topics(c.Name) {
			if err := add(config.ResolvePath(s.BronzePath, t.Name, nil, s.Name), "bronze"); err != nil {
				return nil, err
			}
			if path := config.ResolvePath(s.SilverPath, s.SilverTopic(t.Name), nil, s.Name); s.SilverEnabled && !strings.Contains(path, "${") {
				if err := add(path, "silver"); err != nil {
					return nil, err
				}
			}
		}
		if err := add(deadletter.Path, "dead-letters"); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b api.Table) int { return cmp.Or(cmp.Compare(a.Lake, b.Lake), cmp.Compare(a.Path, b.Path)) })
	return out, nil
}
