package columnar

import (
	"encoding/json"
	"fmt"
	"strconv"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// Mapping says how the columns of a table are found in its files (delta.columnMapping.mode).
type Mapping uint8

// The mappings.
const (
	// MapNone: by the column's name.
	MapNone Mapping = iota
	// MapName: by the physical name of the field's metadata.
	MapName
	// MapID: by the field id of the field's metadata.
	MapID
)

// Metadata keys of a field under column mapping.
const (
	KeyPhysicalName = "delta.columnMapping.physicalName"
	KeyColumnID     = "delta.columnMapping.id"
	keyNestedIDs    = "delta.columnMapping.nested.ids"
)

// PhysicalName gives the name that a field has in files, statistics and partition values: without mapping its name.
func PhysicalName(f *schema.Field, m Mapping) string {
	if m == MapNone {
		return f.Name
	}
	var name string
	if raw, ok := f.Metadata[KeyPhysicalName]; ok && json.Unmarshal(raw, &name) == nil && name != "" {
		return name
	}
	return f.Name
}

// ColumnID gives the field id of a field under column mapping.
func ColumnID(f *schema.Field) (int32, bool) {
	raw, ok := f.Metadata[KeyColumnID]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	return int32(n), err == nil
}

// PhysicalSchema gives a schema with its physical names at every level.
func PhysicalSchema(s schema.Schema, m Mapping) schema.Schema {
	if m == MapNone {
		return s
	}
	return schema.Schema{Fields: physicalFields(s.Fields, m)}
}

func physicalFields(fields []schema.Field, m Mapping) []schema.Field {
	out := make([]schema.Field, len(fields))
	for i := range fields {
		out[i] = fields[i]
		out[i].Name = PhysicalName(&fields[i], m)
		out[i].Type = physicalType(fields[i].Type, m)
	}
	return out
}

func physicalType(t schema.Type, m Mapping) schema.Type {
	switch t.Kind {
	case schema.Struct:
		t.Fields = physicalFields(t.Fields, m)
	case schema.Array:
		e := physicalType(*t.Elem, m)
		t.Elem = &e
	case schema.Map:
		k, v := physicalType(*t.Key, m), physicalType(*t.Elem, m)
		t.Key, t.Elem = &k, &v
	}
	return t
}

// fileSchema makes the Parquet schema that a table's files have: physical names, field ids where there is a mapping, no void
// columns. Delta forbids void inside arrays and maps, and structs of nothing else.
func fileSchema(s schema.Schema, m Mapping) (*parquet.Node, error) {
	root := &parquet.Node{Name: "spark_schema", Rep: parquet.Required, Children: []*parquet.Node{}}
	for i := range s.Fields {
		n, err := fieldNode(&s.Fields[i], m)
		if err != nil {
			return nil, err
		}
		if n != nil {
			root.Children = append(root.Children, n)
		}
	}
	return root, nil
}

func fieldNode(f *schema.Field, m Mapping) (*parquet.Node, error) {
	nested := map[string]int32{}
	if m != MapNone {
		if raw, ok := f.Metadata[keyNestedIDs]; ok {
			if err := json.Unmarshal(raw, &nested); err != nil {
				return nil, fmt.Errorf("column %q: metadata %s: %w", f.Name, keyNestedIDs, err)
			}
		}
	}
	name := PhysicalName(f, m)
	n, err := typeNode(name, name, f.Type, f.Nullable, m, nested)
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", f.Name, err)
	}
	if n != nil && m != MapNone {
		if id, ok := ColumnID(f); ok {
			n.FieldID, n.HasFieldID = id, true
		}
	}
	return n, nil
}

// typeNode gives the node of a type; nil for void. path names it among the nested ids of its column.
func typeNode(name, path string, t schema.Type, nullable bool, m Mapping, nested map[string]int32) (*parquet.Node, error) {
	n := &parquet.Node{Name: name, Rep: parquet.Required}
	if nullable {
		n.Rep = parquet.Optional
	}
	if id, ok := nested[path]; ok {
		n.FieldID, n.HasFieldID = id, true
	}
	switch t.Kind {
	case schema.Void:
		return nil, nil
	case schema.Boolean:
		n.Type = parquet.Boolean
	case schema.Byte, schema.Short:
		n.Type, n.Logical, n.BitWidth, n.Signed = parquet.Int32, parquet.LogicalInt, 8, true
		if t.Kind == schema.Short {
			n.BitWidth = 16
		}
	case schema.Integer:
		n.Type = parquet.Int32
	case schema.Long:
		n.Type = parquet.Int64
	case schema.Float:
		n.Type = parquet.Float
	case schema.Double:
		n.Type = parquet.Double
	case schema.Decimal:
		n.Logical, n.Precision, n.Scale = parquet.LogicalDecimal, int32(t.Precision), int32(t.Scale)
		switch {
		case t.Precision <= 9:
			n.Type = parquet.Int32
		case t.Precision <= 18:
			n.Type = parquet.Int64
		default:
			n.Type, n.TypeLength = parquet.FixedLenByteArray, decimalBytes(t.Precision)
		}
	case schema.String:
		n.Type, n.Logical = parquet.ByteArray, parquet.LogicalString
	case schema.Binary:
		n.Type = parquet.ByteArray
	case schema.Date:
		n.Type, n.Logical = parquet.Int32, parquet.LogicalDate
	case schema.Timestamp, schema.TimestampNTZ:
		n.Type, n.Logical, n.Unit, n.UTC = parquet.Int64, parquet.LogicalTimestamp, parquet.Micros, t.Kind == schema.Timestamp
	case schema.Array:
		e, err := typeNode("element", path+".element", *t.Elem, t.ElemNullable, m, nested)
		if err != nil {
			return nil, err
		}
		if e == nil {
			return nil, fmt.Errorf("%w: void inside an array is not written", ErrType)
		}
		n.Logical = parquet.LogicalList
		n.Children = []*parquet.Node{{Name: "list", Rep: parquet.Repeated, Children: []*parquet.Node{e}}}
	case schema.Map:
		k, err := typeNode("key", path+".key", *t.Key, false, m, nested)
		if err != nil {
			return nil, err
		}
		v, err := typeNode("value", path+".value", *t.Elem, t.ElemNullable, m, nested)
		if err != nil {
			return nil, err
		}
		if k == nil || v == nil {
			return nil, fmt.Errorf("%w: void inside a map is not written", ErrType)
		}
		n.Logical = parquet.LogicalMap
		n.Children = []*parquet.Node{{Name: "key_value", Rep: parquet.Repeated, Children: []*parquet.Node{k, v}}}
	case schema.Struct, schema.Variant:
		fields := t.Fields
		if t.Kind == schema.Variant {
			fields = variantFields
		}
		n.Children = []*parquet.Node{}
		for i := range fields {
			c, err := fieldNode(&fields[i], m)
			if err != nil {
				return nil, err
			}
			if c != nil {
				n.Children = append(n.Children, c)
			}
		}
		if len(n.Children) == 0 {
			return nil, fmt.Errorf("%w: a struct of nothing but void is not written", ErrType)
		}
	default:
		return nil, fmt.Errorf("%w: %s", ErrType, t)
	}
	return n, nil
}

// decimalBytes is the number of bytes that any number of a precision fits in.
func decimalBytes(precision int) int32 {
	// bytes for precision p: the smallest n with 2^(8n-1) > 10^p - 1.
	size := [...]int32{0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14, 14, 15, 15, 16, 16, 16}
	return size[precision]
}
