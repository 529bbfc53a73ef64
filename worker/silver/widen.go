package silver

import (
	"context"
	"errors"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/index"
)

// widen rewrites the table's files for columns whose types grew, before rows of the new types are merged.
func (m *Merger) widen(ctx context.Context) error {
	if done, err := m.widenInPlace(ctx); done || err != nil {
		return err
	}
	var all []uint32
	m.idx.Ordinals(func(o uint32, _ *index.File) { all = append(all, o) })
	grown := m.cols.Widened
	for _, t := range grown {
		if t.Kind == schema.Long { // a long that no double equals is rescued
			m.cols.Ensure(evolve.ColRescued, schema.Of(schema.String))
		}
	}
	to := m.cols.Schema
	names := make([]string, 0, len(m.cols.Widened))
	for n := range grown {
		names = append(names, n)
	}
	slices.Sort(names)
	m.cols.Widened = nil
	if len(all) == 0 {
		c := m.table.NewCommit(m.snap)
		m.describe(c)
		c.Info(delta.CommitInfo{Operation: "CHANGE COLUMN"})
		out := c.Do(ctx)
		m.ready = false
		if out.Kind != delta.Committed && !errors.Is(out.Err, delta.ErrConflict) {
			return out.Err
		}
		return nil
	}
	m.log.Info("columns grow: the table's files are written anew", "columns", names, "files", len(all))
	if err := m.rearrange(ctx, "widen", all, to, grown); err != nil {
		return err
	}
	m.ready = false // columns are read from the table again
	return nil
}

// widenBytes is up to which size a table is rewritten at once when a column grows. Values that do not fit a bigger table's
// columns are rescued.
const widenBytes = 1 << 30

func (m *Merger) mayWiden(from, to schema.Type) bool {
	return m.snap == nil || m.snap.SizeBytes() <= widenBytes || m.full() && growsInPlace(from, to)
}

// grow converts the columns of a record that have grown.
func (m *Merger) grow(rec arrow.Record, as, to schema.Schema) (arrow.Record, error) {
	b := columnar.NewBuilder(to)
	rescuedAt := to.Index(evolve.ColRescued)
	for row := range int(rec.NumRows()) {
		var lost evolve.Rescue
		if rescuedAt >= 0 {
			lost = evolve.ParseRescue(columnar.ValueAt(rec.Column(rescuedAt), as.Fields[rescuedAt].Type, row).Str)
		}
		for c := range to.Fields {
			if c == rescuedAt {
				continue
			}
			v := columnar.ValueAt(rec.Column(c), as.Fields[c].Type, row)
			if !as.Fields[c].Type.Equal(to.Fields[c].Type) {
				w, ok := evolve.Convert(v, to.Fields[c].Type)
				if !ok {
					lost.Put(to.Fields[c].Name, v)
					w = nullValue
				}
				v = w
			}
			if err := b.Append(c, v); err != nil {
				return nil, err
			}
		}
		if rescuedAt >= 0 {
			if text := lost.JSON(); text != "" {
				b.AppendString(rescuedAt, text)
			} else {
				b.AppendNull(rescuedAt)
			}
		}
	}
	return b.NewRecord(), nil
}

// unrescue puts rescued values back into columns that have grown since.
func (m *Merger) unrescue(rec arrow.Record, to schema.Schema) (arrow.Record, error) {
	at := to.Index(evolve.ColRescued)
	if at < 0 || rec.Column(at).NullN() == int(rec.NumRows()) {
		return rec, nil
	}
	b := columnar.NewBuilder(to)
	for row := range int(rec.NumRows()) {
		res := evolve.ParseRescue(columnar.ValueAt(rec.Column(at), to.Fields[at].Type, row).Str)
		for c := range to.Fields {
			if c == at {
				continue
			}
			v := columnar.ValueAt(rec.Column(c), to.Fields[c].Type, row)
			if name, raw, ok := res.Of(&to.Fields[c]); ok && v.State == nullValue.State && !slices.Contains(m.partitionNames(), to.Fields[c].Name) {
				if w, ok := evolve.FromJSON(raw, to.Fields[c].Type); ok {
					v = w
					delete(res, name)
				}
			}
			if err := b.Append(c, v); err != nil {
				return nil, err
			}
		}
		if text := res.JSON(); text != "" {
			b.AppendString(at, text)
		} else {
			b.AppendNull(at)
		}
	}
	return b.NewRecord(), nil
}
