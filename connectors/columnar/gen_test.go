package columnar

import (
	"fmt"
	"math"
	"math/big"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// genType draws a type; depth bounds its nesting.
func genType(t *rapid.T, depth int) schema.Type {
	simple := []schema.Type{
		schema.Of(schema.Boolean), schema.Of(schema.Byte), schema.Of(schema.Short), schema.Of(schema.Integer), schema.Of(schema.Long),
		schema.Of(schema.Float), schema.Of(schema.Double), schema.Of(schema.String), schema.Of(schema.Binary), schema.Of(schema.Date),
		schema.Of(schema.Timestamp), schema.Of(schema.TimestampNTZ), schema.DecimalOf(5, 2), schema.DecimalOf(18, 0), schema.DecimalOf(38, 10),
		schema.DecimalOf(20, 20),
	}
	n := len(simple)
	if depth > 0 {
		n += 3
	}
	i := rapid.IntRange(0, n-1).Draw(t, "type")
	switch i - len(simple) {
	case 0:
		e := genType(t, depth-1)
		return schema.Type{Kind: schema.Array, Elem: &e, ElemNullable: rapid.Bool().Draw(t, "containsNull")}
	case 1:
		k, v := genType(t, 0), genType(t, depth-1)
		return schema.Type{Kind: schema.Map, Key: &k, Elem: &v, ElemNullable: rapid.Bool().Draw(t, "valueContainsNull")}
	case 2:
		return schema.Type{Kind: schema.Struct, Fields: genFields(t, depth-1, 3)}
	}
	return simple[i]
}

func genFields(t *rapid.T, depth, most int) []schema.Field {
	n := rapid.IntRange(1, most).Draw(t, "fields")
	out := make([]schema.Field, n)
	for i := range out {
		out[i] = schema.Field{Name: fmt.Sprintf("c%d", i), Type: genType(t, depth), Nullable: rapid.IntRange(0, 3).Draw(t, "nullable") > 0}
	}
	return out
}

func genValue(t *rapid.T, ty schema.Type, nullable bool) connectors.Value {
	if nullable && rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		return connectors.NullValue()
	}
	switch ty.Kind {
	case schema.Boolean:
		return connectors.Bool(rapid.Bool().Draw(t, "v"))
	case schema.Byte:
		return connectors.Int(ty.Kind, int64(rapid.Int8().Draw(t, "v")))
	case schema.Short:
		return connectors.Int(ty.Kind, int64(rapid.Int16().Draw(t, "v")))
	case schema.Integer, schema.Date:
		return connectors.Int(ty.Kind, int64(rapid.Int32().Draw(t, "v")))
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return connectors.Int(ty.Kind, rapid.Int64().Draw(t, "v"))
	case schema.Float:
		return connectors.Value{State: connectors.Present, Kind: schema.Float, Int: int64(math.Float64bits(float64(rapid.Float32().Draw(t, "v"))))}
	case schema.Double:
		return connectors.Float(rapid.Float64().Draw(t, "v"))
	case schema.String:
		return connectors.Text(rapid.StringN(0, 12, 60).Draw(t, "v"))
	case schema.Binary:
		return connectors.Bytes(string(rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "v")))
	case schema.Decimal:
		n := new(big.Int).SetInt64(rapid.Int64().Draw(t, "v"))
		if ty.Precision > 18 {
			n.Mul(n, big.NewInt(rapid.Int64Range(1, 9).Draw(t, "m")))
		}
		n.Rem(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(ty.Precision)), nil))
		return connectors.Dec(twos(n), ty.Scale)
	case schema.Array:
		n := rapid.IntRange(0, 3).Draw(t, "len")
		kids := make([]connectors.Value, 0, n)
		for range n {
			kids = append(kids, genValue(t, *ty.Elem, ty.ElemNullable))
		}
		return connectors.Nested(schema.Array, kids)
	case schema.Map:
		n := rapid.IntRange(0, 3).Draw(t, "len")
		kids := make([]connectors.Value, 0, 2*n)
		for range n {
			kids = append(kids, genValue(t, *ty.Key, false), genValue(t, *ty.Elem, ty.ElemNullable))
		}
		return connectors.Nested(schema.Map, kids)
	case schema.Struct:
		kids := make([]connectors.Value, len(ty.Fields))
		for i, f := range ty.Fields {
			kids[i] = genValue(t, f.Type, f.Nullable)
		}
		return connectors.Nested(schema.Struct, kids)
	}
	panic(ty.String())
}

// twos gives the shortest big-endian two's complement.
func twos(n *big.Int) string {
	if n.Sign() == 0 {
		return "\x00"
	}
	size := n.BitLen()/8 + 1
	m := new(big.Int).Set(n)
	if n.Sign() < 0 {
		m.Add(m, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	b := m.FillBytes(make([]byte, size))
	for len(b) > 1 && (b[0] == 0 && b[1]&0x80 == 0 || b[0] == 0xff && b[1]&0x80 != 0) {
		b = b[1:]
	}
	return string(b)
}
