package silver

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// propTypeChanges is the metadata of a field that says which types it had (PROTOCOL.md, "Type Change Metadata").
const propTypeChanges = "delta.typeChanges"

// typeChange is one entry of it.
type typeChange struct {
	From string `json:"fromType"`
	To   string `json:"toType"`
}

// full tells that the table may use features that not every reader knows (silver.compatibility).
func (m *Merger) full() bool { return m.opt.Config.SilverCompatibility == "full" }

// widensInPlace tells that Delta's type widening covers a change of a column's type, so that files need no rewrite.
func widensInPlace(from, to schema.Type) bool {
	small := from.Kind == schema.Byte || from.Kind == schema.Short || from.Kind == schema.Integer
	switch to.Kind {
	case schema.Short, schema.Integer, schema.Long:
		return small && from.Kind < to.Kind
	case schema.Double:
		return small || from.Kind == schema.Float
	case schema.Decimal:
		return from.Kind == schema.Decimal && to.Scale >= from.Scale && to.Precision-to.Scale >= from.Precision-from.Scale
	}
	return false
}

// widenInPlace commits wider types of columns without a rewrite, where silver.compatibility allows it and Delta knows all of the changes. done is false where it
// did nothing.
func (m *Merger) widenInPlace(ctx context.Context) (done bool, err error) {
	if !m.full() {
		return false, nil
	}
	to := m.cols.Schema
	to.Fields = slices.Clone(to.Fields)
	for name, from := range m.cols.Widened {
		f := &to.Fields[to.Index(name)]
		if !widensInPlace(from, f.Type) {
			return false, nil
		}
		var changes []typeChange
		if raw, ok := f.Metadata[propTypeChanges]; ok {
			if err := json.Unmarshal(raw, &changes); err != nil {
				return false, nil // another writer's, of a form that we do not know: rewrite
			}
		}
		raw, err := json.Marshal(append(changes, typeChange{from.String(), f.Type.String()}))
		if err != nil {
			return false, err
		}
		f.Metadata = maps.Clone(f.Metadata)
		if f.Metadata == nil {
			f.Metadata = map[string]json.RawMessage{}
		}
		f.Metadata[propTypeChanges] = raw
	}
	meta := m.snap.Metadata.Clone()
	meta.SchemaString = to.String()
	meta.Configuration[delta.PropEnableTypeWidening] = "true"
	c := m.table.NewCommit(m.snap)
	c.SetMetadata(meta)
	c.Info(delta.CommitInfo{Operation: "CHANGE COLUMN"})
	out := c.Do(ctx)
	m.ready = false // columns are read from the table again
	m.cols.Widened = nil
	if out.Kind != delta.Committed && !errors.Is(out.Err, delta.ErrConflict) {
		return false, out.Err
	}
	return true, nil
}
