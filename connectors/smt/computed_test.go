package smt

import (
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Columns are computed from the row as the transforms leave it, in both images; the filter and the masks see them.
func TestComputedColumns(t *testing.T) {
	t.Parallel()
	ch := chain(t, map[string]string{"transforms": "r", "transforms.r.type": pkg + "ReplaceField$Value", "transforms.r.renames": "name:full",
		"silver.columns.computed": `{'lower': string(after.full).lowerAscii(), 'twice': double(after.pin) * 2.0, 'full': string(after.full) + '!',
			'big': after.id > 5, 'n': int(after.id) + 1, 'at': timestamp('2026-01-02T03:04:05Z'), 'bytes': bytes('x'), 'where': table + topic}`,
		"silver.filter": "after.big", "silver.columns.mask": "lower", "silver.columns.mask.salt": "s"})
	c := change()
	c.After.SetRescued(nil)
	c.Before = c.After
	given := c.After
	if keep, err := ch.Apply(c); !keep || err != nil {
		t.Fatal(keep, err)
	}
	for name, want := range map[string]connectors.Value{"twice": connectors.Float(2), "full": connectors.Text("Ann!"), "big": connectors.Bool(true), "n": connectors.Int(schema.Long, 8),
		"at": connectors.Int(schema.Timestamp, 1767323045000000), "bytes": connectors.Bytes("x"), "where": connectors.Text("shop.public.orders"), "id": connectors.Int(schema.Long, 7)} {
		for _, r := range []connectors.Row{c.After, c.Before} {
			if got := r.Get(name); !got.Equal(want) {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	}
	if v := c.After.Get("lower"); len(v.Str) != 64 {
		t.Errorf("not masked: %+v", v)
	}
	sh := c.After.Shape
	if got := strings.Join(sh.Names, ","); got != "id,full,pin,lower,twice,big,n,at,bytes,where" || sh.Types[4].Kind != schema.Double || sh.Types[7].Kind != schema.Timestamp || sh.Types[8].Kind != schema.Binary {
		t.Errorf("%s %v", got, sh.Types)
	}
	if len(given.Values) != 3 || given.Values[1].Str != "Ann" {
		t.Error("the row that was given has changed")
	}
	again := change()
	again.After.Shape = given.Shape
	if _, err := ch.Apply(again); err != nil || again.After.Shape != sh {
		t.Error("rows of one shape get two shapes")
	}
}

func TestComputedColumnsOfWhatIsNotTold(t *testing.T) {
	t.Parallel()
	ch := chain(t, map[string]string{"silver.columns.computed": `{'x': string(after.name).upperAscii(), 'y': string(after.name) + string(after.pin), 'z': has(after.name)}`})
	set := func(name, pin connectors.Value) *connectors.Change {
		c := change()
		c.After.SetRescued(nil)
		c.After.Values = []connectors.Value{connectors.Int(schema.Long, 7), name, pin}
		return c
	}
	c := set(connectors.NullValue(), connectors.Dec("\x64", 2))
	if _, err := ch.Apply(c); err != nil || c.After.Get("x").State != connectors.Null {
		t.Errorf("NULL: %+v %v", c.After.Get("x"), err)
	}
	// All that it names is left out: the value is too, and the row keeps what it has.
	c = set(connectors.UnavailableValue(), connectors.UnavailableValue())
	if _, err := ch.Apply(c); err != nil || c.After.Get("x").State != connectors.Unavailable || c.After.Get("y").State != connectors.Unavailable || c.After.Get("z").Int != 0 {
		t.Errorf("left out: %+v %v", c.After, err)
	}
	// A part of it: nobody knows the value.
	c = set(connectors.UnavailableValue(), connectors.Dec("\x64", 2))
	if _, err := ch.Apply(c); err == nil || !strings.Contains(err.Error(), `column "y"`) {
		t.Errorf("left out in part: %v", err)
	} else if x, ok := connectors.IsPoison(err); !ok || x.Stage != connectors.StageTransform {
		t.Errorf("%v is no dead letter", err)
	}
	// The image before may be told in part.
	c = set(connectors.Text("a"), connectors.Dec("\x64", 2))
	c.Before = connectors.Row{Shape: &connectors.Shape{Names: []string{"id"}}, Values: []connectors.Value{connectors.Int(schema.Long, 7)}}
	if _, err := ch.Apply(c); err != nil || c.Before.Get("x").State != connectors.Unavailable {
		t.Errorf("before: %+v %v", c.Before, err)
	}
	d := &connectors.Change{Kind: connectors.Tombstone, Op: connectors.Delete, Record: c.Record, Key: c.Key}
	if keep, err := ch.Apply(d); !keep || err != nil {
		t.Error(keep, err)
	}
	bad := chain(t, map[string]string{"silver.columns.computed": `{'n': int(string(after.name))}`})
	if _, err := bad.Apply(change()); err == nil {
		t.Error("Ann is a number")
	}
	key := chain(t, map[string]string{"silver.columns.computed": `{'id': int(after.id) + 1}`})
	if _, err := key.Apply(change()); err == nil || !strings.Contains(err.Error(), "one of the key") {
		t.Errorf("a key is computed: %v", err)
	}
}

func TestBadComputedColumns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"after.x":                               "a map from column to expression",
		"{'a': after.x}":                        "say what it is to be with string(…)",
		"{'a': 1, 'a': 2}":                      "each one once",
		"{after.x: 1}":                          "the name of a column",
		"{'a': 1,\n 'b': tabel}":                "line 2, column 7: undeclared reference to 'tabel'",
		"{'a': [1]}":                            "is list(int)",
		"{'a': offset}":                         "undeclared reference to 'offset'", // differs between the events of a row
		"{'a': string(after.x).matches('(')}":   "column 31",
		"{'a': after.x + 1, 'b': string(1) + }": "Syntax error",
	} {
		if _, err := New(map[string]string{computedKey: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if c := chain(t, map[string]string{computedKey: "{}"}); !c.Empty() {
		t.Error("no columns are a chain")
	}
}
