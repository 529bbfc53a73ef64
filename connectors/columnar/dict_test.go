package columnar

import (
	"math/rand/v2"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Among the first values of a column of many, nearly all are new; that each will come often is seen from how few are not. Who does not know how many rows
// come has plain values; so has a column whose values are all different.
func TestDictionaryOfManyValues(t *testing.T) {
	t.Parallel()
	const n, distinct = 200_000, 10_000
	s := schema.Schema{Fields: []schema.Field{{Name: "often", Type: schema.Of(schema.Long)}, {Name: "once", Type: schema.Of(schema.Long)}, {Name: "text", Type: schema.Of(schema.String)}}}
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]string, distinct)
	for i := range words {
		b := make([]byte, 12)
		for k := range b {
			b[k] = byte('a' + rng.IntN(26))
		}
		words[i] = string(b)
	}
	rows := make([][]connectors.Value, n)
	for i := range rows {
		rows[i] = []connectors.Value{connectors.Int(schema.Long, rng.Int64N(distinct)*0x7fffffffff), connectors.Int(schema.Long, rng.Int64()),
			connectors.Text(words[rng.IntN(distinct)])}
	}
	recs := fill(t, s, rows, 5000)
	write := func(o WriterOptions) []byte {
		data, st := writeAll(t, s, recs, o)
		if st.NumRecords != n {
			t.Fatalf("%d rows", st.NumRecords)
		}
		mustEqual(t, rows, readRows(t, data, s, ReadOptions{Target: &s}))
		return data
	}
	plain, blind, told := write(WriterOptions{NoDictionary: true}), write(WriterOptions{}), write(WriterOptions{ExpectedRows: n})
	if len(blind) < len(plain)*98/100 {
		t.Errorf("%d bytes without a word of how many rows come, %d without dictionaries", len(blind), len(plain))
	}
	// 14 bits instead of 8 and of some 14 bytes, in two of three columns.
	if len(told) > len(plain)*6/10 {
		t.Errorf("%d bytes, %d without dictionaries", len(told), len(plain))
	}
	// Too few rows for so many values.
	if few := write(WriterOptions{ExpectedRows: 4 * distinct}); len(few) < len(plain)*98/100 {
		t.Errorf("%d bytes of few rows, %d without dictionaries", len(few), len(plain))
	}
}
