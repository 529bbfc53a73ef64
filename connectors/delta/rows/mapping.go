package rows

import (
	"encoding/json"
	"strconv"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// NewName gives a column a physical name that no other has.
func NewName(*schema.Field, int) string { return "col-" + uuid.NewString() }

// OwnName makes the physical name the logical one: for a table whose files are there already.
func OwnName(f *schema.Field, _ int) string { return f.Name }

// MapColumns gives every field of a schema, members of structs included, an id and a physical name where it has none: what a
// table needs whose delta.columnMapping.mode is name. maxID is the highest id that was given so far (0 for a new table); the
// new one is returned, for delta.columnMapping.maxColumnId. name gives the physical name of a field by its id. The schema itself is
// not changed.
func MapColumns(s schema.Schema, maxID int, name func(f *schema.Field, id int) string) (schema.Schema, int) {
	maxID = max(maxID, maxColumnID(s.Fields))
	var inType func(schema.Type) schema.Type
	inFields := func(fields []schema.Field) []schema.Field {
		out := make([]schema.Field, len(fields))
		for i, f := range fields {
			meta := make(map[string]json.RawMessage, len(f.Metadata)+2)
			for k, v := range f.Metadata {
				meta[k] = v
			}
			id, ok := columnar.ColumnID(&f)
			if !ok {
				maxID++
				id = int32(maxID)
				meta[columnar.KeyColumnID] = json.RawMessage(strconv.Itoa(maxID))
			}
			if _, ok := meta[columnar.KeyPhysicalName]; !ok {
				text, err := json.Marshal(name(&f, int(id)))
				if err == nil { // a string always has a text
					meta[columnar.KeyPhysicalName] = text
				}
			}
			f.Metadata, f.Type = meta, inType(f.Type)
			out[i] = f
		}
		return out
	}
	inType = func(t schema.Type) schema.Type {
		switch t.Kind {
		case schema.Struct:
			t.Fields = inFields(t.Fields)
		case schema.Array:
			e := inType(*t.Elem)
			t.Elem = &e
		case schema.Map:
			k, v := inType(*t.Key), inType(*t.Elem)
			t.Key, t.Elem = &k, &v
		}
		return t
	}
	return schema.Schema{Fields: inFields(s.Fields)}, maxID
}

// maxColumnID is the highest id that fields, or members of them, have.
func maxColumnID(fields []schema.Field) int {
	top := 0
	var inType func(*schema.Type)
	inFields := func(fields []schema.Field) {
		for i := range fields {
			if id, ok := columnar.ColumnID(&fields[i]); ok {
				top = max(top, int(id))
			}
			inType(&fields[i].Type)
		}
	}
	inType = func(t *schema.Type) {
		if t.Key != nil {
			inType(t.Key)
		}
		if t.Elem != nil {
			inType(t.Elem)
		}
		inFields(t.Fields)
	}
	inFields(fields)
	return top
}
