package bronze

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/commit"
)

// keep is a Hot that takes changes and drops them.
type keep bool

func (k keep) Wanted() bool                                             { return bool(k) }
func (k keep) Offer(int64, [][]connectors.Change, int64, time.Duration) {}
func (k keep) Skip(int64)                                               {}

func benchRecords(n, size int) kafka.Batch {
	var b kafka.Batch
	for i := range n {
		v := fmt.Sprintf(`{"before":null,"after":{"id":%d,"customer":%d,"status":"paid","total":"12.50","note":"`, i, i%100)
		tail := fmt.Sprintf(`"},"source":{"version":"3.7","connector":"postgresql","name":"s","ts_ms":%d,"db":"d","sequence":"[\"%d\",\"%d\"]","schema":"public","table":"t","txId":%d,"lsn":%d},"op":"c","ts_ms":%d}`,
			1790000000000+i, 1000+i, 1001+i, i, 1001+i, 1790000000005+i)
		v += strings.Repeat("x", max(0, size-len(v)-len(tail)))
		r := connectors.Record{Topic: "b", Offset: int64(i), TimestampMs: int64(i + 1), Key: fmt.Appendf(nil, `{"id":%d}`, i), Value: []byte(v + tail)}
		b.Records = append(b.Records, r)
	}
	b.Next = int64(n)
	return b
}

func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkAppend is what a record costs from the reader's batch to the committed file.
func BenchmarkAppend(b *testing.B) {
	for _, hot := range []bool{false, true} {
		for _, size := range []int{150, 600} {
			b.Run(fmt.Sprintf("size=%d/hot=%t", size, hot), func(b *testing.B) {
				const n = 20_000
				batch := benchRecords(n, size)
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				a := New(Options{Connector: "c", Topic: "b", Interval: time.Hour, MaxBytes: 32 << 20, Bucket: mem.New("l"), Path: "b", Tables: commit.NewTables(nil),
					Memory: kafka.NewBudget(1 << 30), Hot: keep(hot),
					NewDecoder: func() (connectors.Decoder, error) { return formats.Default().New("debezium", cdc.Options{}) }})
				ended := make(chan error, 1)
				go func() { ended <- a.Run(ctx) }()
				p, err := a.Join(ctx, 0, 1)
				if err != nil {
					b.Fatal(err)
				}
				p.Begin(0)
				b.ReportAllocs()
				cpu := cpuTime()
				for i := 0; b.Loop(); i++ {
					for j := range batch.Records {
						batch.Records[j].Offset = int64(i*n + j)
					}
					batch.Next = int64((i + 1) * n)
					if err := p.Add(ctx, batch); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Leave(ctx); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/n, "cpu-ns/record")
				stop()
				<-ended
			})
		}
	}
}
