package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/internal/testkit/broker"

	"github.com/twmb/franz-go/pkg/kgo"
)

// tableRows counts the rows of a table, deleted ones left out; -1: there is no table.
func (w *world) tableRows(path string) int64 {
	ctx := context.Background()
	t, err := delta.Open(ctx, w.lake, path)
	if errors.Is(err, delta.ErrNotTable) {
		return -1
	}
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := t.Snapshot(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	n, _ := s.NumRecords()
	return n
}

// routed is an event of one of several tables that share a topic.
func routed(table string, op byte, id, lsn int) *kgo.Record {
	row := fmt.Sprintf(`{"id":%d,"name":"%s %d"}`, id, table, id)
	before, after := "null", row
	if op == 'd' {
		before, after = row, "null"
	}
	v := fmt.Sprintf(`{"before":%s,"after":%s,"source":{"version":"3.0","connector":"postgresql","name":"shop","ts_ms":1790000000000,"snapshot":"false",`+
		`"db":"d","sequence":"[\"%d\",\"%d\"]","schema":"public","table":"%s","txId":%d,"lsn":%d,"xmin":null},"transaction":null,"op":"%c","ts_ms":1790000000123}`,
		before, after, lsn, lsn, table, lsn, lsn, op)
	return broker.Rec(topic, 0, fmt.Sprintf(`{"id":%d}`, id), v)
}

func TestOneTopicManyTables(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	const template = "silver/${schema}/${table}"
	many := ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: template}, Topics: []string{topic}}
	put := func(from, n int) {
		var recs []*kgo.Record
		for i := from; i < from+n; i++ {
			recs = append(recs, routed([]string{"a", "b", "c"}[i%3], 'c', i, 1000+i))
		}
		w.b.Put(recs...)
	}
	put(0, 60)
	conn := connector("c", "silver.path", template)
	w.start()
	w.c.set(func() { w.c.conns = []ownership.Connector{conn}; w.c.mine = own(5, partitionTask(0, 0), many) })
	rows := func(a, b, c int64) func() bool {
		return func() bool {
			return w.tableRows("silver/public/a") == a && w.tableRows("silver/public/b") == b && w.tableRows("silver/public/c") == c
		}
	}
	until(t, "sixty rows in three tables", rows(20, 20, 20))
	// A delete with its tombstone, and a tombstone that names no table.
	w.b.Put(routed("b", 'd', 1, 5000), broker.Rec(topic, 0, `{"id":1}`, ""), broker.Rec(topic, 0, `{"id":2}`, ""))
	until(t, "one row less", rows(20, 19, 20))
	until(t, "a dead letter", func() bool { return w.tableRows("bronze/_dead_letters") == 1 })
	w.end()

	// Started again it goes on where it was, with a table that is new.
	w.b.Put(routed("d", 'c', 900, 6000))
	put(60, 30)
	w.start()
	w.c.set(func() { w.c.mine = own(9, partitionTask(0, 0), many) })
	until(t, "ninety rows", rows(30, 29, 30))
	until(t, "a new table", func() bool { return w.tableRows("silver/public/d") == 1 })
	w.end()
	s, err := delta.Open(context.Background(), w.lake, "bronze/"+topic)
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Snapshot(context.Background())
	if _, ok := snap.Txn("sluice/c/silver/" + template); !ok {
		t.Error("the progress of a task with many tables is not in its bronze table")
	}
	if n := w.tableRows("bronze/_dead_letters"); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// What was appended here reaches silver in memory; what was there before, from the files. Both give the same rows.
func TestColdThenHot(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 2)
	w.produce(0, 0, 500)
	w.produce(1, 0, 500)
	w.start()
	bronzeOnly := []ownership.Task{partitionTask(0, 0), partitionTask(1, 1)}
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, bronzeOnly...) })
	until(t, "bronze", func() bool { return w.rows() == 1000 })
	w.c.set(func() { w.c.mine = append(own(5, bronzeOnly...), own(6, tableTask())...) })
	until(t, "silver from files", func() bool { return w.tableRows("silver/"+topic) == 1000 })
	cold := w.rt.stats.cold.Load()
	if cold == 0 {
		t.Error("nothing was read from files")
	}
	for i := range 5 {
		w.produce(int32(i%2), 500+i*10, 10)
		until(t, "silver from memory", func() bool { return w.tableRows("silver/"+topic) == int64(1000+(i+1)*10) })
	}
	if now := w.rt.stats.cold.Load(); now != cold {
		t.Errorf("%d versions were read from files although they were appended here", now-cold)
	}
	until(t, "no memory held", func() bool {
		m := w.rt.Stats().Memory
		return m.Hot == 0 && m.Cold == 0 && m.Rows == 0 && m.Fetched == 0
	})
}
