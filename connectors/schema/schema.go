// Package schema is the vocabulary of column types that every room below worker/ shares: the types of the
// Delta protocol (PROTOCOL.md, "Schema Serialization Format"), with nothing added. Decoders give values of
// these types, silver evolves tables over them, connectors/delta writes them to the log and
// connectors/columnar maps them to Arrow.
//
// A Type is an immutable value: share it freely between goroutines, never change it in place.
package schema

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the outermost shape of a Type.
type Kind uint8

// The kinds of the Delta protocol. Void is the type of a column that has shown nothing but nulls.
const (
	Void Kind = iota
	Boolean
	Byte    // int8
	Short   // int16
	Integer // int32
	Long    // int64
	Float   // float32
	Double  // float64
	Decimal // decimal(precision, scale), precision 1..38
	String
	Binary
	Date         // days since 1970-01-01
	Timestamp    // an instant: microseconds since the epoch, UTC
	TimestampNTZ // a wall clock reading: microseconds since 1970-01-01T00:00:00 without zone
	Array
	Map
	Struct
	Variant
)

var kindNames = [...]string{
	"void", "boolean", "byte", "short", "integer", "long", "float", "double", "decimal", "string", "binary",
	"date", "timestamp", "timestamp_ntz", "array", "map", "struct", "variant",
}

// String gives the protocol's name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Type is the type of a column or of a part of one.
type Type struct {
	Kind Kind
	// Precision and Scale belong to Decimal.
	Precision, Scale int
	// Elem is the element of an Array or the value of a Map.
	Elem *Type
	// ElemNullable is containsNull of an Array, valueContainsNull of a Map.
	ElemNullable bool
	// Key is the key of a Map.
	Key *Type
	// Fields belong to Struct.
	Fields []Field
}

// Field is a column of a table or a member of a struct.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
	// Metadata is kept verbatim (column mapping, type changes, comments, generation expressions …).
	// nil means empty.
	Metadata map[string]json.RawMessage
}

// Schema is the row type of a table.
type Schema struct {
	Fields []Field
}

// Of makes a Type of a kind that needs no parameters.
func Of(k Kind) Type { return Type{Kind: k} }

// DecimalOf makes decimal(precision, scale).
func DecimalOf(precision, scale int) Type {
	return Type{Kind: Decimal, Precision: precision, Scale: scale}
}

// ArrayOf makes array<elem> whose elements may be null.
func ArrayOf(elem Type) Type { return Type{Kind: Array, Elem: &elem, ElemNullable: true} }

// MapOf makes map<key, value> whose values may be null.
func MapOf(key, value Type) Type {
	return Type{Kind: Map, Key: &key, Elem: &value, ElemNullable: true}
}

// StructOf makes a struct.
func StructOf(fields ...Field) Type { return Type{Kind: Struct, Fields: fields} }

// Equal tells whether two types are the same, field metadata and nullability left aside.
func (t Type) Equal(o Type) bool {
	if t.Kind != o.Kind {
		return false
	}
	switch t.Kind {
	case Decimal:
		return t.Precision == o.Precision && t.Scale == o.Scale
	case Array:
		return t.Elem.Equal(*o.Elem)
	case Map:
		return t.Key.Equal(*o.Key) && t.Elem.Equal(*o.Elem)
	case Struct:
		if len(t.Fields) != len(o.Fields) {
			return false
		}
		for i := range t.Fields {
			if t.Fields[i].Name != o.Fields[i].Name || !t.Fields[i].Type.Equal(o.Fields[i].Type) {
				return false
			}
		}
	}
	return true
}

// String prints the type as a person would write it in SQL: decimal(10,2), array<string>, struct<a: long>.
func (t Type) String() string {
	switch t.Kind {
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case Array:
		return "array<" + t.Elem.String() + ">"
	case Map:
		return "map<" + t.Key.String() + ", " + t.Elem.String() + ">"
	case Struct:
		parts := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			parts[i] = f.Name + ": " + f.Type.String()
		}
		return "struct<" + strings.Join(parts, ", ") + ">"
	}
	return t.Kind.String()
}

// Index gives the position of the column with this name, or -1. Names are compared exactly.
func (s Schema) Index(name string) int {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// IndexFold is Index without regard to case, as Delta compares names.
func (s Schema) IndexFold(name string) int {
	for i := range s.Fields {
		if strings.EqualFold(s.Fields[i].Name, name) {
			return i
		}
	}
	return -1
}

// Equal tells whether names, order and types are the same.
func (s Schema) Equal(o Schema) bool {
	return Type{Kind: Struct, Fields: s.Fields}.Equal(Type{Kind: Struct, Fields: o.Fields})
}
