package js

import (
	"math"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// DocumentRow reads a MongoDB document in extended JSON (v1 strict, v2 canonical or relaxed) as a row of its fields.
// Scalars become values of their types; documents and arrays inside become texts of relaxed extended JSON. The column
// _id has the form of DocumentID.
func (r *Reader) DocumentRow(s string, i int, slot *Slot) (connectors.Row, int) {
	row, next := r.PlainRow(s, i, slot)
	if next < 0 {
		return row, next
	}
	for k, name := range row.Shape.Names {
		v := &row.Values[k]
		if v.State != connectors.Present {
			continue
		}
		if name == "_id" {
			text := v.Str
			switch v.Kind {
			case schema.Long:
				text = string(strconv.AppendInt(nil, v.Int, 10))
			case schema.Double:
				text = string(appendDouble(nil, v.Float64()))
			case schema.Boolean:
				text = strconv.FormatBool(v.Int == 1)
			case schema.String:
				if raw, ok := memberText(s, i, name); ok {
					text = r.DocumentID(raw)
				}
			}
			*v = connectors.Text(text)
			continue
		}
		if v.Kind == schema.String && v.Str != "" && (v.Str[0] == '{' || v.Str[0] == '[') {
			if raw, ok := memberText(s, i, name); ok && raw[0] != '"' {
				r.extended(raw, v, k)
			}
		}
	}
	return row, next
}

// memberText gives the text of the last member of this name.
func memberText(s string, i int, name string) (text string, ok bool) {
	i, more := Open(s, i, '}')
	for more {
		n, escaped, at := Member(s, i)
		if at < 0 {
			return "", false
		}
		if escaped {
			n, _ = new(Reader).Unescape(n)
		}
		if i = Skip(s, at); i < 0 {
			return "", false
		}
		if n == name {
			text, ok = s[at:i], true
		}
		if i, more = Next(s, i, '}'); i < 0 {
			return "", false
		}
	}
	return text, ok
}

// DocumentID gives the text by which a document's _id is known: an ObjectId as 24 hex digits, anything else as relaxed
// extended JSON, texts with their quotes: "1004" and 1004 are two ids.
func (r *Reader) DocumentID(ext string) string {
	i := Space(ext, 0)
	if Skip(ext, i) < 0 {
		return ext
	}
	if name, arg, ok := single(ext, i); ok && name == "$oid" && len(arg) == 26 {
		return arg[1:25]
	}
	text := string(AppendRelaxed(nil, ext))
	if end, fraction := Number(text, 0); end == len(text) && fraction {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return string(appendDouble(nil, f))
		}
	}
	return text
}

// single reads an object of one member.
func single(s string, i int) (name, arg string, ok bool) {
	if i >= len(s) || s[i] != '{' {
		return "", "", false
	}
	i, more := Open(s, i, '}')
	if !more {
		return "", "", false
	}
	name, _, at := Member(s, i)
	if at < 0 {
		return "", "", false
	}
	end := Skip(s, at)
	if end < 0 {
		return "", "", false
	}
	if _, more = Next(s, end, '}'); more {
		return "", "", false
	}
	return name, s[at:end], true
}

// extended turns the extended JSON of a wrapped scalar into its value; other objects and arrays into relaxed text.
func (r *Reader) extended(raw string, v *connectors.Value, col int) {
	if name, arg, ok := single(raw, 0); ok {
		text := arg
		if arg[0] == '"' {
			text, _, _ = r.Str(arg, 0)
		}
		switch name {
		case "$oid", "$symbol":
			*v = connectors.Text(text)
			return
		case "$numberLong", "$numberInt":
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				*v = connectors.Int(schema.Long, n)
				return
			}
		case "$numberDouble":
			if f, err := strconv.ParseFloat(text, 64); err == nil {
				*v = connectors.Float(f)
				return
			}
		case "$numberDecimal":
			*v = connectors.Text(text)
			return
		case "$date":
			if ms, ok := dateMillis(arg); ok {
				if ms >= -62135596800000 && ms <= 253402300799999 {
					*v = connectors.Int(schema.Timestamp, ms*1000)
				} else {
					r.Rescued(col, strconv.FormatInt(ms, 10), v)
				}
				return
			}
		case "$binary":
			if b, ok := binaryText(arg); ok {
				if data, ok := r.Base64(b); ok {
					*v = connectors.Bytes(data)
					return
				}
			}
		case "$undefined":
			*v = connectors.NullValue()
			return
		}
	}
	if b, ok := strings.CutPrefix(raw, `{"$binary":"`); ok { // v1: {"$binary": "…", "$type": "00"}
		if end := strings.IndexByte(b, '"'); end >= 0 {
			if data, ok := r.Base64(b[:end]); ok {
				*v = connectors.Bytes(data)
				return
			}
		}
	}
	*v = connectors.Text(string(AppendRelaxed(nil, raw)))
}

// Rescued makes v NULL and keeps its text.
func (r *Reader) Rescued(col int, text string, v *connectors.Value) {
	r.Rescue(col, text)
	*v = connectors.NullValue()
}

func binaryText(arg string) (string, bool) {
	if arg[0] == '"' {
		return arg[1 : len(arg)-1], true
	}
	t, ok := memberText(arg, 0, "base64")
	if !ok || t[0] != '"' {
		return "", false
	}
	return t[1 : len(t)-1], true
}

// dateMillis reads the argument of $date: a number, {"$numberLong": "…"}, or an ISO text.
func dateMillis(arg string) (int64, bool) {
	if name, inner, ok := single(arg, 0); ok && name == "$numberLong" && len(inner) > 2 {
		arg = inner[1 : len(inner)-1]
	} else if arg[0] == '"' {
		t, err := time.Parse(time.RFC3339Nano, arg[1:len(arg)-1])
		if err != nil {
			return 0, false
		}
		return t.UnixMilli(), true
	}
	n, err := strconv.ParseInt(arg, 10, 64)
	return n, err == nil
}

func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `{"$numberDouble": "NaN"}`...)
	case math.IsInf(f, 0):
		if f > 0 {
			return append(dst, `{"$numberDouble": "Infinity"}`...)
		}
		return append(dst, `{"$numberDouble": "-Infinity"}`...)
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.AppendInt(dst, int64(f), 10) // 1004.0 and 1004 are one key for MongoDB
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// AppendRelaxed appends extended JSON in its relaxed form: numbers as numbers, dates as ISO texts, binary data in the
// form of version 2, no white space. Texts that it does not know stay as they are.
func AppendRelaxed(dst []byte, s string) []byte {
	i := Space(s, 0)
	if i >= len(s) {
		return dst
	}
	switch s[i] {
	case '{':
		if name, arg, ok := single(s, i); ok && strings.HasPrefix(name, "$") {
			if d, ok := relaxedScalar(dst, name, arg); ok {
				return d
			}
		}
		dst = append(dst, '{')
		i, more := Open(s, i, '}')
		for n := 0; more; n++ {
			name, _, at := Member(s, i)
			if at < 0 {
				return dst
			}
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(append(dst, '"'), name...), '"', ':')
			if i = Skip(s, at); i < 0 {
				return dst
			}
			dst = AppendRelaxed(dst, s[at:i])
			if i, more = Next(s, i, '}'); i < 0 {
				return dst
			}
		}
		return append(dst, '}')
	case '[':
		dst = append(dst, '[')
		i, more := Open(s, i, ']')
		for n := 0; more; n++ {
			at := i
			if n > 0 {
				dst = append(dst, ',')
			}
			if i = Skip(s, at); i < 0 {
				return dst
			}
			dst = AppendRelaxed(dst, s[at:i])
			if i, more = Next(s, i, ']'); i < 0 {
				return dst
			}
		}
		return append(dst, ']')
	}
	return append(dst, strings.TrimSpace(s)...)
}

func relaxedScalar(dst []byte, name, arg string) ([]byte, bool) {
	text := arg
	if len(arg) >= 2 && arg[0] == '"' {
		text = arg[1 : len(arg)-1]
	}
	switch name {
	case "$numberLong", "$numberInt":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return strconv.AppendInt(dst, n, 10), true
		}
	case "$numberDouble":
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(dst, f, 'g', -1, 64), true
		}
	case "$date":
		if ms, ok := dateMillis(arg); ok {
			if ms < 0 || ms > 253402300799999 {
				dst = append(dst, `{"$date":{"$numberLong":"`...)
				dst = strconv.AppendInt(dst, ms, 10)
				return append(dst, `"}}`...), true
			}
			dst = append(dst, `{"$date":"`...)
			dst = time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999Z07:00")
			return append(dst, `"}`...), true
		}
	}
	return dst, false
}
