package connectors

import (
	"math"
	"slices"

	"sluice.io/sluice/connectors/schema"
)

// State tells what is known of a column's value. NULL, absent and unavailable are three different things: a
// source that leaves a column out (ABSENT) or sends a placeholder for it (UNAVAILABLE) has not said NULL.
type State uint8

const (
	// Absent: the event does not mention the column. The zero Value is absent.
	Absent State = iota
	// Null: the event says NULL.
	Null
	// Unavailable: the event holds the source's placeholder for a value that did not change and was not sent
	// (PostgreSQL TOAST, Oracle LOB, SQL Server max types).
	Unavailable
	// Present: the event holds the value.
	Present
)

// Value is one column's value in one event. Strings point into the record that they came from.
//
// Which member holds it depends on Kind:
//
//	Boolean                     Int 0 or 1
//	Byte Short Integer Long     Int
//	Date                        Int, days since 1970-01-01
//	Timestamp, TimestampNTZ     Int, microseconds since the epoch
//	Float, Double               Int, math.Float64bits (a Float holds the float64 of the float32)
//	Decimal                     Str, unscaled value as big-endian two's complement; Int, the scale
//	String, Binary              Str
//	Array                       Kids, the elements
//	Map                         Kids, key and value in turn
//	Struct                      Kids, the members in the order of the column's type
type Value struct {
	State State
	Kind  schema.Kind
	Int   int64
	Str   string
	kids  *[]Value
}

// Bool makes a present boolean.
func Bool(b bool) Value {
	v := Value{State: Present, Kind: schema.Boolean}
	if b {
		v.Int = 1
	}
	return v
}

// Int makes a present value of an integer kind, Date, Timestamp or TimestampNTZ.
func Int(k schema.Kind, i int64) Value { return Value{State: Present, Kind: k, Int: i} }

// Float makes a present Double.
func Float(f float64) Value {
	return Value{State: Present, Kind: schema.Double, Int: int64(math.Float64bits(f))}
}

// Text makes a present String.
func Text(s string) Value { return Value{State: Present, Kind: schema.String, Str: s} }

// Bytes makes a present Binary.
func Bytes(s string) Value { return Value{State: Present, Kind: schema.Binary, Str: s} }

// Dec makes a present Decimal of the unscaled big-endian two's complement number.
func Dec(unscaled string, scale int) Value {
	return Value{State: Present, Kind: schema.Decimal, Str: unscaled, Int: int64(scale)}
}

// Nested makes a present Array, Map or Struct.
func Nested(k schema.Kind, kids []Value) Value {
	return Value{State: Present, Kind: k, kids: &kids}
}

// NullValue is a NULL.
func NullValue() Value { return Value{State: Null} }

// UnavailableValue is the source's placeholder.
func UnavailableValue() Value { return Value{State: Unavailable} }

// Float64 gives the number of a Float or Double.
func (v Value) Float64() float64 { return math.Float64frombits(uint64(v.Int)) }

// Kids gives the parts of an Array, Map or Struct.
func (v Value) Kids() []Value {
	if v.kids == nil {
		return nil
	}
	return *v.kids
}

// Equal tells whether two values are the same, state and kind included. NaN equals NaN.
func (v Value) Equal(o Value) bool {
	if v.State != o.State {
		return false
	}
	if v.State != Present {
		return true
	}
	if v.Kind != o.Kind || v.Int != o.Int || v.Str != o.Str {
		return false
	}
	a, b := v.Kids(), o.Kids()
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// Shape is the list of columns of a Row. Rows of one table usually share one Shape, so that a consumer may keep
// what it derived from a Shape under the Shape's address. A Shape is never changed.
type Shape struct {
	// Names are the columns in the order of the event.
	Names []string
	// Types are the columns' types where the event (or a registry, or configuration) declares them, else nil:
	// then each Value's Kind is all that is known.
	Types []schema.Type
}

// Index gives the position of a column, or -1.
func (s *Shape) Index(name string) int {
	if s == nil {
		return -1
	}
	for i, n := range s.Names {
		if n == name {
			return i
		}
	}
	return -1
}

// Row is a row image or a key: Values[i] belongs to column Shape.Names[i]. The zero Row means that there is none.
type Row struct {
	Shape  *Shape
	Values []Value

	rescued *[]Rescued // nil mostly; apart, so that a row is small
}

// NewRow makes a row; see Rescued.
func NewRow(shape *Shape, values []Value, rescued []Rescued) Row {
	r := Row{Shape: shape, Values: values}
	r.SetRescued(rescued)
	return r
}

// Rescued are the texts of values that their columns cannot hold exactly (an infinite timestamp, a year above 9999, a decimal
// that is too long, a lone surrogate): nothing is lost (D6). Usually nil.
func (r Row) Rescued() []Rescued {
	if r.rescued == nil {
		return nil
	}
	return *r.rescued
}

// SetRescued replaces Rescued. Copies of the row keep theirs.
func (r *Row) SetRescued(x []Rescued) {
	r.rescued = nil
	if len(x) > 0 {
		r.rescued = &x
	}
}

// Rescue adds to Rescued. Copies of the row keep theirs.
func (r *Row) Rescue(x Rescued) {
	r.SetRescued(append(slices.Clone(r.Rescued()), x))
}

// Rescued is a value that the type of its column cannot hold: Text is what the event said, in a form for people. The
// row's Value is NULL then, or the nearest that the type has.
type Rescued struct {
	Column int // index into Row.Values
	Text   string
}

// IsZero tells that there is no row.
func (r Row) IsZero() bool { return r.Shape == nil }

// Get gives the value of a column; Absent when the row does not mention it.
func (r Row) Get(name string) Value {
	if i := r.Shape.Index(name); i >= 0 {
		return r.Values[i]
	}
	return Value{}
}
