package silver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// BenchmarkSkew merges changes that are not spread over a table: many of one key, or many of a kind that is rare. CPU for a change should not grow with their
// number: each is measured at n and 4 n. `make bench-skew` has more of them, larger.
func BenchmarkSkew(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	row := func(n int, key int64, op connectors.Op) connectors.Change { return benchEvent(n, key, op, rng) }
	key := func(k int64) connectors.Row {
		return connectors.Row{Shape: benchKey, Values: []connectors.Value{connectors.Int(schema.Long, k)}}
	}
	keyless := func(n int) connectors.Change {
		c := row(n, 1, connectors.Insert)
		c.Key, c.After = connectors.Row{}, benchEvent(1, 1, connectors.Insert, rand.New(rand.NewPCG(1, 1))).After
		return c
	}
	inserts := func(n int) (out []connectors.Change) {
		for i := range n {
			out = append(out, row(i+1, int64(i+1), connectors.Insert))
		}
		return out
	}
	updates := func(n, from int) (out []connectors.Change) {
		for i := range n {
			out = append(out, row(from+i, 1, connectors.Update))
		}
		return out
	}
	moves := func(n int) (out []connectors.Change) {
		for i := range n {
			k := int64(i + 1)
			d := row(n+2*i+1, k, connectors.Delete)
			d.SetKeyHints(connectors.Row{}, key(k+10_000_000))
			c := row(n+2*i+2, k+10_000_000, connectors.Insert)
			c.SetKeyHints(key(k), connectors.Row{})
			out = append(out, d, c)
		}
		return out
	}
	for _, c := range []struct {
		name   string
		scd, n int
		before func(n int) [][]connectors.Change
		merge  func(n int) []connectors.Change
	}{
		{"one key changes", 1, 25_000, nil, func(n int) []connectors.Change { return updates(n, 1) }},
		{"one key changes", 2, 25_000, nil, func(n int) []connectors.Change { return updates(n, 1) }},
		{"one key changes on", 2, 25_000, func(n int) (out [][]connectors.Change) {
			for i := range 10 {
				out = append(out, updates(n/10, 1+i*n/10))
			}
			return out
		}, func(n int) []connectors.Change { return updates(n/10, n+1) }},
		{"rows change key", 1, 25_000, func(n int) [][]connectors.Change { return [][]connectors.Change{inserts(n)} }, moves},
		{"rows change key", 2, 25_000, func(n int) [][]connectors.Change { return [][]connectors.Change{inserts(n)} }, moves},
		{"rows are deleted", 1, 100_000, func(n int) [][]connectors.Change { return [][]connectors.Change{inserts(n)} }, func(n int) (out []connectors.Change) {
			for i := range n {
				out = append(out, row(n+i+1, int64(i+1), connectors.Delete))
			}
			return out
		}},
		{"unknown rows are deleted", 1, 100_000, nil, func(n int) (out []connectors.Change) {
			for i := range n {
				out = append(out, row(i+1, int64(i+1), connectors.Delete))
			}
			return out
		}},
		{"truncate", 1, 100_000, func(n int) [][]connectors.Change { return [][]connectors.Change{inserts(n)} }, func(n int) []connectors.Change {
			t := row(n+1, 1, connectors.Delete)
			t.Kind, t.Op, t.Key = connectors.TruncateTable, connectors.Truncate, connectors.Row{}
			return []connectors.Change{t}
		}},
		{"truncate", 2, 100_000, func(n int) [][]connectors.Change { return [][]connectors.Change{inserts(n)} }, func(n int) []connectors.Change {
			t := row(n+1, 1, connectors.Delete)
			t.Kind, t.Op, t.Key = connectors.TruncateTable, connectors.Truncate, connectors.Row{}
			return []connectors.Change{t}
		}},
		{"equal rows come", 1, 2_500, nil, func(n int) (out []connectors.Change) {
			for i := range n {
				out = append(out, keyless(i+1))
			}
			return out
		}},
	} {
		for _, n := range []int{c.n, 4 * c.n} {
			b.Run(fmt.Sprintf("scd%d/%s/%d", c.scd, c.name, n), func(b *testing.B) {
				for range b.N {
					conf := sinkConfig()
					conf.SilverSCDType = c.scd
					skewed(b, conf, c.before, c.merge, n)
				}
			})
		}
	}
}

func skewed(b *testing.B, conf *config.Sink, before func(n int) [][]connectors.Change, merge func(n int) []connectors.Change, n int) {
	m := openSilver(b, mem.New("lake"), conf, "silver/orders")
	version := int64(0)
	step := func(in []connectors.Change) {
		res, err := m.Merge(context.Background(), []silver.Batch{{Feed: "bronze/orders", Version: version, Changes: in}})
		if err != nil {
			b.Fatal(err)
		}
		if !res.Committed {
			b.Fatalf("%+v", res)
		}
		version++
	}
	if before != nil {
		for _, in := range before(n) {
			step(in)
		}
	}
	in := merge(n)
	cpu := cpuTime()
	step(in)
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(n), "cpu-us/row")
}
