// Package cloudevents decodes Debezium's CloudEvents in structured JSON mode: extensions named iodebezium… carry the
// source block, data carries the images. It writes the envelope that the event stands for and lets package debezium
// decode it. Extension names are compared exactly: iodebeziumtxId and iodebeziumtxid are two things.
package cloudevents

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/cdc/internal/event"
)

// Name is the format's name in cdc.format.
const Name = "cloudevents"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Debezium events as CloudEvents, structured JSON", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// sourceFields are the members of source blocks by the names that extensions give them.
var sourceFields = func() map[string]string {
	m := map[string]string{}
	for _, f := range []string{"version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns", "schema", "table", "collection",
		"server_id", "gtid", "file", "pos", "row", "lsn", "change_lsn", "commit_lsn", "event_serial_no", "scn", "commit_scn", "lcr_position", "rs_id", "txSeq", "ord"} {
		m["iodebezium"+strings.ReplaceAll(f, "_", "")] = f
	}
	return m
}()

var txFields = map[string]string{"iodebeziumtxid": "id", "iodebeziumtxtotalorder": "total_order", "iodebeziumtxdatacollectionorder": "data_collection_order"}

// Decoder decodes CloudEvents. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	inner *debezium.Decoder
}

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	inner, err := debezium.New(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{Reader: e, inner: inner}, nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	f, none, err := d.Object(rec)
	if err != nil {
		return dst, err
	}
	if none {
		return d.inner.Decode(dst, rec)
	}
	if f.Get("specversion") == "" {
		return dst, connectors.Poison(connectors.ClassIncomplete, "specversion is missing")
	}
	data := f.Get("data")
	if data == "" || data[0] != '{' {
		return dst, connectors.Poison(connectors.ClassUnknown, "data is %.20q (%s): only JSON data can be read", data, d.Str(f.Get("datacontenttype")))
	}
	images, err := d.Split(data)
	if err != nil {
		return dst, err
	}
	schema := ""
	if p, ok := images.Find("payload"); ok && len(images) == 2 {
		schema = images.Get("schema")
		if images, err = d.Split(p); err != nil {
			return dst, err
		}
	}
	value := d.envelope(f, images, schema)
	inner := *rec
	inner.Value = value
	n := len(dst)
	if dst, err = d.inner.Decode(dst, &inner); err != nil {
		return dst, err
	}
	for i := n; i < len(dst); i++ {
		dst[i].Record = rec
		dst[i].Raw.Complete = false // the event says more than its envelope
	}
	return dst, nil
}

// envelope writes the Debezium event.
func (d *Decoder) envelope(f, images event.Fields, schema string) []byte {
	b := make([]byte, 0, 1024+len(schema))
	if schema != "" {
		b = append(append(append(b, `{"schema":`...), schema...), `,"payload":`...)
	}
	b = append(b, '{')
	for _, m := range images {
		if m.Name == "before" || m.Name == "after" {
			b = append(append(append(append(b, '"'), m.Name...), `":`...), m.Text...)
			b = append(b, ',')
		}
	}
	b = object(append(b, `"source":`...), f, sourceFields)
	if f.Get("iodebeziumtxid") != "" {
		b = object(append(b, `,"transaction":`...), f, txFields)
	}
	b = append(b, `,"op":`...)
	if op := f.Get("iodebeziumop"); op != "" {
		b = append(b, op...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, '}')
	if schema != "" {
		b = append(b, '}')
	}
	return b
}

func object(b []byte, f event.Fields, names map[string]string) []byte {
	b = append(b, '{')
	first := true
	for _, m := range f {
		if name, ok := names[m.Name]; ok {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(append(append(append(b, '"'), name...), `":`...), m.Text...)
		}
	}
	return append(b, '}')
}
