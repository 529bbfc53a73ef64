package debezium

import (
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// tombstone is a record with a null value: the key alone, and the key change that it belongs to. It does not say its
// source; the engine matters for MongoDB's keys only, and is told by a header, else by the topic's events before.
func (d *Decoder) tombstone(c *connectors.Change, rec *connectors.Record) error {
	c.Kind, c.OpText = connectors.Tombstone, "tombstone"
	c.Raw.Complete = true
	e := engineOther
	if name, ok := rec.Header("__debezium.context.connectorName"); ok {
		e = engines[js.Text(name)]
	} else if d.lastSource != nil {
		e = d.lastSource.engine
	}
	return d.recordKey(c, rec, e)
}

var keyShape = &connectors.Shape{Names: []string{KeyColumn}}

// recordKey fills Key, OldKey and NewKey.
func (d *Decoder) recordKey(c *connectors.Change, rec *connectors.Record, e engine) error {
	d.r.VarDecimals = 0
	var sch *compiled
	if len(rec.Key) > 0 {
		detect := d.r.Detect
		d.r.Detect, d.r.Canonical = false, true
		var err error
		c.Key, sch, err = d.key(js.Text(rec.Key), &d.keySlot, e)
		d.r.Detect, d.r.Canonical = detect, false
		if err != nil {
			return err
		}
	}
	var old, to connectors.Row
	for i := range rec.Headers {
		h := &rec.Headers[i]
		if len(h.Key) != len(headerOldKey) || h.Value == nil {
			continue
		}
		switch h.Key {
		case headerOldKey:
			old = d.headerKey(js.Text(h.Value), sch, e)
		case headerNewKey:
			to = d.headerKey(js.Text(h.Value), sch, e)
		}
	}
	c.SetKeyHints(old, to)
	return nil
}

// key reads a record's key: an object, an object with its schema, or one value.
func (d *Decoder) key(s string, slot *js.Slot, e engine) (connectors.Row, *compiled, error) {
	var none connectors.Row
	if !utf8.ValidString(s) {
		return none, nil, connectors.Poison(connectors.ClassMalformed, "the key is not valid UTF-8")
	}
	i := js.Space(s, 0)
	if js.Null(s, i) == len(s) {
		return none, nil, nil
	}
	sch, i, err := d.unwrapKey(s, i)
	if err != nil {
		return none, nil, err
	}
	if js.Null(s, i) >= 0 {
		return none, sch, nil
	}
	row, i := d.keyRow(s, i, sch, slot)
	if i < 0 {
		if x, ok := connectors.IsPoison(d.r.Err); ok && x.Class != connectors.ClassMalformed {
			return none, nil, d.r.Err
		}
		return none, nil, connectors.Poison(connectors.ClassMalformed, "the key is not JSON: %q", js.Excerpt(s, 0))
	}
	if i = js.Space(s, i); i < len(s) && s[i] == '}' { // of the wrapper
		i = js.Space(s, i+1)
	}
	if i != len(s) {
		return none, nil, connectors.Poison(connectors.ClassMalformed, "the key is not JSON: %q", js.Excerpt(s, i))
	}
	if e == engineMongo {
		row = d.mongoKey(row)
	}
	return row, sch, nil
}

// unwrapKey gives the schema of a key that is sent with it, and the index of the key itself.
func (d *Decoder) unwrapKey(s string, i int) (*compiled, int, error) {
	start, more := i, false
	if i < len(s) && s[i] == '{' {
		i, more = js.Open(s, i, '}')
	}
	if !more || len(s)-i < 8 || s[i:i+8] != `"schema"` {
		return nil, start, nil
	}
	_, _, i = js.Member(s, i)
	if i < 0 || i >= len(s) || s[i] != '{' && s[i] != 'n' {
		return nil, start, nil
	}
	at := i
	sch, i := d.keys.find(s, at)
	if sch == nil {
		if i = js.Skip(s, at); i < 0 {
			return nil, start, nil
		}
	}
	i, more = js.Next(s, i, '}')
	if !more || len(s)-i < 9 || s[i:i+9] != `"payload"` {
		return nil, start, nil
	}
	_, _, payload := js.Member(s, i)
	if payload < 0 {
		return nil, start, nil
	}
	if sch == nil && s[at] == '{' {
		var err error
		if sch, err = d.keys.compile(s[at:js.Skip(s, at)], nil); err != nil {
			return nil, start, err
		}
	}
	return sch, payload, nil
}

func (d *Decoder) keyRow(s string, i int, sch *compiled, slot *js.Slot) (connectors.Row, int) {
	if sch != nil && sch.root.IsStruct() && i < len(s) && s[i] == '{' {
		return sch.root.Row(&d.r, s, i)
	}
	if sch == nil && i < len(s) && s[i] == '{' {
		return d.r.PlainRow(s, i, slot)
	}
	vals := d.r.Values(1)
	d.r.StartRow()
	shape := keyShape
	if sch != nil {
		i = sch.root.Value(&d.r, s, i, &vals[0], 0)
	} else {
		i = d.r.PlainValue(s, i, &vals[0], 0)
	}
	d.r.EndRow()
	return connectors.Row{Shape: shape, Values: vals}, i
}

// headerKey reads the key of the other half of a key change: JSON with its own schema, or without one, then by the
// schema of the record's key. It is a hint (1.6): what cannot be read is left out.
func (d *Decoder) headerKey(s string, key *compiled, e engine) connectors.Row {
	keep, detect := d.r.Err, d.r.Detect
	d.r.Detect, d.r.Canonical = false, true
	defer func() { d.r.Err, d.r.Detect, d.r.Canonical = keep, detect, false }()
	i := js.Space(s, 0)
	if !utf8.ValidString(s) || i >= len(s) || s[i] != '{' {
		return connectors.Row{}
	}
	if key != nil && key.root.IsStruct() {
		if sch, _, err := d.unwrapKey(s, i); err == nil && sch == nil {
			if row, next := key.root.Row(&d.r, s, i); next >= 0 && js.Space(s, next) == len(s) {
				return row
			}
			d.r.Err = nil
		}
	}
	row, _, err := d.key(s, &d.headerSlot, e)
	if err != nil {
		return connectors.Row{}
	}
	return row
}
