package foreign

import (
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
)

// kit makes one table. Rows have a column id first, which counts up; the others are odd values.
type kit struct {
	testing.TB
	ctx  context.Context
	tab  *delta.Table
	s    *delta.Snapshot
	next int // id of the next row
	file int
	// values makes what is in the columns; nil: value.
	values func(t schema.Type, nullable bool, i int) connectors.Value
	// plain keeps the partition values to those that need no escape in a path.
	plain bool
}

func newKit(tb testing.TB, b store.Bucket, name string, sc schema.Schema, parts []string, conf map[string]string, features ...string) *kit {
	tb.Helper()
	sc.Fields = append([]schema.Field{must("id", of(schema.Long))}, sc.Fields...)
	if m := conf[delta.PropColumnMappingMode]; m != "" {
		var top int
		sc, top = rows.MapColumns(sc, 0, rows.NewName)
		conf[delta.PropMaxColumnID] = fmt.Sprint(top)
	}
	tab, err := delta.Create(context.Background(), b, name, delta.CreateOptions{Schema: sc, PartitionColumns: parts, Configuration: conf, Features: features, Name: name})
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return &kit{TB: tb, ctx: context.Background(), tab: tab, s: tab.Cached()}
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatalf("%s: %v", k.tab.Path(), err)
	}
}

// do makes a commit and its checksum.
func (k *kit) do(c *delta.Commit, op string) {
	k.Helper()
	c.Info(delta.CommitInfo{Operation: op})
	out := c.Do(k.ctx)
	k.must(out.Err)
	k.s = out.Snapshot
	k.must(k.tab.WriteChecksum(k.ctx, k.s, out.TxnID))
}

func one(r arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) { yield(r, nil) }
}

// partition gives the partition that value set i belongs to: of every partition column value i.
func (k *kit) partition(i int) delta.Partition {
	sc := k.s.Schema()
	mode, err := rows.MappingOf(k.s.Metadata)
	k.must(err)
	var out []delta.PartitionValue
	for _, name := range k.s.Metadata.PartitionColumns {
		f := sc.Fields[sc.Index(name)]
		v := value(f.Type, f.Nullable, i)
		if f.Type.Kind == schema.Binary && v.State == connectors.Present {
			v.Str = fmt.Sprintf("é\x01%d", i) // only what is UTF-8 can be a partition value
		}
		if k.plain && f.Type.Kind == schema.String && v.State == connectors.Present {
			v.Str = fmt.Sprintf("v%d", i)
		}
		text, null, err := rows.FormatPartitionValue(v, f.Type)
		k.must(err)
		out = append(out, delta.PartitionValue{Name: columnar.PhysicalName(&f, mode), Value: text, Null: null})
	}
	return delta.NewPartition(out...)
}

// write writes n new rows as a file of partition p.
func (k *kit) write(n, p int, o rows.WriteOptions) delta.Add {
	k.Helper()
	sc, err := rows.DataSchema(k.s)
	k.must(err)
	b := columnar.NewBuilder(sc)
	value := value
	if k.values != nil {
		value = k.values
	}
	for range n {
		b.AppendInt(0, int64(k.next))
		for c := 1; c < len(sc.Fields); c++ {
			k.must(b.Append(c, value(sc.Fields[c].Type, sc.Fields[c].Nullable, k.next+c)))
		}
		k.next++
	}
	o.Partition = k.partition(p)
	name := fmt.Sprintf("%spart-%05d.parquet", rows.PartitionFolder(k.s.Metadata, k.s.Schema(), o.Partition), k.file)
	k.file++
	a, err := rows.WriteFile(k.ctx, k.s, name, sc, one(b.NewRecord()), o)
	k.must(err)
	return a
}

// add commits files of n rows, one for each of the partitions named.
func (k *kit) add(n int, partitions ...int) *kit {
	k.Helper()
	if len(partitions) == 0 {
		partitions = []int{0}
	}
	c := k.tab.NewCommit(k.s)
	for _, p := range partitions {
		c.Append(k.write(n, p, rows.WriteOptions{}))
	}
	app := "sluice/test/" + k.tab.Path()
	at, ok := k.s.Txn(app)
	if !ok {
		at = -1
	}
	c.Progress(app, at, int64(k.next))
	k.do(c, "WRITE")
	return k
}

// files gives the logical files in the order of their names, which count up.
func (k *kit) files() []*delta.Add {
	return slices.SortedFunc(k.s.Files(), func(a, b *delta.Add) int { return strings.Compare(path.Base(a.Path), path.Base(b.Path)) })
}

// del deletes the rows whose position in its file leaves rest r when divided by m, from every n-th file, in one commit.
func (k *kit) del(m, r uint64, every int) *kit {
	k.Helper()
	var vectors []*roaring64.Bitmap
	var of []*delta.Add
	for i, a := range k.files() {
		if i%every != 0 {
			continue
		}
		n, _ := a.NumRecords()
		v := roaring64.New()
		for p := r; p < uint64(n); p += m {
			v.Add(p)
		}
		old, err := rows.DeletedRows(k.ctx, k.tab, a)
		k.must(err)
		if old != nil {
			v.Or(old)
		}
		vectors, of = append(vectors, v), append(of, a)
	}
	d, _, err := dv.Write(k.ctx, k.tab.Bucket(), k.tab.Path(), vectors)
	k.must(err)
	c := k.tab.NewCommit(k.s)
	for i, a := range of {
		c.SetDV(a, d[i])
	}
	k.do(c, "DELETE")
	return k
}

// metadata commits a change of schema or configuration.
func (k *kit) metadata(change func(m *delta.Metadata, sc *schema.Schema), features ...string) *kit {
	k.Helper()
	m := k.s.Metadata.Clone()
	sc := k.s.Schema()
	sc.Fields = slices.Clone(sc.Fields)
	change(m, &sc)
	m.SchemaString = sc.String()
	c := k.tab.NewCommit(k.s)
	c.SetMetadata(m)
	c.RequireFeatures(features...)
	k.do(c, "CHANGE COLUMN")
	return k
}

func (k *kit) checkpoint(f delta.CheckpointFormat) *kit {
	k.Helper()
	_, err := k.tab.Checkpoint(k.ctx, k.s, delta.CheckpointOptions{Format: f, SidecarActions: 3})
	k.must(err)
	return k
}

// ours reads a table as canonical lines, sorted. version < 0: the newest.
func ours(tb testing.TB, b store.Bucket, path string, version int64, where string) []string {
	tb.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, b, path)
	if err != nil {
		tb.Fatal(err)
	}
	s := tab.Cached()
	if version >= 0 {
		if s, err = tab.SnapshotAt(ctx, version); err != nil {
			tb.Fatal(err)
		}
	}
	o := rows.Options{}
	if where != "" {
		if o.Where, err = rows.ParsePredicate(where, s.Schema()); err != nil {
			tb.Fatalf("%s: %s: %v", path, where, err)
		}
	}
	var out []string
	for batch, err := range rows.Scan(ctx, s, o) {
		if err != nil {
			tb.Fatalf("%s version %d: %v", path, version, err)
		}
		out = lines(tb, out, batch.Record, s.Schema())
	}
	slices.Sort(out)
	return out
}

// oursCDF reads a change feed likewise, without the time of the commit.
func oursCDF(tb testing.TB, b store.Bucket, path string, from, to int64) []string {
	tb.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, b, path)
	if err != nil {
		tb.Fatal(err)
	}
	o := cdf.Options{From: from, To: to}
	shape, err := cdf.Shape(ctx, tab, o)
	if err != nil {
		tb.Fatal(err)
	}
	sc, err := cdf.Schema(shape, o)
	if err != nil {
		tb.Fatal(err)
	}
	n := len(sc.Fields) - 1
	sc.Fields = sc.Fields[:n]
	var out []string
	for batch, err := range cdf.Read(ctx, tab, o) {
		if err != nil {
			tb.Fatalf("feed of %s: %v", path, err)
		}
		out = lines(tb, out, array.NewRecord(arrow.NewSchema(batch.Record.Schema().Fields()[:n], nil), batch.Record.Columns()[:n], batch.Record.NumRows()), sc)
	}
	slices.Sort(out)
	return out
}

func lines(tb testing.TB, out []string, rec arrow.Record, sc schema.Schema) []string {
	tb.Helper()
	for i := range int(rec.NumRows()) {
		l, err := columnar.AppendCanonicalJSON(nil, rec, sc, i)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, string(l))
	}
	return out
}

// changeRow is a row of a change file.
type changeRow struct {
	values []connectors.Value
	kind   string
}

// changes writes a change file.
func (k *kit) changes(sc schema.Schema, p delta.Partition, list ...changeRow) delta.AddCDC {
	k.Helper()
	full := sc
	full.Fields = append(slices.Clone(sc.Fields), col(cdf.ColumnType, of(schema.String)))
	b := columnar.NewBuilder(full)
	for _, r := range list {
		for c, v := range r.values {
			k.must(b.Append(c, v))
		}
		b.AppendString(len(r.values), r.kind)
	}
	name := fmt.Sprintf("cdc-%05d.parquet", k.file)
	k.file++
	x, err := cdf.WriteFile(k.ctx, k.s, name, sc, one(b.NewRecord()), rows.WriteOptions{Partition: p})
	k.must(err)
	return x
}
