package silver_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/canal"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// A Canal message has all rows of a statement, and tells no position. In a table without key those that are equal are several rows all the same: each counts,
// whatever the batches. Was: one of them was taken for a repeat of the other, for inserts and for deletes.
func TestEqualRowsOfOneMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, err := canal.Format().New(cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]int{}
		var batches []silver.Batch
		var cur []connectors.Change
		say := func(n int64, kind string, rows, old []string) {
			text := fmt.Sprintf(`{"type":"%s","database":"d","table":"t","es":%d,"ts":%d,"id":%d,"isDdl":false,"pkNames":null,"mysqlType":{"v":"int"},"data":[%s],"old":%s}`,
				kind, n, n, n, strings.Join(rows, ","), map[bool]string{true: "null", false: "[" + strings.Join(old, ",") + "]"}[old == nil])
			cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Offset: n, TimestampMs: n, Value: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			cur = append(cur, cs...)
			if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
				batches = append(batches, silver.Batch{Feed: "f", Version: int64(len(batches)), Changes: cur})
				cur = nil
			}
		}
		row := func(v int) string { return fmt.Sprintf(`{"v":"%d"}`, v) }
		for n := range rapid.Int64Range(1, 12).Draw(t, "messages") {
			v, times := rapid.IntRange(1, 3).Draw(t, "v"), rapid.IntRange(1, 3).Draw(t, "times")
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case kind == 0 && want[v] >= times:
				want[v] -= times
				say(n, "DELETE", slices.Repeat([]string{row(v)}, times), nil)
			case kind == 1 && want[v] >= times:
				to := v%3 + 1
				want[v], want[to] = want[v]-times, want[to]+times
				say(n, "UPDATE", slices.Repeat([]string{row(to)}, times), slices.Repeat([]string{row(v)}, times))
			default:
				other := rapid.IntRange(1, 3).Draw(t, "other")
				want[v] += times
				want[other]++
				say(n, "INSERT", append(slices.Repeat([]string{row(v)}, times), row(other)), nil)
			}
		}
		batches = append(batches, silver.Batch{Feed: "f", Version: int64(len(batches)), Changes: cur})
		conf := sinkConfig()
		conf.Format = "canal"
		wantEach(t, conf, batches, "v", want)
	})
}

// wantEach merges batches of a table without key, in either mode, as current rows or as a history, opened anew here and there. Of each value from 1 to 3 the column
// must have as many rows as are wanted.
func wantEach(t *rapid.T, conf *config.Sink, batches []silver.Batch, column string, want map[int]int) {
	conf.SilverMergeMode = rapid.SampledFrom([]string{"deletion-vectors", "copy-on-write"}).Draw(t, "mode")
	conf.SilverSCDType = rapid.SampledFrom([]int{1, 2}).Draw(t, "scd")
	b := mem.New("lake")
	open := func() *silver.Merger {
		m, err := silver.Open(context.Background(), silver.Options{Bucket: b, Path: "silver/t", Connector: "c", Config: conf,
			DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
				t.Fatalf("dead letter: %s", l[0].Reason)
				return nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	for _, x := range batches {
		if _, err := m.Merge(context.Background(), []silver.Batch{x}); err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
			_ = m.Close(context.Background())
			m = open()
		}
	}
	_ = m.Close(context.Background())
	got, name := map[int]int{}, fmt.Sprintf("%q:", column)
	for _, line := range canonicalRows(fataler{t}, b, "silver/t") {
		var v int
		if _, err := fmt.Sscan(line[strings.Index(line, name)+len(name):][:1], &v); err != nil {
			t.Fatal(err)
		}
		if conf.SilverSCDType == 1 || strings.Contains(line, `"__END_AT":null`) {
			got[v]++
		}
	}
	for v := 1; v <= 3; v++ {
		if got[v] != want[v] {
			t.Fatalf("%d rows have %d, %d are to have it", got[v], v, want[v])
		}
	}
}

// A source that was started again sends an insert once more right behind the truncate that ended its row: in a history of a table without key it is no row of its own,
// wherever batches are cut. Was: with both in one merge the history had the row twice.
func TestRepeatBehindATruncateWithoutKey(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]int{"in one merge": 3, "in two": 2} {
		in := []connectors.Change{rec(cOp, 1, 0, "a", text("x")), rec(cOp, 2, 0, "a", text("y")), rec(uOp, 3, 0), rec(cOp, 4, 0, "a", text("x"))}
		for i := range in {
			in[i].Key = connectors.Row{}
		}
		in[2].Kind, in[2].Op, in[2].After = connectors.TruncateTable, connectors.Truncate, connectors.Row{}
		in[3].Position, in[3].SourceTsNs = in[0].Position, in[0].SourceTsNs
		x := newBench(t, func(c *config.Sink) { c.SilverSCDType = 2 })
		x.merge(in[:2]...)
		if cut == 2 {
			x.merge(in[2])
			x.merge(in[3])
		} else {
			x.merge(in[2:]...)
		}
		if n := len(canonicalRows(t, x.b, "silver/t")); n != 2 {
			t.Errorf("%s: %d versions, want 2", name, n)
		}
	}
}

// A snapshot that is taken anew brings all rows of a table without key once more, those aside that went meanwhile: they are the table's rows, whatever is read first of
// it, and what comes late and is older changes nothing. Was: each row was there twice.
func TestNewSnapshotWithoutKey(t *testing.T) {
	t.Parallel()
	for _, scd := range []int{1, 2} {
		for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
			for _, last := range []int{0, 1, 2} {
				source := *benchSource
				source.Connector, source.Table = "mariadb", "t"
				row := func(op connectors.Op, off int64, pos uint64, a string) connectors.Change {
					c := rec(op, off, 0, "a", text(a))
					c.Key, c.Source, c.Position = connectors.Row{}, &source, benchPosition(pos, 2)
					if op == connectors.Read {
						c.Snapshot, c.PosQuality, c.Position = connectors.SnapshotTrue, connectors.TieMayHappen, benchPosition(pos, 1)
					}
					return c
				}
				conf := func(c *config.Sink) { c.SilverSCDType, c.SilverMergeMode = scd, mode }
				x := newBench(t, conf)
				x.merge(row(connectors.Read, 1, 10, "x"), row(connectors.Read, 2, 10, "y"), row(connectors.Read, 3, 10, "y"))
				x.merge(row(cOp, 4, 20, "z"))
				again := []connectors.Change{row(connectors.Read, 5, 30, "x"), row(connectors.Read, 6, 30, "y"), row(connectors.Read, 7, 30, "w")}
				again[last].Snapshot = connectors.SnapshotLast
				x.merge(again[:2]...)
				x.merge(again[2], at(row(cOp, 1, 25, "late"), 1), row(cOp, 8, 40, "new"))
				x.reopen(conf)
				x.merge(at(row(cOp, 2, 26, "later"), 1))
				var got []string
				for _, l := range canonicalRows(t, x.b, "silver/t") {
					if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
						got = append(got, l[strings.Index(l, `"a":`):][5:6])
					}
				}
				slices.Sort(got)
				if strings.Join(got, "") != "nwxy" {
					t.Errorf("scd %d, %s, %d: %q", scd, mode, last, got)
				}
			}
		}
	}
}

// Why a new snapshot from PostgreSQL does not take the place of the rows of a table without key: two histories end differently, and their events say the same. A row's
// position is the commit before its transaction, and its own place in the log; when its transaction committed, no event tells. In the one history it committed before
// the snapshot was taken, and the row, deleted meanwhile, is gone; in the other it was under way, and the row is there, though no snapshot brought it. So that it is
// not lost, older rows stay.
func TestNewSnapshotOfPostgresWithoutKey(t *testing.T) {
	t.Parallel()
	source := *benchSource
	source.Connector, source.Table = "postgresql", "t"
	row := func(op connectors.Op, off int64, before, at uint64, a string) connectors.Change {
		c := rec(op, off, 0, "a", text(a))
		pos := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, before), at)
		c.Key, c.Source, c.PosQuality, c.Position = connectors.Row{}, &source, connectors.TieMayHappen, connectors.Position(append(pos, 0, 0, 0, 0, 0, 0, 0, 0, 1))
		return c
	}
	snapshot := func(off int64, kind connectors.SnapshotKind, at uint64, a string) connectors.Change {
		c := row(connectors.Read, off, at, at, a)
		c.Snapshot = kind
		return c
	}
	for name, in := range map[string][]connectors.Change{
		// Committed at 85, before the snapshot at 100, and deleted at 95, which nobody told.
		"gone": {snapshot(1, connectors.SnapshotTrue, 50, "x"), at(row(cOp, 1, 70, 80, "y"), 1), snapshot(2, connectors.SnapshotLast, 100, "x")},
		// Begun at 80, committed at 110: the snapshot does not see it.
		"under way": {snapshot(1, connectors.SnapshotTrue, 50, "x"), snapshot(2, connectors.SnapshotLast, 100, "x"), at(row(cOp, 1, 70, 80, "y"), 1)},
	} {
		x := newBench(t, nil)
		x.merge(in...)
		if rows := canonicalRows(t, x.b, "silver/t"); len(rows) != 3 || !strings.Contains(strings.Join(rows, ""), `"a":"y"`) {
			t.Errorf("%s: %q", name, rows)
		}
	}
}
