package columnar

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// DefaultStatsColumns is delta.dataSkippingNumIndexedCols where a table does not set it.
const DefaultStatsColumns = 32

// FileStats are the statistics of a file, for the add action of the Delta log (delta.md §1.6).
type FileStats struct {
	// NumRecords counts the rows of the file.
	NumRecords int64
	// Columns are the columns that have statistics, in the schema's order.
	Columns []ColumnStats
}

// ColumnStats are the statistics of a column, under its physical name.
type ColumnStats struct {
	Name string
	Type schema.Type
	// NullCount counts the rows where the column, or a struct around it, is null. Not of a struct.
	NullCount int64
	// Min and Max are absent where the type has none (boolean, binary, array, map), the column is all null, or it holds a NaN.
	Min, Max connectors.Value
	// Kids are the members of a struct.
	Kids []ColumnStats
}

// statsTree says which columns have statistics and collects what the Parquet writer does not count.
type statsTree struct {
	name    string
	typ     schema.Type
	kids    []*statsTree // by field; nil where a field has no statistics
	column  int          // leaf; -1: of an array or map
	missing int64        // nulls of an array or map
}

func (t *statsTree) child(i int) *statsTree {
	if t == nil || i >= len(t.kids) {
		return nil
	}
	return t.kids[i]
}

func (t *statsTree) countMissing(s spots) {
	if t == nil || s.idx == nil {
		return
	}
	for _, at := range s.idx {
		if at < 0 {
			t.missing++
		}
	}
}

// newStatsTree marks the leaves that have statistics: the first limit (limit < 0: all), or those whose logical path, or a
// struct around them, is among names where names is not nil; and those of the physical paths always.
func newStatsTree(s schema.Schema, m Mapping, limit int, names []string, always [][]string) *statsTree {
	leaves := 0
	var walk func(fields []schema.Field, path string, physical []string, wanted bool) []*statsTree
	walk = func(fields []schema.Field, path string, physical []string, wanted bool) []*statsTree {
		out := make([]*statsTree, len(fields))
		for i := range fields {
			f := &fields[i]
			p := path + f.Name
			want := wanted
			for _, n := range names {
				want = want || strings.EqualFold(strings.ReplaceAll(n, "`", ""), p)
			}
			t := &statsTree{name: PhysicalName(f, m), typ: f.Type, column: -1}
			at := append(physical[:len(physical):len(physical)], t.name)
			switch f.Type.Kind {
			case schema.Struct:
				t.kids = walk(f.Type.Fields, p+".", at, want)
				any := false
				for _, k := range t.kids {
					any = any || k != nil
				}
				if !any {
					continue
				}
			case schema.Void, schema.Variant:
				continue
			default:
				if names == nil {
					want = limit < 0 || leaves < limit
				}
				leaves++
				if !want && !slices.ContainsFunc(always, func(a []string) bool { return slices.Equal(a, at) }) {
					continue
				}
			}
			out[i] = t
		}
		return out
	}
	return &statsTree{kids: walk(s.Fields, "", nil, false)}
}

// collect reads the statistics out of a writer whose row groups are flushed.
func (t *statsTree) collect(w *parquet.FileWriter) []ColumnStats {
	var out []ColumnStats
	for _, k := range t.kids {
		if k == nil {
			continue
		}
		c := ColumnStats{Name: k.name, Type: k.typ}
		switch k.typ.Kind {
		case schema.Struct:
			c.Kids = k.collect(w)
		case schema.Array, schema.Map:
			c.NullCount = k.missing
		default:
			if k.column >= 0 {
				st := w.Stats(k.column)
				c.NullCount = st.Nulls
				c.Min, c.Max = bounds(st, k.typ)
			}
		}
		out = append(out, c)
	}
	return out
}

func bounds(s *parquet.Stats, t schema.Type) (lo, hi connectors.Value) {
	if !s.Has || s.NaN {
		return
	}
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return connectors.Int(t.Kind, s.MinI), connectors.Int(t.Kind, s.MaxI)
	case schema.Float, schema.Double:
		f := func(x, zero float64) connectors.Value {
			if x == 0 { // -0 and 0 are equal: keep both inside
				x = zero
			}
			return connectors.Value{State: connectors.Present, Kind: t.Kind, Int: int64(math.Float64bits(x))}
		}
		return f(s.MinF, math.Copysign(0, -1)), f(s.MaxF, 0)
	case schema.String:
		return connectors.Text(string(s.MinB)), connectors.Text(string(s.MaxB))
	case schema.Decimal:
		if s.Order == parquet.SignedInt {
			return decValue(decimal128.FromI64(s.MinI), t.Scale), decValue(decimal128.FromI64(s.MaxI), t.Scale)
		}
		return decValue(numBE(s.MinB), t.Scale), decValue(numBE(s.MaxB), t.Scale)
	}
	return
}

func decValue(n decimal128.Num, scale int) connectors.Value {
	return connectors.Dec(string(appendUnscaled(nil, n)), scale)
}

// JSON gives the stats string of an add action. tightBounds (true) is written where asked for: in tables whose protocol has
// deletion vectors.
func (s FileStats) JSON(tightBounds bool) string {
	b := append(make([]byte, 0, 256), `{"numRecords":`...)
	b = strconv.AppendInt(b, s.NumRecords, 10)
	b = append(b, `,"minValues":`...)
	b = appendStats(b, s.Columns, func(b []byte, c *ColumnStats) ([]byte, bool) { return AppendStat(b, c.Min, c.Type, false) })
	b = append(b, `,"maxValues":`...)
	b = appendStats(b, s.Columns, func(b []byte, c *ColumnStats) ([]byte, bool) { return AppendStat(b, c.Max, c.Type, true) })
	b = append(b, `,"nullCount":`...)
	b = appendStats(b, s.Columns, func(b []byte, c *ColumnStats) ([]byte, bool) {
		return strconv.AppendInt(b, c.NullCount, 10), true
	})
	if tightBounds {
		b = append(b, `,"tightBounds":true`...)
	}
	return string(append(b, '}'))
}

func appendStats(b []byte, cols []ColumnStats, leaf func([]byte, *ColumnStats) ([]byte, bool)) []byte {
	b = append(b, '{')
	first := true
	for i := range cols {
		c := &cols[i]
		mark := len(b)
		if !first {
			b = append(b, ',')
		}
		b = appendJSONString(b, c.Name)
		b = append(b, ':')
		ok := true
		if c.Type.Kind == schema.Struct {
			b = appendStats(b, c.Kids, leaf)
		} else {
			b, ok = leaf(b, c)
		}
		if !ok {
			b = b[:mark]
			continue
		}
		first = false
	}
	return append(b, '}')
}

// AppendStat appends a minimum or (upper) maximum as the log holds it: strings cut to 32 characters so that they stay bounds,
// timestamps floored to milliseconds, numbers with all their digits. ok is false, and nothing appended, where there is none to
// give.
func AppendStat(b []byte, v connectors.Value, t schema.Type, upper bool) (_ []byte, ok bool) {
	if v.State != connectors.Present {
		return b, false
	}
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return strconv.AppendInt(b, v.Int, 10), true
	case schema.Float, schema.Double:
		f := v.Float64()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return b, false
		}
		size := 64
		if t.Kind == schema.Float {
			size = 32
		}
		return strconv.AppendFloat(b, f, 'g', -1, size), true
	case schema.Decimal:
		n, ok := parseUnscaled(v.Str)
		if !ok {
			return b, false
		}
		return appendDecimal(b, n, int(v.Int)), true
	case schema.Date:
		if y, _, _ := civil(v.Int); y < 0 || y > 9999 {
			return b, false
		}
		b = append(b, '"')
		b = appendDate(b, v.Int)
		return append(b, '"'), true
	case schema.Timestamp, schema.TimestampNTZ:
		ms := floorDiv(v.Int, 1000)
		days := floorDiv(ms, 86_400_000)
		if y, _, _ := civil(days); y < 0 || y > 9999 {
			return b, false
		}
		b = append(b, '"')
		b = appendDate(b, days)
		b = append(b, 'T')
		b = appendClock(b, (ms-days*86_400_000)*1000, 3)
		if t.Kind == schema.Timestamp {
			b = append(b, 'Z')
		}
		return append(b, '"'), true
	case schema.String:
		s, ok := truncateMin(v.Str), true
		if upper {
			s, ok = truncateMax(v.Str)
		}
		if !ok || !utf8.ValidString(s) {
			return b, false
		}
		return appendJSONString(b, s), true
	}
	return b, false
}

// statPrefix is delta.dataSkippingStringPrefixLength's default.
const statPrefix = 32

// prefixEnd gives the byte length of the first n characters of s.
func prefixEnd(s string, n int) int {
	i := 0
	for ; n > 0 && i < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
	}
	return i
}

func truncateMin(s string) string { return s[:prefixEnd(s, statPrefix)] }

// truncateMax cuts s so that the result is not below it: at the first character behind the prefix that a tie breaker tops.
func truncateMax(s string) (string, bool) {
	at := prefixEnd(s, statPrefix)
	if at == len(s) {
		return s, true
	}
	for range statPrefix {
		r, size := utf8.DecodeRuneInString(s[at:])
		switch {
		case size == 0: // nothing is cut after all
			return s, true
		case r < 0x7f:
			return s[:at] + "\x7f", true
		case r != utf8.MaxRune:
			return s[:at] + string(utf8.MaxRune), true
		}
		at += size
	}
	return "", false
}

// appendJSONString appends s as JSON. Only what must be is escaped.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
