package delta

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

// TestTypedStatisticsInCheckpoints: with delta.checkpoint.writeStatsAsStruct and without the JSON, a checkpoint gives back what the statistics said.
func TestTypedStatisticsInCheckpoints(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	col := func(name string, typ schema.Type) schema.Field {
		return schema.Field{Name: name, Type: typ, Nullable: true}
	}
	sc := schema.Schema{Fields: []schema.Field{col("l", schema.Of(schema.Long)), col("i", schema.Of(schema.Integer)), col("b", schema.Of(schema.Byte)), col("sh", schema.Of(schema.Short)),
		col("f", schema.Of(schema.Float)), col("d", schema.Of(schema.Double)), col("s", schema.Of(schema.String)), col("day", schema.Of(schema.Date)),
		col("ts", schema.Of(schema.Timestamp)), col("ntz", schema.Of(schema.TimestampNTZ)), col("dec9", schema.DecimalOf(9, 2)), col("dec18", schema.DecimalOf(18, 6)),
		col("dec38", schema.DecimalOf(38, 10)), col("bin", schema.Of(schema.Binary)), col("list", schema.ArrayOf(schema.Of(schema.Long))),
		col("st", schema.StructOf(col("x", schema.Of(schema.Long)), col("y", schema.Of(schema.Binary)))),
		col("p", schema.Of(schema.Date)), col("q", schema.DecimalOf(5, 2)), col("r", schema.Of(schema.Boolean))}}
	texts := []string{
		`{"numRecords":7,"minValues":{"l":-9007199254740993,"i":-5,"b":-128,"sh":3,"f":0.1,"d":-1e300,"s":"a\"ü","day":"0001-01-01","ts":"1969-12-31T23:59:59.999Z",` +
			`"ntz":"2024-02-29T12:00:00.123","dec9":-9999999.99,"dec18":0.000001,"dec38":-1234567890123456789012345678.0123456789,"st":{"x":4}},` +
			`"maxValues":{"l":9223372036854775807,"i":5,"b":127,"sh":3,"f":1.5,"d":1e300,"s":"zz","day":"9999-12-31","ts":"2024-01-01T00:00:00.000Z",` +
			`"ntz":"2024-02-29T12:00:00.124","dec9":9999999.99,"dec18":1.000000,"dec38":1.0000000000,"st":{"x":5}},` +
			`"nullCount":{"l":0,"i":1,"b":2,"sh":3,"f":4,"d":5,"s":6,"day":7,"ts":0,"ntz":0,"dec9":0,"dec18":0,"dec38":0,"bin":1,"list":2,"st":{"x":1,"y":3}},"tightBounds":true}`,
		`{"numRecords":1,"minValues":{"s":"only"},"maxValues":{},"nullCount":{"l":1},"tightBounds":false}`, `{"numRecords":0}`, "",
	}
	for _, format := range []CheckpointFormat{CheckpointV1, CheckpointV2Parquet} {
		b := mem.New("typed")
		tab, err := Create(ctx, b, "t", CreateOptions{Schema: sc, PartitionColumns: []string{"p", "q", "r"}, Features: []string{FeatureV2Checkpoint},
			Configuration: map[string]string{PropEnableDVs: "true", PropStatsAsStruct: "true", PropStatsAsJSON: "false"}})
		if err != nil {
			t.Fatal(err)
		}
		c := tab.NewCommit(tab.Cached())
		for i, text := range texts {
			a := Add{Path: string(rune('A' + i)), Size: 1, Stats: text, PartitionValues: NewPartition(PartitionValue{Name: "p", Value: "2024-02-29"},
				PartitionValue{Name: "q", Null: i == 1, Value: "1.50"}, PartitionValue{Name: "r", Value: "true"})}
			n, _ := a.NumRecords()
			a.Written = &Written{Size: 1, Rows: n}
			c.Append(a)
		}
		if out := c.Do(ctx); out.Err != nil {
			t.Fatal(out.Err)
		}
		if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{Format: format}); err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"0", "1"} {
			if err := b.Delete(ctx, tab.key(logDir+strings.Repeat("0", 19)+v+".json")); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Open(ctx, b, "t")
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			a, ok := again.Cached().File(string(rune('A' + i)))
			if !ok {
				t.Fatalf("file %d is gone", i)
			}
			if diff := cmp.Diff(decoded(t, text), decoded(t, a.Stats)); diff != "" {
				t.Errorf("format %d, file %d:\n%s", format, i, diff)
			}
		}
	}
}

// decoded reads JSON with its numbers as they stand; what is empty counts as absent.
func decoded(t *testing.T, text string) any {
	t.Helper()
	if text == "" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	for k, x := range v {
		if m, ok := x.(map[string]any); ok && len(m) == 0 {
			delete(v, k)
		}
	}
	if m, ok := v["minValues"].(map[string]any); ok && m["d"] != nil {
		m["d"], v["maxValues"].(map[string]any)["d"] = json.Number("-1e+300"), json.Number("1e+300") // other digits of the same
	}
	return v
}

// TestTypedPartitionValues: whatever form of a value readers take has its place in the typed columns too: Delta Kernel leaves out files whose
// typed value does not match.
func TestTypedPartitionValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		typ  schema.Kind
		want any
	}{
		{"2020-02-02", schema.TimestampNTZ, int64(1580601600000000)}, {"2020-02-02 00:00:00.5", schema.TimestampNTZ, int64(1580601600500000)}, {"2020-02-02T00:00:00Z", schema.Timestamp, int64(1580601600000000)},
		{"2020-02-02 05:30:00+05:30", schema.Timestamp, int64(1580601600000000)}, {"-0044-03-15", schema.Date, int32(-735525)}, {"+12345-06-07", schema.Date, int32(3789548)}, {"300", schema.Byte, nil}, {"-128", schema.Byte, int32(-128)},
		{"2147483648", schema.Integer, nil},
	} {
		l, _ := typedLeafOf(schema.Of(c.typ))
		var b colBuf
		var got any
		if l.fromText(&b, c.text) {
			if len(b.i64) == 1 {
				got = b.i64[0]
			} else {
				got = b.i32[0]
			}
		}
		if got != c.want {
			t.Errorf("%s as %s: %v, want %v", c.text, schema.Of(c.typ), got, c.want)
		}
	}
}
