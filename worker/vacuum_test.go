package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
)

// The owner of a table deletes what no version within the retention needs, while it merges; what is young, used, or none of the table's stays.
func TestOwnerVacuums(t *testing.T) {
	t.Parallel()
	ctx, lake := context.Background(), mem.New("lake")
	w := newWorld(t, lake)
	w.start()
	w.b.Topic(topic, 1)
	lake.SetClock(func() time.Time { return time.Now().Add(-8 * 24 * time.Hour) })
	table := tableTask()
	path := table.ID.Table
	for _, key := range []string{path + "/part-old.parquet", path + "/deletion_vector_old.bin", path + "/_notes/old", path + "-2/part-old.parquet", "bronze/" + topic + "/part-old.parquet"} {
		if err := lake.Put(ctx, key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	// The table's own files are old, too.
	w.c.set(func() {
		w.c.conns, w.c.mine = []ownership.Connector{connector("c", "silver.vacuum.interval.ms", "0")}, own(1, partitionTask(0, 0), table)
	})
	w.produce(0, 0, 10)
	until(t, "the first rows are in silver", func() bool { return w.tableRows(path) == 10 })
	lake.SetClock(time.Now)
	if err := lake.Put(ctx, path+"/part-young.parquet", []byte("x")); err != nil {
		t.Fatal(err)
	}
	there := func(key string) bool {
		_, err := lake.Stat(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !there(path + "/part-old.parquet") {
		t.Fatal("vacuumed though the connector says never")
	}
	w.c.set(func() {
		w.c.conns, w.c.mine = []ownership.Connector{connector("c", "silver.vacuum.interval.ms", "50")}, own(2, partitionTask(0, 0), table)
		w.c.conns[0].Version = 2
	})
	until(t, "old files without use are gone", func() bool { return !there(path+"/part-old.parquet") && !there(path+"/deletion_vector_old.bin") })
	for _, key := range []string{path + "/part-young.parquet", path + "/_notes/old", path + "-2/part-old.parquet", "bronze/" + topic + "/part-old.parquet"} {
		if !there(key) {
			t.Errorf("%s was deleted", key)
		}
	}
	w.produce(0, 10, 10)
	until(t, "more rows are in silver", func() bool { return w.tableRows(path) == 20 })
}

// The log of a silver table does not grow for ever: what lies before the newest checkpoint that is older than the log's retention goes, and the table is as it was.
func TestOwnerCleansTheLogUp(t *testing.T) {
	t.Parallel()
	ctx, lake := context.Background(), mem.New("lake")
	w := newWorld(t, lake)
	w.start()
	w.b.Topic(topic, 1)
	lake.SetClock(func() time.Time { return time.Now().Add(-40 * 24 * time.Hour) })
	table := tableTask()
	path := table.ID.Table
	w.c.set(func() {
		w.c.conns, w.c.mine = []ownership.Connector{connector("c", "silver.vacuum.interval.ms", "0")}, own(1, partitionTask(0, 0), table)
	})
	for n := range 3 {
		w.produce(0, 10*n, 10)
		until(t, "the rows are in silver", func() bool { return w.tableRows(path) == int64(10*n+10) })
	}
	tab, err := delta.Open(ctx, lake, path)
	if err != nil {
		t.Fatal(err)
	}
	kept := tab.Cached().Version
	if _, err := tab.Checkpoint(ctx, tab.Cached(), delta.CheckpointOptions{}); err != nil {
		t.Fatal(err)
	}
	lake.SetClock(time.Now)
	w.produce(0, 30, 10)
	until(t, "newer rows are in silver", func() bool { return w.tableRows(path) == 40 })
	commits := func() (n int64, first string) {
		for info, err := range lake.List(ctx, path+"/_delta_log/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(info.Key, ".json") {
				if n++; first == "" {
					first = info.Key
				}
			}
		}
		return n, first
	}
	if n, _ := commits(); n <= kept {
		t.Fatalf("the log has %d commits before, at version %d", n, kept)
	}
	w.c.set(func() {
		w.c.conns, w.c.mine = []ownership.Connector{connector("c", "silver.vacuum.interval.ms", "50")}, own(2, partitionTask(0, 0), table)
		w.c.conns[0].Version = 2
	})
	want := fmt.Sprintf("%s/_delta_log/%020d.json", path, kept)
	until(t, "the log begins at the checkpoint", func() bool { _, first := commits(); return first == want })
	w.produce(0, 40, 10)
	until(t, "more rows are in silver", func() bool { return w.tableRows(path) == 50 })
	if _, err := lake.Stat(ctx, "bronze/"+topic+"/_delta_log/00000000000000000000.json"); err != nil {
		t.Errorf("bronze lost its log: %v", err)
	}
}
