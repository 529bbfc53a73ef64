package typed

import (
	"math"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// Bounds of dates and timestamps that Parquet readers agree on: years 0001 to 9999.
const (
	MinDay    = -719162
	MaxDay    = 2932896
	minMicros = MinDay * microsPerDay
	maxMicros = (MaxDay+1)*microsPerDay - 1

	microsPerDay = 86400 * 1000000
)

// The numbers that stand for infinity in PostgreSQL's events. Those of dates in a snapshot are a fault of the
// connector, but always the same.
var infiniteDays = map[int64]string{
	2146033979: "infinity", -2147472691: "-infinity", // streamed
	-622191234: "infinity", -625821272: "-infinity", // in a snapshot
	-2147472692: "infinity", // of older connectors
}

func infiniteStamp(n int64) string {
	switch n {
	case math.MaxInt64, 9223372036825200000:
		return "infinity"
	case math.MinInt64, -9223372036832400000:
		return "-infinity"
	}
	return ""
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (t *Type) temporalValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if s[i] == '"' { // keys in headers print logical types as texts
		return t.bad(r, s, i)
	}
	n, end, ok := number(r, s, i)
	if !ok {
		if end > 0 && t.T.Kind == schema.Long { // Oracle documents durations as fractions
			if f, err := strconv.ParseFloat(s[i:end], 64); err == nil && math.Abs(f) < 1<<62 {
				n, ok = int64(math.Floor(f)), true
			}
		}
		if !ok {
			return t.bad(r, s, i)
		}
	}
	rescued := ""
	switch t.conv {
	case convDate:
		if n < MinDay || n > MaxDay {
			if rescued = infiniteDays[n]; rescued == "" {
				rescued = string(appendDate(nil, n))
			}
		}
	case convTimeMilli:
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return t.bad(r, s, i)
		}
		n *= 1000
	case convTimeNano:
		n = floorDiv(n, 1000)
	case convTsMilli: // test before multiplying: infinity overflows
		if n < minMicros/1000 || n > maxMicros/1000 {
			rescued = stampText(n, 1000)
		} else {
			n *= 1000
		}
	case convTsMicro:
		if n < minMicros || n > maxMicros {
			rescued = stampText(n, 1000000)
		}
	case convTsNano:
		if rescued = infiniteStamp(n); rescued == "" {
			n = floorDiv(n, 1000)
		}
	}
	if rescued != "" {
		r.Rescue(col, rescued)
		*v = connectors.Value{State: connectors.Null}
		return end
	}
	v.State, v.Kind, v.Int = connectors.Present, t.T.Kind, n
	return end
}

// stampText prints a timestamp of n units (1000 or 1000000 a second) whose year has no four digits.
func stampText(n, unit int64) string {
	if inf := infiniteStamp(n); inf != "" {
		return inf
	}
	secs := floorDiv(n, unit)
	days := floorDiv(secs, 86400)
	rest := secs - days*86400
	b := appendDate(nil, days)
	b = append(b, 'T')
	b = append2(b, rest/3600)
	b = append(b, ':')
	b = append2(b, rest/60%60)
	b = append(b, ':')
	b = append2(b, rest%60)
	if unit == 1000 {
		return string(appendFraction(b, n-secs*unit, 3))
	}
	return string(appendFraction(b, n-secs*unit, 6))
}

func appendFraction(b []byte, n int64, digits int) []byte {
	if n == 0 {
		return b
	}
	b = append(b, '.')
	t := strconv.FormatInt(n, 10)
	b = append(b, strings.Repeat("0", max(0, digits-len(t)))...)
	return append(b, t...)
}

func append2(b []byte, n int64) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// appendDate prints an ISO date with astronomical year, signed where it has no four digits.
func appendDate(b []byte, days int64) []byte {
	y, m, d := civil(days)
	return append2(append(append2(append(appendYear(b, y), '-'), m), '-'), d)
}

func appendYear(b []byte, y int64) []byte {
	if y < 0 {
		b = append(b, '-')
		y = -y
	} else if y > 9999 {
		b = append(b, '+')
	}
	t := strconv.FormatInt(y, 10)
	b = append(b, strings.Repeat("0", max(0, 4-len(t)))...)
	return append(b, t...)
}

// civil turns days since 1970-01-01 into a date of the proleptic Gregorian calendar (H. Hinnant's algorithm).
func civil(days int64) (y, m, d int64) {
	z := days + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = mp + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

// DaysOf is the inverse of civil.
func DaysOf(y, m, d int64) int64 {
	if m <= 2 {
		y--
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	mp := m - 3
	if m <= 2 {
		mp = m + 9
	}
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

var monthDays = [13]int64{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func digits(s string, i, n int) (int64, bool) {
	if len(s)-i < n {
		return 0, false
	}
	var v int64
	for k := 0; k < n; k++ {
		c := s[i+k] - '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + int64(c)
	}
	return v, true
}

// ParseDate reads an ISO date at the start of s: year of four digits, or signed and longer. next is -1 where there is
// none.
func ParseDate(s string) (days int64, next int) {
	i, neg := 0, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		i++
	}
	n := i
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	if n-i < 4 || n-i > 9 {
		return 0, -1
	}
	y, _ := digits(s, i, n-i)
	if neg {
		y = -y
	}
	i = n
	if len(s)-i < 6 || s[i] != '-' || s[i+3] != '-' {
		return 0, -1
	}
	m, ok1 := digits(s, i+1, 2)
	d, ok2 := digits(s, i+4, 2)
	if !ok1 || !ok2 || m < 1 || m > 12 || d < 1 || d > monthDays[m] {
		return 0, -1
	}
	return DaysOf(y, m, d), i + 6
}

// ParseStamp reads an ISO timestamp: date, T or blank, time with up to 9 digits of fraction (those behind µs are cut
// off), and an offset or none. inRange is false where the year is outside 0001 to 9999.
func ParseStamp(s string) (micros int64, zoned, inRange, ok bool) {
	days, i := ParseDate(s)
	if i < 0 || i >= len(s) || s[i] != 'T' && s[i] != ' ' {
		return 0, false, false, false
	}
	i++
	if len(s)-i < 5 || s[i+2] != ':' {
		return 0, false, false, false
	}
	h, ok1 := digits(s, i, 2)
	m, ok2 := digits(s, i+3, 2)
	i += 5
	sec, ok3 := int64(0), true
	if i < len(s) && s[i] == ':' {
		sec, ok3 = digits(s, i+1, 2)
		i += 3
	}
	if !ok1 || !ok2 || !ok3 || h > 24 || m > 59 || sec > 60 {
		return 0, false, false, false
	}
	var frac int64
	if i < len(s) && (s[i] == '.' || s[i] == ',') {
		i++
		n := 0
		for ; i < len(s) && s[i]-'0' <= 9; i++ {
			if n < 6 {
				frac = frac*10 + int64(s[i]-'0')
			}
			n++
		}
		if n == 0 || n > 9 {
			return 0, false, false, false
		}
		for ; n < 6; n++ {
			frac *= 10
		}
	}
	var offset int64
	if i < len(s) {
		if offset, ok = parseOffset(s[i:]); !ok {
			return 0, false, false, false
		}
		zoned = true
	}
	secs := days*86400 + h*3600 + m*60 + sec - offset
	if secs < minMicros/1000000 || secs > maxMicros/1000000 {
		return 0, zoned, false, true
	}
	return secs*1000000 + frac, zoned, true, true
}

func parseOffset(s string) (int64, bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, ok := digits(s, 1, 2)
	if !ok || h > 18 {
		return 0, false
	}
	secs, i, unit := h*3600, 3, int64(60)
	for i < len(s) && unit > 0 {
		if s[i] == ':' {
			i++
		}
		n, ok := digits(s, i, 2)
		if !ok || n > 59 {
			return 0, false
		}
		secs += n * unit
		unit /= 60
		i += 2
	}
	if i != len(s) {
		return 0, false
	}
	if s[0] == '-' {
		secs = -secs
	}
	return secs, true
}

func (t *Type) isoValue(r *js.Reader, s string, i int, v *connectors.Value, col int) int {
	if s[i] != '"' {
		return t.bad(r, s, i)
	}
	text, _, end := r.Str(s, i)
	if end < 0 {
		return end
	}
	if r.Detect && text == r.Placeholder.Text {
		r.Found++
		*v = connectors.Value{State: connectors.Unavailable}
		return end
	}
	if t.conv == convIsoDate {
		days, next := ParseDate(text)
		if next < 0 || text[next:] != "" && text[next:] != "Z" {
			if !infinite(text) {
				return t.bad(r, s, i)
			}
		} else if days >= MinDay && days <= MaxDay {
			v.State, v.Kind, v.Int = connectors.Present, schema.Date, days
			return end
		}
	} else {
		micros, _, inRange, ok := ParseStamp(text)
		if inRange {
			v.State, v.Kind, v.Int = connectors.Present, schema.Timestamp, micros
			return end
		}
		if !ok && !infinite(text) {
			return t.bad(r, s, i)
		}
	}
	if inf := infiniteTexts[text]; inf != "" {
		text = inf
	}
	r.Rescue(col, text)
	*v = connectors.Value{State: connectors.Null}
	return end
}

// The texts that stand for infinity in PostgreSQL's events with time.precision.mode=isostring: the ends of Java's calendar.
var infiniteTexts = map[string]string{
	"+5877611-06-21Z": "infinity", "-5877611-06-22Z": "-infinity",
	"+292278994-08-16T23:00:00Z": "infinity", "-292275055-05-16T23:00:00Z": "-infinity",
}

func infinite(s string) bool { return s == "infinity" || s == "-infinity" || s == "+infinity" }
