package silver_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver"
)

func full(k *config.Sink) { k.SilverCompatibility = "full" }

// snapshot is the table as it is.
func (x *bench) snapshot() *delta.Snapshot {
	x.t.Helper()
	tab, err := delta.Open(context.Background(), x.b, "silver/t")
	if err != nil {
		x.t.Fatal(err)
	}
	s, err := tab.Snapshot(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// field is a column of the table, or a member of a struct column.
func (x *bench) field(path ...string) schema.Field {
	x.t.Helper()
	fields := x.snapshot().Schema().Fields
	for i, name := range path {
		k := (schema.Schema{Fields: fields}).Index(name)
		if k < 0 {
			x.t.Fatalf("no column %q", path)
		}
		if i == len(path)-1 {
			return fields[k]
		}
		t := fields[k].Type
		for t.Elem != nil {
			t = *t.Elem
		}
		fields = t.Fields
	}
	return schema.Field{}
}

// alter changes the table's metadata as another engine does.
func (x *bench) alter(change func(m *delta.Metadata, s *schema.Schema)) {
	x.t.Helper()
	s := x.snapshot()
	m, sc := s.Metadata.Clone(), s.Schema()
	sc.Fields = slices.Clone(sc.Fields)
	change(m, &sc)
	m.SchemaString = sc.String()
	c := s.Table().NewCommit(s)
	c.SetMetadata(m)
	c.Info(delta.CommitInfo{Operation: "CHANGE COLUMN"})
	if out := c.Do(context.Background()); out.Kind != delta.Committed {
		x.t.Fatal(out.Err)
	}
}

// byHand is ALTER TABLE SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name'), as Spark does it.
func byHand(m *delta.Metadata, s *schema.Schema) {
	var top int
	*s, top = rows.MapColumns(*s, 0, rows.OwnName)
	m.Configuration[delta.PropColumnMappingMode], m.Configuration[delta.PropMaxColumnID] = "name", strconv.Itoa(top)
}

// rename is ALTER TABLE RENAME COLUMN.
func rename(from, to string) func(m *delta.Metadata, s *schema.Schema) {
	return func(m *delta.Metadata, s *schema.Schema) {
		s.Fields[s.Index(from)].Name = to
		if i := slices.Index(m.PartitionColumns, from); i >= 0 {
			m.PartitionColumns[i] = to
		}
	}
}

// drop is ALTER TABLE DROP COLUMN.
func drop(name string) func(m *delta.Metadata, s *schema.Schema) {
	return func(_ *delta.Metadata, s *schema.Schema) {
		s.Fields = slices.DeleteFunc(s.Fields, func(f schema.Field) bool { return f.Name == name })
	}
}

// sound looks for what is wrong with the table: its index, its files and their statistics, its physical names.
func (x *bench) sound() {
	x.t.Helper()
	ctx := context.Background()
	if err := x.m.Scrub(ctx, math.MaxInt); err != nil { // D8
		x.t.Fatal(err)
	}
	s := x.snapshot()
	for f, err := range rows.Fsck(ctx, s, rows.FsckOptions{Deep: true}) {
		x.t.Fatalf("%v %+v", err, f)
	}
	if mode, err := rows.MappingOf(s.Metadata); err != nil || mode == columnar.MapNone {
		return
	}
	physical, top := map[string]bool{}, 0
	var look func(fields []schema.Field)
	look = func(fields []schema.Field) {
		for i := range fields {
			f := &fields[i]
			name := columnar.PhysicalName(f, columnar.MapName)
			id, ok := columnar.ColumnID(f)
			if !ok || physical[name] || physical[fmt.Sprint(id)] || strings.ContainsAny(name, " ,;{}()\n\t=") {
				x.t.Fatalf("column %q: id %d, physical name %q", f.Name, id, name)
			}
			physical[name], physical[fmt.Sprint(id)], top = true, true, max(top, int(id))
			t := f.Type
			for t.Elem != nil {
				t = *t.Elem
			}
			look(t.Fields)
		}
	}
	look(s.Schema().Fields)
	text, _ := s.Property(delta.PropMaxColumnID)
	if is, err := strconv.Atoi(text); err != nil || is < top {
		x.t.Fatalf("highest id %d, property %s", top, text)
	}
}

// silver.compatibility=full: columns are called what they are called at the source, whatever that is; only what Delta forbids in any table, names that differ
// by case alone or are ours, is replaced.
func TestMappedNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
		for _, scd := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %d", mode, scd), func(t *testing.T) {
				t.Parallel()
				set := func(k *config.Sink) {
					full(k)
					k.SilverMergeMode, k.SilverSCDType, k.SilverCDF = mode, scd, true
				}
				x := newBench(t, set)
				member := schema.StructOf(schema.Field{Name: "in ner", Type: schema.Of(schema.Long)}, schema.Field{Name: "IN NER", Type: schema.Of(schema.Long)})
				row := func(op connectors.Op, off, id int64, a, b connectors.Value) connectors.Change {
					c := rec(op, off, id, "a b,;{}()=\n\t.d", a, "Value", b, "value", text("lower"), "a_x0020_b", text("as it is"), "_event_id", text("theirs"), "s t",
						connectors.Nested(schema.Struct, []connectors.Value{long(off), long(-off)}))
					c.After.Shape.Types = []schema.Type{schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.String), schema.Of(schema.String),
						schema.Of(schema.String), schema.Of(schema.String), member}
					return c
				}
				x.merge(row(cOp, 1, 1, long(1), text("UPPER")), row(cOp, 2, 2, long(2), text("UPPER")))
				x.merge(row(uOp, 3, 1, long(3), connectors.UnavailableValue()))
				x.reopen(set) // another node
				x.merge(row(uOp, 4, 2, long(4), connectors.UnavailableValue()), rec(dOp, 5, 1))
				x.merge(rec(cOp, 6, 3, "new \t one", long(6)))
				var names []string
				for _, f := range x.snapshot().Schema().Fields {
					names = append(names, f.Name)
				}
				want := []string{"id", "a b,;{}()=\n\t.d", "Value", "value_1d775834", "a_x0020_b", "_x005F_event_id", "s t", "_cdc_operation", "_cdc_timestamp", "_event_id", "_cdc_sequence"}
				if !slices.Equal(names[:len(want)], want) || names[len(names)-1] != "new \t one" {
					t.Fatalf("%q", names)
				}
				now := func() []string {
					return slices.DeleteFunc(canonicalRows(t, x.b, "silver/t"), func(l string) bool { return scd == 2 && !strings.Contains(l, `"__END_AT":null`) })
				}()
				if all := strings.Join(now, "\n"); len(now) != 2 || !strings.Contains(all, `"Value":"UPPER"`) || !strings.Contains(all, `"a b,;{}()=\n\t.d":4,"a_x0020_b":"as it is","id":2`) ||
					!strings.Contains(all, `"s t":{"IN NER_ac0b9843":-4,"in ner":4}`) || !strings.Contains(all, `"new \t one":6`) || !strings.Contains(all, `"value_1d775834":"lower"`) {
					t.Fatal(all)
				}
				maintain(t, x)
				x.sound()
				// The feed shows the columns under their names too.
				s := x.snapshot()
				n := 0
				for b, err := range cdf.Read(context.Background(), s.Table(), cdf.Options{From: 1, To: s.Version}) {
					if err != nil {
						t.Fatal(err)
					}
					k := b.Record.Schema().FieldIndices("Value")[0]
					n += int(b.Record.NumRows()) - b.Record.Column(k).NullN()
				}
				if least := map[int]int{1: 7, 2: 9}[scd]; n < least {
					t.Fatalf("the feed has %d values of the column, want %d", n, least)
				}
			})
		}
	}
}

// Members of structs that differ by case only, or have characters that Parquet forbids, are columns too. Was, under either setting: the first could not be told
// apart, the second could never be committed.
func TestNamesOfMembers(t *testing.T) {
	t.Parallel()
	for _, compatibility := range []string{"widest", "full"} {
		x := newBench(t, func(k *config.Sink) { k.SilverCompatibility = compatibility })
		put := func(op connectors.Op, off int64, names []string, vals ...connectors.Value) {
			var ty schema.Type
			ty.Kind = schema.Struct
			for _, n := range names {
				ty.Fields = append(ty.Fields, schema.Field{Name: n, Type: schema.Of(schema.Long)})
			}
			x.merge(typed(op, off, 1, connectors.Nested(schema.Array, []connectors.Value{connectors.Nested(schema.Struct, vals)}), schema.ArrayOf(ty)))
		}
		put(cOp, 1, []string{"a b", "x"}, long(1), long(2))
		put(uOp, 2, []string{"X", "x", "a b", "c=d"}, long(3), long(4), long(5), long(6))
		x.reopen(func(k *config.Sink) { k.SilverCompatibility = compatibility })
		put(uOp, 3, []string{"x", "a b", "c=d", "X"}, long(4), long(5), long(6), long(3))
		got := x.rows()
		for _, part := range map[string][]string{"widest": {`"a_x0020_b":5`, `"c_x003D_d":6`, `"x":4`, `"X_b7b2364b":3`}, "full": {`"a b":5`, `"c=d":6`, `"x":4`, `"X_b7b2364b":3`}}[compatibility] {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s lacks %s", compatibility, got, part)
			}
		}
		x.sound()
	}
}

// A table that was made with widest gets column mapping when its connector is set to full, by a commit of metadata; it keeps it when the connector is set back.
func TestTheSettingChanges(t *testing.T) {
	t.Parallel()
	x := newBench(t, partitionedBy("p"))
	part := func(k *config.Sink) { k.SilverPartitionBy = []string{"p"} }
	both := func(k *config.Sink) { part(k); full(k) }
	x.merge(rec(cOp, 1, 1, "a b", long(1), "p", text("x")), rec(cOp, 2, 2, "a b", long(2), "p", text("x")))
	files := x.files()
	x.reopen(both)
	if x.snapshot().Metadata.Configuration[delta.PropColumnMappingMode] != "" {
		t.Fatal("a table is changed before anything is merged")
	}
	x.merge(rec(uOp, 3, 1, "a b", long(3), "p", connectors.UnavailableValue()), rec(cOp, 4, 4, "a b", long(4), "p", text("x"), "c d", text("new")))
	if got := x.files(); !strings.Contains(got, files) {
		t.Fatalf("files were written anew: %s, now %s", files, got)
	}
	want := []string{`{"a_x0020_b":2,"c d":null,"id":2,"p":"x"}`, `{"a_x0020_b":3,"c d":null,"id":1,"p":"x"}`, `{"a_x0020_b":4,"c d":"new","id":4,"p":"x"}`}
	x.want(want...)
	if f := x.field("a_x0020_b"); columnar.PhysicalName(&f, columnar.MapName) != "a_x0020_b" {
		t.Fatalf("%+v", f)
	}
	x.sound()
	// And back: what is there stays, new columns are mapped as the table says.
	x.reopen(part)
	x.merge(rec(uOp, 5, 2, "a b", long(5), "p", text("x"), "c d", text("too"), "e f", long(9)))
	x.want(`{"a_x0020_b":3,"c d":null,"e f":null,"id":1,"p":"x"}`, `{"a_x0020_b":4,"c d":"new","e f":null,"id":4,"p":"x"}`, `{"a_x0020_b":5,"c d":"too","e f":9,"id":2,"p":"x"}`)
	// A type that grows now is a rewrite again, of a table with mapping.
	x.merge(rec(uOp, 6, 2, "a b", connectors.Float(1.5), "p", text("x"), "c d", text("too"), "e f", long(9)))
	if x.field("a_x0020_b").Metadata["delta.typeChanges"] != nil || !x.has(`"a_x0020_b":1.5`, `"e f":9`) {
		t.Fatal(x.rows())
	}
	x.sound()
}

// Somebody gives a table column mapping by hand, renames columns of it and drops some: what the source calls them goes on to where it went, and what a dropped
// column left in files does not come back under the name of a new one.
func TestColumnsChangedByHand(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"widest", "full"} {
		for _, scd := range []int{1, 2} {
			for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
				t.Run(fmt.Sprint(how, scd, mode), func(t *testing.T) {
					t.Parallel()
					set := func(k *config.Sink) {
						k.SilverCompatibility, k.SilverSCDType, k.SilverMergeMode, k.SilverPartitionBy = how, scd, mode, []string{"p"}
					}
					x := newBench(t, set)
					un := connectors.UnavailableValue()
					x.merge(rec(cOp, 1, 1, "a b", text("one"), "v", long(7), "p", long(1), "n", long(1)), rec(cOp, 2, 2, "a b", text("two"), "v", long(8), "p", long(2), "n", long(2)))
					x.merge(rec(uOp, 3, 1, "a b", un, "v", text("no number"), "p", long(1), "n", un)) // rescued, and carried
					if how == "widest" {
						x.alter(byHand)
					}
					name := map[string]string{"widest": "a_x0020_b", "full": "a b"}[how]
					x.alter(rename(name, "renamed"))
					x.alter(rename("p", "part"))
					x.alter(rename("id", "key"))
					x.alter(drop("v"))
					x.merge(rec(uOp, 4, 2, "a b", un, "p", un, "n", long(22)), rec(cOp, 5, 3, "a b", text("three"), "p", long(1), "n", long(3)))
					x.reopen(set)
					// The source's column v is there again, as a text; and it has a column of the name that ours was renamed to.
					x.merge(rec(cOp, 6, 4, "a b", text("four"), "p", long(2), "n", long(4), "v", text("now a text"), "renamed", long(5)))
					x.merge(rec(uOp, 7, 1, "a b", un, "p", un, "n", long(11), "v", un, "renamed", un))
					var now []string
					for _, l := range canonicalRows(t, x.b, "silver/t") {
						if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
							now = append(now, dataOnly(t, l))
						}
					}
					slices.Sort(now)
					want := []string{`{"key":1,"n":11,"part":1,"renamed":"one","renamed_0960bb0f":null,"v":null}`, `{"key":2,"n":22,"part":2,"renamed":"two","renamed_0960bb0f":null,"v":null}`,
						`{"key":3,"n":3,"part":1,"renamed":"three","renamed_0960bb0f":null,"v":null}`, `{"key":4,"n":4,"part":2,"renamed":"four","renamed_0960bb0f":5,"v":"now a text"}`}
					if !slices.Equal(now, want) {
						t.Fatalf("got\n%s\nwant\n%s", strings.Join(now, "\n"), strings.Join(want, "\n"))
					}
					maintain(t, x)
					x.sound()
					// A late older image still fills what was carried under the old name.
					x.merge(rec(uOp, 2, 1, "a b", text("late"), "v", long(9), "p", long(1), "n", long(9)))
					if scd == 1 && !x.has(`"key":1`, `"renamed":"late"`) {
						t.Fatal(x.rows())
					}
					x.sound()
				})
			}
		}
	}
}

// A column that silver needs can be renamed or dropped by hand too: the merge says so, and goes on when it is back.
func TestColumnsThatAreNeeded(t *testing.T) {
	t.Parallel()
	x := newBench(t, full)
	x.merge(rec(cOp, 1, 1, "a", long(1)))
	x.alter(rename("_cdc_sequence", "seq"))
	if _, err := x.mergeVersion(1, rec(cOp, 2, 2, "a", long(2))); !errors.Is(err, silver.ErrColumns) || !strings.Contains(err.Error(), "_cdc_sequence") {
		t.Fatal(err)
	}
	x.alter(rename("seq", "_cdc_sequence"))
	if _, err := x.mergeVersion(1, rec(cOp, 2, 2, "a", long(2))); err != nil {
		t.Fatal(err)
	}
	x.want(`{"a":1,"id":1}`, `{"a":2,"id":2}`)
	h := newBench(t, func(k *config.Sink) { full(k); k.SilverSCDType = 2 })
	h.merge(rec(cOp, 1, 1, "a", long(1)))
	h.alter(rename("_cdc_end_sequence", "ended"))
	if _, err := h.mergeVersion(1, rec(cOp, 2, 2, "a", long(2))); !errors.Is(err, silver.ErrColumns) || !strings.Contains(err.Error(), "_cdc_end_sequence") {
		t.Fatal(err)
	}
	x.alter(drop("id"))
	if _, err := x.mergeVersion(2, rec(cOp, 3, 3, "a", long(3))); !errors.Is(err, silver.ErrColumns) || !strings.Contains(err.Error(), `"id"`) {
		t.Fatal(err)
	}
}

// A table without key knows its rows by all of their columns: by the source's names, whatever they are called in the table.
func TestMappedTableWithoutKey(t *testing.T) {
	t.Parallel()
	x := newBench(t, full)
	ev := func(op connectors.Op, off int64, a string) connectors.Change {
		c := keylessChange(op, off, a)
		return c
	}
	x.merge(ev(cOp, 1, "x"), ev(cOp, 2, "y"), ev(cOp, 3, "y"))
	x.alter(rename("a b", "other"))
	x.reopen(full)
	x.merge(ev(dOp, 4, "y"), ev(dOp, 5, "x"))
	x.want(`{"n":1,"other":"y"}`)
	x.sound()
}

func keylessChange(op connectors.Op, off int64, a string) connectors.Change {
	c := rec(op, off, 0)
	c.Key = connectors.Row{}
	row := connectors.Row{Shape: &connectors.Shape{Names: []string{"a b", "n"}}, Values: []connectors.Value{text(a), long(1)}}
	c.After, c.Before = row, connectors.Row{}
	if op == dOp {
		c.After, c.Before, c.BeforeQuality = connectors.Row{}, row, connectors.BeforeFull
	}
	return c
}

// silver.compatibility=full: type widening inside of structs, arrays and maps, noted where Delta wants it.
func TestNestedTypesGrow(t *testing.T) {
	t.Parallel()
	field := func(name string, t schema.Type) schema.Field { return schema.Field{Name: name, Type: t} }
	of := schema.Of
	st := func(a, b schema.Type) schema.Type { return schema.StructOf(field("a", a), field("b c", b)) }
	nest := func(k schema.Kind, v ...connectors.Value) connectors.Value { return connectors.Nested(k, v) }
	small := func(i int64) connectors.Value { return connectors.Int(schema.Integer, i) }
	for _, c := range []struct {
		name     string
		from, to schema.Type
		old, is  connectors.Value
		inPlace  bool
		notes    map[string]string // type changes by path
		rows     []string
	}{
		{"member", st(of(schema.Integer), of(schema.String)), st(of(schema.Long), of(schema.String)), nest(schema.Struct, small(-7), text("x")), nest(schema.Struct, long(1<<40), text("y")), true,
			map[string]string{"v/a": `[{"fromType":"integer","toType":"long"}]`}, []string{`{"id":1,"v":{"a":-7,"b c":"x"}}`, `{"id":2,"v":{"a":1099511627776,"b c":"y"}}`}},
		{"element", schema.ArrayOf(of(schema.Integer)), schema.ArrayOf(of(schema.Long)), nest(schema.Array, small(1), small(2)), nest(schema.Array, long(1<<40)), true,
			map[string]string{"v": `[{"fromType":"integer","toType":"long","fieldPath":"element"}]`}, []string{`{"id":1,"v":[1,2]}`, `{"id":2,"v":[1099511627776]}`}},
		{"value of elements", schema.ArrayOf(schema.MapOf(of(schema.String), of(schema.Float))), schema.ArrayOf(schema.MapOf(of(schema.String), of(schema.Double))),
			nest(schema.Array, nest(schema.Map, text("k"), connectors.Float(0.5))), nest(schema.Array, nest(schema.Map, text("k"), connectors.Float(1e300))), true,
			map[string]string{"v": `[{"fromType":"float","toType":"double","fieldPath":"element.value"}]`}, []string{`{"id":1,"v":[[["k",0.5]]]}`, `{"id":2,"v":[[["k",1e+300]]]}`}},
		{"member of elements, and a new one", schema.ArrayOf(st(of(schema.Integer), schema.DecimalOf(4, 1))),
			schema.ArrayOf(schema.StructOf(field("a", of(schema.Long)), field("b c", schema.DecimalOf(8, 2)), field("new", of(schema.Long)))),
			nest(schema.Array, nest(schema.Struct, small(1), connectors.Dec("\x0f", 1))), nest(schema.Array, nest(schema.Struct, long(1<<40), connectors.Dec("\x7f", 2), long(3))), true,
			map[string]string{"v": "", "v/a": `[{"fromType":"integer","toType":"long"}]`, "v/b c": `[{"fromType":"decimal(4,1)","toType":"decimal(8,2)"}]`},
			[]string{`{"id":1,"v":[{"a":1,"b c":"1.50","new":null}]}`, `{"id":2,"v":[{"a":1099511627776,"b c":"1.27","new":3}]}`}},
		{"long to double", st(of(schema.Long), of(schema.String)), st(of(schema.Double), of(schema.String)), nest(schema.Struct, long(7), text("x")), nest(schema.Struct, connectors.Float(1.5), text("y")), false,
			map[string]string{"v/a": ""}, []string{`{"id":1,"v":{"a":7,"b c":"x"}}`, `{"id":2,"v":{"a":1.5,"b c":"y"}}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newBench(t, full)
			x.merge(typed(cOp, 1, 1, c.old, c.from))
			before := x.files()
			x.merge(typed(cOp, 2, 2, c.is, c.to))
			x.want(c.rows...)
			if s := x.snapshot(); strings.Contains(x.files(), before) != c.inPlace || s.Protocol.Has(delta.FeatureTypeWidening) != c.inPlace {
				t.Fatalf("files %s, then %s; protocol %+v", before, x.files(), s.Protocol)
			}
			for path, want := range c.notes {
				if got := string(x.field(strings.Split(path, "/")...).Metadata["delta.typeChanges"]); got != want {
					t.Errorf("%s: type changes %s, want %s", path, got, want)
				}
			}
			x.sound()
			x.reopen(full)
			x.merge(typed(uOp, 3, 1, connectors.UnavailableValue(), c.to))
			maintain(t, x)
			x.want(c.rows...)
			x.sound()
		})
	}
}

// Files of a mapped table carry the ids of its columns (PROTOCOL.md, writer requirements for column mapping).
func TestFilesHaveColumnIDs(t *testing.T) {
	t.Parallel()
	x := newBench(t, full)
	x.merge(typed(cOp, 1, 1, connectors.Nested(schema.Struct, []connectors.Value{long(1)}), schema.StructOf(schema.Field{Name: "m", Type: schema.Of(schema.Long)})))
	s := x.snapshot()
	want := map[string]int32{}
	for _, f := range s.Schema().Fields {
		want[columnar.PhysicalName(&f, columnar.MapName)], _ = columnar.ColumnID(&f)
	}
	for a := range s.Files() {
		f, err := rows.OpenFile(context.Background(), s.Table(), a)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int32{}
		for _, n := range f.Meta().Root.Children {
			got[n.Name] = n.FieldID
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if strings.Contains(a.Stats, `"id"`) || !strings.Contains(a.Stats, `"col-`) {
			t.Fatal(a.Stats)
		}
	}
}

// Progress that waited for a commit with rows is written also when somebody changed the table's columns meanwhile. Was a failure of the merger's end.
func TestFlushAfterColumnsChanged(t *testing.T) {
	t.Parallel()
	x := newBench(t, full)
	x.merge(rec(cOp, 1, 1, "a", long(1)))
	x.merge(rec(cOp, 1, 1, "a", long(1))) // a repeat: nothing to write
	x.alter(rename("a", "b"))
	if err := x.m.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if x.m.Durable("bronze/t") != 1 {
		t.Fatal(x.m.Durable("bronze/t"))
	}
	x.merge(rec(uOp, 2, 1, "a", long(2)))
	x.want(`{"b":2,"id":1}`)
}
