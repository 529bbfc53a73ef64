package evolve

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// AppendJSON appends a value as JSON: numbers with all their digits, binary as base64, dates and times as ISO text, floats
// that JSON lacks as text.
func AppendJSON(dst []byte, v connectors.Value) []byte {
	if v.State != connectors.Present {
		return append(dst, "null"...)
	}
	switch v.Kind {
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Int != 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return strconv.AppendInt(dst, v.Int, 10)
	case schema.Float, schema.Double:
		f, size := v.Float64(), 64
		if v.Kind == schema.Float {
			size = 32
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return appendText(dst, strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, size), "+"))
		}
		return strconv.AppendFloat(dst, f, 'g', -1, size)
	case schema.Decimal:
		return append(dst, decimalText(v.Str, int(v.Int))...)
	case schema.Binary:
		return appendText(dst, base64.StdEncoding.EncodeToString([]byte(v.Str)))
	case schema.Date:
		return appendText(dst, time.Unix(v.Int*86400, 0).UTC().Format("2006-01-02"))
	case schema.Timestamp:
		return appendText(dst, time.UnixMicro(v.Int).UTC().Format("2006-01-02T15:04:05.999999Z"))
	case schema.TimestampNTZ:
		return appendText(dst, time.UnixMicro(v.Int).UTC().Format("2006-01-02T15:04:05.999999"))
	case schema.Map:
		dst = append(dst, '{')
		for i, kids := 0, v.Kids(); i+1 < len(kids); i += 2 {
			if i > 0 {
				dst = append(dst, ',')
			}
			if kids[i].Kind == schema.String {
				dst = appendText(dst, kids[i].Str)
			} else {
				dst = appendText(dst, string(AppendJSON(nil, kids[i])))
			}
			dst = append(dst, ':')
			dst = AppendJSON(dst, kids[i+1])
		}
		return append(dst, '}')
	case schema.Array, schema.Struct:
		dst = append(dst, '[')
		for i, k := range v.Kids() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, k)
		}
		return append(dst, ']')
	}
	return appendText(dst, v.Str)
}

func appendText(dst []byte, s string) []byte {
	b, err := json.Marshal(strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return append(dst, `""`...)
	}
	return append(dst, b...)
}

func decimalText(unscaled string, scale int) string {
	n := connectors.Unscaled(unscaled)
	if scale <= 0 {
		return n.String() + strings.Repeat("0", -scale)
	}
	neg := n.Sign() < 0
	s := n.String()
	if neg {
		s = s[1:]
	}
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	if neg {
		s = "-" + s
	}
	return s
}

// Rescue collects what did not fit in a row, by column, as raw JSON.
type Rescue map[string]string

// Put notes a value.
func (r *Rescue) Put(column string, v connectors.Value) { r.PutRaw(column, string(AppendJSON(nil, v))) }

// PutText notes the text of a value.
func (r *Rescue) PutText(column, text string) { r.PutRaw(column, TextJSON(text)) }

// TextJSON is the JSON by which a rescue holds a text.
func TextJSON(text string) string { return string(appendText(nil, text)) }

// PutRaw notes JSON.
func (r *Rescue) PutRaw(column, raw string) {
	if *r == nil {
		*r = Rescue{}
	}
	(*r)[column] = raw
}

// Of gives what was noted of a column, and the name under which it was: the column's now, or before it was renamed in the table.
func (r Rescue) Of(f *schema.Field) (name, raw string, ok bool) {
	source := ""
	if len(r) > 0 {
		source = SourceName(f)
	}
	for _, name := range []string{f.Name, source, EscapeName(source)} {
		if raw, ok := r[name]; ok {
			return name, raw, true
		}
	}
	return "", "", false
}

// JSON gives the object, members sorted by name; "" where there are none.
func (r Rescue) JSON() string {
	if len(r) == 0 {
		return ""
	}
	m := make(map[string]json.RawMessage, len(r))
	for k, v := range r {
		m[k] = json.RawMessage(v)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// ParseRescue reads what JSON wrote.
func ParseRescue(s string) Rescue {
	if s == "" {
		return nil
	}
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(s), &m) != nil {
		return nil
	}
	r := make(Rescue, len(m))
	for k, v := range m {
		r[k] = string(v)
	}
	return r
}

// FromJSON reads a rescued number or boolean as a value of a type that can hold it now. Texts, times and nested values stay
// rescued: their JSON does not tell their type.
func FromJSON(raw string, t schema.Type) (connectors.Value, bool) {
	var v connectors.Value
	switch {
	case raw == "true" || raw == "false":
		v = connectors.Bool(raw == "true")
	case strings.HasPrefix(raw, `"`):
		return v, false
	default:
		if i, err := strconv.ParseInt(raw, 10, 64); err == nil {
			v = connectors.Int(schema.Long, i)
			break
		}
		if t.Kind == schema.Decimal {
			d, ok := parseDecimal(raw)
			if !ok {
				return v, false
			}
			v = d
			break
		}
		f, err := strconv.ParseFloat(raw, 64)
		if err != nil || string(AppendJSON(nil, connectors.Float(f))) != raw {
			return v, false
		}
		v = connectors.Float(f)
	}
	return Convert(v, t)
}

func parseDecimal(raw string) (connectors.Value, bool) {
	whole, frac, _ := strings.Cut(raw, ".")
	n, ok := new(big.Int).SetString(whole+frac, 10)
	if !ok {
		return connectors.Value{}, false
	}
	return connectors.Dec(string(connectors.AppendUnscaled(nil, n)), len(frac)), true
}
