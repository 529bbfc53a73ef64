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
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

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

// TestWhereIsWhatAFilterGives compares scans with a predicate, which skip files and row groups, with filtering all rows.
func TestWhereIsWhatAFilterGives(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	for i := range 6 {
		p := &i
		if i == 3 {
			p = nil
		}
		s = addFile(t, s, fmt.Sprintf("f%d.parquet", i), int64(i*150), int64(i*150+170), p)
	}
	s = deleteRows(t, s, "f2.parquet", 3, 4, 5, 60)
	all := lines(t, s, Options{Positions: true})
	rapid.Check(t, func(t *rapid.T) {
		cols := map[string]func() string{
			"id":   func() string { return strconv.Itoa(rapid.IntRange(-5, 1000).Draw(t, "id")) },
			"name": func() string { return fmt.Sprintf("'n%d'", rapid.IntRange(0, 110).Draw(t, "name")) },
			"p":    func() string { return strconv.Itoa(rapid.IntRange(-1, 6).Draw(t, "p")) },
			"s.at": func() string {
				return fmt.Sprintf("'1970-01-01T00:%02d:%02d.5Z'", rapid.IntRange(0, 20).Draw(t, "min"), rapid.IntRange(0, 59).Draw(t, "s"))
			},
		}
		var terms []string
		for range rapid.IntRange(1, 3).Draw(t, "terms") {
			c := rapid.SampledFrom([]string{"id", "name", "p", "s.at"}).Draw(t, "column")
			op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">=", "IN", "IS NULL", "IS NOT NULL"}).Draw(t, "op")
			switch op {
			case "IN":
				terms = append(terms, fmt.Sprintf("%s IN (%s, %s)", c, cols[c](), cols[c]()))
			case "IS NULL", "IS NOT NULL":
				terms = append(terms, c+" "+op)
			default:
				terms = append(terms, c+" "+op+" "+cols[c]())
			}
		}
		text := strings.Join(terms, " AND ")
		where, err := ParsePredicate(text, testSchema)
		if err != nil {
			t.Fatal(err)
		}
		got := lines(t, s, Options{Where: where, Positions: true, Parallel: rapid.IntRange(1, 2).Draw(t, "parallel")})
		// The same rows by reading all and looking at each value.
		var want []string
		at := 0
		for b, err := range Scan(context.Background(), s, Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range int(b.Record.NumRows()) {
				ok := true
				for k := range where {
					path, ty, err := resolve(testSchema, where[k].Column)
					if err != nil {
						t.Fatal(err)
					}
					ok = ok && where[k].holds(valueAt(b.Record.Column(path[0]), path[1:], ty, i), ty)
				}
				if ok {
					want = append(want, all[at])
				}
				at++
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d rows, want %d", text, len(got), len(want))
		}
	})
}

func TestSkippingReadsNoFile(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	one := 1
	s = addFile(t, s, "a.parquet", 0, 100, nil)
	s = addFile(t, s, "b.parquet", 200, 300, &one)
	for a := range s.Files() { // the files are gone: a scan that opens one fails
		key, _ := s.Table().ObjectKey(a.Path)
		if err := s.Table().Bucket().Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"id > 299", "id = 150", "p = 2", "id < 100 AND p = 1", "id >= 200 AND p IS NULL", "s.at > '2000-01-01'", "name < 'a'", "id IS NULL"} {
		where, err := ParsePredicate(text, testSchema)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range Scan(context.Background(), s, Options{Where: where}) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var trouble []Trouble
	var found []Finding
	for f, err := range Fsck(context.Background(), s, FsckOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		trouble, found = append(trouble, f.Trouble), append(found, f)
	}
	if !slices.Equal(trouble, []Trouble{MissingFile, MissingFile}) {
		t.Errorf("fsck: %v", trouble)
	}
	out, done := Repair(context.Background(), s, found)
	if out.Kind != delta.Committed || len(done) != 2 || out.Snapshot.NumFiles() != 0 {
		t.Errorf("repair: %+v", out)
	}
}

func TestBadPredicates(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "id", "id = ", "id = 'x", "id = x", "nope = 1", "id = 1 OR id = 2", "id IN 1", "id IN (1", "s = 1", "id ~ 1", "name = x", "s.at.x = 1", "id IS 1", "= 1",
		"id = X'00'", "b = X'0'", "b = X'00", "`odd.`x = 1", "n.`nope` = 1", "n.`in, side = 1"} {
		if p, err := ParsePredicate(text, testSchema); err == nil {
			t.Errorf("%q is %v", text, p)
		}
	}
	p, err := ParsePredicate("`name` = 'it''s' and ID<>-3", testSchema)
	if err != nil || p[0].Values[0].Str != "it's" || p[1].Op != Ne || p[1].Values[0].Int != -3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPredicateNamesAndBytes(t *testing.T) {
	t.Parallel()
	inner := schema.StructOf(schema.Field{Name: "in, side", Type: schema.StructOf(schema.Field{Name: "x`.y", Type: schema.Of(schema.Long)}, schema.Field{Name: "z", Type: schema.Of(schema.Long)})})
	sc := schema.Schema{Fields: []schema.Field{{Name: "n", Type: inner}, {Name: "a.b", Type: inner}, {Name: "b", Type: schema.Of(schema.Binary)}, {Name: "x", Type: schema.Of(schema.Long)}}}
	for text, path := range map[string][]int{
		"n.`in, side`.z = 1": {0, 0, 1}, "`n`.`in, side`.`x``.y` = 1": {0, 0, 0}, "N.`IN, side`.Z>1": {0, 0, 1}, "`a.b`.`in, side`.z IS NULL": {1, 0, 1}, "`x`=1": {3}, "x = 1": {3},
	} {
		p, err := ParsePredicate(text, sc)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _, err := resolve(sc, p[0].Column); err != nil || !slices.Equal(got, path) {
			t.Errorf("%s: %v, want %v (%v)", text, got, path, err)
		}
	}
	p, err := ParsePredicate("b = X'00fF' AND b != x'' AND b IN ('text', X'C3BC')", sc)
	if err != nil || p[0].Values[0].Str != "\x00\xff" || p[1].Values[0].Str != "" || p[2].Values[1].Str != "ü" {
		t.Errorf("%+v, %v", p, err)
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
