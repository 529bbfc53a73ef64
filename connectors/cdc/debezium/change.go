package debezium

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// Headers of the two halves of a key change.
const (
	headerOldKey = "__debezium.oldkey"
	headerNewKey = "__debezium.newkey"
)

// meaning turns the envelope that was read into a change.
func (d *Decoder) meaning(c *connectors.Change, rec *connectors.Record, sch *compiled) error {
	e := &d.e
	if !e.has(envOp) || !e.has(envSource) {
		return d.control(c, rec, sch)
	}
	if e.text[envSource] == "" || e.text[envSource][0] != '{' {
		return connectors.Poison(connectors.ClassIncomplete, "source is not an object")
	}
	src, err := d.source()
	if err != nil {
		return err
	}
	c.Source = &src.Source
	switch e.text[envOp] {
	case `"c"`:
		c.Op, c.OpText = connectors.Insert, "c"
	case `"u"`:
		c.Op, c.OpText = connectors.Update, "u"
	case `"d"`:
		c.Op, c.OpText = connectors.Delete, "d"
	case `"r"`:
		c.Op, c.OpText = connectors.Read, "r"
	case `"t"`:
		c.Op, c.OpText, c.Kind = connectors.Truncate, "t", connectors.TruncateTable
	case `"m"`:
		c.Op, c.OpText, c.Kind, c.ControlKind = connectors.Message, "m", connectors.Control, connectors.LogicalMessage
	default:
		return connectors.Poison(connectors.ClassUnknown, "op is %s, none of c u d r t m", e.text[envOp])
	}
	if e.text[envTx] != "" {
		tx, err := d.transaction(e.text[envTx], src.engine)
		if err != nil {
			return err
		}
		c.SetTx(tx)
	}
	var plain, ok bool
	if c.CaptureTsNs, plain, ok = e.captureTime(); !ok {
		return connectors.Poison(connectors.ClassBadValue, "ts_ms, ts_us or ts_ns is not an integer")
	}
	if c.SourceTsNs, c.SourceTsDigits, ok = d.sourceTime(src.engine); !ok {
		return connectors.Poison(connectors.ClassBadValue, "source.ts_ms, ts_us or ts_ns is not an integer")
	}
	c.Snapshot = d.snapshotKind()
	if err = d.recordKey(c, rec, src.engine); err != nil {
		return err
	}
	if c.Kind == connectors.RowChange {
		if err = d.images(c, src, sch); err != nil {
			return err
		}
	}
	if err = d.position(c, src.engine); err != nil {
		return err
	}
	if src.signal && c.Kind == connectors.RowChange && isSignal(c) {
		c.Kind, c.ControlKind = connectors.Control, connectors.Signal
	}
	c.Raw = connectors.Raw{Before: e.text[envBefore], After: e.text[envAfter], Source: e.text[envSource], Transaction: e.text[envTx]}
	if sch != nil {
		c.Raw.Schema = sch.text
	}
	c.Raw.Complete = plain && e.others == 0 && e.set&^complete == 0
	return nil
}

// complete are the members that Rebuild can write again.
const complete = 1<<envBefore | 1<<envAfter | 1<<envSource | 1<<envTx | 1<<envOp | 1<<envTsMs | 1<<envTsUs | 1<<envTsNs

// isSignal tells a row of a signal table by its columns.
func isSignal(c *connectors.Change) bool {
	row := c.After
	if row.IsZero() {
		row = c.Before
	}
	if row.IsZero() { // a delete of which only the key is known
		return true
	}
	return len(row.Shape.Names) == 3 && row.Shape.Index("id") >= 0 && row.Shape.Index("type") >= 0 && row.Shape.Index("data") >= 0
}

// images fills After and Before.
func (d *Decoder) images(c *connectors.Change, src *source, sch *compiled) error {
	e := &d.e
	if src.engine == engineMongo {
		return d.documents(c)
	}
	if t := e.text[envAfter]; t != "" && t[0] != '{' {
		return connectors.Poison(connectors.ClassMalformed, "after is not an object: %q", js.Excerpt(t, 0))
	}
	if t := e.text[envBefore]; t != "" && t[0] != '{' {
		return connectors.Poison(connectors.ClassMalformed, "before is not an object: %q", js.Excerpt(t, 0))
	}
	c.After = e.after
	detect := src.engine.placeholders() && !d.wholeImage(c)
	if d.r.Found > 0 && !detect && !c.After.IsZero() {
		d.r.Detect = false
		row, _, err := d.row(e.text[envAfter], 0, sch, true)
		if err != nil {
			return err
		}
		c.After = row
	}
	trueKey(c.Key, c.After)
	d.r.Detect = src.engine.placeholders()
	if c.Op == connectors.Delete {
		if c.Key.IsZero() && e.text[envBefore] == "" {
			return connectors.Poison(connectors.ClassIncomplete, "a delete with neither key nor before")
		}
		c.After = connectors.Row{}
	} else if c.After.IsZero() {
		return connectors.Poison(connectors.ClassIncomplete, "op is %s and after is null", c.OpText)
	}
	if e.text[envBefore] != "" {
		c.BeforeQuality = connectors.BeforePartial
		if d.opts.Before == cdc.BeforeAlways || c.Op == connectors.Delete || c.Key.IsZero() || !c.OldKey().IsZero() {
			row, _, err := d.row(e.text[envBefore], 0, sch, false)
			if err != nil {
				return err
			}
			trueKey(c.Key, row)
			c.Before = row
			c.BeforeQuality = quality(c, src.engine)
		} else if src.engine != enginePostgres {
			c.BeforeQuality = connectors.BeforeFull
		}
	}
	if d.r.VarDecimals > 0 && !c.Key.IsZero() {
		canonicalKeyColumns(c.Key, c.After)
		canonicalKeyColumns(c.Key, c.Before)
	}
	return nil
}

// wholeImage tells that the event carries every value, so that nothing in it is a placeholder: rows of snapshots,
// and creates that are not the half of a key change. A create without headers may have lost the one that says so.
func (d *Decoder) wholeImage(c *connectors.Change) bool {
	if c.Op == connectors.Read {
		return true
	}
	if c.Op != connectors.Insert || !c.OldKey().IsZero() {
		return false
	}
	for i := range c.Record.Headers {
		if strings.HasPrefix(c.Record.Headers[i].Key, "__debezium.") {
			return true
		}
	}
	return false
}

// trueKey takes the columns of an image that look like the placeholder from the key that has them: a key is always sent, so that there the text is
// the value.
func trueKey(key, row connectors.Row) {
	if key.IsZero() || row.IsZero() {
		return
	}
	for i, name := range key.Shape.Names {
		if k := &key.Values[i]; k.State == connectors.Present {
			if j := row.Shape.Index(name); j >= 0 && row.Values[j].State == connectors.Unavailable {
				row.Values[j] = *k
			}
		}
	}
}

// canonicalKeyColumns gives the key's columns of an image the key's form where both are the same number.
func canonicalKeyColumns(key, row connectors.Row) {
	if row.IsZero() {
		return
	}
	for i, name := range key.Shape.Names {
		k := &key.Values[i]
		if k.State != connectors.Present || k.Kind != schema.String {
			continue
		}
		if j := row.Shape.Index(name); j >= 0 {
			v := &row.Values[j]
			if v.State == connectors.Present && v.Kind == schema.String && v.Str != k.Str && js.CanonicalDecimal(v.Str) == k.Str {
				v.Str = k.Str
			}
		}
	}
}

// quality says how much of a before image is true. PostgreSQL without REPLICA IDENTITY FULL sends the key's columns
// and invents the others: null, or for NOT NULL columns "", 0, false, the epoch (1.4).
func quality(c *connectors.Change, e engine) connectors.BeforeQuality {
	invented, real, gaps := 0, 0, false
	for i := range c.Before.Values {
		v := &c.Before.Values[i]
		if v.State == connectors.Unavailable || v.State == connectors.Absent {
			gaps = true
		}
		if !c.Key.IsZero() && c.Key.Shape.Index(c.Before.Shape.Names[i]) >= 0 {
			continue
		}
		if isFallback(v) {
			invented++
		} else {
			real++
		}
	}
	switch {
	case e != enginePostgres:
		if gaps {
			return connectors.BeforePartial
		}
		return connectors.BeforeFull
	case c.Key.IsZero(): // PostgreSQL refuses deletes of a keyless table without REPLICA IDENTITY FULL
		return connectors.BeforeFull
	case real == 0 && invented > 0:
		return connectors.BeforeKeyOnly
	case invented > 0 || gaps:
		return connectors.BeforePartial
	}
	return connectors.BeforeFull
}

func isFallback(v *connectors.Value) bool {
	if v.State != connectors.Present {
		return true
	}
	switch v.Kind {
	case schema.String:
		return v.Str == "" || v.Str == "0" || v.Str == "AA==" || strings.HasPrefix(v.Str, "1970-01-01T00:00:00")
	case schema.Binary, schema.Decimal:
		return strings.Trim(v.Str, "\x00") == ""
	case schema.Array, schema.Map, schema.Struct:
		return len(v.Kids()) == 0
	}
	return v.Int == 0
}

// DecodeBefore fills the Before of a change that this format gave and whose before image was left undecoded.
func (d *Decoder) DecodeBefore(c *connectors.Change) error {
	if !c.Before.IsZero() || c.Raw.Before == "" || c.Source == nil {
		return nil
	}
	d.r.Err = nil
	e := engines[strings.ToLower(c.Source.Connector)]
	if e == engineMongo {
		row, err := d.document(c.Raw.Before)
		c.Before = row
		return err
	}
	var sch *compiled
	if c.Raw.Schema != "" {
		if sch, _ = d.values.find(c.Raw.Schema+" ", 0); sch == nil {
			var err error
			if sch, err = d.values.compile(c.Raw.Schema, compileEnvelope); err != nil {
				return err
			}
		}
	}
	d.r.Detect = e.placeholders()
	row, _, err := d.row(c.Raw.Before, 0, sch, false)
	if err != nil {
		return err
	}
	trueKey(c.Key, row)
	c.Before = row
	c.BeforeQuality = quality(c, e)
	if !c.Key.IsZero() {
		canonicalKeyColumns(c.Key, row)
	}
	return nil
}
