package silver_test

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// sourceModes are kinds of sources of which several feed one table.
func sourceModes() map[string]simMode {
	m := map[string]simMode{}
	for _, name := range []string{"placeholders", "repeats", "late full", "truncate", "truncate toast", "new snapshots", "new snapshots late", "new lineage one", "new lineage named"} {
		m[name] = modes()[name]
	}
	return m
}

// The law of sources: tables of several databases, whose positions say nothing of each other's, come through one topic, or each through its own, into one table. It
// ends with the rows of all, whatever the order of partitions, the cut into batches and restarts; truncates and new snapshots of one leave the rows of others.
func TestSourcesLaws(t *testing.T) {
	for name, mode := range sourceModes() {
		for scd := 1; scd <= 2; scd++ {
			if scd == 2 && mode.resnap {
				continue // lost changes: nobody can tell the versions
			}
			t.Run(fmt.Sprintf("%s, SCD %d", name, scd), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) {
					rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
					steps := rapid.IntRange(1, 24).Draw(t, "steps")
					shared := rng.IntN(3) > 0
					var sims []*source
					var want []string
					parts := make([][]connectors.Change, mode.parts)
					for n := range 2 + rng.IntN(2) {
						s := newSource(rng, mode)
						s.lsn += uint64(rng.IntN(5)) << 35 // another place in another log
						s.seq0, s.base = s.lsn-8, int64(1000*n+500)
						s.src.Name, s.src.Table, s.name = fmt.Sprint("sim", n), fmt.Sprint("t", n), fmt.Sprint("topic", n)
						for range steps {
							s.step()
						}
						s.publish()
						want = append(want, s.lines()...)
						sims = append(sims, s)
						if !shared {
							parts = append(parts, make([][]connectors.Change, mode.parts)...)
						}
						for p := range s.parts {
							to := p
							if !shared {
								to += n * mode.parts
							}
							parts[to] = interleaveParts(rng, [][]connectors.Change{parts[to], s.parts[p]})
						}
					}
					for p := range parts {
						for i := range parts[p] {
							c := &parts[p][i]
							r := *c.Record
							r.Offset = int64(i)
							if shared {
								r.Topic = "all"
							}
							c.Record = &r
						}
					}
					sort.Strings(want)
					conf := sinkConfig()
					conf.SilverSCDType = scd
					if rng.IntN(3) == 0 {
						conf.SilverMergeMode = "copy-on-write"
					}
					conf.SilverCDF = rng.IntN(3) == 0
					r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake"), restarts: true, foreign: true}
					in := interleaveParts(rng, parts)
					r.merge("bronze/t", in)
					checkFeed(t, r)
					if !tableThere(r.b) {
						return
					}
					if scd == 1 {
						if d := diff(tableLines(t, r.b), want); d != "" {
							t.Fatalf("shared %t:\n%s%s", shared, d, history(in, d))
						}
					} else {
						h := historyOf(fataler{t}, r.b)
						intervals(t, h)
						for n, s := range sims {
							for at := range len(s.commits) + 1 {
								var got []string
								for _, v := range h {
									if v.id/1000 == int64(n) && (at == len(s.commits) && v.open || at < len(s.commits) && v.at(time.Unix(0, s.commits[at].ts))) {
										got = append(got, v.data)
									}
								}
								sort.Strings(got)
								rows := s.lines()
								if at < len(s.commits) {
									rows = s.commits[at].rows
								}
								if d := diff(got, rows); d != "" || len(got) != len(rows) {
									t.Fatalf("shared %t, source %d, commit %d of %d: %d rows, want %d:\n%s%s%s", shared, n, at, len(s.commits), len(got), len(rows), d, history(in, d), printHistory(h))
								}
							}
						}
					}
					if mode.failover > 0 && !mode.named {
						return // a replay of what a lost server told
					}
					all := canonicalRows(fataler{t}, r.b, "silver/t")
					r.merge("bronze/again", again(in))
					if d := diff(canonicalRows(fataler{t}, r.b, "silver/t"), all); d != "" {
						t.Fatalf("shared %t: a replay changed rows:\n%s%s", shared, d, history(in, d))
					}
				})
			})
		}
	}
}

// Column _cdc_source names a source table so that no two have one name, and people can read it.
func TestSourceText(t *testing.T) {
	for key, want := range map[string]string{
		"shop\x00inventory\x00\x00customers":   "shop.inventory.customers",
		"shop\x00db\x00public\x00customers":    "shop.db.public.customers",
		"shop\x00\x00\x00t":                    "shop..t",
		"a.b\x00c\x00\x00" + `d"e`:             `"a.b".c."d""e"`,
		"a\x00b.c\x00\x00d":                    `a."b.c".d`,
		"\x00d\x00\x00t":                       ".d.t",
		"":                                     "",
		"shop\x00db\x00Größe, {x}\x00t" + "\n": "shop.db.Größe, {x}.t\n",
	} {
		if got := silver.SourceText(key); got != want || silver.SourceKey(got) != key {
			t.Errorf("%q is written %q, want %q, and read %q", key, got, want, silver.SourceKey(got))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringOf(rapid.SampledFrom([]rune(`ab."`)))
		key := strings.Join([]string{part.Draw(t, "name"), part.Draw(t, "db"), part.Draw(t, "schema"), part.Draw(t, "table")}, "\x00")
		if text := silver.SourceText(key); silver.SourceKey(text) != key {
			t.Fatalf("%q is written %q and read %q", key, text, silver.SourceKey(text))
		}
		silver.SourceKey(part.Draw(t, "any text")) // not ours: it does no harm
	})
}

// The column is there once a row needs it, and says what people look for.
func TestRowsTellTheirSourceTable(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	a := func(c connectors.Change) connectors.Change { return of("part_a", "all", c) }
	b := func(c connectors.Change) connectors.Change { return of("part_b", "all", c) }
	x.merge(a(rec(cOp, 1, 1, "a", long(1))))
	if x.has("_cdc_source") {
		t.Fatalf("a column that no row needs: %s", canonicalRows(t, x.b, "silver/t"))
	}
	x.merge(b(rec(cOp, 2, 2, "a", long(2))), a(rec(cOp, 3, 3, "a", long(3))))
	for id, want := range map[int]string{1: "null", 2: `"` + silver.SourceText(strings.Join([]string{benchSource.Name, benchSource.DB, benchSource.Schema, "part_b"}, "\x00")) + `"`, 3: "null"} {
		if !x.has(`"_cdc_source":`+want, fmt.Sprintf(`"id":%d`, id)) {
			t.Errorf("key %d should tell %s: %s", id, want, canonicalRows(t, x.b, "silver/t"))
		}
	}
}

// Rows of several source tables that a release before merged do not tell whose they are: a truncate is a dead letter that says so, and takes none (D6). Rows of
// now tell it.
func TestTruncateOfRowsThatTellNothing(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	a := func(c connectors.Change) connectors.Change { return of("part_a", "all", c) }
	b := func(c connectors.Change) connectors.Change { return of("part_b", "all", c) }
	x.merge(a(rec(cOp, 1, 1, "a", long(1))))
	x.m.Mix()
	x.merge(a(rec(cOp, 2, 2, "a", long(2))), b(rec(cOp, 3, 3, "a", long(3))))
	x.merge(a(truncateAt(4)))
	x.want(`{"a":1,"id":1}`, `{"a":2,"id":2}`, `{"a":3,"id":3}`)
	if len(x.letters) != 1 || !strings.Contains(x.letters[0].Reason, "sluice table rebuild") {
		t.Fatalf("%v", x.letters)
	}
	if !x.has(`"_cdc_source":"`, `"id":2`) || !x.has(`"_cdc_source":"`, `"id":3`) || !x.has(`"_cdc_source":null`, `"id":1`) {
		t.Fatal(canonicalRows(t, x.b, "silver/t"))
	}
}
