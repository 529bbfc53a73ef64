package evolve

import (
	"math"
	"math/big"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

const microsPerDay = 86_400_000_000

// Direct gives the kinds, as bits, whose values go into a column of the type as they are.
func Direct(t schema.Type) uint32 {
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		var m uint32
		for k := schema.Byte; k <= t.Kind; k++ {
			m |= 1 << k
		}
		return m
	case schema.Double:
		return 1<<schema.Double | 1<<schema.Float
	case schema.Boolean, schema.Float, schema.String, schema.Binary, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return 1 << t.Kind
	}
	return 0 // decimals and nested values are looked at one by one
}

// Convert gives the value as one of type t, where that loses nothing. Values that are not present stay as they are.
func Convert(v connectors.Value, t schema.Type) (connectors.Value, bool) {
	if v.State != connectors.Present {
		return v, true
	}
	if Direct(t)&(1<<v.Kind) != 0 {
		if t.Kind == schema.Double {
			v.Kind = schema.Double // a float's text has fewer digits
		}
		return v, true
	}
	switch t.Kind {
	case schema.Void:
		return v, false
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		i, ok := asInt(v)
		return connectors.Int(t.Kind, i), ok && inRange(t.Kind, i)
	case schema.Boolean:
		i, ok := asInt(v)
		return connectors.Bool(i == 1), ok && (i == 0 || i == 1)
	case schema.Float, schema.Double:
		f, ok := asFloat(v)
		if t.Kind == schema.Float {
			ok = ok && (float64(float32(f)) == f || f != f)
		}
		out := connectors.Float(f)
		out.Kind = t.Kind
		return out, ok
	case schema.Decimal:
		return asDecimal(v, t)
	case schema.Date:
		if v.Kind == schema.Timestamp || v.Kind == schema.TimestampNTZ {
			d := floorDiv(v.Int, microsPerDay)
			return connectors.Int(schema.Date, d), d*microsPerDay == v.Int
		}
	case schema.Timestamp, schema.TimestampNTZ:
		switch v.Kind {
		case schema.Timestamp, schema.TimestampNTZ:
			return connectors.Int(t.Kind, v.Int), true
		case schema.Date:
			us := v.Int * microsPerDay
			return connectors.Int(t.Kind, us), us/microsPerDay == v.Int
		}
	case schema.Array, schema.Map, schema.Struct:
		return nested(v, t)
	}
	return v, false
}

func nested(v connectors.Value, t schema.Type) (connectors.Value, bool) {
	if v.Kind != t.Kind {
		return v, false
	}
	kids := v.Kids()
	out := make([]connectors.Value, len(kids), max(len(kids), len(t.Fields)))
	for i := range kids {
		var kt schema.Type
		switch t.Kind {
		case schema.Array:
			kt = *t.Elem
		case schema.Map:
			if kt = *t.Elem; i%2 == 0 {
				kt = *t.Key
			}
		default:
			if i >= len(t.Fields) {
				return v, false
			}
			kt = t.Fields[i].Type
		}
		k, ok := Convert(kids[i], kt)
		if !ok {
			return v, false
		}
		out[i] = k
	}
	if t.Kind == schema.Struct {
		for len(out) < len(t.Fields) {
			out = append(out, connectors.NullValue())
		}
	}
	return connectors.Nested(t.Kind, out), true
}

// Reshape orders the members of struct values of type from as type to has them. It is needed where a source's struct has
// other members, or the same in another order, than the column; values of equal types stay as they are.
func Reshape(v connectors.Value, from, to schema.Type) connectors.Value {
	if v.State != connectors.Present || v.Kind != from.Kind || from.Kind != to.Kind || from.Equal(to) {
		return v
	}
	kids := v.Kids()
	switch from.Kind {
	case schema.Array, schema.Map:
		out := make([]connectors.Value, len(kids))
		for i := range kids {
			if from.Kind == schema.Map && i%2 == 0 {
				out[i] = kids[i]
			} else {
				out[i] = Reshape(kids[i], *from.Elem, *to.Elem)
			}
		}
		return connectors.Nested(v.Kind, out)
	case schema.Struct:
		out := make([]connectors.Value, len(to.Fields))
		for i := range out {
			out[i] = connectors.NullValue()
		}
		for k, i := range members(to.Fields, from.Fields) {
			if i >= 0 && k < len(kids) {
				out[i] = Reshape(kids[k], from.Fields[k].Type, to.Fields[i].Type)
			}
		}
		return connectors.Nested(v.Kind, out)
	}
	return v
}

func inRange(k schema.Kind, i int64) bool {
	switch k {
	case schema.Byte:
		return i >= math.MinInt8 && i <= math.MaxInt8
	case schema.Short:
		return i >= math.MinInt16 && i <= math.MaxInt16
	case schema.Integer:
		return i >= math.MinInt32 && i <= math.MaxInt32
	}
	return true
}

func asInt(v connectors.Value) (int64, bool) {
	switch v.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long:
		return v.Int, true
	case schema.Float, schema.Double:
		f := v.Float64()
		i := int64(f)
		return i, float64(i) == f && math.Abs(f) < 1<<53 && (i != 0 || !math.Signbit(f)) // -0 is no integer
	case schema.Decimal:
		d, ok := asDecimal(v, schema.DecimalOf(38, 0))
		if !ok {
			return 0, false
		}
		n := connectors.Unscaled(d.Str)
		return n.Int64(), n.IsInt64()
	}
	return 0, false
}

func asFloat(v connectors.Value) (float64, bool) {
	switch {
	case v.Kind == schema.Float || v.Kind == schema.Double:
		return v.Float64(), true
	case integral(v.Kind):
		f := float64(v.Int)
		return f, int64(f) == v.Int && math.Abs(f) <= 1<<53
	case v.Kind == schema.String: // JSON has no other form for these
		switch v.Str {
		case "NaN":
			return math.NaN(), true
		case "Infinity", "-Infinity":
			sign := 1
			if v.Str[0] == '-' {
				sign = -1
			}
			return math.Inf(sign), true
		}
	}
	return 0, false
}

func asDecimal(v connectors.Value, t schema.Type) (connectors.Value, bool) {
	var n *big.Int
	scale := 0
	switch {
	case v.Kind == schema.Decimal:
		if int(v.Int) == t.Scale && len(v.Str)*12 <= t.Precision*5 {
			return v, true // 2.408 digits a byte: it cannot be too long
		}
		n, scale = connectors.Unscaled(v.Str), int(v.Int)
	case integral(v.Kind):
		n = big.NewInt(v.Int)
	default:
		return v, false
	}
	if n.Sign() == 0 {
		scale = t.Scale
	}
	if d := t.Scale - scale; d > 0 {
		if d > 80 {
			return v, false
		}
		n.Mul(n, pow10(d))
	} else if d < 0 {
		if d < -400 {
			return v, false
		}
		var r big.Int
		n.QuoRem(n, pow10(-d), &r)
		if r.Sign() != 0 {
			return v, false
		}
	}
	if new(big.Int).Abs(n).Cmp(pow10(t.Precision)) >= 0 {
		return v, false
	}
	return connectors.Dec(string(connectors.AppendUnscaled(nil, n)), t.Scale), true
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// TypeOf gives the narrowest type of a present value that declares none. Values without a type of their own (an empty
// array) count as void.
func TypeOf(v connectors.Value) schema.Type {
	if v.State != connectors.Present {
		return schema.Of(schema.Void)
	}
	switch v.Kind {
	case schema.Decimal:
		n := new(big.Int).Abs(connectors.Unscaled(v.Str))
		p, s := len(n.String()), int(v.Int)
		if s < 0 {
			p, s = p-s, 0
		}
		return schema.DecimalOf(max(p, s, 1), s)
	case schema.Array:
		e := schema.Of(schema.Void)
		for _, k := range v.Kids() {
			if t, c := Unify(e, TypeOf(k)); c != Other {
				e = t
			}
		}
		return schema.ArrayOf(e)
	case schema.Map:
		k, e := schema.Of(schema.String), schema.Of(schema.Void)
		for i, kid := range v.Kids() {
			if i%2 == 0 {
				k = TypeOf(kid)
			} else if t, c := Unify(e, TypeOf(kid)); c != Other {
				e = t
			}
		}
		return schema.MapOf(k, e)
	case schema.Struct:
		var t schema.Type
		t.Kind = schema.Struct
		for i, kid := range v.Kids() {
			t.Fields = append(t.Fields, schema.Field{Name: "f" + string(rune('0'+i%10)), Type: TypeOf(kid), Nullable: true})
		}
		return t
	}
	return schema.Of(v.Kind)
}
