package flat

import (
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
)

// A text that equals the placeholder is that text where the event tells the value: in its key, in a snapshot's row, and from engines that know no
// placeholder. Was: it became NULL in all of them.
func TestTextLikeThePlaceholder(t *testing.T) {
	t.Parallel()
	d, err := New(cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const text = "__debezium_unavailable_value"
	for _, c := range []struct {
		meta string
		b    connectors.State
	}{
		{`"__op":"u","__connector":"postgresql"`, connectors.Unavailable}, {`"__op":"u"`, connectors.Unavailable},
		{`"__deleted":"true"`, connectors.Unavailable}, {`"__op":"r","__connector":"postgresql"`, connectors.Present},
		{`"__op":"u","__connector":"mysql"`, connectors.Present},
	} {
		for _, schema := range []bool{false, true} {
			key, value := `{"id":"`+text+`"}`, `{"id":"`+text+`","b":"`+text+`",`+c.meta+`}`
			if schema {
				key = `{"schema":{"type":"struct","fields":[{"field":"id","type":"string"}]},"payload":` + key + `}`
				value = `{"schema":{"type":"struct","fields":[{"field":"id","type":"string"},{"field":"b","type":"string","optional":true},{"field":"__op","type":"string","optional":true},` +
					`{"field":"__connector","type":"string","optional":true},{"field":"__deleted","type":"string","optional":true}]},"payload":` + value + `}`
			}
			cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(key), Value: []byte(value)})
			if err != nil {
				t.Fatal(err)
			}
			row := cs[0].After
			if row.IsZero() {
				row = cs[0].Before
			}
			if v := row.Get("id"); v.State != connectors.Present || v.Str != text {
				t.Errorf("%s: the key's column is %+v", c.meta, v)
			}
			if v := row.Get("b"); v.State != c.b {
				t.Errorf("%s: column b is %+v, want state %d", c.meta, v, c.b)
			}
		}
	}
}
