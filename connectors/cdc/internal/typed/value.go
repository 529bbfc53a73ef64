package typed

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// Row reads the object at i as a row of the struct t. Members in the schema's order are found by comparison; those
// in another order by name. Members that are missing stay absent; a member that the schema does not name is an error.
func (t *Type) Row(r *js.Reader, s string, i int) (connectors.Row, int) {
	if i >= len(s) || s[i] != '{' {
		return connectors.Row{}, r.Fail(connectors.ClassBadValue, "an object is expected near %q", js.Excerpt(s, i))
	}
	r.StartRow()
	vals := r.Values(len(t.Fields))
	if i = t.members(r, s, i, vals, -1); i < 0 {
		return connectors.Row{}, -1
	}
	return connectors.NewRow(t.Shape, vals, r.EndRow()), i
}

func (t *Type) members(r *js.Reader, s string, i int, vals []connectors.Value, col int) int {
	i, more := js.Open(s, i, '}')
	for k := 0; more; k++ {
		f := k
		if k < len(t.Fields) && len(s)-i > len(t.Fields[k].raw) && s[i:i+len(t.Fields[k].raw)] == t.Fields[k].raw {
			i += len(t.Fields[k].raw)
			if s[i] <= ' ' {
				i = js.Space(s, i)
			}
		} else {
			name, escaped, next := js.Member(s, i)
			if next < 0 {
				return r.Malformed(s, i)
			}
			if escaped {
				name, _ = r.Unescape(name)
			}
			var known bool
			if f, known = t.index[name]; !known {
				return r.Fail(connectors.ClassBadValue, "member %q is not in the schema sent with the record", name)
			}
			i = next
		}
		c := col
		if c < 0 {
			c = f
		}
		if i = t.Fields[f].Type.Value(r, s, i, &vals[f], c); i < 0 {
			if col < 0 {
				ofColumn(r, t.Fields[f].Name)
			}
			return -1
		}
		at := i
		if i, more = js.Next(s, i, '}'); i < 0 {
			return r.Malformed(s, at)
		}
	}
	return i
}

// ofColumn puts the column's name in front of what is wrong with its value.
func ofColumn(r *js.Reader, name string) {
	if e, ok := connectors.IsPoison(r.Err); ok && e.Class == connectors.ClassBadValue {
		e.Reason = "column " + name + ": " + e.Reason
	}
}

// bad says that the value at i is none of the type's.
func (t *Type) bad(r *js.Reader, s string, i int) int {
	end := js.Skip(s, i)
	if end < 0 {
		return r.Malformed(s, i)
	}
	name := t.Name
	if name == "" {
		name = t.T.String()
	}
	value := s[i:end]
	if len(value) > 64 {
		value = strings.ToValidUTF8(value[:64], "") + "…"
	}
	return r.Fail(connectors.ClassBadValue, "declared as %s, and its value is %s", name, value)
}

// Value reads the value at i into v. col is the column it belongs to, for texts that are rescued.
func (t *Type) Value(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if i >= len(s) {
		return r.Malformed(s, i)
	}
	if s[i] == 'n' {
		end := js.Null(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		*v = connectors.Value{State: connectors.Null}
		return end
	}
	switch t.conv {
	case convInt:
		return t.integerValue(r, s, i, v, col)
	case convText, convUUIDText:
		if s[i] != '"' {
			return t.bad(r, s, i)
		}
		end, escaped := js.String(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		text := s[i+1 : end-1]
		if escaped {
			var lossy bool
			if text, lossy = r.Unescape(text); lossy {
				r.Rescue(col, s[i:end])
			}
		}
		if r.Detect && (r.Placeholder.IsText(text) || t.conv == convUUIDText && text == r.Placeholder.UUID) {
			r.Found++
			*v = connectors.Value{State: connectors.Unavailable}
			return end
		}
		v.State, v.Kind, v.Str = connectors.Present, schema.String, text
		return end
	case convBool, convBit:
		return t.boolValue(r, s, i, v, col)
	case convFloat64, convFloat32:
		return t.floatValue(r, s, i, v, col)
	case convBytes:
		return t.bytesValue(r, s, i, v, col)
	case convDecimal, convDecimalText:
		return t.decimalValue(r, s, i, v, col)
	case convVarDecimal:
		end := js.Skip(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		d, ok := r.VariableScale(s[i:end])
		if s[i] != '{' || !ok {
			return t.bad(r, s, i)
		}
		v.State, v.Kind, v.Str = connectors.Present, schema.String, d
		return end
	case convDate, convTimeMilli, convTimeMicro, convTimeNano, convTsMilli, convTsMicro, convTsNano:
		return t.temporalValue(r, s, i, v, col)
	case convZoned, convIsoDate:
		return t.isoValue(r, s, i, v, col)
	case convStructured:
		return t.structuredValue(r, s, i, v, col)
	case convArray, convMap, convStruct:
		return t.nestedValue(r, s, i, v, col)
	}
	return t.bad(r, s, i)
}

func number(r *js.Reader, s string, i int) (n int64, end int, ok bool) {
	end, fraction := js.Number(s, i)
	if end < 0 || fraction {
		return 0, end, false
	}
	if end-i < 19 {
		neg := s[i] == '-'
		j := i
		if neg {
			j++
		}
		for ; j < end; j++ {
			n = n*10 + int64(s[j]-'0')
		}
		if neg {
			n = -n
		}
		return n, end, true
	}
	n, err := strconv.ParseInt(s[i:end], 10, 64)
	return n, end, err == nil
}

func (t *Type) integerValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	switch s[i] {
	case 't', 'f': // MySQL tinyint(1): the same column is a boolean here and a number there
		var b connectors.Value
		end := t.boolValue(r, s, i, &b, col)
		if end < 0 {
			return end
		}
		v.State, v.Kind, v.Int = connectors.Present, t.T.Kind, b.Int
		return end
	}
	n, end, ok := number(r, s, i)
	if !ok || n < t.min || n > t.max {
		return t.bad(r, s, i)
	}
	v.State, v.Kind, v.Int = connectors.Present, t.T.Kind, n
	return end
}

func (t *Type) boolValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	switch s[i] {
	case 't', 'f':
		word, b := "true", int64(1)
		if s[i] == 'f' {
			word, b = "false", 0
		}
		if len(s)-i < len(word) || s[i:i+len(word)] != word {
			return r.Malformed(s, i)
		}
		v.State, v.Kind, v.Int = connectors.Present, schema.Boolean, b
		return i + len(word)
	case '"':
		if t.conv != convBit {
			return t.bad(r, s, i)
		}
		text, _, end := r.Str(s, i)
		if end < 0 {
			return end
		}
		b, ok := r.Base64(text)
		if !ok || len(b) > 1 {
			return t.bad(r, s, i)
		}
		v.State, v.Kind, v.Int = connectors.Present, schema.Boolean, 0
		if b != "" {
			v.Int = int64(b[0] & 1)
		}
		return end
	}
	n, end, ok := number(r, s, i)
	if !ok || n != 0 && n != 1 {
		return t.bad(r, s, i)
	}
	v.State, v.Kind, v.Int = connectors.Present, schema.Boolean, n
	return end
}

func (t *Type) floatValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	text, end := "", -1
	if s[i] == '"' { // Jackson prints NaN and the infinities as texts
		if text, _, end = r.Str(s, i); end < 0 {
			return end
		}
		switch text {
		case "NaN", "Infinity", "-Infinity", "+Infinity":
		default:
			return t.bad(r, s, i)
		}
	} else {
		if end, _ = js.Number(s, i); end < 0 {
			return t.bad(r, s, i)
		}
		text = s[i:end]
	}
	bits := 64
	if t.conv == convFloat32 {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		r.Rescue(col, text)
		*v = connectors.Value{State: connectors.Null}
		return end
	}
	v.State, v.Kind, v.Int = connectors.Present, t.T.Kind, int64(math.Float64bits(f))
	return end
}

func (t *Type) bytesValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if s[i] != '"' {
		return t.bad(r, s, i)
	}
	text, _, end := r.Str(s, i)
	if end < 0 {
		return end
	}
	if r.Detect && text == r.Placeholder.Base64 {
		r.Found++
		*v = connectors.Value{State: connectors.Unavailable}
		return end
	}
	b, ok := r.Base64(text)
	if !ok {
		return t.bad(r, s, i)
	}
	v.State, v.Kind, v.Str = connectors.Present, schema.Binary, b
	return end
}

var pow10 = func() (p [39]*big.Int) {
	p[0] = big.NewInt(1)
	for i := 1; i < len(p); i++ {
		p[i] = new(big.Int).Mul(p[i-1], big.NewInt(10))
	}
	return p
}()

var pow10small = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// Fits tells whether an unscaled number (minimal two's complement) has at most precision digits.
func Fits(unscaled string, precision int) bool {
	if n, ok := js.SmallInt(unscaled); ok {
		if precision >= len(pow10small) {
			return true
		}
		return n < pow10small[precision] && n > -pow10small[precision]
	}
	if len(unscaled) > 16 || precision >= len(pow10) {
		return len(unscaled) <= 16
	}
	return connectors.Unscaled(unscaled).CmpAbs(pow10[precision]) < 0
}

func (t *Type) decimalValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	var unscaled string
	scale := t.scale
	var end int
	if s[i] == '"' {
		text, _, e := r.Str(s, i)
		if e < 0 {
			return e
		}
		end = e
		if r.Detect && text == r.Placeholder.Base64 {
			r.Found++
			*v = connectors.Value{State: connectors.Unavailable}
			return end
		}
		b, ok := r.Base64(text)
		if !ok || b == "" {
			return t.bad(r, s, i)
		}
		unscaled = js.MinimalInt(b)
	} else { // decimal.format=NUMERIC, and keys in headers
		if end, _ = js.Number(s, i); end < 0 {
			return t.bad(r, s, i)
		}
		n, from, ok := js.ParseDecimal(s[i:end])
		if ok {
			n, ok = js.Rescale(n, from, scale)
		}
		if !ok {
			r.Rescue(col, s[i:end])
			*v = connectors.Value{State: connectors.Null}
			return end
		}
		unscaled = r.Keep(connectors.AppendUnscaled(nil, n))
	}
	if t.toWhole {
		n, ok := js.Rescale(connectors.Unscaled(unscaled), scale, 0)
		if !ok {
			r.Rescue(col, string(js.AppendDecimal(nil, unscaled, scale)))
			*v = connectors.Value{State: connectors.Null}
			return end
		}
		unscaled, scale = r.Keep(connectors.AppendUnscaled(nil, n)), 0
	}
	if t.conv == convDecimalText {
		v.State, v.Kind, v.Str = connectors.Present, schema.String, r.Keep(js.AppendDecimal(nil, unscaled, scale))
		return end
	}
	if !Fits(unscaled, t.T.Precision) {
		r.Rescue(col, string(js.AppendDecimal(nil, unscaled, scale)))
		*v = connectors.Value{State: connectors.Null}
		return end
	}
	v.State, v.Kind, v.Str, v.Int = connectors.Present, schema.Decimal, unscaled, int64(scale)
	return end
}

func (t *Type) nestedValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if s[i] != '[' && s[i] != '{' {
		return t.bad(r, s, i)
	}
	if r.Detect && t.conv != convStruct {
		end := js.Skip(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		if r.Placeholder.IsNested(s[i:end]) {
			r.Found++
			*v = connectors.Value{State: connectors.Unavailable}
			return end
		}
	}
	detect := r.Detect
	r.Detect = false // the placeholder stands for whole values only
	end := t.parts(r, s, i, v, col)
	r.Detect = detect
	return end
}

func (t *Type) parts(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if t.conv == convStruct {
		if s[i] != '{' {
			return t.bad(r, s, i)
		}
		vals := r.Values(len(t.Fields))
		if i = t.members(r, s, i, vals, col); i < 0 {
			return -1
		}
		for k := range vals {
			if vals[k].State == connectors.Absent {
				vals[k].State = connectors.Null
			}
		}
		*v = connectors.Nested(schema.Struct, vals)
		return i
	}
	var kids []connectors.Value
	closing := byte(']')
	if s[i] == '{' {
		closing = '}'
	}
	if t.conv == convArray && closing == '}' {
		return t.bad(r, s, i)
	}
	i, more := js.Open(s, i, closing)
	for more {
		at := i
		switch {
		case t.conv == convArray:
			kids = append(kids, connectors.Value{})
			i = t.elem.Value(r, s, i, &kids[len(kids)-1], col)
		case closing == '}':
			name, escaped, next := js.Member(s, i)
			if next < 0 {
				return r.Malformed(s, i)
			}
			if escaped {
				name, _ = r.Unescape(name)
			}
			kids = append(kids, connectors.Value{}, connectors.Value{})
			if !t.key.fromName(r, name, &kids[len(kids)-2], col) {
				return r.Fail(connectors.ClassBadValue, "map key %q is not a %s", name, t.key.T)
			}
			i = t.elem.Value(r, s, next, &kids[len(kids)-1], col)
		default: // a pair
			if s[i] != '[' {
				return t.bad(r, s, i)
			}
			kids = append(kids, connectors.Value{}, connectors.Value{})
			i = js.Space(s, i+1)
			if i = t.key.Value(r, s, i, &kids[len(kids)-2], col); i < 0 {
				return -1
			}
			ok := false
			if i, ok = js.Next(s, i, ']'); i < 0 || !ok {
				return r.Malformed(s, at)
			}
			if i = t.elem.Value(r, s, i, &kids[len(kids)-1], col); i < 0 {
				return -1
			}
			if i, ok = js.Next(s, i, ']'); i < 0 || ok {
				return r.Malformed(s, at)
			}
		}
		if i < 0 {
			return -1
		}
		if i, more = js.Next(s, i, closing); i < 0 {
			return r.Malformed(s, at)
		}
	}
	*v = connectors.Nested(t.T.Kind, kids)
	return i
}

// fromName makes a map key of the name of an object's member.
func (t *Type) fromName(r *js.Reader, name string, v *connectors.Value, col int) bool {
	if t.conv == convText || t.conv == convUUIDText {
		*v = connectors.Text(name)
		return true
	}
	end := t.Value(r, name, 0, v, col)
	if end != len(name) {
		r.Err = nil
		return false
	}
	return true
}
