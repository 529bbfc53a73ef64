package debezium

import (
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/typed"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/testkit/streams"
)

type schemaType = schema.Type

// loadStream reads a captured stream and its records.
func loadStream(tb testing.TB, name string) (*streams.Stream, []connectors.Record) {
	tb.Helper()
	s := streams.Load(tb, name)
	records := make([]connectors.Record, len(s.Records))
	for i, r := range s.Records {
		records[i] = connectors.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, TimestampMs: r.TimestampMs, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			records[i].Headers = append(records[i].Headers, connectors.Header{Key: h.Name, Value: h.Value})
		}
	}
	return s, records
}

// sameText compares a decoded value with the text that the database prints, by the rules of the streams' README.
func sameText(table *streams.Table, typ string, c cell, want *string) bool {
	v := c.v
	if table.Zero && want != nil && strings.Contains(*want, "-00") || table.Zero && want != nil && *want == "0000" {
		// scenario.md: what cannot be a date is null, or the epoch where the column is NOT NULL; year 0000 is 1900
		return v.State == connectors.Null || v.Int == 0 || v.Int == 1000000 || v.Int == 1900
	}
	if c.rescued != "" {
		return want != nil && streams.ISOTime(*want) == streams.ISOTime(c.rescued)
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
		return streams.ClockMicros(want) == v.Int
	case "time with time zone": // the connector turns it to UTC
		a, _, _, ok1 := typed.ParseStamp("2000-01-02T" + v.Str)
		b, _, _, ok2 := typed.ParseStamp("2000-01-02T" + want)
		return ok1 && ok2 && (a-b)%(86400*1000000) == 0
	case "timestamp", "datetime", "timestamp without time zone", "timestamp with time zone":
		if v.Kind == schema.String && streams.ISOTime(v.Str) == streams.ISOTime(want) {
			return true
		}
		micros, _, _, ok := typed.ParseStamp(want)
		got := v.Int
		if v.Kind == schema.String {
			got, _, _, _ = typed.ParseStamp(v.Str)
		}
		return ok && micros == got
	case "interval":
		return streams.SameInterval(v.Str, want)
	case "hstore":
		return streams.SameHstore(v.Str, want)
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

func samePgArray(db, elem string, v connectors.Value, want string) bool {
	items := streams.PGArray(want)
	kids := v.Kids()
	if len(kids) != len(items) {
		return false
	}
	for i := range kids {
		if !sameText(&streams.Table{Database: db}, elem, cell{v: kids[i]}, items[i]) {
			return false
		}
	}
	return true
}
