package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// lines reads a file as text: a batch's memory is given back as soon as its rows are text.
func lines(t interface{ Fatal(...any) }, data []byte, s schema.Schema, o ReadOptions) []string {
	f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range f.Read(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.Record.NumRows()) {
			line, err := AppendCanonicalJSON(nil, b.Record, s, i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(line))
		}
		b.Done()
	}
	return out
}

// pick leaves of what Read gives what Select wants.
func pick(all []string, keep func(row int64) bool) (out []string) {
	for i, l := range all {
		if keep(int64(i)) {
			out = append(out, l)
		}
	}
	return out
}

// runsOf is a Select of the rows that keep wants.
func runsOf(keep func(row int64) bool) func(int64, int) []Run {
	return func(first int64, n int) (runs []Run) {
		for i := range n {
			switch last := len(runs) - 1; {
			case !keep(first + int64(i)):
			case last >= 0 && runs[last].To == i:
				runs[last].To++
			default:
				runs = append(runs, Run{i, i + 1})
			}
		}
		return runs
	}
}

func sameLines(t interface {
	Fatalf(string, ...any)
}, what string, want, got []string) {
	if len(want) != len(got) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range want {
		if want[i] != got[i] {
			t.Fatalf("%s: row %d is %s, want %s", what, i, got[i], want[i])
		}
	}
}

// TestLanes reads files column by column at the same time, in memory that is used again, and of some rows only: the rows are those of a
// plain read.
func TestLanes(t *testing.T) {
	t.Parallel()
	rec := benchRecord(2400)
	for _, o := range []WriterOptions{{}, {PageRows: 700, RowGroupRows: 1000}, {PageRows: 1 << 14, RowGroupRows: 2048, NoDictionary: true, Compression: "zstd"}} {
		var buf bytes.Buffer
		w, err := NewWriter(&buf, benchSchema, o)
		if err == nil {
			err = w.Write(rec)
		}
		if err == nil {
			_, err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		all := lines(t, buf.Bytes(), benchSchema, ReadOptions{})
		r := rand.New(rand.NewPCG(7, 8))
		some := make([]bool, len(all))
		for i := range some {
			some[i] = r.IntN(20) > 0 && (i < 800 || i > 1700)
		}
		keeps := map[string]func(int64) bool{
			"all": func(int64) bool { return true }, "none": func(int64) bool { return false }, "a run": func(i int64) bool { return i > 900 && i < 2000 },
			"some": func(i int64) bool { return some[i] },
		}
		for name, keep := range keeps {
			for _, rows := range []int{0, 333} {
				for _, slots := range []chan struct{}{nil, make(chan struct{}, 1), make(chan struct{}, 3)} {
					for _, pool := range []*parquet.Pool{nil, {}} {
						o := ReadOptions{BatchRows: rows, Select: runsOf(keep), Slots: slots, Pool: pool, Block: 8 << 10}
						what := fmt.Sprintf("%s, batches of %d, %d slots, pool %v", name, rows, cap(slots), pool != nil)
						sameLines(t, what, pick(all, keep), lines(t, buf.Bytes(), benchSchema, o))
					}
				}
			}
		}
	}
}

// TestLanesOfAnySchema does the same with nested columns, nulls, and columns that are asked for twice.
func TestLanesOfAnySchema(t *testing.T) {
	t.Parallel()
	pool := &parquet.Pool{}
	rapid.Check(t, func(t *rapid.T) {
		s := schema.Schema{Fields: genFields(t, 2, 5)}
		rows := make([][]connectors.Value, rapid.IntRange(1, 40).Draw(t, "rows"))
		for i := range rows {
			for _, f := range s.Fields {
				rows[i] = append(rows[i], genValue(t, f.Type, f.Nullable))
			}
		}
		wo := WriterOptions{PageRows: rapid.SampledFrom([]int{3, 10, 0}).Draw(t, "page"), RowGroupRows: int64(rapid.SampledFrom([]int{17, 0}).Draw(t, "group"))}
		data, _ := writeAll(t, s, fill(t, s, rows, 1000), wo)
		kept := rapid.SliceOfN(rapid.Bool(), len(rows), len(rows)).Draw(t, "kept")
		keep := func(i int64) bool { return kept[i] }
		o := ReadOptions{BatchRows: rapid.SampledFrom([]int{1, 4, 0}).Draw(t, "batch"), Slots: make(chan struct{}, 2), Pool: pool, Select: runsOf(keep)}
		sameLines(t, "rows", pick(lines(t, data, s, ReadOptions{}), keep), lines(t, data, s, o))
	})
}

// TestLanesStop ends reads early, by the reader, by its context and by damage: nothing goes on behind them.
func TestLanesStop(t *testing.T) {
	t.Parallel()
	s := benchSchema
	data, _ := writeAll(t, s, []arrow.Record{benchRecord(3000)}, WriterOptions{PageRows: 100})
	f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 2)
	o := ReadOptions{BatchRows: 100, Slots: slots, Pool: &parquet.Pool{}}
	for range f.Read(context.Background(), o) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, err := range f.Read(ctx, o) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("%v after the context ended", last)
	}
	bad := bytes.Clone(data)
	for i := len(bad) / 3; i < len(bad)/3+2000; i++ {
		bad[i] ^= 0x55
	}
	if f, err = OpenFile(context.Background(), bytes.NewReader(bad), int64(len(bad))); err != nil {
		t.Fatal(err)
	}
	for _, err = range f.Read(context.Background(), o) {
	}
	if !errors.Is(err, parquet.ErrCorrupt) {
		t.Errorf("%v of a damaged file", err)
	}
	if len(slots) != 0 {
		t.Errorf("%d lanes go on", len(slots))
	}
}
