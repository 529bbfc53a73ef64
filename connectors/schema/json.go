package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSyntax is wrapped by every error of Parse.
var ErrSyntax = errors.New("not a Delta schema")

// UnknownTypeError is the error of a schema that has a type which is not known here.
type UnknownTypeError string

// Error implements error.
func (e UnknownTypeError) Error() string { return fmt.Sprintf("unknown type %q", string(e)) }

// Unwrap gives ErrSyntax.
func (e UnknownTypeError) Unwrap() error { return ErrSyntax }

// maxDepth bounds the nesting of a schema that comes from outside.
const maxDepth = 100

type fieldJSON struct {
	Name     string                     `json:"name"`
	Type     json.RawMessage            `json:"type"`
	Nullable bool                       `json:"nullable"`
	Metadata map[string]json.RawMessage `json:"metadata"`
}

type typeJSON struct {
	Type              string          `json:"type"`
	Fields            []fieldJSON     `json:"fields"`
	ElementType       json.RawMessage `json:"elementType"`
	ContainsNull      bool            `json:"containsNull"`
	KeyType           json.RawMessage `json:"keyType"`
	ValueType         json.RawMessage `json:"valueType"`
	ValueContainsNull bool            `json:"valueContainsNull"`
	SQLType           json.RawMessage `json:"sqlType"`
}

// Parse reads a schemaString of a Delta metaData action.
func Parse(schemaString string) (Schema, error) {
	t, err := parseType(json.RawMessage(schemaString), 0)
	if err != nil {
		return Schema{}, err
	}
	if t.Kind != Struct {
		return Schema{}, fmt.Errorf("%w: the root is %s, not a struct", ErrSyntax, t.Kind)
	}
	return Schema{Fields: t.Fields}, nil
}

func parseType(raw json.RawMessage, depth int) (Type, error) {
	if depth > maxDepth {
		return Type{}, fmt.Errorf("%w: nested deeper than %d", ErrSyntax, maxDepth)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return Type{}, fmt.Errorf("%w: a type is missing", ErrSyntax)
	}
	if raw[0] == '"' {
		var name string
		if err := json.Unmarshal(raw, &name); err != nil {
			return Type{}, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		switch {
		case name == "null": // the name of void in old versions of Spark
			return Of(Void), nil
		case (strings.HasPrefix(name, "char(") || strings.HasPrefix(name, "varchar(")) && strings.HasSuffix(name, ")"):
			return Of(String), nil
		}
		return ParsePrimitive(name)
	}
	var j typeJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return Type{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	switch j.Type {
	case "struct":
		fields := make([]Field, len(j.Fields))
		for i, f := range j.Fields {
			t, err := parseType(f.Type, depth+1)
			if err != nil {
				return Type{}, fmt.Errorf("column %q: %w", f.Name, err)
			}
			md := f.Metadata
			if len(md) == 0 {
				md = nil
			}
			fields[i] = Field{Name: f.Name, Type: t, Nullable: f.Nullable, Metadata: md}
		}
		return Type{Kind: Struct, Fields: fields}, nil
	case "array":
		e, err := parseType(j.ElementType, depth+1)
		if err != nil {
			return Type{}, fmt.Errorf("array element: %w", err)
		}
		return Type{Kind: Array, Elem: &e, ElemNullable: j.ContainsNull}, nil
	case "map":
		k, err := parseType(j.KeyType, depth+1)
		if err != nil {
			return Type{}, fmt.Errorf("map key: %w", err)
		}
		v, err := parseType(j.ValueType, depth+1)
		if err != nil {
			return Type{}, fmt.Errorf("map value: %w", err)
		}
		return Type{Kind: Map, Key: &k, Elem: &v, ElemNullable: j.ValueContainsNull}, nil
	case "udt": // a class of the program that wrote the table, and what its values are stored as: the vectors of Spark ML
		t, err := parseType(j.SQLType, depth+1)
		if err != nil {
			return Type{}, fmt.Errorf("user-defined type: %w", err)
		}
		return t, nil
	}
	return ParsePrimitive(j.Type)
}

// ParsePrimitive reads the name of a type without parts: long, decimal(10,2), timestamp_ntz.
func ParsePrimitive(name string) (Type, error) {
	for k, n := range kindNames {
		switch Kind(k) {
		case Decimal, Array, Map, Struct:
			continue
		}
		if n == name {
			return Type{Kind: Kind(k)}, nil
		}
	}
	if inner, ok := strings.CutPrefix(name, "decimal"); ok {
		if inner == "" { // written so by old writers for decimal(10,0)
			return DecimalOf(10, 0), nil
		}
		inner = strings.TrimSuffix(strings.TrimPrefix(inner, "("), ")")
		p, s, _ := strings.Cut(inner, ",")
		precision, errP := strconv.Atoi(strings.TrimSpace(p))
		scale, errS := strconv.Atoi(strings.TrimSpace(s))
		if errP == nil && errS == nil && precision >= 1 && precision <= 38 && scale >= 0 && scale <= precision {
			return DecimalOf(precision, scale), nil
		}
	}
	return Type{}, UnknownTypeError(name)
}

// String prints the schemaString of the Delta log: one line, members in the protocol's order.
func (s Schema) String() string {
	var b bytes.Buffer
	writeFields(&b, s.Fields)
	return b.String()
}

func writeFields(b *bytes.Buffer, fields []Field) {
	b.WriteString(`{"type":"struct","fields":[`)
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"name":`)
		writeJSON(b, f.Name)
		b.WriteString(`,"type":`)
		writeType(b, f.Type)
		fmt.Fprintf(b, `,"nullable":%t,"metadata":`, f.Nullable)
		if len(f.Metadata) == 0 {
			b.WriteString("{}")
		} else {
			writeJSON(b, f.Metadata) // encoding/json sorts the members of a map
		}
		b.WriteByte('}')
	}
	b.WriteString(`]}`)
}

func writeType(b *bytes.Buffer, t Type) {
	switch t.Kind {
	case Struct:
		writeFields(b, t.Fields)
	case Array:
		b.WriteString(`{"type":"array","elementType":`)
		writeType(b, *t.Elem)
		fmt.Fprintf(b, `,"containsNull":%t}`, t.ElemNullable)
	case Map:
		b.WriteString(`{"type":"map","keyType":`)
		writeType(b, *t.Key)
		b.WriteString(`,"valueType":`)
		writeType(b, *t.Elem)
		fmt.Fprintf(b, `,"valueContainsNull":%t}`, t.ElemNullable)
	default:
		writeJSON(b, t.String())
	}
}

// writeJSON writes v without HTML escapes and without a newline. It is called with values that always encode.
func writeJSON(b *bytes.Buffer, v any) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("schema: " + err.Error()) // strings and raw JSON that was parsed before
	}
	b.Truncate(b.Len() - 1)
}
