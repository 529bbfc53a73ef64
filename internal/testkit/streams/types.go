package streams

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// same compares a silver cell with the text that the database prints, by type: numbers as numbers, times as instants,
// char(n) without trailing blanks, JSON text byte for byte. A column whose events carry no schema may hold the
// connector's number (days, microseconds) in place of a date or time.
func (t *Table) same(typ string, c cell, want *string) bool {
	if t.Zero && want != nil && (strings.Contains(*want, "-00") || *want == "0000") {
		// What cannot be a date is null, or the epoch where the column is NOT NULL; the year 0000 is 1900.
		s := c.text()
		return c.null() || strings.HasPrefix(s, "1970-01-01") || s == "0" || s == "1900"
	}
	if c.saved {
		return want != nil && (*want == c.rescued || ISOTime(*want) == ISOTime(c.rescued) || sameText(t.Database, typ, cell{json: quote(c.rescued)}, *want) ||
			sameText(t.Database, typ, cell{json: json.RawMessage(c.rescued)}, *want))
	}
	if want == nil || c.null() {
		return want == nil && c.null()
	}
	return sameText(t.Database, typ, c, *want)
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}

func sameText(db, typ string, c cell, want string) bool {
	base, _, _ := strings.Cut(typ, "(")
	base = strings.TrimSpace(base)
	got := c.text()
	if e, ok := strings.CutSuffix(typ, "[]"); ok {
		return sameArray(db, e, got, want)
	}
	switch base {
	case "boolean":
		return got == want
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "oid", "year", "numeric", "decimal", "money":
		a, ok1 := new(big.Rat).SetString(strings.TrimSpace(got))
		b, ok2 := new(big.Rat).SetString(want)
		return ok1 && ok2 && a.Cmp(b) == 0
	case "real", "float":
		a, err1 := strconv.ParseFloat(got, 64)
		b, err2 := strconv.ParseFloat(want, 64)
		return err1 == nil && err2 == nil && (float32(a) == float32(b) || math.IsNaN(a) && math.IsNaN(b))
	case "double", "double precision":
		a, err1 := strconv.ParseFloat(got, 64)
		b, err2 := strconv.ParseFloat(want, 64)
		return err1 == nil && err2 == nil && (a == b || math.IsNaN(a) && math.IsNaN(b))
	case "bytea", "binary", "varbinary", "blob":
		return got == want || hexOf(got) == want
	case "char", "character":
		return strings.TrimRight(got, " ") == strings.TrimRight(want, " ")
	case "date":
		if n, err := strconv.ParseInt(got, 10, 64); err == nil {
			got = time.Unix(n*86400, 0).UTC().Format("2006-01-02")
		}
		return ISOTime(got) == ISOTime(want)
	case "time", "time without time zone":
		n, err := strconv.ParseInt(got, 10, 64)
		return err == nil && (n == ClockMicros(want) || n*1000 == ClockMicros(want)) || ISOTime(got) == ISOTime(want)
	case "time with time zone": // the connector turns it to UTC
		return (zonedMicros(got)-zonedMicros(want))%(86400*1000000) == 0
	case "timestamp", "datetime", "timestamp without time zone", "timestamp with time zone":
		if n, err := strconv.ParseInt(got, 10, 64); err == nil {
			micros := time.UnixMicro(n).UTC().Format("2006-01-02T15:04:05.999999")
			millis := time.UnixMilli(n).UTC().Format("2006-01-02T15:04:05.999999")
			return ISOTime(micros) == ISOTime(want) || ISOTime(millis) == ISOTime(want)
		}
		return ISOTime(got) == ISOTime(want)
	case "interval":
		return SameInterval(got, want)
	case "hstore":
		return SameHstore(got, want)
	case "point", "geometry":
		return sameShape(db, base, got, want)
	case "bit", "bit varying":
		return sameBits(db, got, want)
	}
	return got == want
}

func hexOf(base64Text string) string {
	b, err := base64.StdEncoding.DecodeString(base64Text)
	if err != nil {
		return "not base64"
	}
	return hex.EncodeToString(b)
}

func sameShape(db, base, got, want string) bool {
	var g struct {
		X, Y *float64
		Wkb  string
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return false
	}
	if db == "postgresql" && base == "point" {
		x, y, ok := strings.Cut(strings.Trim(want, "()"), ",")
		a, err1 := strconv.ParseFloat(x, 64)
		b, err2 := strconv.ParseFloat(y, 64)
		return ok && err1 == nil && err2 == nil && g.X != nil && g.Y != nil && *g.X == a && *g.Y == b
	}
	return len(want) > 8 && hexOf(g.Wkb) == want[8:]
}

func sameBits(db, got, want string) bool {
	base := 10
	if db == "postgresql" {
		base = 2
	}
	w, ok := new(big.Int).SetString(want, base)
	if want == "" {
		w, ok = new(big.Int), true
	}
	if !ok {
		return false
	}
	switch got {
	case "true", "false":
		return (w.Sign() != 0) == (got == "true")
	}
	little, err := base64.StdEncoding.DecodeString(got)
	if err != nil {
		return false
	}
	big1 := new(big.Int)
	for i := len(little) - 1; i >= 0; i-- {
		big1.Lsh(big1, 8).Or(big1, big.NewInt(int64(little[i])))
	}
	return big1.Cmp(w) == 0
}

// ClockMicros gives the microseconds of a time or duration as databases print it: -838:59:59.5.
func ClockMicros(s string) int64 {
	neg := strings.HasPrefix(s, "-")
	hms, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	var n int64
	for _, p := range strings.Split(hms, ":") {
		x, _ := strconv.ParseInt(p, 10, 64)
		n = n*60 + x
	}
	f, _ := strconv.ParseInt((frac + "000000")[:6], 10, 64)
	if n = n*1000000 + f; neg {
		return -n
	}
	return n
}

var zone = regexp.MustCompile(`(Z|[+-]\d\d(:?\d\d)?(:\d\d)?)$`)

func zonedMicros(s string) int64 {
	z := zone.FindString(s)
	n := ClockMicros(strings.TrimSuffix(s, z))
	if z != "" && z != "Z" {
		h := ClockMicros(strings.TrimLeft(z, "+-") + ":00:00"[3*strings.Count(z, ":"):])
		if z[0] == '+' {
			return n - h
		}
		return n + h
	}
	return n
}

// ISOTime gives dates and times of databases (0044-03-15 BC, 12026-03-15 01:02:03+00) and of Delta one form.
func ISOTime(s string) string {
	if d, ok := strings.CutSuffix(s, " BC"); ok {
		y, rest, _ := strings.Cut(d, "-")
		n, _ := strconv.Atoi(y)
		sign := "-"
		if n == 1 { // 1 BC is the astronomical year 0
			sign = ""
		}
		s = sign + strconv.Itoa(10000 + n - 1)[1:] + "-" + rest
	}
	s = strings.TrimPrefix(s, "+")
	s = strings.Replace(s, " ", "T", 1)
	s = strings.TrimSuffix(strings.TrimSuffix(s, "Z"), "+00")
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

var intervalPart = regexp.MustCompile(`(-?[0-9.]+)([YMDHS])`)

// SameInterval compares two ISO 8601 intervals; the connector's double may be 1 µs off.
func SameInterval(got, want string) bool {
	parts := func(s string) (months, days int64, micros float64) {
		date, clock, _ := strings.Cut(strings.TrimPrefix(s, "P"), "T")
		for _, m := range intervalPart.FindAllStringSubmatch(date, -1) {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			switch m[2] {
			case "Y":
				months += 12 * n
			case "M":
				months += n
			case "D":
				days += n
			}
		}
		for _, m := range intervalPart.FindAllStringSubmatch(clock, -1) {
			f, _ := strconv.ParseFloat(m[1], 64)
			micros += f * map[string]float64{"H": 3600e6, "M": 60e6, "S": 1e6}[m[2]]
		}
		return months, days, micros
	}
	m1, d1, t1 := parts(got)
	m2, d2, t2 := parts(want)
	return m1 == m2 && d1 == d2 && math.Abs(t1-t2) < 1.5 // the connector's double may be 1 µs off
}

var (
	hstorePair = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"=>(NULL|"((?:[^"\\]|\\.)*)")`)
	escaped    = regexp.MustCompile(`\\(.)`)
)

// SameHstore compares with PostgreSQL's hstore text. It takes JSON text of an object, or a map as a list of pairs.
func SameHstore(got, want string) bool {
	m := map[string]*string{}
	if strings.HasPrefix(got, "[") {
		var pairs [][2]*string
		if json.Unmarshal([]byte(got), &pairs) != nil {
			return false
		}
		for _, p := range pairs {
			m[*p[0]] = p[1]
		}
	} else if json.Unmarshal([]byte(got), &m) != nil {
		return false
	}
	w := map[string]*string{}
	for _, p := range hstorePair.FindAllStringSubmatch(want, -1) {
		k := escaped.ReplaceAllString(p[1], "$1")
		w[k] = nil
		if p[2] != "NULL" {
			v := escaped.ReplaceAllString(p[3], "$1")
			w[k] = &v
		}
	}
	return reflect.DeepEqual(m, w)
}

// sameArray compares a JSON array (or its text) with PostgreSQL's array text.
func sameArray(db, elem, got, want string) bool {
	var cells []json.RawMessage
	if json.Unmarshal([]byte(got), &cells) != nil {
		return false
	}
	items := PGArray(want)
	if len(cells) != len(items) {
		return false
	}
	t := Table{Database: db}
	for i := range cells {
		if !t.same(elem, cell{json: cells[i]}, items[i]) {
			return false
		}
	}
	return true
}

// PGArray takes PostgreSQL's array text apart; nil is NULL.
func PGArray(text string) []*string {
	var items []*string
	in := strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	for i := 0; i < len(in); {
		if in[i] == ',' {
			i++
		}
		var b strings.Builder
		quoted := i < len(in) && in[i] == '"'
		if quoted {
			for i++; i < len(in) && in[i] != '"'; i++ {
				if in[i] == '\\' {
					i++
				}
				b.WriteByte(in[i])
			}
			i++
		} else {
			for ; i < len(in) && in[i] != ','; i++ {
				b.WriteByte(in[i])
			}
		}
		if s := b.String(); !quoted && s == "NULL" {
			items = append(items, nil)
		} else {
			items = append(items, &s)
		}
	}
	return items
}
