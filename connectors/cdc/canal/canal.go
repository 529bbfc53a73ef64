// Package canal decodes the flat messages of Alibaba Canal (and TiCDC's Canal-JSON): one message may hold many rows, and
// each gives one change. All values are texts; mysqlType gives their types. Positions are those of TiDB's commit
// timestamp where it is sent; else the Kafka offset and the row's number in the message (Change.Sub) decide.
package canal

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/pos"
)

// Name is the format's name in cdc.format.
const Name = "canal"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Alibaba Canal flat messages, TiCDC Canal-JSON", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes Canal messages. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	types  map[string]*columns // by the text of mysqlType
	shapes map[shapeKey]*connectors.Shape
}

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{Reader: e, types: map[string]*columns{}, shapes: map[shapeKey]*connectors.Shape{}}, nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	c := connectors.Change{Record: rec}
	f, none, err := d.Object(rec)
	if err != nil {
		return dst, err
	}
	if none {
		event.Tombstone(&c)
		return append(dst, c), nil
	}
	c.Source = d.Source(connectors.Source{Connector: "mysql", DB: d.Str(f.Get("database")), Table: d.Str(f.Get("table"))})
	es, ok1 := d.Int(f.Get("es"))
	ts, ok2 := d.Int(f.Get("ts"))
	if !ok1 && f.Get("es") != "" || !ok2 && f.Get("ts") != "" {
		return dst, connectors.Poison(connectors.ClassBadValue, "es is %s, ts is %s", f.Get("es"), f.Get("ts"))
	}
	if es != 0 && es < 1e11 { // some clones send seconds
		es *= 1000
	}
	c.SourceTsNs, c.CaptureTsNs = es*1e6, ts*1e6
	kind := d.Str(f.Get("type"))
	switch kind {
	case "INSERT":
		c.Op = connectors.Insert
	case "UPDATE":
		c.Op = connectors.Update
	case "DELETE":
		c.Op = connectors.Delete
	case "TRUNCATE":
		c.Kind, c.Op, c.OpText = connectors.TruncateTable, connectors.Truncate, "t"
		return append(dst, c), nil
	case "CREATE", "ALTER", "ERASE", "RENAME", "CINDEX", "DINDEX":
		event.Control(&c, connectors.SchemaChange)
		return append(dst, c), nil
	case "QUERY", "TIDB_WATERMARK":
		event.Control(&c, connectors.OtherControl)
		return append(dst, c), nil
	default:
		if f.Get("isDdl") == "true" {
			event.Control(&c, connectors.SchemaChange)
			return append(dst, c), nil
		}
		return dst, connectors.Poison(connectors.ClassUnknown, "type is %q", kind)
	}
	c.OpText = event.OpText(c.Op)
	return d.rows(dst, c, f)
}

func (d *Decoder) rows(dst []connectors.Change, c connectors.Change, f event.Fields) ([]connectors.Change, error) {
	start := len(dst)
	data := f.Get("data")
	if data == "" {
		return dst, connectors.Poison(connectors.ClassIncomplete, "data is missing")
	}
	rows, err := d.Items(data)
	if err != nil {
		return dst, err
	}
	var old []string
	if t := f.Get("old"); t != "" {
		if old, err = d.Items(t); err != nil {
			return dst, err
		}
		if len(old) != len(rows) {
			return dst, connectors.Poison(connectors.ClassMalformed, "data has %d rows and old has %d", len(rows), len(old))
		}
	}
	keys, err := d.Texts(f.Get("pkNames"))
	if err != nil {
		return dst, err
	}
	types, err := d.columns(f.Get("mysqlType"))
	if err != nil {
		return dst, err
	}
	var commit uint64
	if t := f.Get("_tidb"); t != "" {
		x, err := d.Split(t)
		if err != nil {
			return dst, err
		}
		var ok bool
		if ts := d.Str(x.Get("commitTs")); ts != "" {
			if commit, ok = pos.Unsigned(ts); !ok {
				return dst, connectors.Poison(connectors.ClassBadPosition, "_tidb.commitTs is %q", ts)
			}
		}
	}
	if len(rows) == 0 {
		event.Control(&c, connectors.OtherControl)
		return append(dst, c), nil
	}
	for i, text := range rows {
		x := c
		x.Sub = int32(len(dst) - start)
		row, err := d.row(text, types)
		if err != nil {
			return dst[:start], err
		}
		at := func(op connectors.Op) connectors.Position { // commit timestamp u64, number of the row u64, sub order
			if commit == 0 {
				return ""
			}
			return connectors.Position(append(pos.U64(pos.U64(nil, commit), uint64(i)), event.SubOrder(op)))
		}
		x.Position = at(x.Op)
		if commit != 0 {
			x.PosQuality = connectors.Exact
		}
		if x.Key, err = d.KeyOf(row, keys); err != nil {
			return dst[:start], err
		}
		if x.Op == connectors.Delete {
			x.Before, x.BeforeQuality, x.Raw.Before = row, connectors.BeforeFull, text
			dst = append(dst, x)
			continue
		}
		x.After, x.Raw.After = row, text
		if x.Op == connectors.Update && i < len(old) && old[i] != "null" {
			changed, err := d.row(old[i], types)
			if err != nil {
				return dst[:start], err
			}
			x.Raw.Before = old[i]
			x.Before, x.BeforeQuality = d.Overlay(row, changed), connectors.BeforeFull
			was, err := d.KeyOf(x.Before, keys)
			if err != nil {
				return dst[:start], err
			}
			if !was.IsZero() && !event.Same(was, x.Key) {
				dst = event.KeyChange(dst, x, was, at(connectors.Delete), x.Position)
				continue
			}
		}
		dst = append(dst, x)
	}
	return dst, nil
}

func typeName(mysqlType string) (base string, args []string, unsigned bool) {
	t := strings.ToLower(mysqlType)
	unsigned = strings.Contains(t, "unsigned")
	base, rest, _ := strings.Cut(t, "(")
	if f := strings.Fields(base); len(f) > 0 {
		base = f[0]
	}
	inner, _, _ := strings.Cut(rest, ")")
	for a := range strings.SplitSeq(inner, ",") {
		args = append(args, strings.TrimSpace(a))
	}
	return base, args, unsigned
}
