package corpora

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/optimize"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
)

var made = flag.String("made", "", "leave the made tables in this folder, with their rows beside them, for other engines to read")

var madeSchema = schema.Schema{Fields: []schema.Field{
	{Name: "id", Type: schema.Of(schema.Long)},
	{Name: "byte", Type: schema.Of(schema.Byte), Nullable: true},
	{Name: "short", Type: schema.Of(schema.Short), Nullable: true},
	{Name: "int", Type: schema.Of(schema.Integer), Nullable: true},
	{Name: "float", Type: schema.Of(schema.Float), Nullable: true},
	{Name: "double", Type: schema.Of(schema.Double), Nullable: true},
	{Name: "dec9", Type: schema.DecimalOf(9, 2), Nullable: true},
	{Name: "dec18", Type: schema.DecimalOf(18, 4), Nullable: true},
	{Name: "dec38", Type: schema.DecimalOf(38, 10), Nullable: true},
	{Name: "string", Type: schema.Of(schema.String), Nullable: true},
	{Name: "binary", Type: schema.Of(schema.Binary), Nullable: true},
	{Name: "bool", Type: schema.Of(schema.Boolean), Nullable: true},
	{Name: "date", Type: schema.Of(schema.Date), Nullable: true},
	{Name: "ts", Type: schema.Of(schema.Timestamp), Nullable: true},
	{Name: "ntz", Type: schema.Of(schema.TimestampNTZ), Nullable: true},
	{Name: "list", Type: schema.ArrayOf(schema.ArrayOf(schema.Of(schema.Integer))), Nullable: true},
	{Name: "map", Type: schema.MapOf(schema.Of(schema.String), schema.StructOf(schema.Field{Name: "x", Type: schema.Of(schema.Double), Nullable: true})), Nullable: true},
	{Name: "struct", Type: schema.StructOf(
		schema.Field{Name: "a", Type: schema.Of(schema.Long), Nullable: true},
		schema.Field{Name: "b", Type: schema.StructOf(schema.Field{Name: "c", Type: schema.Of(schema.String), Nullable: true}), Nullable: true}), Nullable: true},
	{Name: "part", Type: schema.Of(schema.String), Nullable: true},
}}

// madeValue gives a value of each type, nulls among them.
func madeValue(t schema.Type, i int) connectors.Value {
	if i%6 == 5 {
		return connectors.NullValue()
	}
	n := int64(i) - 3
	switch t.Kind {
	case schema.Boolean:
		return connectors.Bool(i%2 == 0)
	case schema.Byte:
		return connectors.Int(t.Kind, n%100)
	case schema.Short, schema.Integer, schema.Long:
		return connectors.Int(t.Kind, n)
	case schema.Date:
		return connectors.Int(t.Kind, n*500)
	case schema.Timestamp, schema.TimestampNTZ:
		return connectors.Int(t.Kind, n*123_456_789_012_3)
	case schema.Float:
		v := connectors.Float(float64(float32(n) / 4))
		v.Kind = schema.Float
		return v
	case schema.Double:
		return connectors.Float(float64(n) / 8)
	case schema.Decimal:
		return connectors.Dec([]string{"\x01\x02\x03", "\xfe\x00", "\x00"}[i%3], t.Scale)
	case schema.String:
		return connectors.Text([]string{"plain", "ümläut 漢字 😀", "", "with \"quotes\" and\nlines"}[i%4] + strconv.Itoa(i%50))
	case schema.Binary:
		return connectors.Bytes(string([]byte{0, 0xff, byte(i)}))
	case schema.Array:
		var kids []connectors.Value
		for k := range i % 4 {
			kids = append(kids, madeValue(*t.Elem, i+k))
		}
		return connectors.Nested(t.Kind, kids)
	case schema.Map:
		var kids []connectors.Value
		for k := range i % 3 {
			kids = append(kids, connectors.Text(fmt.Sprint("k", k)), madeValue(*t.Elem, i+k))
		}
		return connectors.Nested(t.Kind, kids)
	}
	var kids []connectors.Value
	for k, f := range t.Fields {
		kids = append(kids, madeValue(f.Type, i+k))
	}
	return connectors.Nested(t.Kind, kids)
}

func madeFile(t *testing.T, s *delta.Snapshot, name string, from, to int) delta.Add {
	sc, err := rows.DataSchema(s)
	if err != nil {
		t.Fatal(err)
	}
	b := columnar.NewBuilder(sc)
	for i := from; i < to; i++ {
		for c, f := range sc.Fields {
			v := madeValue(f.Type, i)
			if f.Name == "id" {
				v = connectors.Int(schema.Long, int64(i))
			}
			if err := b.Append(c, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	rec := b.NewRecord()
	o := rows.WriteOptions{RowGroupRows: 70}
	if len(s.Metadata.PartitionColumns) > 0 {
		m, err := rows.MappingOf(s.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		f := s.Schema().Fields[s.Schema().Index("part")]
		o.Partition = delta.NewPartition(delta.PartitionValue{Name: columnar.PhysicalName(&f, m), Value: fmt.Sprintf("p %d/ä", from%3), Null: from == 0})
		name = rows.PartitionFolder(s.Metadata, s.Schema(), o.Partition) + name
	}
	a, err := rows.WriteFile(context.Background(), s, name, sc, one(rec), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func one(r arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) { yield(r, nil) }
}

// TestMadeTables writes a table of each kind and reads it back. With -made DIR it leaves them there:
//
//	go test ./connectors/delta/corpora -run TestMadeTables -made DIR
//	read-table delta-rs DIR/plain | cmp - DIR/plain.jsonl
func TestMadeTables(t *testing.T) {
	ctx := context.Background()
	dir := *made
	if dir == "" {
		dir = t.TempDir()
	}
	b, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		parts   []string
		mapping string
		dvs     bool
		pack    bool
	}{{"plain", nil, "", false, false}, {"partitioned", []string{"part"}, "", false, false}, {"vectors", []string{"part"}, "", true, false},
		{"mapped", nil, "name", true, false}, {"mapped-partitioned", []string{"part"}, "name", false, false}, {"mapped-id", nil, "id", false, false}, {"packed", []string{"part"}, "", true, true}} {
		sc, conf := madeSchema, map[string]string{}
		if c.mapping != "" {
			var top int
			sc, top = rows.MapColumns(madeSchema, 0, rows.NewName)
			conf[delta.PropColumnMappingMode], conf[delta.PropMaxColumnID] = c.mapping, strconv.Itoa(top)
		}
		if c.dvs {
			conf[delta.PropEnableDVs] = "true"
		}
		tab, err := delta.Create(ctx, b, c.name, delta.CreateOptions{Schema: sc, PartitionColumns: c.parts, Configuration: conf})
		if err != nil {
			t.Fatal(err)
		}
		s := tab.Cached()
		commit := tab.NewCommit(s)
		var adds []delta.Add
		for i := range 5 {
			a := madeFile(t, s, fmt.Sprintf("f %d+.parquet", i), i*100, i*100+100)
			adds = append(adds, a)
			commit.Append(a)
		}
		out := commit.Do(ctx)
		if out.Err != nil {
			t.Fatal(out.Err)
		}
		if c.dvs {
			vs := []*roaring64.Bitmap{roaring64.BitmapOf(0, 7, 8, 9, 99), roaring64.New()}
			vs[1].AddRange(20, 90)
			ds, _, err := dv.Write(ctx, b, c.name, vs)
			if err != nil {
				t.Fatal(err)
			}
			commit = tab.NewCommit(out.Snapshot)
			for i, d := range ds {
				f, _ := out.Snapshot.File(adds[i].Path)
				commit.SetDV(f, d)
			}
			if out = commit.Do(ctx); out.Err != nil {
				t.Fatal(out.Err)
			}
		}
		if c.pack {
			if res, err := optimize.Run(ctx, tab, optimize.Options{MaxDeleted: 0.01}); err != nil || res.RowsPurged != 75 {
				t.Fatal(res, err)
			}
		}
		s, err = tab.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := tableLines(s, "")
		if err != nil {
			t.Fatal(err)
		}
		want := 500
		if c.dvs {
			want -= 75
		}
		if len(lines) != want || len(slices.Compact(slices.Clone(lines))) != want {
			t.Errorf("%s: %d rows, want %d", c.name, len(lines), want)
		}
		for f, err := range rows.Fsck(ctx, s, rows.FsckOptions{Deep: true}) {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
		if *made != "" {
			f, err := os.Create(dir + "/" + c.name + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range lines {
				fmt.Fprintln(f, l)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
