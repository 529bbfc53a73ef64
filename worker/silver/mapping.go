package silver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
)

// Column mapping (silver.compatibility=full): columns have names of their own in files, so that they can be called anything, and be renamed and dropped
// without a rewrite. What counts is what the table's metadata says, not the setting: a table that has column mapping keeps it, whoever gave it to it.

// ErrColumns: the table has lost a column that silver cannot do without.
var ErrColumns = errors.New("a column of the silver table is missing")

// full tells that the table may use features that not every reader knows (silver.compatibility).
func (m *Merger) full() bool { return m.opt.Config.SilverCompatibility == "full" }

// current is the snapshot that is being loaded, or the one that was.
func (m *Merger) current() *delta.Snapshot {
	if m.look != nil {
		return m.look
	}
	return m.snap
}

// mapping says how the table's columns are named in its files.
func (m *Merger) mapping() columnar.Mapping {
	s := m.current()
	if s == nil {
		return columnar.MapNone
	}
	mode, err := rows.MappingOf(s.Metadata)
	if err != nil { // checkColumns has seen to that
		return columnar.MapNone
	}
	return mode
}

// mappingPolicy says how new columns are called: in a table yet to be made as the setting wants it.
func (m *Merger) mappingPolicy(p evolve.Policy) evolve.Policy {
	s := m.current()
	if s == nil {
		p.Mapped, p.Seed = m.full(), m.opt.Path
		return p
	}
	p.Mapped, p.Seed = m.mapping() != columnar.MapNone, s.Metadata.ID
	if text, ok := s.Property(delta.PropMaxColumnID); ok {
		p.MaxID, _ = strconv.Atoi(text) // else the highest one that is there
	}
	return p
}

// checkColumns compares the columns of a table that is there, which with column mapping anybody may drop or rename, with what silver needs.
func (m *Merger) checkColumns(snap *delta.Snapshot) error {
	if _, err := rows.MappingOf(snap.Metadata); err != nil {
		return fmt.Errorf("%s: %w", m.table.URL(), err)
	}
	need := []string{evolve.ColSequence}
	if m.history() {
		need = append(need, evolve.ColStart, evolve.ColEnd)
	}
	for _, name := range need {
		if snap.Schema().Index(name) < 0 {
			return fmt.Errorf("%w: %s has no column %s; name it so again, or choose another silver.path", ErrColumns, m.table.URL(), name)
		}
	}
	for _, key := range m.keys {
		if m.cols.BySource(key) < 0 && snap.NumFiles() > 0 {
			return fmt.Errorf("%w: %s has lost the column of its key %q: what its rows are is not known any more; choose another silver.path", ErrColumns, m.table.URL(), key)
		}
	}
	return nil
}

// described gives the table's metadata with other columns.
func (m *Merger) described(s schema.Schema) *delta.Metadata {
	meta := m.snap.Metadata.Clone()
	meta.SchemaString = s.String()
	if m.mapping() != columnar.MapNone {
		meta.Configuration[delta.PropMaxColumnID] = strconv.Itoa(m.cols.MaxID())
	}
	return meta
}

// mapColumns gives a table that is there column mapping, where the setting asks for it: one commit of metadata. Columns keep the names that they have, in
// the table and in its files.
func (m *Merger) mapColumns(ctx context.Context) error {
	if m.table == nil || !m.full() || m.mapping() != columnar.MapNone {
		return nil
	}
	s, top := evolve.Mapped(m.snap.Schema())
	meta := m.snap.Metadata.Clone()
	meta.SchemaString = s.String()
	if meta.Configuration == nil {
		meta.Configuration = map[string]string{}
	}
	maps.Copy(meta.Configuration, map[string]string{delta.PropColumnMappingMode: "name", delta.PropMaxColumnID: strconv.Itoa(top)})
	m.log.Info("the table gets column mapping", "columns", len(s.Fields))
	return m.alter(ctx, meta, "SET TBLPROPERTIES")
}

// alter commits other metadata, and goes on with the columns that the table has then. Where others changed the table meanwhile, the next attempt sees what is
// left to be done.
func (m *Merger) alter(ctx context.Context, meta *delta.Metadata, operation string) error {
	c := m.table.NewCommit(m.snap)
	c.SetMetadata(meta)
	c.Info(delta.CommitInfo{Operation: operation})
	out := c.Do(ctx)
	m.ready = false
	switch {
	case out.Kind != delta.Committed && !errors.Is(out.Err, delta.ErrConflict):
		return out.Err
	case out.Kind != delta.Committed || out.Snapshot == nil || out.Snapshot.Version != m.snap.Version+1:
		return nil
	}
	m.dropJob()
	m.snap, m.idx.Version = out.Snapshot, out.Snapshot.Version
	m.cols = evolve.New(m.snap.Schema(), m.policy())
	m.cols.Sealed()
	m.keyPlans = map[*connectors.Shape]*keyPlan{}
	m.ready = true
	return nil
}

// column gives the source column of a name that a row has noted: its name in the table, now or before it was renamed.
func (m *Merger) column(name string) int {
	for i := range m.cols.Source {
		if m.cols.Source[i].Name == name {
			return i
		}
	}
	return m.cols.BySource(evolve.UnescapeName(name))
}
