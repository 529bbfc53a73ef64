// Package dms decodes the records of AWS Database Migration Service with a Kafka target (JSON and json-unformatted).
//
// The events do not name the columns of the primary key, and the record's key joins their values so that they cannot be
// told apart: the key comes from silver.keys; without it a table is append-only. (The control record of a table's creation
// names them, but it comes once, in a partition of its own: what a record means must not depend on whether its reader began
// before or behind another one.) DMS leaves columns out that are NULL
// (IncludeNullAndEmpty=false): so absent means NULL, unless cdc.absent=unchanged. A changed key is known only with
// before images; then it becomes a delete and an update. Positions need IncludeTransactionDetails.
//
// Settings: format.dms.before.field (before-image), format.dms.before.prefix (BI_).
package dms

import (
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/pos"
)

// Name is the format's name in cdc.format.
const Name = "dms"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "AWS Database Migration Service, JSON", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes DMS records. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	beforeField, beforePrefix string
}

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{Reader: e, beforeField: e.Setting("format.dms.before.field", "before-image"), beforePrefix: e.Setting("format.dms.before.prefix", "BI_")}, nil
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
	if f.Get("metadata") == "" {
		return dst, connectors.Poison(connectors.ClassIncomplete, "metadata is missing")
	}
	m, err := d.Split(f.Get("metadata"))
	if err != nil {
		return dst, err
	}
	schema, table := d.Str(m.Get("schema-name")), d.Str(m.Get("table-name"))
	c.Source = d.Source(connectors.Source{Connector: Name, Schema: schema, Table: table})
	c.CaptureTsNs, _ = d.Time(m.Get("timestamp"))
	c.SourceTsNs, c.SourceTsDigits = d.Time(m.Get("commit-timestamp"))
	var tx connectors.Tx
	if t := m.Get("transaction-id"); t != "" {
		tx.ID = d.Str(t)
		tx.Group = tx.ID
	}
	if t := m.Get("transaction-record-id"); t != "" {
		var ok bool
		if tx.TotalOrder, ok = d.Int(t); !ok || tx.TotalOrder < 0 {
			return dst, connectors.Poison(connectors.ClassBadPosition, "metadata.transaction-record-id is %s", t)
		}
	}
	c.SetTx(&tx)
	switch t := d.Str(m.Get("record-type")); {
	case t == "control" && (schema == "" || strings.HasPrefix(table, "awsdms_")):
		event.Control(&c, connectors.OtherControl) // the service's own bookkeeping
		return append(dst, c), nil
	case t == "control":
		event.Control(&c, connectors.SchemaChange)
		return append(dst, c), nil
	case t != "data":
		return dst, connectors.Poison(connectors.ClassUnknown, "metadata.record-type is %q, neither data nor control", t)
	}
	switch op := d.Str(m.Get("operation")); op {
	case "load":
		c.Op = connectors.Read
		c.Snapshot = connectors.SnapshotTrue
	case "insert":
		c.Op = connectors.Insert
	case "update":
		c.Op = connectors.Update
	case "delete":
		c.Op = connectors.Delete
	default:
		return dst, connectors.Poison(connectors.ClassUnknown, "metadata.operation is %q", op)
	}
	if strings.HasPrefix(table, "awsdms_") {
		event.Control(&c, connectors.OtherControl)
		return append(dst, c), nil
	}
	c.OpText = event.OpText(c.Op)
	return d.images(dst, c, f, d.Str(m.Get("stream-position")))
}

func (d *Decoder) images(dst []connectors.Change, c connectors.Change, f event.Fields, at string) ([]connectors.Change, error) {
	data, err := d.Row(f.Get("data"), "data")
	if err != nil {
		return dst, err
	}
	before, err := d.beforeImage(f, data)
	if err != nil {
		return dst, err
	}
	isBefore := func(n string) bool {
		base, ok := strings.CutPrefix(n, d.beforePrefix)
		return ok && data.Shape.Index(base) >= 0
	}
	row := d.Without(data, isBefore)
	c.Raw.After, c.Raw.Before = f.Get("data"), f.Get(d.beforeField)
	c.Key = d.Pick(row, d.Keys)
	old := d.Pick(d.Overlay(row, before), d.Keys)
	p := position{tx: c.Tx().TotalOrder}
	if err := p.parse(at); err != nil {
		return dst, err
	}
	c.PosQuality, c.Lineage = p.quality, p.lineage
	c.Position = p.at(c.Op)
	if c.Op == connectors.Delete {
		c.Before = d.Overlay(row, before)
		c.Key = old
		c.BeforeQuality = connectors.BeforePartial
		return append(dst, c), nil
	}
	c.After = row
	c.AbsentIsNull = d.Options.Absent != "unchanged"
	if len(before.Values) > 0 {
		c.Before, c.BeforeQuality = d.Overlay(row, before), connectors.BeforePartial
	}
	if c.Op == connectors.Update && !old.IsZero() && !c.Key.IsZero() && !event.Same(old, c.Key) {
		return event.KeyChange(dst, c, old, p.at(connectors.Delete), c.Position), nil
	}
	return append(dst, c), nil
}

// beforeImage gives the before image, which is a member of its own or columns with a prefix.
func (d *Decoder) beforeImage(f event.Fields, data connectors.Row) (connectors.Row, error) {
	if t := f.Get(d.beforeField); t != "" {
		return d.Row(t, "before")
	}
	var names []string
	var vals []connectors.Value
	for i, n := range data.Shape.Names {
		if base, ok := strings.CutPrefix(n, d.beforePrefix); ok && data.Shape.Index(base) >= 0 {
			names, vals = append(names, base), append(vals, data.Values[i])
		}
	}
	if names == nil {
		return connectors.Row{}, nil
	}
	return connectors.Row{Shape: d.R.ShapeOf(names), Values: vals}, nil
}

// position is a parsed stream-position: for MySQL file number u64, pos u64; for PostgreSQL LSN u64, counter u64; then
// transaction-record-id u64 and the sub order. Forms of other sources are not documented: the offset decides there.
type position struct {
	a, b    uint64
	tx      int64
	quality connectors.PosQuality
	lineage connectors.Lineage
}

func (p *position) parse(t string) error {
	if t == "" {
		return nil
	}
	if parts := strings.Split(t, ":"); len(parts) >= 2 && strings.Contains(parts[0], ".") {
		base, n, ok := pos.Binlog(parts[0])
		at, err := strconv.ParseUint(parts[1], 10, 64)
		if !ok || err != nil {
			return connectors.Poison(connectors.ClassBadPosition, "metadata.stream-position is %q", t)
		}
		p.a, p.b, p.lineage = n, at, connectors.Lineage("mysql//"+base)
	} else if lsn, rest, ok := strings.Cut(t, "."); ok && strings.Contains(lsn, "/") {
		hi, lo, _ := strings.Cut(lsn, "/")
		h, err1 := strconv.ParseUint(hi, 16, 32)
		l, err2 := strconv.ParseUint(lo, 16, 32)
		count, _, _ := strings.Cut(rest, ".")
		n, err3 := strconv.ParseUint(count, 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return connectors.Poison(connectors.ClassBadPosition, "metadata.stream-position is %q", t)
		}
		p.a, p.b = h<<32|l, n
	} else {
		return nil
	}
	p.quality = connectors.TieMayHappen
	if p.tx > 0 {
		p.quality = connectors.Exact
	}
	return nil
}

func (p *position) at(op connectors.Op) connectors.Position {
	if p.quality == connectors.OffsetOnly {
		return ""
	}
	sub := event.SubOrder(op)
	if p.quality == connectors.TieMayHappen {
		sub = 1
	}
	return connectors.Position(append(pos.U64(pos.U64(pos.U64(nil, p.a), p.b), uint64(p.tx)), sub))
}
