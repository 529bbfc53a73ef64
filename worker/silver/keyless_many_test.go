package silver_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/store/mem"
)

// A table without key has as many of a row as were inserted and not deleted, also where they are many (so many that the index keeps them in order, and looks at some
// of them only), in whatever batches they come, with what comes once more, with the index on disk or not, opened anew here and there.
func TestManyEqualRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "events")
		exact := rapid.Bool().Draw(t, "exact positions")
		perTx := rapid.SampledFrom([]int{1, 7, 1000}).Draw(t, "changes of a transaction")
		want := map[int]int{}
		var all []connectors.Change
		for i := range n {
			v := rapid.IntRange(1, 2).Draw(t, "v")
			op := cOp
			if want[v] > 0 && rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
				op = dOp
			}
			c := rec(op, int64(len(all)+1), 0, "a", long(int64(v)))
			row := rec(cOp, 1, 0, "a", long(int64(v))).After
			c.Key, c.After, c.Before, c.SourceTsNs = connectors.Row{}, row, connectors.Row{}, int64(i/perTx+1)*1_000_000
			sub := byte(2)
			if op == dOp {
				c.After, c.Before, c.BeforeQuality, sub = connectors.Row{}, row, connectors.BeforeFull, 0
				want[v]--
			} else {
				want[v]++
			}
			c.PosQuality = connectors.Exact
			if !exact {
				c.PosQuality, sub = connectors.TieMayHappen, 1
			}
			c = inTx(c, uint64(i/perTx+1)<<20, uint64(i+1)<<6)
			b := []byte(c.Position)
			b[len(b)-1] = sub
			c.Position = connectors.Position(b)
			all = append(all, c)
			if exact && rapid.IntRange(0, 9).Draw(t, "once more") == 0 {
				again := all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				r := *again.Record
				r.Offset = int64(len(all) + 1)
				again.Record = &r
				all = append(all, again)
			}
		}
		conf := sinkConfig()
		conf.SilverMergeMode = rapid.SampledFrom([]string{"deletion-vectors", "copy-on-write"}).Draw(t, "mode")
		conf.SilverSCDType = rapid.SampledFrom([]int{1, 2}).Draw(t, "scd")
		r := &simRun{t: t, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), conf: conf, b: mem.New("lake"), restarts: true, foreign: true}
		if rapid.Bool().Draw(t, "on disk") {
			r.spill = dir
		}
		r.merge("bronze/t", all)
		got := map[int]int{}
		for _, line := range canonicalRows(fataler{t}, r.b, "silver/t") {
			if conf.SilverSCDType == 1 || strings.Contains(line, `"__END_AT":null`) {
				got[int(line[strings.Index(line, `"a":`)+4]-'0')]++
			}
		}
		for v := 1; v <= 2; v++ {
			if got[v] != want[v] {
				t.Fatalf("%d rows have %d, want %d", got[v], v, want[v])
			}
		}
	})
}
