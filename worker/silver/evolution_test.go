package silver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/schema"
)

// shaped makes a change of row id whose source declares these columns beside id.
func shaped(op connectors.Op, off, id int64, types []schema.Type, kv ...any) connectors.Change {
	c := rec(op, off, id, kv...)
	c.After.Shape.Types = append([]schema.Type{schema.Of(schema.Long)}, types...)
	return c
}

// TestEvolutionCells has a cell for each kind of change of a source's columns and each policy: what the table's columns are, its rows, what is rescued of them, and the
// dead letters. Row 1 was there before with a=1, b="x"; the change comes with an update of row 1 and the first row 2, in one batch with a row 3 of the old shape in
// front of them and a row 4 of the old shape behind.
func TestEvolutionCells(t *testing.T) {
	t.Parallel()
	integer, long8, str := schema.Of(schema.Integer), schema.Of(schema.Long), schema.Of(schema.String)
	i32 := func(i int64) connectors.Value { return connectors.Int(schema.Integer, i) }
	old := []schema.Type{integer, str}
	type change struct {
		types []schema.Type
		row   func(id int64) []any
	}
	changes := map[string]change{
		"add":    {[]schema.Type{integer, str, str}, func(id int64) []any { return []any{"a", i32(10 * id), "b", text("y"), "n", text("new")} }},
		"widen":  {[]schema.Type{long8, str}, func(id int64) []any { return []any{"a", long(id << 40), "b", text("y")} }},
		"fits":   {[]schema.Type{long8, str}, func(id int64) []any { return []any{"a", long(10 * id), "b", text("y")} }},
		"drop":   {[]schema.Type{integer}, func(id int64) []any { return []any{"a", i32(10 * id)} }},
		"rename": {[]schema.Type{integer, str}, func(id int64) []any { return []any{"a", i32(10 * id), "b2", text("y")} }},
		"type":   {[]schema.Type{integer, integer}, func(id int64) []any { return []any{"a", i32(10 * id), "b", i32(77)} }},
	}
	const was, three, four = `{"a":1,"b":"x","id":1}`, `{"a":3,"b":"z","id":3}`, `{"a":4,"b":"z","id":4}`
	for _, c := range []struct {
		change  string
		set     string // of schema.evolution.*: kind=policy, comma list
		columns string
		rows    []string // 1 and 2, with what is rescued behind ~
		letters string   // part of the reason for rows 1 and 2
	}{
		{"add", "", "id long, a integer, b string, n string", []string{`{"a":10,"b":"y","id":1,"n":"new"}`, `{"a":20,"b":"y","id":2,"n":"new"}`, `{"a":3,"b":"z","id":3,"n":null}`, `{"a":4,"b":"z","id":4,"n":null}`}, ""},
		{"add", "add=ignore", "id long, a integer, b string", []string{`{"a":10,"b":"y","id":1}`, `{"a":20,"b":"y","id":2}`, three, four}, ""},
		{"add", "add=reject", "id long, a integer, b string", []string{was, three, four}, `column "n" is new`},
		{"widen", "", "id long, a long, b string", []string{`{"a":1099511627776,"b":"y","id":1}`, `{"a":2199023255552,"b":"y","id":2}`, three, four}, ""},
		{"widen", "widen=ignore", "id long, a integer, b string", []string{`{"a":null,"b":"y","id":1}~{"a":1099511627776}`, `{"a":null,"b":"y","id":2}~{"a":2199023255552}`, three, four}, ""},
		{"widen", "widen=reject", "id long, a integer, b string", []string{was, three, four}, `column "a" grows from integer to long`},
		{"fits", "", "id long, a long, b string", []string{`{"a":10,"b":"y","id":1}`, `{"a":20,"b":"y","id":2}`, three, four}, ""},
		{"fits", "widen=ignore", "id long, a integer, b string", []string{`{"a":10,"b":"y","id":1}`, `{"a":20,"b":"y","id":2}`, three, four}, ""},
		{"drop", "", "id long, a integer, b string", []string{`{"a":10,"b":null,"id":1}`, `{"a":20,"b":null,"id":2}`, three, four}, ""},
		{"drop", "drop=ignore", "id long, a integer, b string", []string{`{"a":10,"b":"x","id":1}`, `{"a":20,"b":null,"id":2}`, three, four}, ""},
		{"drop", "drop=reject", "id long, a integer, b string", []string{was, three, four}, `column "b" is missing`},
		{"rename", "", "id long, a integer, b string, b2 string", []string{`{"a":10,"b":null,"b2":"y","id":1}`, `{"a":20,"b":null,"b2":"y","id":2}`, `{"a":3,"b":"z","b2":null,"id":3}`, `{"a":4,"b":"z","b2":null,"id":4}`}, ""},
		{"rename", "add=ignore,drop=ignore", "id long, a integer, b string", []string{`{"a":10,"b":"x","id":1}`, `{"a":20,"b":null,"id":2}`, three, four}, ""},
		{"rename", "add=reject,drop=reject", "id long, a integer, b string", []string{was, three, four}, `column "b2" is new`},
		{"rename", "drop=reject", "id long, a integer, b string", []string{was, three, four}, `column "b" is missing`},
		{"rename", "add=reject", "id long, a integer, b string", []string{was, three, four}, `column "b2" is new`},
		{"type", "", "id long, a integer, b string", []string{`{"a":10,"b":null,"id":1}~{"b":77}`, `{"a":20,"b":null,"id":2}~{"b":77}`, three, four}, ""},
		{"type", "type=ignore", "id long, a integer, b string", []string{`{"a":10,"b":null,"id":1}~{"b":77}`, `{"a":20,"b":null,"id":2}~{"b":77}`, three, four}, ""},
		{"type", "type=reject", "id long, a integer, b string", []string{was, three, four}, `column "b" is string, the event has integer`},
	} {
		for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
			for n := range 4 {
				scd, compatibility := 1+n%2, []string{"widest", "full"}[n/2]
				t.Run(fmt.Sprintf("%s/%s/%s/scd %d/%s", c.change, c.set, mode, scd, compatibility), func(t *testing.T) {
					t.Parallel()
					set := func(k *config.Sink) {
						k.SilverMergeMode, k.SilverSCDType, k.SilverCompatibility = mode, scd, compatibility
						for _, s := range strings.Split(c.set, ",") {
							kind, policy, _ := strings.Cut(s, "=")
							switch kind {
							case "add":
								k.EvolveAdd = policy
							case "widen":
								k.EvolveWiden = policy
							case "drop":
								k.EvolveDrop = policy
							case "type":
								k.EvolveType = policy
							}
						}
					}
					x := newBench(t, set)
					ch := changes[c.change]
					x.merge(shaped(cOp, 1, 1, old, "a", i32(1), "b", text("x")))
					x.merge(shaped(cOp, 2, 3, old, "a", i32(3), "b", text("z")), shaped(uOp, 3, 1, ch.types, ch.row(1)...), shaped(cOp, 4, 2, ch.types, ch.row(2)...),
						shaped(cOp, 5, 4, old, "a", i32(4), "b", text("z")))
					for again := range 2 {
						var columns []string
						for _, f := range x.m.Schema().Fields {
							if !strings.HasPrefix(f.Name, "_") {
								columns = append(columns, f.Name+" "+f.Type.String())
							}
						}
						if got := strings.Join(columns, ", "); got != c.columns {
							t.Errorf("columns %s, want %s", got, c.columns)
						}
						var got []string
						for _, l := range canonicalRows(t, x.b, "silver/t") {
							if strings.Contains(l, `"__END_AT":"`) {
								continue
							}
							got = append(got, dataOnly(t, l)+rescuedOf(t, l))
						}
						want := slices.Sorted(slices.Values(c.rows))
						slices.Sort(got)
						if !slices.Equal(got, want) {
							t.Errorf("rows, time %d:\n%s\nwant\n%s", again, strings.Join(got, "\n"), strings.Join(want, "\n"))
						}
						if n := len(x.letters); (n == 2) != (c.letters != "") || n != 0 && n != 2 {
							t.Fatalf("%d dead letters: %+v", n, x.letters)
						}
						for _, l := range x.letters {
							if l.Stage != connectors.StageApply || !strings.Contains(l.Reason, c.letters) || !strings.Contains(l.Reason, "schema.evolution.") {
								t.Errorf("dead letter %s: %s", l.Stage, l.Reason)
							}
						}
						// What is opened anew and arranged anew is the same.
						x.reopen(set)
						if err := x.m.Idle(context.Background()); err != nil {
							t.Fatal(err)
						}
						maintain(t, x)
					}
				})
			}
		}
	}
}

// rescuedOf gives what _rescued_data has, behind a ~; "" where it has nothing.
func rescuedOf(t *testing.T, line string) string {
	t.Helper()
	var row struct {
		Rescued string `json:"_rescued_data"`
	}
	if err := json.Unmarshal([]byte(line), &row); err != nil {
		t.Fatal(err)
	}
	if row.Rescued == "" {
		return ""
	}
	return "~" + row.Rescued
}

// Columns that are excluded only when the table has them already, or no longer included, get nothing any more: what is there stays, new images write NULL.
func TestColumnsExcludedLater(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*config.Sink){
		"exclude": func(k *config.Sink) { k.SilverColumnsExclude = []string{"secret"} },
		"include": func(k *config.Sink) { k.SilverColumnsInclude = []string{"a"} },
	} {
		for _, types := range [][]schema.Type{nil, {schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.String)}} {
			t.Run(fmt.Sprint(name, types != nil), func(t *testing.T) {
				t.Parallel()
				x := newBench(t, nil)
				row := func(op connectors.Op, off, id int64, secret string) connectors.Change {
					c := rec(op, off, id, "a", long(off), "secret", text(secret))
					c.After.Shape.Types = types
					return c
				}
				x.merge(row(cOp, 1, 1, "old"), row(cOp, 2, 2, "old"))
				x.reopen(set)
				x.merge(row(uOp, 3, 1, "new"), row(cOp, 4, 3, "new"))
				x.want(`{"a":2,"id":2,"secret":"old"}`, `{"a":3,"id":1,"secret":null}`, `{"a":4,"id":3,"secret":null}`)
			})
		}
	}
}
