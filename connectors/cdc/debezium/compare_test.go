package debezium

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/samples"
	"sluice.io/sluice/connectors/cdc/internal/typed"
	"sluice.io/sluice/connectors/schema"
)

type schemaType = schema.Type

// sameText compares a decoded value with the text that the database prints, by the rules of the streams' README.
func sameText(table *samples.Table, typ string, c cell, want *string) bool {
	v := c.v
	if table.Zero && want != nil && strings.Contains(*want, "-00") || table.Zero && want != nil && *want == "0000" {
		// scenario.md: what cannot be a date is null, or the epoch where the column is NOT NULL; year 0000 is 1900
		return v.State == connectors.Null || v.Int == 0 || v.Int == 1000000 || v.Int == 1900
	}
	if c.rescued != "" {
		return want != nil && isoTime(*want) == isoTime(c.rescued)
	}
	if want == nil || v.State != connectors.Present {
		return want == nil && v.State != connectors.Present && v.State != connectors.Unavailable
	}
	return samePresent(table.Database, typ, v, *want)
}

func samePresent(db, typ string, v connectors.Value, want string) bool {
	base, _, _ := strings.Cut(typ, "(")
	base = strings.TrimSpace(base)
	if e, ok := strings.CutSuffix(typ, "[]"); ok {
		return samePgArray(db, e, v, want)
	}
	switch base {
	case "boolean":
		return v.Kind == schema.Boolean && (v.Int == 1) == (want == "true")
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "oid", "year", "numeric", "decimal", "money":
		a, ok1 := new(big.Rat).SetString(render(v))
		b, ok2 := new(big.Rat).SetString(want)
		return ok1 && ok2 && a.Cmp(b) == 0
	case "real", "float":
		f, err := strconv.ParseFloat(want, 64)
		return err == nil && (float32(f) == float32(v.Float64()) || math.IsNaN(f) && math.IsNaN(v.Float64()))
	case "double", "double precision":
		f, err := strconv.ParseFloat(want, 64)
		return err == nil && (f == v.Float64() || math.IsNaN(f) && math.IsNaN(v.Float64()))
	case "bytea", "binary", "varbinary", "blob":
		return v.Kind == schema.Binary && hex.EncodeToString([]byte(v.Str)) == want
	case "char", "character":
		return strings.TrimRight(v.Str, " ") == strings.TrimRight(want, " ")
	case "date":
		days, next := typed.ParseDate(want)
		return next == len(want) && days == v.Int
	case "time", "time without time zone":
		return timeMicros(want) == v.Int
	case "time with time zone": // the connector turns it to UTC
		a, _, _, ok1 := typed.ParseStamp("2000-01-02T" + v.Str)
		b, _, _, ok2 := typed.ParseStamp("2000-01-02T" + want)
		return ok1 && ok2 && (a-b)%(86400*1000000) == 0
	case "timestamp", "datetime", "timestamp without time zone", "timestamp with time zone":
		if v.Kind == schema.String && isoTime(v.Str) == isoTime(want) {
			return true
		}
		micros, _, _, ok := typed.ParseStamp(want)
		got := v.Int
		if v.Kind == schema.String {
			got, _, _, _ = typed.ParseStamp(v.Str)
		}
		return ok && micros == got
	case "interval":
		return sameInterval(v.Str, want)
	case "hstore":
		return sameHstore(v.Str, want)
	case "point":
		if db == "postgresql" {
			var x, y string
			if i := strings.IndexByte(want, ','); i > 0 {
				x, y = want[1:i], want[i+1:len(want)-1]
			}
			k := v.Kids()
			return strconv.FormatFloat(k[0].Float64(), 'g', -1, 64) == number(x) && strconv.FormatFloat(k[1].Float64(), 'g', -1, 64) == number(y)
		}
		return hex.EncodeToString([]byte(v.Kids()[2].Str)) == want[8:]
	case "geometry":
		return hex.EncodeToString([]byte(v.Kids()[0].Str)) == want[8:]
	case "bit", "bit varying":
		return sameBits(db, v, want)
	}
	return v.Kind == schema.String && v.Str == want
}

func number(s string) string {
	f, _ := strconv.ParseFloat(s, 64)
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func sameBits(db string, v connectors.Value, want string) bool {
	base := 10
	if db == "postgresql" {
		base = 2
	}
	w, ok := new(big.Int).SetString(want, base)
	if want == "" {
		w, ok = new(big.Int), true
	}
	if v.Kind == schema.Boolean {
		return ok && w.Int64() == v.Int
	}
	be := []byte(v.Str)
	for i, j := 0, len(be)-1; i < j; i, j = i+1, j-1 {
		be[i], be[j] = be[j], be[i]
	}
	return ok && new(big.Int).SetBytes(be).Cmp(w) == 0
}

func timeMicros(s string) int64 {
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	hms, frac, _ := strings.Cut(s, ".")
	var n int64
	for _, p := range strings.Split(hms, ":") {
		x, _ := strconv.ParseInt(p, 10, 64)
		n = n*60 + x
	}
	f, _ := strconv.ParseInt((frac + "000000")[:6], 10, 64)
	n = n*1000000 + f
	if neg {
		return -n
	}
	return n
}

// isoTime gives dates and times of PostgreSQL (0044-03-15 BC, 12026-03-15 01:02:03+00) and of Debezium one form.
func isoTime(s string) string {
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

func sameInterval(got, want string) bool {
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

var hstorePair = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"=>(NULL|"((?:[^"\\]|\\.)*)")`)

func sameHstore(got, want string) bool {
	var m map[string]*string
	if json.Unmarshal([]byte(got), &m) != nil {
		return false
	}
	w := map[string]*string{}
	un := regexp.MustCompile(`\\(.)`)
	for _, p := range hstorePair.FindAllStringSubmatch(want, -1) {
		k := un.ReplaceAllString(p[1], "$1")
		w[k] = nil
		if p[2] != "NULL" {
			v := un.ReplaceAllString(p[3], "$1")
			w[k] = &v
		}
	}
	return reflect.DeepEqual(m, w)
}

func samePgArray(db, elem string, v connectors.Value, want string) bool {
	var items []*string
	in := strings.TrimSuffix(strings.TrimPrefix(want, "{"), "}")
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
		s := b.String()
		if !quoted && s == "NULL" {
			items = append(items, nil)
		} else {
			items = append(items, &s)
		}
	}
	kids := v.Kids()
	if len(kids) != len(items) {
		return false
	}
	for i := range kids {
		if !sameText(&samples.Table{Database: db}, elem, cell{v: kids[i]}, items[i]) {
			return false
		}
	}
	return true
}
