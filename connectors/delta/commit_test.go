package delta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
)

func vector(t *testing.T, b store.Bucket, rows ...uint64) dv.Descriptor {
	t.Helper()
	ds, _, err := dv.Write(context.Background(), b, "t", []*roaring64.Bitmap{roaring64.BitmapOf(rows...)})
	if err != nil {
		t.Fatal(err)
	}
	return ds[0]
}

func file1(t *testing.T, s *Snapshot, name string) *Add {
	t.Helper()
	a, ok := s.File(name)
	if !ok {
		t.Fatalf("%s is not in version %d", name, s.Version)
	}
	return a
}

// TestConflicts lets two commits that were made on one snapshot race: the first wins, the second meets it.
func TestConflicts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	type edit func(t *testing.T, c *Commit)
	appendFile := func(name string) edit { return func(t *testing.T, c *Commit) { c.Append(testAdd(name, 5)) } }
	remove := func(name string) edit { return func(t *testing.T, c *Commit) { c.Remove(file1(t, c.Base(), name)) } }
	delRows := func(name string, rows ...uint64) edit {
		return func(t *testing.T, c *Commit) { c.SetDV(file1(t, c.Base(), name), vector(t, c.t.Bucket(), rows...)) }
	}
	optimize := func(in, out string) edit {
		return func(t *testing.T, c *Commit) {
			c.Rearrange()
			c.Remove(file1(t, c.Base(), in))
			c.Append(testAdd(out, 10))
		}
	}
	all := func(es ...edit) edit {
		return func(t *testing.T, c *Commit) {
			for _, e := range es {
				e(t, c)
			}
		}
	}
	comment := func(t *testing.T, c *Commit) {
		m := c.Base().Metadata.Clone()
		m.Description = "x"
		c.SetMetadata(m)
	}
	domain := func(d string) edit { return func(_ *testing.T, c *Commit) { c.SetDomain(d, "{}") } }
	feature := func(f string) edit { return func(_ *testing.T, c *Commit) { c.RequireFeatures(f) } }
	progress := func(app string) edit { return func(_ *testing.T, c *Commit) { c.Progress(app, -1, 1) } }
	expect := func(app string) edit { return func(_ *testing.T, c *Commit) { c.Expect(app, -1) } }
	readsAll := func(_ *testing.T, c *Commit) { c.ReadsTable() }
	serial := func(_ *testing.T, c *Commit) { c.ReadsTable(); c.Isolate(Serializable) }
	reads := func(name string) edit { return func(t *testing.T, c *Commit) { c.ReadsFile(file1(t, c.Base(), name)) } }

	for _, tc := range []struct {
		name        string
		winner, our edit
		want        error
	}{
		{"two appends", appendFile("n1"), appendFile("n2"), nil},
		{"two appends of one file", appendFile("n1"), appendFile("n1"), ErrInvalidCommit},
		{"progress of different applications", all(appendFile("n1"), progress("a")), all(appendFile("n2"), progress("b")), nil},
		{"progress of one application", all(appendFile("n1"), progress("a")), all(appendFile("n2"), progress("a")), ErrProgress},
		{"progress that was expected to stay", all(appendFile("n1"), progress("a")), all(appendFile("n2"), expect("a")), ErrProgress},
		{"other progress than the expected one", all(appendFile("n1"), progress("a")), all(appendFile("n2"), expect("b")), nil},
		{"removes of different files", remove("A"), remove("B"), nil},
		{"removes of one file", remove("A"), remove("A"), ErrConcurrentRemove},
		{"rows of different files", delRows("A", 1), delRows("B", 1), nil},
		{"different rows of one file", delRows("A", 1, 2), delRows("A", 3), nil},
		{"same row of one file", delRows("A", 1, 2), delRows("A", 2, 3), ErrConcurrentRemove},
		{"all rows between them", delRows("A", 0, 1, 2, 3, 4), delRows("A", 5, 6, 7, 8, 9), nil},
		{"rows on top of a vector", delRows("C", 0, 1), delRows("C", 0, 2), nil},
		{"rows of a removed file", remove("A"), delRows("A", 1), ErrConcurrentRemove},
		{"remove of a file with deleted rows", delRows("A", 1), remove("A"), ErrConcurrentRemove},
		{"optimize of other files", optimize("B", "o"), delRows("A", 1), nil},
		{"optimize of our file", optimize("A", "o"), delRows("A", 1), ErrConcurrentRemove},
		{"append during optimize", appendFile("n1"), optimize("A", "o"), nil},
		{"delete elsewhere during optimize", delRows("B", 1), optimize("A", "o"), nil},
		{"blind append and a reader of all", appendFile("n1"), all(readsAll, remove("A")), nil},
		{"blind append and a serializable reader", appendFile("n1"), all(serial, remove("A")), ErrConcurrentAppend},
		{"update and a reader of all", all(remove("B"), appendFile("n1")), all(readsAll, remove("A")), ErrConcurrentAppend},
		{"delete and a reader of all", remove("B"), all(readsAll, remove("A")), ErrConcurrentRemove},
		{"optimize and a reader of all", optimize("B", "o"), all(readsAll, appendFile("n1")), nil},
		{"delete of a file that we read", remove("B"), all(reads("B"), appendFile("n1")), ErrConcurrentRemove},
		{"metadata", comment, appendFile("n1"), ErrMetadataChanged},
		{"append under our metadata change", appendFile("n1"), comment, ErrConcurrentAppend},
		{"protocol upgrade under an append", feature(FeatureInCommitTimestamp), appendFile("n1"), nil},
		{"two protocol upgrades", feature(FeatureInCommitTimestamp), feature(FeatureVacuumProtocolCheck), ErrProtocolChanged},
		{"one domain", domain("d"), domain("d"), ErrDomainChanged},
		{"two domains", domain("d"), domain("e"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := mem.New("x")
			tab, err := Create(ctx, b, "t", CreateOptions{Schema: testSchema(), Configuration: map[string]string{PropEnableDVs: "true"},
				Features: []string{FeatureDomainMetadata}})
			if err != nil {
				t.Fatal(err)
			}
			c := tab.NewCommit(tab.Cached())
			for _, n := range []string{"A", "B", "C"} {
				c.Append(testAdd(n, 10))
			}
			if out := c.Do(ctx); out.Err != nil {
				t.Fatal(out.Err)
			}
			c = tab.NewCommit(tab.Cached())
			c.SetDV(file1(t, c.Base(), "C"), vector(t, b, 0))
			if out := c.Do(ctx); out.Err != nil {
				t.Fatal(out.Err)
			}
			// The loser is another process: it shares nothing with the winner but the store.
			other, err := Open(ctx, b, "t")
			if err != nil {
				t.Fatal(err)
			}
			loser := other.NewCommit(other.Cached())
			tc.our(t, loser)
			win := tab.NewCommit(tab.Cached())
			tc.winner(t, win)
			if out := win.Do(ctx); out.Kind != Committed {
				t.Fatalf("winner: %v", out.Err)
			}
			files := tab.Cached().NumFiles()
			out := loser.Do(ctx)
			if !errors.Is(out.Err, tc.want) || (tc.want == nil) != (out.Kind == Committed) {
				t.Fatalf("%s, error %v, want %v", out.Kind, out.Err, tc.want)
			}
			s, err := tab.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := Open(ctx, b, "t")
			if err != nil {
				t.Fatal(err)
			}
			if a, b := strings.Join(state(s), "\n"), strings.Join(state(fresh.Cached()), "\n"); a != b {
				t.Errorf("followed:\n%s\nread anew:\n%s", a, b)
			}
			switch tc.name {
			case "different rows of one file", "rows on top of a vector":
				name := "A"
				if strings.Contains(tc.name, "top") {
					name = "C"
				}
				a := file1(t, s, name)
				v, err := dv.Read(ctx, b, "t", *a.DeletionVector)
				if err != nil || v.GetCardinality() != 3 || a.DeletionVector.Cardinality != 3 {
					t.Errorf("vector %v, %v", v, err)
				}
			case "all rows between them":
				if _, ok := s.File("A"); ok || s.NumFiles() != files-1 {
					t.Error("a file without rows stayed")
				}
			}
		})
	}
}

func TestBrokenCommitsAreRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("x")
	sc := testSchema()
	sc.Fields = append(sc.Fields, schema.Field{Name: "p", Type: schema.Of(schema.String), Nullable: true})
	sc.Fields = append(sc.Fields, schema.Field{Name: "d", Type: schema.Of(schema.Double), Nullable: true})
	tab, err := Create(ctx, b, "t", CreateOptions{Schema: sc, PartitionColumns: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	in := NewPartition(PartitionValue{Name: "p", Value: "1"})
	good := func(name string) Add { a := testAdd(name, 10); a.PartitionValues = in; return a }
	c := tab.NewCommit(tab.Cached())
	c.Append(good("A"))
	c.Progress("app", -1, 5)
	if out := c.Do(ctx); out.Err != nil {
		t.Fatal(out.Err)
	}
	off := int32(1)
	for name, edit := range map[string]func(c *Commit){
		"B1 paths":             func(c *Commit) { c.Append(good("X")); c.Append(good("X")) },
		"in the table already": func(c *Commit) { c.Append(good("A")) },
		"B1":                   func(c *Commit) { c.Remove(&Add{Path: "none"}) },
		"B2 deletion vectors": func(c *Commit) {
			a, _ := c.Base().File("A")
			c.SetDV(a, dv.Descriptor{StorageType: "u", PathOrInlineDv: "x", Offset: &off, SizeInBytes: 1, Cardinality: 1})
		},
		"B4 partition values": func(c *Commit) { c.Append(testAdd("X", 1)) },
		"B4": func(c *Commit) {
			a := good("X")
			a.PartitionValues = NewPartition(PartitionValue{Name: "z"})
			c.Append(a)
		},
		"B6 txn": func(c *Commit) { c.Append(good("X")); c.Progress("app", 5, 5) },
		"B8 statistics": func(c *Commit) {
			a := good("X")
			a.Stats = `{"numRecords":1,"minValues":{"id":2},"maxValues":{"id":1}}`
			c.Append(a)
		},
		"NaN in the bounds": func(c *Commit) {
			a := good("X")
			a.Stats = `{"minValues":{"d":"NaN"},"maxValues":{"d":"NaN"}}`
			c.Append(a)
		},
		"not an object": func(c *Commit) { a := good("X"); a.Stats = `[]`; c.Append(a) },
		"min \"b\" is above": func(c *Commit) {
			a := good("X")
			a.Stats = `{"minValues":{"s":"b"},"maxValues":{"s":"a"}}`
			c.Append(a)
		},
		"never changes": func(c *Commit) { m := c.Base().Metadata.Clone(); m.ID = "other"; c.SetMetadata(m) },
		"is there twice": func(c *Commit) {
			m := c.Base().Metadata.Clone()
			s := c.Base().Schema()
			s.Fields = append(s.Fields[:3:3], schema.Field{Name: "ID", Type: schema.Of(schema.Long), Nullable: true})
			m.SchemaString = s.String()
			c.SetMetadata(m)
		},
	} {
		c := tab.NewCommit(tab.Cached())
		edit(c)
		out := c.Do(ctx)
		if out.Kind != Conflict || !errors.Is(out.Err, ErrInvalidCommit) || !strings.Contains(out.Err.Error(), name) {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if s, err := tab.Snapshot(ctx); err != nil || s.Version != 1 {
		t.Errorf("version %d, %v", s.Version, err)
	}
}

// TestFilesAreLookedAtBeforeTheCommit: B2, B3 and B5, on what the caller vouches for and on what lies in the store.
func TestFilesAreLookedAtBeforeTheCommit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("x")
	tab := newTestTable(t, b, map[string]string{PropEnableDVs: "true"})
	vec := func(rows ...uint64) dv.Descriptor {
		d, _, err := dv.Write(ctx, b, "t", []*roaring64.Bitmap{roaring64.BitmapOf(rows...)})
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	c := tab.NewCommit(tab.Cached())
	c.Append(testAdd("A", 10))
	c.Append(testAdd("B", 10))
	if out := c.Do(ctx); out.Err != nil {
		t.Fatal(out.Err)
	}
	a, _ := tab.Cached().File("A")
	c = tab.NewCommit(tab.Cached())
	c.SetDV(a, vec(3, 4))
	c.ExpectRows(-2)
	if out := c.Do(ctx); out.Err != nil {
		t.Fatal(out.Err)
	}
	if err := b.Put(ctx, "t/garbage", []byte("no Parquet")); err != nil {
		t.Fatal(err)
	}
	damaged := vec(3, 4, 5)
	damaged.SizeInBytes--
	file := func(name string) *Add { a, _ := tab.Cached().File(name); return a }
	of := roaring64.BitmapOf
	for name, edit := range map[string]func(c *Commit){
		"B2 deletion vectors: A: 1 rows that were deleted would come back":         func(c *Commit) { c.SetDV(file("A"), vec(3, 5)) },
		"B2 deletion vectors: A: 2 rows that were deleted would come back":         func(c *Commit) { c.SetVector(file("A"), vec(6, 5, 8), of(3, 4), of(5, 6, 8)) },
		"B2 deletion vectors: B: the vector deletes row 10 of a file of 10 rows":   func(c *Commit) { c.SetDV(file("B"), vec(10)) },
		"B2 deletion vectors: A: deletion vector":                                  func(c *Commit) { c.SetDV(file("A"), damaged) },
		"B2 deletion vectors: A has 2 deleted rows, the commit knows of none":      func(c *Commit) { c.SetVector(file("A"), vec(3, 4, 5), nil, of(3, 4, 5)) },
		"B2 deletion vectors: B: the vector deletes 2 rows, its descriptor says 1": func(c *Commit) { c.SetVector(file("B"), vec(3), nil, of(3, 4)) },
		"B3 file: C is not in the store":                                           func(c *Commit) { c.Append(Add{Path: "C", Size: 10}) },
		"B3 size: garbage has 10 bytes, the action says 11":                        func(c *Commit) { c.Append(Add{Path: "garbage", Size: 11}) },
		"B3 file: garbage": func(c *Commit) { c.Append(Add{Path: "garbage", Size: 10}) },
		"B3 rows":          func(c *Commit) { a := testAdd("C", 10); a.Written.Rows = 9; c.Append(a) },
		"B3 schema: C has the column \"z\"": func(c *Commit) {
			a := testAdd("C", 10)
			a.Written.Schema = schema.Schema{Fields: []schema.Field{{Name: "z", Type: schema.Of(schema.Long)}}}
			c.Append(a)
		},
		"B3 schema: C has the column \"id\" as string": func(c *Commit) {
			a := testAdd("C", 10)
			a.Written.Schema = schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.String)}}}
			c.Append(a)
		},
		"B5 rows: a commit that only moves rows would change their number by 2": func(c *Commit) {
			c.Remove(file("A"))
			c.Append(testAdd("C", 10))
			c.Rearrange()
		},
		"B5 rows: the commit changes the number of live rows by -1, its writer counted -2": func(c *Commit) { c.SetDV(file("A"), vec(3, 4, 5)); c.ExpectRows(-2) },
	} {
		c := tab.NewCommit(tab.Cached())
		edit(c)
		if out := c.Do(ctx); out.Kind != Conflict || !errors.Is(out.Err, ErrInvalidCommit) || !strings.Contains(out.Err.Error(), name) {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if s, err := tab.Snapshot(ctx); err != nil || s.Version != 2 {
		t.Errorf("version %d, %v", s.Version, err)
	}
}

func TestSchemaChangeUpgradesTheProtocol(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := newTestTable(t, mem.New("x"), nil)
	if p := tab.Cached().Protocol; p.MinReaderVersion != 1 || p.MinWriterVersion != 2 {
		t.Fatalf("%+v", p)
	}
	c := tab.NewCommit(tab.Cached())
	m := tab.Cached().Metadata.Clone()
	s := tab.Cached().Schema()
	s.Fields = append(s.Fields[:2:2], schema.Field{Name: "at", Type: schema.Of(schema.TimestampNTZ), Nullable: true})
	m.SchemaString = s.String()
	m.Configuration[PropEnableICT] = "true"
	c.SetMetadata(m)
	out := c.Do(ctx)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	p := out.Snapshot.Protocol
	if p.MinReaderVersion != 3 || p.MinWriterVersion != 7 || fmt.Sprint(p.ReaderFeatures) != "[timestampNtz]" ||
		fmt.Sprint(p.WriterFeatures) != "[appendOnly invariants inCommitTimestamp timestampNtz]" {
		t.Errorf("%+v", p)
	}
	if v, _ := out.Snapshot.Property(PropICTEnablementVersion); v != "1" {
		t.Errorf("enabled at %q", v)
	}
	last := out.Snapshot.Timestamp
	for i := range 3 {
		c := tab.NewCommit(tab.Cached())
		c.Append(testAdd(fmt.Sprint(i), 1))
		out := c.Do(ctx)
		if out.Err != nil || !out.Snapshot.Timestamp.After(last) {
			t.Fatalf("%v after %v: %v", out.Snapshot.Timestamp, last, out.Err)
		}
		last = out.Snapshot.Timestamp
	}
}

func TestRowIDs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("x")
	tab, err := Create(ctx, b, "t", CreateOptions{Schema: testSchema(), Features: []string{FeatureRowTracking}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	c1, c2 := tab.NewCommit(tab.Cached()), other.NewCommit(other.Cached())
	c1.Append(testAdd("A", 10))
	c2.Append(testAdd("B", 7))
	c2.Append(testAdd("C", 3))
	o1, o2 := c1.Do(ctx), c2.Do(ctx)
	if o1.Err != nil || o2.Err != nil {
		t.Fatal(o1.Err, o2.Err)
	}
	for name, want := range map[string][2]int64{"A": {0, 1}, "B": {10, 2}, "C": {17, 2}} {
		a := file1(t, o2.Snapshot, name)
		if *a.BaseRowID != want[0] || *a.DefaultRowCommitVersion != want[1] {
			t.Errorf("%s: %d %d", name, *a.BaseRowID, *a.DefaultRowCommitVersion)
		}
	}
	if d, _ := o2.Snapshot.Domain(domainRowTracking); d != `{"rowIdHighWaterMark":19}` {
		t.Error(d)
	}
}
