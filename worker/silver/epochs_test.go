package silver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// The law of epochs: a source that names no log fails over now and then, repeats itself, and its partitions lag behind each other as they like. Whenever the
// owner is opened anew, each event gets the epoch that it would have got without.
func TestRestartsChangeNoEpoch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 4))
		topics, parts, deletes := 1+rng.IntN(2), 1+rng.IntN(3), []int{4, 1000}[rng.IntN(2)]
		queues := make([][]connectors.Change, topics*parts)
		offset := make([]int64, topics*parts)
		there := map[int64]bool{}
		pos, ts := uint64(5000), int64(1_790_000_000)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			ts += int64(rng.IntN(3))
			if pos += 1 + uint64(rng.IntN(3)); rng.IntN(12) == 0 {
				pos, ts = pos-uint64(rng.IntN(40)), ts+10 // another server
			}
			id := int64(rng.IntN(12))
			q := int(id) % len(queues)
			op := connectors.Update
			if there[id] && rng.IntN(deletes) == 0 {
				op = connectors.Delete
			}
			there[id] = op != connectors.Delete
			c := at(rec(op, 1, id, "a", text(fmt.Sprint(pos))), int32(q/topics))
			sub := byte(2)
			if op == connectors.Delete {
				sub = 0
			}
			c.Position, c.SourceTsNs = benchPosition(pos*8, sub), ts*1e9+int64(rng.IntN(1e9/8))
			c.Record.Topic, c.Record.TimestampMs = fmt.Sprint("t", q%topics), ts*1000
			for again := 1 + rng.IntN(8)/7; again > 0; again-- {
				queues[q] = append(queues[q], c)
			}
		}
		for q := range queues {
			for i := range queues[q] {
				r := *queues[q][i].Record
				r.Offset, offset[q] = offset[q], offset[q]+1
				queues[q][i].Record = &r
			}
		}
		in := interleaveParts(rng, queues)
		var batches []silver.Batch
		for len(in) > 0 {
			n := min(len(in), 1+rng.IntN(5))
			batches = append(batches, silver.Batch{Feed: "f", Version: int64(len(batches)), Changes: in[:n]})
			in = in[n:]
		}
		conf := sinkConfig()
		conf.SilverSCDType = 1 + rng.IntN(2)
		run := func(restarts bool) []string {
			r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake")}
			m := r.open()
			for at := 0; at < len(batches); at++ {
				if _, err := m.Merge(context.Background(), batches[at:at+1]); err != nil {
					t.Fatalf("%v", err)
				}
				if restarts && rng.IntN(3) == 0 {
					m = r.open()
					at = int(m.Progress("f"))
				}
			}
			if err := m.Close(context.Background()); err != nil {
				t.Fatalf("%v", err)
			}
			if !tableThere(r.b) {
				return nil
			}
			return canonicalRows(fataler{t}, r.b, "silver/t")
		}
		want, got := run(false), run(true)
		if !slices.Equal(got, want) {
			t.Fatalf("restarts changed rows:\n%s", diff(got, want))
		}
	})
}
