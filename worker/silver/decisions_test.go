package silver_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// decoded makes changes of a record of any format.
func decoded(t *testing.T, format, absent string, off int64, key, value string) []connectors.Change {
	t.Helper()
	d, err := formats.Default().New(format, cdc.Options{Absent: absent})
	if err != nil {
		t.Fatal(err)
	}
	r := &connectors.Record{Topic: "s.p.t", Offset: off, TimestampMs: off, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	cs, err := d.Decode(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

// column gives a column of the row that has this id, as JSON.
func (x *bench) column(id, name string) string {
	x.t.Helper()
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			x.t.Fatal(err)
		}
		for _, k := range []string{"id", "_id", "ID"} {
			if string(m[k]) == id {
				return string(m[name])
			}
		}
	}
	return "no row"
}

// TestDecisions are details of what silver means that could be otherwise, each with the case that decides it. docs/proofs.md lists them.
func TestDecisions(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T){
		"a-tombstone-has-the-position-of-its-delete": func(t *testing.T) {
			for _, again := range []bool{false, true} { // the delete came late, its tombstone in another batch, to another owner
				x, w := newBench(t, nil), newWire(t)
				first, d, c := w.pg("c", 50, 50, 1, `{"id":1,"a":"first"}`), w.pg("d", 60, 60, 1, ""), w.pg("c", 70, 70, 1, `{"id":1,"a":"again"}`)
				d[0].Record, c[0].Record = c[0].Record, d[0].Record
				x.merge(all(first, c)...)
				x.merge(d...)
				if again {
					if err := x.m.Close(context.Background()); err != nil {
						t.Fatal(err)
					}
					x.reopen(nil)
				}
				x.merge(w.record(`{"id":1}`, "")...)
				x.want(`{"a":"again","id":1}`)
			}
		},
		"a-lone-tombstone-is-an-offset-only-delete": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":1}`)...)
			early := w.record(`{"id":2}`, "")
			x.merge(w.pg("c", 51, 51, 2, `{"id":2,"a":2}`)...)
			x.merge(early...)
			x.merge(w.record(`{"id":1}`, "")...)
			x.want(`{"a":2,"id":2}`)
		},
		"snapshot-rows-without-position-rank-below": func(t *testing.T) {
			x := newBench(t, nil)
			read := func(off, id int64) connectors.Change {
				r := rec(connectors.Read, off, id, "a", text("loaded"))
				r.Position, r.PosQuality, r.Snapshot = "", connectors.OffsetOnly, connectors.SnapshotTrue
				return r
			}
			x.merge(rec(uOp, 1, 1, "a", text("streamed")), rec(dOp, 2, 2))
			x.merge(read(8, 1), read(9, 2), read(10, 3))
			x.want(`{"a":"loaded","id":3}`, `{"a":"streamed","id":1}`)
			x.merge(rec(uOp, 3, 3, "a", text("streamed")))
			x.merge(read(11, 3))
			x.want(`{"a":"streamed","id":1}`, `{"a":"streamed","id":3}`)
		},
		"a-new-lineage-is-in-the-table": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 1000, 1, "a", text("old")), rec(cOp, 1001, 2, "a", text("old")))
			anew := rec(uOp, 1002, 1, "a", text("new"))
			anew.Position = benchPosition(5, 2)
			x.merge(anew)
			x.reopen(nil)
			more := rec(uOp, 1003, 2, "a", text("new"))
			more.Position = benchPosition(6, 2)
			x.merge(more)
			x.reopen(nil)
			stale := rec(uOp, 1001, 1, "a", text("of the old log, late"))
			stale = at(stale, 1)
			x.merge(stale)
			x.want(`{"a":"new","id":1}`, `{"a":"new","id":2}`)
		},
		"a-carried-value-remembers-when-it-was-told": func(t *testing.T) {
			const hole = `"__debezium_unavailable_value"`
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":1,"big":"first"}`)...)
			late, older := w.pg("u", 60, 60, 1, `{"id":1,"a":2,"big":"second"}`), w.pg("u", 55, 55, 1, `{"id":1,"a":9,"big":"between"}`)
			x.merge(w.pg("u", 70, 70, 1, `{"id":1,"a":3,"big":`+hole+`}`)...)
			x.want(`{"a":3,"big":"first","id":1}`)
			x.reopen(nil)
			x.merge(late...)
			x.want(`{"a":3,"big":"second","id":1}`)
			x.merge(older...)
			x.want(`{"a":3,"big":"second","id":1}`)
		},
		"an-unavailable-value-comes-from-the-old-key": func(t *testing.T) {
			const hole = `"__debezium_unavailable_value"`
			for _, way := range []string{"delete first", "create first", "another owner between"} {
				x, w := newBench(t, nil), newWire(t)
				x.merge(w.pg("c", 50, 50, 1, `{"id":1,"a":1,"big":"text"}`)...)
				d := w.pg("d", 70, 70, 1, "", "__debezium.newkey", `{"id":2}`)
				c := w.pg("c", 70, 70, 2, `{"id":2,"a":3,"big":`+hole+`}`, "__debezium.oldkey", `{"id":1}`)
				if way == "create first" {
					d, c = c, d
				}
				x.merge(d...)
				if way == "another owner between" {
					x.reopen(nil)
				}
				x.merge(c...)
				x.want(`{"a":3,"big":"text","id":2}`)
			}
		},
		"a-truncate-holds-back-older-rows-also-with-another-owner": func(t *testing.T) {
			x := newBench(t, nil)
			x.merge(rec(cOp, 10, 1, "a", text("before")), rec(cOp, 60, 2, "a", text("after")))
			x.merge(truncateAt(50))
			x.reopen(nil)
			x.merge(at(rec(cOp, 40, 3, "a", text("before, and late")), 1))
			x.want(`{"a":"after","id":2}`)
		},
		"a-replay-changes-nothing-the-event-id-included": func(t *testing.T) {
			x := newBench(t, nil)
			in := []connectors.Change{rec(cOp, 1, 1, "a", text("x")), rec(uOp, 2, 1, "a", text("y")), rec(cOp, 3, 2, "a", text("z")), rec(dOp, 4, 2)}
			x.merge(in...)
			was := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n")
			x.merge(again(in)...)
			if is := strings.Join(canonicalRows(t, x.b, "silver/t"), "\n"); is != was {
				t.Fatalf("%s\nwas %s", is, was)
			}
		},
		"operations-are-c-u-r-and-d-of-soft-deletes": func(t *testing.T) {
			x := newBench(t, func(k *config.Sink) { k.SilverDeleteMode = "soft" })
			read := rec(connectors.Read, 3, 3, "a", text("x"))
			x.merge(rec(cOp, 1, 1, "a", text("x")), rec(uOp, 2, 2, "a", text("x")), read, rec(cOp, 4, 4, "a", text("x")))
			x.merge(rec(dOp, 5, 4))
			for id, op := range map[string]string{"1": `"c"`, "2": `"u"`, "3": `"r"`, "4": `"d"`} {
				if got := x.column(id, "_cdc_operation"); got != op {
					t.Errorf("row %s: %s, want %s", id, got, op)
				}
			}
		},
		"a-default-is-not-back-filled": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.declared(1, `{"type":"string"}`, `"x"`)...)
			c := w.declared(2, `{"type":"string"}`, `"x"`)
			more := *c[0].After.Shape
			more.Names, more.Types = append(more.Names[:2:2], "n"), append(more.Types[:2:2], schema.Of(schema.Integer))
			c[0].After = connectors.Row{Shape: &more, Values: append(c[0].After.Values[:2:2], connectors.Int(schema.Integer, 7))}
			x.merge(c...)
			x.want(`{"id":1,"n":null,"v":"x"}`, `{"id":2,"n":7,"v":"x"}`)
		},
		"types-without-schemas": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.pg("c", 50, 50, 1, `{"id":1,"i":1,"f":0.5,"o":{"a": [1, null]},"l":[1,"x"],"b":true,"s":"t"}`)...)
			x.want(`{"b":true,"f":0.5,"i":1,"id":1,"l":"[1,\"x\"]","o":"{\"a\": [1, null]}","s":"t"}`)
			x.merge(w.pg("c", 60, 60, 2, `{"id":2,"i":1.5,"f":2,"o":7,"l":{},"b":"yes","s":12}`)...)
			for _, f := range x.m.Schema().Fields {
				want := map[string]string{"i": "double", "f": "double", "o": "string", "l": "string", "b": "boolean", "s": "string", "id": "long"}[f.Name]
				if want != "" && f.Type.String() != want {
					t.Errorf("%s is %s, want %s", f.Name, f.Type, want)
				}
			}
			for name, want := range map[string]string{"i": "1.5", "f": "2", "o": "null", "l": `"{}"`, "b": "null", "s": "null", "_rescued_data": `"{\"b\":\"yes\",\"o\":7,\"s\":12}"`} {
				if got := x.column("2", name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
		},
		"documents-of-mongodb": func(t *testing.T) {
			x, w := newBench(t, nil), newWire(t)
			x.merge(w.event("mongodb", "c", `"snapshot":"false","collection":"t","ord":1`, `{"id":"{\"$oid\": \"596e275826f08b2730779e1f\"}"}`, "",
				`"{\"_id\": {\"$oid\": \"596e275826f08b2730779e1f\"}, \"n\": {\"$numberLong\": \"5\"}, \"sub\": {\"at\": {\"$date\": 1773480413123}, \"k\": {\"$numberInt\": \"1\"}}}"`)...)
			if got := x.column(`"596e275826f08b2730779e1f"`, "n"); got != "5" {
				t.Errorf("n is %s: %s", got, x.rows())
			}
			if got := x.column(`"596e275826f08b2730779e1f"`, "sub"); got != `"{\"at\": {\"$date\": \"2026-03-14T09:26:53.123Z\"}, \"k\": 1}"` && got != `"{\"at\":{\"$date\":\"2026-03-14T09:26:53.123Z\"},\"k\":1}"` {
				t.Errorf("sub is %s, want relaxed extended JSON", got)
			}
		},
		"documents-of-mongodb-as-columns": func(t *testing.T) {
			for doc, want := range map[string]string{
				`{"_id": 1, "a": {"b": {"$numberLong": "5"}, "c": {"d": {"$date": 1773480413123}, "e": []}}, "n": {}}`: `{"a_b":5,"a_c_d":"2026-03-14T09:26:53.123000Z","a_c_e":"[]","n":"{}"}`,
				`{"_id": 1, "a": {"b": 1}, "a_b": 2}`: `{"a":"{\"b\":1}","a_b":2}`,
				`{"_id": {"x": 1}, "a": 1}`:           `{"a":1}`,
				`{"_id": 1, "a": {"b c": {"$oid": "596e275826f08b2730779e1f"}}, "l": [{"x": 1}]}`: `{"a_b_x0020_c":"596e275826f08b2730779e1f","l":"[{\"x\":1}]"}`,
			} {
				x, w := newBench(t, nil), newWire(t)
				var err error
				if w.dec, err = debezium.New(cdc.OptionsOf(&config.Sink{SilverMongoFlatten: true})); err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				x.merge(w.event("mongodb", "c", `"snapshot":"false","collection":"t","ord":1`, `{"id":"1"}`, "", string(text))...)
				x.want(want)
			}
		},
		"columns-that-dms-leaves-out": func(t *testing.T) {
			const load = `{"data":{"id":1,"a":"x","b":"y"},"metadata":{"timestamp":"2026-03-14T09:26:53Z","record-type":"data","operation":"load","partition-key-type":"primary-key","schema-name":"s","table-name":"t"}}`
			const update = `{"data":{"id":1,"a":"z"},"metadata":{"timestamp":"2026-03-14T09:26:54Z","record-type":"data","operation":"update","partition-key-type":"primary-key","schema-name":"s","table-name":"t"}}`
			for absent, want := range map[string]string{"": `{"a":"z","b":null,"id":1}`, "null": `{"a":"z","b":null,"id":1}`, "unchanged": `{"a":"z","b":"y","id":1}`} {
				x := newBench(t, func(k *config.Sink) { k.Format, k.CDCAbsent, k.SilverKeys = "dms", absent, []string{"id"} })
				x.merge(decoded(t, "dms", absent, 1, "", load)...)
				x.merge(decoded(t, "dms", absent, 2, "", update)...)
				x.want(want)
			}
		},
		"columns-that-goldengate-leaves-out": func(t *testing.T) {
			const insert = `{"table":"S.T","op_type":"I","op_ts":"2026-03-14 09:26:53.000000","pos":"00000000000000000001","primary_keys":["id"],"after":{"id":1,"a":"x","b":"y"}}`
			const update = `{"table":"S.T","op_type":"U","op_ts":"2026-03-14 09:26:54.000000","pos":"00000000000000000002","primary_keys":["id"],"before":{"id":1},"after":{"id":1,"a":"z"}}`
			for absent, want := range map[string]string{"": `{"a":"z","b":"y","id":1}`, "unchanged": `{"a":"z","b":"y","id":1}`, "null": `{"a":"z","b":null,"id":1}`} {
				x := newBench(t, func(k *config.Sink) { k.Format, k.CDCAbsent = "goldengate", absent })
				x.merge(decoded(t, "goldengate", absent, 1, "", insert)...)
				x.merge(decoded(t, "goldengate", absent, 2, "", update)...)
				x.want(want)
			}
		},
		"a-file-whose-rows-are-all-deleted-is-removed": func(t *testing.T) {
			for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
				x := newBench(t, func(k *config.Sink) { k.SilverMergeMode = mode })
				x.merge(rec(cOp, 1, 1, "a", text("x")), rec(cOp, 2, 2, "a", text("x")))
				first := x.files()
				x.merge(rec(cOp, 3, 3, "a", text("x")))
				x.merge(rec(dOp, 4, 1))
				x.merge(rec(uOp, 5, 2, "a", text("y")))
				if strings.Contains(x.files(), first) {
					t.Errorf("%s: %s is still there", mode, first)
				}
				x.want(`{"a":"x","id":3}`, `{"a":"y","id":2}`)
			}
		},
		"statistics-of-decimals-are-exact-digits": func(t *testing.T) {
			x := newBench(t, nil)
			c := shaped(cOp, 1, 1, []schema.Type{schema.DecimalOf(38, 2)}, "v", connectors.Dec("\x0d\xe0\xb6\xb3\xa7\x64\x00\x01\x23\x45", 2))
			x.merge(c)
			tab, err := delta.Open(context.Background(), x.b, "silver/t")
			if err != nil {
				t.Fatal(err)
			}
			s, err := tab.Snapshot(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			value := strings.Trim(x.column("1", "v"), `"`)
			for a := range s.Files() {
				if !strings.Contains(string(a.Stats), `"v":`+value) {
					t.Errorf("the value is %s, the statistics are %s", value, a.Stats)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}
