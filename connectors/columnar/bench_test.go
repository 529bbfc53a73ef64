package columnar

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"sluice.io/sluice/connectors/schema"
)

// benchSchema is about a row of an orders table.
var benchSchema = schema.Schema{Fields: []schema.Field{
	{Name: "id", Type: schema.Of(schema.Long)},
	{Name: "customer", Type: schema.Of(schema.Long), Nullable: true},
	{Name: "status", Type: schema.Of(schema.String), Nullable: true},
	{Name: "email", Type: schema.Of(schema.String), Nullable: true},
	{Name: "amount", Type: schema.DecimalOf(12, 2), Nullable: true},
	{Name: "price", Type: schema.Of(schema.Double), Nullable: true},
	{Name: "quantity", Type: schema.Of(schema.Integer), Nullable: true},
	{Name: "created", Type: schema.Of(schema.Timestamp), Nullable: true},
	{Name: "day", Type: schema.Of(schema.Date), Nullable: true},
	{Name: "open", Type: schema.Of(schema.Boolean), Nullable: true},
	{Name: "note", Type: schema.Of(schema.String), Nullable: true},
}}

func benchRecord(rows int) arrow.Record {
	b := NewBuilder(benchSchema)
	r := rand.New(rand.NewPCG(1, 2))
	status := []string{"new", "paid", "shipped", "delivered", "returned"}
	for i := range rows {
		b.AppendInt(0, int64(i))
		b.AppendInt(1, r.Int64N(200_000))
		b.AppendString(2, status[r.IntN(5)])
		b.AppendString(3, fmt.Sprintf("user%d@example.com", r.IntN(1_000_000)))
		b.AppendDecimal(4, pow10[0].Mul(numBE([]byte{byte(r.IntN(100)), byte(r.IntN(256)), byte(r.IntN(256))})))
		b.AppendFloat(5, r.Float64()*100)
		b.AppendInt(6, r.Int64N(20))
		b.AppendInt(7, 1_700_000_000_000_000+int64(i)*1_000_003)
		b.AppendInt(8, 19_000+r.Int64N(700))
		b.AppendBool(9, r.IntN(2) == 0)
		if r.IntN(10) == 0 {
			b.AppendString(10, "please ring twice and leave the parcel with the neighbours")
		} else {
			b.AppendNull(10)
		}
	}
	return b.NewRecord()
}

const benchRows = 200_000

func BenchmarkBuilder(b *testing.B) {
	src := benchRecord(1000)
	rows := rowsOf(src, benchSchema)
	bl := NewBuilder(benchSchema)
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range rows {
			for c, v := range r {
				if err := bl.Append(c, v); err != nil {
					b.Fatal(err)
				}
			}
		}
		bl.NewRecord()
	}
	b.ReportMetric(float64(b.N*len(rows))/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkWrite(b *testing.B) {
	rec := benchRecord(benchRows)
	b.Run("sluice", func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for b.Loop() {
			data, _ := writeAll(b, benchSchema, []arrow.Record{rec}, WriterOptions{})
			size = len(data)
		}
		b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(size)/benchRows, "B/row")
	})
	b.Run("pqarrow", func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for b.Loop() {
			size = len(writeArrow(b, rec))
		}
		b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(size)/benchRows, "B/row")
	})
}

func writeArrow(b *testing.B, rec arrow.Record) []byte {
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithStoreDecimalAsInteger(true)), pqarrow.DefaultWriterProps())
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

func BenchmarkRead(b *testing.B) {
	rec := benchRecord(benchRows)
	data, _ := writeAll(b, benchSchema, []arrow.Record{rec}, WriterOptions{})
	b.Run("sluice", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range f.Read(context.Background(), ReadOptions{Target: &benchSchema}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("pqarrow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := file.NewParquetReader(bytes.NewReader(data))
			if err != nil {
				b.Fatal(err)
			}
			ar, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: DefaultBatchRows}, memory.DefaultAllocator)
			if err != nil {
				b.Fatal(err)
			}
			rr, err := ar.GetRecordReader(context.Background(), nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			for rr.Next() {
			}
			if rr.Err() != nil && rr.Err().Error() != "EOF" {
				b.Fatal(rr.Err())
			}
		}
		b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
	})
	for _, f := range benchSchema.Fields {
		b.Run("column/"+f.Name, func(b *testing.B) {
			for b.Loop() {
				fl, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range fl.Read(context.Background(), ReadOptions{Columns: []string{f.Name}}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N*benchRows), "ns/value")
		})
	}
}

func BenchmarkPointRead(b *testing.B) {
	rec := benchRecord(benchRows)
	data, _ := writeAll(b, benchSchema, []arrow.Record{rec}, WriterOptions{})
	rows := []int64{7, 50_000, 50_001, 120_000, 199_999}
	f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.ReadRowsAt(context.Background(), ReadOptions{}, rows); err != nil {
			b.Fatal(err)
		}
	}
}
