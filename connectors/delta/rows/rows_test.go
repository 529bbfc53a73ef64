package rows

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones, wherever the test runs
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"go.uber.org/goleak"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

var testSchema = schema.Schema{Fields: []schema.Field{
	{Name: "id", Type: schema.Of(schema.Long)},
	{Name: "name", Type: schema.Of(schema.String), Nullable: true},
	{Name: "p", Type: schema.Of(schema.Integer), Nullable: true},
	{Name: "s", Type: schema.StructOf(schema.Field{Name: "at", Type: schema.Of(schema.Timestamp), Nullable: true},
		schema.Field{Name: "l", Type: schema.ArrayOf(schema.Of(schema.Double)), Nullable: true}), Nullable: true},
}}

func create(t fatal, sc schema.Schema, parts []string, conf map[string]string) *delta.Table {
	t.Helper()
	c := map[string]string{delta.PropEnableDVs: "true"}
	for k, v := range conf {
		c[k] = v
	}
	tab, err := delta.Create(context.Background(), mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: parts, Configuration: c})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func one(r arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) { yield(r, nil) }
}

func commit(t fatal, c *delta.Commit) *delta.Snapshot {
	t.Helper()
	out := c.Do(context.Background())
	if out.Kind != delta.Committed {
		t.Fatal(out.Err)
	}
	return out.Snapshot
}

// testRow makes row id of the test table, without p.
func testRow(b *columnar.Builder, id int64) {
	b.AppendInt(0, id)
	if id%7 == 0 {
		b.AppendNull(1)
	} else {
		b.AppendString(1, "n"+strconv.FormatInt(id%100, 10))
	}
	v := connectors.NullValue()
	if id%5 != 0 {
		v = connectors.Nested(schema.Struct, []connectors.Value{connectors.Int(schema.Timestamp, id*1_000_003),
			connectors.Nested(schema.Array, []connectors.Value{connectors.Float(float64(id) / 2), connectors.NullValue()})})
	}
	if err := b.Append(2, v); err != nil {
		panic(err)
	}
}

func dataSchema(t fatal, s *delta.Snapshot) schema.Schema {
	t.Helper()
	sc, err := DataSchema(s)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// addFile writes rows from…to as a file of partition p (nil: null) and commits it.
func addFile(t fatal, s *delta.Snapshot, name string, from, to int64, p *int) *delta.Snapshot {
	t.Helper()
	sc := dataSchema(t, s)
	b := columnar.NewBuilder(sc)
	for id := from; id < to; id++ {
		testRow(b, id)
	}
	pv := delta.PartitionValue{Name: columnar.PhysicalName(&s.Schema().Fields[2], mappingOf(t, s)), Null: true}
	if p != nil {
		pv.Value, pv.Null = strconv.Itoa(*p), false
	}
	a, err := WriteFile(context.Background(), s, name, sc, one(b.NewRecord()), WriteOptions{Partition: delta.NewPartition(pv), RowGroupRows: 100})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Table().NewCommit(s)
	c.Append(a)
	return commit(t, c)
}

func mappingOf(t fatal, s *delta.Snapshot) columnar.Mapping {
	m, err := MappingOf(s.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// deleteRows gives a file a larger deletion vector.
func deleteRows(t fatal, s *delta.Snapshot, path string, rows ...uint64) *delta.Snapshot {
	t.Helper()
	ctx := context.Background()
	a, ok := s.File(path)
	if !ok {
		t.Fatalf("no file %s", path)
	}
	v := roaring64.New()
	if old, err := DeletedRows(ctx, s.Table(), a); err != nil {
		t.Fatal(err)
	} else if old != nil {
		v.Or(old)
	}
	v.AddMany(rows)
	d, _, err := dv.Write(ctx, s.Table().Bucket(), s.Table().Path(), []*roaring64.Bitmap{v})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Table().NewCommit(s)
	c.SetDV(a, d[0])
	return commit(t, c)
}

func lines(t fatal, s *delta.Snapshot, o Options) []string {
	t.Helper()
	sc, err := o.Schema(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range Scan(context.Background(), s, o) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Positions && len(b.Positions) != int(b.Record.NumRows()) {
			t.Fatalf("%d positions of %d rows", len(b.Positions), b.Record.NumRows())
		}
		for i := range int(b.Record.NumRows()) {
			l, err := columnar.AppendCanonicalJSON(nil, b.Record, sc, i)
			if err != nil {
				t.Fatal(err)
			}
			if o.Positions {
				l = fmt.Appendf(l, " %s:%d", b.File.Path, b.Positions[i])
			}
			out = append(out, string(l))
		}
	}
	return out
}

func TestScanWithVectorsPartitionsAndPositions(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"none", "name", "id"} {
		sc, conf := testSchema, map[string]string{}
		if mode != "none" {
			mapped, top := MapColumns(testSchema, 0, NewName)
			sc, conf = mapped, map[string]string{delta.PropColumnMappingMode: mode, delta.PropMaxColumnID: strconv.Itoa(top)}
		}
		s := create(t, sc, []string{"p"}, conf).Cached()
		three := 3
		s = addFile(t, s, "a.parquet", 0, 250, nil)
		s = addFile(t, s, "p=3/b c.parquet", 1000, 1010, &three)
		s = deleteRows(t, s, "a.parquet", 0, 1, 2, 99, 100, 249)
		s = deleteRows(t, s, "p=3/b%20c.parquet", 5)
		a, _ := s.File("a.parquet")
		b, _ := s.File("p=3/b%20c.parquet")
		for _, parallel := range []int{1, 3} {
			got := lines(t, s, Options{Files: []*delta.Add{a, b}, Columns: []string{"p", "id"}, Positions: true, Parallel: parallel, BatchRows: 37})
			var want []string
			for i := range 250 {
				if !slices.Contains([]int{0, 1, 2, 99, 100, 249}, i) {
					want = append(want, fmt.Sprintf(`{"id":%d,"p":null} a.parquet:%d`, i, i))
				}
			}
			for i := range 10 {
				if i != 5 {
					want = append(want, fmt.Sprintf(`{"id":%d,"p":3} p=3/b%%20c.parquet:%d`, 1000+i, i))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s, parallel %d: %d rows, want %d: %v", mode, parallel, len(got), len(want), got[:5])
			}
		}
		all := lines(t, s, Options{Files: []*delta.Add{b}})
		if want := `{"id":1001,"name":null,"p":3,"s":{"at":"1970-01-01T00:16:41.003003Z","l":[500.5,null]}}`; all[1] != want {
			t.Errorf("%s: %s", mode, all[1])
		}
		if n := len(lines(t, s, Options{IncludeDeleted: true, Columns: []string{}})); n != 260 {
			t.Errorf("%s: %d rows with the deleted ones", mode, n)
		}
		for f, err := range Fsck(context.Background(), s, FsckOptions{Deep: true}) {
			t.Errorf("%s: %+v, %v", mode, f, err)
		}
	}
}

func TestScanStopsEarlyAndOnErrors(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	for i := range 8 {
		s = addFile(t, s, fmt.Sprintf("f%d.parquet", i), 0, 300, nil)
	}
	n := 0
	for _, err := range Scan(context.Background(), s, Options{Parallel: 4, BatchRows: 10}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 5 {
			break
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	for _, err := range Scan(ctx, s, Options{Parallel: 4}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled scan: %v", last)
	}
	// A corrupt file is named.
	a, _ := s.File("f3.parquet")
	data, err := s.Table().Bucket().Get(context.Background(), "t/f3.parquet")
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 0xff
	if err := s.Table().Bucket().Put(context.Background(), "t/f3.parquet", data); err != nil {
		t.Fatal(err)
	}
	for _, parallel := range []int{1, 4} {
		last = nil
		for _, err := range Scan(context.Background(), s, Options{Parallel: parallel}) {
			last = err
		}
		var c *delta.CorruptError
		if !errors.As(last, &c) || !strings.Contains(c.File, a.Path) {
			t.Errorf("corrupt file: %v", last)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	a := addFile(t, s, "a.parquet", 0, 200, nil)
	b := deleteRows(t, a, "a.parquet", 7, 8)
	b = addFile(t, b, "b.parquet", 8, 10, nil) // one comes back, one is there twice
	for _, mem := range []int{0, 50} {
		d, err := Diff(context.Background(), a, b, DiffOptions{MemoryRows: mem, Columns: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		if d.RowsA != 200 || d.RowsB != 200 || !slices.Equal(d.SampleA, []string{`{"id":7}`}) || !slices.Equal(d.SampleB, []string{`{"id":9}`}) || d.OnlyA != 1 || d.OnlyB != 1 {
			t.Errorf("%+v", d)
		}
	}
	var done, total int64
	d, err := Diff(context.Background(), b, b, DiffOptions{Progress: func(d, of int64) { done, total = d, of }})
	if n, _ := b.NumRecords(); done != 2*n || total != 2*n {
		t.Errorf("told of %d of %d rows, want all %d of both", done, total, n)
	}
	if err != nil || !d.Equal() {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWriteFileRefuses(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	b := columnar.NewBuilder(schema.Schema{Fields: testSchema.Fields[:2]})
	b.AppendNull(0) // id has no nulls
	b.AppendString(1, "x")
	if _, err := WriteFile(context.Background(), s, "a", schema.Schema{Fields: testSchema.Fields[:2]}, one(b.NewRecord()), WriteOptions{}); !errors.Is(err, columnar.ErrKind) {
		t.Errorf("null in a column without nulls: %v", err)
	}
	if _, err := s.Table().Bucket().Stat(context.Background(), "t/a"); err == nil {
		t.Error("a file that failed is there")
	}
	for _, sc := range []schema.Schema{testSchema, {Fields: []schema.Field{{Name: "nope", Type: schema.Of(schema.Long)}}}, {Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.String)}}}} {
		if _, err := WriteFile(context.Background(), s, "a", sc, one(nil), WriteOptions{}); err == nil {
			t.Errorf("columns %v were written", sc)
		}
	}
}

func FuzzPartitionValue(f *testing.F) {
	for _, s := range []string{"", "1", "-1.5e3", "2020-01-01", "2020-01-01 08:09:10.001", "1970-01-01T00:00:00.000000Z", "200.000000000000000000", "true", "+10000-01-01"} {
		f.Add(s)
	}
	types := []schema.Type{schema.Of(schema.Boolean), schema.Of(schema.Byte), schema.Of(schema.Long), schema.Of(schema.Float), schema.Of(schema.Double), schema.Of(schema.String),
		schema.Of(schema.Binary), schema.Of(schema.Date), schema.Of(schema.Timestamp), schema.Of(schema.TimestampNTZ), schema.DecimalOf(38, 18), schema.DecimalOf(5, 2)}
	f.Fuzz(func(t *testing.T, s string) {
		for _, ty := range types {
			v, err := ParsePartitionValue(s, ty, nil)
			if err != nil {
				continue
			}
			text, null, err := FormatPartitionValue(v, ty)
			if errors.Is(err, ErrPartitionValue) && !utf8.ValidString(s) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if null {
				text = ""
			}
			w, err := ParsePartitionValue(text, ty, nil)
			if err != nil || !v.Equal(w) {
				t.Fatalf("%s: %q is written as %q: %v", ty, s, text, err)
			}
		}
	})
}

func TestPartitionFolder(t *testing.T) {
	t.Parallel()
	sc := schema.Schema{Fields: []schema.Field{{Name: "p", Type: schema.Of(schema.String), Nullable: true}, {Name: "q", Type: schema.Of(schema.Long), Nullable: true}}}
	m := &delta.Metadata{PartitionColumns: []string{"p", "q"}}
	for value, want := range map[string]string{"2026-01-31": "p=2026-01-31/q=__HIVE_DEFAULT_PARTITION__/", "a \u00fc": "p=a \u00fc/q=__HIVE_DEFAULT_PARTITION__/",
		"a/b%": "p=a%2Fb%25/q=__HIVE_DEFAULT_PARTITION__/", strings.Repeat("x", 300): "", "": "p=__HIVE_DEFAULT_PARTITION__/q=__HIVE_DEFAULT_PARTITION__/"} {
		p := delta.NewPartition(delta.PartitionValue{Name: "p", Value: value, Null: value == ""}, delta.PartitionValue{Name: "q", Null: true})
		if got := PartitionFolder(m, sc, p); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestTimestampPartitions: forms that Spark reads, of which it writes the first two and delta-rs the third.
func TestTimestampPartitions(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"2024-06-01T10:00:00.123456Z":           "2024-06-01T10:00:00.123456Z",
		"2024-06-01 12:00:00":                   "2024-06-01T10:00:00.000000Z",
		"2024-06-01 12:00:00.123456":            "2024-06-01T10:00:00.123456Z",
		"2024-01-01 12:00:00.5":                 "2024-01-01T11:00:00.500000Z",
		"2024-06-01 12:00:00+05:30":             "2024-06-01T06:30:00.000000Z",
		"2024-06-01 12:00:00-0700":              "2024-06-01T19:00:00.000000Z",
		"2024-06-01 12:00:00 America/New_York":  "2024-06-01T16:00:00.000000Z",
		"2024-01-01T12:00:00.5 America/Phoenix": "2024-01-01T19:00:00.500000Z",
		"2024-06-01 12:00:00 UTC":               "2024-06-01T12:00:00.000000Z",
		"2024-06-01 12:00:00 Mars/Olympus":      "",
		"2024-06-01 12:00:00 Local":             "",
		"2024-06-01 25:61:00":                   "",
	} {
		v, err := ParsePartitionValue(text, schema.Of(schema.Timestamp), berlin)
		if want == "" && err == nil || want != "" && (err != nil || columnar.FormatValue(v, schema.Of(schema.Timestamp)) != want) {
			t.Errorf("%s is %s, %v; want %s", text, columnar.FormatValue(v, schema.Of(schema.Timestamp)), err, want)
		}
	}
}
