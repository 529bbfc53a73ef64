package generic

import (
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
)

// A key is always sent: a text in it that equals the placeholder is that text. Was: the event had no key.
func TestPlaceholderInKeyIsText(t *testing.T) {
	t.Parallel()
	const text = "__debezium_unavailable_value"
	for _, key := range []string{`,"key":{"columns":["id"]}`, ""} {
		d, err := New(cdc.Options{Config: map[string]string{MappingKey: `{"op":{"path":"op","map":{"U":"update","D":"delete"}},"table":{"const":"t"},"before":"old","after":"new"` + key + `}`}})
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{`{"op":"U","new":{"id":"` + text + `","b":"` + text + `"}}`, `{"op":"D","old":{"id":"` + text + `","b":"` + text + `"}}`} {
			cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Key: []byte(`{"id":"` + text + `"}`), Value: []byte(value)})
			if err != nil {
				t.Fatal(err)
			}
			c := cs[0]
			row := c.After
			if row.IsZero() {
				row = c.Before
			}
			if v := c.Key.Get("id"); v.State != connectors.Present || v.Str != text {
				t.Errorf("%s: the key is %+v", value, v)
			}
			if v := row.Get("id"); v.State != connectors.Present || v.Str != text {
				t.Errorf("%s: the key's column is %+v", value, v)
			}
			if v := row.Get("b"); v.State != connectors.Unavailable {
				t.Errorf("%s: column b is %+v", value, v)
			}
		}
	}
}
