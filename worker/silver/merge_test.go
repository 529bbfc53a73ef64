package silver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// rec makes a change at a position that is its offset.
func rec(op connectors.Op, off int64, id int64, kv ...any) connectors.Change {
	c := connectors.Change{Kind: connectors.RowChange, Op: op, Source: benchSource, PosQuality: connectors.Exact,
		Record: &connectors.Record{Topic: "t", Offset: off, TimestampMs: off * 1000}, Key: keyRow(id), SourceTsNs: off * 1e9}
	sub := byte(2)
	if op == connectors.Delete {
		sub = 0
	}
	c.Position = benchPosition(uint64(off*8), sub)
	if op != connectors.Delete {
		sh := &connectors.Shape{Names: []string{"id"}}
		vals := []connectors.Value{connectors.Int(schema.Long, id)}
		for i := 0; i < len(kv); i += 2 {
			sh.Names = append(sh.Names, kv[i].(string))
			vals = append(vals, kv[i+1].(connectors.Value))
		}
		c.After = connectors.Row{Shape: sh, Values: vals}
	}
	return c
}

type bench struct {
	t       *testing.T
	b       *mem.Bucket
	m       *silver.Merger
	version int64
	letters []connectors.DeadLetter
}

func newBench(t *testing.T, change func(*config.Sink)) *bench {
	t.Helper()
	x := &bench{t: t, b: mem.New("lake")}
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
		t.Fatal(err)
	}
	x.m = m
	return x
}

func (x *bench) merge(changes ...connectors.Change) silver.Result {
	x.t.Helper()
	res, err := x.m.Merge(context.Background(), []silver.Batch{{Feed: "bronze/t", Version: x.version, Changes: changes}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.version++
	return res
}

func (x *bench) rows() string {
	x.t.Helper()
	var out []string
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		out = append(out, dataOnly(x.t, l))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (x *bench) want(rows ...string) {
	x.t.Helper()
	if got := x.rows(); got != strings.Join(rows, "\n") {
		x.t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(rows, "\n"))
	}
}

var (
	cOp, uOp, dOp = connectors.Insert, connectors.Update, connectors.Delete
	long          = func(i int64) connectors.Value { return connectors.Int(schema.Long, i) }
	text          = connectors.Text
)

// formats.md §5.3: c, d, and the c once more. E7: a delete of an unknown key holds back an older event.
func TestDeletesAreRemembered(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "a", text("x")), rec(cOp, 2, 2, "a", text("y")))
	x.merge(rec(dOp, 3, 1), rec(dOp, 10, 9))
	x.merge(rec(cOp, 1, 1, "a", text("x")), rec(cOp, 5, 9, "a", text("late")))
	x.want(`{"a":"y","id":2}`)
	x.merge(rec(cOp, 11, 9, "a", text("new")))
	x.want(`{"a":"new","id":9}`, `{"a":"y","id":2}`)
}

// formats.md §5.14 and E17: a column that appears, a type that grows, one that has nothing in common, a column that goes.
func TestColumnsFollow(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "a", long(5)))
	x.merge(rec(cOp, 2, 2, "a", connectors.Float(1.5), "b", text("new")))
	x.want(`{"a":1.5,"b":"new","id":2}`, `{"a":5,"b":null,"id":1}`)
	x.merge(rec(cOp, 3, 3, "a", text("no number"), "b", text("q")))
	x.merge(rec(uOp, 4, 2, "a", long(7)))
	got := x.rows()
	if !strings.Contains(got, `{"a":null,"b":"q","id":3}`) || !strings.Contains(got, `{"a":7,"b":null,"id":2}`) {
		t.Fatal(got)
	}
	if all := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n"); !strings.Contains(all, `{\"a\":\"no number\"}`) {
		t.Fatalf("the value is not rescued:\n%s", all)
	}
}

// A table that is behind is not rearranged for every few files, but it is when there is time: nothing that was put off is forgotten.
func TestCompactionWaitsForThoseWhoAreBehind(t *testing.T) {
	t.Parallel()
	ctx, behind := context.Background(), true
	m, err := silver.Open(ctx, silver.Options{Bucket: mem.New("lake"), Path: "silver/t", Connector: "c", Config: sinkConfig(),
		Upkeep: silver.Upkeep{SmallFiles: 4}, Behind: func() bool { return behind }})
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	merge := func() {
		if _, err := m.Merge(ctx, []silver.Batch{{Feed: "bronze/t", Version: at, Changes: []connectors.Change{rec(cOp, at+1, at+1, "a", long(at))}}}); err != nil {
			t.Fatal(err)
		}
		at++
	}
	for range 20 {
		merge()
	}
	if s := m.Stats(); s.Compactions != 0 || s.Files != 20 {
		t.Fatalf("behind: %d compactions, %d files", s.Compactions, s.Files)
	}
	for range 40 {
		merge()
	}
	if s := m.Stats(); s.Compactions == 0 {
		t.Fatalf("behind for long: %d files and none was compacted", s.Files)
	}
	for range 10 {
		merge()
	}
	behind = false
	for range 30 {
		if err := m.Idle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if s := m.Stats(); s.Files >= 4 || s.Rows != at {
		t.Fatalf("idle: %d files of %d rows", s.Files, s.Rows)
	}
}

// D6: what cannot be applied is a dead letter of stage apply, and the rest goes on.
func TestRejectedEventsAreDeadLetters(t *testing.T) {
	t.Parallel()
	x := newBench(t, func(c *config.Sink) { c.EvolveAdd = "reject" })
	x.merge(rec(cOp, 1, 1, "a", long(5)))
	bad := rec(cOp, 3, 3, "a", long(1))
	bad.Key = connectors.Row{}
	x.merge(rec(cOp, 2, 2, "a", long(5), "b", long(1)), bad, rec(cOp, 4, 4, "a", long(6)))
	x.want(`{"a":5,"id":1}`, `{"a":6,"id":4}`)
	if len(x.letters) != 2 || x.letters[0].Stage != connectors.StageApply || !strings.Contains(x.letters[0].Reason, `"b"`) {
		t.Fatalf("%+v", x.letters)
	}
}

func TestSoftAndIgnoredDeletes(t *testing.T) {
	t.Parallel()
	x := newBench(t, func(c *config.Sink) { c.SilverDeleteMode = "soft" })
	x.merge(rec(cOp, 1, 1, "a", text("x")))
	x.merge(rec(dOp, 2, 1))
	if all := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n"); !strings.Contains(all, `"_cdc_deleted":true`) || !strings.Contains(all, `"_cdc_operation":"d"`) || !strings.Contains(all, `"a":"x"`) {
		t.Fatal(all)
	}
	x.merge(rec(cOp, 1, 1, "a", text("x")))
	if all := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n"); !strings.Contains(all, `"_cdc_deleted":true`) {
		t.Fatal(all)
	}
	x.merge(rec(cOp, 3, 1, "a", text("z")))
	if all := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n"); !strings.Contains(all, `"_cdc_deleted":false`) || strings.Count(all, "\n") != 0 {
		t.Fatal(all)
	}
	y := newBench(t, func(c *config.Sink) { c.SilverDeleteMode = "ignore" })
	y.merge(rec(cOp, 1, 1, "a", text("x")), rec(dOp, 2, 1))
	y.want(`{"a":"x","id":1}`)
}

// D8: what others do to the table is followed: a file removed, and the same key written twice.
func TestForeignCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "a", text("x")))
	x.merge(rec(cOp, 2, 2, "a", text("y")))
	tab, err := delta.Open(ctx, x.b, "silver/t")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var files []*delta.Add
	for a := range snap.Files() {
		files = append(files, a)
	}
	c := tab.NewCommit(snap)
	c.Remove(files[0])
	twin := *files[1]
	data, err := x.b.Get(ctx, "silver/t/"+twin.Path)
	if err != nil {
		t.Fatal(err)
	}
	twin.Path = "twin.parquet"
	if err := x.b.Put(ctx, "silver/t/twin.parquet", data); err != nil {
		t.Fatal(err)
	}
	c.Append(twin)
	if out := c.Do(ctx); out.Kind != delta.Committed {
		t.Fatal(out.Err)
	}
	x.merge(rec(uOp, 3, 1, "a", text("1")), rec(uOp, 4, 2, "a", text("2")))
	x.want(`{"a":"1","id":1}`, `{"a":"2","id":2}`)
}

// D2: a merger that was overtaken stops, and says so.
func TestFenced(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1, 1, "a", text("x")))
	other := openSilver(t, x.b, sinkConfig(), "silver/t")
	if _, err := other.Merge(context.Background(), []silver.Batch{{Feed: "bronze/t", Version: 1, Changes: []connectors.Change{rec(cOp, 2, 2, "a", text("y"))}}}); err != nil {
		t.Fatal(err)
	}
	_, err := x.m.Merge(context.Background(), []silver.Batch{{Feed: "bronze/t", Version: 1, Changes: []connectors.Change{rec(cOp, 2, 2, "a", text("y"))}}})
	if err == nil || !strings.Contains(err.Error(), silver.ErrFenced.Error()) {
		t.Fatalf("%v", err)
	}
	x.want(`{"a":"x","id":1}`, `{"a":"y","id":2}`)
}

// A source whose log begins anew: its positions fall while its time rises, so its events are new, not stale (D5).
func TestNewLineage(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	x.merge(rec(cOp, 1000, 1, "a", text("old")), rec(cOp, 1001, 2, "a", text("old")))
	anew := rec(uOp, 1002, 1, "a", text("new"))
	anew.Position = benchPosition(5, 2)
	x.merge(anew)
	again := rec(uOp, 1003, 2, "a", text("repeat"))
	again.Position, again.SourceTsNs = benchPosition(1000*8-1, 2), 999e9 // what a connector repeats has old times
	x.merge(again)
	x.want(`{"a":"new","id":1}`, `{"a":"old","id":2}`)
}

// What a connector repeats is known to be old by the deletes too that went to a segment of their own, after a restart.
func TestRepeatsAfterManyDeletes(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	const keys = 3000
	var in []connectors.Change
	for i := range int64(keys) {
		in = append(in, rec(cOp, 1+i, i, "a", text("x")))
	}
	x.merge(in...)
	in = nil
	for i := range int64(keys - 1) {
		in = append(in, rec(dOp, 2*keys+i, i))
	}
	x.merge(in...)
	x.reopen(nil)
	again := rec(dOp, 4*keys, 5)
	again.Position, again.SourceTsNs = benchPosition(uint64(2*keys+5)*8, 0), (2*keys+5)*1e9
	x.merge(again)
	x.merge(rec(cOp, 4*keys+1, 9*keys, "a", text("y")))
	for _, l := range canonicalRows(t, x.b, "silver/t") {
		if !strings.Contains(l, `"_cdc_sequence":"AAAAAQ`) {
			t.Fatalf("not of the first epoch: %s", l)
		}
	}
}

// What a connector repeats is known to be old after a restart also where a table has more columns than statistics are kept of. Was: the second
// repeated event began a new epoch, so that those of a partition that lags were stale.
func TestRepeatsIntoAWideTable(t *testing.T) {
	t.Parallel()
	var wide []any
	for i := range 40 {
		wide = append(wide, fmt.Sprintf("c%02d", i), text("x"))
	}
	in := func(off int64) (out []connectors.Change) {
		for i := range int64(5) {
			c := rec(cOp, off+i, i, wide...)
			c.Position, c.SourceTsNs = benchPosition(uint64(100+i)*8, 2), (100+i)*1e9
			out = append(out, c)
		}
		return out
	}
	x := newBench(t, nil)
	x.merge(in(1)...)
	x.reopen(nil)
	x.merge(in(10)...)
	late := at(rec(uOp, 1, 4, wide...), 1)
	late.Position, late.SourceTsNs = benchPosition(105*8, 2), 105e9
	x.merge(late)
	for _, l := range canonicalRows(t, x.b, "silver/t") {
		if !strings.Contains(l, `"_cdc_sequence":"AAAAAQ`) {
			t.Fatalf("not of the first epoch: %s", l)
		}
	}
}

// A source that names no log fails over while one of its partitions lags behind in time, and the owner is opened anew: that partition finds the new log all
// the same, by where it was itself. Was: after a restart all partitions counted as having been where the furthest was.
func TestNewLogOfThePartitionThatLags(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"without a restart": false, "after a restart": true} {
		x := newBench(t, nil)
		on := func(part int32, off int64, pos uint64, ts int64, id int64, a string) connectors.Change {
			c := at(rec(uOp, off, id, "a", text(a)), part)
			c.Position, c.SourceTsNs = benchPosition(pos, 2), ts*1e9
			return c
		}
		x.merge(on(0, 1, 900, 100, 1, "old log"), on(0, 2, 990, 200, 2, "old log"), on(1, 1, 910, 110, 3, "old log"))
		if again {
			x.reopen(nil)
		}
		x.merge(on(1, 2, 10, 150, 3, "new log"))
		if again {
			x.reopen(nil)
		}
		x.merge(on(0, 3, 20, 210, 1, "new log"))
		if got := x.rows(); got != `{"a":"new log","id":1}`+"\n"+`{"a":"new log","id":3}`+"\n"+`{"a":"old log","id":2}` {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// Two fail-overs of a source that names no log lie in one backlog, and one partition is read to its end before the other: what the other has of the log between
// them is of the log between them, whatever the positions. Was: it counted as of the first log, and a truncate in the second one took it away.
func TestTwoFailOversReadOnePartitionFirst(t *testing.T) {
	t.Parallel()
	x := newBench(t, nil)
	on := func(part int32, off int64, pos uint64, ts int64, id int64, a string) connectors.Change {
		c := at(rec(uOp, off, id, "a", text(a)), part)
		c.Position, c.SourceTsNs = benchPosition(pos, 2), ts*1e9
		return c
	}
	x.merge(on(0, 1, 900, 100, 1, "first log"), on(1, 1, 10, 101, 2, "first log"))
	cut := on(0, 2, 500, 200, 0, "")
	cut.Kind, cut.Op, cut.Key, cut.After = connectors.TruncateTable, connectors.Truncate, connectors.Row{}, connectors.Row{}
	x.merge(cut, on(0, 3, 100, 300, 1, "third log"))
	x.reopen(nil)
	x.merge(on(1, 2, 510, 201, 2, "second log"), on(1, 3, 520, 202, 3, "second log"), on(2, 1, 530, 203, 4, "second log"))
	x.merge(on(1, 4, 110, 301, 2, "third log"), on(2, 2, 111, 302, 4, "third log"))
	x.want(`{"a":"second log","id":3}`, `{"a":"third log","id":1}`, `{"a":"third log","id":2}`, `{"a":"third log","id":4}`)
}

// D5: a new epoch by command makes what comes then newer than all there is, whatever its position, also with an owner that is
// running, which keeps what it had merged.
func TestEpochByCommand(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	x := newBench(t, nil)
	if _, err := silver.RaiseEpoch(ctx, x.b, "silver/t", "c", ""); err == nil {
		t.Fatal("there is no table")
	}
	x.merge(rec(cOp, 1000, 1, "a", text("old")), rec(cOp, 1001, 2, "a", text("old")))
	if _, err := silver.RaiseEpoch(ctx, x.b, "silver/t", "c", "other"); !errors.Is(err, silver.ErrNoSource) {
		t.Fatalf("%v", err)
	}
	got, err := silver.RaiseEpoch(ctx, x.b, "silver/t", "c", "shop")
	if err != nil || got["shop"] != 2 {
		t.Fatalf("%v %v", got, err)
	}
	low := rec(uOp, 1002, 1, "a", text("of the new log"))
	low.Position, low.SourceTsNs = benchPosition(5, 2), 1 // nothing but the command tells that it is new
	res, err := x.mergeVersion(x.version, low)
	if errors.Is(err, silver.ErrFenced) {
		x.reopen(nil)
		res, err = x.mergeVersion(x.version, low)
	}
	if err != nil || res.Upserted != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	x.want(`{"a":"of the new log","id":1}`, `{"a":"old","id":2}`)
	x.reopen(nil)
	x.version++
	again := rec(uOp, 1003, 2, "a", text("and this"))
	again.Position, again.SourceTsNs = benchPosition(6, 2), 2
	x.merge(again)
	x.want(`{"a":"and this","id":2}`, `{"a":"of the new log","id":1}`)
}

// A partition that lags shows events of the server before the fail-over after another one has shown the new server's: they are older, wherever their positions
// are. They were taken for those of a newer log, or of the same, and the new server's events in that partition for stale ones.
func TestThePartitionThatLagsBehindAFailOver(t *testing.T) {
	t.Parallel()
	for name, high := range map[string]uint64{"positions begin anew": 1000, "positions go on": 1} {
		x := newBench(t, nil)
		on := func(part int32, server string, off int64, pos uint64, ts int64, id int64, a string) connectors.Change {
			c := at(rec(uOp, off, id, "a", text(a)), part)
			c.Lineage, c.Position, c.SourceTsNs = connectors.Lineage(server), benchPosition(pos, 2), ts*1e9
			return c
		}
		x.merge(on(0, "mysql/2/b", 1, 50, 100, 1, "new server"))
		x.merge(on(1, "mysql/1/b", 1, high, 90, 2, "old server"))
		x.reopen(nil)
		x.merge(on(1, "mysql/1/b", 2, high+1, 91, 3, "old server"), on(1, "mysql/2/b", 3, 60, 110, 2, "new server"))
		if got := x.rows(); got != `{"a":"new server","id":1}`+"\n"+`{"a":"new server","id":2}`+"\n"+`{"a":"old server","id":3}` {
			t.Errorf("%s:\n%s", name, got)
		}
		// Two fail-overs, and the partition that has seen both is read first.
		x = newBench(t, nil)
		x.merge(on(0, "mysql/1/b", 1, 50, 100, 1, "second server"), on(0, "mysql/2/b", 2, 20, 200, 2, "third server"))
		x.merge(on(1, "mysql/0/b", 1, high, 90, 3, "first server"), on(1, "mysql/1/b", 2, 60, 110, 3, "second server"), on(1, "mysql/2/b", 3, 30, 210, 2, "third server, again"))
		x.want(`{"a":"second server","id":1}`, `{"a":"second server","id":3}`, `{"a":"third server, again","id":2}`)
	}
}

// The rows of a snapshot name no log. In a partition that lags behind one where the log is read already they are no older than the snapshot's end.
func TestTheSnapshotThatLagsBehindTheLog(t *testing.T) {
	t.Parallel()
	x, w := newBench(t, nil), newWire(t)
	read := func(kind string, id int) []connectors.Change {
		return w.event("mysql", "r", fmt.Sprintf(`"snapshot":"%s","server_id":0,"file":"b.000002","pos":900,"row":0`, kind), fmt.Sprintf(`{"id":%d}`, id), "", fmt.Sprintf(`{"id":%d,"a":"read"}`, id))
	}
	behind, last := read("first", 2), read("last", 1)
	behind[0] = at(behind[0], 1)
	x.merge(all(last, w.mysql("u", "b.000002", 950, 7, 1, `{"id":1,"a":"streamed"}`))...)
	x.merge(behind...)
	more := w.mysql("u", "b.000002", 960, 7, 2, `{"id":2,"a":"streamed"}`)
	x.want(`{"a":"read","id":2}`, `{"a":"streamed","id":1}`)
	x.merge(at(more[0], 1))
	x.want(`{"a":"streamed","id":1}`, `{"a":"streamed","id":2}`)
}
