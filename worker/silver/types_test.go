package silver_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
)

// declared makes an insert whose column v has a Connect schema, as JsonConverter sends it with schemas.enable=true.
func (w *wire) declared(id int, typ, value string) []connectors.Change {
	w.t.Helper()
	w.ts += 10
	row := `{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},` + strings.TrimSuffix(typ, "}") + `,"optional":true,"field":"v"}],"optional":true,"name":"s.p.t.Value","field":"%s"}`
	return w.record(fmt.Sprintf(`{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,"name":"s.p.t.Key"},"payload":{"id":%d}}`, id),
		fmt.Sprintf(`{"schema":{"type":"struct","fields":[`+row+`,`+row+`],"optional":false,"name":"s.p.t.Envelope"},"payload":{"before":null,"after":{"id":%d,"v":%s},`+
			`"source":{"connector":"postgresql","name":"s","db":"d","schema":"p","table":"t","ts_ms":%d,"snapshot":"false","sequence":"[\"%d\",\"%d\"]","lsn":%d},"op":"c","ts_ms":%d}}`,
			"before", "after", id, value, w.ts, w.off*8+8, w.off*8+16, w.off*8+16, w.ts))
}

// typed cells: how a value of the source, as the connector sends it, reads in the table. Those that do not fit their column are NULL there, and after a ~ stands what
// _rescued_data keeps of them.
type cells map[string]string

// semantic are the rows of formats.md §3: Connect schema, the column that it makes, values.
var semantic = []struct {
	name, typ string
	column    string
	cells     cells
}{
	{"boolean", `{"type":"boolean"}`, "boolean", cells{`true`: `true`, `false`: `false`, `0`: `false`, `1`: `true`, `null`: `null`}},
	{"int8", `{"type":"int8"}`, "byte", cells{`-128`: `-128`, `127`: `127`, `true`: `1`}},
	{"int16", `{"type":"int16"}`, "short", cells{`-32768`: `-32768`, `32767`: `32767`, `false`: `0`}},
	{"int32: also unsigned smallint", `{"type":"int32"}`, "integer", cells{`-2147483648`: `-2147483648`, `65535`: `65535`}},
	{"int64: also unsigned int, money and bigint.unsigned of mode long", `{"type":"int64"}`, "long", cells{`-9223372036854775808`: `-9223372036854775808`, `9223372036854775807`: `9223372036854775807`, `4294967295`: `4294967295`, `-1`: `-1`}},
	{"float", `{"type":"float"}`, "float", cells{`0.1`: `0.1`, `"NaN"`: `"NaN"`, `"Infinity"`: `"Infinity"`, `"-Infinity"`: `"-Infinity"`, `3.4028235e38`: `3.4028235e+38`, `-0.0`: `-0`}},
	{"double", `{"type":"double"}`, "double", cells{`0.1`: `0.1`, `"NaN"`: `"NaN"`, `"Infinity"`: `"Infinity"`, `"-Infinity"`: `"-Infinity"`, `1.7976931348623157e308`: `1.7976931348623157e+308`, `5e-324`: `5e-324`, `1`: `1`}},
	{"string", `{"type":"string"}`, "string", cells{`"grüße \u0000 \ud83d\ude00"`: `"grüße \u0000 😀"`, `""`: `""`, `"\ud800"`: `"�"~"\"\\ud800\""`}},
	{"bytes", `{"type":"bytes"}`, "binary", cells{`"AP8="`: `"AP8="`, `""`: `""`}},
	{"decimal of precision", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"}}`, "decimal(10,2)", cells{`"B88="`: `"19.99"`, `"+w=="`: `"-0.05"`, `"AA=="`: `"0.00"`, `"AP//////////"`: `~"184467440737095516.15"`, `19.99`: `"19.99"`}},
	{"decimal of 38 digits", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"38"}}`, "decimal(38,0)", cells{`"SztMqFqGxHoJiiI//////w=="`: `"99999999999999999999999999999999999999"`, `"tMSzV6V5O4X2dd3AAAAAAQ=="`: `"-99999999999999999999999999999999999999"`, `"SztMqFqGxHoJiiJAAAAAAA=="`: `~"100000000000000000000000000000000000000"`}},
	{"decimal without a precision", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"3"}}`, "decimal(38,3)", cells{`"AY7pD/bDc+DuTj8K0g=="`: `"123456789012345678901234567.890"`, `"/w=="`: `"-0.001"`}},
	{"decimal of a negative scale", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"-3","connect.decimal.precision":"5"}}`, "decimal(8,0)", cells{`"DA=="`: `"12000"`, `"/w=="`: `"-1000"`}},
	{"decimal of 65 digits", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"65"}}`, "string", cells{`"GE8D6T/59Nqnl+1uOO1kv2ofAQAAAAAAAAAA"`: `"10000000000000000000000000000000000000000000000000000000000000000"`}},
	{"bigint.unsigned of mode precise", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"20"}}`, "decimal(20,0)", cells{`"AP//////////"`: `"18446744073709551615"`}},
	{"money", `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"19"}}`, "decimal(19,2)", cells{`"HoR/"`: `"19999.99"`}},
	{"variable scale decimal", `{"type":"struct","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}],"name":"io.debezium.data.VariableScaleDecimal"}`, "string", cells{`{"scale":2,"value":"B88="}`: `"19.99"`, `{"scale":0,"value":"AY7pD/bDc+DuTj8K0g=="}`: `"123456789012345678901234567890"`, `{"scale":-2,"value":"AQ=="}`: `"100"`}},
	{"decimal of mode double", `{"type":"double"}`, "double", cells{`19.99`: `19.99`}},
	{"decimal of mode string", `{"type":"string"}`, "string", cells{`"19.990"`: `"19.990"`, `"NaN"`: `"NaN"`}},
	{"org.apache.kafka.connect.data.Date", `{"type":"int32","name":"org.apache.kafka.connect.data.Date"}`, "date", cells{`0`: `"1970-01-01"`, `-1`: `"1969-12-31"`, `-719162`: `"0001-01-01"`, `2932896`: `"9999-12-31"`, `2932897`: `~"+10000-01-01"`, `2146033979`: `~"infinity"`, `-2147472691`: `~"-infinity"`, `-622191234`: `~"infinity"`, `-625821272`: `~"-infinity"`, `-719163`: `~"0000-12-31"`, `-735160`: `~"-0043-03-15"`}},
	{"io.debezium.time.Date", `{"type":"int32","name":"io.debezium.time.Date"}`, "date", cells{`0`: `"1970-01-01"`, `-1`: `"1969-12-31"`, `-719162`: `"0001-01-01"`, `2932896`: `"9999-12-31"`, `2932897`: `~"+10000-01-01"`, `2146033979`: `~"infinity"`, `-2147472691`: `~"-infinity"`, `-622191234`: `~"infinity"`, `-625821272`: `~"-infinity"`, `-719163`: `~"0000-12-31"`, `-735160`: `~"-0043-03-15"`}},
	{"org.apache.kafka.connect.data.Time", `{"type":"int32","name":"org.apache.kafka.connect.data.Time"}`, "long", cells{`1`: `1000`, `86399999`: `86399999000`}},
	{"io.debezium.time.Time", `{"type":"int32","name":"io.debezium.time.Time"}`, "long", cells{`1`: `1000`, `0`: `0`}},
	{"io.debezium.time.MicroTime", `{"type":"int64","name":"io.debezium.time.MicroTime"}`, "long", cells{`-3020399000000`: `-3020399000000`, `3020399000000`: `3020399000000`}},
	{"io.debezium.time.NanoTime", `{"type":"int64","name":"io.debezium.time.NanoTime"}`, "long", cells{`-1`: `-1`, `1999`: `1`, `-1001`: `-2`}},
	{"org.apache.kafka.connect.data.Timestamp", `{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"}`, "timestamp_ntz", cells{`-1`: `"1969-12-31T23:59:59.999000"`, `0`: `"1970-01-01T00:00:00.000000"`, `-62135596800000`: `"0001-01-01T00:00:00.000000"`, `253402300799999`: `"9999-12-31T23:59:59.999000"`, `253402300800000`: `~"+10000-01-01T00:00:00"`, `9223372036825200000`: `~"infinity"`, `-9223372036832400000`: `~"-infinity"`}},
	{"io.debezium.time.Timestamp", `{"type":"int64","name":"io.debezium.time.Timestamp"}`, "timestamp_ntz", cells{`-1`: `"1969-12-31T23:59:59.999000"`, `0`: `"1970-01-01T00:00:00.000000"`, `-62135596800000`: `"0001-01-01T00:00:00.000000"`, `253402300799999`: `"9999-12-31T23:59:59.999000"`, `253402300800000`: `~"+10000-01-01T00:00:00"`, `9223372036825200000`: `~"infinity"`, `-9223372036832400000`: `~"-infinity"`}},
	{"MicroTimestamp", `{"type":"int64","name":"io.debezium.time.MicroTimestamp"}`, "timestamp_ntz", cells{`-1`: `"1969-12-31T23:59:59.999999"`, `1773480413123456`: `"2026-03-14T09:26:53.123456"`, `9223372036854775807`: `~"infinity"`, `-9223372036854775808`: `~"-infinity"`, `-62135596800001`: `"1968-01-12T20:06:43.199999"`, `-62135596800000001`: `~"0000-12-31T23:59:59.999999"`, `253402300800000000`: `~"+10000-01-01T00:00:00"`}},
	{"NanoTimestamp", `{"type":"int64","name":"io.debezium.time.NanoTimestamp"}`, "timestamp_ntz", cells{`-1`: `"1969-12-31T23:59:59.999999"`, `-1000`: `"1969-12-31T23:59:59.999999"`, `-1001`: `"1969-12-31T23:59:59.999998"`, `1773480413123456789`: `"2026-03-14T09:26:53.123456"`, `9223372036854775807`: `~"infinity"`}},
	{"ZonedTime", `{"type":"string","name":"io.debezium.time.ZonedTime"}`, "string", cells{`"09:26:53.5Z"`: `"09:26:53.5Z"`}},
	{"ZonedTimestamp", `{"type":"string","name":"io.debezium.time.ZonedTimestamp"}`, "timestamp", cells{`"2026-03-14T11:26:53.1234567+02:00"`: `"2026-03-14T09:26:53.123456Z"`, `"1969-12-31T23:59:59.9999999Z"`: `"1969-12-31T23:59:59.999999Z"`, `"2026-03-14T09:26:53+00:00"`: `"2026-03-14T09:26:53.000000Z"`, `"infinity"`: `~"infinity"`, `"-infinity"`: `~"-infinity"`, `"+294247-01-01T00:00:00Z"`: `~"+294247-01-01T00:00:00Z"`, `"-0043-03-15T00:00:00Z"`: `~"-0043-03-15T00:00:00Z"`, `"2026-03-14T03:56:53.5-05:30"`: `"2026-03-14T09:26:53.500000Z"`, `"1970-01-01T00:00:00Z"`: `"1970-01-01T00:00:00.000000Z"`}},
	{"Year", `{"type":"int32","name":"io.debezium.time.Year"}`, "integer", cells{`2026`: `2026`, `0`: `0`}},
	{"MicroDuration", `{"type":"int64","name":"io.debezium.time.MicroDuration"}`, "long", cells{`-1`: `-1`, `2629800000000`: `2629800000000`}},
	{"MicroDuration of Oracle", `{"type":"double","name":"io.debezium.time.MicroDuration"}`, "double", cells{`1.5`: `1.5`}},
	{"NanoDuration", `{"type":"int64","name":"io.debezium.time.NanoDuration"}`, "long", cells{`-1`: `-1`, `1999`: `1`}},
	{"Interval", `{"type":"string","name":"io.debezium.time.Interval"}`, "string", cells{`"P1Y2M3DT4H5M6.78S"`: `"P1Y2M3DT4H5M6.78S"`}},
	{"IsoDate", `{"type":"string","name":"io.debezium.time.IsoDate"}`, "date", cells{`"2017-09-15Z"`: `"2017-09-15"`, `"1969-12-31"`: `"1969-12-31"`, `"infinity"`: `~"infinity"`, `"-0043-03-15Z"`: `~"-0043-03-15Z"`}},
	{"IsoTime", `{"type":"string","name":"io.debezium.time.IsoTime"}`, "string", cells{`"09:26:53Z"`: `"09:26:53Z"`}},
	{"IsoTimestamp", `{"type":"string","name":"io.debezium.time.IsoTimestamp"}`, "timestamp", cells{`"2017-09-15T09:26:53.5Z"`: `"2017-09-15T09:26:53.500000Z"`, `"1969-12-31T23:59:59.999999Z"`: `"1969-12-31T23:59:59.999999Z"`, `"infinity"`: `~"infinity"`}},
	{"StructuredDate", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"year"},{"type":"int32","optional":true,"field":"month"},{"type":"int32","optional":true,"field":"day"},{"type":"string","optional":true,"field":"specialValue"}],"name":"io.debezium.time.StructuredDate"}`, "date", cells{`{"year":2026,"month":3,"day":14,"specialValue":null}`: `"2026-03-14"`, `{"year":0,"month":0,"day":0,"specialValue":null}`: `~"0000-00-00"`, `{"year":null,"month":null,"day":null,"specialValue":"POSITIVE_INFINITY"}`: `~"infinity"`, `{"year":1969,"month":12,"day":31}`: `"1969-12-31"`}},
	{"StructuredTime", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"hour"},{"type":"int32","optional":true,"field":"minute"},{"type":"int32","optional":true,"field":"second"},{"type":"int32","optional":true,"field":"nanos"}],"name":"io.debezium.time.StructuredTime"}`, "long", cells{`{"hour":1,"minute":2,"second":3,"nanos":4999}`: `3723000004`}},
	{"StructuredTimestamp", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"year"},{"type":"int32","optional":true,"field":"month"},{"type":"int32","optional":true,"field":"day"},{"type":"int32","optional":true,"field":"hour"},{"type":"int32","optional":true,"field":"minute"},{"type":"int32","optional":true,"field":"second"},{"type":"int32","optional":true,"field":"nanos"},{"type":"string","optional":true,"field":"specialValue"}],"name":"io.debezium.time.StructuredTimestamp"}`, "timestamp_ntz", cells{`{"year":1969,"month":12,"day":31,"hour":23,"minute":59,"second":59,"nanos":999999999,"specialValue":null}`: `"1969-12-31T23:59:59.999999"`, `{"specialValue":"NEGATIVE_INFINITY"}`: `~"-infinity"`, `{"year":2026,"month":2,"day":30,"hour":1,"minute":0,"second":0,"nanos":5000}`: `~"2026-02-30T01:00:00.000005"`}},
	{"StructuredZonedTimestamp", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"year"},{"type":"int32","optional":true,"field":"month"},{"type":"int32","optional":true,"field":"day"},{"type":"int32","optional":true,"field":"hour"},{"type":"int32","optional":true,"field":"minute"},{"type":"int32","optional":true,"field":"second"},{"type":"int32","optional":true,"field":"nanos"},{"type":"int32","optional":true,"field":"offsetSeconds"},{"type":"string","optional":true,"field":"zoneId"},{"type":"string","optional":true,"field":"specialValue"}],"name":"io.debezium.time.StructuredZonedTimestamp"}`, "timestamp", cells{`{"year":2026,"month":3,"day":14,"hour":11,"minute":26,"second":53,"nanos":123456789,"offsetSeconds":7200,"zoneId":"Europe/Berlin","specialValue":null}`: `"2026-03-14T09:26:53.123456Z"`}},
	{"StructuredZonedTime", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"hour"},{"type":"int32","optional":true,"field":"minute"},{"type":"int32","optional":true,"field":"second"},{"type":"int32","optional":true,"field":"nanos"},{"type":"int32","optional":true,"field":"offsetSeconds"},{"type":"string","optional":true,"field":"zoneId"}],"name":"io.debezium.time.StructuredZonedTime"}`, "string", cells{`{"hour":1,"minute":26,"second":53,"nanos":500000000,"offsetSeconds":7200}`: `"23:26:53.5Z"`}},
	{"StructuredDuration", `{"type":"struct","fields":[{"type":"int32","optional":true,"field":"years"},{"type":"int32","optional":true,"field":"months"},{"type":"int32","optional":true,"field":"days"},{"type":"int32","optional":true,"field":"hours"},{"type":"int32","optional":true,"field":"minutes"},{"type":"int32","optional":true,"field":"seconds"},{"type":"int32","optional":true,"field":"nanos"}],"name":"io.debezium.time.StructuredDuration"}`, "string", cells{`{"years":1,"months":2,"days":3,"hours":4,"minutes":5,"seconds":6,"nanos":780000000}`: `"P1Y2M3DT4H5M6.78S"`}},
	{"Enum", `{"type":"string","name":"io.debezium.data.Enum","parameters":{"allowed":"a,b"}}`, "string", cells{`"a"`: `"a"`, `""`: `""`}},
	{"EnumSet", `{"type":"string","name":"io.debezium.data.EnumSet","parameters":{"allowed":"a,b"}}`, "string", cells{`"a,b"`: `"a,b"`, `""`: `""`}},
	{"Json", `{"type":"string","name":"io.debezium.data.Json"}`, "string", cells{`"{\"a\": 12345678901234567890.10}"`: `"{\"a\": 12345678901234567890.10}"`}},
	{"Uuid", `{"type":"string","name":"io.debezium.data.Uuid"}`, "string", cells{`"6F9619FF-8B86-D011-B42D-00C04FC964FF"`: `"6F9619FF-8B86-D011-B42D-00C04FC964FF"`}},
	{"Xml", `{"type":"string","name":"io.debezium.data.Xml"}`, "string", cells{`"<a>1</a>"`: `"<a>1</a>"`}},
	{"Bits", `{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"12"}}`, "binary", cells{`"BQE="`: `"BQE="`}},
	{"bit(1)", `{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"1"}}`, "boolean", cells{`"AQ=="`: `true`, `"AA=="`: `false`, `true`: `true`}},
	{"bit(1) as boolean", `{"type":"boolean"}`, "boolean", cells{`true`: `true`}},
	{"Ltree", `{"type":"string","name":"io.debezium.data.Ltree"}`, "string", cells{`"a.b"`: `"a.b"`}},
	{"Tsvector", `{"type":"string","name":"io.debezium.data.Tsvector"}`, "string", cells{`"'a':1"`: `"'a':1"`}},
	{"Point", `{"type":"struct","fields":[{"type":"double","optional":true,"field":"x"},{"type":"double","optional":true,"field":"y"},{"type":"bytes","optional":true,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}],"name":"io.debezium.data.geometry.Point"}`, "struct<x: double, y: double, wkb: binary, srid: integer>", cells{`{"x":1.5,"y":-2,"wkb":"AQE=","srid":null}`: `{"srid":null,"wkb":"AQE=","x":1.5,"y":-2}`}},
	{"Geometry", `{"type":"struct","fields":[{"type":"bytes","optional":true,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}],"name":"io.debezium.data.geometry.Geometry"}`, "struct<wkb: binary, srid: integer>", cells{`{"wkb":"AQE=","srid":4326}`: `{"srid":4326,"wkb":"AQE="}`}},
	{"Geography", `{"type":"struct","fields":[{"type":"bytes","optional":true,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}],"name":"io.debezium.data.geometry.Geography"}`, "struct<wkb: binary, srid: integer>", cells{`{"wkb":"AQE=","srid":4326}`: `{"srid":4326,"wkb":"AQE="}`}},
	{"Circle", `{"type":"string","name":"io.debezium.data.geometry.Circle"}`, "string", cells{`"<(1,2),3>"`: `"<(1,2),3>"`}},
	{"Line", `{"type":"string","name":"io.debezium.data.geometry.Line"}`, "string", cells{`"<(1,2),3>"`: `"<(1,2),3>"`}},
	{"Circle as a struct", `{"type":"struct","fields":[{"type":"double","optional":true,"field":"x"},{"type":"double","optional":true,"field":"y"},{"type":"double","optional":true,"field":"radius"}],"name":"io.debezium.data.geometry.Circle"}`, "struct<x: double, y: double, radius: double>", cells{`{"x":1,"y":2,"radius":3}`: `{"radius":3,"x":1,"y":2}`}},
	{"FloatVector", `{"type":"array","items":{"type":"float","optional":false},"name":"io.debezium.data.FloatVector"}`, "array<float>", cells{`[0.1,2]`: `[0.1,2]`, `[]`: `[]`}},
	{"DoubleVector", `{"type":"array","items":{"type":"double","optional":false},"name":"io.debezium.data.DoubleVector"}`, "array<double>", cells{`[0.1,-2]`: `[0.1,-2]`}},
	{"SparseDoubleVector", `{"type":"struct","fields":[{"type":"int16","optional":false,"field":"dimensions"},{"type":"map","keys":{"type":"int16","optional":false},"values":{"type":"double","optional":false},"optional":false,"field":"vector"}],"name":"io.debezium.data.SparseDoubleVector"}`, "struct<dimensions: short, vector: map<short, double>>", cells{`{"dimensions":25,"vector":[[1,0.5],[7,2]]}`: `{"dimensions":25,"vector":[[1,0.5],[7,2]]}`}},
	{"hstore of mode map", `{"type":"map","keys":{"type":"string","optional":false},"values":{"type":"string","optional":true}}`, "map<string, string>", cells{`{"a":"1","b":null}`: `[["a","1"],["b",null]]`, `[["a","1"]]`: `[["a","1"]]`, `{}`: `[]`}},
	{"hstore of mode json", `{"type":"string","name":"io.debezium.data.Json"}`, "string", cells{`"{\"a\":null}"`: `"{\"a\":null}"`}},
	{"binary of mode base64", `{"type":"string"}`, "string", cells{`"AP8="`: `"AP8="`}},
	{"binary of mode hex", `{"type":"string"}`, "string", cells{`"00ff"`: `"00ff"`}},
	{"array of texts", `{"type":"array","items":{"type":"string","optional":true}}`, "array<string>", cells{`["a",null,"b,c"]`: `["a",null,"b,c"]`}},
	{"array of decimals", `{"type":"array","items":{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"10"}}}`, "array<decimal(10,2)>", cells{`["B88=",null]`: `["19.99",null]`}},
	{"array of dates", `{"type":"array","items":{"type":"int32","optional":true,"name":"io.debezium.time.Date"}}`, "array<date>", cells{`[-1,null]`: `["1969-12-31",null]`, `[2146033979]`: `[null]~"infinity"`}},
	{"array of two dimensions", `{"type":"array","items":{"type":"int32","optional":true}}`, "array<integer>", cells{`[null,null]`: `[null,null]`}},
}

// TestSemanticTypes merges a value of every type that a connector has, in each of the forms that its settings give it, and reads it back from the table.
func TestSemanticTypes(t *testing.T) {
	t.Parallel()
	for _, c := range semantic {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, w := newBench(t, nil), newWire(t)
			var in []connectors.Change
			id := 0
			byID := map[int]string{}
			for _, value := range slices.Sorted(maps.Keys(c.cells)) {
				id++
				byID[id] = value
				in = append(in, w.declared(id, c.typ, value)...)
			}
			x.merge(in...)
			if len(x.letters) > 0 {
				t.Fatalf("dead letters: %+v", x.letters)
			}
			if f := x.m.Schema().Fields[x.m.Schema().Index("v")]; f.Type.String() != c.column {
				t.Errorf("column of %s, want %s", f.Type, c.column)
			}
			for _, line := range canonicalRows(t, x.b, "silver/t") {
				id, got := cellOf(t, line)
				if want := c.cells[byID[id]]; got != want {
					t.Errorf("%s is %s, want %s", byID[id], got, want)
				}
				delete(byID, id)
			}
			for _, value := range byID {
				t.Errorf("%s: the row is missing", value)
			}
		})
	}
}

// cellOf gives a row's id and its column v, in the notation of cells.
func cellOf(t *testing.T, line string) (id int, v string) {
	t.Helper()
	var row struct {
		ID      int             `json:"id"`
		V       json.RawMessage `json:"v"`
		Rescued string          `json:"_rescued_data"`
	}
	if err := json.Unmarshal([]byte(line), &row); err != nil {
		t.Fatal(err)
	}
	if row.Rescued == "" {
		return row.ID, string(row.V)
	}
	var saved map[string]json.RawMessage
	if err := json.Unmarshal([]byte(row.Rescued), &saved); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return row.ID, strings.TrimPrefix(string(row.V), "null") + "~" + string(saved["v"])
}

// Settings of a connector change what it sends of a column (time.precision.mode, tinyint(1), the precision of a decimal): the column takes it all, whichever came first.
func TestSettingsOfTheSourceChange(t *testing.T) {
	t.Parallel()
	const dec = `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"%d","connect.decimal.precision":"%d"}}`
	type sent struct{ typ, value string }
	for name, c := range map[string]struct {
		in   []sent
		want string
	}{
		"date and time": {[]sent{
			{`{"type":"int64","name":"io.debezium.time.MicroTimestamp"}`, `-1000`},
			{`{"type":"int64","name":"io.debezium.time.Timestamp"}`, `-1`},
			{`{"type":"int64","name":"io.debezium.time.NanoTimestamp"}`, `-1000000`},
			{`{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"}`, `-1`},
			{`{"type":"string","name":"io.debezium.time.IsoTimestamp"}`, `"1969-12-31T23:59:59.999Z"`},
			{`{"type":"string","name":"io.debezium.time.ZonedTimestamp"}`, `"1969-12-31T23:59:59.999Z"`}}, `"1969-12-31T23:59:59.999000`},
		"date": {[]sent{
			{`{"type":"int32","name":"io.debezium.time.Date"}`, `-1`}, {`{"type":"int32","name":"org.apache.kafka.connect.data.Date"}`, `-1`},
			{`{"type":"string","name":"io.debezium.time.IsoDate"}`, `"1969-12-31Z"`}, {`{"type":"int64","name":"io.debezium.time.Timestamp"}`, `-86400000`}}, `"1969-12-31`},
		"time": {[]sent{
			{`{"type":"int32","name":"io.debezium.time.Time"}`, `-1`}, {`{"type":"int64","name":"io.debezium.time.MicroTime"}`, `-1000`},
			{`{"type":"int64","name":"io.debezium.time.NanoTime"}`, `-1000000`}, {`{"type":"int32","name":"org.apache.kafka.connect.data.Time"}`, `-1`}}, `-1000`},
		"boolean": {[]sent{
			{`{"type":"boolean"}`, `true`}, {`{"type":"int16"}`, `1`}, {`{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"1"}}`, `"AQ=="`}}, `1`},
		"tinyint": {[]sent{{`{"type":"int16"}`, `1`}, {`{"type":"boolean"}`, `true`}, {`{"type":"int32"}`, `1`}, {`{"type":"int64"}`, `1`}}, `1`},
		"unsigned": {[]sent{
			{`{"type":"int64"}`, `25`}, {fmt.Sprintf(dec, 0, 20), `"GQ=="`}, {`{"type":"int32"}`, `25`}}, `"25"`},
		"decimal": {[]sent{
			{fmt.Sprintf(dec, 2, 10), `"B88="`}, {fmt.Sprintf(dec, 4, 14), `"Awzc"`}, {fmt.Sprintf(dec, 3, 20), `"ThY="`}}, `"19.9900"`},
	} {
		for i := range c.in {
			t.Run(fmt.Sprintf("%s/%d first", name, i), func(t *testing.T) {
				t.Parallel()
				x, w := newBench(t, nil), newWire(t)
				for k := range c.in {
					s := c.in[(i+k)%len(c.in)]
					x.merge(w.declared(k, s.typ, s.value)...)
				}
				for _, line := range canonicalRows(t, x.b, "silver/t") {
					// Where a boolean came first 1 is true.
					if id, got := cellOf(t, line); !strings.HasPrefix(strings.Replace(got, "true", "1", 1), c.want) {
						t.Errorf("row %d, %s: %s, want %s", id, c.in[(i+id)%len(c.in)].typ, got, c.want)
					}
				}
			})
		}
	}
}

// bigint.unsigned.handling.mode=precise after long: what no long holds makes the column a decimal, and is not rescued.
func TestUnsignedBecomesPrecise(t *testing.T) {
	t.Parallel()
	x, w := newBench(t, nil), newWire(t)
	x.merge(w.declared(1, `{"type":"int64"}`, "7")...)
	x.merge(w.declared(2, `{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0","connect.decimal.precision":"20"}}`, `"AP//////////"`)...)
	x.want(`{"id":1,"v":"7"}`, `{"id":2,"v":"18446744073709551615"}`)
}
