package debezium

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// The methods below give other decoders (flattened events, CloudEvents) the parts of this one.

// Keys fills Key, OldKey and NewKey from the record's key and headers. connector is the source's name, or empty.
func (d *Decoder) Keys(c *connectors.Change, rec *connectors.Record, connector string) error {
	d.r.Err = nil
	return d.recordKey(c, rec, engines[strings.ToLower(connector)])
}

// Place fills Source, Snapshot, SourceTsNs, Position, PosQuality and Lineage from the text of a source block. Op, Key
// and Tx must be set before.
func (d *Decoder) Place(c *connectors.Change, sourceJSON string) error {
	d.r.Err = nil
	if d.readSource(sourceJSON, 0) < 0 {
		return d.r.Err
	}
	src, err := d.source()
	if err != nil {
		return err
	}
	c.Source = &src.Source
	c.Snapshot = d.snapshotKind()
	var ok bool
	if c.SourceTsNs, c.SourceTsDigits, ok = d.sourceTime(src.engine); !ok {
		return connectors.Poison(connectors.ClassBadValue, "the source's ts_ms is not an integer")
	}
	return d.position(c, src.engine)
}

// Flat reads a value that is a row itself, with its schema or without; none tells that there is no value. Placeholders are looked for: Sent tells
// what is none.
func (d *Decoder) Flat(rec *connectors.Record) (row connectors.Row, none bool, err error) {
	return d.flat(rec, true)
}

// Sent gives the row that Flat gave as c, of which all but the images is known, has it: a key is always sent, and so are all values by an engine that
// knows no placeholder, or where the event carries all of them. other tells that it is not the same.
func (d *Decoder) Sent(row connectors.Row, c *connectors.Change, connector string) (sent connectors.Row, other bool, err error) {
	if d.r.Found == 0 {
		return row, false, nil
	}
	if !engines[strings.ToLower(connector)].placeholders() || d.wholeImage(c) {
		row, _, err = d.flat(c.Record, false)
		return row, true, err
	}
	trueKey(c.Key, row)
	return row, true, nil
}

func (d *Decoder) flat(rec *connectors.Record, detect bool) (row connectors.Row, none bool, err error) {
	d.r.Err = nil
	s := strings.TrimPrefix(js.Text(rec.Value), "\uFEFF")
	if len(s) == 0 {
		if rec.Value != nil && d.opts.EmptyValueIsPoison {
			return row, false, connectors.Poison(connectors.ClassMalformed, "the value is empty (not null)")
		}
		return row, true, nil
	}
	d.r.Detect, d.r.Found = detect, 0
	row, _, err = d.key(s, &d.flatSlot, engineOther)
	switch {
	case err != nil:
		return row, false, err
	case row.IsZero():
		return row, true, nil
	case row.Shape == keyShape:
		return row, false, connectors.Poison(connectors.ClassMalformed, "the value is not an object: %q", js.Excerpt(s, 0))
	}
	return row, false, nil
}

// TxGroup gives the part of a transaction's id that is equal over the transaction.
func TxGroup(id, connector string) string { return txGroup(id, engines[strings.ToLower(connector)]) }
