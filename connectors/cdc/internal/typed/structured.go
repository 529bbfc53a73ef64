package typed

import (
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// structured are the structs of time.precision.mode=structured, with the kind that the other modes give such a column.
var structured = map[string]schema.Kind{
	"io.debezium.time.StructuredDate":           schema.Date,
	"io.debezium.time.StructuredTime":           schema.Long,
	"io.debezium.time.StructuredTimestamp":      schema.TimestampNTZ,
	"io.debezium.time.StructuredZonedTimestamp": schema.Timestamp,
	"io.debezium.time.StructuredZonedTime":      schema.String,
	"io.debezium.time.StructuredDuration":       schema.String,
}

// structuredValue composes a date, a time or a duration from its parts.
func (t *Type) structuredValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if s[i] != '{' {
		return t.bad(r, s, i)
	}
	start, detect := i, r.Detect
	parts := r.Values(len(t.Fields))
	r.Detect = false
	i = t.members(r, s, i, parts, col)
	r.Detect = detect
	if i < 0 {
		return -1
	}
	get := func(name string) int64 {
		if k, ok := t.index[name]; ok && parts[k].State == connectors.Present {
			return parts[k].Int
		}
		return 0
	}
	rescue := func(text string) int {
		r.Rescue(col, text)
		*v = connectors.Value{State: connectors.Null}
		return i
	}
	if k, ok := t.index["specialValue"]; ok && parts[k].State == connectors.Present && parts[k].Str != "" {
		return rescue(infinityName(parts[k].Str))
	}
	nanos := (get("hour")*3600+get("minute")*60+get("second"))*1e9 + get("nanos")
	switch t.Name {
	case "io.debezium.time.StructuredDuration":
		v.State, v.Kind, v.Str = connectors.Present, schema.String, r.Keep(appendDuration(nil, get))
		return i
	case "io.debezium.time.StructuredZonedTime": // in UTC, as the other modes have it
		day := int64(86400e9)
		nanos = ((nanos-get("offsetSeconds")*1e9)%day + day) % day
		v.State, v.Kind, v.Str = connectors.Present, schema.String, r.Keep(append(appendClock(nil, nanos), 'Z'))
		return i
	}
	if k, ok := t.index["year"]; ok && parts[k].State != connectors.Present {
		return t.bad(r, s, start)
	}
	y, m, d := get("year"), get("month"), get("day")
	switch {
	case t.T.Kind == schema.Long:
		v.State, v.Kind, v.Int = connectors.Present, schema.Long, floorDiv(nanos, 1000)
		return i
	case m < 1 || m > 12 || d < 1 || d > monthDays[m]: // a date of MySQL's that is none
		b := append2(append(append2(append(appendYear(nil, y), '-'), m), '-'), d)
		if t.T.Kind != schema.Date {
			b = appendClock(append(b, 'T'), nanos)
		}
		return rescue(r.Keep(b))
	}
	days := DaysOf(y, m, d)
	if t.T.Kind == schema.Date {
		if days < MinDay || days > MaxDay {
			return rescue(string(appendDate(nil, days)))
		}
		v.State, v.Kind, v.Int = connectors.Present, schema.Date, days
		return i
	}
	secs := days*86400 - get("offsetSeconds")
	if secs < MinDay*86400 || secs >= (MaxDay+1)*86400 {
		return rescue(string(appendClock(append(appendDate(nil, days), 'T'), nanos)))
	}
	v.State, v.Kind, v.Int = connectors.Present, t.T.Kind, secs*1000000+floorDiv(nanos, 1000)
	return i
}

// infinityName gives the infinities the name that PostgreSQL and the other modes give them.
func infinityName(special string) string {
	low := strings.ToLower(special)
	switch {
	case !strings.Contains(low, "inf"):
		return special
	case strings.HasPrefix(low, "neg") || strings.HasPrefix(low, "-") || strings.HasPrefix(low, "minus"):
		return "-infinity"
	}
	return "infinity"
}

// appendClock prints hours, minutes, seconds and what there is below them.
func appendClock(b []byte, nanos int64) []byte {
	secs := nanos / 1e9
	b = append(append2(b, secs/3600), ':')
	b = append(append2(b, secs/60%60), ':')
	return appendTrimmed(append2(b, secs%60), nanos%1e9)
}

func appendTrimmed(b []byte, nanos int64) []byte {
	if nanos == 0 {
		return b
	}
	b = appendFraction(b, nanos, 9)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// appendDuration prints P1Y2M3DT4H5M6.789S, as interval.handling.mode=string does.
func appendDuration(b []byte, get func(string) int64) []byte {
	b = append(b, 'P')
	for _, p := range [...]struct {
		name, unit string
	}{{"years", "Y"}, {"months", "M"}, {"days", "DT"}, {"hours", "H"}, {"minutes", "M"}} {
		b = append(strconv.AppendInt(b, get(p.name), 10), p.unit...)
	}
	secs, nanos := get("seconds"), get("nanos")
	if secs += nanos / 1e9; nanos%1e9 != 0 {
		nanos %= 1e9
		if secs > 0 && nanos < 0 {
			secs, nanos = secs-1, nanos+1e9
		} else if secs < 0 && nanos > 0 {
			secs, nanos = secs+1, nanos-1e9
		}
	} else {
		nanos = 0
	}
	if nanos < 0 && secs == 0 {
		b = append(b, '-')
	}
	return append(appendTrimmed(strconv.AppendInt(b, secs, 10), max(nanos, -nanos)), 'S')
}
