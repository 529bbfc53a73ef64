package silver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// seqRec is a change whose place is told by column v alone: positions and offsets say nothing of it.
func seqRec(op connectors.Op, off, id, v int64) connectors.Change {
	c := rec(connectors.Insert, off, id, "v", long(v), "a", long(v*10))
	c.Op, c.Position, c.PosQuality = op, benchPosition(uint64(1e6-off), 2), connectors.Exact
	if op == connectors.Delete {
		c.Before, c.BeforeQuality, c.After = c.After, connectors.BeforeFull, connectors.Row{}
	}
	return c
}

// silver.sequence.by: the highest value wins, whatever the order of positions and offsets; a delete stands at its row's value; of
// equal ones the later offset wins.
func TestSequenceBy(t *testing.T) {
	t.Parallel()
	by := func(c *config.Sink) { c.SilverSequenceBy = []string{"v"} }
	x := newBench(t, by)
	x.merge(seqRec(cOp, 1, 1, 5))
	x.merge(seqRec(uOp, 2, 1, 3))
	x.want(`{"a":50,"id":1,"v":5}`)
	x.merge(seqRec(dOp, 3, 1, 5))
	x.want()
	x.merge(seqRec(uOp, 4, 1, 4))
	x.want()
	x.merge(seqRec(cOp, 5, 1, 7), seqRec(cOp, 6, 2, 1), seqRec(uOp, 7, 2, 1))
	x.want(`{"a":10,"id":2,"v":1}`, `{"a":70,"id":1,"v":7}`)
	// A delete that does not tell its row follows what came before it in its partition.
	bare := seqRec(dOp, 8, 1, 0)
	bare.Before, bare.BeforeQuality = connectors.Row{}, connectors.BeforeNone
	x.merge(bare)
	x.want(`{"a":10,"id":2,"v":1}`)
	x.merge(seqRec(uOp, 9, 1, 6))
	x.want(`{"a":10,"id":2,"v":1}`)
	if _, err := openErr(x.b, sinkConfig()); err == nil || !strings.Contains(err.Error(), "silver.sequence.by") {
		t.Fatalf("%v", err)
	}
}

func seqLine(id, v int64) string { return fmt.Sprintf(`{"a":%d,"id":%d,"v":%d}`, v*10, id, v) }

func openErr(b store.Bucket, conf *config.Sink) (*silver.Merger, error) {
	return silver.Open(context.Background(), silver.Options{Bucket: b, Path: "silver/t", Connector: conf.Name, Config: conf})
}

func TestSequenceByAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		want := map[int64]int64{}
		var in []connectors.Change
		for i := range int64(rapid.IntRange(1, 60).Draw(t, "events")) {
			id := rng.Int64N(6)
			in = append(in, seqRec(uOp, 0, id, i))
			want[id] = i
		}
		rng.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		for i := range in {
			r := *in[i].Record
			r.Offset = int64(i)
			in[i].Record = &r
		}
		for _, scd := range []int{1, 2} {
			conf := sinkConfig()
			conf.SilverSequenceBy, conf.SilverSCDType = []string{"v"}, scd
			r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake"), restarts: true}
			r.merge("bronze/t", in)
			n := 0
			for _, l := range canonicalRows(fataler{t}, r.b, "silver/t") {
				if scd == 2 && !strings.Contains(l, `"__END_AT":null`) {
					continue
				}
				n++
				ok := false
				for id, v := range want {
					ok = ok || dataOnly(t, l) == seqLine(id, v)
				}
				if !ok {
					t.Fatalf("scd %d: %s", scd, l)
				}
			}
			if n != len(want) {
				t.Fatalf("scd %d: %d rows, want %d", scd, n, len(want))
			}
		}
	})
}
