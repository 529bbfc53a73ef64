package silver_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// benchShape is a table of ten columns, whose Debezium event is about 600 bytes.
var (
	benchShape = &connectors.Shape{
		Names: []string{"id", "customer_id", "status", "amount", "quantity", "note", "created_at", "updated_at", "flag", "ratio"},
		Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.String), schema.DecimalOf(12, 2), schema.Of(schema.Integer),
			schema.Of(schema.String), schema.Of(schema.TimestampNTZ), schema.Of(schema.Timestamp), schema.Of(schema.Boolean), schema.Of(schema.Double)},
	}
	benchKey    = &connectors.Shape{Names: []string{"id"}, Types: []schema.Type{schema.Of(schema.Long)}}
	benchSource = &connectors.Source{Connector: "postgresql", Name: "shop", DB: "shop", Schema: "public", Table: "orders"}
)

func benchPosition(n uint64, sub byte) connectors.Position {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 25), 34359738368+n/4*96)
	b = binary.BigEndian.AppendUint64(b, 34359738368+n*64)
	b = binary.BigEndian.AppendUint64(b, 0)
	return connectors.Position(append(b, sub))
}

func benchEvent(n int, key int64, op connectors.Op, rng *rand.Rand) connectors.Change {
	c := connectors.Change{Kind: connectors.RowChange, Op: op, Source: benchSource, PosQuality: connectors.Exact,
		Record:     &connectors.Record{Topic: "shop.public.orders", Partition: int32(key & 3), Offset: int64(n), TimestampMs: 1790000000000 + int64(n)},
		Key:        connectors.Row{Shape: benchKey, Values: []connectors.Value{connectors.Int(schema.Long, key)}},
		SourceTsNs: 1790000000000000000 + int64(n)*1000}
	c.Position = benchPosition(uint64(n), 2)
	if op == connectors.Delete {
		c.Position = benchPosition(uint64(n), 0)
		return c
	}
	c.After = connectors.Row{Shape: benchShape, Values: []connectors.Value{
		connectors.Int(schema.Long, key), connectors.Int(schema.Long, int64(rng.IntN(10000))), connectors.Text([]string{"NEW", "PAID", "SENT"}[n%3]),
		connectors.Dec(string([]byte{byte(n >> 8), byte(n)}), 2), connectors.Int(schema.Integer, int64(n%50)),
		connectors.Text(fmt.Sprintf("note of order %d, delivered to the back door", n)), connectors.Int(schema.TimestampNTZ, 1790000000000000+int64(n)),
		connectors.Int(schema.Timestamp, 1790000000000000+int64(n)), connectors.Bool(n%2 == 0), connectors.Float(float64(n) / 7),
	}}
	return c
}

// cpuTime is the processor time that the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMerge is the silver part of the backlog figure: decoded changes over 200 000 keys, 70/20/10 updates, inserts and
// deletes, merged in batches.
func BenchmarkMerge(b *testing.B) {
	for _, size := range []int{2000, 20000, 100000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			const keys = 200_000
			rng := rand.New(rand.NewPCG(1, 2))
			var live []int64
			next := int64(0)
			n := 0
			make1 := func() []connectors.Change {
				out := make([]connectors.Change, 0, size)
				for len(out) < size {
					n++
					r := rng.IntN(10)
					switch {
					case len(live) == 0 || r < 2 && len(live) < keys:
						next++
						live = append(live, next)
						out = append(out, benchEvent(n, next, connectors.Insert, rng))
					case r == 9:
						i := rng.IntN(len(live))
						out = append(out, benchEvent(n, live[i], connectors.Delete, rng))
						live[i] = live[len(live)-1]
						live = live[:len(live)-1]
					default:
						out = append(out, benchEvent(n, live[rng.IntN(len(live))], connectors.Update, rng))
					}
				}
				return out
			}
			m := openSilver(b, mem.New("lake"), sinkConfig(), "silver/orders")
			ctx := context.Background()
			var took silver.Phases
			version := int64(0)
			events := 0
			cpu := time.Duration(0)
			merge := func() {
				b.StopTimer()
				in := make1()
				b.StartTimer()
				before := cpuTime()
				res, err := m.Merge(ctx, []silver.Batch{{Feed: "bronze/orders", Version: version, Changes: in}})
				if err != nil {
					b.Fatal(err)
				}
				cpu += cpuTime() - before
				version++
				events += len(in)
				took.Gather += res.Took.Gather
				took.Fold += res.Took.Fold
				took.Emit += res.Took.Emit
				took.Commit += res.Took.Commit
				took.Index += res.Took.Index
				took.Upkeep += res.Took.Upkeep
			}
			merge()
			events, took, cpu = 0, silver.Phases{}, 0
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				merge()
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(events)/cpu.Seconds(), "events/cpu-s")
			us := func(d interface{ Microseconds() int64 }) float64 {
				return float64(d.Microseconds()) * 1000 / float64(events)
			}
			b.ReportMetric(us(took.Gather), "ns-gather/ev")
			b.ReportMetric(us(took.Fold), "ns-fold/ev")
			b.ReportMetric(us(took.Emit), "ns-emit/ev")
			b.ReportMetric(us(took.Commit), "ns-commit/ev")
			b.ReportMetric(us(took.Index), "ns-index/ev")
			b.ReportMetric(us(took.Upkeep), "ns-upkeep/ev")
		})
	}
}
