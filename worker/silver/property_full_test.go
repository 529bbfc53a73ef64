package silver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver/evolve"
)

// The law of columns: whatever the table features (silver.compatibility, switched now and then), whatever the source's columns are called and however their types
// grow, at the top or inside of others, and whoever renames columns of the table or gives it column mapping meanwhile: the table ends with the database's rows,
// under the source's names.

// wideNames are what the events of the simulated source have beside its own columns: all are functions of those, so that the judge knows them.
var wideNames = []string{"w w", "st", "ar", "Id", "big x"}

// grown is a number that needs a type that depends on a.
func grown(a int64) (n int64, least schema.Kind) {
	switch a % 4 {
	case 0:
		return a % 100, schema.Byte
	case 1:
		return a % 30_000, schema.Short
	case 2:
		return a << 20, schema.Integer
	}
	return a << 40, schema.Long
}

// wideShapes are the shapes of events by the type that they declare for the numbers.
var wideShapes = func() map[schema.Kind]*connectors.Shape {
	out := map[schema.Kind]*connectors.Shape{}
	for k := schema.Byte; k <= schema.Long; k++ {
		t := schema.Of(k)
		out[k] = &connectors.Shape{Names: append(slices.Clone(simShape.Names), wideNames...),
			Types: append(slices.Clone(simShape.Types), t, schema.StructOf(schema.Field{Name: "m m", Type: t}, schema.Field{Name: "M M", Type: schema.Of(schema.String)}),
				schema.ArrayOf(t), schema.Of(schema.Long), schema.Of(schema.String))}
	}
	return out
}()

// widen gives a row of the simulated source its other columns.
func widen(rng *rand.Rand, r connectors.Row) connectors.Row {
	if r.Shape != simShape {
		return r
	}
	v := r.Values
	n, k := grown(v[1].Int)
	k += schema.Kind(rng.IntN(int(schema.Long-k) + 1))
	num := connectors.Int(k, n)
	return connectors.Row{Shape: wideShapes[k], Values: append(slices.Clone(v), num, connectors.Nested(schema.Struct, []connectors.Value{num, connectors.Text(fmt.Sprint(n))}),
		connectors.Nested(schema.Array, []connectors.Value{num, connectors.NullValue()}), connectors.Int(schema.Long, -v[0].Int), v[2])}
}

// wide is what the table is to have of a row of the judge.
func wide(t *rapid.T, line string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%v", err)
	}
	n, _ := grown(int64(m["a"].(float64)))
	m["w w"], m["st"], m["ar"], m["Id"], m["big x"] = n, map[string]any{"m m": n, "M M": fmt.Sprint(n)}, []any{n, nil}, -int64(m["id"].(float64)), m["body"]
	return asJSON(t, m)
}

func asJSON(t *rapid.T, m map[string]any) string {
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(b)
}

// sourceLines are the rows of the table as it is now, under the source's names.
func sourceLines(t *rapid.T, s *delta.Snapshot, lines []string) []string {
	var out []string
	for _, l := range lines {
		d := json.NewDecoder(strings.NewReader(l))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%v", err)
		}
		if e, ok := m["__END_AT"]; ok && e != nil {
			continue
		}
		row := map[string]any{}
		for _, f := range s.Schema().Fields {
			if evolve.Reserved(f.Name) {
				continue
			}
			v := m[f.Name]
			if st, ok := v.(map[string]any); ok {
				named := map[string]any{}
				for _, k := range f.Type.Fields {
					named[evolve.SourceName(&k)] = st[k.Name]
				}
				v = named
			}
			row[evolve.SourceName(&f)] = v
		}
		out = append(out, asJSON(t, row))
	}
	sort.Strings(out)
	return out
}

// meddle changes the table's columns by hand, or the connector's setting for the mergers to come.
func meddle(r *simRun, renames bool) {
	if r.rng.IntN(4) == 0 {
		c := *r.conf
		c.SilverCompatibility = []string{"widest", "full"}[r.rng.IntN(2)]
		r.conf = &c
	}
	if !renames || !tableThere(r.b) || r.rng.IntN(3) > 0 {
		return
	}
	tab, err := delta.Open(context.Background(), r.b, "silver/t")
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	s, err := tab.Snapshot(context.Background())
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	m, sc := s.Metadata.Clone(), s.Schema()
	sc.Fields = slices.Clone(sc.Fields)
	if m.Configuration[delta.PropColumnMappingMode] == "" {
		byHand(m, &sc)
	}
	if i := r.rng.IntN(len(sc.Fields)); !evolve.Reserved(sc.Fields[i].Name) {
		rename(sc.Fields[i].Name, fmt.Sprintf("by hand %d", s.Version))(m, &sc)
	}
	m.SchemaString = sc.String()
	c := tab.NewCommit(s)
	c.SetMetadata(m)
	c.Info(delta.CommitInfo{Operation: "RENAME COLUMN"})
	if out := c.Do(context.Background()); out.Kind != delta.Committed {
		r.t.Fatalf("%v", out.Err)
	}
}

func TestColumnLaws(t *testing.T) {
	of := func(scd int, all map[string]simMode, names ...string) {
		for _, name := range names {
			t.Run(fmt.Sprintf("%d %s", scd, name), func(t *testing.T) {
				t.Parallel()
				mode, dir := all[name], t.TempDir()
				rapid.Check(t, func(t *rapid.T) {
					rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
					s := newSource(rng, mode)
					for range rapid.IntRange(1, 25).Draw(t, "steps") {
						s.step()
					}
					var want []string
					for _, l := range s.lines() {
						want = append(want, wide(t, l))
					}
					sort.Strings(want)
					for i := range s.emitted {
						c := &s.emitted[i].c
						c.After, c.Before = widen(rng, c.After), widen(rng, c.Before)
					}
					s.publish()
					conf := sinkConfig()
					conf.SilverCompatibility = []string{"widest", "full", "full"}[rng.IntN(3)]
					conf.SilverMergeMode = []string{"deletion-vectors", "copy-on-write"}[rng.IntN(2)]
					conf.SilverSCDType, conf.SilverCDF = scd, rng.IntN(3) == 0
					somePartition(rng, conf)
					r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake"), restarts: true, foreign: true}
					if rng.IntN(3) == 0 {
						r.spill = dir
					}
					renames := rng.IntN(2) == 0
					r.hand = func() { meddle(r, renames) }
					in := interleaveParts(rng, s.parts)
					r.merge("bronze/t", in)
					if !tableThere(r.b) {
						return
					}
					if !renames { // readers do not show changes across a new name
						checkFeed(t, r)
					}
					check := func(what string) {
						tab, err := delta.Open(context.Background(), r.b, "silver/t")
						if err != nil {
							t.Fatalf("%v", err)
						}
						snap, err := tab.Snapshot(context.Background())
						if err != nil {
							t.Fatalf("%v", err)
						}
						got := sourceLines(t, snap, canonicalRows(fataler{t}, r.b, "silver/t"))
						if d := diff(got, want); d != "" {
							t.Fatalf("%s: %d rows, want %d:\n%s%s", what, len(got), len(want), d, history(in, d))
						}
					}
					check("merged")
					r.merge("bronze/again", again(in))
					if !mode.bare {
						check("merged again")
					}
				})
			})
		}
	}
	of(1, modes(), "placeholders", "shift", "all at once")
	of(2, historyModes(), "late full", "all at once")
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		of(1, modes(), "late", "truncate", "no positions", "new snapshots", "repeats", "no hints")
		of(2, historyModes(), "placeholders", "shift blocks", "no tombstones")
	}
}
