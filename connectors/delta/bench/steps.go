package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
)

var tableSchema = schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long), Nullable: true}, {Name: "name", Type: schema.Of(schema.String), Nullable: true},
	{Name: "price", Type: schema.Of(schema.Double), Nullable: true}, {Name: "qty", Type: schema.Of(schema.Integer), Nullable: true},
	{Name: "at", Type: schema.Of(schema.Timestamp), Nullable: true}}}

const batchRows = 1 << 15

// batches makes rows from…to.
func batches(from, to int, yield func(arrow.Record, error) bool) {
	b := columnar.NewBuilder(tableSchema)
	for i := from; i < to; i++ {
		b.AppendInt(0, int64(i))
		b.AppendString(1, "customer "+strconv.Itoa(i*7919%1000003))
		b.AppendFloat(2, float64(i%100000)/4)
		b.AppendInt(3, int64(i%50))
		b.AppendInt(4, 1_700_000_000_000_000+int64(i)*1000)
		if b.Len() == batchRows || i == to-1 {
			if !yield(b.NewRecord(), nil) {
				return
			}
		}
	}
}

// step runs one measured step of ours on the table in a folder, and gives the time that it took, the processor seconds
// in it, and a count to compare.
func step(ctx context.Context, name, dir string, n int) (took time.Duration, used float64, count int64, err error) {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return 0, 0, 0, err
	}
	path := filepath.Base(dir)
	var recs []arrow.Record
	if name == "append" {
		batches(0, n, func(r arrow.Record, _ error) bool { recs = append(recs, r); return true })
	}
	began, before := time.Now(), cpu()
	defer func() { took, used = time.Since(began), cpu()-before }()
	t, err := delta.Open(ctx, b, path)
	if err != nil {
		return 0, 0, 0, err
	}
	s := t.Cached()
	switch name {
	case "open":
		return 0, 0, int64(s.NumFiles()), nil
	case "scan":
		for batch, err := range rows.Scan(ctx, s, rows.Options{Reuse: true}) {
			if err != nil {
				return 0, 0, 0, err
			}
			count += batch.Record.NumRows()
		}
		return 0, 0, count, nil
	case "append":
		a, err := rows.WriteFile(ctx, s, fmt.Sprintf("new-%d.parquet", began.UnixNano()), tableSchema, func(yield func(arrow.Record, error) bool) {
			for _, r := range recs {
				if !yield(r, nil) {
					return
				}
			}
		}, rows.WriteOptions{})
		if err != nil {
			return 0, 0, 0, err
		}
		c := t.NewCommit(s)
		c.Append(a)
		out := c.Do(ctx)
		return 0, 0, int64(n), out.Err
	case "checkpoint":
		_, err := t.Checkpoint(ctx, s, delta.CheckpointOptions{})
		return 0, 0, s.Version, err
	}
	return 0, 0, 0, fmt.Errorf("no step %q", name)
}

// commits makes n commits of one small file each and gives the median time of one.
func commits(ctx context.Context, dir string, n int) (time.Duration, error) {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return 0, err
	}
	t, err := delta.Create(ctx, b, filepath.Base(dir), delta.CreateOptions{Schema: tableSchema})
	if err != nil {
		return 0, err
	}
	took := make([]time.Duration, n)
	for i := range n {
		began := time.Now()
		c := t.NewCommit(t.Cached())
		c.Append(delta.Add{Path: fmt.Sprintf("part-%05d.parquet", i), Size: 1000, ModificationTime: began.UnixMilli(), Written: &delta.Written{Size: 1000, Rows: 10},
			Stats: fmt.Sprintf(`{"numRecords":10,"minValues":{"id":%d},"maxValues":{"id":%d},"nullCount":{"id":0}}`, i*10, i*10+9)})
		c.Progress("sluice/bench", int64(i)-1, int64(i))
		if out := c.Do(ctx); out.Err != nil {
			return 0, out.Err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[n/2], nil
}

// scanTable makes a table of n rows in ten files; withDVs deletes every twentieth row.
func scanTable(ctx context.Context, dir string, n int, withDVs bool) error {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	o := delta.CreateOptions{Schema: tableSchema}
	if withDVs {
		o.Configuration = map[string]string{delta.PropEnableDVs: "true"}
	}
	t, err := delta.Create(ctx, b, filepath.Base(dir), o)
	if err != nil {
		return err
	}
	const files = 10
	c := t.NewCommit(t.Cached())
	for f := range files {
		from, to := f*n/files, (f+1)*n/files
		a, err := rows.WriteFile(ctx, t.Cached(), fmt.Sprintf("part-%d.parquet", f), tableSchema,
			func(yield func(arrow.Record, error) bool) { batches(from, to, yield) }, rows.WriteOptions{})
		if err != nil {
			return err
		}
		c.Append(a)
	}
	out := c.Do(ctx)
	if out.Err != nil || !withDVs {
		return out.Err
	}
	c = t.NewCommit(out.Snapshot)
	for a := range out.Snapshot.Files() {
		v := roaring64.New()
		rec, _ := a.NumRecords()
		for p := uint64(7); p < uint64(rec); p += 20 {
			v.Add(p)
		}
		d, _, err := dv.Write(ctx, b, t.Path(), []*roaring64.Bitmap{v})
		if err != nil {
			return err
		}
		c.SetDV(a, d[0])
	}
	return c.Do(ctx).Err
}

// touch makes a commit that changes nothing but the version, so that there is something to write a checkpoint of.
func touch(ctx context.Context, dir string) error {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	t, err := delta.Open(ctx, b, filepath.Base(dir))
	if err != nil {
		return err
	}
	c := t.NewCommit(t.Cached())
	c.Progress("sluice/bench", -1, 1)
	return c.Do(ctx).Err
}
