package debezium

import (
	"fmt"
	"testing"

	"sluice.io/sluice/connectors"
)

// TestPositionsOrder lists events in the order of their source: positions must rise from line to line.
func TestPositionsOrder(t *testing.T) {
	t.Parallel()
	const mysql = `"connector":"mysql","name":"s","ts_ms":1,"db":"d","table":"t","server_id":7,`
	const maria = `"connector":"mariadb","name":"s","ts_ms":1,"db":"d","table":"t",`
	const pg = `"connector":"postgresql","name":"s","ts_ms":1,"db":"d","schema":"p","table":"t",`
	const ora = `"connector":"oracle","name":"s","ts_ms":1,"db":"d","schema":"p","table":"t",`
	const mssql = `"connector":"sqlserver","name":"s","ts_ms":1,"db":"d","schema":"p","table":"t",`
	type event struct{ op, source, order string }
	for name, events := range map[string][]event{
		"mysql": {
			{"r", mysql + `"snapshot":"first","file":"binlog.000001","pos":4,"row":0`, ""},
			{"c", mysql + `"file":"binlog.999999","pos":9,"row":0`, "1"},
			{"c", mysql + `"file":"binlog.1000000","pos":4,"row":0`, "1"}, // the suffix is a number
			{"c", mysql + `"file":"binlog.1000000","pos":4,"row":1`, "1"},
			{"c", mysql + `"file":"binlog.1000000","pos":5,"row":0`, "1"},
			{"u", mysql + `"file":"binlog.1000000","pos":5,"row":0`, "2"}, // a compressed transaction
		},
		"mariadb": {
			{"r", maria + `"snapshot":"last","server_id":0,"gtid":null,"file":"bin.000009","pos":9,"row":0`, ""},
			{"d", maria + `"server_id":1,"gtid":"0-1-30877","file":"bin.000012","pos":1000,"row":0`, ""},
			{"c", maria + `"server_id":1,"gtid":"0-1-30877","file":"bin.000012","pos":1000,"row":0`, ""}, // the halves of a key change
			{"u", maria + `"server_id":2,"gtid":"0-2-30878","file":"binlog-000002.ibb","pos":999,"row":0`, ""},
		},
		"postgresql": {
			{"r", pg + `"snapshot":"first","sequence":"[null,\"100\"]","lsn":100`, ""},
			{"u", pg + `"sequence":"[null,\"110\"]","lsn":110`, ""},
			{"u", pg + `"sequence":"[\"150\",\"90\"]","lsn":90`, ""}, // a transaction that began early and committed late
			{"r", pg + `"snapshot":"incremental","sequence":"[\"160\",\"160\"]","lsn":null`, ""},
			{"u", pg + `"sequence":"[\"170\",\"165\"]","lsn":165`, "1"},
			{"u", pg + `"sequence":"[\"170\",\"165\"]","lsn":165`, "2"},
			{"r", pg + `"snapshot":"first","sequence":"[null,\"200\"]","lsn":200`, ""}, // a second snapshot
			{"u", pg + `"sequence":"[\"3\"]","lsn":-5`, ""},                            // below
		},
		"oracle": {
			{"r", ora + `"snapshot":"true","scn":"100","commit_scn":null,"txSeq":null`, ""},
			{"u", ora + `"scn":"90","commit_scn":"200","txSeq":1`, ""},
			{"u", ora + `"scn":"80","commit_scn":"200","txSeq":2`, ""},
			{"t", ora + `"scn":"300","commit_scn":null,"txSeq":null`, ""},
			{"u", ora + `"scn":"18446744073709551617","commit_scn":"18446744073709551620","txSeq":1`, ""},
		},
		"sqlserver": {
			{"r", mssql + `"snapshot":"true","commit_lsn":"0000004a:00001a00:0001","change_lsn":null,"event_serial_no":null`, ""},
			{"d", mssql + `"commit_lsn":"0000004a:00001b38:0005","change_lsn":"0000004a:00001b38:0009","event_serial_no":1`, "1"},
			{"c", mssql + `"commit_lsn":"0000004a:00001b38:0005","change_lsn":"0000004a:00001b38:0003","event_serial_no":"2"`, "2"}, // change_lsn falls
			{"c", mssql + `"commit_lsn":"0000004A:00001B39:0001","change_lsn":"0000004a:00001b38:0001","event_serial_no":1`, "1"},
		},
	} {
		d := newDecoder(t, always)
		var last connectors.Position
		for i, e := range events {
			tx := "null"
			if e.order != "" {
				tx = `{"id":"1","total_order":` + e.order + `,"data_collection_order":"1"}`
			}
			v := fmt.Sprintf(`{"before":{"id":1},"after":{"id":1},"source":{%s},"transaction":%s,"op":"%s","ts_ms":1}`, e.source, tx, e.op)
			cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(`{"id":1}`), Value: []byte(v)})
			if err != nil {
				t.Fatalf("%s %d: %v", name, i, err)
			}
			if i == len(events)-1 && name == "postgresql" {
				if got := fields(cs[0].Position); got[0] != 3 || got[1] != 1<<64-5 {
					t.Errorf("a negative LSN is read as %v, want it unsigned", got)
				}
				continue
			}
			if cs[0].Position <= last || cs[0].PosQuality != connectors.Exact {
				t.Errorf("%s: event %d has position %x (quality %d), not above %x", name, i, cs[0].Position, cs[0].PosQuality, last)
			}
			last = cs[0].Position
		}
	}
}

// TestTies: where two events of a key may share a position, op does not order them, so that the offset does.
func TestTies(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, always)
	decode := func(op string) connectors.Change {
		v := fmt.Sprintf(`{"before":{"id":1},"after":{"id":1},"source":{"connector":"mysql","name":"s","ts_ms":1,"db":"d","table":"t","server_id":7,"file":"b.1","pos":1,"row":0},"op":"%s"}`, op)
		cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(`{"id":1}`), Value: []byte(v)})
		if err != nil {
			t.Fatal(err)
		}
		return cs[0]
	}
	a, b := decode("u"), decode("d")
	if a.Position != b.Position || a.PosQuality != connectors.TieMayHappen || a.Lineage != "mysql/7/b" {
		t.Errorf("%x %x %d %q", a.Position, b.Position, a.PosQuality, a.Lineage)
	}
}

// TestPlaceholderIsTextWhereAllValuesAreSent: a snapshot row or a create that is no key change has no placeholders.
func TestPlaceholderIsTextWhereAllValuesAreSent(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, always)
	const value = `{"before":null,"after":{"id":1,"b":"__debezium_unavailable_value"},"source":{"connector":"%s","name":"s","ts_ms":1,"db":"d","schema":"p","table":"t","file":"b.1","pos":1,"sequence":"[\"1\",\"2\"]"},"op":"%s"}`
	for _, c := range []struct {
		connector, op, header string
		want                  connectors.State
	}{
		{"postgresql", "u", "", connectors.Unavailable}, {"postgresql", "r", "", connectors.Present},
		{"postgresql", "c", "__debezium.context.taskId", connectors.Present}, {"postgresql", "c", "", connectors.Unavailable},
		{"postgresql", "c", "__debezium.oldkey", connectors.Unavailable}, {"mysql", "u", "", connectors.Present},
	} {
		rec := &connectors.Record{Topic: "t", Key: []byte(`{"id":1}`), Value: fmt.Appendf(nil, value, c.connector, c.op)}
		if c.header != "" {
			rec.Headers = []connectors.Header{{Key: c.header, Value: []byte(`{"id":0}`)}}
		}
		cs, err := d.Decode(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		if got := cs[0].After.Get("b").State; got != c.want {
			t.Errorf("%s %s %s: state %d, want %d", c.connector, c.op, c.header, got, c.want)
		}
	}
}

// A key is always sent: a text in it that equals the placeholder is that text.
func TestPlaceholderInKeyIsText(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, always)
	const value = `{"before":%s,"after":%s,"source":{"connector":"postgresql","name":"s","ts_ms":1,"db":"d","schema":"p","table":"t","sequence":"[\"1\",\"2\"]"},"op":"%s"}`
	const row = `{"id":"__debezium_unavailable_value","b":"__debezium_unavailable_value"}`
	for _, c := range [][3]string{{"null", row, "u"}, {row, row, "u"}, {row, "null", "d"}, {"null", row, "c"}} {
		cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(`{"id":"__debezium_unavailable_value"}`), Value: fmt.Appendf(nil, value, c[0], c[1], c[2])})
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []connectors.Row{cs[0].Before, cs[0].After} {
			if v := got.Get("id"); !got.IsZero() && (v.State != connectors.Present || v.Str != "__debezium_unavailable_value") {
				t.Errorf("%s: the key's column is %+v", c[2], v)
			}
			if v := got.Get("b"); !got.IsZero() && v.State != connectors.Unavailable {
				t.Errorf("%s: column b is %+v", c[2], v)
			}
		}
	}
}
