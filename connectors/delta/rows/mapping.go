package rows

import (
	"encoding/json"
	"strconv"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// MapColumns gives every field of a schema, members of structs included, an id and a physical name where it has none: what a
// table needs whose delta.columnMapping.mode is name. maxID is the highest id that was given so far (0 for a new table); the
// new one is returned, for delta.columnMapping.maxColumnId. With keepNames the physical name is the logical one: for a
// table whose files are there already.
func MapColumns(s schema.Schema, maxID int, keepNames bool) (schema.Schema, int) {
	var inType func(schema.Type) schema.Type
	inFields := func(fields []schema.Field) []schema.Field {
		out := make([]schema.Field, len(fields))
		for i, f := range fields {
			meta := make(map[string]json.RawMessage, len(f.Metadata)+2)
			for k, v := range f.Metadata {
				meta[k] = v
			}
			if id, ok := columnar.ColumnID(&f); ok {
				maxID = max(maxID, int(id))
			} else {
				maxID++
				meta[columnar.KeyColumnID] = json.RawMessage(strconv.Itoa(maxID))
			}
			if _, ok := meta[columnar.KeyPhysicalName]; !ok {
				name := "col-" + uuid.NewString()
				if keepNames {
					name = f.Name
				}
				text, err := json.Marshal(name)
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
