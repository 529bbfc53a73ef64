package columnar

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// FuzzOpenFile reads arbitrary bytes as a file: an error, never a panic, and no more memory than the bytes can account for.
func FuzzOpenFile(f *testing.F) {
	seeds, err := filepath.Glob("testdata/parquet/*.parquet")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(fuzzSeed(f, WriterOptions{}))
	f.Add(fuzzSeed(f, WriterOptions{Compression: "none", PageRows: 3}))
	f.Add(fuzzSeed(f, WriterOptions{Compression: "zstd", NoDictionary: true}))
	f.Add(packedSeed(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		readAny(t, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20+uint64(len(b))<<14 {
			t.Fatalf("%d bytes asked for, for a file of %d", n, len(b))
		}
	})
}

func readAny(t *testing.T, b []byte) {
	file, err := OpenFile(context.Background(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		checkError(t, err)
		return
	}
	s, err := file.Schema()
	if err != nil {
		checkError(t, err)
		return
	}
	n := 0
	for batch, err := range file.Read(context.Background(), ReadOptions{BatchRows: 64}) {
		if err != nil {
			checkError(t, err)
			return
		}
		for i := range int(batch.Record.NumRows()) {
			if _, err := AppendCanonicalJSON(nil, batch.Record, s, i); err != nil {
				t.Fatal(err)
			}
		}
		if n++; n > 20 {
			return
		}
	}
}

func checkError(t *testing.T, err error) {
	if !errors.Is(err, parquet.ErrCorrupt) && !errors.Is(err, parquet.ErrUnsupported) && !errors.Is(err, ErrType) && err.Error() == "" {
		t.Fatal(err)
	}
}

// fuzzSeed is a file with a column of each kind.
func fuzzSeed(tb interface{ Fatal(...any) }, o WriterOptions) []byte {
	s := schema.Schema{Fields: []schema.Field{
		{Name: "i", Type: schema.Of(schema.Integer), Nullable: true}, {Name: "l", Type: schema.Of(schema.Long)},
		{Name: "s", Type: schema.Of(schema.String), Nullable: true}, {Name: "b", Type: schema.Of(schema.Boolean), Nullable: true},
		{Name: "d", Type: schema.DecimalOf(30, 3), Nullable: true},
		{Name: "a", Type: schema.ArrayOf(schema.StructOf(schema.Field{Name: "x", Type: schema.Of(schema.Double), Nullable: true})), Nullable: true},
		{Name: "m", Type: schema.MapOf(schema.Of(schema.String), schema.Of(schema.Timestamp)), Nullable: true},
	}}
	var rows [][]connectors.Value
	for i := range 10 {
		x := connectors.Nested(schema.Struct, []connectors.Value{connectors.Float(float64(i))})
		rows = append(rows, []connectors.Value{connectors.Int(schema.Integer, int64(i)), connectors.Int(schema.Long, int64(i%3)), connectors.Text("text"), connectors.Bool(i%2 == 0),
			connectors.Dec("\x01\x02", 3), connectors.Nested(schema.Array, []connectors.Value{x, connectors.NullValue()}),
			connectors.Nested(schema.Map, []connectors.Value{connectors.Text("k"), connectors.Int(schema.Timestamp, int64(i))})})
		if i%4 == 3 {
			for c := range rows[i] {
				if c != 1 {
					rows[i][c] = connectors.NullValue()
				}
			}
		}
	}
	data, _ := writeAll(tb, s, fill(tb, s, rows, 100), o)
	return data
}

// packedSeed is a file of packed integers.
func packedSeed(tb interface{ Fatal(...any) }) []byte {
	s := packedSchema()
	data, _ := writeAll(tb, s, fill(tb, s, packedRows(64, 9, false), 64), WriterOptions{NoDictionary: true, PageRows: 50})
	return data
}

// TestDamagedFiles flips each byte of small files: they are read, or refused, and never panic.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	files := [][]byte{packedSeed(t)}
	for _, o := range []WriterOptions{{}, {Compression: "none", PageRows: 3}, {Compression: "zstd", NoDictionary: true}, {Compression: "gzip"}} {
		files = append(files, fuzzSeed(t, o))
	}
	for _, data := range files {
		for i := range data {
			for _, x := range []byte{0x01, 0x80, 0xff} {
				bad := bytes.Clone(data)
				bad[i] ^= x
				readAny(t, bad)
			}
		}
		for n := range data {
			readAny(t, data[:n])
		}
	}
}
