package columnar

import (
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// ValueAt is the inverse of Builder.Append: the value of row of an array whose type is ArrowType(t). Strings point into the
// array's memory, which they keep alive. A null of any column is connectors.NullValue.
func ValueAt(a arrow.Array, t schema.Type, row int) connectors.Value {
	if t.Kind == schema.Void || a.IsNull(row) {
		return connectors.NullValue()
	}
	switch a := a.(type) {
	case *array.Boolean:
		return connectors.Bool(a.Value(row))
	case *array.Int8:
		return connectors.Int(t.Kind, int64(a.Value(row)))
	case *array.Int16:
		return connectors.Int(t.Kind, int64(a.Value(row)))
	case *array.Int32:
		return connectors.Int(t.Kind, int64(a.Value(row)))
	case *array.Int64:
		return connectors.Int(t.Kind, a.Value(row))
	case *array.Date32:
		return connectors.Int(t.Kind, int64(a.Value(row)))
	case *array.Timestamp:
		return connectors.Int(t.Kind, int64(a.Value(row)))
	case *array.Float32:
		return connectors.Value{State: connectors.Present, Kind: t.Kind, Int: int64(math.Float64bits(float64(a.Value(row))))}
	case *array.Float64:
		return connectors.Float(a.Value(row))
	case *array.Decimal128:
		return connectors.Dec(string(appendUnscaled(make([]byte, 0, 16), a.Value(row))), t.Scale)
	case *array.String:
		return connectors.Text(a.Value(row))
	case *array.Binary:
		return connectors.Bytes(a.ValueString(row))
	case *array.Map: // before List, which it embeds
		from, to := a.ValueOffsets(row)
		kids := make([]connectors.Value, 0, 2*(to-from))
		for i := from; i < to; i++ {
			kids = append(kids, ValueAt(a.Keys(), *t.Key, int(i)), ValueAt(a.Items(), *t.Elem, int(i)))
		}
		return connectors.Nested(schema.Map, kids)
	case *array.List:
		from, to := a.ValueOffsets(row)
		kids := make([]connectors.Value, 0, to-from)
		for i := from; i < to; i++ {
			kids = append(kids, ValueAt(a.ListValues(), *t.Elem, int(i)))
		}
		return connectors.Nested(schema.Array, kids)
	case *array.Struct:
		fields := t.Fields
		if t.Kind == schema.Variant {
			fields = variantFields
		}
		kids := make([]connectors.Value, len(fields))
		for i, f := range fields {
			kids[i] = ValueAt(a.Field(i), f.Type, row)
		}
		return connectors.Nested(t.Kind, kids)
	}
	return connectors.NullValue()
}

// Constant makes an array of n times one value, of type ArrowType(t). A value that is not present gives nulls.
func Constant(t schema.Type, v connectors.Value, n int) (arrow.Array, error) {
	b := NewBuilder(schema.Schema{Fields: []schema.Field{{Name: "v", Type: t, Nullable: true}}})
	for range n {
		if err := b.Append(0, v); err != nil {
			return nil, err
		}
	}
	return b.NewRecord().Column(0), nil
}
