package delta

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
)

func testSchema() schema.Schema {
	return schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long)}, {Name: "s", Type: schema.Of(schema.String), Nullable: true}}}
}

func newTestTable(tb testing.TB, b store.Bucket, conf map[string]string) *Table {
	tb.Helper()
	tab, err := Create(context.Background(), b, "t", CreateOptions{Schema: testSchema(), Configuration: conf})
	if err != nil {
		tb.Fatal(err)
	}
	return tab
}

func testAdd(name string, rows int) Add {
	return Add{Path: name, Size: int64(rows) * 10, Written: &Written{Size: int64(rows) * 10, Rows: int64(rows)}, Stats: fmt.Sprintf(`{"numRecords":%d,"minValues":{"id":0},"maxValues":{"id":%d},"nullCount":{"id":0}}`, rows, rows)}
}

func TestCreateAppendOpen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	fb, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []store.Bucket{mem.New("x"), fb} {
		if _, err := Open(ctx, b, "t"); !errors.Is(err, ErrNotTable) {
			t.Fatalf("open of nothing: %v", err)
		}
		tab := newTestTable(t, b, nil)
		for i := range 30 {
			c := tab.NewCommit(tab.Cached())
			c.Append(testAdd(fmt.Sprintf("f%d.parquet", i), 10))
			c.Progress("app", int64(i)-1, int64(i))
			if out := c.Do(ctx); out.Kind != Committed || out.Version != int64(i+1) {
				t.Fatalf("commit %d: %+v", i, out)
			}
		}
		c := tab.NewCommit(tab.Cached())
		c.Append(testAdd("late", 10))
		c.Progress("app", 3, 4)
		if out := c.Do(ctx); !errors.Is(out.Err, ErrProgress) || !errors.Is(out.Err, ErrConflict) || out.Kind != Conflict {
			t.Fatalf("stale progress: %+v", out)
		}
		other, err := Open(ctx, b, "t")
		if err != nil {
			t.Fatal(err)
		}
		s := other.Cached()
		rows, exact := s.NumRecords()
		if v, ok := s.Txn("app"); s.Version != 30 || s.NumFiles() != 30 || v != 29 || !ok || rows != 300 || !exact || s.SizeBytes() != 3000 {
			t.Errorf("version %d, %d files, txn %d, %d rows", s.Version, s.NumFiles(), v, rows)
		}
		if _, err := Create(ctx, b, "t", CreateOptions{Schema: testSchema()}); !errors.Is(err, ErrTableExists) {
			t.Errorf("second create: %v", err)
		}
		at, err := other.SnapshotAt(ctx, 7)
		if err != nil || at.NumFiles() != 7 {
			t.Errorf("version 7: %v", err)
		}
	}
}

// TestNotNullIsAnInvariant: Spark refuses a table of listed features that has a column which may not be null and does not list invariants.
func TestNotNullIsAnInvariant(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	loose := schema.Schema{Fields: []schema.Field{{Name: "s", Type: schema.Of(schema.String), Nullable: true}}}
	inner := schema.Schema{Fields: []schema.Field{{Name: "st", Nullable: true, Type: schema.StructOf(schema.Field{Name: "n", Type: schema.Of(schema.Long)})}}}
	vectors := map[string]string{PropEnableDVs: "true"}
	for i, c := range []struct {
		sc   schema.Schema
		conf map[string]string
		want bool
	}{{testSchema(), vectors, true}, {inner, vectors, true}, {loose, vectors, false}, {testSchema(), nil, true}} {
		tab, err := Create(ctx, mem.New(fmt.Sprint(i)), "t", CreateOptions{Schema: c.sc, Configuration: c.conf})
		if err != nil {
			t.Fatal(err)
		}
		p := tab.Cached().Protocol
		if p.Has(FeatureInvariants) != c.want || p.MinWriterVersion == 7 && p.HasWriterFeature(FeatureInvariants) != c.want || p.HasReaderFeature(FeatureInvariants) {
			t.Errorf("%s with %v: %+v", c.sc, c.conf, p)
		}
	}
}
