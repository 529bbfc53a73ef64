package smt

import (
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// fixed decodes each record to the same changes.
type fixed []connectors.Change

func (f fixed) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	if string(rec.Value) == "poison" {
		return dst, connectors.Poison(connectors.ClassMalformed, "poison")
	}
	for _, c := range f {
		c.Record = rec
		dst = append(dst, c)
	}
	return dst, nil
}

type fixedRebuilder struct{ fixed }

func (fixedRebuilder) Rebuild(dst []byte, _ string, _ int64, _ connectors.Raw) []byte {
	return append(dst, "rebuilt"...)
}

func TestWrap(t *testing.T) {
	t.Parallel()
	inner := fixed{*change(), *change()}
	inner[0].Op, inner[1].Op = connectors.Insert, connectors.Update
	inner[0].OpText, inner[0].Raw.After = "c", `{"id":7}`
	if _, same := Wrap(inner, chain(t, nil)).(fixed); !same {
		t.Error("an empty chain wraps")
	}
	drop := map[string]string{"transforms": "f", "transforms.f.type": pkg + "Filter"}
	if _, ok := Wrap(inner, chain(t, drop)).(connectors.Rebuilder); ok {
		t.Error("what can't rebuild can't do so wrapped")
	}
	d := Wrap(fixedRebuilder{inner}, chain(t, drop))
	if r, ok := d.(connectors.Rebuilder); !ok || string(r.Rebuild(nil, "c", 0, connectors.Raw{})) != "rebuilt" {
		t.Error("what can rebuild can't do so wrapped")
	}
	rec := inner[0].Record
	before := []connectors.Change{{Kind: connectors.Tombstone}}
	out, err := d.Decode(before, rec)
	if err != nil || len(out) != 3 || out[0].Kind != connectors.Tombstone {
		t.Fatal(out, err)
	}
	for _, c := range out[1:] {
		if c.Kind != connectors.Control || c.ControlKind != connectors.OtherControl || c.Op != connectors.NoOp {
			t.Errorf("%+v is applied", c)
		}
	}
	if out[1].OpText != "c" || out[1].Raw.After != `{"id":7}` {
		t.Errorf("bronze would keep %q %q", out[1].OpText, out[1].Raw.After)
	}
	if out, err := d.Decode(before, &connectors.Record{Value: []byte("poison")}); err == nil || len(out) != 1 {
		t.Error(out, err)
	}
}

// A record of which one change is refused is not applied by half.
func TestWrapRefuses(t *testing.T) {
	t.Parallel()
	inner := fixed{*change(), *change()}
	inner[1].After.Shape = &connectors.Shape{Names: []string{"id", "other", "pin"}}
	d := Wrap(inner, chain(t, map[string]string{"silver.filter": "after.name == 'Ann'"}))
	out, err := d.Decode(nil, inner[0].Record)
	poison, ok := connectors.IsPoison(err)
	if !ok || poison.Stage != connectors.StageTransform || len(out) != 2 || out[0].Kind != connectors.Control || out[1].Kind != connectors.Control {
		t.Fatal(out, err)
	}
	l := poison.Letter(inner[0].Record, "c")
	if l.Stage != connectors.StageTransform || l.Class != connectors.ClassTransform || l.Reason != "silver.filter: no such key: name" {
		t.Errorf("%+v", l)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	kept, left, out := "kept", "deleted", "nothing"
	day := connectors.Int(schema.Date, 20000)
	for _, c := range []struct {
		expr string
		edit func(*connectors.Change)
		want string // or a part of the error
	}{
		{"after.name == 'Ann'", nil, kept},
		{"after.name != 'Ann'", nil, left},
		{"after.id > 6.5 && after.pin == 1.0", nil, kept},
		{"after.name.upperAscii().startsWith('AN')", nil, kept},
		{"topic == 'shop.public.orders' && partition == 2 && offset == 9 && op == 'u'", nil, kept},
		{"database == 'd' && schema == 's' && table == 't' && key.id == 7", nil, kept},
		{"headers.trace == null && kafka_time == timestamp('1970-01-01T00:00:00.005Z') && source_time > kafka_time", nil, kept},
		{"has(after.name) && !has(after.nothing) && size(after) == 3 && 'id' in after && after.exists(k, k == 'pin')", nil, kept},
		{"before.name == 'Old'", func(c *connectors.Change) {
			c.Before = connectors.Row{Shape: c.After.Shape, Values: []connectors.Value{{}, connectors.Text("Old"), {}}}
		}, kept},
		{"has(before.name)", nil, left},
		{"after.nothing == 1", nil, "no such key: nothing"},
		{"after.nothing == null", func(c *connectors.Change) { c.AbsentIsNull = true }, kept},
		{"after.name == 'x'", func(c *connectors.Change) { c.After.Values[1] = connectors.UnavailableValue() }, "no such key: name"},
		{"after.?name.orValue('x') == 'x'", func(c *connectors.Change) { c.After.Values[1] = connectors.UnavailableValue() }, kept},
		{"after.name == null", func(c *connectors.Change) { c.After.Values[1] = connectors.NullValue() }, kept},
		{"after.name > 'A'", func(c *connectors.Change) { c.After.Values[1] = connectors.NullValue() }, "no such overload"},
		{"after.name", nil, "the expression gives string"},
		{"after.name < timestamp('2024-10-05T00:00:00Z')", func(c *connectors.Change) { c.After.Values[1] = day }, kept},
		{"after.name.a[1].b == 'x'", func(c *connectors.Change) {
			typ := schema.StructOf(schema.Field{Name: "b", Type: schema.Of(schema.String)})
			typ = schema.StructOf(schema.Field{Name: "a", Type: schema.ArrayOf(typ)})
			c.After.Shape = &connectors.Shape{Names: c.After.Shape.Names, Types: []schema.Type{c.After.Shape.Types[0], typ, c.After.Shape.Types[2]}}
			b := func(s string) connectors.Value {
				return connectors.Nested(schema.Struct, []connectors.Value{connectors.Text(s)})
			}
			c.After.Values[1] = connectors.Nested(schema.Struct, []connectors.Value{connectors.Nested(schema.Array, []connectors.Value{b("w"), b("x")})})
		}, kept},
		{"false", func(c *connectors.Change) { c.Op = connectors.Delete }, kept},
		{"false", func(c *connectors.Change) { c.Kind = connectors.Tombstone }, kept},
		{"false", func(c *connectors.Change) { c.Kind = connectors.TruncateTable }, kept},
		{"false", func(c *connectors.Change) { c.Op = connectors.Insert }, left},
		{"false", func(c *connectors.Change) { c.Op, c.Key = connectors.Insert, connectors.Row{} }, out},
		{"false", func(c *connectors.Change) { c.Op, c.Key = connectors.Read, connectors.Row{} }, out},
		{"false", func(c *connectors.Change) {
			c.Key, c.Before, c.BeforeQuality = connectors.Row{}, c.After, connectors.BeforeFull
		}, left},
	} {
		x := change()
		x.Op, x.OpText = connectors.Update, "u"
		x.Source, x.SourceTsNs = &connectors.Source{DB: "d", Schema: "s", Table: "t"}, 1e9
		if c.edit != nil {
			c.edit(x)
		}
		was := *x
		keep, err := chain(t, map[string]string{"silver.filter": c.expr}).Apply(x)
		got := kept
		switch {
		case err != nil:
			got = err.Error()
		case !keep:
			got = out
		case x.Filtered:
			got = left
			if x.Op != connectors.Delete || x.OpText != "u" || x.Key.IsZero() != (x.BeforeQuality == connectors.BeforeFull) {
				t.Errorf("%s: %+v", c.expr, x)
			}
		case x.Op != was.Op:
			t.Errorf("%s: %+v", c.expr, x)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %s, want %s", c.expr, got, c.want)
		}
	}
	if chain(t, map[string]string{"silver.filter": "op == 'before'"}).NeedsBefore() || !chain(t, map[string]string{"silver.filter": "1 in [1, before.x]"}).NeedsBefore() {
		t.Error("NeedsBefore")
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	ch := chain(t, map[string]string{"silver.columns.mask": "id, pin, name", "silver.columns.mask.salt": "pepper", "silver.filter": "after.pin == 1.0"})
	c := change()
	c.Op = connectors.Update
	c.After.SetRescued(nil)
	values := c.After.Values
	if keep, err := ch.Apply(c); !keep || err != nil || c.Filtered {
		t.Fatal(keep, err, c.Filtered)
	}
	for name, want := range map[string]string{ // of "pepper7" and "pepper1.00", by sha256sum
		"id": "1b444819", "pin": "4d17d1fd",
	} {
		if v := c.After.Get(name); v.Kind != schema.String || len(v.Str) != 64 || !strings.HasPrefix(v.Str, want) {
			t.Errorf("%s is %q", name, v.Str)
		}
	}
	if !c.Key.Get("id").Equal(c.After.Get("id")) || c.After.Shape.Types[0].Kind != schema.String || values[0].Int != 7 {
		t.Errorf("key %+v, row %+v", c.Key, c.After)
	}
	d := change()
	d.After.Values[1], d.After.Values[2] = connectors.NullValue(), connectors.UnavailableValue()
	d.Kind = connectors.Control // the filter passes it
	if _, err := ch.Apply(d); err != nil || d.After.Values[2].State != connectors.Unavailable || len(d.After.Rescued()) != 0 {
		t.Errorf("%v %+v", err, d.After)
	}
	if d.After.Values[1].Str == c.After.Values[1].Str {
		t.Error("the rescued text is masked as the value")
	}
}
