// Package maxwell decodes the JSON of Maxwell's daemon.
//
// old holds only what changed: before is data overlaid by it. The key is what primary_key_columns names, else the
// columns of the record's key, else silver.keys; a changed key becomes a delete and an update. JSON columns, sets and
// other nested values are JSON text. Maxwell does not show TRUNCATE.
package maxwell

import (
	"math"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/cdc/internal/pos"
)

// Name is the format's name in cdc.format.
const Name = "maxwell"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Maxwell's daemon, JSON", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes Maxwell records. It is owned by one goroutine.
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
	f, none, err := d.Object(rec)
	if err != nil {
		return dst, err
	}
	if none {
		event.Tombstone(&c)
		return append(dst, c), nil
	}
	kind := d.Str(f.Get("type"))
	if kind == "" && f.Get("reason") != "" {
		return dst, connectors.Poison(connectors.ClassIncomplete, "Maxwell could not send a row of %s.%s (%s): the table needs a resync",
			d.Str(f.Get("database")), d.Str(f.Get("table")), d.Str(f.Get("reason")))
	}
	c.Source = d.Source(connectors.Source{Connector: "mysql", DB: d.Str(f.Get("database")), Table: d.Str(f.Get("table"))})
	ts, ok := d.Int(f.Get("ts"))
	if !ok && f.Get("ts") != "" {
		return dst, connectors.Poison(connectors.ClassBadValue, "ts is %s", f.Get("ts"))
	}
	c.SourceTsNs = ts * 1e9
	switch kind {
	case "insert":
		c.Op = connectors.Insert
	case "update":
		c.Op = connectors.Update
	case "delete":
		c.Op = connectors.Delete
	case "bootstrap-insert":
		c.Op, c.Snapshot = connectors.Read, connectors.SnapshotTrue
	case "bootstrap-start", "bootstrap-complete":
		event.Control(&c, connectors.OtherControl)
		return append(dst, c), nil
	default:
		if strings.HasPrefix(kind, "table-") || strings.HasPrefix(kind, "database-") {
			c.SourceTsNs, c.SourceTsDigits = ts*1e6, 3 // milliseconds for DDL
			event.Control(&c, connectors.SchemaChange)
			return append(dst, c), nil
		}
		return dst, connectors.Poison(connectors.ClassUnknown, "type is %q", kind)
	}
	c.OpText = event.OpText(c.Op)
	return d.images(dst, c, f, rec)
}

func (d *Decoder) images(dst []connectors.Change, c connectors.Change, f event.Fields, rec *connectors.Record) ([]connectors.Change, error) {
	row, err := d.Row(f.Get("data"), "data")
	if err != nil {
		return dst, err
	}
	keys, err := d.keys(f, rec, row)
	if err != nil {
		return dst, err
	}
	var changed connectors.Row
	if t := f.Get("old"); t != "" {
		if changed, err = d.Row(t, "old"); err != nil {
			return dst, err
		}
	}
	del, err := d.position(&c, f)
	if err != nil {
		return dst, err
	}
	c.Raw.After, c.Raw.Before = f.Get("data"), f.Get("old")
	if c.Key, err = d.KeyOf(row, keys); err != nil {
		return dst, err
	}
	if c.Op == connectors.Delete {
		c.Before, c.BeforeQuality = row, connectors.BeforeFull
		return append(dst, c), nil
	}
	c.After = row
	if c.Op == connectors.Update {
		c.Before, c.BeforeQuality = d.Overlay(row, changed), connectors.BeforeFull
		old, err := d.KeyOf(c.Before, keys)
		if err != nil {
			return dst, err
		}
		if !old.IsZero() && !event.Same(old, c.Key) {
			return event.KeyChange(dst, c, old, del, c.Position), nil
		}
	}
	return append(dst, c), nil
}

// keys gives the columns that the event names as its key.
func (d *Decoder) keys(f event.Fields, rec *connectors.Record, row connectors.Row) ([]string, error) {
	if t := f.Get("primary_key_columns"); t != "" {
		return d.Texts(t)
	}
	named, err := d.recordKey(rec)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, name := range named {
		for _, col := range row.Shape.Names { // names of the record's key may be in lower case
			if strings.EqualFold(col, name) {
				keys = append(keys, col)
				break
			}
		}
	}
	return keys, nil
}

// recordKey gives the columns that the record's key names, in either of Maxwell's forms (kafka_key_format): hash,
// {"database":…,"table":…,"pk.id":1}, or array, ["database","table",[{"id":1}]].
func (d *Decoder) recordKey(rec *connectors.Record) (names []string, err error) {
	text := js.Text(rec.Key)
	switch {
	case strings.HasPrefix(text, "{"):
		k, err := d.Split(text)
		if err != nil {
			return nil, err
		}
		for _, m := range k {
			if name, ok := strings.CutPrefix(m.Name, "pk."); ok {
				names = append(names, name)
			}
		}
	case strings.HasPrefix(text, "["):
		parts, err := d.Items(text)
		if err != nil || len(parts) != 3 || !strings.HasPrefix(parts[2], "[") {
			return nil, err
		}
		columns, err := d.Items(parts[2])
		if err != nil {
			return nil, err
		}
		for _, c := range columns {
			k, err := d.Split(c)
			if err != nil {
				return nil, err
			}
			for _, m := range k {
				names = append(names, m.Name)
			}
		}
	}
	return names, nil
}

// position fills the position: file number u64, offset u64, xoffset u64, sub order. The last row of a transaction has
// commit instead of xoffset and ranks last. It gives the position of a delete at the same place too.
func (d *Decoder) position(c *connectors.Change, f event.Fields) (del connectors.Position, err error) {
	t := d.Str(f.Get("position"))
	if t == "" {
		return "", nil
	}
	bad := connectors.Poison(connectors.ClassBadPosition, "position is %q", t)
	file, at, ok := strings.Cut(t, ":")
	base, n, ok2 := pos.Binlog(file)
	off, ok3 := pos.Unsigned(at)
	if !ok || !ok2 || !ok3 {
		return "", bad
	}
	x := uint64(math.MaxUint64)
	c.PosQuality = connectors.Exact
	switch {
	case f.Get("xoffset") != "":
		v, ok := d.Int(f.Get("xoffset"))
		if !ok || v < 0 {
			return "", connectors.Poison(connectors.ClassBadPosition, "xoffset is %s", f.Get("xoffset"))
		}
		x = uint64(v)
	case f.Get("commit") != "true":
		x, c.PosQuality = 0, connectors.TieMayHappen
	}
	if s := f.Get("server_id"); s != "" {
		c.Lineage = connectors.Lineage("mysql/" + d.Str(s) + "/" + base)
	}
	if xid := f.Get("xid"); xid != "" {
		id := d.Str(xid)
		c.SetTx(&connectors.Tx{ID: id, Group: id})
	}
	make1 := func(op connectors.Op) connectors.Position {
		sub := event.SubOrder(op)
		if c.PosQuality == connectors.TieMayHappen {
			sub = 1
		}
		return connectors.Position(append(pos.U64(pos.U64(pos.U64(nil, n), off), x), sub))
	}
	c.Position = make1(c.Op)
	return make1(connectors.Delete), nil
}
