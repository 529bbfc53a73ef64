package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/streams"
)

// Partitioned tables (silver.partition.by) of captured orders, current rows and history, in both merge modes: rows as the database
// showed them, and other engines read what we read.
func TestPartitionedTables(t *testing.T) {
	b := broker.Start(t)
	n := newNode(t, b.Servers())
	n.start(t)
	n.ready(t)
	s := streams.Load(t, "pg-restart")
	want := fill(t, b.Client(), s)
	topic := s.Tables["orders"].Topics[0]
	var written []lakeTable
	for _, v := range []struct{ scd, mode, by string }{{"1", "deletion-vectors", "status"}, {"2", "copy-on-write", "status,placed_at"}} {
		name := "orders-" + v.scd
		path := "silver/" + topic
		n := &node{Process: n.Process, id: n.id, dir: n.dir, lake: n.lake + "/" + name, rest: n.rest}
		n.put(t, name, map[string]string{"connector.class": "LakehouseSink", "topics": topic, "commit.interval.ms": "100", "lake.url": "file://" + n.lake,
			"silver.scd.type": v.scd, "silver.merge.mode": v.mode, "silver.partition.by": v.by, "silver.change.data.feed": "true"})
		n.caughtUp(t, name, ends{topic: want[topic]}, feeds{path: {topic}}, 2*time.Minute)
		all := n.cat(t, path)
		rows := all
		if v.scd == "2" {
			rows = slices.DeleteFunc(slices.Clone(all), func(l string) bool { return !strings.Contains(l, `"__END_AT":null`) })
		}
		if diffs := s.Tables["orders"].Compare(rows); len(diffs) > 0 {
			t.Errorf("%s: %d differences, the first:\n  %s", name, len(diffs), strings.Join(diffs[:min(8, len(diffs))], "\n  "))
		}
		written = append(written, lakeTable{n, path, true})
	}
	startReaders(t, "spark", "delta-rs", "duckdb", "kernel-java").agree(t, written...)
}
