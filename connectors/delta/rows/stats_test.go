package rows

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

func TestStatsOfTheLog(t *testing.T) {
	t.Parallel()
	sc := schema.Schema{Fields: []schema.Field{
		{Name: "i", Type: schema.Of(schema.Long), Nullable: true}, {Name: "f", Type: schema.Of(schema.Double), Nullable: true},
		{Name: "s", Type: schema.Of(schema.String), Nullable: true}, {Name: "t", Type: schema.Of(schema.Timestamp), Nullable: true},
		{Name: "d", Type: schema.DecimalOf(38, 2), Nullable: true}, {Name: "b", Type: schema.Of(schema.Boolean), Nullable: true},
		{Name: "y", Type: schema.Of(schema.Binary), Nullable: true}, {Name: "n", Type: schema.Of(schema.Date), Nullable: true},
	}}
	s := create(t, sc, nil, nil).Cached()
	b := columnar.NewBuilder(sc)
	long := strings.Repeat("x", 40)
	for i, str := range []string{long, "ä" + long} {
		b.AppendInt(0, 9007199254740993-int64(i))
		b.AppendFloat(1, []float64{1.5, -2}[i])
		b.AppendString(2, str)
		b.AppendInt(3, -1-int64(i)*1_000_000)
		if err := b.Append(4, connectors.Dec([]string{"\x30\x39", "\x80\x00\x00\x00\x00\x00\x00\x00"}[i], 2)); err != nil {
			t.Fatal(err)
		}
		b.AppendBool(5, true)
		b.AppendString(6, "x")
		b.AppendNull(7)
	}
	a, err := WriteFile(context.Background(), s, "a", sc, one(b.NewRecord()), WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x := strings.Repeat("x", 32)
	want := `{"numRecords":2,"minValues":{"i":9007199254740992,"f":-2,"s":"` + x + `","t":"1969-12-31T23:59:58.999Z","d":-92233720368547758.08},` +
		`"maxValues":{"i":9007199254740993,"f":1.5,"s":"ä` + x[1:] + "\x7f" + `","t":"1969-12-31T23:59:59.999Z","d":123.45},` +
		`"nullCount":{"i":0,"f":0,"s":0,"t":0,"d":0,"b":0,"y":0,"n":2},"tightBounds":true}`
	if a.Stats != want {
		t.Errorf("got  %s\nwant %s", a.Stats, want)
	}
}

// TestBoundsOfWidenedFloats reads a file that was written, with its statistics, before float became double: 3.4 of the log is then a little less than
// what the file has.
func TestBoundsOfWidenedFloats(t *testing.T) {
	t.Parallel()
	for _, widened := range []bool{false, true} {
		sc := schema.Schema{Fields: []schema.Field{{Name: "f", Type: schema.Of(schema.Double), Nullable: true}}}
		if widened {
			sc.Fields[0].Metadata = map[string]json.RawMessage{"delta.typeChanges": json.RawMessage(`[{"toType":"double","fromType":"float","tableVersion":1}]`)}
		}
		tab := create(t, sc, nil, map[string]string{"delta.enableTypeWidening": "true"})
		b := columnar.NewBuilder(sc)
		b.AppendFloat(0, float64(float32(3.4)))
		b.AppendFloat(0, float64(float32(-0.1)))
		a, err := WriteFile(context.Background(), tab.Cached(), "a", sc, one(b.NewRecord()), WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.Stats = `{"numRecords":2,"minValues":{"f":-0.1},"maxValues":{"f":3.4},"nullCount":{"f":0}}`
		c := tab.NewCommit(tab.Cached())
		c.Append(a)
		s := commit(t, c)
		for where, want := range map[string]int{"f = 3.4000000953674316": 1, "f > 3.4": 1, "f < -0.1": 1, "f <= -0.10000000149011612": 1, "f > 3.5": 0, "f = 3.41": 0} {
			p, err := ParsePredicate(where, s.Schema())
			if err != nil {
				t.Fatal(err)
			}
			if got := len(lines(t, s, Options{Where: p})); widened && got != want {
				t.Errorf("%s: %d rows, want %d", where, got, want)
			}
		}
		var found []string
		for f, err := range Fsck(context.Background(), s, FsckOptions{Deep: true}) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, f.Text)
		}
		if (len(found) == 0) != widened {
			t.Errorf("widened %v: fsck finds %q", widened, found)
		}
	}
}

// TestBoundsOfRoundedDecimals: delta-rs wrote these bounds, each for a file whose one row has the value; it takes a float64 for a decimal.
func TestBoundsOfRoundedDecimals(t *testing.T) {
	t.Parallel()
	sc := schema.Schema{Fields: []schema.Field{{Name: "d", Type: schema.DecimalOf(38, 9), Nullable: true}}}
	tab := create(t, sc, nil, nil)
	c := tab.NewCommit(tab.Cached())
	bounds := map[string]string{
		"-99999999999999999999999999999.999999999": "-9.999999999999997e+28",
		"99999999999999999999999999999.999999999":  "9.999999999999997e+28",
		"12345678901234567890.123456789":           "12345678901234567000.0",
		"9007199254740993.000000000":               "9007199254740992.0",
		"-9007199254740993.000000000":              "-9007199254740992.0",
		"0.000000001":                              "1e-9",
		"0.000000000":                              "0.0",
	}
	for value, bound := range bounds {
		v, ok := parseDecimal(value, sc.Fields[0].Type)
		if !ok {
			t.Fatal(value)
		}
		b := columnar.NewBuilder(sc)
		if err := b.Append(0, v); err != nil {
			t.Fatal(err)
		}
		a, err := WriteFile(context.Background(), tab.Cached(), value, sc, one(b.NewRecord()), WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a.Stats = `{"numRecords":1,"minValues":{"d":` + bound + `},"maxValues":{"d":` + bound + `},"nullCount":{"d":0}}`
		c.Append(a)
	}
	s := commit(t, c)
	for value := range bounds {
		for _, op := range []string{"=", "<=", ">="} {
			p, err := ParsePredicate("d "+op+" "+value, s.Schema())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, l := range lines(t, s, Options{Where: p}) {
				found = found || strings.Contains(l, `"`+value+`"`)
			}
			if !found {
				t.Errorf("d %s %s: the row was skipped", op, value)
			}
		}
	}
}

// TestColumnsWithStatistics: which columns have them by the properties of the table; leaves count, wherever they lie, and arrays and maps are one each.
func TestColumnsWithStatistics(t *testing.T) {
	t.Parallel()
	long := schema.Of(schema.Long)
	sc := schema.Schema{Fields: []schema.Field{
		{Name: "m", Type: schema.MapOf(schema.Of(schema.String), long), Nullable: true},
		{Name: "s", Type: schema.StructOf(schema.Field{Name: "x", Type: long, Nullable: true}, schema.Field{Name: "t", Type: schema.StructOf(
			schema.Field{Name: "y", Type: long, Nullable: true}, schema.Field{Name: "a", Type: schema.ArrayOf(long), Nullable: true}), Nullable: true}), Nullable: true},
		{Name: "b,c", Type: long, Nullable: true}, {Name: "z", Type: long, Nullable: true},
	}}
	for _, c := range []struct {
		conf    map[string]string
		cluster string // of logical names
		want    string
	}{
		{nil, "", `{"m":1,"s":{"x":1,"t":{"y":1,"a":1}},"b,c":1,"z":1}`},
		{map[string]string{delta.PropStatsColumns: "-1"}, "", `{"m":1,"s":{"x":1,"t":{"y":1,"a":1}},"b,c":1,"z":1}`},
		{map[string]string{delta.PropStatsColumns: "0"}, "", `{}`},
		{map[string]string{delta.PropStatsColumns: "3"}, "", `{"m":1,"s":{"x":1,"t":{"y":1}}}`},
		{map[string]string{delta.PropStatsColumns: "3", delta.PropStatsColumnNames: "s.t, `b,c`"}, "", `{"s":{"t":{"y":1,"a":1}},"b,c":1}`},
		{map[string]string{delta.PropStatsColumnNames: "s.x"}, `["z"]`, `{"s":{"x":1},"z":1}`},
		{map[string]string{delta.PropStatsColumns: "1"}, `["z"],["s","t","y"]`, `{"m":1,"s":{"t":{"y":1}},"z":1}`},
		{map[string]string{delta.PropStatsColumns: "0"}, `["b,c"]`, `{"b,c":1}`},
	} {
		mapped, top := MapColumns(sc, 0, func(f *schema.Field, _ int) string { return "p-" + f.Name })
		conf := map[string]string{delta.PropColumnMappingMode: "name", delta.PropMaxColumnID: strconv.Itoa(top)}
		for k, v := range c.conf {
			conf[k] = v
		}
		s := create(t, mapped, nil, conf).Cached()
		if c.cluster != "" {
			d := s.Table().NewCommit(s)
			d.SetDomain("delta.clustering", `{"clusteringColumns":[`+regexp.MustCompile(`"([^"]*)"`).ReplaceAllString(c.cluster, `"p-$1"`)+`]}`)
			s = commit(t, d)
		}
		b := columnar.NewBuilder(mapped)
		for i := range mapped.Fields {
			b.AppendNull(i)
		}
		a, err := WriteFile(context.Background(), s, "a", mapped, one(b.NewRecord()), WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`"([^"]*)":`).ReplaceAllString(c.want, `"p-$1":`)
		if _, counts, _ := strings.Cut(a.Stats, `"nullCount":`); strings.TrimSuffix(counts, `,"tightBounds":true}`) != want {
			t.Errorf("%v, clustered by %s:\ngot  %s\nwant %s", c.conf, c.cluster, a.Stats, want)
		}
	}
}
