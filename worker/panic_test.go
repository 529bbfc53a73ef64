package worker

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
)

// brittle is a lake in which what is done to some keys panics.
type brittle struct {
	store.Bucket
	broken atomic.Pointer[func(op, key string) bool]
}

func (b *brittle) touch(op, key string) {
	if f := b.broken.Load(); f != nil && (*f)(op, key) {
		panic("brittle " + op + " " + key)
	}
}

func (b *brittle) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	b.touch("write", key)
	return b.Bucket.Create(ctx, key)
}

func (b *brittle) Put(ctx context.Context, key string, data []byte) error {
	b.touch("write", key)
	return b.Bucket.Put(ctx, key, data)
}

func (b *brittle) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	b.touch("write", key)
	return b.Bucket.PutIfAbsent(ctx, key, data)
}

func (b *brittle) Delete(ctx context.Context, key string) error {
	b.touch("delete", key)
	return b.Bucket.Delete(ctx, key)
}

func (b *brittle) Get(ctx context.Context, key string) ([]byte, error) {
	b.touch("read", key)
	return b.Bucket.Get(ctx, key)
}

func (b *brittle) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	b.touch("read", key)
	return b.Bucket.ReadRange(ctx, key, offset, length)
}

// A panic in any goroutine of a task fails that task, says where it was, and leaves the others running.
func TestPanicFailsOnlyItsTask(t *testing.T) {
	t.Parallel()
	bronzeTask, silverTask := partitionTask(0, 0), tableTask()
	silver, bronze := silverTask.ID.Table+"/", "bronze/"+topic+"/"
	for _, c := range []struct {
		name string
		op   string
		key  string // what it contains
		task ownership.Task
	}{
		{"vacuum", "delete", silver + "part-old", silverTask},
		{"writing silver's rows", "write", silver + "part-", silverTask},
		{"committing silver", "write", silver + "_delta_log/", silverTask},
		{"building the key index", "read", silver + "part-", silverTask},
		{"writing bronze", "write", ".parquet", bronzeTask},
		{"committing bronze", "write", bronze + "_delta_log/", bronzeTask},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, lake := context.Background(), mem.New("lake")
			b := &brittle{Bucket: lake}
			w := newWorld(t, b)
			w.start()
			w.b.Topic(topic, 1)
			lake.SetClock(func() time.Time { return time.Now().Add(-8 * 24 * time.Hour) })
			if err := lake.Put(ctx, silver+"part-old.parquet", []byte("x")); err != nil {
				t.Fatal(err)
			}
			lake.SetClock(time.Now)
			begin := func(epoch uint64) {
				w.c.set(func() {
					w.c.conns, w.c.mine = []ownership.Connector{connector("c", "silver.vacuum.interval.ms", "50")}, own(epoch, bronzeTask, silverTask)
					w.c.conns[0].Version = epoch
				})
			}
			if c.name != "vacuum" {
				begin(1)
				w.produce(0, 0, 10)
				until(t, "the first rows are in silver", func() bool { return w.tableRows(silverTask.ID.Table) == 10 })
			}
			broken := func(op, key string) bool {
				return op == c.op && strings.Contains(key, c.key) && strings.HasPrefix(key, bronze) == (c.task.ID == bronzeTask.ID)
			}
			b.broken.Store(&broken)
			if c.name == "building the key index" || c.name == "vacuum" {
				begin(2)
			}
			w.produce(0, 10, 10)
			until(t, "FAILED", func() bool {
				s := w.c.status(c.task.ID)
				return s.State == ownership.Failed && strings.Contains(s.Trace, "panic: brittle "+c.op) && strings.Contains(s.Trace, "panic_test.go")
			})
			if c.task.ID == silverTask.ID {
				w.produce(0, 20, 10)
				until(t, "bronze goes on", func() bool { return w.rows() >= 20 })
			}
		})
	}
}
