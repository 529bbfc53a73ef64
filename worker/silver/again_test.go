package silver_test

import (
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver"
)

// A connector that was started again sends once more what it had sent since it last noted its place. In a table without key, of a source that may give several
// events one position, each of them is known by its position, its row and its place before the repeat: none counts twice, and equal rows at one position stay as
// many as they are, whatever the batches, the restarts and the number of repeats. Was: each row that came again was one more.
func TestRepeatsWithoutKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.SampledFrom([]string{"postgresql", "mysql"}).Draw(t, "source")
		src := *benchSource
		src.Connector = source
		var events []connectors.Change
		want := map[int]int{}
		pos := uint64(100)
		row := func(v int) connectors.Row { return rec(cOp, 0, int64(v)).After }
		for n := range rapid.IntRange(2, 25).Draw(t, "events") {
			if rapid.IntRange(0, 2).Draw(t, "tie") > 0 {
				pos += 8
			}
			v, u := rapid.IntRange(1, 3).Draw(t, "v"), rapid.IntRange(1, 3).Draw(t, "u")
			c := rec(cOp, int64(n), int64(v))
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case kind == 0 && want[v] > 0:
				want[v]--
				c.Op, c.Before, c.After, c.BeforeQuality = connectors.Delete, row(v), connectors.Row{}, connectors.BeforeFull
			case kind == 1 && want[v] > 0:
				want[v]--
				want[u]++
				c.Op, c.Before, c.After, c.BeforeQuality = connectors.Update, row(v), row(u), connectors.BeforeFull
			default:
				want[v]++
			}
			c.Key, c.Source, c.PosQuality, c.Position, c.SourceTsNs = connectors.Row{}, &src, connectors.TieMayHappen, benchPosition(pos, 1), int64(pos)*1e9
			events = append(events, c)
		}
		// What is sent: up to some event, then from an earlier position on, and so on.
		var sent []connectors.Change
		send := func(from, to int) {
			for _, c := range events[from:to] {
				r := *c.Record
				r.Offset = int64(len(sent)) + 1
				c.Record = &r
				sent = append(sent, c)
			}
		}
		from, top := 0, 0
		for range rapid.IntRange(0, 3).Draw(t, "crashes") {
			to := rapid.IntRange(from, len(events)).Draw(t, "to")
			send(from, to)
			top = max(top, to)
			if top == 0 {
				continue
			}
			// Where the newest position alone comes again nothing tells it from another event at that position.
			var starts []int
			for i := range to {
				if events[i].Position < events[top-1].Position && (i == 0 || events[i-1].Position != events[i].Position) {
					starts = append(starts, i)
				}
			}
			if from = to; len(starts) > 0 {
				from = rapid.SampledFrom(starts).Draw(t, "from")
			}
		}
		send(from, len(events))

		var batches []silver.Batch
		for n := int64(0); len(sent) > 0; n++ {
			k := rapid.IntRange(1, min(8, len(sent))).Draw(t, "batch")
			batches = append(batches, silver.Batch{Feed: "f", Version: n, Changes: sent[:k]})
			sent = sent[k:]
		}
		wantEach(t, sinkConfig(), batches, "id", want)
	})
}
