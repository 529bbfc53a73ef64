package silver

import (
	"context"
	"encoding/json"
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
	// Path leads to the element, key or value that changed; empty where the field itself did.
	Path string `json:"fieldPath,omitempty"`
}

// widensInPlace tells that Delta's type widening covers a change of a column's type, so that files need no rewrite (PROTOCOL.md, "Type
// Widening": integers become decimals that hold all of them).
func widensInPlace(from, to schema.Type) bool {
	small := from.Kind == schema.Byte || from.Kind == schema.Short || from.Kind == schema.Integer
	switch to.Kind {
	case schema.Short, schema.Integer, schema.Long:
		return small && from.Kind < to.Kind
	case schema.Double:
		return small || from.Kind == schema.Float
	case schema.Decimal:
		whole := to.Precision - to.Scale
		switch {
		case small:
			return whole >= 10
		case from.Kind == schema.Long:
			return whole >= 20
		}
		return from.Kind == schema.Decimal && to.Scale >= from.Scale && whole >= from.Precision-from.Scale
	}
	return false
}

// widenedType gives the type that a field grew to, the members of its structs with what they were in their metadata, and what changed outside of structs. ok is
// false where Delta's type widening does not cover all of it.
func widenedType(from, to schema.Type, path string) (out schema.Type, changes []typeChange, ok bool) {
	switch {
	case from.Equal(to):
		return to, nil, true
	case from.Kind == schema.Void:
		return to, nil, true // no file has it
	case from.Kind != to.Kind || from.Kind == schema.Decimal:
		return to, []typeChange{{from.String(), to.String(), path}}, widensInPlace(from, to)
	}
	inner := func(f, t *schema.Type, name string) (*schema.Type, bool) {
		p := name
		if path != "" {
			p = path + "." + name
		}
		o, c, ok := widenedType(*f, *t, p)
		changes = append(changes, c...)
		return &o, ok
	}
	ok = true
	switch to.Kind {
	case schema.Map:
		var keyed bool
		to.Key, keyed = inner(from.Key, to.Key, "key")
		to.Elem, ok = inner(from.Elem, to.Elem, "value")
		ok = ok && keyed
	case schema.Array:
		to.Elem, ok = inner(from.Elem, to.Elem, "element")
	case schema.Struct:
		to.Fields = slices.Clone(to.Fields)
		for i := range from.Fields { // new members are behind those that were there
			if i >= len(to.Fields) || to.Fields[i].Name != from.Fields[i].Name {
				return to, nil, false
			}
			if !widenField(&to.Fields[i], from.Fields[i].Type) {
				return to, nil, false
			}
		}
	default:
		ok = false
	}
	return to, changes, ok
}

// widenField notes in a field's metadata what it was, and in that of its members. It gives false where Delta's type widening does not cover the change, or
// the metadata is of a form that we do not know.
func widenField(f *schema.Field, from schema.Type) bool {
	t, more, ok := widenedType(from, f.Type, "")
	if !ok {
		return false
	}
	f.Type = t
	if len(more) == 0 {
		return true
	}
	var changes []typeChange
	if raw, ok := f.Metadata[propTypeChanges]; ok && json.Unmarshal(raw, &changes) != nil {
		return false
	}
	raw, err := json.Marshal(append(changes, more...))
	if err != nil {
		return false
	}
	f.Metadata = maps.Clone(f.Metadata)
	if f.Metadata == nil {
		f.Metadata = map[string]json.RawMessage{}
	}
	f.Metadata[propTypeChanges] = raw
	return true
}

// growsInPlace tells that type widening covers a change of a column's type.
func growsInPlace(from, to schema.Type) bool {
	_, _, ok := widenedType(from, to, "")
	return ok
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
		if !widenField(&to.Fields[to.Index(name)], from) {
			return false, nil
		}
	}
	meta := m.described(to)
	meta.Configuration[delta.PropEnableTypeWidening] = "true"
	m.cols.Widened = nil
	return true, m.alter(ctx, meta, "CHANGE COLUMN")
}
