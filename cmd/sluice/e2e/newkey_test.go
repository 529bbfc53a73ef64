package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/proc"
)

// TestKeyDefinitionChanges walks the way of an operator whose source table gets another primary key: dead letters say what helps; the keys they name make the
// task fail until the table is made anew; the rebuilt table has the rows of the source, those of the letters, too. Keys that the table has no column for are
// refused before anything is deleted.
func TestKeyDefinitionChanges(t *testing.T) {
	b := broker.Start(t)
	n := newNode(t, b.Servers())
	n.start(t)
	n.ready(t)
	const topic = "shop.db.t"
	b.Topic(topic, 1)
	pos := 0
	event := func(op, key, before, after string) *kgo.Record {
		pos += 10
		return broker.Rec(topic, 0, key, fmt.Sprintf(`{"before":%s,"after":%s,"source":{"connector":"mysql","name":"shop","db":"db","table":"t","ts_ms":%d,"snapshot":"false","server_id":1,"file":"bin.000001","pos":%d,"row":0},"op":"%s","ts_ms":%d}`,
			before, after, pos, pos, op, pos))
	}
	conf := map[string]string{"connector.class": "LakehouseSink", "topics": topic, "commit.interval.ms": "100"}
	n.put(t, "c", conf)
	b.Put(event("c", `{"id":1}`, "null", `{"id":1,"a":"x","b":2,"v":1}`), event("c", `{"id":2}`, "null", `{"id":2,"a":"y","b":2,"v":2}`),
		event("u", `{"id":1}`, `{"id":1,"a":"x","b":2,"v":1}`, `{"id":1,"a":"x","b":2,"v":3}`))
	table := "silver/" + topic
	n.caughtUp(t, "c", ends{topic: {0: 3}}, feeds{table: {topic}}, time.Minute)

	// ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)
	b.Put(event("u", `{"a":"x","b":2}`, `{"id":1,"a":"x","b":2,"v":3}`, `{"id":1,"a":"x","b":2,"v":4}`), event("d", `{"a":"y","b":2}`, `{"id":2,"a":"y","b":2,"v":2}`, "null"),
		event("c", `{"a":"z","b":2}`, "null", `{"id":2,"a":"z","b":2,"v":5}`))
	const helps = "set silver.keys=a,b, then sluice table rebuild"
	proc.Eventually(t, time.Minute, "the events are dead letters that say what helps", func() (bool, string) {
		_, list := n.call(t, "GET", "/connectors/c/status", nil)
		out, err := exec.Command(proc.Sluice(t), "table", "cat", n.at("bronze/_dead_letters"), "--output", "json").Output()
		return err == nil && strings.Count(string(out), helps) == 3, list + string(out)
	})

	rebuild := func() (string, error) {
		out, err := exec.Command(proc.Sluice(t), "table", "rebuild", n.at(table), "--connector", "c", "--yes", "--url", n.rest).CombinedOutput()
		return string(out), err
	}
	conf["silver.keys"] = "a,b"
	n.put(t, "c", conf)
	proc.Eventually(t, time.Minute, "the task has failed and says what helps", func() (bool, string) {
		trace := n.failedTasks(t, "c")
		return strings.Contains(trace, "sluice table rebuild"), trace
	})
	conf["silver.keys"] = "a,uuid"
	n.put(t, "c", conf)
	if out, err := rebuild(); err == nil || !strings.Contains(out, `no column "uuid"`) {
		t.Errorf("rebuilt by a key that no event has: %s", out)
	}
	if rows := source(t, n.cat(t, table)); len(rows) != 2 {
		t.Errorf("after a rebuild that was refused the table has %v", rows)
	}
	conf["silver.keys"] = "a,b"
	n.put(t, "c", conf)
	if out, err := rebuild(); err != nil {
		t.Fatalf("rebuild: %v\n%s", err, out)
	}
	want := []string{`{"a":"x","b":2,"id":1,"v":4}`, `{"a":"z","b":2,"id":2,"v":5}`}
	proc.Eventually(t, time.Minute, "the table has the rows of the source", func() (bool, string) {
		out, err := exec.Command(proc.Sluice(t), "table", "cat", n.at(table), "--output", "json").Output()
		if err != nil {
			return false, err.Error()
		}
		rows := source(t, slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool { return l == "" }))
		return slices.Equal(rows, want), fmt.Sprint(rows)
	})
	if trace := n.failedTasks(t, "c"); trace != "" {
		t.Errorf("after the rebuild: %s", trace)
	}
}
