package evolve

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

func TestNamesComeBack(t *testing.T) {
	for name, want := range map[string]string{
		"id": "id", "Ledger No": "Ledger_x0020_No", "a=b": "a_x003D_b", "_x0020_": "_x005F_x0020_", "": "_x_", "_x_": "_x005F_x_",
		"_cdc_sequence": "_x005F_cdc_sequence", "_CDC_Sequence": "_x005F_CDC_Sequence", "über,x": "über_x002C_x", "a_b": "a_b", "_x12_": "_x12_", "_x0000 ": "_x005F_x0000_x0020_",
	} {
		if got := EscapeName(name); got != want {
			t.Errorf("EscapeName(%q) = %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom([]rune(" _xX0020_,aé;=\t{}5F")), 0, 14, -1).Draw(t, "name")
		col := EscapeName(name)
		if strings.ContainsAny(col, " ,;{}()\n\t=") || Reserved(col) {
			t.Fatalf("%q is no name", col)
		}
		if got := UnescapeName(col); got != name {
			t.Fatalf("%q → %q → %q", name, col, got)
		}
	})
}

func row(types []schema.Type, kv ...any) connectors.Row {
	sh := &connectors.Shape{Types: types}
	var r connectors.Row
	for i := 0; i < len(kv); i += 2 {
		sh.Names = append(sh.Names, kv[i].(string))
		r.Values = append(r.Values, kv[i+1].(connectors.Value))
	}
	r.Shape = sh
	return r
}

func names(c *Columns) string {
	var out []string
	for _, f := range c.Schema.Fields {
		out = append(out, f.Name+" "+f.Type.String())
	}
	return strings.Join(out, ", ")
}

func TestColumnsFollowRowsWithoutSchema(t *testing.T) {
	c := New(schema.Schema{}, Policy{})
	null := connectors.NullValue()
	c.Observe(row(nil, "id", connectors.Int(schema.Long, 1), "a", null, "Value", connectors.Text("x"), "value", connectors.Float(1)), false)
	c.Sealed()
	want := "id long, Value string, value_1d775834 double"
	if got := names(c); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	c.Observe(row(nil, "id", connectors.Int(schema.Long, 1), "a", connectors.Int(schema.Long, 7)), false)
	p, _ := c.Observe(row(nil, "a", connectors.Float(1.5), "Value", connectors.Int(schema.Long, 3)), false)
	if got := names(c); got != want+", a double" {
		t.Fatal(got)
	}
	if c.Widened["a"].Kind != schema.Long {
		t.Fatal("the widening is not told of")
	}
	if p.Src[3] != 0 || p.Src[0] != -1 || p.Src[1] != 1 {
		t.Fatal(p.Src)
	}
	if back := New(c.Schema, Policy{}); back.BySource("value") != 2 || back.BySource("Value") != 1 {
		t.Fatal("names are not found again")
	}
}

func TestPolicies(t *testing.T) {
	base := schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Integer)}, {Name: "d", Type: schema.DecimalOf(8, 2)}}}
	typed := func(ts ...schema.Type) []schema.Type { return ts }
	long, dec := schema.Of(schema.Long), schema.DecimalOf(14, 4)
	wide := row(typed(long, dec), "id", connectors.Int(schema.Long, 1), "d", connectors.Dec("\x01", 4))
	for _, k := range []struct {
		policy Policy
		row    connectors.Row
		want   string
		reject string
	}{
		{Policy{}, wide, "id long, d decimal(14,4)", ""},
		{Policy{Widen: Ignore}, wide, "id integer, d decimal(8,2)", ""},
		{Policy{Widen: Reject}, wide, "id integer, d decimal(8,2)", "grows"},
		{Policy{Add: Reject}, row(typed(long), "n", connectors.Int(schema.Long, 1)), "id integer, d decimal(8,2)", "new"},
		{Policy{Add: Ignore}, row(typed(long), "n", connectors.Int(schema.Long, 1)), "id integer, d decimal(8,2)", ""},
		{Policy{Type: Reject}, row(nil, "id", connectors.Text("x")), "id integer, d decimal(8,2)", "type"},
		{Policy{Drop: Reject}, row(nil, "id", connectors.Int(schema.Integer, 1)), "id integer, d decimal(8,2)", "missing"},
		{Policy{Exclude: []string{"n"}}, row(typed(long), "n", connectors.Int(schema.Long, 1)), "id integer, d decimal(8,2)", ""},
	} {
		c := New(base, k.policy)
		_, reason := c.Observe(k.row, false)
		if got := names(c); got != k.want || (reason == "") != (k.reject == "") || !strings.Contains(reason, k.reject) {
			t.Errorf("%+v: %s, %q", k.policy, got, reason)
		}
	}
}

// A conversion that is said to be without loss can be taken back.
func TestConvertLosesNothing(t *testing.T) {
	types := []schema.Type{schema.Of(schema.Byte), schema.Of(schema.Integer), schema.Of(schema.Long), schema.Of(schema.Double), schema.Of(schema.Float),
		schema.DecimalOf(10, 2), schema.DecimalOf(38, 0), schema.DecimalOf(20, 5), schema.Of(schema.Date), schema.Of(schema.Timestamp), schema.Of(schema.TimestampNTZ)}
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.SampledFrom(types).Draw(t, "from"), rapid.SampledFrom(types).Draw(t, "to")
		var v connectors.Value
		switch from.Kind {
		case schema.Double:
			v = connectors.Float(rapid.OneOf(rapid.Float64(), rapid.Float64Range(-5, 5), rapid.Map(rapid.Int32(), func(i int32) float64 { return float64(i) })).Draw(t, "f"))
		case schema.Float:
			v = connectors.Float(float64(rapid.Float32().Draw(t, "f")))
			v.Kind = schema.Float
		case schema.Decimal:
			v = connectors.Dec(string(rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "d")), from.Scale)
			if _, ok := Convert(v, from); !ok {
				t.Skip()
			}
		default:
			v = connectors.Int(from.Kind, rapid.Int64().Draw(t, "i"))
			if from.Kind == schema.Date {
				v.Int >>= 40
			}
			if !inRange(from.Kind, v.Int) {
				t.Skip()
			}
		}
		w, ok := Convert(v, to)
		if !ok {
			return
		}
		back, ok := Convert(w, from)
		if !ok {
			t.Fatalf("%v → %s: no way back", v, to)
		}
		a, b := string(AppendJSON(nil, v)), string(AppendJSON(nil, back))
		if a != b {
			t.Fatalf("%s %s → %s → %s", from, a, to, b)
		}
	})
}

func TestConvertFloatToDoubleShowsAllDigits(t *testing.T) {
	v := connectors.Float(1.00390625)
	v.Kind = schema.Float
	w, ok := Convert(v, schema.Of(schema.Double))
	if got := string(AppendJSON(nil, w)); !ok || got != "1.00390625" {
		t.Errorf("%s, %v", got, ok)
	}
}

func TestConvertKeepsTheSignOfZero(t *testing.T) {
	for _, to := range []schema.Type{schema.Of(schema.Long), schema.DecimalOf(10, 2)} {
		if w, ok := Convert(connectors.Float(math.Copysign(0, -1)), to); ok {
			t.Errorf("-0 became %s as %s", AppendJSON(nil, w), to)
		}
	}
}

func TestRescueIsAnObject(t *testing.T) {
	var r Rescue
	r.Put("b", connectors.Dec("\x01\x00", 2))
	r.PutText("a", "infinity")
	if got := r.JSON(); got != `{"a":"infinity","b":2.56}` {
		t.Fatal(got)
	}
	if got := ParseRescue(r.JSON()); got.JSON() != r.JSON() {
		t.Fatal(got)
	}
}

// A decimal of as many digits as an integer column prints holds more than the column: bigint.unsigned.handling.mode=precise after long. Was rescued for ever.
func TestIntegersGrowToDecimals(t *testing.T) {
	for _, k := range []struct {
		have      schema.Kind
		precision int
		scale     int
		want      string
	}{
		{schema.Byte, 2, 0, "byte"}, {schema.Byte, 3, 0, "decimal(3,0)"}, {schema.Short, 4, 0, "short"}, {schema.Short, 5, 0, "decimal(5,0)"},
		{schema.Integer, 9, 0, "integer"}, {schema.Integer, 10, 0, "decimal(10,0)"}, {schema.Integer, 4, 2, "decimal(12,2)"},
		{schema.Long, 18, 0, "long"}, {schema.Long, 19, 0, "decimal(20,0)"}, {schema.Long, 20, 0, "decimal(20,0)"}, {schema.Long, 38, 18, "decimal(38,18)"}, {schema.Long, 38, 19, "long"},
	} {
		if got, _ := Unify(schema.Of(k.have), schema.DecimalOf(k.precision, k.scale)); got.String() != k.want {
			t.Errorf("%s and decimal(%d,%d): %s, want %s", k.have, k.precision, k.scale, got, k.want)
		}
	}
}
