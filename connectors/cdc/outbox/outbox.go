// Package outbox decodes what Debezium's outbox event router sends: messages, not rows. Each becomes one row of an
// append-only table whose key is the event's id (header "id"), so that a message sent twice is there once.
//
// Columns: id, key (the aggregate's id), payload (text, or bytes where it is no UTF-8), each further header by its name,
// and where the value is an envelope ({"payload": …, …}), its other members.
package outbox

import (
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// Name is the format's name in cdc.format.
const Name = "outbox"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Messages of Debezium's outbox event router", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes outbox messages. It is owned by one goroutine.
type Decoder struct{ *event.Reader }

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{Reader: e}, nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	c := connectors.Change{Record: rec}
	if rec.Value == nil { // route.tombstone.on.empty.payload
		event.Tombstone(&c)
		return append(dst, c), nil
	}
	c.Op, c.OpText = connectors.Insert, "c"
	c.Source = d.Source(connectors.Source{Connector: Name, Table: rec.Topic})
	c.SourceTsNs, c.SourceTsDigits = rec.TimestampMs*1e6, 3
	names, vals := []string{}, []connectors.Value{}
	add := func(name string, v connectors.Value) {
		for i, n := range names {
			if n == name {
				vals[i] = v
				return
			}
		}
		names, vals = append(names, name), append(vals, v)
	}
	add("id", connectors.NullValue())
	add("key", connectors.NullValue())
	if rec.Key != nil {
		add("key", text(d.unquote(js.Text(rec.Key))))
	}
	for i := range rec.Headers {
		if h := &rec.Headers[i]; h.Value != nil && !strings.HasPrefix(h.Key, "__") {
			add(h.Key, text(js.Text(h.Value)))
		}
	}
	payload := js.Text(rec.Value)
	if f, err := d.Split(payload); err == nil {
		if inner, ok := f.Find("payload"); ok {
			row, err := d.Row(strings.TrimSpace(payload), "envelope")
			if err != nil {
				return dst, err
			}
			for i, n := range row.Shape.Names {
				if n != "payload" {
					add(n, row.Values[i])
				}
			}
			payload = inner
		}
	}
	if payload == "null" {
		add("payload", connectors.NullValue())
	} else {
		add("payload", text(d.unquote(payload)))
	}
	c.After = connectors.Row{Shape: d.R.ShapeOf(names), Values: vals}
	if c.After.Get("id").State != connectors.Present {
		return dst, connectors.Poison(connectors.ClassIncomplete, "the header id is missing: whether the message came before cannot be told")
	}
	c.Key = d.Pick(c.After, []string{"id"})
	return append(dst, c), nil
}

// unquote gives the text of a JSON string; other texts stay as they are.
func (d *Decoder) unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' {
		if end, _ := js.String(s, 0); end == len(s) {
			return d.Str(s)
		}
	}
	return s
}

func text(s string) connectors.Value {
	if utf8.ValidString(s) {
		return connectors.Text(s)
	}
	return connectors.Bytes(s)
}
