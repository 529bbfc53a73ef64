package debezium

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/cdc/internal/samples"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/testkit"
)

func newDecoder(tb testing.TB, o cdc.Options) *Decoder {
	tb.Helper()
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

var always = cdc.Options{Before: cdc.BeforeAlways}

// outcome is what a decoder made of a record, in one line.
func outcome(cs []connectors.Change, err error) string {
	if err != nil {
		if x, ok := connectors.IsPoison(err); ok {
			return "dead letter: " + x.Class
		}
		return "error: " + err.Error()
	}
	if len(cs) != 1 {
		return fmt.Sprintf("%d changes", len(cs))
	}
	c := cs[0]
	switch c.Kind {
	case connectors.Tombstone:
		return "tombstone"
	case connectors.TruncateTable:
		return "truncate"
	case connectors.Control:
		return map[connectors.ControlKind]string{connectors.SchemaChange: "schema change", connectors.TxBegin: "transaction begin",
			connectors.TxEnd: "transaction end", connectors.Heartbeat: "heartbeat", connectors.Notification: "notification",
			connectors.LogicalMessage: "message", connectors.Signal: "signal", connectors.OtherControl: "control"}[c.ControlKind]
	}
	return map[connectors.Op]string{connectors.Insert: "insert", connectors.Update: "update", connectors.Delete: "delete", connectors.Read: "read"}[c.Op]
}

// render prints a value as a person would write it.
func render(v connectors.Value) string {
	switch v.State {
	case connectors.Absent:
		return "<absent>"
	case connectors.Null:
		return "NULL"
	case connectors.Unavailable:
		return "<unavailable>"
	}
	switch v.Kind {
	case schema.String:
		return v.Str
	case schema.Binary:
		return fmt.Sprintf("%x", v.Str)
	case schema.Decimal:
		return string(js.AppendDecimal(nil, v.Str, int(v.Int)))
	case schema.Double, schema.Float:
		return fmt.Sprint(v.Float64())
	case schema.Array, schema.Map, schema.Struct:
		var parts []string
		for _, k := range v.Kids() {
			parts = append(parts, render(k))
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	return fmt.Sprint(v.Int)
}

func rescued(row connectors.Row, col string) (string, bool) {
	for _, r := range row.Rescued() {
		if row.Shape.Names[r.Column] == col {
			return r.Text, true
		}
	}
	return "", false
}

// deadLetterless are the samples whose fault cannot be seen without a declared type: a text is a text. Beside them
// their other form, with a schema, is tested in TestDeclaredTypesAreChecked.
var deadLetterless = map[string]bool{"malformed-mysql-decimal-bad-base64": true, "malformed-mysql-decimal-overflow": true}

// others are samples of other formats; their decoders test them.
var others = []string{"malformed-avro", "malformed-canal", "malformed-dms", "malformed-maxwell"}

func TestSamples(t *testing.T) {
	t.Parallel()
	d := newDecoder(t, always)
	var table strings.Builder
	for _, s := range samples.Load(t, testkit.Shared(t, "samples"), "debezium-", "malformed-") {
		cs, err := d.Decode(nil, &s.Record)
		got := outcome(cs, err)
		note := ""
		for _, p := range others {
			if strings.HasPrefix(s.Name, p) {
				note = " (of another format)"
				if err == nil {
					t.Errorf("%s: the Debezium decoder took a record of another format", s.Name)
				}
				if p == "malformed-avro" && (!strings.HasPrefix(got, "dead letter") || !strings.Contains(err.Error(), "schema registry")) {
					t.Errorf("%s: %s (%v), want a dead letter that tells of the schema registry", s.Name, got, err)
				}
			}
		}
		if deadLetterless[s.Name] {
			note = " (no declared type: a text)"
		}
		fmt.Fprintf(&table, "%-45s %s%s\n", s.Name, got, note)
		if note != "" {
			continue
		}
		check(t, s, got, cs, err)
	}
	t.Log("\n" + table.String())
}

func check(t *testing.T, s samples.Sample, got string, cs []connectors.Change, err error) {
	t.Helper()
	if op, ok := s.Expect["op"].(string); ok && op != got {
		t.Errorf("%s: %s (%v), want %s", s.Name, got, err, op)
		return
	}
	action, _ := s.Expect["action"].(string)
	switch {
	case strings.HasPrefix(action, "dead-letter"):
		if !strings.HasPrefix(got, "dead letter") {
			t.Errorf("%s: %s, want a dead letter", s.Name, got)
		}
		return
	case strings.HasPrefix(action, "reject"):
		if !strings.HasPrefix(got, "dead letter") {
			t.Errorf("%s: %s, want a dead letter", s.Name, got)
		}
		return
	case action == "tombstone", strings.HasPrefix(action, "tombstone or"):
		if got != "tombstone" {
			t.Errorf("%s: %s, want a tombstone", s.Name, got)
		}
	case action == "schema change", action == "transaction begin", action == "transaction end":
		if got != action {
			t.Errorf("%s: %s, want %s", s.Name, got, action)
		}
	case action == "not a row change", strings.HasPrefix(action, "ignore row-wise"):
		if err != nil || cs[0].Kind != connectors.Control {
			t.Errorf("%s: %s (%v), want a control event", s.Name, got, err)
		}
	}
	if err != nil {
		if action == "" {
			t.Errorf("%s: %v", s.Name, err)
		}
		return
	}
	c := &cs[0]
	for member, want := range s.Expect {
		switch member {
		case "op", "action", "final":
		case "order":
			checkOrder(t, s.Name, c, want.([]any))
		case "keyChange":
			for half, key := range want.(map[string]any) {
				row := c.OldKey()
				if half == "newKey" {
					row = c.NewKey()
				}
				for col, v := range key.(map[string]any) {
					if row.IsZero() || render(row.Get(col)) != fmt.Sprint(v) {
						t.Errorf("%s: %s.%s is %s, want %v", s.Name, half, col, render(row.Get(col)), v)
					}
				}
			}
		case "unavailable":
			for _, col := range want.([]any) {
				if c.After.Get(col.(string)).State != connectors.Unavailable {
					t.Errorf("%s: %s is %s, want unavailable", s.Name, col, render(c.After.Get(col.(string))))
				}
			}
			for i, v := range c.After.Values {
				if v.State == connectors.Unavailable && !contains(want.([]any), c.After.Shape.Names[i]) {
					t.Errorf("%s: %s is unavailable", s.Name, c.After.Shape.Names[i])
				}
			}
		case "before":
			switch want {
			case "key-only":
				if c.BeforeQuality != connectors.BeforeKeyOnly {
					t.Errorf("%s: before quality %d, want key-only", s.Name, c.BeforeQuality)
				}
			case "unavailable":
				if !c.Before.IsZero() || c.BeforeQuality != connectors.BeforeNone {
					t.Errorf("%s: there is a before image", s.Name)
				}
			}
		case "after":
			if want == "unavailable" {
				if !c.After.IsZero() {
					t.Errorf("%s: there is an after image", s.Name)
				}
				continue
			}
			for col, v := range want.(map[string]any) {
				text := render(c.After.Get(col))
				if r, ok := rescued(c.After, col); ok && text == "NULL" {
					text = r
				}
				if c.After.Get(col).Kind == schema.Date && c.After.Get(col).State == connectors.Present {
					text = dateText(c.After.Get(col).Int)
				}
				if text != v {
					t.Errorf("%s: after.%s is %q, want %v", s.Name, col, text, v)
				}
			}
		case "table":
			if list, ok := want.([]any); ok {
				if c.Source.DB != list[0] || c.Source.Table != list[1] {
					t.Errorf("%s: table %q %q, want %v", s.Name, c.Source.DB, c.Source.Table, list)
				}
			}
		case "gtid":
			g := want.(map[string]any)
			if string(c.Lineage) != fmt.Sprintf("mariadb/%v", g["domain"]) || fields(c.Position)[0] != uint64(g["seq"].(float64)) {
				t.Errorf("%s: lineage %q, position %x, want %v", s.Name, c.Lineage, c.Position, g)
			}
		case "group":
			if c.Tx().Group != want {
				t.Errorf("%s: transaction group %q, want %v", s.Name, c.Tx().Group, want)
			}
		case "key":
			switch want {
			case nil:
				if !c.Key.IsZero() {
					t.Errorf("%s: there is a key", s.Name)
				}
			case "ObjectId":
				if v := c.Key.Get("_id"); len(v.Str) != 24 {
					t.Errorf("%s: _id is %s, want 24 hex digits", s.Name, render(v))
				}
			}
		case "partial":
			if c.After.Get("bio").State != connectors.Absent {
				t.Errorf("%s: bio is %s, want absent", s.Name, render(c.After.Get("bio")))
			}
		case "type":
		default:
			t.Errorf("%s: the test does not know the expectation %q", s.Name, member)
		}
	}
}

func contains(list []any, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func dateText(days int64) string {
	return time.Unix(days*86400, 0).UTC().Format("2006-01-02")
}

func fields(p connectors.Position) []uint64 {
	var out []uint64
	for b := []byte(p); len(b) >= 8; b = b[8:] {
		out = append(out, binary.BigEndian.Uint64(b))
	}
	return out
}

func checkOrder(t *testing.T, name string, c *connectors.Change, want []any) {
	t.Helper()
	got := fields(c.Position)
	if _, isFile := want[0].(string); isFile { // base, number, pos, row
		if !strings.HasSuffix(string(c.Lineage), "/"+want[0].(string)) {
			t.Errorf("%s: lineage %q, want base %v", name, c.Lineage, want[0])
		}
		want = want[1:3]
	}
	for i, w := range want {
		if i >= len(got) || got[i] != uint64(w.(float64)) {
			t.Errorf("%s: position %v, want %v", name, got, want)
			return
		}
	}
}

// TestDeclaredTypesAreChecked gives the two malformed decimals their schema.
func TestDeclaredTypesAreChecked(t *testing.T) {
	t.Parallel()
	const envelope = `{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},` +
		`{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"10"},"field":"total"}],` +
		`"optional":true,"name":"V","field":"after"}],"optional":false,"name":"x.Envelope"},"payload":{"before":null,"after":{"id":1,"total":%s},` +
		`"source":{"connector":"mysql","name":"shop","ts_ms":1,"db":"inventory","table":"orders","server_id":1,"file":"binlog.000147","pos":4,"row":0},"op":"c","ts_ms":2}}`
	d := newDecoder(t, always)
	decode := func(v string) ([]connectors.Change, error) {
		return d.Decode(nil, &connectors.Record{Key: []byte(`{"id":1}`), Value: fmt.Appendf(nil, envelope, v)})
	}
	if cs, err := decode(`"%%not-base64%%"`); !strings.HasPrefix(outcome(cs, err), "dead letter") {
		t.Errorf("a decimal that is not base64 gives %s", outcome(cs, err))
	}
	cs, err := decode(`"LNdv4Ia5POL3aKALIqAAAAAAAA=="`)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := rescued(cs[0].After, "total")
	if cs[0].After.Get("total").State != connectors.Null || !ok || !strings.HasPrefix(text, "5959") && len(text) < 40 {
		t.Errorf("a decimal of 45 digits is %s, rescued %q", render(cs[0].After.Get("total")), text)
	}
	cs, err = decode(`"B88="`)
	if err != nil || render(cs[0].After.Get("total")) != "19.99" {
		t.Errorf("total is %s (%v), want 19.99", render(cs[0].After.Get("total")), err)
	}
}

// TestTextBehindTheValue: what follows a value is not passed over in silence.
func TestTextBehindTheValue(t *testing.T) {
	t.Parallel()
	for _, s := range samples.Load(t, testkit.Shared(t, "samples"), "debezium-mysql-insert", "debezium-mysql-types-with-schema") {
		rec := s.Record
		rec.Value = append(slices.Clone(rec.Value), " {}"...)
		if cs, err := newDecoder(t, always).Decode(nil, &rec); !strings.HasPrefix(outcome(cs, err), "dead letter") {
			t.Errorf("%s with a second value: %s", s.Name, outcome(cs, err))
		}
	}
}

// TestDefaultsDoNotReplaceNull: a column that is NULL stays NULL whatever default its schema declares, and one that the event does not
// mention is absent (formats.md §5.15).
func TestDefaultsDoNotReplaceNull(t *testing.T) {
	t.Parallel()
	const envelope = `{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},` +
		`{"type":"int32","optional":true,"default":7,"field":"n"},{"type":"string","optional":true,"default":"x","field":"s"}],` +
		`"optional":true,"name":"V","field":"after"}],"optional":false,"name":"x.Envelope"},"payload":{"before":null,"after":{"id":1,"n":null},` +
		`"source":{"connector":"mysql","name":"shop","ts_ms":1,"db":"inventory","table":"orders","server_id":1,"file":"binlog.000147","pos":4,"row":0},"op":"c","ts_ms":2}}`
	cs, err := newDecoder(t, always).Decode(nil, &connectors.Record{Key: []byte(`{"id":1}`), Value: []byte(envelope)})
	if err != nil {
		t.Fatal(err)
	}
	if n, s := cs[0].After.Get("n").State, cs[0].After.Get("s").State; n != connectors.Null || s == connectors.Present {
		t.Errorf("states %d and %d, want NULL and nothing", n, s)
	}
}
