package formats

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/samples"
	"sluice.io/sluice/connectors/cdc/internal/typed"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/testkit"
)

const tailMapping = `{"op":{"path":"op","map":{"I":"insert","U":"update","D":"delete","R":"read","T":"truncate"}},"table":{"path":"tbl","split":"."},` +
	`"before":"old","after":"new","order":[{"path":"scn","type":"uint"},{"path":"idx","type":"uint"}],"srcTs":{"path":"when","unit":"rfc3339"},"tx":{"id":"xid"}}`

const patchMapping = `{"op":{"path":"action","map":{"patch":"update"}},"table":{"path":"table"},"after":"patch","order":[{"path":"seq","type":"bigint"}]}`

// setting gives the format of a sample and the configuration that it needs.
func setting(name string) (format string, config map[string]string) {
	config = map[string]string{}
	switch {
	case strings.HasPrefix(name, "flattened-"):
		format = "debezium-flat"
		if name == "flattened-postgres-update-renamed" {
			config["format.flat.prefix"] = "cdc_"
		}
	case strings.HasPrefix(name, "generic-custom"):
		format, config["format.generic.mapping"] = "generic", tailMapping
	case strings.HasPrefix(name, "generic-partial"):
		format, config["format.generic.mapping"] = "generic", patchMapping
	default:
		format, _, _ = strings.Cut(strings.TrimPrefix(name, "malformed-"), "-")
	}
	if strings.HasPrefix(name, "dms-mysql") {
		config["silver.keys"] = "id"
	}
	return format, config
}

var families = []string{"flattened-", "cloudevents-", "dms-", "goldengate-", "maxwell-", "canal-", "outbox-", "generic-",
	"malformed-dms", "malformed-canal", "malformed-maxwell"}

// TestSamples decodes the samples of all formats but Debezium's own (which package debezium tests) and checks what
// they expect.
func TestSamples(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	for _, s := range samples.Load(t, testkit.Shared(t, "samples"), families...) {
		format, config := setting(s.Name)
		d, err := Default().New(format, cdc.Options{Config: config})
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		cs, err := d.Decode(nil, &s.Record)
		fmt.Fprintf(&table, "%-42s %s\n", s.Name, outcome(cs, err))
		check(t, s, cs, err)
	}
	t.Log("\n" + table.String() + "avro-*, protobuf-*, jsonschema-*: no schema registry is asked")
}

func outcome(cs []connectors.Change, err error) string {
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, c := range cs {
		switch {
		case c.Kind == connectors.Control && c.ControlKind == connectors.SchemaChange:
			out = append(out, "schema change")
		case c.Kind == connectors.Control:
			out = append(out, "control")
		default:
			out = append(out, map[connectors.Op]string{connectors.Insert: "insert", connectors.Update: "update", connectors.Delete: "delete",
				connectors.Read: "read", connectors.Truncate: "truncate"}[c.Op])
		}
	}
	return strings.Join(out, ", ")
}

func check(t *testing.T, s samples.Sample, cs []connectors.Change, err error) {
	t.Helper()
	if action, _ := s.Expect["action"].(string); strings.HasPrefix(action, "dead-letter") || action == "alert" {
		if _, poison := connectors.IsPoison(err); !poison {
			t.Errorf("%s: %s, want a dead letter", s.Name, outcome(cs, err))
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", s.Name, err)
		return
	}
	c := &cs[len(cs)-1]
	got := outcome(cs[len(cs)-1:], nil)
	for member, want := range s.Expect {
		ok := true
		switch member {
		case "op":
			ok = got == want || want == "append" && got == "insert"
		case "action":
			ok = got == want || want == "ignore" && c.Kind == connectors.Control
		case "rows":
			ok = len(cs) == int(want.(float64)) && cs[1].Sub == 1
		case "keyChange":
			ok = len(cs) == 2 && cs[0].Op == connectors.Delete && !c.OldKey().IsZero() && cs[0].Sub == 0 && c.Sub == 1
			if half, isMap := want.(map[string]any); isMap && ok {
				for col, v := range half["oldKey"].(map[string]any) {
					text := fmt.Sprint(cs[0].Key.Get(col).Int)
					ok = ok && text == fmt.Sprint(v)
				}
			}
		case "order":
			ok = want != "offset-only" || c.PosQuality == connectors.OffsetOnly
		case "unavailable":
			for _, col := range want.([]any) {
				ok = ok && c.After.Get(col.(string)).State == connectors.Unavailable
			}
		case "partial":
			ok = !c.AbsentIsNull
		case "absent":
			ok = want == "null" && c.AbsentIsNull
		case "dedupe":
			ok = len(c.Key.Values) == 1 && c.Key.Shape.Names[0] == "id"
		default:
			t.Errorf("%s: the test does not know the expectation %q", s.Name, member)
		}
		if !ok {
			t.Errorf("%s: %s: %s, want %v (%+v)", s.Name, member, outcome(cs, nil), want, c)
		}
	}
}

// TestValues looks into some events where an outcome is not enough.
func TestValues(t *testing.T) {
	t.Parallel()
	byName := map[string][]connectors.Change{}
	for _, s := range samples.Load(t, testkit.Shared(t, "samples"), families...) {
		format, config := setting(s.Name)
		d, err := Default().New(format, cdc.Options{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		byName[s.Name], _ = d.Decode(nil, &s.Record)
	}
	get := func(name, col string) connectors.Value {
		cs := byName[name]
		if len(cs) == 0 {
			t.Fatalf("%s: no changes", name)
		}
		return cs[len(cs)-1].After.Get(col)
	}
	if v := byName["canal-mysql-insert-multirow"][0].After.Get("payload"); v.Str != "\x00\xff\x10" || v.Kind != schema.Binary {
		t.Errorf("canal: blob is %q", v.Str)
	}
	if v := byName["canal-mysql-insert-multirow"][1].After.Get("total"); v.Kind != schema.Decimal || v.Str != "\x05" || v.Int != 2 {
		t.Errorf("canal: decimal is %+v", v)
	}
	if v := get("goldengate-oracle-update-ismissing", "PRODUCT_AMOUNT"); v.State != connectors.Absent {
		t.Errorf("goldengate: a missing column is %+v", v)
	}
	if v := get("goldengate-oracle-update-ismissing", "NOTE"); v.State != connectors.Null {
		t.Errorf("goldengate: a NULL is %+v", v)
	}
	if v := get("generic-partial-patch", "due"); v.State != connectors.Null {
		t.Errorf("generic: an explicit null is %+v", v)
	}
	if c := byName["maxwell-mysql-update"][0]; c.Before.Get("status").Str != "NEW" || c.Before.Get("total").State != connectors.Present {
		t.Errorf("maxwell: before is %+v, want data overlaid by old", c.Before)
	}
	if a, b := byName["maxwell-mysql-update"][0].Position, byName["maxwell-mysql-delete"][0].Position; a >= b {
		t.Errorf("maxwell: the last row of a transaction does not rank last")
	}
	if c := byName["flattened-mysql-insert"][0]; c.After.Shape.Index("__op") >= 0 || c.After.Shape.Index("__deleted") >= 0 || len(c.Position) != 29 || c.Source.Table != "orders" {
		t.Errorf("flat: columns %v, position %x, table %q", c.After.Shape.Names, c.Position, c.Source.Table)
	}
	if c := byName["flattened-postgres-update-renamed"][0]; len(c.Position) != 25 || c.Tx().Group != "90733" {
		t.Errorf("flat: position %x, transaction %+v", c.Position, c.Tx())
	}
	if c := byName["cloudevents-postgres-insert"][0]; len(c.Position) != 25 || c.Tx().TotalOrder != 1 || c.Tx().Group != "90731" || c.SourceTsDigits != 6 {
		t.Errorf("cloudevents: position %x, transaction %+v", c.Position, c.Tx())
	}
	if c := byName["cloudevents-mysql-delete-with-schema"][0]; c.Before.Get("id").Kind != schema.Integer {
		t.Errorf("cloudevents: before is %+v", c.Before)
	}
	if c := byName["outbox-mysql-payload-string"][0]; c.After.Get("payload").Str != `{"orderId":"ord-8813"}` {
		t.Errorf("outbox: payload is %q", c.After.Get("payload").Str)
	}
	if c := byName["dms-mysql-update-bi-columns"][0]; c.Before.Get("status").Str != "NEW" || c.After.Shape.Index("BI_status") >= 0 {
		t.Errorf("dms: before %+v", c.Before)
	}
	if c := byName["generic-custom-log-tail"][0]; c.Source.Schema != "app" || c.Source.Table != "tasks" || len(c.Position) != 25 || c.Key.Get("id").Int != 17 {
		t.Errorf("generic: %+v", c)
	}
	if _, next := typed.ParseDate("2026-03-14"); next != 10 {
		t.Errorf("ParseDate stops at %d", next)
	}
}

// TestOddValuesOfMySQL: zero dates, dates with zeros in them and unsigned numbers, in the formats that send them as they are: exact where the type
// is known and holds them, kept as text where not (formats.md §5.17, §5.18).
func TestOddValuesOfMySQL(t *testing.T) {
	t.Parallel()
	for format, c := range map[string]struct{ value, want string }{
		"canal": {`{"data":[{"id":"18446744073709551615","u":"4294967295","d":"0000-00-00","z":"2026-00-15","s":"0000-00-00 00:00:00","e":"1969-12-31"}],"database":"d",` +
			`"table":"t","pkNames":["id"],"isDdl":false,"type":"INSERT","es":1773480413000,"ts":1773480413371,"id":1,"sql":"","old":null,"gtid":"","mysqlType":` +
			`{"id":"bigint(20) unsigned","u":"int(10) unsigned","d":"date","z":"date","s":"datetime","e":"date"}}`,
			`id decimal 00ffffffffffffffff, u long 4294967295, d NULL rescued 0000-00-00, z NULL rescued 2026-00-15, s NULL rescued 0000-00-00 00:00:00, e date -1`},
		"maxwell": {`{"database":"d","table":"t","type":"insert","ts":1773480413,"xid":1,"commit":true,"data":{"id":18446744073709551615,"u":4294967295,"d":"0000-00-00"}}`,
			`id string 18446744073709551615, u long 4294967295, d string 0000-00-00`},
		"dms": {`{"data":{"id":18446744073709551615,"d":"0000-00-00"},"metadata":{"record-type":"data","operation":"insert","schema-name":"d","table-name":"t"}}`,
			`id string 18446744073709551615, d string 0000-00-00`},
	} {
		d, err := Default().New(format, cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Value: []byte(c.value)})
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		row := cs[0].After
		saved := map[int]string{}
		for _, r := range row.Rescued() {
			saved[r.Column] = " rescued " + r.Text
		}
		var got []string
		for i, v := range row.Values {
			text := "NULL"
			switch {
			case v.State != connectors.Present:
			case v.Kind == schema.Decimal:
				text = fmt.Sprintf("%s %x", v.Kind, v.Str)
			case v.Kind == schema.String:
				text = fmt.Sprintf("%s %s", v.Kind, v.Str)
			default:
				text = fmt.Sprintf("%s %d", v.Kind, v.Int)
			}
			got = append(got, row.Shape.Names[i]+" "+text+saved[i])
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s\nwant %s", format, s, c.want)
		}
	}
}

// TestDocumentedMapping decodes the example of docs/formats.md by the mapping that stands there.
func TestDocumentedMapping(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split(string(page), "```") {
		if text, ok := strings.CutPrefix(part, "json\n"); i%2 == 1 && ok {
			blocks = append(blocks, text)
		}
	}
	if len(blocks) != 2 {
		t.Fatalf("the page has %d examples, want event and mapping", len(blocks))
	}
	d, err := Default().New("generic", cdc.Options{Config: map[string]string{"format.generic.mapping": blocks[1]}})
	if err != nil {
		t.Fatal(err)
	}
	cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(`{"id":17}`), Value: []byte(blocks[0])})
	if err != nil {
		t.Fatal(err)
	}
	c := &cs[0]
	if c.Op != connectors.Update || c.Source.Schema != "app" || c.Source.Table != "tasks" || c.Key.Get("id").Int != 17 || c.Before.Get("state").Str != "open" ||
		c.After.Get("state").Str != "done" || len(c.Position) == 0 || c.Tx().ID != "7" || c.SourceTsNs == 0 {
		t.Errorf("%+v", c)
	}
}

// TestFlatMongo: the setting that names the connector makes the key of flattened documents the column _id, of deletes without a row too.
func TestFlatMongo(t *testing.T) {
	t.Parallel()
	d, err := Default().New("debezium-flat", cdc.Options{Config: map[string]string{"format.flat.connector": "mongodb"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`{"_id":"65f2c0de5e1b2c0001a7d3f4","age":42}`, `{"_id":"65f2c0de5e1b2c0001a7d3f4","__deleted":true}`, ""} {
		rec := &connectors.Record{Topic: "t", Key: []byte(`{"id":"{\"$oid\": \"65f2c0de5e1b2c0001a7d3f4\"}"}`)}
		if value != "" {
			rec.Value = []byte(value)
		}
		cs, err := d.Decode(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		if got := cs[0].Key.Get("_id").Str; got != "65f2c0de5e1b2c0001a7d3f4" {
			t.Errorf("%s: the key is %q", value, got)
		}
	}
}

// TestBrokenEvents: an event that lacks what it has to have, or has something else in its place, is a dead letter that says what and where. Was: a
// key that is not JSON but begins like null was none, rows without the key that they name made tables without key, messages without id came twice.
func TestBrokenEvents(t *testing.T) {
	t.Parallel()
	mysql := func(before, after, rest string) string {
		return `{"before":` + before + `,"after":` + after + `,"source":{"connector":"mysql","db":"d","table":"t","file":"b.000001",` + rest + `},"op":"c","ts_ms":1}`
	}
	typed := `{"schema":{"type":"struct","name":"s.d.t.Envelope","fields":[{"type":"struct","optional":true,"field":"after","fields":[{"type":"int32","field":"id"},` +
		`{"type":"struct","optional":true,"field":"at","fields":[{"type":"int32","field":"x"}]}]},{"type":"string","field":"op"}]},` +
		`"payload":{"after":{"id":1,"at":{"x":"` + strings.Repeat("é", 50) + `"}},"source":{"connector":"mysql","db":"d","table":"t","file":"b.1","pos":4},"op":"c"}}`
	canal := func(data string) string {
		return `{"data":` + data + `,"old":null,"database":"d","table":"t","pkNames":["id"],"isDdl":false,"type":"INSERT","es":1,"ts":1,"id":1,"mysqlType":{"id":"int"}}`
	}
	for _, c := range []struct{ name, format, key, value, class, want string }{
		{"key like null", "debezium", `not json`, mysql("null", `{"id":1}`, `"pos":4,"row":0`), connectors.ClassMalformed, `the key is not JSON: "not json"`},
		{"position below 0", "debezium", `{"id":1}`, mysql("null", `{"id":1}`, `"pos":-4,"row":0`), connectors.ClassBadPosition, `source.pos is "-4"`},
		{"no position", "debezium", `{"id":1}`, mysql("null", `{"id":1}`, `"row":0`), connectors.ClassBadPosition, `source.pos is ""`},
		{"column of another type", "debezium", `{"id":1}`, typed, connectors.ClassBadValue, `column at: declared as integer, and its value is "` + strings.Repeat("é", 31) + "…"},
		{"canal without key", "canal", ``, canal(`[{"a":"1"}]`), connectors.ClassIncomplete, "column id of the key is missing"},
		{"canal without rows", "canal", ``, canal(`null`), connectors.ClassIncomplete, "data is missing"},
		{"maxwell without key", "maxwell", ``, `{"database":"d","table":"t","type":"insert","ts":1,"primary_key_columns":["id"],"data":{"a":1}}`, connectors.ClassIncomplete, "column id of the key is missing"},
		{"goldengate without key", "goldengate", ``, `{"table":"A.T","op_type":"I","pos":"01","primary_keys":["ID"],"after":{"A":1}}`, connectors.ClassIncomplete, "column ID of the key is missing"},
		{"goldengate without row", "goldengate", ``, `{"table":"A.T","op_type":"I","pos":"01"}`, connectors.ClassIncomplete, "after is missing"},
		{"message without id", "outbox", `agg`, `"{}"`, connectors.ClassIncomplete, "the header id is missing"},
	} {
		d, err := Default().New(c.format, cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(c.key), Value: []byte(c.value)})
		if e, ok := connectors.IsPoison(err); !ok || e.Class != c.class || !strings.Contains(e.Reason, c.want) {
			t.Errorf("%s: %v, want %s: %s", c.name, err, c.class, c.want)
		}
	}
}

// TestMaxwellKeys: where the value does not tell the key's columns, the record's key does, in both of Maxwell's forms.
func TestMaxwellKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		`{"database":"d","table":"t","pk.id":1,"pk.region":"eu"}`: "Id,region",
		`["d","t",[{"id":1},{"region":"eu"}]]`:                    "Id,region",
		`{"database":"d","table":"t","_uuid":"5f0c"}`:             "",
		`["d","t",[{"_uuid":"5f0c"}]]`:                            "",
		`["d","t"]`:                                               "",
		``:                                                        "",
	} {
		d, err := Default().New("maxwell", cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(key),
			Value: []byte(`{"database":"d","table":"t","type":"insert","ts":1773480413,"data":{"Id":1,"region":"eu","a":2}}`)})
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		got := ""
		if !cs[0].Key.IsZero() {
			got = strings.Join(cs[0].Key.Shape.Names, ",")
		}
		if got != want {
			t.Errorf("%s: the key is %q, want %q", key, got, want)
		}
	}
}

// TestAuto detects the format of every sample that can be told without configuration.
func TestAuto(t *testing.T) {
	t.Parallel()
	d, err := Default().New("auto", cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples.Load(t, testkit.Shared(t, "samples"), append(families, "debezium-", "malformed-")...) {
		want, _, _ := strings.Cut(s.Name, "-")
		want = strings.Replace(want, "flattened", "debezium-flat", 1)
		f := cdc.Detect(&s.Record)
		_, err := d.Decode(nil, &s.Record)
		switch {
		case s.Name == "malformed-mysql-nul-and-surrogate", strings.HasPrefix(s.Name, "malformed"), want == "outbox", want == "generic", s.Name == "flattened-postgres-update-renamed":
			continue // no marks of their own
		case f.Format == cdc.FormatTombstone:
		case f.Format != want:
			t.Errorf("%s: detected %q (%s), want %q", s.Name, f.Format, f.Why, want)
		}
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	for _, f := range d.(*cdc.Auto).Found() {
		t.Logf("%-22s %-14s %-12s %3d records, first %s: %s", f.Topic, f.Format, f.Encoding, f.Records, f.First, f.Why)
	}
}

// The headers of a flattened delete that has no value (delete.tombstone.handling.mode=tombstone with add.headers) tell that it is one, and where in the
// log: it is no tombstone record, which would delete by its offset. Found out by auto as well, as is an insert whose metadata are headers only.
func TestFlatDeletesWithoutValue(t *testing.T) {
	t.Parallel()
	headers := func(op, seq string) []connectors.Header {
		return []connectors.Header{{Key: "__op", Value: []byte(op)}, {Key: "__source_lsn", Value: []byte("254892056")}, {Key: "__source_sequence", Value: []byte(seq)},
			{Key: "__table", Value: []byte("t4")}, {Key: "__debezium.context.connectorName", Value: []byte("postgresql")}}
	}
	for _, format := range []string{"auto", "debezium-flat"} {
		d, err := Default().New(format, cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var out []connectors.Change
		const noPayload = `{"schema":{"type":"struct","fields":[]},"payload":null}`
		for i, r := range []connectors.Record{
			{Value: []byte(`{"k0":0.0,"v":"a"}`), Headers: headers("c", `["254820648","254892280"]`)},
			{Headers: headers("d", `["254820648","254892056"]`)},
			{}, // a tombstone record as any source sends it
			{Value: []byte(noPayload), Headers: headers("d", `["254820648","254892056"]`)},
		} {
			r.Topic, r.Offset, r.Key = "p.public.t4", int64(i), []byte(`{"k0":0.0}`)
			if out, err = d.Decode(out, &r); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
		if len(out) != 4 || out[3].Kind != connectors.RowChange || out[3].Op != connectors.Delete || out[3].Position != out[1].Position || out[0].Op != connectors.Insert || out[1].Kind != connectors.RowChange || out[1].Op != connectors.Delete || out[2].Kind != connectors.Tombstone {
			t.Fatalf("%s: %+v", format, out)
		}
		if out[1].PosQuality == connectors.OffsetOnly || out[1].Position >= out[0].Position || out[1].Source.Table != "t4" || out[1].OpText != "d" {
			t.Errorf("%s: the delete is at %x (%v) of %v, the insert at %x", format, out[1].Position, out[1].PosQuality, out[1].Source, out[0].Position)
		}
	}
}

// FuzzFormats gives every decoder any bytes.
func FuzzFormats(f *testing.F) {
	for _, s := range samples.Load(f, testkit.Shared(f, "samples"), append(families, "debezium-mysql-insert", "malformed-")...) {
		f.Add(s.Record.Key, s.Record.Value)
	}
	r := Default()
	f.Fuzz(func(t *testing.T, key, value []byte) {
		rec := &connectors.Record{Topic: "t", Key: key, Value: value, Headers: []connectors.Header{{Key: "__op", Value: value}, {Key: "id", Value: key}}}
		for _, name := range r.Names() {
			d, err := r.New(name, cdc.Options{Config: map[string]string{"format.generic.mapping": tailMapping, "silver.keys": "id"}})
			if err != nil {
				t.Fatal(err)
			}
			cs, err := d.Decode(nil, rec)
			if err == nil && len(cs) == 0 {
				t.Fatalf("%s: a record gave no change", name)
			}
			if _, poison := connectors.IsPoison(err); err != nil && !poison {
				t.Fatalf("%s: an error that is no dead letter: %v", name, err)
			}
			for i := range cs {
				if cs[i].Sub != int32(i) && len(cs) > 1 {
					t.Fatalf("%s: change %d has Sub %d", name, i, cs[i].Sub)
				}
				for _, row := range []connectors.Row{cs[i].Key, cs[i].Before, cs[i].After} {
					if !row.IsZero() && len(row.Values) != len(row.Shape.Names) {
						t.Fatalf("%s: a row of %d values has a shape of %d", name, len(row.Values), len(row.Shape.Names))
					}
				}
			}
		}
	})
}
