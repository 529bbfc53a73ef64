package silver

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// Rows that share a key inside a transaction (formats.md §1.6), when the delete of the older one is merged before the create of the
// younger one, which comes late: the tombstone keeps how old the row was that the delete took away. A create of the same transaction that
// lies between the two is of another row, and lives.

// mayShift tells that rows may share a key inside a transaction of the source of a delete: it names its transactions by positions, and
// tells the row that it removed.
func (w *work) mayShift(e *event) bool {
	n := fold.TxLen(e.c.Source)
	return n > 0 && len(e.st.Pos) >= n && w.wholeBefore(e) && e.c.Kind == connectors.RowChange
}

// took gives how old what the delete e, the newest event of its group, took away is; the zero Stamp where that was nothing, or does not
// matter. Of a row that is older than the transaction it gives the beginning of that. ok: it can be told without a read.
func (w *work) took(g *group, e *event, entry index.Entry, live bool) (st fold.Stamp, ok bool) {
	if !w.mayShift(e) {
		return fold.Stamp{}, true
	}
	var newest *event
	for i := g.head; i >= 0; i = w.events[i].next {
		if o := &w.events[i]; fold.Compare(o.st, e.st) < 0 && (newest == nil || fold.Compare(o.st, newest.st) > 0) {
			newest = o
		}
	}
	if newest != nil && (!live || w.judge(entry, newest.st) == index.Newer) {
		if newest.op == connectors.Delete {
			return fold.Stamp{}, true
		}
		return newest.st, true
	}
	if !live || entry.Unpositioned() {
		return fold.Stamp{}, true
	}
	begin := fold.Stamp{Epoch: e.st.Epoch, Pos: e.st.Pos[:fold.TxLen(e.c.Source)]}
	return begin, w.judge(entry, begin) == index.Newer
}

// shared gives what names, in their positions, the transaction of a tombstone and of an event of its key that lies between the row that
// the delete took away and the delete; "" where it does not.
func shared(e *event, g *index.Grave) string {
	n := fold.TxLen(e.c.Source)
	if e.op != connectors.Insert && e.op != connectors.Delete || n == 0 || len(e.st.Pos) < n || len(g.Stamp.Pos) < n || e.st.Pos[:n] != g.Stamp.Pos[:n] ||
		e.st.Epoch != g.Stamp.Epoch || fold.Compare(e.st, g.Stamp) >= 0 || fold.Compare(e.st, g.Add) <= 0 {
		return ""
	}
	return e.st.Pos[:n]
}

// graveOf is the tombstone of a key, or what is one: the last image of a deleted row.
func (w *work) graveOf(entry index.Entry, has bool, base *fold.Base) (g index.Grave, ok bool) {
	switch {
	case !has || !w.m.keyed():
		return g, false
	case entry.File == index.Dead:
		g = *w.m.idx.Grave(entry)
		return g, g.Add.Pos != ""
	case base == nil || base.Image == nil || !base.Image.Deleted:
		return g, false
	}
	g = index.Grave{Stamp: base.Stamp, Add: base.Image.Took}
	if g.Add == (fold.Stamp{}) {
		g.Add.Epoch = g.Stamp.Epoch // older than the transaction
	}
	return g, true
}

// sharedLate tells that an event of the group shares its key with the row that a delete took away, inside one transaction, and what
// names that in positions.
func (w *work) sharedLate(gi int32, entry index.Entry, has bool, base *fold.Base) (tx, prefix string, ok bool) {
	if gi < 0 {
		return "", "", false
	}
	grave, ok := w.graveOf(entry, has, base)
	if !ok {
		return "", "", false
	}
	for i := w.groups[gi].head; i >= 0; i = w.events[i].next {
		e := &w.events[i]
		if prefix := shared(e, &grave); prefix != "" {
			return fold.TxKey(e.c), prefix, true
		}
	}
	return "", "", false
}

// reopen lets the fold of such a key begin again before the delete: with the row that it took away, of which nothing is known but that it
// was there.
func (w *work) reopen(c *complexGroup) {
	if c.base == nil || c.opened {
		return
	}
	tx, prefix, ok := w.sharedLate(c.group, c.entry, c.has, c.base)
	if !ok {
		return
	}
	grave, _ := w.graveOf(c.entry, c.has, c.base)
	gone := grave.Stamp
	row := &fold.Image{Vals: make([]value, len(w.m.cols.Source)), Stamp: fold.Stamp{Epoch: gone.Epoch, Pos: prefix}}
	if last := c.base.Image; last != nil {
		row.Vals = last.Vals
	}
	c.opened, c.keep = true, true
	c.inBase = &fold.Base{Stamp: row.Stamp, Image: row}
	d := fold.Event{Stamp: gone, Op: connectors.Delete, Tx: tx}
	if last := c.base.Image; last != nil {
		d.Image, d.Before = &fold.Image{Meta: last.Meta}, last
	}
	c.events = append([]fold.Event{d}, c.events...)
}

// tookOf is took of a key that was folded.
func (w *work) tookOf(c *complexGroup) fold.Stamp {
	t := c.out.Took
	if t.Pos == "" || c.group < 0 {
		return fold.Stamp{}
	}
	for i := w.groups[c.group].head; i >= 0; i = w.events[i].next {
		if e := &w.events[i]; fold.Compare(e.st, c.out.Stamp) == 0 && w.mayShift(e) {
			return t
		}
	}
	return fold.Stamp{}
}
