package silver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// of lets a change be one of a source table whose changes come in a topic.
func of(table, topic string, c connectors.Change) connectors.Change {
	s, r := *benchSource, *c.Record
	s.Table, r.Topic = table, topic
	c.Source, c.Record = &s, &r
	return c
}

// A truncate of one of several source tables takes away its rows alone, whatever the order, the batches and the restarts (D5, D7). Was: it ended also the
// version that came from another table, where the key had ever been one of its own table.
func TestTruncateOfOneOfSeveralTopics(t *testing.T) {
	t.Parallel()
	a := func(c connectors.Change) connectors.Change { return of("part_a", "A", c) }
	b := func(c connectors.Change) connectors.Change { return of("part_b", "B", c) }
	for name, c := range map[string]struct {
		in         []connectors.Change // the first one comes first: it makes the columns
		rows, past []string
	}{
		"a key that moved to another table stays": {
			[]connectors.Change{a(rec(cOp, 1, 1, "a", text("of a"))), a(rec(dOp, 2, 1)), b(rec(cOp, 3, 1, "a", text("of b"))), a(truncateAt(4))},
			[]string{`{"a":"of b","id":1}`},
			[]string{`{"a":"of a","id":1} 00:01-00:02`, `{"a":"of b","id":1} 00:03-`},
		},
		"without its delete, too": {
			[]connectors.Change{a(rec(cOp, 1, 1, "a", text("of a"))), b(rec(cOp, 3, 1, "a", text("of b"))), a(truncateAt(4)), b(rec(uOp, 5, 1, "a", text("of b still")))},
			[]string{`{"a":"of b still","id":1}`},
			[]string{`{"a":"of a","id":1} 00:01-00:03`, `{"a":"of b still","id":1} 00:05-`, `{"a":"of b","id":1} 00:03-00:05`},
		},
		"a key that moved back goes with its table": {
			[]connectors.Change{a(rec(cOp, 1, 1, "a", text("of a"))), b(truncateAt(2)), b(rec(cOp, 3, 1, "a", text("of b"))), a(truncateAt(4)), b(truncateAt(5)),
				a(rec(cOp, 6, 1, "a", text("anew"))), b(truncateAt(7))},
			[]string{`{"a":"anew","id":1}`},
			[]string{`{"a":"anew","id":1} 00:06-`, `{"a":"of a","id":1} 00:01-00:03`, `{"a":"of b","id":1} 00:03-00:05`},
		},
		"keys of both tables": {
			[]connectors.Change{a(rec(cOp, 1, 1, "a", long(1))), b(rec(cOp, 2, 2, "a", long(2))), a(rec(uOp, 3, 1, "a", long(3))), a(truncateAt(4)), b(rec(cOp, 5, 3, "a", long(5))),
				a(rec(cOp, 6, 4, "a", long(6))), b(truncateAt(7))},
			[]string{`{"a":6,"id":4}`},
			[]string{`{"a":1,"id":1} 00:01-00:03`, `{"a":2,"id":2} 00:02-00:07`, `{"a":3,"id":1} 00:03-00:04`, `{"a":5,"id":3} 00:05-00:07`, `{"a":6,"id":4} 00:06-`},
		},
		"values carried over in the other table": {
			[]connectors.Change{a(rec(cOp, 1, 1, "a", long(1), "b", text("x"))), b(rec(cOp, 2, 2, "a", long(2), "b", text("y"))),
				b(rec(uOp, 3, 2, "a", long(3), "b", connectors.UnavailableValue())), a(truncateAt(4)), b(rec(uOp, 5, 2, "a", long(5), "b", connectors.UnavailableValue()))},
			[]string{`{"a":5,"b":"y","id":2}`},
			[]string{`{"a":1,"b":"x","id":1} 00:01-00:04`, `{"a":2,"b":"y","id":2} 00:02-00:03`, `{"a":3,"b":"y","id":2} 00:03-00:05`, `{"a":5,"b":"y","id":2} 00:05-`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			anyOrder(t, c.in, c.rows, c.past)
		})
	}
}

// anyOrder merges changes as current rows and as a history: in their order, backwards and shuffled, in batches of several sizes, with restarts and repeats.
func anyOrder(t *testing.T, in []connectors.Change, rows, past []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		order := slices.Clone(in[1:])
		size := 1 + round%len(in)
		switch {
		case round < len(in):
		case round < 2*len(in):
			slices.Reverse(order)
		default:
			rng.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
			order = append(order, in[rng.IntN(len(in))])
		}
		for scd := 1; scd <= 2; scd++ {
			conf := func(c *config.Sink) { c.SilverSCDType = scd }
			x := newBench(t, conf)
			var parts [][]connectors.Change
			what := fmt.Sprintf("SCD %d, %d at once:", scd, size)
			for part := range slices.Chunk(append(in[:1:1], order...), size) {
				for _, c := range part {
					what += fmt.Sprintf(" %c%d", "?crud?t"[c.Op], c.Record.Offset)
				}
				what += ";"
				x.merge(part...)
				parts = append(parts, part)
				if round%3 < 2 {
					continue
				}
				x.reopen(conf)
				for x.version = x.m.Progress("bronze/t") + 1; x.version < int64(len(parts)); {
					x.merge(parts[x.version]...) // what has led to no commit comes again
				}
			}
			if scd == 1 {
				if got := x.rows(); got != strings.Join(rows, "\n") {
					t.Fatalf("%s\ngot\n%s\nwant\n%s", what, got, strings.Join(rows, "\n"))
				}
			} else if got := x.versions(); got != strings.Join(past, "\n") {
				t.Fatalf("%s\ngot\n%s\nwant\n%s", what, got, strings.Join(past, "\n"))
			}
			if len(x.letters) > 0 {
				t.Fatalf("%s: %v", what, x.letters)
			}
		}
	}
}

// Where several source tables come through one topic, rows that the topic does not tell keep their source table in a column: a truncate of one takes its rows
// alone. Was: a dead letter, and no row went.
func TestTruncateOfOneOfSeveralTablesInATopic(t *testing.T) {
	t.Parallel()
	a := func(c connectors.Change) connectors.Change { return of("part_a", "all", c) }
	b := func(c connectors.Change) connectors.Change { return of("part_b", "all", c) }
	a1, b2, late := a(rec(cOp, 1, 1, "a", long(1))), b(rec(cOp, 2, 2, "a", long(2))), a(rec(cOp, 3, 3, "a", long(3)))
	bare := a(truncateAt(4))
	bare.Position, bare.PosQuality = "", connectors.OffsetOnly
	const (
		row1, row2, row5 = `{"a":1,"id":1}`, `{"a":2,"id":2}`, `{"a":5,"id":5}`
		v1, v2, v5       = row1 + " 00:01-", row2 + " 00:02-", row5 + " 00:05-"
		v2cut            = row2 + " 00:02-00:04"
		v1cut, v3cut     = row1 + " 00:01-00:04", `{"a":3,"id":3} 00:03-00:04`
	)
	for name, c := range map[string]struct {
		merges     [][]connectors.Change
		rows, past []string
		letters    int
	}{
		"of two":               {[][]connectors.Change{{a1, b2}, {a(truncateAt(4))}}, []string{row2}, []string{v1cut, v2}, 0},
		"of two, apart":        {[][]connectors.Change{{a1}, {b2}, {a(truncateAt(4))}}, []string{row2}, []string{v1cut, v2}, 0},
		"of the second of two": {[][]connectors.Change{{a1, b2}, {b(truncateAt(4))}}, []string{row1}, []string{v1, v2cut}, 0},
		"of both":              {[][]connectors.Change{{a1}, {b2}, {a(truncateAt(4))}, {b(truncateAt(4))}}, []string{}, []string{v1cut, v2cut}, 0},
		"of both at once":      {[][]connectors.Change{{a1}, {b2}, {a(truncateAt(4)), b(truncateAt(4))}}, []string{}, []string{v1cut, v2cut}, 0},
		"of a third":           {[][]connectors.Change{{a1, b2}, {of("part.c", "all", truncateAt(4))}}, []string{row1, row2}, []string{v1, v2}, 0},
		"without position":     {[][]connectors.Change{{a1, b2}, {bare}}, []string{row2}, []string{v1, v2}, 1},
		"all at once":          {[][]connectors.Change{{a1, b2, a(truncateAt(4)), b(rec(cOp, 5, 5, "a", long(5)))}}, []string{row2, row5}, []string{v1cut, v2, v5}, 0},
		"of the only one, the other comes with it": {[][]connectors.Change{{a1}, {a(truncateAt(4)), b2}}, []string{row2}, []string{v1cut, v2}, 0},
		"of the only one, the other comes later":   {[][]connectors.Change{{a1}, {a(truncateAt(4))}, {b2}}, []string{row2}, []string{v1cut, v2}, 0},
		"once more when there are two":             {[][]connectors.Change{{a1}, {a(truncateAt(4))}, {b2}, {a(truncateAt(4))}}, []string{row2}, []string{v1cut, v2}, 0},
		"late rows behind it":                      {[][]connectors.Change{{a1}, {a(truncateAt(4))}, {b2}, {late}, {a1, b2}}, []string{row2}, []string{v1cut, v2, v3cut}, 0},
		"a late change of a key that the other has": {[][]connectors.Change{{a1}, {a(truncateAt(4))}, {b(rec(cOp, 2, 1, "a", long(2)))}, {b(rec(uOp, 5, 1, "a", long(5)))}},
			[]string{`{"a":5,"id":1}`}, []string{row1 + " 00:01-00:02", `{"a":2,"id":1} 00:02-00:05`, `{"a":5,"id":1} 00:05-`}, 0},
		"of one that has no rows": {[][]connectors.Change{{b2}, {a(truncateAt(4))}, {b(rec(cOp, 5, 5, "a", long(5)))}}, []string{row2, row5}, []string{v2, v5}, 0},
	} {
		for scd := 1; scd <= 2; scd++ {
			for _, restart := range []bool{false, true} {
				for _, keyed := range []bool{true, false} {
					if name == "a late change of a key that the other has" && !keyed {
						continue
					}
					conf := func(c *config.Sink) { c.SilverSCDType = scd }
					x := newBench(t, conf)
					for n, in := range c.merges {
						in = slices.Clone(in)
						for i := range in {
							if !keyed {
								in[i].Key = connectors.Row{}
							}
						}
						x.merge(in...)
						if restart && n > 0 {
							if err := x.m.Close(context.Background()); err != nil {
								t.Fatal(err)
							}
							x.reopen(conf)
						}
					}
					got, want := x.rows(), c.rows
					if scd == 2 {
						got, want = x.versions(), c.past
					}
					if want := strings.Join(want, "\n"); got != want {
						t.Errorf("%s, SCD %d, restart %t, key %t: got\n%s\nwant\n%s", name, scd, restart, keyed, got, want)
					}
					if letters := c.letters * (scd - 1); len(x.letters) != letters {
						t.Errorf("%s, SCD %d, restart %t, key %t: %d dead letters, want %d: %v", name, scd, restart, keyed, len(x.letters), letters, x.letters)
					}
				}
			}
		}
	}
}

// busy lets somebody else come first at a try to commit.
type busy struct {
	store.Bucket
	first func()
}

func (b *busy) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if f := b.first; f != nil && strings.Contains(key, "/_delta_log/") {
		b.first = nil
		f()
	}
	return b.Bucket.PutIfAbsent(ctx, key, data)
}

// D2: a truncate that takes several commits goes on, and its batch is merged, when others commit between. Was: the batch counted as merged with the
// first of them.
func TestTruncateGoesOnBehindOthers(t *testing.T) {
	defer silver.SetCutKeys(2)()
	for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
		lake := mem.New("lake")
		b := &busy{Bucket: lake}
		conf := sinkConfig()
		conf.SilverSCDType, conf.SilverMergeMode = 2, mode
		x := &bench{t: t, b: lake, m: openSilver(t, b, conf, "silver/t")}
		x.merge(rec(cOp, 1, 1, "a", long(1)), rec(cOp, 2, 2, "a", long(2)), of("other", "o", rec(cOp, 3, 3, "a", long(3))))
		x.merge(rec(cOp, 4, 4, "a", long(4)), of("other", "o", rec(cOp, 5, 5, "a", long(5))), rec(cOp, 6, 6, "a", long(6)))
		b.first = func() {
			tab, err := delta.Open(t.Context(), lake, "silver/t")
			if err != nil {
				t.Fatal(err)
			}
			s, err := tab.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := tab.NewCommit(s)
			c.Progress("somebody", -1, 1)
			if out := c.Do(t.Context()); out.Kind != delta.Committed {
				t.Fatal(out.Err)
			}
		}
		x.merge(truncateAt(10), rec(cOp, 11, 11, "a", long(11)))
		if b.first != nil || x.m.Progress("bronze/t") != 2 {
			t.Fatalf("progress %d", x.m.Progress("bronze/t"))
		}
		x.wantVersions(`{"a":1,"id":1} 00:01-00:10`, `{"a":11,"id":11} 00:11-`, `{"a":2,"id":2} 00:02-00:10`, `{"a":3,"id":3} 00:03-`,
			`{"a":4,"id":4} 00:04-00:10`, `{"a":5,"id":5} 00:05-`, `{"a":6,"id":6} 00:06-00:10`)
	}
}
