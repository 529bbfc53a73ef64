package typed

import (
	"encoding/base64"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

func TestDatesAgreeWithTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.Int64Range(MinDay-400000, MaxDay+400000).Draw(t, "days")
		x := time.Unix(days*86400, 0).UTC()
		y, m, d := civil(days)
		if int(y) != x.Year() || int(m) != int(x.Month()) || int(d) != x.Day() || DaysOf(y, m, d) != days {
			t.Fatalf("day %d is %d-%d-%d, want %s", days, y, m, d, x)
		}
		if got, next := ParseDate(string(appendDate(nil, days))); got != days || next < 0 {
			t.Fatalf("%s is read as day %d", appendDate(nil, days), got)
		}
	})
}

func TestStampsAgreeWithTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := time.UnixMicro(rapid.Int64Range(minMicros, maxMicros).Draw(t, "micros")).In(time.FixedZone("", rapid.IntRange(-720, 840).Draw(t, "zone")*60))
		if y := x.Year(); y < 1 || y > 9999 {
			return
		}
		text := x.Format("2006-01-02T15:04:05.999999999Z07:00")
		micros, zoned, inRange, ok := ParseStamp(text)
		if !ok || !zoned || !inRange || micros != x.UnixMicro() {
			t.Fatalf("%s is read as %d (%t %t %t), want %d", text, micros, zoned, inRange, ok, x.UnixMicro())
		}
	})
}

// TestNegativeScaleOfPostgres: numeric(5,-2) is declared with scale 2046 = 2048-2, and its values are sent with as many zeros. Was refused, and with
// it all rows of the table.
func TestNegativeScaleOfPostgres(t *testing.T) {
	t.Parallel()
	zeros := new(big.Int).Exp(big.NewInt(10), big.NewInt(2046), nil)
	for precision, whole := range map[string]int64{"5": 9999900, "7": -1200, "1": 0, "40": 1200} {
		sch := `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2046","connect.decimal.precision":"` + precision + `"}}`
		typ, err := Compile(sch)
		if err != nil {
			t.Fatal(err)
		}
		sent := new(big.Int).Mul(big.NewInt(whole), zeros)
		var r js.Reader
		var v connectors.Value
		text := `"` + base64.StdEncoding.EncodeToString(connectors.AppendUnscaled(nil, sent)) + `"`
		if end := typ.Value(&r, text, 0, &v, 0); end != len(text) {
			t.Fatalf("%d: %v", whole, r.Err)
		}
		want := connectors.Dec(string(connectors.AppendUnscaled(nil, big.NewInt(whole))), 0)
		if precision == "40" {
			want = connectors.Text("1200")
		}
		if !v.Equal(want) {
			t.Errorf("%s: got %+v, want %+v", precision, v, want)
		}
	}
}

func TestSemanticTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, json string
		want         connectors.Value
		rescued      string
	}{
		{`{"type":"int32","name":"io.debezium.time.Date"}`, `20526`, connectors.Int(schema.Date, 20526), ""},
		{`{"type":"int32","name":"io.debezium.time.Date"}`, `2146033979`, connectors.NullValue(), "infinity"},
		{`{"type":"int32","name":"io.debezium.time.Date"}`, `-735160`, connectors.NullValue(), "-0043-03-15"},
		{`{"type":"int32","name":"io.debezium.time.Date"}`, `3672952`, connectors.NullValue(), "+12026-03-15"},
		{`{"type":"int64","name":"io.debezium.time.NanoTimestamp"}`, `-1`, connectors.Int(schema.TimestampNTZ, -1), ""},
		{`{"type":"int64","name":"io.debezium.time.NanoTimestamp"}`, `1773480413123456789`, connectors.Int(schema.TimestampNTZ, 1773480413123456), ""},
		{`{"type":"int64","name":"io.debezium.time.Timestamp"}`, `9223372036825200000`, connectors.NullValue(), "infinity"},
		{`{"type":"int64","name":"io.debezium.time.Timestamp"}`, `-62135596800000`, connectors.Int(schema.TimestampNTZ, -62135596800000000), ""},
		{`{"type":"int64","name":"io.debezium.time.MicroTimestamp"}`, `-63517820276500000`, connectors.NullValue(), "-0043-03-15T01:02:03.500000"},
		{`{"type":"int64","name":"io.debezium.time.MicroTimestamp"}`, `9223372036854775807`, connectors.NullValue(), "infinity"},
		{`{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"}`, `1`, connectors.Int(schema.TimestampNTZ, 1000), ""},
		{`{"type":"string","name":"io.debezium.time.ZonedTimestamp"}`, `"2026-03-14T11:26:53.1234567+02:00"`, connectors.Int(schema.Timestamp, 1773480413123456), ""},
		{`{"type":"string","name":"io.debezium.time.ZonedTimestamp"}`, `"-infinity"`, connectors.NullValue(), "-infinity"},
		{`{"type":"string","name":"io.debezium.time.ZonedTimestamp"}`, `"+294247-01-01T23:59:59.999999Z"`, connectors.NullValue(), "+294247-01-01T23:59:59.999999Z"},
		{`{"type":"string","name":"io.debezium.time.IsoDate"}`, `"2017-09-15Z"`, connectors.Int(schema.Date, 17424), ""},
		{`{"type":"string","name":"io.debezium.time.IsoDate"}`, `"-5877611-06-22Z"`, connectors.NullValue(), "-infinity"},
		{`{"type":"string","name":"io.debezium.time.IsoTimestamp"}`, `"+292278994-08-16T23:00:00Z"`, connectors.NullValue(), "infinity"},
		{`{"type":"int32","name":"io.debezium.time.Time"}`, `1500`, connectors.Int(schema.Long, 1500000), ""},
		{`{"type":"int64","name":"io.debezium.time.MicroTime"}`, `-3020399000000`, connectors.Int(schema.Long, -3020399000000), ""},
		{`{"type":"int64","name":"io.debezium.time.NanoTime"}`, `-1`, connectors.Int(schema.Long, -1), ""},
		{`{"type":"int32","name":"io.debezium.time.Year"}`, `2026`, connectors.Int(schema.Integer, 2026), ""},
		{`{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"-3","connect.decimal.precision":"5"}}`, `"DA=="`, connectors.Dec("\x2e\xe0", 0), ""},
		{`{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"}}`, `19.99`, connectors.Dec("\x07\xcf", 2), ""},
		{`{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"3"}}`, `"J2c="`, connectors.NullValue(), "100.87"},
		{`{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"1","connect.decimal.precision":"65"}}`, `"/w=="`, connectors.Text("-0.1"), ""},
		{`{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"1"}}`, `"AQ=="`, connectors.Bool(true), ""},
		{`{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"12"}}`, `"BQE="`, connectors.Bytes("\x05\x01"), ""},
		{`{"type":"int16"}`, `true`, connectors.Int(schema.Short, 1), ""},
		{`{"type":"boolean"}`, `0`, connectors.Bool(false), ""},
		{`{"type":"double"}`, `"-Infinity"`, connectors.Value{State: connectors.Present, Kind: schema.Double, Int: -4503599627370496}, ""},
		{`{"type":"array","items":{"type":"int32","optional":true}}`, `[1,null]`, connectors.Nested(schema.Array, []connectors.Value{connectors.Int(schema.Integer, 1), connectors.NullValue()}), ""},
		{`{"type":"map","keys":{"type":"int16"},"values":{"type":"double"}}`, `[[1,0.5]]`, connectors.Nested(schema.Map, []connectors.Value{connectors.Int(schema.Short, 1), connectors.Float(0.5)}), ""},
		{`{"type":"map","keys":{"type":"string"},"values":{"type":"string","optional":true}}`, `{"a":null}`, connectors.Nested(schema.Map, []connectors.Value{connectors.Text("a"), connectors.NullValue()}), ""},
		{`{"type":"struct","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}],"name":"io.debezium.data.VariableScaleDecimal"}`, `{"scale":5,"value":"+9os"}`, connectors.Text("-2.71828"), ""},
		{`{"type":"struct","fields":[{"type":"bytes","field":"wkb"},{"type":"int32","optional":true,"field":"srid"}],"name":"io.debezium.data.geometry.Geometry"}`, `{"srid":4326,"wkb":"AQE="}`,
			connectors.Nested(schema.Struct, []connectors.Value{connectors.Bytes("\x01\x01"), connectors.Int(schema.Integer, 4326)}), ""},
	} {
		typ, err := Compile(`{"type":"struct","fields":[` + c.schema[:len(c.schema)-1] + `,"field":"a"}]}`)
		if err != nil {
			t.Errorf("%s: %v", c.schema, err)
			continue
		}
		var r js.Reader
		r.Placeholder, _ = js.NewPlaceholder("")
		r.Detect = true
		row, next := typ.Row(&r, `{"a":`+c.json+`}`, 0)
		if next < 0 {
			t.Errorf("%s %s: %v", c.schema, c.json, r.Err)
			continue
		}
		rescued := ""
		if len(row.Rescued()) > 0 {
			rescued = row.Rescued()[0].Text
		}
		if !row.Values[0].Equal(c.want) || rescued != c.rescued {
			t.Errorf("%s %s is %+v rescued %q, want %+v %q", c.schema, c.json, row.Values[0], rescued, c.want, c.rescued)
		}
		if v := row.Values[0]; v.State == connectors.Present && v.Kind != row.Shape.Types[0].Kind {
			t.Errorf("%s: a %s in a column of %s", c.schema, v.Kind, row.Shape.Types[0])
		}
	}
}

func TestSchemaAreBounded(t *testing.T) {
	t.Parallel()
	deep := `{"type":"int32"}`
	for range maxDepth + 2 {
		deep = `{"type":"array","items":` + deep + `}`
	}
	for _, s := range []string{deep, `{"type":"int128"}`, `{"type":"array"}`, `{"type":"map"}`, `[]`, `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"}`} {
		if _, err := Compile(s); err == nil {
			t.Errorf("Compile takes %.60s", s)
		}
	}
}
