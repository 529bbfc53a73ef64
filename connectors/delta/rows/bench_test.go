package rows

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
)

var orders = schema.Schema{Fields: []schema.Field{
	{Name: "id", Type: schema.Of(schema.Long)},
	{Name: "customer", Type: schema.Of(schema.Long), Nullable: true},
	{Name: "status", Type: schema.Of(schema.String), Nullable: true},
	{Name: "email", Type: schema.Of(schema.String), Nullable: true},
	{Name: "amount", Type: schema.DecimalOf(12, 2), Nullable: true},
	{Name: "price", Type: schema.Of(schema.Double), Nullable: true},
	{Name: "quantity", Type: schema.Of(schema.Integer), Nullable: true},
	{Name: "created", Type: schema.Of(schema.Timestamp), Nullable: true},
	{Name: "note", Type: schema.Of(schema.String), Nullable: true},
}}

func orderRecords(from, to int64) []arrow.Record {
	var out []arrow.Record
	status := []string{"new", "paid", "shipped", "delivered", "returned"}
	r := rand.New(rand.NewPCG(uint64(from), 2))
	b := columnar.NewBuilder(orders)
	for i := from; i < to; i++ {
		b.AppendInt(0, i)
		b.AppendInt(1, r.Int64N(200_000))
		b.AppendString(2, status[r.IntN(5)])
		b.AppendString(3, "user"+strconv.Itoa(r.IntN(1_000_000))+"@example.com")
		b.AppendDecimal(4, decimal128.FromI64(r.Int64N(1_000_000)))
		b.AppendFloat(5, r.Float64()*100)
		b.AppendInt(6, r.Int64N(20))
		b.AppendInt(7, 1_700_000_000_000_000+i*1_000_003)
		if r.IntN(10) == 0 {
			b.AppendString(8, "please ring twice and leave the parcel with the neighbours")
		} else {
			b.AppendNull(8)
		}
		if b.Len() == 1<<16 || i == to-1 {
			out = append(out, b.NewRecord())
		}
	}
	return out
}

// benchRows is how many rows the tables of the benchmarks have: SLUICE_BENCH_ROWS, else a million.
func benchRows(tb testing.TB) int64 {
	n, err := strconv.ParseInt(os.Getenv("SLUICE_BENCH_ROWS"), 10, 64)
	if err != nil {
		n = 1_000_000
	}
	return n
}

// benchTable makes a table, under SLUICE_BENCH_DIR where that is set, so that others can read it too.
func benchTable(b *testing.B, name string, deleted float64) *delta.Snapshot {
	ctx := context.Background()
	dir := os.Getenv("SLUICE_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	bucket, err := file.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	if t, err := delta.Open(ctx, bucket, name); err == nil {
		return t.Cached()
	} else if !errors.Is(err, delta.ErrNotTable) {
		b.Fatal(err)
	}
	t, err := delta.Create(ctx, bucket, name, delta.CreateOptions{Schema: orders, Configuration: map[string]string{delta.PropEnableDVs: "true"}})
	if err != nil {
		b.Fatal(err)
	}
	s := t.Cached()
	c := t.NewCommit(s)
	const per = 1_000_000
	var adds []delta.Add
	for from := int64(0); from < benchRows(b); from += per {
		a, err := WriteFile(ctx, s, fmt.Sprintf("part-%05d.parquet", from/per), orders, each(orderRecords(from, min(from+per, benchRows(b)))), WriteOptions{})
		if err != nil {
			b.Fatal(err)
		}
		adds = append(adds, a)
		c.Append(a)
	}
	out := c.Do(ctx)
	if out.Kind != delta.Committed {
		b.Fatal(out.Err)
	}
	if deleted == 0 {
		return out.Snapshot
	}
	c = t.NewCommit(out.Snapshot)
	var vectors []*roaring64.Bitmap
	r := rand.New(rand.NewPCG(3, 4))
	for _, a := range adds {
		n, _ := a.NumRecords()
		v := roaring64.New()
		for range int(float64(n) * deleted) {
			v.Add(r.Uint64N(uint64(n)))
		}
		vectors = append(vectors, v)
	}
	ds, _, err := dv.Write(ctx, bucket, name, vectors)
	if err != nil {
		b.Fatal(err)
	}
	for i, a := range adds {
		f, _ := out.Snapshot.File(a.Path)
		c.SetDV(f, ds[i])
	}
	if out = c.Do(ctx); out.Kind != delta.Committed {
		b.Fatal(out.Err)
	}
	return out.Snapshot
}

func each(recs []arrow.Record) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name    string
		deleted float64
	}{{"plain", 0}, {"vectors", 0.05}} {
		b.Run(c.name, func(b *testing.B) {
			s := benchTable(b, c.name, c.deleted)
			b.ResetTimer()
			var n int64
			for b.Loop() {
				for batch, err := range Scan(context.Background(), s, Options{}) {
					if err != nil {
						b.Fatal(err)
					}
					n += batch.Record.NumRows()
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	recs := orderRecords(0, benchRows(b))
	bucket, err := file.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	t, err := delta.Create(context.Background(), bucket, "t", delta.CreateOptions{Schema: orders})
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		a, err := WriteFile(context.Background(), t.Cached(), fmt.Sprintf("f%d", i), orders, each(recs), WriteOptions{})
		if err != nil {
			b.Fatal(err)
		}
		c := t.NewCommit(t.Cached())
		c.Append(a)
		if out := c.Do(context.Background()); out.Kind != delta.Committed {
			b.Fatal(out.Err)
		}
	}
	b.ReportMetric(float64(benchRows(b)*int64(b.N))/b.Elapsed().Seconds(), "rows/s")
}
