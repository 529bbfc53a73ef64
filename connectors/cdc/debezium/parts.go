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

// Flat reads a value that is a row itself, with its schema or without; none tells that there is no value.
func (d *Decoder) Flat(rec *connectors.Record) (row connectors.Row, none bool, err error) {
	d.r.Err = nil
	s := strings.TrimPrefix(js.Text(rec.Value), "\uFEFF")
	if len(s) == 0 {
		if rec.Value != nil && d.opts.EmptyValueIsPoison {
			return row, false, connectors.Poison(connectors.ClassMalformed, "the value is empty (not null)")
		}
		return row, true, nil
	}
	d.r.Detect, d.r.Found = true, 0
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
