package columnar

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// AppendCanonicalJSON appends one row as the JSON object in which tables are compared, with each other and between engines:
// no spaces, keys sorted at every level, floats as ECMAScript prints them, decimals as strings with their scale, binary as base64,
// timestamps with six digits, maps as pairs sorted by the encoded key.
func AppendCanonicalJSON(dst []byte, rec arrow.Record, s schema.Schema, row int) ([]byte, error) {
	if int(rec.NumCols()) != len(s.Fields) {
		return dst, fmt.Errorf("%w: %d columns, the schema has %d", ErrType, rec.NumCols(), len(s.Fields))
	}
	return appendObject(dst, s.Fields, func(i int) arrow.Array { return rec.Column(i) }, row)
}

func appendObject(dst []byte, fields []schema.Field, col func(int) arrow.Array, row int) ([]byte, error) {
	order := make([]int, len(fields))
	for i := range order {
		order[i] = i
	}
	// Sorted by code point, which for UTF-8 is sorted by bytes.
	slices.SortStableFunc(order, func(a, b int) int {
		return bytes.Compare([]byte(fields[a].Name), []byte(fields[b].Name))
	})
	dst = append(dst, '{')
	for k, i := range order {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, fields[i].Name)
		dst = append(dst, ':')
		var err error
		if dst, err = appendCanonical(dst, fields[i].Type, col(i), row); err != nil {
			return dst, fmt.Errorf("column %q: %w", fields[i].Name, err)
		}
	}
	return append(dst, '}'), nil
}

func appendCanonical(dst []byte, t schema.Type, a arrow.Array, row int) ([]byte, error) {
	if t.Kind == schema.Void || a.IsNull(row) {
		return append(dst, "null"...), nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return strconv.AppendBool(dst, a.Value(row)), nil
	case *array.Int8:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10), nil
	case *array.Int16:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10), nil
	case *array.Int32:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10), nil
	case *array.Int64:
		return strconv.AppendInt(dst, a.Value(row), 10), nil
	case *array.Float32:
		return appendECMA(dst, float64(a.Value(row)), 32), nil
	case *array.Float64:
		return appendECMA(dst, a.Value(row), 64), nil
	case *array.Decimal128:
		dst = append(dst, '"')
		dst = appendDecimal(dst, a.Value(row), t.Scale)
		return append(dst, '"'), nil
	case *array.String:
		return appendJSONString(dst, a.Value(row)), nil
	case *array.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, a.Value(row))
		return append(dst, '"'), nil
	case *array.Date32:
		dst = append(dst, '"')
		dst = appendDate(dst, int64(a.Value(row)))
		return append(dst, '"'), nil
	case *array.Timestamp:
		us := int64(a.Value(row))
		days := floorDiv(us, 86_400_000_000)
		dst = append(dst, '"')
		dst = appendDate(dst, days)
		dst = append(dst, 'T')
		dst = appendClock(dst, us-days*86_400_000_000, 6)
		if t.Kind == schema.Timestamp {
			dst = append(dst, 'Z')
		}
		return append(dst, '"'), nil
	case *array.Map:
		return appendPairs(dst, t, a, row)
	case *array.List:
		from, to := a.ValueOffsets(row)
		dst = append(dst, '[')
		for i := from; i < to; i++ {
			if i > from {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendCanonical(dst, *t.Elem, a.ListValues(), int(i)); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case *array.Struct:
		fields := t.Fields
		if t.Kind == schema.Variant {
			fields = variantFields
		}
		if a.NumField() != len(fields) {
			return dst, fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
		}
		return appendObject(dst, fields, a.Field, row)
	}
	return dst, fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
}

func appendPairs(dst []byte, t schema.Type, a *array.Map, row int) ([]byte, error) {
	from, to := a.ValueOffsets(row)
	type pair struct{ key, text []byte }
	pairs := make([]pair, 0, to-from)
	for i := from; i < to; i++ {
		key, err := appendCanonical(nil, *t.Key, a.Keys(), int(i))
		if err != nil {
			return dst, err
		}
		text := append(append([]byte{'['}, key...), ',')
		if text, err = appendCanonical(text, *t.Elem, a.Items(), int(i)); err != nil {
			return dst, err
		}
		pairs = append(pairs, pair{key, append(text, ']')})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	dst = append(dst, '[')
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.text...)
	}
	return append(dst, ']'), nil
}

// appendECMA prints a float as ECMAScript does; NaN and infinities as strings.
func appendECMA(dst []byte, f float64, size int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && decimalExp(abs, size) {
		format = 'e'
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, size)
	if format == 'e' { // e-07 is e-7
		if n := len(dst); n-at >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
	}
	return dst
}

// decimalExp tells whether ECMAScript uses an exponent: below 1e-6 and from 1e21 on, of the number as printed.
func decimalExp(abs float64, size int) bool {
	if size == 32 {
		return float32(abs) < 1e-6 || float32(abs) >= 1e21
	}
	return abs < 1e-6 || abs >= 1e21
}

// floorDiv is a/b rounded down, b > 0.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// civil gives the proleptic Gregorian date of a day since the epoch, for any year.
func civil(days int64) (year int64, month, day int) {
	z := days + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp) + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// appendDate appends YYYY-MM-DD; years outside 0000-9999 as +10000 or -0001.
func appendDate(dst []byte, days int64) []byte {
	y, m, d := civil(days)
	switch {
	case y < 0:
		dst, y = append(dst, '-'), -y
	case y > 9999:
		dst = append(dst, '+')
	}
	for n := int64(1000); n > 1 && y < n; n /= 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, y, 10)
	return append(dst, '-', byte('0'+m/10), byte('0'+m%10), '-', byte('0'+d/10), byte('0'+d%10))
}

// appendClock appends HH:MM:SS.ffffff of the microseconds of a day, with the given number of digits behind the point.
func appendClock(dst []byte, us int64, digits int) []byte {
	s := us / 1_000_000
	two := func(n int64) { dst = append(dst, byte('0'+n/10), byte('0'+n%10)) }
	two(s / 3600)
	dst = append(dst, ':')
	two(s / 60 % 60)
	dst = append(dst, ':')
	two(s % 60)
	dst = append(dst, '.')
	f := us % 1_000_000
	for i, n := 0, int64(100_000); i < digits; i, n = i+1, n/10 {
		dst = append(dst, byte('0'+f/n%10))
	}
	return dst
}

// FormatValue prints a decimal, date or timestamp value as canonical JSON does, without the quotes; other values are
// printed in Go's way.
func FormatValue(v connectors.Value, t schema.Type) string {
	switch t.Kind {
	case schema.Decimal:
		if n, ok := parseUnscaled(v.Str); ok {
			return string(appendDecimal(nil, n, int(v.Int)))
		}
		return "0x" + fmt.Sprintf("%x", v.Str)
	case schema.Date:
		return string(appendDate(nil, v.Int))
	case schema.Timestamp, schema.TimestampNTZ:
		days := floorDiv(v.Int, 86_400_000_000)
		b := append(appendDate(nil, days), 'T')
		b = appendClock(b, v.Int-days*86_400_000_000, 6)
		if t.Kind == schema.Timestamp {
			b = append(b, 'Z')
		}
		return string(b)
	case schema.Boolean:
		return strconv.FormatBool(v.Int != 0)
	case schema.Float, schema.Double:
		return strconv.FormatFloat(v.Float64(), 'g', -1, 64)
	case schema.String, schema.Binary:
		return v.Str
	}
	return strconv.FormatInt(v.Int, 10)
}
