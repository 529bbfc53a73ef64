package typed

import (
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// The structs of time.precision.mode=structured become what the other modes give, so that a column keeps its type when the mode is changed.
func TestStructuredTimes(t *testing.T) {
	t.Parallel()
	i8, i32 := func(n string) string { return `{"type":"int8","optional":true,"field":"` + n + `"}` }, func(n string) string { return `{"type":"int32","optional":true,"field":"` + n + `"}` }
	special := `,{"type":"string","optional":true,"field":"specialValue"}`
	date := i32("year") + "," + i8("month") + "," + i8("day")
	clock := i8("hour") + "," + i8("minute") + "," + i8("second") + "," + i32("nanos")
	of := func(name, fields string) string {
		return `{"type":"struct","optional":true,"name":"io.debezium.time.Structured` + name + `","version":1,"fields":[` + fields + `]}`
	}
	sDate, sTime, sStamp := of("Date", date+special), of("Time", clock+","+i32("precision")), of("Timestamp", date+","+clock+special+","+i32("precision"))
	sZoned := of("ZonedTimestamp", date+","+clock+","+i32("offsetSeconds")+`,{"type":"string","optional":true,"field":"zoneId"}`+special)
	sZonedTime := of("ZonedTime", clock+","+i32("offsetSeconds"))
	sDuration := of("Duration", i32("years")+","+i32("months")+","+i32("days")+","+i32("hours")+","+i32("minutes")+`,{"type":"int64","optional":true,"field":"seconds"},`+i32("nanos"))
	for _, c := range []struct {
		schema, json string
		want         connectors.Value
		rescued      string
	}{
		{sDate, `{"year":1969,"month":12,"day":31,"specialValue":null}`, connectors.Int(schema.Date, -1), ""},
		{sDate, `{"year":null,"month":null,"day":null,"specialValue":"-infinity"}`, connectors.NullValue(), "-infinity"},
		{sDate, `{"year":null,"month":null,"day":null,"specialValue":"POSITIVE_INFINITY"}`, connectors.NullValue(), "infinity"},
		{sDate, `{"year":12026,"month":3,"day":15,"specialValue":null}`, connectors.NullValue(), "+12026-03-15"},
		{sDate, `{"year":2026,"month":2,"day":0,"specialValue":null}`, connectors.NullValue(), "2026-02-00"},
		{sTime, `{"hour":23,"minute":59,"second":59,"nanos":999999000,"precision":6}`, connectors.Int(schema.Long, 86399999999), ""},
		{sStamp, `{"year":1969,"month":12,"day":31,"hour":23,"minute":59,"second":59,"nanos":999999000,"specialValue":null,"precision":6}`, connectors.Int(schema.TimestampNTZ, -1), ""},
		{sStamp, `{"year":-43,"month":3,"day":15,"hour":1,"minute":2,"second":3,"nanos":500000000,"specialValue":null,"precision":6}`, connectors.NullValue(), "-0043-03-15T01:02:03.5"},
		{sZoned, `{"year":1970,"month":1,"day":1,"hour":2,"minute":0,"second":0,"nanos":1000,"offsetSeconds":7200,"zoneId":"+02:00","specialValue":null}`, connectors.Int(schema.Timestamp, 1), ""},
		{sZonedTime, `{"hour":0,"minute":30,"second":0,"nanos":500000000,"offsetSeconds":7200}`, connectors.Text("22:30:00.5Z"), ""},
		{sDuration, `{"years":1,"months":2,"days":3,"hours":4,"minutes":5,"seconds":6,"nanos":789000000}`, connectors.Text("P1Y2M3DT4H5M6.789S"), ""},
		{sDuration, `{"years":0,"months":0,"days":0,"hours":0,"minutes":-5,"seconds":0,"nanos":-500000000}`, connectors.Text("P0Y0M0DT0H-5M-0.5S"), ""},
		{sDuration, `{"years":0,"months":0,"days":0,"hours":0,"minutes":0,"seconds":-7,"nanos":250000000}`, connectors.Text("P0Y0M0DT0H0M-6.75S"), ""},
		{`{"type":"array","items":` + sDate + `}`, `[null,{"year":1970,"month":1,"day":2,"specialValue":null}]`, connectors.Nested(schema.Array, []connectors.Value{connectors.NullValue(), connectors.Int(schema.Date, 1)}), ""},
	} {
		typ, err := Compile(`{"type":"struct","fields":[` + c.schema[:len(c.schema)-1] + `,"field":"a"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		var r js.Reader
		row, next := typ.Row(&r, `{"a":`+c.json+`}`, 0)
		if next < 0 {
			t.Errorf("%s: %v", c.json, r.Err)
			continue
		}
		rescued := ""
		if len(row.Rescued()) > 0 {
			rescued = row.Rescued()[0].Text
		}
		if !row.Values[0].Equal(c.want) || rescued != c.rescued {
			t.Errorf("%s is %+v rescued %q, want %+v %q", c.json, row.Values[0], rescued, c.want, c.rescued)
		}
		if v := row.Values[0]; v.State == connectors.Present && v.Kind != row.Shape.Types[0].Kind {
			t.Errorf("%s: a %s in a column of %s", c.json, v.Kind, row.Shape.Types[0])
		}
	}
}
