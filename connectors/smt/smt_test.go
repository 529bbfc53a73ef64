package smt

import (
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

const pkg = "org.apache.kafka.connect.transforms."

func change() *connectors.Change {
	sh := &connectors.Shape{Names: []string{"id", "name", "pin"}, Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.String), schema.DecimalOf(5, 2)}}
	row := connectors.NewRow(sh, []connectors.Value{connectors.Int(schema.Long, 7), connectors.Text("Ann"), connectors.Dec("\x64", 2)},
		[]connectors.Rescued{{Column: 1, Text: "x"}})
	return &connectors.Change{Record: &connectors.Record{Topic: "shop.public.orders", Partition: 2, Offset: 9, TimestampMs: 5,
		Value: []byte("{}"), Headers: []connectors.Header{{Key: "trace"}}},
		Key: connectors.Row{Shape: &connectors.Shape{Names: []string{"id"}}, Values: row.Values[:1]}, After: row}
}

func chain(t *testing.T, config map[string]string) *Chain {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReplaceField(t *testing.T) {
	t.Parallel()
	c := change()
	ch := chain(t, map[string]string{"transforms": "a,k", "transforms.a.type": pkg + "ReplaceField$Value", "transforms.a.exclude": "id", "transforms.a.renames": "name:full",
		"transforms.k.type": pkg + "ReplaceField$Key", "transforms.k.renames": "id:key"})
	before := c.After
	if keep, err := ch.Apply(c); !keep || err != nil {
		t.Fatal(keep, err)
	}
	if got := strings.Join(c.After.Shape.Names, ","); got != "full,pin" || c.After.Get("full").Str != "Ann" || c.After.Shape.Types[1].Scale != 2 || c.After.Rescued()[0].Column != 0 {
		t.Errorf("%s %+v", got, c.After)
	}
	if c.Key.Get("key").Int != 7 || len(before.Shape.Names) != 3 {
		t.Errorf("key %+v; the first row is now %+v", c.Key, before)
	}
	again := change()
	again.After.Shape = before.Shape
	if _, err := ch.Apply(again); err != nil || again.After.Shape != c.After.Shape {
		t.Error("rows of one shape get two shapes")
	}
}

func TestMaskAndInsert(t *testing.T) {
	t.Parallel()
	c := change()
	values := c.After.Values
	ch := chain(t, map[string]string{"transforms": "m, i", "transforms.m.type": pkg + "MaskField$Value", "transforms.m.fields": "name,pin",
		"transforms.i.type": pkg + "InsertField$Value", "transforms.i.topic.field": "t!", "transforms.i.offset.field": "o", "transforms.i.static.field": "s", "transforms.i.static.value": "v"})
	if keep, err := ch.Apply(c); !keep || err != nil {
		t.Fatal(keep, err)
	}
	if c.After.Get("name").Str != "" || c.After.Get("pin").Str != "\x00" || c.After.Get("o").Int != 9 || c.After.Get("t").Str != "shop.public.orders" || c.After.Get("s").Str != "v" {
		t.Errorf("%+v", c.After)
	}
	if len(c.After.Shape.Types) != 6 || c.After.Shape.Types[4].Kind != schema.Long || len(c.After.Rescued()) != 0 {
		t.Errorf("%+v", c.After)
	}
	if values[1].Str != "Ann" {
		t.Error("the row that was given has changed")
	}
	d := change()
	ch = chain(t, map[string]string{"transforms": "m", "transforms.m.type": pkg + "MaskField$Value", "transforms.m.fields": "pin", "transforms.m.replacement": "-1.5"})
	if _, err := ch.Apply(d); err != nil || d.After.Get("pin").Str != "\xff\x6a" {
		t.Errorf("%x %v", d.After.Get("pin").Str, err)
	}
	ch = chain(t, map[string]string{"transforms": "m", "transforms.m.type": pkg + "MaskField$Value", "transforms.m.fields": "id", "transforms.m.replacement": "x"})
	if _, err := ch.Apply(d); err == nil {
		t.Error("a long is masked with x")
	} else if x, ok := connectors.IsPoison(err); !ok || x.Class != connectors.ClassTransform {
		t.Errorf("%v is no dead letter", err)
	}
}

func TestRouterAndPredicates(t *testing.T) {
	t.Parallel()
	config := map[string]string{"transforms": "r,f", "transforms.r.type": pkg + "RegexRouter", "transforms.r.regex": `shop\.(.*)\.(.*)`, "transforms.r.replacement": "$2_of_$1\\$",
		"transforms.f.type": pkg + "Filter", "transforms.f.predicate": "p", "predicates": "p",
		"predicates.p.type": pkg + "predicates.TopicNameMatches", "predicates.p.pattern": "orders_of_public."}
	c := change()
	if keep, err := chain(t, config).Apply(c); keep || err != nil || c.Topic() != "orders_of_public$" || c.Record.Topic != "shop.public.orders" {
		t.Errorf("%t %v %s", keep, err, c.Topic())
	}
	config["transforms.f.negate"] = "true"
	if keep, _ := chain(t, config).Apply(change()); !keep {
		t.Error("negate has no effect")
	}
	for _, p := range []struct {
		class, setting string
		keep           bool
	}{{"HasHeaderKey", "trace", false}, {"HasHeaderKey", "other", true}, {"RecordIsTombstone", "", true}} {
		ch := chain(t, map[string]string{"transforms": "f", "transforms.f.type": pkg + "Filter", "transforms.f.predicate": "p", "predicates": "p",
			"predicates.p.type": pkg + "predicates." + p.class, "predicates.p.name": p.setting})
		if keep, _ := ch.Apply(change()); keep != p.keep {
			t.Errorf("%s %s: kept %t", p.class, p.setting, keep)
		}
	}
}

func TestBadChains(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]map[string]string{
		"not built in":          {"transforms": "a", "transforms.a.type": "com.example.X"},
		"needs $Key or $Value":  {"transforms": "a", "transforms.a.type": pkg + "MaskField", "transforms.a.fields": "x"},
		"there is no predicate": {"transforms": "a", "transforms.a.type": pkg + "Filter", "transforms.a.predicate": "p"},
		"negate is set":         {"transforms": "a", "transforms.a.type": pkg + "Filter", "transforms.a.negate": "true"},
		"regex":                 {"transforms": "a", "transforms.a.type": pkg + "RegexRouter", "transforms.a.regex": "("},
		"old:new":               {"transforms": "a", "transforms.a.type": pkg + "ReplaceField$Value", "transforms.a.renames": "x"},
	} {
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", config, err, want)
		}
	}
	if c := chain(t, nil); !c.Empty() {
		t.Error("no transforms make a chain")
	}
}
