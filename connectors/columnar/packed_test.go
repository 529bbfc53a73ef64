package columnar

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"
	arrowparquet "github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// packedRows are n rows of a long, an int and a nullable long whose differences have at most width bits.
func packedRows(n, width int, overflow bool) [][]connectors.Value {
	r := rand.New(rand.NewPCG(1, uint64(width)))
	rows := make([][]connectors.Value, n)
	long, short := int64(0), int32(0)
	for i := range rows {
		if width > 0 {
			long += int64(r.Uint64()>>(64-width)) - int64(uint64(1)<<width>>2)
			short += int32(r.Uint32() >> (32 - min(width, 32)))
		} else {
			long, short = long+7, short-3
		}
		if overflow {
			long, short = math.MaxInt64-int64(i%3), math.MaxInt32-int32(i%3)
			if i%2 == 0 {
				long, short = math.MinInt64+int64(i%4), math.MinInt32+int32(i%4)
			}
		}
		null := connectors.NullValue()
		if i%5 != 2 {
			null = connectors.Int(schema.Long, long)
		}
		rows[i] = []connectors.Value{connectors.Int(schema.Long, long), connectors.Int(schema.Integer, int64(short)), null}
	}
	return rows
}

func packedSchema() schema.Schema {
	return schema.Schema{Fields: []schema.Field{{Name: "long", Type: schema.Of(schema.Long)}, {Name: "int", Type: schema.Of(schema.Integer)},
		{Name: "null", Type: schema.Of(schema.Long), Nullable: true}}}
}

// TestPackedIntegers writes numbers whose differences have every width, and reads them in batches of several sizes, row by row, and with Arrow's
// own reader.
func TestPackedIntegers(t *testing.T) {
	t.Parallel()
	s := packedSchema()
	for width := range 65 {
		for _, n := range []int{31, 33, 129, 1000} {
			rows := packedRows(n, width, width == 64)
			data, _ := writeAll(t, s, fill(t, s, rows, n), WriterOptions{NoDictionary: true, PageRows: 300})
			for _, batch := range []int{1, 50, 0} {
				mustEqual(t, rows, readRows(t, data, s, ReadOptions{BatchRows: batch}))
			}
			f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			at := []int64{0, int64(n) / 3, int64(n) - 1}
			rec, err := f.ReadRowsAt(context.Background(), ReadOptions{}, at)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, [][]connectors.Value{rows[at[0]], rows[at[1]], rows[at[2]]}, rowsOf(rec, s))
			table, err := pqarrow.ReadTable(context.Background(), bytes.NewReader(data), arrowparquet.NewReaderProperties(memory.DefaultAllocator), pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
			if err != nil {
				t.Fatalf("width %d: %v", width, err)
			}
			for c := range s.Fields {
				k := 0
				for _, part := range table.Column(c).Data().Chunks() {
					for i := range part.Len() {
						if got := ValueAt(part, s.Fields[c].Type, i); !got.Equal(rows[k][c]) {
							t.Fatalf("width %d row %d column %d: Arrow reads %+v, want %+v", width, k, c, got, rows[k][c])
						}
						k++
					}
				}
			}
		}
	}
}

// TestChosenEncodings tells what the writer makes of columns: packed where that is smaller, uncompressed where compressing does not help,
// no dictionary where nearly every value is new.
func TestChosenEncodings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	str := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	random := func() int64 { return int64(r.Uint64()) }
	type made = func(i int) connectors.Value
	for _, c := range []struct {
		name  string
		rows  int
		value made
		o     WriterOptions
		want  string
	}{
		{"ascending", 5000, func(i int) connectors.Value { return connectors.Int(schema.Long, int64(i)) }, WriterOptions{}, "snappy [DELTA_BINARY_PACKED]"},
		{"ascending, few", 40, func(i int) connectors.Value { return connectors.Int(schema.Long, int64(i)) }, WriterOptions{}, "snappy [DELTA_BINARY_PACKED]"},
		{"ascending, not packed", 5000, func(i int) connectors.Value { return connectors.Int(schema.Long, int64(i)) }, WriterOptions{NoPacking: true}, "snappy [PLAIN]"},
		{"random", 5000, func(int) connectors.Value { return connectors.Int(schema.Long, random()) }, WriterOptions{}, "uncompressed [PLAIN]"},
		{"random, zstd", 5000, func(int) connectors.Value { return connectors.Int(schema.Long, random()) }, WriterOptions{Compression: "zstd"}, "uncompressed [PLAIN]"},
		{"one", 1, func(int) connectors.Value { return connectors.Int(schema.Long, random()) }, WriterOptions{}, "snappy [PLAIN]"},
		{"few values", 5000, func(i int) connectors.Value { return connectors.Int(schema.Long, int64(i*i%10)) }, WriterOptions{}, "snappy [PLAIN_DICTIONARY]"},
		{"text", 5000, func(i int) connectors.Value { return connectors.Text(fmt.Sprintf("customer %d", i)) }, WriterOptions{}, "snappy [PLAIN]"},
		{"random text", 5000, func(int) connectors.Value { return connectors.Text(str(40)) }, WriterOptions{}, "uncompressed [PLAIN]"},
		{"random text, few", 20, func(int) connectors.Value { return connectors.Text(str(40)) }, WriterOptions{}, "snappy [PLAIN]"},
	} {
		rows := make([][]connectors.Value, c.rows)
		for i := range rows {
			rows[i] = []connectors.Value{c.value(i)}
		}
		kind := schema.Long
		if rows[0][0].Kind == schema.String {
			kind = schema.Binary
			for i := range rows {
				rows[i][0] = connectors.Bytes(rows[i][0].Str)
			}
		}
		s := schema.Schema{Fields: []schema.Field{{Name: "c", Type: schema.Of(kind)}}}
		data, _ := writeAll(t, s, fill(t, s, rows, 1000), c.o)
		mustEqual(t, rows, readRows(t, data, s, ReadOptions{}))
		f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		chunk := f.Meta().RowGroups[0].Columns[0]
		theirs, err := file.NewParquetReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		column, err := theirs.MetaData().RowGroup(0).ColumnChunk(0)
		if err != nil {
			t.Fatal(err)
		}
		encodings := slices.DeleteFunc(slices.Clone(column.Encodings()), func(e arrowparquet.Encoding) bool { return e == arrowparquet.Encodings.RLE })
		if got := fmt.Sprint(chunk.Codec, " ", encodings); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestPrefixedTexts writes texts that begin like the one before, some of them null, and reads them in batches of several sizes, row by row, and with
// Arrow's own reader. Where compressed texts take less they stay plain, as for readers of old encodings.
func TestPrefixedTexts(t *testing.T) {
	t.Parallel()
	s := schema.Schema{Fields: []schema.Field{{Name: "c", Type: schema.Of(schema.String), Nullable: true}}}
	null := connectors.NullValue()
	for _, c := range []struct {
		name string
		text func(i int) connectors.Value
		o    WriterOptions
		want string
	}{
		{"names", func(i int) connectors.Value { return connectors.Text(fmt.Sprint("customer ", i*7919%1000003)) }, WriterOptions{}, "uncompressed [DELTA_BYTE_ARRAY]"},
		{"names, some null", func(i int) connectors.Value {
			if i%7 == 3 || i/500 == 3 {
				return null
			}
			return connectors.Text(fmt.Sprint("customer ", i*7919%1000003))
		}, WriterOptions{}, "uncompressed [DELTA_BYTE_ARRAY PLAIN]"},
		{"long names", func(i int) connectors.Value {
			return connectors.Text(fmt.Sprintf("https://example.com/customers/%x", i*7919*104729%(1<<40)))
		}, WriterOptions{},
			"uncompressed [DELTA_BYTE_ARRAY]"},
		{"names for old readers", func(i int) connectors.Value { return connectors.Text(fmt.Sprint("customer ", i*7919%1000003)) }, WriterOptions{NoPacking: true}, "snappy [PLAIN]"},
		{"same text behind a number", func(i int) connectors.Value {
			return connectors.Text(fmt.Sprint(i*7919%1000003, " is the number of a customer"))
		}, WriterOptions{}, "snappy [PLAIN]"},
		{"a prefix, and the same text behind a number", func(i int) connectors.Value {
			return connectors.Text(fmt.Sprint("number: ", i*7919%1000003, " is the number of a customer, and nothing else"))
		}, WriterOptions{}, "snappy [PLAIN]"},
	} {
		rows := make([][]connectors.Value, 5000)
		for i := range rows {
			rows[i] = []connectors.Value{c.text(i)}
		}
		c.o.PageRows, c.o.NoDictionary = 500, true
		data, _ := writeAll(t, s, fill(t, s, rows, 1000), c.o)
		for _, batch := range []int{1, 300, 0} {
			mustEqual(t, rows, readRows(t, data, s, ReadOptions{BatchRows: batch}))
		}
		f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := f.ReadRowsAt(context.Background(), ReadOptions{}, []int64{1, 700, 4321})
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, [][]connectors.Value{rows[1], rows[700], rows[4321]}, rowsOf(rec, s))
		theirs, err := file.NewParquetReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		column, err := theirs.MetaData().RowGroup(0).ColumnChunk(0)
		if err != nil {
			t.Fatal(err)
		}
		encodings := slices.DeleteFunc(slices.Clone(column.Encodings()), func(e arrowparquet.Encoding) bool { return e == arrowparquet.Encodings.RLE })
		if got := fmt.Sprint(f.Meta().RowGroups[0].Columns[0].Codec, " ", encodings); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		table, err := pqarrow.ReadTable(context.Background(), bytes.NewReader(data), arrowparquet.NewReaderProperties(memory.DefaultAllocator), pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		k := 0
		for _, part := range table.Column(0).Data().Chunks() {
			for i := range part.Len() {
				if got := ValueAt(part, s.Fields[0].Type, i); !got.Equal(rows[k][0]) {
					t.Fatalf("%s, row %d: Arrow reads %+v, want %+v", c.name, k, got, rows[k][0])
				}
				k++
			}
		}
	}
}
