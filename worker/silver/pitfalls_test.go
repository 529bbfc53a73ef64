package silver_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/testkit"
)

// wire makes changes of Debezium events as they come over the wire.
type wire struct {
	t   *testing.T
	dec *debezium.Decoder
	off int64
	ts  int64

	topic, table string
}

func newWire(t *testing.T) *wire {
	t.Helper()
	d, err := debezium.New(cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, dec: d, ts: 1773480413000, topic: "s.p.t", table: "t"}
}

func (w *wire) record(key, value string, headers ...string) []connectors.Change {
	w.t.Helper()
	cs, err := w.dec.Decode(nil, w.next(key, value, headers...))
	if err != nil {
		w.t.Fatal(err)
	}
	return cs
}

// next makes the next record of the partition.
func (w *wire) next(key, value string, headers ...string) *connectors.Record {
	w.off++
	r := &connectors.Record{Topic: w.topic, Offset: w.off, TimestampMs: w.ts + w.off, Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, connectors.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

// event makes a row event: source are the members of source beside connector, name, db, schema and table. An image that is
// empty is null.
func (w *wire) event(connector, op, source, key, before, after string, headers ...string) []connectors.Change {
	w.t.Helper()
	if before == "" {
		before = "null"
	}
	if after == "" {
		after = "null"
	}
	w.ts += 10
	return w.record(key, fmt.Sprintf(`{"before":%s,"after":%s,"source":{"connector":"%s","name":"s","db":"d","schema":"p","table":"%s","ts_ms":%d,%s},"op":"%s","ts_ms":%d}`,
		before, after, connector, w.table, w.ts, source, op, w.ts), headers...)
}

func (w *wire) pg(op string, commit, lsn int, id int, after string, headers ...string) []connectors.Change {
	w.t.Helper()
	before := ""
	if op == "d" {
		before = fmt.Sprintf(`{"id":%d}`, id)
	}
	return w.event("postgresql", op, fmt.Sprintf(`"snapshot":"false","sequence":"[\"%d\",\"%d\"]","lsn":%d`, commit, lsn, lsn), fmt.Sprintf(`{"id":%d}`, id), before, after, headers...)
}

func (w *wire) mysql(op, file string, pos, server, id int, after string) []connectors.Change {
	w.t.Helper()
	before := ""
	if op == "d" {
		before = fmt.Sprintf(`{"id":%d}`, id)
	}
	return w.event("mysql", op, fmt.Sprintf(`"snapshot":"false","server_id":%d,"file":"%s","pos":%d,"row":0`, server, file, pos), fmt.Sprintf(`{"id":%d}`, id), before, after)
}

func all(lists ...[]connectors.Change) []connectors.Change {
	var out []connectors.Change
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// sample decodes a captured sample event.
func (w *wire) sample(name string) []connectors.Change {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Shared(w.t, "samples"), name+".json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var f struct {
		Key, Value json.RawMessage
		Headers    map[string]string
	}
	if err := json.Unmarshal(b, &f); err != nil {
		w.t.Fatal(err)
	}
	var headers []string
	for k, v := range f.Headers {
		headers = append(headers, k, v)
	}
	if string(f.Value) == "null" {
		f.Value = nil
	}
	return w.record(string(f.Key), string(f.Value), headers...)
}

// has tells whether a row of the table, as canonical JSON, has all the parts.
func (x *bench) has(parts ...string) bool {
	x.t.Helper()
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		n := 0
		for _, p := range parts {
			if strings.Contains(l, p) {
				n++
			}
		}
		if n == len(parts) {
			return true
		}
	}
	return false
}

// TestPitfalls are the ways in which other sinks went wrong that only the merge can get right: formats.md §5 by its numbers, and the
// lessons E of peers.md. docs/proofs.md lists all of them, with those that are tested elsewhere.
func TestPitfalls(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T){
		"5.01-positions-are-numbers": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			newer := w.mysql("u", "binlog.1000000", 4, 7, 1, `{"id":1,"a":"newer"}`)
			older := w.mysql("u", "binlog.999999", 900, 7, 1, `{"id":1,"a":"older"}`)
			older[0].SourceTsNs = newer[0].SourceTsNs - 1e9
			x.merge(newer...)
			x.merge(older...)
			x.want(`{"a":"newer","id":1}`)
		},
		"5.02-incremental-snapshot-beats-older-update": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("u", 100, 90, 1, `{"id":1,"a":"old"}`)...)
			r := w.event("postgresql", "r", `"snapshot":"incremental","sequence":"[\"160\",\"160\"]","lsn":null`, `{"id":1}`, "", `{"id":1,"a":"snapshot"}`)
			x.merge(r...)
			x.want(`{"a":"snapshot","id":1}`)
			x.merge(w.pg("u", 170, 165, 1, `{"id":1,"a":"new"}`)...)
			x.merge(r...)
			x.want(`{"a":"new","id":1}`)
		},
		"5.04-two-events-of-a-key-in-one-millisecond": func(t *testing.T) {
			for _, swap := range []bool{false, true} {
				x, w := newBench(t, nil), newWire(t)
				d, c := w.pg("d", 100, 101, 1, ""), w.pg("c", 100, 102, 1, `{"id":1,"a":"again"}`)
				if swap { // also in Kafka
					d[0].Record, c[0].Record = c[0].Record, d[0].Record
				}
				d[0].SourceTsNs, d[0].Record.TimestampMs = c[0].SourceTsNs, c[0].Record.TimestampMs
				x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":"first"}`)...)
				if swap {
					d, c = c, d
				}
				x.merge(all(d, c)...)
				x.want(`{"a":"again","id":1}`)
			}
		},
		"5.05-key-change-halves-in-separate-commits": func(t *testing.T) {
			for _, swap := range []bool{false, true} {
				x, w := newBench(t, nil), newWire(t)
				x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":"x"}`)...)
				d := w.pg("d", 100, 101, 1, "", "__debezium.newkey", `{"id":2}`)
				c := w.pg("c", 100, 101, 2, `{"id":2,"a":"x"}`, "__debezium.oldkey", `{"id":1}`)
				if swap {
					d, c = c, d
				}
				x.merge(d...)
				x.merge(c...)
				x.want(`{"a":"x","id":2}`)
			}
		},
		"5.05-key-shift-in-one-transaction": func(t *testing.T) {
			for cut := range 5 {
				x, w := newBench(t, nil), newWire(t)
				x.merge(all(
					w.event("oracle", "c", `"snapshot":"false","scn":"100","commit_scn":"101","txId":"t0","txSeq":1`, `{"ID":1}`, "", `{"ID":1,"NAME":"A"}`),
					w.event("oracle", "c", `"snapshot":"false","scn":"100","commit_scn":"101","txId":"t0","txSeq":2`, `{"ID":2}`, "", `{"ID":2,"NAME":"B"}`))...)
				events := [][]connectors.Change{w.sample("debezium-oracle-keyshift-1-delete"), w.sample("debezium-oracle-keyshift-2-tombstone"),
					w.sample("debezium-oracle-keyshift-3-create"), w.sample("debezium-oracle-keyshift-4-delete"), w.sample("debezium-oracle-keyshift-6-create")}
				x.merge(all(events[:cut]...)...)
				x.merge(all(events[cut:]...)...)
				x.want(`{"ID":2,"NAME":"A"}`, `{"ID":3,"NAME":"B"}`)
			}
		},
		"5.06-placeholder-is-neither-data-nor-null": func(t *testing.T) {
			const hole = `"__debezium_unavailable_value"`
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":1,"big":"text"}`)...)
			x.merge(all(w.pg("u", 60, 60, 1, `{"id":1,"a":2,"big":`+hole+`}`), w.pg("u", 61, 61, 1, `{"id":1,"a":3,"big":`+hole+`}`))...)
			x.want(`{"a":3,"big":"text","id":1}`)
			x.merge(w.pg("d", 70, 70, 1, "", "__debezium.newkey", `{"id":2}`)...)
			x.merge(w.pg("c", 70, 70, 2, `{"id":2,"a":3,"big":`+hole+`}`, "__debezium.oldkey", `{"id":1}`)...)
			x.want(`{"a":3,"big":"text","id":2}`)
		},
		"5.07-partitions-with-different-lag": func(t *testing.T) {
			x := newBench(t, nil)
			ahead, behind := rec(cOp, 100000, 1, "a", text("ahead")), rec(cOp, 5, 2, "a", text("behind"))
			behind.Record.Partition = 1
			x.merge(ahead)
			x.merge(behind)
			x.want(`{"a":"ahead","id":1}`, `{"a":"behind","id":2}`)
		},
		"5.09-invented-before-image-is-not-used": func(t *testing.T) {
			x, w := newBench(t, func(c *config.Sink) { c.SilverDeleteMode = "soft" }), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":7,"b":"kept"}`)...)
			x.merge(w.event("postgresql", "d", `"snapshot":"false","sequence":"[\"60\",\"60\"]","lsn":60`, `{"id":1}`, `{"id":1,"a":0,"b":""}`, "")...)
			if !x.has(`"a":7`, `"b":"kept"`, `"_cdc_deleted":true`) {
				t.Fatal(canonicalRows(t, x.b, "silver/t"))
			}
		},
		"5.10-one-row-per-key": func(t *testing.T) {
			x := newBench(t, nil)
			for i := range int64(4) {
				x.merge(rec(cOp, 1+2*i, 1, "a", long(i)), rec(uOp, 2+2*i, 1, "a", long(i*10)))
			}
			x.want(`{"a":30,"id":1}`)
		},
		"5.11-tombstones": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(all(w.pg("c", 50, 50, 1, `{"id":1,"a":1}`), w.pg("c", 51, 51, 2, `{"id":2,"a":2}`))...)
			x.merge(all(w.pg("d", 60, 60, 1, ""), w.record(`{"id":1}`, ""))...)
			x.merge(w.pg("c", 70, 70, 1, `{"id":1,"a":"back"}`)...) // the tombstone record was the delete's shadow
			x.merge(w.record(`{"id":2}`, "")...)                    // log compaction took the delete away
			x.merge(connectors.Change{Kind: connectors.Tombstone, Op: connectors.Delete, Record: &connectors.Record{Topic: "s.p.t", Offset: 99}})
			if len(x.letters) > 0 || strings.Count(x.rows(), "\n") != 0 || !x.has(`"id":1`) {
				t.Fatal(x.letters, x.rows())
			}
		},
		"5.11-a-tombstone-alone-deletes-also-in-the-merge-of-its-row": func(t *testing.T) {
			for name, cut := range map[string]bool{"one merge": false, "two merges": true} {
				for _, connector := range []string{"postgresql", "mysql"} {
					x, w := newBench(t, nil), newWire(t)
					row := w.pg("c", 50, 50, 1, `{"id":1,"a":1}`)
					if connector == "mysql" {
						row = w.mysql("c", "bin.000001", 50, 1, 1, `{"id":1,"a":1}`)
					}
					alone := w.record(`{"id":1}`, "") // log compaction took its delete away
					if cut {
						x.merge(row...)
						x.merge(alone...)
					} else {
						x.merge(all(row, alone)...)
					}
					if got := x.rows(); got != "" {
						t.Errorf("%s, %s: %s", connector, name, got)
					}
				}
			}
		},
		"5.13-decimals-grow-and-stay-exact": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", connectors.Dec("\x07\xcf", 2)))
			x.merge(rec(cOp, 2, 2, "a", connectors.Dec("\x01\x23\x45\x67\x89\xab\xcd\xef\x01", 4)))
			x.merge(rec(cOp, 3, 3, "a", connectors.Dec("\xff", 1)))
			x.want(`{"a":"-0.1000","id":3}`, `{"a":"19.9900","id":1}`, `{"a":"2098829547942064.5121","id":2}`)
			x.merge(rec(uOp, 4, 1, "a", connectors.Dec("\x4b\x3b\x4c\xa8\x5a\x86\xc4\x7a\x09\x8a\x22\x3f\xff", 0)))
			x.want(`{"a":"-0.1000","id":3}`, `{"a":"2098829547942064.5121","id":2}`, `{"a":"5960464477539062499999999999999.0000","id":1}`)
		},
		"5.14-column-dropped-and-added-again-with-another-type": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", long(1), "b", text("b1")), rec(uOp, 2, 1, "a", long(2)), rec(uOp, 3, 1, "a", long(3), "b", long(77)))
			x.merge(rec(cOp, 4, 2, "a", long(4), "b", text("b4")))
			got := x.rows()
			if !strings.Contains(got, `"a":3`) || !strings.Contains(got, `{"a":4,"b":"b4","id":2}`) || !x.has(`77`, `"id":1`) {
				t.Fatal(got)
			}
		},
		"5.19-key-column-only-in-the-key": func(t *testing.T) {
			x := newBench(t, nil)
			c := rec(cOp, 1, 5, "a", text("x"))
			c.After = connectors.Row{Shape: &connectors.Shape{Names: []string{"a"}}, Values: []connectors.Value{text("x")}}
			x.merge(c)
			x.want(`{"a":"x","id":5}`)
		},
		"5.20-names-that-differ-by-case-or-have-forbidden-characters": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "Value", text("upper"), "value", text("lower"), "a b,c;{}()=\n\t.d", long(4)))
			all := strings.Join(canonicalRows(t, x.b, "silver/t"), "")
			if !strings.Contains(all, `"upper"`) || !strings.Contains(all, `"lower"`) {
				t.Fatal(all)
			}
			seen := map[string]bool{}
			for _, f := range x.m.Schema().Fields {
				if n := strings.ToLower(f.Name); seen[n] || strings.ContainsAny(f.Name, " ,;{}()\n\t=") {
					t.Errorf("column %q", f.Name)
				} else {
					seen[n] = true
				}
			}
		},
		"5.23-ghost-rows-after-a-new-snapshot": func(t *testing.T) {
			for _, mode := range []string{"hard", "soft"} {
				x, w := newBench(t, func(c *config.Sink) { c.SilverDeleteMode = mode }), newWire(t)
				read := func(kind string, pos, id int, a string) []connectors.Change {
					return w.event("mysql", "r", fmt.Sprintf(`"snapshot":"%s","server_id":7,"file":"b.000002","pos":%d,"row":0`, kind, pos),
						fmt.Sprintf(`{"id":%d}`, id), "", fmt.Sprintf(`{"id":%d,"a":"%s"}`, id, a))
				}
				x.merge(all(w.mysql("c", "b.000001", 10, 7, 1, `{"id":1,"a":"x"}`), w.mysql("c", "b.000001", 20, 7, 2, `{"id":2,"a":"x"}`),
					w.mysql("c", "b.000001", 30, 7, 3, `{"id":3,"a":"x"}`))...)
				late := w.mysql("u", "b.000001", 40, 7, 4, `{"id":4,"a":"a ghost that comes late"}`)
				// The source loses its log; 2 is deleted meanwhile, 5 made; 3 is changed behind the snapshot.
				x.merge(read("first", 900, 1, "again")...)
				rest := all(read("true", 900, 3, "again"), read("last", 900, 5, "new"))
				x.merge(all(w.mysql("u", "b.000002", 950, 7, 3, `{"id":3,"a":"after"}`), rest)...)
				x.merge(late...)
				if mode == "hard" {
					x.want(`{"a":"after","id":3}`, `{"a":"again","id":1}`, `{"a":"new","id":5}`)
				} else if !x.has(`"_cdc_deleted":true`, `"id":2`) || x.has(`"_cdc_deleted":true`, `"id":1`) || strings.Count(x.rows(), "\n") != 3 {
					t.Fatal(canonicalRows(t, x.b, "silver/t"))
				}
			}
		},
		"5.23-a-transaction-under-way-is-no-ghost": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":"ghost"}`)...)
			r := w.event("postgresql", "r", `"snapshot":"last","sequence":"[\"200\",\"200\"]","lsn":200`, `{"id":2}`, "", `{"id":2,"a":"x"}`)
			x.merge(w.pg("c", 150, 190, 3, `{"id":3,"a":"committed after the snapshot"}`)...)
			x.merge(r...)
			x.merge(w.pg("c", 150, 195, 4, `{"id":4,"a":"it too"}`)...)
			x.want(`{"a":"committed after the snapshot","id":3}`, `{"a":"it too","id":4}`, `{"a":"x","id":2}`)
		},
		"5.23-a-snapshot-in-windows-sweeps-nothing": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.mysql("c", "b.000001", 10, 7, 1, `{"id":1,"a":"x"}`)...)
			x.merge(w.event("mysql", "r", `"snapshot":"incremental","server_id":7,"file":"b.000002","pos":900,"row":0`, `{"id":2}`, "", `{"id":2,"a":"y"}`)...)
			x.want(`{"a":"x","id":1}`, `{"a":"y","id":2}`)
		},
		"5.23-a-snapshot-of-one-shard-leaves-the-others": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			w.topic = "s.p.all_tables" // t and u are those that a transform brought together
			x.merge(w.mysql("c", "b.000001", 10, 7, 1, `{"id":1,"a":"of t"}`)...)
			w.table = "u"
			x.merge(w.mysql("c", "b.000001", 20, 7, 2, `{"id":2,"a":"a ghost of u"}`)...)
			x.merge(w.event("mysql", "r", `"snapshot":"last","server_id":7,"file":"b.000002","pos":900,"row":0`, `{"id":3}`, "", `{"id":3,"a":"new in u"}`)...)
			x.want(`{"a":"new in u","id":3}`, `{"a":"of t","id":1}`)
			w.table = "t"
			x.merge(w.event("mysql", "r", `"snapshot":"last","server_id":7,"file":"b.000003","pos":100,"row":0`, `{"id":4}`, "", `{"id":4,"a":"new in t"}`)...)
			x.want(`{"a":"new in t","id":4}`, `{"a":"new in u","id":3}`)
		},
		"5.25-rows-at-one-position": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(all(w.mysql("c", "b.1", 10, 7, 1, `{"id":1,"a":1}`), w.mysql("u", "b.1", 10, 7, 1, `{"id":1,"a":2}`))...)
			x.merge(w.mysql("u", "b.1", 10, 7, 1, `{"id":1,"a":3}`)...)
			x.want(`{"a":3,"id":1}`)
		},
		"5.26-another-server-after-a-fail-over": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.mysql("c", "binlog.000147", 4000, 7, 1, `{"id":1,"a":"old server"}`)...)
			old := w.mysql("u", "binlog.000147", 4500, 7, 1, `{"id":1,"a":"late, of the old server"}`)
			x.merge(w.mysql("u", "mysql-bin.000003", 200, 8, 1, `{"id":1,"a":"new server"}`)...)
			x.want(`{"a":"new server","id":1}`)
			x.merge(old...)
			x.want(`{"a":"new server","id":1}`)
		},
		"5.27-sql-server-order-inside-a-commit": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			const src = `"snapshot":"false","commit_lsn":"0000004a:00001b38:0005","change_lsn":"0000004a:00001b38:%s","event_serial_no":%d`
			x.merge(all(w.event("sqlserver", "d", fmt.Sprintf(src, "0009", 1), `{"id":1}`, `{"id":1}`, ""),
				w.event("sqlserver", "c", fmt.Sprintf(src, "0003", 2), `{"id":1}`, "", `{"id":1,"a":"there"}`))...)
			x.want(`{"a":"there","id":1}`)
			x.merge(all(w.event("sqlserver", "u", fmt.Sprintf(src, "0013", 2), `{"id":1}`, "", `{"id":1,"a":"first"}`),
				w.event("sqlserver", "u", fmt.Sprintf(src, "0011", 2), `{"id":1}`, "", `{"id":1,"a":"second"}`))...)
			x.want(`{"a":"second","id":1}`)
		},
		"5.28-oracle-array-dml": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			const src = `"snapshot":"false","scn":"100","commit_scn":"200","rs_id":"0x1","ssn":0,"txId":"t1","txSeq":%d`
			first := w.event("oracle", "u", fmt.Sprintf(src, 1), `{"id":1}`, "", `{"id":1,"a":"first"}`)
			x.merge(w.event("oracle", "u", fmt.Sprintf(src, 2), `{"id":1}`, "", `{"id":1,"a":"second"}`)...)
			x.merge(first...)
			x.want(`{"a":"second","id":1}`)
			x.merge(w.event("oracle", "u", fmt.Sprintf(src, 3), `{"id":1}`, "", `{"id":1,"a":"third"}`)...)
			x.want(`{"a":"third","id":1}`)
		},
		"5.29-truncate-against-late-rows": func(t *testing.T) {
			x := newBench(t, nil)
			cut := rec(dOp, 50, 0)
			cut.Kind, cut.Op, cut.Key = connectors.TruncateTable, connectors.Truncate, connectors.Row{}
			x.merge(rec(cOp, 10, 1, "a", text("before")), rec(cOp, 60, 2, "a", text("after, but it came first")))
			x.merge(cut)
			late := rec(cOp, 40, 3, "a", text("before, and late"))
			late.Record.Partition = 1
			x.merge(late)
			x.want(`{"a":"after, but it came first","id":2}`)
		},
		"5.30-control-records-are-no-rows": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(all(w.pg("c", 50, 50, 1, `{"id":1,"a":1}`), w.sample("debezium-mysql-heartbeat"), w.sample("debezium-mysql-transaction-begin"),
				w.sample("debezium-mysql-transaction-end"), w.sample("debezium-mysql-schemachange-alter"), w.sample("debezium-mysql-notification"),
				w.sample("debezium-postgres-message"))...)
			x.want(`{"a":1,"id":1}`)
			if len(x.letters) > 0 {
				t.Errorf("%+v", x.letters)
			}
		},
		"5.33-float-special-values": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1, 1, "a", connectors.Float(math.NaN())), rec(cOp, 2, 2, "a", connectors.Float(math.Inf(1))), rec(cOp, 3, 3, "a", connectors.Float(math.Inf(-1))))
			x.merge(rec(uOp, 4, 2, "b", long(1)), rec(cOp, 5, 4, "a", connectors.Float(1)))
			if !x.has("NaN", `"id":1`) || !x.has("-Inf", `"id":3`) {
				t.Fatal(x.rows())
			}
		},
		"5.37-mongo-update-without-document": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.sample("debezium-mongodb-insert")...)
			was := x.rows()
			x.merge(w.sample("debezium-mongodb-update-after-null")...)
			if x.rows() != was {
				t.Fatal(x.rows())
			}
		},
		"5.38-only-the-last-state-survived-compaction": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			w.off = 1000
			x.merge(w.pg("u", 50, 50, 1, `{"id":1,"a":"only this"}`)...)
			w.off = 5000
			x.merge(all(w.pg("d", 60, 60, 2, ""), w.pg("u", 61, 61, 3, `{"id":3,"a":"and this"}`))...)
			x.want(`{"a":"and this","id":3}`, `{"a":"only this","id":1}`)
		},
		"5.39-headers-of-a-key-change-are-lost": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":"x"}`)...)
			x.merge(all(w.pg("d", 60, 60, 1, ""), w.pg("c", 60, 60, 2, `{"id":2,"a":"x"}`))...)
			x.want(`{"a":"x","id":2}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}
