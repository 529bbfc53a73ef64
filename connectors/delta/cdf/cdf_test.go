package cdf

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

var sc = schema.Schema{Fields: []schema.Field{
	{Name: "id", Type: schema.Of(schema.Long)}, {Name: "v", Type: schema.Of(schema.String), Nullable: true}, {Name: "p", Type: schema.Of(schema.String), Nullable: true},
}}

func one(r arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) { yield(r, nil) }
}

func part(p string) rows.WriteOptions {
	return rows.WriteOptions{Partition: delta.NewPartition(delta.PartitionValue{Name: "p", Value: p})}
}

func data(ids ...int64) arrow.Record {
	b := columnar.NewBuilder(schema.Schema{Fields: sc.Fields[:2]})
	for _, i := range ids {
		b.AppendInt(0, i)
		b.AppendString(1, fmt.Sprint("v", i))
	}
	return b.NewRecord()
}

func feed(t *testing.T, tab *delta.Table, o Options) ([]string, error) {
	t.Helper()
	s, err := Shape(context.Background(), tab, o)
	if err != nil {
		return nil, err
	}
	fs, err := Schema(s, o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range Read(context.Background(), tab, o) {
		if err != nil {
			return out, err
		}
		for i := range int(b.Record.NumRows()) {
			n := len(fs.Fields) - 1 // without the time
			cols := b.Record.Columns()
			line := fmt.Sprintf("%d", b.Version)
			for c := range n {
				line += " " + columnar.FormatValue(columnar.ValueAt(cols[c], fs.Fields[c].Type, i), fs.Fields[c].Type)
			}
			out = append(out, line)
		}
	}
	return out, nil
}

func TestFeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, err := delta.Create(ctx, mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: []string{"p"},
		Configuration: map[string]string{delta.PropEnableCDF: "true", delta.PropEnableDVs: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	do := func(c *delta.Commit) *delta.Snapshot {
		t.Helper()
		out := c.Do(ctx)
		if out.Kind != delta.Committed {
			t.Fatal(out.Err)
		}
		return out.Snapshot
	}
	write := func(s *delta.Snapshot, name string, ids ...int64) delta.Add {
		a, err := rows.WriteFile(ctx, s, name, schema.Schema{Fields: sc.Fields[:2]}, one(data(ids...)), part("x"))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	vector := func(ids ...uint64) dv.Descriptor {
		d, _, err := dv.Write(ctx, tab.Bucket(), "t", []*roaring64.Bitmap{roaring64.BitmapOf(ids...)})
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	s := tab.Cached()
	c := tab.NewCommit(s)
	c.Append(write(s, "a", 1, 2, 3, 4))
	s = do(c) // 1: inserts
	c = tab.NewCommit(s)
	a, _ := s.File("a")
	c.SetDV(a, vector(1))
	s = do(c) // 2: deletes 2
	c = tab.NewCommit(s)
	a, _ = s.File("a")
	c.SetDV(a, vector(1, 2))
	s = do(c) // 3: deletes 3
	// 4: an update with change files.
	b := columnar.NewBuilder(schema.Schema{Fields: append(slices.Clone(sc.Fields[:2]), schema.Field{Name: ColumnType, Type: schema.Of(schema.String), Nullable: true})})
	for i, k := range []string{PreUpdate, PostUpdate} {
		b.AppendInt(0, 4)
		b.AppendString(1, []string{"v4", "new"}[i])
		b.AppendString(2, k)
	}
	x, err := WriteFile(ctx, s, "cdc-1.parquet", schema.Schema{Fields: sc.Fields[:2]}, one(b.NewRecord()), part("x"))
	if err != nil {
		t.Fatal(err)
	}
	c = tab.NewCommit(s)
	a, _ = s.File("a")
	c.SetDV(a, vector(1, 2, 3))
	c.Append(write(s, "b", 4))
	c.AppendCDC(x)
	s = do(c)
	c = tab.NewCommit(s)
	a, _ = s.File("a")
	c.Remove(a)
	s = do(c) // 5: the last row of a goes
	c = tab.NewCommit(s)
	a, _ = s.File("b")
	c.Remove(a)
	c.Append(write(s, "c", 4))
	c.Rearrange()
	s = do(c) // 6: nothing changes

	want := []string{"1 1 v1 x insert 1", "1 2 v2 x insert 1", "1 3 v3 x insert 1", "1 4 v4 x insert 1", "2 2 v2 x delete 2", "3 3 v3 x delete 3",
		"4 4 v4 x update_preimage 4", "4 4 new x update_postimage 4", "5 1 v1 x delete 5"}
	got, err := feed(t, tab, Options{To: -1})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%v\n%v", err, got, want)
	}
	got, err = feed(t, tab, Options{From: 3, To: 4, Columns: []string{"p"}})
	if want := []string{"3 x delete 3", "4 x update_preimage 4", "4 x update_postimage 4"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%v", err, got)
	}
	// A column comes, then the feed goes off.
	m := s.Metadata.Clone()
	wider := sc
	wider.Fields = append(slices.Clone(sc.Fields), schema.Field{Name: "more", Type: schema.Of(schema.Integer), Nullable: true})
	m.SchemaString = wider.String()
	c = tab.NewCommit(s)
	c.SetMetadata(m)
	s = do(c)
	if got, err := feed(t, tab, Options{From: 5, To: -1, Columns: []string{"more"}}); err != nil || !slices.Equal(got, []string{"5 0 delete 5"}) {
		t.Errorf("%v, %v", got, err)
	}
	// As with Spark and delta-rs, changes of before have it too.
	if got, err := feed(t, tab, Options{From: 2, To: 3}); err != nil || !slices.Equal(got, []string{"2 2 v2 x 0 delete 2", "3 3 v3 x 0 delete 3"}) {
		t.Errorf("%v, %v", got, err)
	}
	m = s.Metadata.Clone()
	m.Configuration[delta.PropEnableCDF] = "false"
	c = tab.NewCommit(s)
	c.SetMetadata(m)
	s = do(c)
	if _, err := feed(t, tab, Options{From: 5, To: -1}); !errors.Is(err, ErrDisabled) {
		t.Errorf("feed over a version without: %v", err)
	}
	if _, err := feed(t, tab, Options{From: s.Version, To: -1}); !errors.Is(err, ErrDisabled) {
		t.Errorf("feed from a version without: %v", err)
	}
	if _, err := feed(t, tab, Options{From: 99, To: -1}); !errors.Is(err, delta.ErrVersionNotFound) {
		t.Errorf("feed from the future: %v", err)
	}
}

func TestWidens(t *testing.T) {
	t.Parallel()
	k := schema.Of
	for _, c := range []struct {
		a, b schema.Type
		want bool
	}{{k(schema.Byte), k(schema.Long), true}, {k(schema.Long), k(schema.Integer), false}, {k(schema.Integer), k(schema.Double), true}, {k(schema.Long), k(schema.Double), false},
		{k(schema.Float), k(schema.Double), true}, {k(schema.Date), k(schema.TimestampNTZ), true}, {k(schema.Date), k(schema.Timestamp), false},
		{schema.DecimalOf(10, 2), schema.DecimalOf(12, 4), true}, {schema.DecimalOf(10, 2), schema.DecimalOf(11, 4), false}, {k(schema.Integer), schema.DecimalOf(12, 2), true}} {
		if got := Widens(c.a, c.b); got != c.want {
			t.Errorf("%s to %s: %v", c.a, c.b, got)
		}
	}
}
