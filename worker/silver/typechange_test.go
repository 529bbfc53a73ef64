package silver_test

import (
	"context"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// typed makes a change whose source declares the types of its columns.
func typed(op connectors.Op, off, id int64, v connectors.Value, t schema.Type) connectors.Change {
	c := rec(op, off, id, "v", v)
	c.After.Shape.Types = []schema.Type{schema.Of(schema.Long), t}
	return c
}

// silver.compatibility=full lets columns grow by type widening: no file is written anew. What Delta does not widen, and every change under widest, is.
func TestTypesGrow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dec := func(p, s int) schema.Type { return schema.DecimalOf(p, s) }
	for _, c := range []struct {
		name     string
		from, to schema.Type
		old, is  connectors.Value
		rewrites bool
		rows     []string
	}{
		{"int to long", schema.Of(schema.Integer), schema.Of(schema.Long), connectors.Int(schema.Integer, -7), long(1 << 40), false, []string{`{"id":1,"v":-7}`, `{"id":2,"v":1099511627776}`}},
		{"float to double", schema.Of(schema.Float), schema.Of(schema.Double), connectors.Float(0.5), connectors.Float(1e300), false, []string{`{"id":1,"v":0.5}`, `{"id":2,"v":1e+300}`}},
		{"int to double", schema.Of(schema.Integer), schema.Of(schema.Double), connectors.Int(schema.Integer, 3), connectors.Float(1.5), false, []string{`{"id":1,"v":3}`, `{"id":2,"v":1.5}`}},
		{"decimal", dec(5, 1), dec(12, 2), connectors.Dec("\x0f", 1), connectors.Dec("\x7f", 2), false, []string{`{"id":1,"v":"1.50"}`, `{"id":2,"v":"1.27"}`}},
		{"long to double", schema.Of(schema.Long), schema.Of(schema.Double), long(3), connectors.Float(1.5), true, []string{`{"id":1,"v":3}`, `{"id":2,"v":1.5}`}},
	} {
		for _, compatibility := range []string{"widest", "full"} {
			t.Run(c.name+" "+compatibility, func(t *testing.T) {
				set := func(k *config.Sink) { k.SilverCompatibility = compatibility }
				x := newBench(t, set)
				x.merge(typed(cOp, 1, 1, c.old, c.from))
				before := x.files()
				x.merge(typed(cOp, 2, 2, c.is, c.to))
				x.want(c.rows...)
				stays := strings.Contains(x.files(), before)
				tab, err := delta.Open(ctx, x.b, "silver/t")
				if err != nil {
					t.Fatal(err)
				}
				s, err := tab.Snapshot(ctx)
				if err != nil {
					t.Fatal(err)
				}
				widened := compatibility == "full" && !c.rewrites
				if stays != widened || s.Protocol.Has(delta.FeatureTypeWidening) != widened || s.PropertyIs(delta.PropEnableTypeWidening) != widened {
					t.Fatalf("the first file stays: %t; protocol %+v", stays, s.Protocol)
				}
				f := s.Schema().Fields[s.Schema().Index("v")]
				if got := string(f.Metadata["delta.typeChanges"]); (got != "") != widened || widened && !strings.Contains(got, `"fromType":"`+c.from.String()) {
					t.Fatalf("type changes %s", got)
				}
				// What is read again, by the merge and by a compaction, is of the new type.
				x.reopen(set)
				u := typed(uOp, 3, 1, connectors.UnavailableValue(), c.to)
				x.merge(u)
				x.want(c.rows...)
			})
		}
	}
}

// files are the paths of the table's data files.
func (x *bench) files() string {
	x.t.Helper()
	tab, err := delta.Open(context.Background(), x.b, "silver/t")
	if err != nil {
		x.t.Fatal(err)
	}
	s, err := tab.Snapshot(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	var out []string
	for a := range s.Files() {
		out = append(out, a.Path)
	}
	return strings.Join(out, " ")
}

// A column that grows while the table is made has no files to rewrite. Was: the next merge tried to, and could not read them by the type from before.
func TestTypesGrowInTheFirstBatch(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(typed(cOp, 1, 1, connectors.Int(schema.Integer, -7), schema.Of(schema.Integer)), typed(cOp, 2, 2, long(1<<40), schema.Of(schema.Long)))
	x.merge(typed(cOp, 3, 3, long(5), schema.Of(schema.Long)))
	x.want(`{"id":1,"v":-7}`, `{"id":2,"v":1099511627776}`, `{"id":3,"v":5}`)
}

// Without schemas NaN and the infinities come as texts: they belong into a column of doubles.
func TestDoublesThatAreTexts(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "v", connectors.Float(0.5)))
	x.merge(rec(cOp, 2, 2, "v", connectors.Text("NaN")), rec(cOp, 3, 3, "v", connectors.Text("Infinity")), rec(cOp, 4, 4, "v", connectors.Text("-Infinity")), rec(cOp, 5, 5, "v", connectors.Text("nan?")))
	x.want(`{"id":1,"v":0.5}`, `{"id":2,"v":"NaN"}`, `{"id":3,"v":"Infinity"}`, `{"id":4,"v":"-Infinity"}`, `{"id":5,"v":null}`)
}

// Texts that name what is no number are texts: a file whose least text is NaN can be committed. Was refused for ever.
func TestTextsThatReadNaN(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "v", connectors.Text("NaN")))
	x.want(`{"id":1,"v":"NaN"}`)
}
