package silver

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/state"
)

func imageGaps(m *fold.Image) bool {
	for i := range m.Vals {
		if fold.Gaps(&m.Vals[i]) {
			return true
		}
	}
	return false
}

// foldEvent makes an event ready for folding.
func (w *work) foldEvent(e *event) fold.Event {
	fe := fold.Event{Stamp: e.st, Sub: e.c.Sub, Op: e.op, Tx: fold.TxKey(e.c)}
	if e.op != connectors.Delete {
		fe.Image = w.image(e.c, e.c.After, e.c.Key)
		return fe
	}
	if w.m.soft() {
		fe.Image = &fold.Image{Meta: w.metaOf(e.c)}
	}
	if w.wholeBefore(e) && e.c.Kind == connectors.RowChange {
		fe.Before = w.image(e.c, e.c.Before, e.c.Key)
		fe.Before.Stamp = e.st
		fe.Before.Meta = w.metaOf(e.c)
	}
	return fe
}

// image makes an image of a row: one value for each source column, converted to the column's type, what does not fit
// rescued.
func (w *work) image(c *connectors.Change, row, key connectors.Row) *fold.Image {
	cols := w.m.cols
	plan := w.plan(row)
	img := &fold.Image{Vals: make([]connectors.Value, len(cols.Source)), Meta: w.metaOf(c), Table: w.tableOf(c)}
	for i := range cols.Source {
		col := &cols.Source[i]
		s := plan.Src[i]
		if s < 0 {
			if v := key.Get(col.Source); w.m.isKeyCol(i) && v.State != connectors.Absent {
				img.Vals[i], _ = keyConvert(v, col.Type)
				continue
			}
			if plan.Whole && !w.unchanged(c) {
				img.Vals[i] = connectors.NullValue()
			}
			continue
		}
		v := row.Values[s]
		if from := plan.From[i]; from.Kind >= schema.Array && v.State == connectors.Present {
			v = evolve.Reshape(v, from, col.Type)
		}
		if v.State != connectors.Present {
			img.Vals[i] = v
			continue
		}
		part := w.m.partitions(i)
		if conv, ok := evolve.Convert(v, col.Type); ok && (!part || divisible(&conv, col.Type)) {
			img.Vals[i] = conv
			continue
		}
		if w.m.isKeyCol(i) || part && v.Kind != schema.String {
			if conv, ok := keyConvert(v, col.Type); ok {
				img.Vals[i] = conv
				continue
			}
		}
		img.Vals[i] = connectors.NullValue()
		rescue(img, i, string(evolve.AppendJSON(nil, v)))
	}
	for _, r := range row.Rescued() {
		if r.Column < len(row.Shape.Names) {
			if i := cols.BySource(row.Shape.Names[r.Column]); i >= 0 && plan.Src[i] >= 0 {
				rescue(img, i, evolve.TextJSON(r.Text))
			}
		}
	}
	return img
}

// unchanged tells that columns that an event leaves out are those that did not change, whatever cdc.format says: GoldenGate's compressed updates.
func (w *work) unchanged(c *connectors.Change) bool {
	return !c.AbsentIsNull && c.Source != nil && c.Source.Connector == "goldengate" && w.m.opt.Config.CDCAbsent != "null"
}

func rescue(img *fold.Image, col int, raw string) {
	if img.Rescue == nil {
		img.Rescue = map[int]string{}
	}
	img.Rescue[col] = raw
}

func (w *work) metaOf(c *connectors.Change) fold.Meta {
	m := fold.Meta{Op: opLetter(w.opOf(c)), TsUs: changeMicros(c), EventID: c.Record.EventID()}
	if c.Kind == connectors.Tombstone {
		m.Op = 'd'
	}
	return m
}

// opOf is what a change does to its key: an update that brings a row to another key creates it there, as Debezium says itself and the formats that have one
// event for both halves do not (formats.md §1.6). A history needs that: a version that is an update leans on the one before it. The fold of SCD 1 finds the row
// of the old key for updates too, and more of it when partitions are behind each other.
func (w *work) opOf(c *connectors.Change) connectors.Op {
	if c.Op == connectors.Update && c.OldKey().Shape != nil {
		return connectors.Insert
	}
	return c.Op
}

func opLetter(o connectors.Op) byte {
	switch o {
	case connectors.Insert:
		return 'c'
	case connectors.Read:
		return 'r'
	case connectors.Delete:
		return 'd'
	}
	return 'u'
}

// changeMicros is _cdc_timestamp: when the source committed; Kafka's time where it does not say.
func changeMicros(c *connectors.Change) int64 {
	ns := c.SourceTsNs
	if ns == 0 {
		return c.Record.TimestampMs * 1000
	}
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	return us
}

func originOf(e *event, from fold.Hash) string {
	fe := fold.Event{Stamp: e.st, Tx: fold.TxKey(e.c)}
	return fe.Origin(from)
}

// rowGaps tells that an event leaves out values of its row; those of columns that the table does not have yet too.
func (w *work) rowGaps(e *event) bool {
	if w.unchanged(e.c) {
		return true
	}
	for i := range e.c.After.Values {
		if fold.Gaps(&e.c.After.Values[i]) {
			return true
		}
	}
	return false
}

// toRow keeps an image in the state; may restricts it to columns whose values a source may leave out: as unavailable only those of types without a
// fixed size.
func (w *work) toRow(img *fold.Image, may bool) *state.Row {
	if img == nil {
		return nil
	}
	may = may && !w.m.compressed && !w.m.policy().CarryAbsent
	r := &state.Row{Stamp: img.Stamp, Meta: img.Meta, Table: w.toldOf(img), Origin: img.Origin, Deleted: img.Deleted, Guess: img.Guess}
	for i := range img.Vals {
		col := &w.m.cols.Source[i]
		if may {
			switch col.Type.Kind {
			case schema.String, schema.Binary, schema.Decimal, schema.Array, schema.Map, schema.Struct:
			default:
				continue
			}
		}
		r.Names = append(r.Names, col.Source)
		r.Values = append(r.Values, img.Vals[i])
		r.Rescue = append(r.Rescue, img.Rescue[i])
		var from *fold.Stamp
		if s, ok := img.From[i]; ok {
			from = &s
		}
		r.From = append(r.From, from)
	}
	return r
}

// fromRow is the inverse of toRow: columns that were not kept are absent.
func (w *work) fromRow(r *state.Row) *fold.Image {
	if r == nil {
		return nil
	}
	img := &fold.Image{Vals: make([]connectors.Value, len(w.m.cols.Source)), Stamp: r.Stamp, Meta: r.Meta, Origin: r.Origin, Deleted: r.Deleted, Guess: r.Guess,
		Table: w.m.tableOfRow(eventTopic(r.Meta.EventID), r.Table)}
	for i, n := range r.Names {
		k := w.m.cols.BySource(n)
		if k < 0 {
			continue
		}
		v, ok := evolve.Convert(r.Values[i], w.m.cols.Source[k].Type)
		if !ok {
			v = connectors.NullValue()
			rescue(img, k, string(evolve.AppendJSON(nil, r.Values[i])))
		}
		img.Vals[k] = v
		if r.Rescue != nil && r.Rescue[i] != "" {
			rescue(img, k, r.Rescue[i])
		}
		if r.From != nil && r.From[i] != nil {
			if img.From == nil {
				img.From = map[int]fold.Stamp{}
			}
			img.From[k] = *r.From[i]
		}
	}
	return img
}
