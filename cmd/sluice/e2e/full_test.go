package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/proc"
)

// event makes a Debezium event with schemas of a table d.s.t: fields are the schemas of the row's columns beside id, row their values.
func event(topic string, offset, id int64, op, fields, row string) *kgo.Record {
	const source = `{"type":"struct","optional":false,"field":"source","fields":[{"type":"string","optional":false,"field":"version"},{"type":"string","optional":false,"field":"connector"},` +
		`{"type":"string","optional":false,"field":"name"},{"type":"int64","optional":false,"field":"ts_ms"},{"type":"string","optional":false,"field":"db"},` +
		`{"type":"string","optional":false,"field":"schema"},{"type":"string","optional":false,"field":"table"},{"type":"int64","optional":true,"field":"txId"},{"type":"int64","optional":true,"field":"lsn"}]}`
	key := `{"type":"int64","optional":false,"field":"id"}`
	value := fmt.Sprintf(`{"type":"struct","optional":true,"field":"%%s","name":"%s.Value","fields":[%s,%s]}`, topic, key, fields)
	schema := fmt.Sprintf(`{"type":"struct","optional":false,"name":"%s.Envelope","fields":[%s,%s,%s,{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"}]}`,
		topic, fmt.Sprintf(value, "before"), fmt.Sprintf(value, "after"), source)
	payload := fmt.Sprintf(`{"before":null,"after":{"id":%d,%s},"source":{"version":"3.0.0.Final","connector":"postgresql","name":"full","ts_ms":%d,"db":"d","schema":"s","table":"t","txId":%d,"lsn":%d},"op":"%s","ts_ms":%d}`,
		id, row, 1_790_000_000_000+offset, offset, 1000+8*offset, op, 1_790_000_000_000+offset)
	return &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, `{"schema":{"type":"struct","optional":false,"name":"%s.Key","fields":[%s]},"payload":{"id":%d}}`, topic, key, id),
		Value: fmt.Appendf(nil, `{"schema":%s,"payload":%s}`, schema, payload)}
}

// TestFullTables: what silver.compatibility=full writes, names that other tables cannot have, nested types that grow, a column that Spark drops and the source adds
// again with another type and one that Spark renames, is what Spark, DuckDB, delta-rs (as long as no type grew) and kernel-java read; and `sluice table` works on it.
func TestFullTables(t *testing.T) {
	b := broker.Start(t)
	n := newNode(t, b.Servers())
	n.start(t)
	n.ready(t)
	const topic, path = "full.s.t", "silver/full.s.t"
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(b.Client()).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	offset := int64(0)
	put := func(op, fields string, id int64, row string) {
		t.Helper()
		if err := b.Client().ProduceSync(ctx, event(topic, offset, id, op, fields, row)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		offset++
	}
	const whole, cents = `{"type":"int64","optional":true,"field":"n"},`,
		`{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"8"},"field":"n"},`
	columns := func(n, num, v string) string {
		return n + fmt.Sprintf(`{"type":"%[1]s","optional":true,"field":"unit price"},{"type":"string","optional":true,"field":"Value"},{"type":"string","optional":true,"field":"value"},`+
			`{"type":"%[2]s","optional":true,"field":"v"},{"type":"struct","optional":true,"field":"st","fields":[{"type":"%[1]s","optional":true,"field":"m,m"},{"type":"string","optional":true,"field":"s"}]},`+
			`{"type":"array","optional":true,"field":"tags","items":{"type":"%[1]s","optional":true}}`, num, v)
	}
	old := columns(whole, "int32", "int32")
	row := func(n, price, v string) string {
		return fmt.Sprintf(`"n":%[3]s,"unit price":%[1]s,"Value":"U%[1]s","value":"l%[1]s","v":%[2]s,"st":{"m,m":%[1]s,"s":"x"},"tags":[%[1]s,null]`, price, v, n)
	}
	for id := range int64(20) {
		put("c", old, id, row("-3", fmt.Sprint(id), "7"))
	}
	n.put(t, "full", map[string]string{"connector.class": "LakehouseSink", "topics": topic, "commit.interval.ms": "100", "silver.compatibility": "full", "silver.change.data.feed": "true"})
	caughtUp := func() { n.caughtUp(t, "full", ends{topic: {0: offset}}, feeds{path: {topic}}, 2*time.Minute) }
	caughtUp()
	for id := range int64(5) {
		put("u", old, id, row("-3", fmt.Sprint(100+id), "8"))
	}
	caughtUp()
	want := func(now map[string]string) {
		t.Helper()
		rows := source(t, n.cat(t, path))
		if len(rows) != 20 {
			t.Fatalf("%d rows", len(rows))
		}
		for part, line := range now {
			if !slices.ContainsFunc(rows, func(l string) bool { return strings.Contains(l, part) && strings.Contains(l, line) }) {
				t.Errorf("no row has %s and %s:\n%s", part, line, strings.Join(rows, "\n"))
			}
		}
	}
	want(map[string]string{`"id":3,`: `"unit price":103,"v":8,"value_1d775834":"l103"`, `"id":9,`: `"st":{"m,m":9,"s":"x"},"tags":[9,null],"unit price":9,"v":7`})
	startReaders(t, "delta-rs").agree(t, lakeTable{n, path, false}) // it refuses feeds under column mapping, and tables whose types grew
	others := startReaders(t, "spark", "duckdb", "kernel-java")
	others.agree(t, lakeTable{n, path, true})
	if others != nil {
		for _, change := range []string{"RENAME COLUMN `unit price` TO price", "DROP COLUMN v"} {
			others.sql(t, "ALTER TABLE delta.`"+n.at(path)+"` "+change)
		}
	}
	// The source's numbers are long now, its n a decimal; it has dropped v, and added it again as a text.
	grown := columns(cents, "int64", "string")
	const twelve = `"BNI="` // 12.34
	put("u", grown, 3, row(twelve, "1099511627776", `"a text"`))
	put("c", grown, 20, row(twelve, "5", "null"))
	put("d", grown, 19, row(twelve, "0", "null"))
	caughtUp()
	if others == nil { // v is still a number
		want(map[string]string{`"id":3,`: `"st":{"m,m":1099511627776,"s":"x"},"tags":[1099511627776,null],"unit price":1099511627776,"v":null`, `"id":9,`: `"tags":[9,null],"unit price":9,"v":7`})
	} else {
		want(map[string]string{`"id":3,"n":"12.34"`: `"price":1099511627776,"st":{"m,m":1099511627776,"s":"x"},"tags":[1099511627776,null],"v":"a text"`, `"id":9,"n":"-3.00"`: `"price":9,"st":{"m,m":9,"s":"x"},"tags":[9,null],"v":null`})
		others.agree(t, lakeTable{n, path, false})
	}
	cli := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(proc.Sluice(t), append([]string{"table"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("sluice table %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := cli("info", n.at(path)); !strings.Contains(out, "columnMapping") || !strings.Contains(out, "typeWidening") {
		t.Error(out)
	}
	if out := cli("fsck", n.at(path)); !strings.Contains(out, ", 20 rows, 0 problems") {
		t.Error(out)
	}
	out, err := exec.Command(proc.Sluice(t), "table", "diff", n.at(path), "--version", "1", "--columns", "id,Value").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `+ {"Value":"U1099511627776","id":3}`) {
		t.Errorf("%v\n%s", err, out)
	}
	before := n.cat(t, path)
	cli("optimize", n.at(path))
	sameRows(t, "after optimize", n.cat(t, path), before)
	put("u", grown, 4, row(twelve, "6", `"after optimize"`))
	caughtUp()
	want(map[string]string{`"id":4,`: `"tags":[6,null]`})
	others.agree(t, lakeTable{n, path, false})
	cli("fsck", n.at(path))
}
