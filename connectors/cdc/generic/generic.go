// Package generic decodes JSON change events of any shape by a mapping that the connector's configuration gives (package
// mapping).
package generic

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/cdc/generic/mapping"
	"sluice.io/sluice/connectors/cdc/internal/event"
	"sluice.io/sluice/connectors/cdc/internal/pos"
)

// Name is the format's name in cdc.format.
const Name = "generic"

// MappingKey is the setting that holds the mapping.
const MappingKey = mapping.Key

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{Name: Name, Doc: "JSON events of any shape, by a mapping", New: func(o cdc.Options) (connectors.Decoder, error) { return New(o) }}
}

// Decoder decodes by a mapping. It is owned by one goroutine.
type Decoder struct {
	*event.Reader
	m    *mapping.Mapping
	keys *debezium.Decoder
}

// New makes a decoder.
func New(o cdc.Options) (*Decoder, error) {
	text := o.Config[MappingKey]
	if text == "" {
		return nil, fmt.Errorf("cdc.format=generic needs %s", MappingKey)
	}
	m, err := mapping.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", MappingKey, err)
	}
	e, err := event.New(o)
	if err != nil {
		return nil, err
	}
	keys, err := debezium.New(o)
	if err != nil {
		return nil, err
	}
	return &Decoder{Reader: e, m: m, keys: keys}, nil
}

// at follows a path from the value's members.
func (d *Decoder) at(f event.Fields, path string) (string, bool, error) {
	for {
		name, rest, deeper := strings.Cut(path, ".")
		t, ok := f.Find(path) // a name may hold dots itself
		if ok {
			return t, true, nil
		}
		if t, ok = f.Find(name); !ok || !deeper || t == "null" {
			return "", false, nil
		}
		var err error
		if f, err = d.Split(t); err != nil {
			return "", false, err
		}
		path = rest
	}
}

// text gives the text at a path; "" where there is none.
func (d *Decoder) text(f event.Fields, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	t, ok, err := d.at(f, path)
	if err != nil || !ok || t == "null" {
		return "", err
	}
	return d.Str(t), nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	c := connectors.Change{Record: rec}
	f, none, err := d.Object(rec)
	if err != nil {
		return dst, err
	}
	if len(d.m.Key.Columns) == 0 {
		if err = d.keys.Keys(&c, rec, ""); err != nil {
			return dst, err
		}
	}
	if none {
		event.Tombstone(&c)
		if d.m.Tombstone == "ignore" {
			c.Key = connectors.Row{}
		}
		return append(dst, c), nil
	}
	word, err := d.text(f, d.m.Op.Path)
	if err != nil {
		return dst, err
	}
	name, ok := d.m.Op.Map[word]
	if !ok {
		if name = d.m.Op.Default; name == "" && d.m.Op.Path == "" {
			name = "update"
		} else if name == "" || name == "error" {
			return dst, connectors.Poison(connectors.ClassUnknown, "%s is %q, which the mapping does not name", d.m.Op.Path, word)
		}
	}
	c.Op = mapping.Operations[name]
	c.OpText = event.OpText(c.Op)
	if err = d.source(&c, f); err != nil {
		return dst, err
	}
	if name == "ignore" {
		event.Control(&c, connectors.OtherControl)
		return append(dst, c), nil
	}
	if c.Op == connectors.Truncate {
		c.Kind = connectors.TruncateTable
		if c.Position, err = d.position(&c, f, c.Op); err != nil {
			return dst, err
		}
		return append(dst, c), nil
	}
	return d.images(dst, c, f)
}

func (d *Decoder) source(c *connectors.Change, f event.Fields) error {
	table := d.m.Table.Const
	if d.m.Table.Path != "" {
		t, err := d.text(f, d.m.Table.Path)
		if err != nil {
			return err
		}
		if table = t; table == "" {
			return connectors.Poison(connectors.ClassIncomplete, "%s, which names the table, is missing", d.m.Table.Path)
		}
	}
	src := connectors.Source{Connector: Name, Table: table}
	if d.m.Table.Split != "" {
		switch p := strings.Split(table, d.m.Table.Split); len(p) {
		case 2:
			src.Schema, src.Table = p[0], p[1]
		case 3:
			src.DB, src.Schema, src.Table = p[0], p[1], p[2]
		}
	}
	c.Source = d.Source(src)
	t, err := d.text(f, d.m.SrcTs.Path)
	if err != nil {
		return err
	}
	if t != "" {
		if c.SourceTsNs, c.SourceTsDigits, err = d.time(t); err != nil {
			return err
		}
	}
	var tx connectors.Tx
	if tx.ID, err = d.text(f, d.m.Tx.ID); err != nil {
		return err
	}
	tx.Group = tx.ID
	if t, err = d.text(f, d.m.Tx.TotalOrder); err != nil {
		return err
	}
	if t != "" {
		if tx.TotalOrder, err = strconv.ParseInt(t, 10, 64); err != nil || tx.TotalOrder < 0 {
			return connectors.Poison(connectors.ClassBadPosition, "%s is %q", d.m.Tx.TotalOrder, t)
		}
	}
	c.SetTx(&tx)
	return nil
}

func (d *Decoder) time(t string) (int64, int8, error) {
	unit, digits := int64(1000000), int8(3)
	switch d.m.SrcTs.Unit {
	case "rfc3339":
		ns, dg := d.Time(t)
		if ns == 0 {
			return 0, 0, connectors.Poison(connectors.ClassBadValue, "%s is %q", d.m.SrcTs.Path, t)
		}
		return ns, dg, nil
	case "s":
		unit, digits = 1000000000, 0
	case "us":
		unit, digits = 1000, 6
	case "ns":
		unit, digits = 1, 9
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, 0, connectors.Poison(connectors.ClassBadValue, "%s is %q", d.m.SrcTs.Path, t)
	}
	return n * unit, digits, nil
}

func (d *Decoder) images(dst []connectors.Change, c connectors.Change, f event.Fields) ([]connectors.Change, error) {
	image := func(path *string, role string) (connectors.Row, string, error) {
		if path == nil {
			return connectors.Row{}, "", nil
		}
		text := ""
		if *path == "" {
			text = strings.TrimSpace(strings.TrimPrefix(string(c.Record.Value), "\uFEFF"))
		} else {
			t, ok, err := d.at(f, *path)
			if err != nil || !ok || t == "null" {
				return connectors.Row{}, "", err
			}
			text = t
		}
		d.R.Detect = true
		row, err := d.Row(text, role)
		d.R.Detect = false
		if err == nil {
			err = d.trueKey(&c, row, text, role)
		}
		return row, text, err
	}
	var err error
	if c.After, c.Raw.After, err = image(d.m.After, "after"); err != nil {
		return dst, err
	}
	if c.Before, c.Raw.Before, err = image(d.m.Before, "before"); err != nil {
		return dst, err
	}
	if !c.Before.IsZero() {
		c.BeforeQuality = connectors.BeforePartial
	}
	if c.Position, err = d.position(&c, f, c.Op); err != nil {
		return dst, err
	}
	c.AbsentIsNull = d.m.Partial == "null" || d.m.Partial == "" && d.Options.Absent == "null"
	cols := d.m.Key.Columns
	if c.Op == connectors.Delete {
		if c.Before.IsZero() {
			c.Before = c.After
		}
		c.After = connectors.Row{}
		if len(cols) > 0 {
			c.Key = d.Pick(c.Before, cols)
		}
		if c.Key.IsZero() && c.Before.IsZero() {
			return dst, connectors.Poison(connectors.ClassIncomplete, "a delete with neither key nor before")
		}
		return append(dst, c), nil
	}
	if c.After.IsZero() {
		return dst, connectors.Poison(connectors.ClassIncomplete, "op is %s and %s is missing", c.OpText, *d.m.After)
	}
	if len(cols) > 0 {
		c.Key = d.Pick(c.After, cols)
		if old := d.Pick(c.Before, cols); c.Op == connectors.Update && !old.IsZero() && !c.Key.IsZero() && !event.Same(old, c.Key) {
			del, err := d.position(&c, f, connectors.Delete)
			if err != nil {
				return dst, err
			}
			return event.KeyChange(dst, c, old, del, c.Position), nil
		}
	}
	return append(dst, c), nil
}

// trueKey takes the key's columns of a row that look like the placeholder for texts: a key is always sent.
func (d *Decoder) trueKey(c *connectors.Change, row connectors.Row, text, role string) error {
	names := d.m.Key.Columns
	if len(names) == 0 && !c.Key.IsZero() {
		names = c.Key.Shape.Names
	}
	var sent connectors.Row
	for _, n := range names {
		i := row.Shape.Index(n)
		if i < 0 || row.Values[i].State != connectors.Unavailable {
			continue
		}
		if sent.IsZero() {
			var err error
			if sent, err = d.Row(text, role); err != nil {
				return err
			}
		}
		row.Values[i] = sent.Get(n)
	}
	return nil
}

// position is the order fields one behind the other (numbers 8 or 16 bytes, texts with their end marked), then the
// transaction order and the sub order. One that is missing makes the event offset-only. Without a transaction order ties are broken by the offset.
func (d *Decoder) position(c *connectors.Change, f event.Fields, op connectors.Op) (connectors.Position, error) {
	if len(d.m.Order) == 0 {
		return "", nil
	}
	var b []byte
	for _, o := range d.m.Order {
		t, err := d.text(f, o.Path)
		if err != nil {
			return "", err
		}
		if t == "" {
			return "", nil
		}
		ok := true
		switch o.Type {
		case "uint":
			var n uint64
			if n, ok = pos.Unsigned(t); ok {
				b = pos.U64(b, n)
			}
		case "bigint":
			b, ok = pos.Big(b, t)
		case "hex":
			h := strings.NewReplacer(":", "", "-", "").Replace(strings.TrimPrefix(t, "0x"))
			b = pos.U32(b, uint32(len(h)))
			b, ok = pos.Hex(b, h)
		case "lsn":
			hi, lo, cut := strings.Cut(t, "/")
			h, err1 := strconv.ParseUint(hi, 16, 32)
			l, err2 := strconv.ParseUint(lo, 16, 32)
			ok = cut && err1 == nil && err2 == nil
			b = pos.U64(b, h<<32|l)
		case "string":
			ok = strings.IndexByte(t, 0) < 0
			b = append(append(b, t...), 0)
		case "rfc3339":
			ns, _ := d.Time(t)
			ok = ns != 0
			b = pos.U64(b, uint64(ns)^1<<63)
		}
		if !ok {
			return "", connectors.Poison(connectors.ClassBadPosition, "%s is %q, no %s", o.Path, t, o.Type)
		}
	}
	lineage := d.m.Lineage.Const
	if d.m.Lineage.Path != "" {
		var err error
		if lineage, err = d.text(f, d.m.Lineage.Path); err != nil {
			return "", err
		}
	}
	c.Lineage, c.PosQuality = connectors.Lineage(lineage), connectors.Exact
	sub := event.SubOrder(op)
	if d.m.Tx.TotalOrder == "" {
		// A time, or the number of a transaction, may be that of several changes of a row: the last one counts.
		c.PosQuality, sub = connectors.TieMayHappen, 1
	}
	return connectors.Position(append(pos.U64(b, uint64(c.Tx().TotalOrder)), sub)), nil
}
