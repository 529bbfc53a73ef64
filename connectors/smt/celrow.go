package smt

import (
	"math/big"
	"reflect"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// rowMap shows a row to CEL as a map from column to value. Columns that the event does not tell (absent, or with the source's
// placeholder) are not in it. Values are made when they are asked for.
type rowMap struct {
	row connectors.Row
	// absentIsNull: columns that the row does not mention are NULL.
	absentIsNull bool
}

var _ traits.Mapper = rowMap{}

// Find implements traits.Mapper.
func (r rowMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	i := r.row.Shape.Index(string(name))
	if i < 0 {
		return types.NullValue, r.absentIsNull
	}
	switch v := &r.row.Values[i]; v.State {
	case connectors.Absent:
		return types.NullValue, r.absentIsNull
	case connectors.Unavailable:
		return nil, false
	default:
		return celValue(v, typeAt(r.row.Shape, i)), true
	}
}

func typeAt(s *connectors.Shape, i int) *schema.Type {
	if s.Types == nil {
		return nil
	}
	return &s.Types[i]
}

// Get implements traits.Indexer.
func (r rowMap) Get(key ref.Val) ref.Val {
	if v, ok := r.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

// Contains implements traits.Container.
func (r rowMap) Contains(key ref.Val) ref.Val {
	_, ok := r.Find(key)
	return types.Bool(ok)
}

// whole makes a common map, for what is rarely asked.
func (r rowMap) whole() traits.Mapper {
	m := map[string]any{}
	if r.row.Shape != nil {
		for _, name := range r.row.Shape.Names {
			if v, ok := r.Find(types.String(name)); ok {
				m[name] = v
			}
		}
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m)
}

// Iterator implements traits.Iterable.
func (r rowMap) Iterator() traits.Iterator { return r.whole().Iterator() }

// Size implements traits.Sizer.
func (r rowMap) Size() ref.Val { return r.whole().Size() }

// ConvertToNative implements ref.Val.
func (r rowMap) ConvertToNative(t reflect.Type) (any, error) { return r.whole().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (r rowMap) ConvertToType(t ref.Type) ref.Val { return r.whole().ConvertToType(t) }

// Equal implements ref.Val.
func (r rowMap) Equal(other ref.Val) ref.Val { return r.whole().Equal(other) }

// Type implements ref.Val.
func (r rowMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (r rowMap) Value() any { return r.whole().Value() }

// celValue gives a value in CEL's types. A decimal becomes the nearest double, a date the timestamp of its midnight in UTC, a struct
// whose members have no names a list.
func celValue(v *connectors.Value, t *schema.Type) ref.Val {
	if v.State != connectors.Present {
		return types.NullValue
	}
	switch v.Kind {
	case schema.Boolean:
		return types.Bool(v.Int != 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return types.Int(v.Int)
	case schema.Float, schema.Double:
		return types.Double(v.Float64())
	case schema.Decimal:
		f, _ := rational(v).Float64()
		return types.Double(f)
	case schema.String:
		return types.String(v.Str)
	case schema.Binary:
		return types.Bytes(v.Str)
	case schema.Date:
		return types.Timestamp{Time: time.Unix(v.Int*86400, 0).UTC()}
	case schema.Timestamp, schema.TimestampNTZ:
		return types.Timestamp{Time: time.UnixMicro(v.Int).UTC()}
	case schema.Array:
		return celList(v.Kids(), func(int) *schema.Type { return elem(t) })
	case schema.Struct:
		if t == nil || len(t.Fields) != len(v.Kids()) {
			return celList(v.Kids(), func(int) *schema.Type { return nil })
		}
		m := map[string]any{}
		for i, k := range v.Kids() {
			if k.State == connectors.Present || k.State == connectors.Null {
				m[t.Fields[i].Name] = celValue(&k, &t.Fields[i].Type)
			}
		}
		return types.NewStringInterfaceMap(types.DefaultTypeAdapter, m)
	case schema.Map:
		kids := v.Kids()
		m := map[ref.Val]ref.Val{}
		for i := 0; i+1 < len(kids); i += 2 {
			switch key := celValue(&kids[i], nil).(type) {
			case types.Bool, types.Int, types.String:
				m[key] = celValue(&kids[i+1], elem(t))
			default:
				return types.NewErr("a map with keys of type %s can't be looked at", kids[i].Kind)
			}
		}
		return types.NewRefValMap(types.DefaultTypeAdapter, m)
	}
	return types.NewErr("a value of type %s can't be looked at", v.Kind)
}

func elem(t *schema.Type) *schema.Type {
	if t == nil {
		return nil
	}
	return t.Elem
}

func celList(kids []connectors.Value, typ func(int) *schema.Type) ref.Val {
	out := make([]ref.Val, len(kids))
	for i := range kids {
		out[i] = celValue(&kids[i], typ(i))
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

func rational(v *connectors.Value) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(v.Int, -v.Int)), nil)
	if v.Int < 0 {
		return new(big.Rat).SetInt(scale.Mul(scale, connectors.Unscaled(v.Str)))
	}
	return new(big.Rat).SetFrac(connectors.Unscaled(v.Str), scale)
}

// decimalText writes a Decimal with all digits of its scale.
func decimalText(v *connectors.Value) string {
	return rational(v).FloatString(int(max(v.Int, 0)))
}
