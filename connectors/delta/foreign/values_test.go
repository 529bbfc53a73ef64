package foreign

import (
	"math"
	"math/big"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// oddStrings are what goes wrong in statistics, paths and JSON.
var oddStrings = []string{"plain", "", "with \"quotes\" and \\ back", "tab\tnew\nline", "ünïcødé", "日本語", "😀 smile", strings.Repeat("z", 40),
	strings.Repeat("\U0010FFFF", 35), strings.Repeat("a", 31) + "é and more", "null", "a/b=c%25:d?#&+", " lead and trail ", "'single'", "\u007f\u0085\u2028"}

var oddInts = []int64{0, 1, -1, 42, math.MaxInt8, math.MinInt8, math.MaxInt16, math.MinInt16, math.MaxInt32, math.MinInt32, 1<<53 + 1, math.MaxInt64, math.MinInt64}

var oddFloats = []float64{0, math.Copysign(0, -1), 1.5, -0.1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21, 1e-7, 123456789.125}

// oddTimes are microseconds: around the epoch, with digits below the millisecond, the first and last of the years 1 to 9999.
var oddTimes = []int64{0, -1, 1, 1_700_000_000_123_456, 1_700_000_000_123_999, -12_345_678_901, -62_135_596_800_000_000, 253_402_300_799_999_999, 1_582_934_400_000_000}

var oddDays = []int64{0, -1, 19_000, -719_162, 2_932_896, 11_016}

func pick[T any](list []T, i int) T { return list[i%len(list)] }

// unscaled gives a decimal's number as the vocabulary holds it.
func unscaled(n *big.Int) string {
	if n.Sign() >= 0 {
		return "\x00" + string(n.Bytes())
	}
	size := uint(len(n.Bytes()) + 1)
	b := new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), 8*size)).Bytes()
	return string(b)
}

// value gives value i of a type: odd ones in turn, a null now and then.
func value(t schema.Type, nullable bool, i int) connectors.Value {
	if nullable && i%7 == 5 {
		return connectors.NullValue()
	}
	switch t.Kind {
	case schema.Boolean:
		return connectors.Bool(i%2 == 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		bits := map[schema.Kind]uint{schema.Byte: 8, schema.Short: 16, schema.Integer: 32, schema.Long: 64}[t.Kind]
		n := pick(oddInts, i)
		if shift := 64 - bits; n<<shift>>shift != n {
			n = int64(i % 100)
		}
		return connectors.Int(t.Kind, n)
	case schema.Float:
		return connectors.Value{State: connectors.Present, Kind: schema.Float, Int: int64(math.Float64bits(float64(float32(pick(oddFloats, i)))))}
	case schema.Double:
		return connectors.Float(pick(oddFloats, i))
	case schema.Decimal:
		top := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
		top.Sub(top, big.NewInt(1))
		n := []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(-1), top, new(big.Int).Neg(top), new(big.Int).Quo(top, big.NewInt(3))}[i%6]
		return connectors.Dec(unscaled(n), t.Scale)
	case schema.String:
		return connectors.Text(pick(oddStrings, i))
	case schema.Binary:
		return connectors.Bytes(pick([]string{"", "\x00", "\xff\xfe", "bytes", strings.Repeat("\x80", 50)}, i))
	case schema.Date:
		return connectors.Int(t.Kind, pick(oddDays, i))
	case schema.Timestamp, schema.TimestampNTZ:
		return connectors.Int(t.Kind, pick(oddTimes, i))
	case schema.Array:
		kids := make([]connectors.Value, i%4)
		for k := range kids {
			kids[k] = value(*t.Elem, t.ElemNullable, i+k)
		}
		return connectors.Nested(schema.Array, kids)
	case schema.Map:
		var kids []connectors.Value
		for k := range i % 3 {
			kids = append(kids, value(*t.Key, false, 3*i+k), value(*t.Elem, t.ElemNullable, i+2*k+1))
		}
		return connectors.Nested(schema.Map, kids)
	case schema.Struct:
		kids := make([]connectors.Value, len(t.Fields))
		for k, f := range t.Fields {
			kids[k] = value(f.Type, f.Nullable, i+k)
		}
		return connectors.Nested(schema.Struct, kids)
	}
	return connectors.NullValue()
}

// walkRows is after how many rows walk goes over to the next width.
const walkRows = 150

// walk gives numbers whose differences have every width, 0 bits in the first walkRows rows, then 1, and so on; every fifth width, those that
// overflow the type.
func walk(t schema.Type, nullable bool, i int) connectors.Value {
	bits, ok := map[schema.Kind]int{schema.Byte: 8, schema.Short: 16, schema.Integer: 32, schema.Long: 64, schema.Date: 20, schema.Timestamp: 55, schema.Decimal: 29}[t.Kind]
	if !ok || nullable && i%11 == 3 {
		return value(t, nullable, i)
	}
	stage := i / walkRows
	width := stage % (bits + 1)
	n := int64(uint64(i)*0x9e3779b97f4a7c15>>1>>(64-width)) + int64(stage)
	if stage%2 == 1 {
		n = -n
	}
	if whole := t.Kind != schema.Date && t.Kind != schema.Timestamp && t.Kind != schema.Decimal; whole && stage%5 == 4 {
		n = math.MaxInt64>>(64-bits) - int64(i%3)
		if i%2 == 0 {
			n = math.MinInt64>>(64-bits) + int64(i%4)
		}
	} else if whole {
		n = n << (64 - bits) >> (64 - bits)
	}
	if t.Kind == schema.Decimal {
		return connectors.Dec(unscaled(big.NewInt(n)), t.Scale)
	}
	return connectors.Int(t.Kind, n)
}

func col(name string, t schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true}
}

func must(name string, t schema.Type) schema.Field { return schema.Field{Name: name, Type: t} }

func of(k schema.Kind) schema.Type { return schema.Of(k) }

func schemaOf(fields ...schema.Field) schema.Schema { return schema.Schema{Fields: fields} }

// flat are columns of every type without parts, less timestamp_ntz, which needs a feature.
func flat() []schema.Field {
	return []schema.Field{col("bool", of(schema.Boolean)), col("byte", of(schema.Byte)), col("short", of(schema.Short)), col("int", of(schema.Integer)),
		col("long", of(schema.Long)), col("float", of(schema.Float)), col("double", of(schema.Double)), col("dec9_2", schema.DecimalOf(9, 2)),
		col("dec18_6", schema.DecimalOf(18, 6)), col("dec38_10", schema.DecimalOf(38, 10)), col("dec38_0", schema.DecimalOf(38, 0)), col("dec5_5", schema.DecimalOf(5, 5)),
		col("string", of(schema.String)), col("binary", of(schema.Binary)), col("date", of(schema.Date)), col("ts", of(schema.Timestamp))}
}

// nested are columns with parts.
func nested() []schema.Field {
	inner := schema.StructOf(must("n", of(schema.Long)), col("s", of(schema.String)), col("d", schema.DecimalOf(20, 4)))
	return []schema.Field{col("struct", inner), col("list", schema.ArrayOf(of(schema.Integer))), col("strings", schema.ArrayOf(of(schema.String))),
		col("structs", schema.ArrayOf(inner)), col("map", schema.MapOf(of(schema.String), of(schema.Double))),
		col("maps", schema.MapOf(of(schema.Integer), schema.ArrayOf(schema.StructOf(col("at", of(schema.Timestamp)), col("b", of(schema.Binary)))))),
		col("deep", schema.StructOf(col("a", schema.StructOf(col("l", schema.ArrayOf(schema.ArrayOf(of(schema.Long)))), col("x", of(schema.Boolean))))))}
}
