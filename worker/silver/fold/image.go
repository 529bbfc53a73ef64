package fold

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Meta is what a row keeps of the event that made it.
type Meta struct {
	Op      byte // c u r, under soft deletes d
	TsUs    int64
	EventID string
}

// Image is a row in the making: one value for each source column of the table.
type Image struct {
	Vals []connectors.Value
	// Rescue holds by column, as raw JSON, what did not fit. nil: nothing.
	Rescue map[int]string
	// From holds by column the sequence of the event that told the value, where that is not the row's own: the value was
	// carried over. nil: no column was.
	From map[int]Stamp
	// Guess tells that carried values are those of the old key's row as far as it was known: its delete, which tells which row
	// it was that left, had not come.
	Guess bool
	// Origin names the key change by which the row came to its key, kept while columns are carried over.
	Origin string

	Meta  Meta
	Stamp Stamp
	// Table names the source table, "" where it is not known.
	Table string
	// Deleted marks the last image of a row under soft deletes.
	Deleted bool
	// Took is, of a deleted row, the sequence of the row that the delete took away where that is of the delete's own transaction, and the delete's
	// where it took none; the zero Stamp: the row was older.
	Took Stamp
}

// Noted tells that the table must keep more of the row than its values.
func (m *Image) Noted() bool { return len(m.From) > 0 || m.Took.set() }

// Clone copies what a fold changes.
func (m *Image) Clone() *Image {
	c := *m
	c.Vals = append([]connectors.Value(nil), m.Vals...)
	c.Rescue, c.From = nil, nil
	for k, v := range m.Rescue {
		c.setRescue(k, v)
	}
	for k, v := range m.From {
		c.setFrom(k, v)
	}
	return &c
}

func (m *Image) setRescue(col int, raw string) {
	if m.Rescue == nil {
		m.Rescue = map[int]string{}
	}
	m.Rescue[col] = raw
}

func (m *Image) setFrom(col int, s Stamp) {
	if m.From == nil {
		m.From = map[int]Stamp{}
	}
	m.From[col] = s
}

// told gives the sequence of the event that told a column's value.
func (m *Image) told(col int) Stamp {
	if s, ok := m.From[col]; ok {
		return s
	}
	return m.Stamp
}

// take copies a column of another image, where that is known longer than here.
func (m *Image) take(col int, o *Image, from Stamp) {
	m.Vals[col] = o.at(col)
	delete(m.Rescue, col)
	if raw, ok := o.Rescue[col]; ok {
		m.setRescue(col, raw)
	}
	m.setFrom(col, from)
}

// Inherit fills the columns that the image does not tell from the row of the old key, nil where that is not known.
func (m *Image) Inherit(o *Image) {
	if o == nil {
		return
	}
	for i := range m.Vals {
		if Unknown(&m.Vals[i]) && i < len(o.Vals) && !Unknown(&o.Vals[i]) {
			m.take(i, o, o.told(i))
		}
	}
}

// Blank makes the columns that are not known NULL, which anything tells better.
func (m *Image) Blank() {
	for i := range m.Vals {
		if Unknown(&m.Vals[i]) {
			m.Vals[i] = connectors.NullValue()
			m.setFrom(i, Stamp{})
		}
	}
}

// Learn takes columns from an older row that tells them later than this one knows them. It tells whether there were any.
func (m *Image) Learn(o *Image) bool {
	learned := false
	for col, from := range m.From {
		if col >= len(o.Vals) || Gaps(&o.Vals[col]) {
			continue
		}
		if t := o.told(col); Compare(t, from) > 0 && Compare(t, m.Stamp) < 0 {
			m.take(col, o, t)
			m.Guess = m.Guess || o.Guess
			learned = true
		}
	}
	return learned
}

// LearnUntil lets a row that left its key learn from a late image of it: of each column the newest word before it left counts.
func (m *Image) LearnUntil(o *Image, left Stamp) bool {
	learned := false
	for col := range m.Vals {
		if col >= len(o.Vals) || Gaps(&o.Vals[col]) {
			continue
		}
		if t := o.told(col); Compare(t, m.told(col)) > 0 && Compare(t, left) < 0 {
			m.take(col, o, t)
			m.Guess = m.Guess || o.Guess
			learned = true
		}
	}
	return learned
}

// Replace takes the columns that were carried over a key change from the row that left then, whatever was guessed before. left
// is when it left.
func (m *Image) Replace(o *Image, left Stamp) bool {
	if !m.Guess {
		return m.Learn(o)
	}
	for col, from := range m.From {
		if col < len(o.Vals) && !Gaps(&o.Vals[col]) && Compare(from, left) < 0 {
			m.take(col, o, o.told(col))
		}
	}
	m.Guess = o.Guess
	return true
}

// Reborn tells a row, which came by key changes, that it is the one that was made at born at a key that it had, as o: what it has from before was another
// row's. It tells whether that changed anything.
func (m *Image) Reborn(o *Image, born Stamp) bool {
	changed := false
	for col := range m.Vals {
		if Compare(m.told(col), born) >= 0 {
			continue
		}
		if o != nil && col < len(o.Vals) && !Gaps(&o.Vals[col]) {
			m.take(col, o, o.told(col))
		} else {
			m.Vals[col] = connectors.NullValue()
			delete(m.Rescue, col)
			m.setFrom(col, Stamp{})
		}
		changed = true
	}
	return changed
}

// Renew takes the columns that were carried over from what became of the row since. It tells whether that changed anything.
func (m *Image) Renew(o *Image) bool {
	changed := false
	for col, from := range m.From {
		if now, ok := o.From[col]; ok && col < len(o.Vals) && Compare(now, from) != 0 {
			m.take(col, o, now)
			changed = true
		}
	}
	m.Guess = m.Guess && o.Guess
	return changed
}

// Sign tells images apart by when their columns were told.
func (m *Image) Sign() string {
	b := m.Stamp.Append(nil)
	if m.Guess {
		b = append(b, '?')
	}
	for i := range m.Vals {
		if s, ok := m.From[i]; ok {
			b = append(b, byte(i), byte(i>>8))
			b = s.Append(b)
		}
	}
	return string(b)
}

// at gives a column's value; columns that were added after the image was made are NULL.
func (m *Image) at(col int) connectors.Value {
	if col < len(m.Vals) {
		return m.Vals[col]
	}
	return connectors.NullValue()
}

// Unknown tells that the event did not say the column's value.
func Unknown(v *connectors.Value) bool {
	return v.State == connectors.Unavailable || v.State == connectors.Absent
}

// Gaps tells that a part of a nested value is not known.
func Gaps(v *connectors.Value) bool {
	if v.State != connectors.Present {
		return Unknown(v)
	}
	if v.Kind < schema.Array {
		return false
	}
	kids := v.Kids()
	for i := range kids {
		if Gaps(&kids[i]) {
			return true
		}
	}
	return false
}

// Mend fills the unknown parts of a nested value from an older one: members of structs by place, entries of maps by key,
// elements of arrays by place where the arrays are of one length. What stays unknown becomes NULL.
func Mend(v, old connectors.Value) connectors.Value {
	if Unknown(&v) {
		if old.State == connectors.Present {
			return old
		}
		return connectors.NullValue()
	}
	if v.State != connectors.Present || v.Kind < schema.Array || !Gaps(&v) {
		return v
	}
	kids := append([]connectors.Value(nil), v.Kids()...)
	same := old.State == connectors.Present && old.Kind == v.Kind
	was := old.Kids()
	for i := range kids {
		var o connectors.Value
		switch {
		case !same:
		case v.Kind == schema.Map:
			if i%2 == 0 {
				continue
			}
			for k := 0; k+1 < len(was); k += 2 {
				if was[k].Equal(kids[i-1]) {
					o = was[k+1]
					break
				}
			}
		case v.Kind == schema.Array && len(was) != len(kids):
		case i < len(was):
			o = was[i]
		}
		kids[i] = Mend(kids[i], o)
	}
	return connectors.Nested(v.Kind, kids)
}
