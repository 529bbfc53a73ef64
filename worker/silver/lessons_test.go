package silver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// mergeVersion merges one batch as a version.
func (x *bench) mergeVersion(v int64, changes ...connectors.Change) (silver.Result, error) {
	return x.m.Merge(context.Background(), []silver.Batch{{Feed: "bronze/t", Version: v, Changes: changes}})
}

// reopen opens the table as a new owner does.
func (x *bench) reopen(change func(*config.Sink)) {
	x.t.Helper()
	conf := sinkConfig()
	if change != nil {
		change(conf)
	}
	m, err := silver.Open(context.Background(), silver.Options{Bucket: x.b, Path: "silver/t", Connector: "c", Config: conf,
		DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
			x.letters = append(x.letters, l...)
			return nil
		}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.m = m
}

// at lets a change have come in another partition.
func at(c connectors.Change, partition int32) connectors.Change {
	r := *c.Record
	r.Partition = partition
	c.Record = &r
	return c
}

func truncateAt(off int64) connectors.Change {
	c := rec(dOp, off, 0)
	c.Kind, c.Op, c.Key = connectors.TruncateTable, connectors.Truncate, connectors.Row{}
	return c
}

// TestLessons are the lessons of peers.md §E that only the merge can keep. docs/proofs.md lists all of them.
func TestLessons(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T){
		"E01-progress-never-moves-back": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", text("x")))
			x.merge(rec(uOp, 2, 1, "a", text("y")))
			if res, err := x.mergeVersion(0, rec(cOp, 1, 1, "a", text("x")), rec(cOp, 9, 9, "a", text("never"))); err != nil || res.Committed || x.m.Progress("bronze/t") != 1 {
				t.Fatalf("%+v, progress %d: %v", res, x.m.Progress("bronze/t"), err)
			}
			x.reopen(nil)
			if x.m.Progress("bronze/t") != 1 {
				t.Fatalf("progress %d", x.m.Progress("bronze/t"))
			}
			x.want(`{"a":"y","id":1}`)
		},
		"E04-a-table-that-was-dropped-stops-the-merge": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", text("x")))
			for o, err := range x.b.List(context.Background(), "silver/t/", "") {
				if err != nil {
					t.Fatal(err)
				}
				if err := x.b.Delete(context.Background(), o.Key); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := x.mergeVersion(1, rec(cOp, 2, 2, "a", text("y"))); !errors.Is(err, silver.ErrReplaced) {
				t.Fatalf("merged into a table that is gone: %v", err)
			}
		},
		"E04-a-table-that-was-made-anew-stops-the-merge": func(t *testing.T) {
			for _, commits := range []int{1, 2, 5} {
				x := newBench(t, nil)
				x.merge(rec(cOp, 1, 1, "a", text("x")))
				x.merge(rec(cOp, 2, 2, "a", text("x")))
				y := newBench(t, nil)
				for i := range commits {
					y.merge(rec(cOp, 1+int64(i), 9, "b", text("of another table")))
				}
				replace(t, x.b, y.b)
				if _, err := x.mergeVersion(2, rec(cOp, 3, 3, "a", text("y"))); !errors.Is(err, silver.ErrReplaced) {
					t.Fatalf("%d commits: merged into a table that is another one: %v", commits, err)
				}
			}
		},
		"E05-one-commit-with-everything": func(t *testing.T) {
			const keys = 110_000
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", long(1)))
			var in []connectors.Change
			off := int64(10)
			for i := range int64(keys) {
				off++
				in = append(in, rec(cOp, off, i+10, "a", long(i)))
			}
			in = append(in, rec(cOp, off+1, 2, "a", long(1)), rec(uOp, off+2, 2, "a", long(2)), rec(dOp, off+3, 2))
			in = append(in, rec(dOp, off+4, 3), rec(cOp, off+5, 3, "a", long(3)), rec(uOp, off+6, 3, "a", long(4), "b", text("new column")))
			in = append(in, rec(uOp, off+7, 1, "a", connectors.Float(0.5)))
			res := x.merge(in...)
			if res.Upserted != keys+2 || x.m.Stats().Rows != keys+2 {
				t.Fatalf("%+v %+v", res, x.m.Stats())
			}
			if !x.has(`"a":4`, `"b":"new column"`, `"id":3`) || !x.has(`"a":0.5`, `"id":1`) || x.has(`"id":2,`) {
				t.Fatal("rows differ")
			}
		},
		"E06-equal-sequences-resolve-the-same-way": func(t *testing.T) {
			var want string
			for i, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
				x := newBench(t, nil)
				for _, k := range order {
					c := rec(uOp, 5, 1, "a", long(int64(k)))
					r := *c.Record
					r.Partition, r.Offset = int32(k), int64(5+k)
					c.Record = &r
					c.PosQuality = connectors.TieMayHappen
					x.merge(c)
				}
				if got := x.rows(); i == 0 {
					want = got
				} else if got != want {
					t.Fatalf("%v gives %s, the first order %s", order, got, want)
				}
			}
		},
		"E07-tombstones-expire-by-the-slowest-partition": func(t *testing.T) {
			const hour = 3600_000
			x := newBench(t, func(c *config.Sink) { c.SilverTombstoneRetention = 48 * 3600e9 })
			ms := func(c connectors.Change, h int64, p int32) connectors.Change {
				c = at(c, p)
				c.Record.TimestampMs = h * hour
				return c
			}
			x.merge(ms(rec(cOp, 1, 1, "a", text("x")), 100, 0), ms(rec(cOp, 2, 2, "a", text("x")), 100, 1))
			x.merge(ms(rec(dOp, 3, 1), 90, 0))
			// The clock of partition 0 is two days behind the delete, partition 1 lags: something older than the delete may come from it.
			x.merge(ms(rec(uOp, 4, 3, "a", text("x")), 140, 0))
			maintain(t, x)
			if n := x.m.Stats().Tombstones; n != 1 {
				t.Fatalf("%d tombstones while a partition lags, want 1", n)
			}
			x.merge(ms(rec(cOp, 1, 1, "a", text("late")), 100, 1))
			x.want(`{"a":"x","id":2}`, `{"a":"x","id":3}`)
			x.merge(ms(rec(uOp, 5, 3, "a", text("y")), 160, 0), ms(rec(uOp, 6, 2, "a", text("y")), 160, 1))
			maintain(t, x)
			if n := x.m.Stats().Tombstones; n != 0 {
				t.Fatalf("%d tombstones that no event can need", n)
			}
		},
		"E08-an-insert-is-no-proof-of-a-new-key": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", text("x")))
			x.reopen(nil)
			x.merge(rec(cOp, 1, 1, "a", text("x")), rec(cOp, 7, 1, "a", text("y")))
			x.want(`{"a":"y","id":1}`)
			x.merge(rec(cOp, 9, 1, "a", text("z")))
			x.want(`{"a":"z","id":1}`)
		},
		"E09-delete-with-the-key-only-and-key-change-in-one-commit": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(all(w.pg("c", 50, 50, 1, `{"id":1,"a":"x"}`), w.pg("c", 51, 51, 2, `{"id":2,"a":"y"}`))...)
			res := x.merge(all(w.pg("d", 60, 60, 1, ""), w.pg("d", 61, 61, 2, "", "__debezium.newkey", `{"id":3}`),
				w.pg("c", 61, 61, 3, `{"id":3,"a":"y"}`, "__debezium.oldkey", `{"id":2}`))...)
			if !res.Committed || res.Version != x.m.Stats().Version {
				t.Fatalf("%+v", res)
			}
			x.want(`{"a":"y","id":3}`)
			x.merge(w.event("postgresql", "d", `"snapshot":"false","sequence":"[\"70\",\"70\"]","lsn":70`, `{"id":3}`, "", "")...)
			x.want()
		},
		"E10-placeholders-of-a-row-not-in-memory": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":1,"big":"text","list":["x","y"]}`)...)
			x.reopen(nil)
			u := w.pg("u", 60, 60, 1, `{"id":1,"a":2,"big":"__debezium_unavailable_value","list":["x"]}`)
			u[0].After.Values = slices.Clone(u[0].After.Values)
			for i, n := range u[0].After.Shape.Names {
				if n == "list" {
					u[0].After.Values[i] = connectors.UnavailableValue()
				}
			}
			x.merge(u...)
			if !x.has(`"a":2`, `"big":"text"`, `x`, `y`) {
				t.Fatal(x.rows())
			}
		},
		"E10-placeholders-inside-a-struct": func(t *testing.T) {
			sh := &connectors.Shape{Names: []string{"id", "s"}, Types: []schema.Type{schema.Of(schema.Long), schema.StructOf(schema.Field{Name: "a", Type: schema.Of(schema.Long), Nullable: true},
				schema.Field{Name: "big", Type: schema.Of(schema.String), Nullable: true})}}
			row := func(a int64, big connectors.Value) connectors.Row {
				return connectors.Row{Shape: sh, Values: []connectors.Value{long(1), connectors.Nested(schema.Struct, []connectors.Value{long(a), big})}}
			}
			x := newBench(t, nil)
			c, u := rec(cOp, 1, 1), rec(uOp, 2, 1)
			c.After, u.After = row(1, text("text")), row(2, connectors.UnavailableValue())
			x.merge(c)
			x.reopen(nil)
			x.merge(u)
			x.want(`{"id":1,"s":{"a":2,"big":"text"}}`)
		},
		"E17-a-column-that-is-all-null-appears": func(t *testing.T) {
			x := newBench(t, nil)
			c := rec(cOp, 1, 1, "a", long(1), "empty", connectors.NullValue())
			c.After.Shape.Types = []schema.Type{schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.Date)}
			x.merge(c)
			x.want(`{"a":1,"empty":null,"id":1}`)
		},
		"E18-truncate-is-ordered-between-its-neighbours": func(t *testing.T) {
			for mode, want := range map[string][]string{
				"apply": {`{"a":"after","id":2}`}, "ignore": {`{"a":"after","id":2}`, `{"a":"before","id":1}`},
				"dead-letter": {`{"a":"after","id":2}`, `{"a":"before","id":1}`},
			} {
				x := newBench(t, func(c *config.Sink) { c.SilverTruncateMode = mode })
				x.merge(rec(cOp, 1, 1, "a", text("before")), rec(cOp, 2, 2, "a", text("before")), truncateAt(3), rec(cOp, 4, 2, "a", text("after")))
				if mode == "apply" {
					x.want(want...)
				} else if !strings.Contains(x.rows(), want[1]) || !strings.Contains(x.rows(), want[0]) {
					t.Fatalf("%s: %s", mode, x.rows())
				}
				if n := len(x.letters); (n == 1) != (mode == "dead-letter") {
					t.Fatalf("%s: %d dead letters", mode, n)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}

func maintain(t *testing.T, x *bench) {
	t.Helper()
	for range 20 {
		if did, err := x.m.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		} else if !did {
			return
		}
	}
}

// replace lets one bucket hold what another holds.
func replace(t *testing.T, to, from *mem.Bucket) {
	t.Helper()
	ctx := context.Background()
	for o, err := range to.List(ctx, "", "") {
		if err == nil {
			err = to.Delete(ctx, o.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for o, err := range from.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := from.Get(ctx, o.Key)
		if err == nil {
			err = to.Put(ctx, o.Key, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
