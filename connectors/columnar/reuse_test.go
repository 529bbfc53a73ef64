package columnar

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// TestMemoryIsReused writes file after file in the memory of the one before, some of other columns: each has the bytes that it
// would have alone.
func TestMemoryIsReused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var mem Buffers
		schemas := []schema.Schema{{Fields: genFields(t, 2, 4)}, {Fields: genFields(t, 2, 4)}}
		builders := []*Builder{NewBuilder(schemas[0]), NewBuilder(schemas[1])}
		for range rapid.IntRange(2, 5).Draw(t, "files") {
			k := rapid.IntRange(0, 1).Draw(t, "schema")
			s, b := schemas[k], builders[k]
			o := WriterOptions{
				PageRows:     rapid.SampledFrom([]int{3, 10, 0}).Draw(t, "page"),
				RowGroupRows: int64(rapid.SampledFrom([]int{17, 0}).Draw(t, "group")),
				NoDictionary: rapid.Bool().Draw(t, "nodict"),
			}
			distinct := make([][]connectors.Value, rapid.IntRange(1, 12).Draw(t, "distinct"))
			for i := range distinct {
				for _, f := range s.Fields {
					distinct[i] = append(distinct[i], genValue(t, f.Type, f.Nullable))
				}
			}
			rows := make([][]connectors.Value, rapid.IntRange(1, 40).Draw(t, "rows"))
			for i := range rows {
				rows[i] = distinct[rapid.IntRange(0, len(distinct)-1).Draw(t, "row")]
			}
			per := rapid.SampledFrom([]int{1, 7, 1000}).Draw(t, "per")
			want, _ := writeAll(t, s, fill(t, s, rows, per), o)

			var buf bytes.Buffer
			o.Buffers = &mem
			w, err := NewWriter(&buf, s, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range rows {
				for c, v := range r {
					if err := b.Append(c, v); err != nil {
						t.Fatal(err)
					}
				}
				if b.Len() < per && i < len(rows)-1 {
					continue
				}
				rec := b.View()
				mustEqual(t, rows[i+1-b.Len():i+1], rowsOf(rec, s))
				if err := w.Write(rec); err != nil {
					t.Fatal(err)
				}
				rec.Release()
				b.Reset()
			}
			if _, err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, buf.Bytes()) {
				t.Fatalf("a file of %d rows in used memory has other bytes than alone", len(rows))
			}
		}
	})
}
