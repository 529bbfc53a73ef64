package columnar

import (
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/schema"
)

// ErrType is wrapped where a type has no counterpart.
var ErrType = errors.New("type does not fit")

var (
	tsUTC = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	tsNTZ = &arrow.TimestampType{Unit: arrow.Microsecond}
)

// variantFields are the members of a variant as Parquet stores it (unshredded).
var variantFields = []schema.Field{
	{Name: "metadata", Type: schema.Of(schema.Binary)},
	{Name: "value", Type: schema.Of(schema.Binary)},
}

// ArrowType gives the Arrow type of a column: int8…int64, float32, float64, decimal128, utf8, binary, date32, timestamp in
// microseconds (with zone UTC; without zone for timestamp_ntz), list, map, struct; null for void, and for a variant the
// struct of its two binaries.
func ArrowType(t schema.Type) (arrow.DataType, error) {
	switch t.Kind {
	case schema.Void:
		return arrow.Null, nil
	case schema.Boolean:
		return arrow.FixedWidthTypes.Boolean, nil
	case schema.Byte:
		return arrow.PrimitiveTypes.Int8, nil
	case schema.Short:
		return arrow.PrimitiveTypes.Int16, nil
	case schema.Integer:
		return arrow.PrimitiveTypes.Int32, nil
	case schema.Long:
		return arrow.PrimitiveTypes.Int64, nil
	case schema.Float:
		return arrow.PrimitiveTypes.Float32, nil
	case schema.Double:
		return arrow.PrimitiveTypes.Float64, nil
	case schema.Decimal:
		if t.Precision < 1 || t.Precision > 38 {
			return nil, fmt.Errorf("%w: %s", ErrType, t)
		}
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}, nil
	case schema.String:
		return arrow.BinaryTypes.String, nil
	case schema.Binary:
		return arrow.BinaryTypes.Binary, nil
	case schema.Date:
		return arrow.FixedWidthTypes.Date32, nil
	case schema.Timestamp:
		return tsUTC, nil
	case schema.TimestampNTZ:
		return tsNTZ, nil
	case schema.Variant:
		return structType(variantFields)
	case schema.Struct:
		return structType(t.Fields)
	case schema.Array:
		if t.Elem == nil {
			return nil, fmt.Errorf("%w: array without element", ErrType)
		}
		e, err := ArrowType(*t.Elem)
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(arrow.Field{Name: "element", Type: e, Nullable: t.ElemNullable}), nil
	case schema.Map:
		if t.Elem == nil || t.Key == nil {
			return nil, fmt.Errorf("%w: map without key or value", ErrType)
		}
		k, err := ArrowType(*t.Key)
		if err != nil {
			return nil, err
		}
		v, err := ArrowType(*t.Elem)
		if err != nil {
			return nil, err
		}
		m := arrow.MapOf(k, v)
		m.SetItemNullable(t.ElemNullable)
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrType, t)
}

func structType(fields []schema.Field) (arrow.DataType, error) {
	af, err := arrowFields(fields)
	if err != nil {
		return nil, err
	}
	return arrow.StructOf(af...), nil
}

func arrowFields(fields []schema.Field) ([]arrow.Field, error) {
	out := make([]arrow.Field, len(fields))
	for i, f := range fields {
		t, err := ArrowType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		out[i] = arrow.Field{Name: f.Name, Type: t, Nullable: f.Nullable || f.Type.Kind == schema.Void}
	}
	return out, nil
}

// ArrowSchema gives the Arrow schema of a table's or file's schema.
func ArrowSchema(s schema.Schema) (*arrow.Schema, error) {
	f, err := arrowFields(s.Fields)
	if err != nil {
		return nil, err
	}
	return arrow.NewSchema(f, nil), nil
}

// FromArrow gives the Delta type that an Arrow type is written as. Timestamps of any unit are timestamps in microseconds.
func FromArrow(t arrow.DataType) (schema.Type, error) {
	switch t := t.(type) {
	case *arrow.NullType:
		return schema.Of(schema.Void), nil
	case *arrow.BooleanType:
		return schema.Of(schema.Boolean), nil
	case *arrow.Int8Type:
		return schema.Of(schema.Byte), nil
	case *arrow.Int16Type, *arrow.Uint8Type:
		return schema.Of(schema.Short), nil
	case *arrow.Int32Type, *arrow.Uint16Type:
		return schema.Of(schema.Integer), nil
	case *arrow.Int64Type, *arrow.Uint32Type:
		return schema.Of(schema.Long), nil
	case *arrow.Float32Type:
		return schema.Of(schema.Float), nil
	case *arrow.Float64Type:
		return schema.Of(schema.Double), nil
	case *arrow.Decimal128Type:
		if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
			return schema.Type{}, fmt.Errorf("%w: %s", ErrType, t)
		}
		return schema.DecimalOf(int(t.Precision), int(t.Scale)), nil
	case *arrow.StringType, *arrow.LargeStringType:
		return schema.Of(schema.String), nil
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType:
		return schema.Of(schema.Binary), nil
	case *arrow.Date32Type, *arrow.Date64Type:
		return schema.Of(schema.Date), nil
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return schema.Of(schema.TimestampNTZ), nil
		}
		return schema.Of(schema.Timestamp), nil
	case *arrow.MapType:
		k, err := FromArrow(t.KeyType())
		if err != nil {
			return schema.Type{}, err
		}
		v, err := FromArrow(t.ItemType())
		if err != nil {
			return schema.Type{}, err
		}
		return schema.Type{Kind: schema.Map, Key: &k, Elem: &v, ElemNullable: t.ItemField().Nullable}, nil
	case arrow.ListLikeType:
		e, err := FromArrow(t.Elem())
		if err != nil {
			return schema.Type{}, err
		}
		return schema.Type{Kind: schema.Array, Elem: &e, ElemNullable: t.ElemField().Nullable}, nil
	case *arrow.StructType:
		out := schema.Type{Kind: schema.Struct}
		for _, f := range t.Fields() {
			ft, err := FromArrow(f.Type)
			if err != nil {
				return schema.Type{}, fmt.Errorf("column %q: %w", f.Name, err)
			}
			out.Fields = append(out.Fields, schema.Field{Name: f.Name, Type: ft, Nullable: f.Nullable})
		}
		return out, nil
	case *arrow.DictionaryType:
		return FromArrow(t.ValueType)
	case arrow.ExtensionType:
		return FromArrow(t.StorageType())
	}
	return schema.Type{}, fmt.Errorf("%w: Arrow's %s has no Delta type", ErrType, t)
}

// FromArrowSchema gives the Delta schema of an Arrow schema.
func FromArrowSchema(s *arrow.Schema) (schema.Schema, error) {
	t, err := FromArrow(arrow.StructOf(s.Fields()...))
	return schema.Schema{Fields: t.Fields}, err
}
