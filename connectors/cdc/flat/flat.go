// Package flat decodes events that Debezium's ExtractNewRecordState flattened: the value is the row, with metadata in
// columns (and headers) that start with a prefix, and __deleted.
//
// What the transform does not add is not known: without __op a row is an update, without a source's position the Kafka
// offset decides (then deletes are only as good as the order of the topic). A null value is the delete itself, or the
// tombstone behind it. Truncates never arrive.
//
// Settings: format.flat.prefix (__); format.flat.connector: the source's connector, where neither a column nor a header
// names it and the columns do not tell.
package flat

import (
	"encoding/json"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/schema"
)

// Name is the format's name in cdc.format.
const Name = "debezium-flat"

const deletedMark = "__deleted"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Debezium events flattened by ExtractNewRecordState", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// known are the metadata that mean something here, by the name behind the prefix. A source member may have source_ in
// front.
var known = func() map[string]string {
	m := map[string]string{"op": "op", "deleted": "deleted", "ts_ms": "capture_ms", "ts": "capture_ms", "ts_us": "capture_us", "ts_ns": "capture_ns", "transaction_id": "tx_id",
		"transaction_total_order": "tx_total", "transaction_data_collection_order": "tx_collection"}
	for _, f := range []string{"version", "connector", "name", "snapshot", "db", "sequence", "schema", "table", "collection", "server_id", "gtid", "file", "pos",
		"row", "lsn", "txId", "change_lsn", "commit_lsn", "event_serial_no", "scn", "commit_scn", "lcr_position", "rs_id", "txSeq"} {
		m[f], m["source_"+f] = "source."+f, "source."+f
	}
	for _, f := range []string{"ts_ms", "ts_us", "ts_ns"} {
		m["source_"+f] = "source." + f
	}
	return m
}()

// plan says which columns of a shape are metadata.
type plan struct {
	meta []string // by column: the metadata's name, or ""
	out  *connectors.Shape
}

// Decoder decodes flattened events. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	inner     *debezium.Decoder
	prefix    string
	connector string
	plans     map[*connectors.Shape]*plan
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
	return &Decoder{Reader: e, inner: inner, prefix: e.Setting("format.flat.prefix", "__"), connector: e.Setting("format.flat.connector", ""),
		plans: map[*connectors.Shape]*plan{}}, nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	c := connectors.Change{Record: rec}
	full, none, err := d.inner.Flat(rec)
	if err != nil {
		return dst, err
	}
	meta := map[string]connectors.Value{}
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if name, ok := strings.CutPrefix(h.Key, d.prefix); ok && known[name] != "" && h.Value != nil {
			meta[known[name]] = headerValue(h.Value)
		}
	}
	var row connectors.Row
	if !none {
		row = d.split(full, meta)
	}
	connector := d.connectorOf(rec, meta)
	if err := d.inner.Keys(&c, rec, connector); err != nil {
		return dst, err
	}
	switch op := meta["op"].Str; {
	case none && op != "d":
		event.Tombstone(&c)
		c.Op = connectors.Delete
	case none: // its headers tell which delete it is
		c.Op, c.OpText, c.Raw.Complete = connectors.Delete, "d", rec.Value == nil
	case truth(meta["deleted"]) || op == "d":
		c.Op, c.OpText = connectors.Delete, "d"
	case op == "c":
		c.Op, c.OpText = connectors.Insert, "c"
	case op == "r":
		c.Op, c.OpText = connectors.Read, "r"
	case op == "u" || op == "":
		c.Op, c.OpText = connectors.Update, "u"
	default:
		return dst, connectors.Poison(connectors.ClassUnknown, "%sop is %q", d.prefix, op)
	}
	if !none {
		sent, other, err := d.inner.Sent(full, &c, connector)
		if err != nil {
			return dst, err
		}
		if other {
			row = d.split(sent, meta)
		}
		if c.Op == connectors.Delete {
			c.Before, c.BeforeQuality = row, connectors.BeforePartial
		} else {
			c.After = row
		}
	}
	if c.Op == connectors.Delete && c.Key.IsZero() && c.Kind != connectors.Tombstone {
		if c.Key = d.Pick(row, d.Keys); c.Key.IsZero() && row.IsZero() {
			return dst, connectors.Poison(connectors.ClassIncomplete, "a delete with neither key nor row")
		}
	}
	if err := d.place(&c, rec, meta, connector); err != nil {
		return dst, err
	}
	return append(dst, c), nil
}

// split takes the metadata out of the row.
func (d *Decoder) split(full connectors.Row, meta map[string]connectors.Value) connectors.Row {
	p := d.plans[full.Shape]
	if p == nil {
		if len(d.plans) > 512 {
			clear(d.plans)
		}
		p = &plan{meta: make([]string, len(full.Shape.Names)), out: &connectors.Shape{}}
		for i, n := range full.Shape.Names {
			if n == deletedMark {
				p.meta[i] = "deleted"
			} else if rest, ok := strings.CutPrefix(n, d.prefix); ok {
				p.meta[i] = known[rest]
			}
			if p.meta[i] == "" {
				p.out.Names = append(p.out.Names, n)
				if full.Shape.Types != nil {
					p.out.Types = append(p.out.Types, full.Shape.Types[i])
				}
			}
		}
		d.plans[full.Shape] = p
	}
	row := connectors.Row{Shape: p.out, Values: d.R.Values(len(p.out.Names))}
	k := 0
	for i, m := range p.meta {
		if m != "" {
			meta[m] = full.Values[i]
			continue
		}
		row.Values[k] = full.Values[i]
		for _, x := range full.Rescued() {
			if x.Column == i {
				row.Rescue(connectors.Rescued{Column: k, Text: x.Text})
			}
		}
		k++
	}
	return row
}

func headerValue(b []byte) connectors.Value {
	s := string(b)
	var text string
	if len(s) > 1 && s[0] == '"' && json.Unmarshal(b, &text) == nil {
		return connectors.Text(text)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return connectors.Int(schema.Long, n)
	}
	if s == "null" {
		return connectors.NullValue()
	}
	return connectors.Text(s)
}

func truth(v connectors.Value) bool {
	return v.State == connectors.Present && (v.Kind == schema.Boolean && v.Int == 1 || v.Str == "true")
}

// connectorOf tells the source: by name, else by the members that only it has.
func (d *Decoder) connectorOf(rec *connectors.Record, meta map[string]connectors.Value) string {
	if v := meta["source.connector"]; v.Str != "" {
		return v.Str
	}
	if h, ok := rec.Header("__debezium.context.connectorName"); ok {
		return string(h)
	}
	if d.connector != "" {
		return d.connector
	}
	for _, x := range [...]struct{ member, connector string }{{"source.lsn", "postgresql"}, {"source.sequence", "postgresql"}, {"source.file", "mysql"},
		{"source.commit_lsn", "sqlserver"}, {"source.commit_scn", "oracle"}, {"source.scn", "oracle"}} {
		if meta[x.member].State == connectors.Present {
			return x.connector
		}
	}
	return "unknown"
}

// place writes the source block that the metadata came from, and lets package debezium read it.
func (d *Decoder) place(c *connectors.Change, rec *connectors.Record, meta map[string]connectors.Value, connector string) error {
	src := map[string]any{"connector": connector}
	for name, v := range meta {
		field, ok := strings.CutPrefix(name, "source.")
		if !ok || v.State != connectors.Present || field == "connector" {
			continue
		}
		if v.Kind == schema.String {
			src[field] = v.Str
		} else if v.Kind == schema.Boolean {
			src[field] = v.Int == 1
		} else {
			src[field] = v.Int
		}
	}
	if src["table"] == nil && src["collection"] == nil {
		src["table"] = rec.Topic // names are never cut out of a topic (1.2)
	}
	tx := connectors.Tx{TotalOrder: number(meta["tx_total"]), CollectionOrder: number(meta["tx_collection"])}
	if v := meta["tx_id"]; v.State == connectors.Present {
		tx.ID, tx.Group = v.Str, debezium.TxGroup(v.Str, connector)
	}
	c.SetTx(&tx)
	switch {
	case meta["capture_ns"].State == connectors.Present:
		c.CaptureTsNs = number(meta["capture_ns"])
	case meta["capture_us"].State == connectors.Present:
		c.CaptureTsNs = number(meta["capture_us"]) * 1000
	default:
		c.CaptureTsNs = number(meta["capture_ms"]) * 1000000
	}
	b, err := json.Marshal(src)
	if err != nil {
		return connectors.Poison(connectors.ClassBadValue, "metadata: %v", err)
	}
	return d.inner.Place(c, string(b))
}

func number(v connectors.Value) int64 {
	if v.State == connectors.Present && v.Kind == schema.String {
		n, err := strconv.ParseInt(v.Str, 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return v.Int
}
