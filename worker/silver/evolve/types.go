package evolve

import "sluice.io/sluice/connectors/schema"

// Change is what a column's type must do for a value of another type.
type Change uint8

// The changes.
const (
	// None: values of the type fit, or may fit, the column as it is.
	None Change = iota
	// Wider: the column must be widened.
	Wider
	// Other: there is no type that holds both; values are rescued.
	Other
)

func integral(k schema.Kind) bool { return k >= schema.Byte && k <= schema.Long }

// digits is how many decimal digits an integer kind may have.
func digits(k schema.Kind) int {
	switch k {
	case schema.Byte:
		return 3
	case schema.Short:
		return 5
	case schema.Integer:
		return 10
	}
	return 20
}

// Unify tells what must become of a column of type have so that it holds values of type want.
func Unify(have, want schema.Type) (schema.Type, Change) {
	if want.Kind == schema.Void || have.Equal(want) {
		return have, None
	}
	switch h, w := have.Kind, want.Kind; {
	case h == schema.Void:
		return want, Wider
	case integral(h) && integral(w):
		if w > h {
			return want, Wider
		}
		return have, None
	case integral(h) && w == schema.Boolean, h == schema.Boolean && integral(w):
		// TINYINT(1) is one to some and the other to others; a number that is neither 0 nor 1 is rescued.
		return have, None
	case h == schema.Double && (w == schema.Float || integral(w)):
		return have, None
	case h == schema.Float && w == schema.Double, integral(h) && (w == schema.Double || w == schema.Float):
		return schema.Of(schema.Double), Wider
	case h == schema.Float && integral(w):
		if w <= schema.Short {
			return have, None
		}
		return schema.Of(schema.Double), Wider
	case h == schema.Decimal && w == schema.Decimal:
		return unifyDecimal(have, want)
	case h == schema.Decimal && integral(w):
		return unifyDecimal(have, schema.DecimalOf(digits(w), 0))
	case integral(h) && w == schema.Decimal:
		if want.Scale == 0 && want.Precision < min(digits(h), 19) { // all of them are integers of the column's size
			return have, None
		}
		t, c := unifyDecimal(schema.DecimalOf(digits(h), 0), want)
		if c == Other {
			return have, Other
		}
		return t, Wider
	case timeLike(h) && timeLike(w):
		return have, None
	case h == schema.Array && w == schema.Array:
		e, c := Unify(*have.Elem, *want.Elem)
		return schema.Type{Kind: schema.Array, Elem: &e, ElemNullable: true}, c
	case h == schema.Map && w == schema.Map && have.Key.Equal(*want.Key):
		e, c := Unify(*have.Elem, *want.Elem)
		return schema.Type{Kind: schema.Map, Key: have.Key, Elem: &e, ElemNullable: true}, c
	case h == schema.Struct && w == schema.Struct:
		return unifyStruct(have, want)
	}
	return have, Other
}

func timeLike(k schema.Kind) bool {
	return k == schema.Date || k == schema.Timestamp || k == schema.TimestampNTZ
}

func unifyDecimal(have, want schema.Type) (schema.Type, Change) {
	whole := max(have.Precision-have.Scale, want.Precision-want.Scale)
	scale := max(have.Scale, want.Scale)
	if have.Kind == schema.Decimal && whole == have.Precision-have.Scale && scale == have.Scale {
		return have, None
	}
	if whole+scale > 38 {
		return have, Other
	}
	return schema.DecimalOf(whole+scale, scale), Wider
}

func unifyStruct(have, want schema.Type) (schema.Type, Change) {
	out, change := schema.Type{Kind: schema.Struct, Fields: append([]schema.Field(nil), have.Fields...)}, None
	at := members(have.Fields, want.Fields)
	for k, f := range want.Fields {
		i := at[k]
		if i < 0 {
			f.Nullable = true
			out.Fields = append(out.Fields, f)
			change = max(change, Wider)
			continue
		}
		t, c := Unify(out.Fields[i].Type, f.Type)
		if c == Other {
			return have, Other
		}
		out.Fields[i].Type = t
		change = max(change, c)
	}
	return out, change
}

// Adds tells whether a widening only adds members to structs: then old files need not be rewritten.
func Adds(from, to schema.Type) bool {
	if from.Equal(to) {
		return true
	}
	if from.Kind != to.Kind {
		return from.Kind == schema.Void
	}
	switch from.Kind {
	case schema.Array:
		return Adds(*from.Elem, *to.Elem)
	case schema.Map:
		return from.Key.Equal(*to.Key) && Adds(*from.Elem, *to.Elem)
	case schema.Struct:
		for i := range from.Fields {
			if i >= len(to.Fields) || from.Fields[i].Name != to.Fields[i].Name || !Adds(from.Fields[i].Type, to.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return false
}
