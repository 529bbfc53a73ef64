package columnar

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// fill builds records of rows of at most per rows each.
func fill(t interface{ Fatal(...any) }, s schema.Schema, rows [][]connectors.Value, per int) []arrow.Record {
	b := NewBuilder(s)
	var out []arrow.Record
	for i, r := range rows {
		for c, v := range r {
			if err := b.Append(c, v); err != nil {
				t.Fatal(err)
			}
		}
		if b.Len() == per || i == len(rows)-1 {
			out = append(out, b.NewRecord())
		}
	}
	return out
}

func writeAll(t interface{ Fatal(...any) }, s schema.Schema, recs []arrow.Record, o WriterOptions) ([]byte, FileStats) {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, s, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	st, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), st
}

func readRows(t interface{ Fatal(...any) }, data []byte, s schema.Schema, o ReadOptions) [][]connectors.Value {
	f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]connectors.Value
	for b, err := range f.Read(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		if b.FirstRow != int64(len(out)) {
			t.Fatal(fmt.Sprintf("batch begins at %d after %d rows", b.FirstRow, len(out)))
		}
		out = append(out, rowsOf(b.Record, s)...)
	}
	return out
}

func rowsOf(rec arrow.Record, s schema.Schema) [][]connectors.Value {
	out := make([][]connectors.Value, rec.NumRows())
	for i := range out {
		for c, f := range s.Fields {
			out[i] = append(out[i], ValueAt(rec.Column(c), f.Type, i))
		}
	}
	return out
}

func mustEqual(t interface{ Fatalf(string, ...any) }, want, got [][]connectors.Value) {
	if len(want) != len(got) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		for c := range want[i] {
			if !want[i][c].Equal(got[i][c]) {
				t.Fatalf("row %d column %d: %+v, want %+v", i, c, got[i][c], want[i][c])
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := schema.Schema{Fields: genFields(t, 3, 4)}
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		// Few distinct rows, often repeated, so that dictionaries and runs happen.
		distinct := make([][]connectors.Value, rapid.IntRange(1, 12).Draw(t, "distinct"))
		for i := range distinct {
			for _, f := range s.Fields {
				distinct[i] = append(distinct[i], genValue(t, f.Type, f.Nullable))
			}
		}
		rows := make([][]connectors.Value, n)
		for i := range rows {
			rows[i] = distinct[rapid.IntRange(0, len(distinct)-1).Draw(t, "row")]
		}
		recs := fill(t, s, rows, rapid.SampledFrom([]int{1, 7, 1000}).Draw(t, "per"))
		o := WriterOptions{
			Compression:  rapid.SampledFrom([]string{"snappy", "zstd", "gzip", "lz4_raw", "none"}).Draw(t, "codec"),
			PageRows:     rapid.SampledFrom([]int{1, 3, 10, 0}).Draw(t, "page"),
			RowGroupRows: int64(rapid.SampledFrom([]int{5, 17, 0}).Draw(t, "group")),
			NoDictionary: rapid.Bool().Draw(t, "nodict"),
		}
		data, st := writeAll(t, s, recs, o)
		if st.NumRecords != int64(n) {
			t.Fatalf("stats of %d rows, want %d", st.NumRecords, n)
		}
		checkStats(t, st, s, rows)
		ro := ReadOptions{BatchRows: rapid.SampledFrom([]int{1, 4, 0}).Draw(t, "batch"), Target: &s, Block: rapid.SampledFrom([]int{1, 100, 0}).Draw(t, "block")}
		mustEqual(t, rows, readRows(t, data, s, ro))

		// Single rows.
		var at []int64
		for i := range n {
			if rapid.IntRange(0, 3).Draw(t, "pick") == 0 {
				at = append(at, int64(i))
			}
		}
		f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := f.ReadRowsAt(context.Background(), ro, at)
		if err != nil {
			t.Fatal(err)
		}
		var want [][]connectors.Value
		for _, i := range at {
			want = append(want, rows[i])
		}
		mustEqual(t, want, rowsOf(rec, s))
		checkSelect(t, recs, s)

		own, err := f.Schema()
		if err != nil {
			t.Fatal(err)
		}
		if !own.Equal(s) {
			t.Fatalf("schema of the file %s, want %s", own, s)
		}
		if o.Compression != "lz4_raw" { // which arrow/go does not know
			compareWithArrow(t, data, s, rows)
		}
	})
}

// checkStats recomputes the statistics of top-level columns.
func checkStats(t *rapid.T, st FileStats, s schema.Schema, rows [][]connectors.Value) {
	if len(st.Columns) == 0 {
		return
	}
	for c, f := range s.Fields {
		if f.Type.Kind == schema.Struct {
			continue
		}
		nulls := int64(0)
		for _, r := range rows {
			if r[c].State != connectors.Present {
				nulls++
			}
		}
		for _, cs := range st.Columns {
			if cs.Name == f.Name && cs.NullCount != nulls {
				t.Fatalf("column %s has %d nulls, statistics say %d", f.Name, nulls, cs.NullCount)
			}
		}
	}
}

func checkSelect(t *rapid.T, recs []arrow.Record, s schema.Schema) {
	for _, rec := range recs {
		var runs []Run
		for i := 0; i < int(rec.NumRows()); i += 3 {
			runs = append(runs, Run{i, min(i+2, int(rec.NumRows()))})
		}
		if len(runs) < 2 {
			continue
		}
		got, err := Select(rec, runs)
		if err != nil {
			t.Fatal(err)
		}
		all := rowsOf(rec, s)
		var want [][]connectors.Value
		for _, r := range runs {
			want = append(want, all[r.From:r.To]...)
		}
		mustEqual(t, want, rowsOf(got, s))
	}
}

// compareWithArrow reads our file with arrow/go's reader.
func compareWithArrow(t *rapid.T, data []byte, s schema.Schema, want [][]connectors.Value) {
	r, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	ar, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		return
	}
	table, err := ar.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tr := array.NewTableReader(table, 1<<20)
	var got [][]connectors.Value
	for tr.Next() {
		got = append(got, rowsOf(tr.Record(), s)...)
	}
	mustEqual(t, want, got)
}

// TestReadArrowFiles reads files of arrow/go's writer in its versions of pages and encodings.
func TestReadArrowFiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := schema.Schema{Fields: genFields(t, 1, 3)}
		// pqarrow makes list elements nullable, and its page v2 writer does not do nested columns in small batches.
		rows := make([][]connectors.Value, rapid.IntRange(1, 60).Draw(t, "rows"))
		for i := range rows {
			for _, f := range s.Fields {
				rows[i] = append(rows[i], genValue(t, f.Type, f.Nullable))
			}
		}
		rec := fill(t, s, rows, 1000)[0]
		props := []parquet.WriterProperty{parquet.WithCompression(rapid.SampledFrom([]compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Brotli, compress.Codecs.Gzip, compress.Codecs.Uncompressed}).Draw(t, "codec")),
			parquet.WithDataPageVersion(rapid.SampledFrom([]parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2}).Draw(t, "version")),
			parquet.WithDictionaryDefault(rapid.Bool().Draw(t, "dict")), parquet.WithStoreDecimalAsInteger(rapid.Bool().Draw(t, "decimal as integer"))}
		for i, f := range s.Fields {
			name := fmt.Sprintf("c%d", i)
			switch f.Type.Kind {
			case schema.Integer, schema.Long:
				if rapid.Bool().Draw(t, "delta") {
					props = append(props, parquet.WithDictionaryFor(name, false), parquet.WithEncodingFor(name, parquet.Encodings.DeltaBinaryPacked))
				}
			case schema.String, schema.Binary:
				if e := rapid.SampledFrom([]parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.DeltaByteArray, parquet.Encodings.DeltaLengthByteArray}).Draw(t, "delta"); e != parquet.Encodings.Plain {
					props = append(props, parquet.WithDictionaryFor(name, false), parquet.WithEncodingFor(name, e))
				}
			case schema.Boolean:
				if rapid.Bool().Draw(t, "rle") {
					props = append(props, parquet.WithEncodingFor(name, parquet.Encodings.RLE))
				}
			}
		}
		var buf bytes.Buffer
		w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, rows, readRows(t, buf.Bytes(), s, ReadOptions{Target: &s, BatchRows: rapid.SampledFrom([]int{1, 4, 0}).Draw(t, "batch")}))
	})
}

// TestParallelColumns: a file is the same whether its columns are encoded one after another or side by side.
func TestParallelColumns(t *testing.T) {
	t.Parallel()
	long := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Of(schema.Long), Nullable: true}
	}
	sc := schema.Schema{Fields: []schema.Field{long("a"), {Name: "st", Nullable: true, Type: schema.StructOf(long("x"), long("y"))}, long("b"),
		{Name: "s", Type: schema.Of(schema.String)}}}
	b := NewBuilder(sc)
	for i := range 3 * minParallel {
		b.AppendInt(0, int64(i))
		if err := b.Append(1, connectors.Nested(schema.Struct, []connectors.Value{connectors.Int(schema.Long, int64(i%7)), connectors.NullValue()})); err != nil {
			t.Fatal(err)
		}
		b.AppendInt(2, int64(i*i))
		b.AppendString(3, strconv.Itoa(i%1000))
	}
	rec := b.NewRecord()
	write := func(parallel int) ([]byte, FileStats) {
		var out bytes.Buffer
		w, err := NewWriter(&out, sc, WriterOptions{Parallel: parallel})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		stats, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		return out.Bytes(), stats
	}
	one, oneStats := write(0)
	many, manyStats := write(3)
	if !bytes.Equal(one, many) || string(oneStats.JSON(true)) != string(manyStats.JSON(true)) {
		t.Errorf("%d and %d bytes\n%s\n%s", len(one), len(many), oneStats.JSON(true), manyStats.JSON(true))
	}
}
