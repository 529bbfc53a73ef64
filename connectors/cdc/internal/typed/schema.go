// Package typed reads JSON values by the Connect schema that is sent with them (JsonConverter with
// schemas.enable=true, and registries that hold Connect schemas), straight to values of the Delta protocol's types.
// The mapping of semantic types is that of Debezium's logical names; see the table of kinds in compile.
package typed

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// maxNodes and maxDepth bound a schema that comes from outside.
const (
	maxNodes = 50000
	maxDepth = 64
)

// pgScaleBits is 2 to the number of bits in which PostgreSQL keeps a numeric's scale, of which 1000 is the highest.
const pgScaleBits = 1 << 11

// conv says how a JSON value becomes a Value.
type conv uint8

const (
	convBool conv = iota
	convInt       // Byte Short Integer Long, by Type.t
	convFloat32
	convFloat64
	convText
	convBytes
	convBit         // Bits of length 1
	convDecimal     // fits decimal(p, s)
	convDecimalText // precision above 38: exact text
	convVarDecimal  // VariableScaleDecimal
	convDate        // days
	convTimeMilli   // to µs
	convTimeMicro   // as it is
	convTimeNano    // to µs
	convTsMilli     // local date and time
	convTsMicro     //
	convTsNano      //
	convZoned       // ISO text with offset
	convIsoDate     // ISO date, perhaps with Z
	convArray       //
	convMap         //
	convStruct      //
	convJSON        // any value, as text: a schema without a type that is known
	convUUIDText    // text; the placeholder may be the name-based UUID
	convStructured  // struct of the parts of a date or time
)

// Type is a compiled Connect schema.
type Type struct {
	// Name is the schema's name: io.debezium.time.Date, shop.inventory.orders.Envelope.
	Name string
	// T is the Delta type of the values.
	T        schema.Type
	Optional bool
	conv     conv
	min, max int64 // of convInt
	scale    int   // of decimals, as they are sent
	toWhole  bool  // the decimals are whole numbers: their scale is negative

	Fields []Field
	index  map[string]int
	// Shape is the row shape of a struct.
	Shape *connectors.Shape
	elem  *Type // of arrays and maps
	key   *Type // of maps
}

// Field is a member of a struct.
type Field struct {
	Name string
	Type *Type
	raw  string // "name":
}

// Field gives the type of a member, or nil.
func (t *Type) Field(name string) *Type {
	if t == nil {
		return nil
	}
	if i, ok := t.index[name]; ok {
		return t.Fields[i].Type
	}
	return nil
}

// IsStruct tells whether values are structs (rows).
func (t *Type) IsStruct() bool { return t != nil && t.Shape != nil }

type node struct {
	Type       string            `json:"type"`
	Optional   bool              `json:"optional"`
	Name       string            `json:"name"`
	Parameters map[string]string `json:"parameters"`
	Field      string            `json:"field"`
	Fields     []node            `json:"fields"`
	Items      *node             `json:"items"`
	Keys       *node             `json:"keys"`
	Values     *node             `json:"values"`
}

// Compile reads the text of a Connect schema.
func Compile(text string) (*Type, error) {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return nil, fmt.Errorf("connect schema: %w", err)
	}
	left := maxNodes
	return compile(&n, 0, &left)
}

var temporal = map[string]conv{
	"org.apache.kafka.connect.data.Date":      convDate,
	"org.apache.kafka.connect.data.Time":      convTimeMilli,
	"org.apache.kafka.connect.data.Timestamp": convTsMilli,
	"io.debezium.time.Date":                   convDate,
	"io.debezium.time.Time":                   convTimeMilli,
	"io.debezium.time.MicroTime":              convTimeMicro,
	"io.debezium.time.NanoTime":               convTimeNano,
	"io.debezium.time.Timestamp":              convTsMilli,
	"io.debezium.time.MicroTimestamp":         convTsMicro,
	"io.debezium.time.NanoTimestamp":          convTsNano,
	"io.debezium.time.MicroDuration":          convTimeMicro,
	"io.debezium.time.NanoDuration":           convTimeNano,
}

func compile(n *node, depth int, left *int) (*Type, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("connect schema: more than %d parts", maxNodes)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("connect schema: nested deeper than %d", maxDepth)
	}
	t := &Type{Name: n.Name, Optional: n.Optional}
	switch n.Type {
	case "boolean":
		t.conv, t.T = convBool, schema.Of(schema.Boolean)
	case "int8":
		t.integer(schema.Byte, 8)
	case "int16":
		t.integer(schema.Short, 16)
	case "int32":
		t.integer(schema.Integer, 32)
	case "int64":
		t.integer(schema.Long, 64)
	case "float", "float32":
		t.conv, t.T = convFloat32, schema.Of(schema.Float)
	case "double", "float64":
		t.conv, t.T = convFloat64, schema.Of(schema.Double)
	case "string":
		t.text(n)
	case "bytes":
		if err := t.binary(n); err != nil {
			return nil, err
		}
	case "array":
		if n.Items == nil {
			return nil, fmt.Errorf("connect schema: array %q without items", n.Field)
		}
		e, err := compile(n.Items, depth+1, left)
		if err != nil {
			return nil, err
		}
		t.conv, t.elem, t.T = convArray, e, schema.ArrayOf(e.T)
	case "map":
		if n.Keys == nil || n.Values == nil {
			return nil, fmt.Errorf("connect schema: map %q without keys or values", n.Field)
		}
		k, err := compile(n.Keys, depth+1, left)
		if err != nil {
			return nil, err
		}
		v, err := compile(n.Values, depth+1, left)
		if err != nil {
			return nil, err
		}
		t.conv, t.key, t.elem, t.T = convMap, k, v, schema.MapOf(k.T, v.T)
	case "struct":
		if err := t.structure(n, depth, left); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("connect schema: unknown type %q of %q", n.Type, n.Field)
	}
	if c, ok := temporal[n.Name]; ok && t.conv == convInt {
		t.conv = c
		switch c {
		case convDate:
			t.T = schema.Of(schema.Date)
		case convTsMilli, convTsMicro, convTsNano:
			t.T = schema.Of(schema.TimestampNTZ)
		default: // Delta has no time of day and no duration
			t.T = schema.Of(schema.Long)
		}
	}
	return t, nil
}

func (t *Type) integer(k schema.Kind, bits uint) {
	t.conv, t.T = convInt, schema.Of(k)
	t.min, t.max = -1<<(bits-1), 1<<(bits-1)-1
}

func (t *Type) text(n *node) {
	t.conv, t.T = convText, schema.Of(schema.String)
	switch n.Name {
	case "io.debezium.time.ZonedTimestamp", "io.debezium.time.IsoTimestamp":
		t.conv, t.T = convZoned, schema.Of(schema.Timestamp)
	case "io.debezium.time.IsoDate":
		t.conv, t.T = convIsoDate, schema.Of(schema.Date)
	case "io.debezium.data.Uuid":
		t.conv = convUUIDText
	}
}

func (t *Type) binary(n *node) error {
	t.conv, t.T = convBytes, schema.Of(schema.Binary)
	switch n.Name {
	case "io.debezium.data.Bits":
		if n.Parameters["length"] == "1" {
			t.conv, t.T = convBit, schema.Of(schema.Boolean)
		}
	case "org.apache.kafka.connect.data.Decimal":
		scale, err := strconv.Atoi(n.Parameters["scale"])
		if err != nil || scale >= pgScaleBits || scale < -1000 {
			return fmt.Errorf("connect schema: decimal %q has scale %q", n.Field, n.Parameters["scale"])
		}
		precision := 38
		if p := n.Parameters["connect.decimal.precision"]; p != "" {
			if precision, err = strconv.Atoi(p); err != nil || precision < 1 {
				return fmt.Errorf("connect schema: decimal %q has precision %q", n.Field, p)
			}
		}
		t.scale = scale
		if scale > 1000 { // PostgreSQL's numeric(5,-2): the connector takes the scale's 11 bits for a positive number, 2046
			scale -= pgScaleBits
		}
		if scale < 0 { // Oracle: 12 with scale -3 is 12000
			t.toWhole = true
			if n.Parameters["connect.decimal.precision"] != "" {
				precision -= scale
			}
			scale = 0
		}
		precision = max(precision, scale)
		if precision > 38 {
			t.conv, t.T = convDecimalText, schema.Of(schema.String)
		} else {
			t.conv, t.T = convDecimal, schema.DecimalOf(precision, scale)
		}
	}
	return nil
}

func (t *Type) structure(n *node, depth int, left *int) error {
	t.Fields = make([]Field, len(n.Fields))
	t.index = make(map[string]int, len(n.Fields))
	t.Shape = &connectors.Shape{Names: make([]string, len(n.Fields)), Types: make([]schema.Type, len(n.Fields))}
	fields := make([]schema.Field, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		ft, err := compile(f, depth+1, left)
		if err != nil {
			return err
		}
		if _, twice := t.index[f.Field]; twice {
			return fmt.Errorf("connect schema: struct %q has %q twice", n.Name, f.Field)
		}
		name := strings.Clone(f.Field)
		t.index[name] = i
		t.Fields[i] = Field{Name: name, Type: ft, raw: quote(name) + ":"}
		t.Shape.Names[i], t.Shape.Types[i] = name, ft.T
		fields[i] = schema.Field{Name: name, Type: ft.T, Nullable: ft.Optional}
		// before and after have one type: let their rows share a shape
		if i > 0 && ft.IsStruct() {
			if prev := t.Fields[i-1].Type; prev.IsStruct() && prev.Name == ft.Name && prev.T.Equal(ft.T) {
				ft.Shape = prev.Shape
			}
		}
	}
	t.conv, t.T = convStruct, schema.StructOf(fields...)
	if n.Name == "io.debezium.data.VariableScaleDecimal" {
		t.conv, t.T = convVarDecimal, schema.Of(schema.String)
	}
	if kind, ok := structured[n.Name]; ok {
		t.conv, t.T, t.Shape = convStructured, schema.Of(kind), nil
	}
	return nil
}

// quote prints a name as Jackson does: only quotes, backslashes and controls are escaped. Should another writer have
// escaped more, the member is found by its name.
func quote(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
