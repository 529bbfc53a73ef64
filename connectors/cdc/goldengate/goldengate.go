// Package goldengate decodes the JSON of Oracle GoldenGate for Big Data: operation mode (before and after) and row mode.
//
// Columns that an update leaves out are unchanged (COMPRESSUPDATES), unless cdc.absent=null; <column>_isMissing is
// understood. The key is what primary_keys names, else silver.keys. A changed key becomes a delete and an update.
//
// Settings: format.goldengate.op.insert, .update, .delete, .truncate: further words for the operations.
package goldengate

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/pos"
	"sluice.io/sluice/connectors/schema"
)

// Name is the format's name in cdc.format.
const Name = "goldengate"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "Oracle GoldenGate for Big Data, JSON", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes GoldenGate records. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	ops map[string]connectors.Op
}

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	d := &Decoder{Reader: e, ops: map[string]connectors.Op{
		"I": connectors.Insert, "INSERT": connectors.Insert, "U": connectors.Update, "UPDATE": connectors.Update, "UPSERT": connectors.Update,
		"D": connectors.Delete, "DELETE": connectors.Delete, "T": connectors.Truncate, "TRUNCATE": connectors.Truncate}}
	for name, op := range map[string]connectors.Op{"insert": connectors.Insert, "update": connectors.Update, "delete": connectors.Delete, "truncate": connectors.Truncate} {
		if w := e.Setting("format.goldengate.op."+name, ""); w != "" {
			d.ops[w] = op
		}
	}
	return d, nil
}

var metadata = map[string]bool{"table": true, "op_type": true, "op_ts": true, "current_ts": true, "pos": true, "primary_keys": true,
	"tokens": true, "before": true, "after": true, "csn": true, "xid": true}

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
	word := d.Str(f.Get("op_type"))
	op, ok := d.ops[word]
	if !ok {
		return dst, connectors.Poison(connectors.ClassUnknown, "op_type is %q", word)
	}
	table := d.Str(f.Get("table"))
	if table == "" {
		return dst, connectors.Poison(connectors.ClassIncomplete, "table is missing")
	}
	src := connectors.Source{Connector: Name, Table: table}
	if parts := strings.Split(table, "."); len(parts) == 2 {
		src.Schema, src.Table = parts[0], parts[1]
	} else if len(parts) == 3 {
		src.DB, src.Schema, src.Table = parts[0], parts[1], parts[2]
	}
	c.Source = d.Source(src)
	c.Op, c.OpText = op, event.OpText(op)
	c.SourceTsNs, c.SourceTsDigits = d.Time(f.Get("op_ts"))
	c.CaptureTsNs, _ = d.Time(f.Get("current_ts"))
	at := d.Str(f.Get("pos"))
	if c.Position, err = position(at, op); err != nil {
		return dst, err
	}
	if at != "" {
		c.PosQuality = connectors.Exact
	}
	if op == connectors.Truncate {
		c.Kind = connectors.TruncateTable
		return append(dst, c), nil
	}
	return d.images(dst, c, f, rec, at)
}

func (d *Decoder) images(dst []connectors.Change, c connectors.Change, f event.Fields, rec *connectors.Record, at string) ([]connectors.Change, error) {
	keys, err := d.Texts(f.Get("primary_keys"))
	if err != nil {
		return dst, err
	}
	var before, after connectors.Row
	if t := f.Get("before"); t != "" {
		if before, err = d.image(t, "before"); err != nil {
			return dst, err
		}
	}
	if t := f.Get("after"); t != "" {
		if after, err = d.image(t, "after"); err != nil {
			return dst, err
		}
	}
	if before.IsZero() && after.IsZero() { // row mode: the columns lie beside the metadata
		row, err := d.image(strings.TrimSpace(strings.TrimPrefix(string(rec.Value), "\uFEFF")), "row")
		if err != nil {
			return dst, err
		}
		row = d.Without(row, func(n string) bool { return metadata[n] })
		if c.Op == connectors.Delete {
			before = row
		} else {
			after = row
		}
	}
	c.Raw.Before, c.Raw.After = f.Get("before"), f.Get("after")
	c.Before = before
	if !before.IsZero() {
		c.BeforeQuality = connectors.BeforePartial
	}
	if c.Op == connectors.Delete {
		if len(before.Values) == 0 {
			return dst, connectors.Poison(connectors.ClassIncomplete, "a delete without before")
		}
		c.Key, err = d.KeyOf(before, keys)
		return append(dst, c), err
	}
	if len(after.Values) == 0 {
		return dst, connectors.Poison(connectors.ClassIncomplete, "op_type is %s and after is missing", f.Get("op_type"))
	}
	c.After = after
	c.AbsentIsNull = d.Options.Absent == "null" || c.Op == connectors.Insert
	columns := keys
	if len(columns) == 0 {
		columns = d.Keys
	}
	if c.Key = d.Pick(after, columns); c.Key.IsZero() { // a compressed update may leave its key to before
		if c.Key, err = d.KeyOf(d.Overlay(before, after), keys); err != nil {
			return dst, err
		}
	}
	if old := d.Pick(before, columns); c.Op == connectors.Update && !old.IsZero() && !c.Key.IsZero() && !event.Same(old, c.Key) {
		del, _ := position(at, connectors.Delete)
		return event.KeyChange(dst, c, old, del, c.Position), nil
	}
	return append(dst, c), nil
}

const missing = "_isMissing"

// image reads a row; a column that <column>_isMissing says is missing is left out.
func (d *Decoder) image(text, role string) (connectors.Row, error) {
	row, err := d.Row(text, role)
	if err != nil {
		return row, err
	}
	return d.Without(row, func(n string) bool {
		if base, ok := strings.CutSuffix(n, missing); ok && row.Shape.Index(base) >= 0 {
			return true
		}
		v := row.Get(n + missing)
		return v.State == connectors.Present && v.Kind == schema.Boolean && v.Int == 1
	}), nil
}

// position is the trail's number, 16 bytes, a total order that is not known, 8 bytes, and the sub order: the ends of positions are alike in
// all formats, which the halves of a key change are told by.
func position(at string, op connectors.Op) (connectors.Position, error) {
	if at == "" {
		return "", nil
	}
	b, ok := pos.Big(nil, at)
	if !ok {
		return "", connectors.Poison(connectors.ClassBadPosition, "pos is %q", at)
	}
	return connectors.Position(append(pos.U64(b, 0), event.SubOrder(op))), nil
}
