package worker

import (
	"context"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/worker/bronze"
)

// A new owner begins at the progress in the table (D1): not at the end of the log, whatever the consumer is told to do with
// partitions that were never read, and not at its start, where the log no longer begins where the table ends or where it ends before that.
// The last two are told, with the offsets, and nothing is read (peers.md §E3).
func TestNewOwnersBeginAtTheProgress(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	task := partitionTask(0, 0)
	owner := func(epoch uint64, extra ...string) {
		w.start()
		w.c.set(func() { w.c.conns, w.c.mine = []ownership.Connector{connector("c", extra...)}, own(epoch, task) })
	}
	fails := func(want ...string) {
		t.Helper()
		until(t, "FAILED: "+strings.Join(want, " "), func() bool {
			s := w.c.status(task.ID)
			for _, x := range want {
				if !strings.Contains(s.Trace, x) {
					return false
				}
			}
			return s.State == ownership.Failed
		})
		w.end()
	}
	w.produce(0, 0, 10)
	owner(5)
	until(t, "ten rows", func() bool { return w.rows() == 10 })
	w.end()

	w.produce(0, 10, 10) // nobody reads
	owner(6, "consumer.override.auto.offset.reset", "latest")
	until(t, "what came meanwhile", func() bool { return w.rows() == 20 && w.progress(0) == 20 })
	w.end()

	w.produce(0, 20, 10)
	if err := w.b.DeleteRecords(topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	owner(7)
	fails("offset 20", "25", "deleted records that were not read")

	table, err := delta.Open(context.Background(), w.lake, "bronze/"+topic)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := table.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c := table.NewCommit(snap)
	c.Progress(bronze.AppID("c", topic, 0), 20, 40)
	if out := c.Do(context.Background()); out.Kind != delta.Committed {
		t.Fatal(out.Err)
	}
	owner(8)
	fails("offset 40", "30", "ends before the offset")
	if n := w.rows(); n != 20 {
		t.Errorf("%d rows", n)
	}
}
