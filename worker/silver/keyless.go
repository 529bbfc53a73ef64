package silver

import (
	"context"
	"maps"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// A table without key is a multiset of rows. An insert adds one; a delete, whose before image must be whole, takes one equal
// row away: the newest that is older than it. Which insert each delete took back is remembered as long as tombstones are, so
// that a repeat of either changes nothing, in any order.

// keyless makes events of a change of a table without key.
func (w *work) keyless(c *connectors.Change, p *partition) {
	if !c.Key.IsZero() && len(w.m.opt.Config.SilverKeys) == 0 {
		w.reject(c, connectors.ClassApply, "%s", w.m.otherKey(c.Key))
		return
	}
	if c.Op != connectors.Delete {
		if c.After.IsZero() {
			w.reject(c, connectors.ClassIncomplete, "the event has no image of the row")
			return
		}
		if _, why := w.m.cols.Observe(c.After, false); why != "" {
			w.reject(c, connectors.ClassApply, "%s", why)
			return
		}
	}
	removes := c.Op == connectors.Delete || c.Op == connectors.Update
	if removes && (c.BeforeQuality != connectors.BeforeFull || c.Before.IsZero()) {
		w.reject(c, connectors.ClassIncomplete, "the table has no key and the event does not tell the row before it whole: which row changed is not known; "+
			"name the columns of its key in silver.keys, or let the source send whole rows before changes (REPLICA IDENTITY FULL in PostgreSQL)")
		return
	}
	st := w.stamp(c, p)
	if c.Snapshot != connectors.NotSnapshot {
		w.sawSnapshot(c, st)
	}
	if c.Op == connectors.Delete && !c.Filtered && w.m.opt.Config.SilverDeleteMode == "ignore" {
		return
	}
	if c.Op == connectors.Update && sameRow(c.Before, c.After) {
		return
	}
	again := int64(0)
	if before, may := p.lin.Repeating(st); may && !st.Exact && c.Snapshot == connectors.NotSnapshot {
		again = before
	}
	if removes {
		w.add(event{c: c, st: st, op: connectors.Delete, half: 1, again: again})
	}
	if c.Op != connectors.Delete {
		w.add(event{c: c, st: st, op: c.Op, half: 2, again: again})
	}
}

func sameRow(a, b connectors.Row) bool {
	if a.Shape != b.Shape || len(a.Values) != len(b.Values) {
		return false
	}
	for i := range a.Values {
		if !a.Values[i].Equal(b.Values[i]) {
			return false
		}
	}
	return slices.Equal(a.Rescued(), b.Rescued())
}

// foldSets merges the events of a table without key.
func (w *work) foldSets(ctx context.Context) error {
	w.sets = map[fold.Hash]*rowSet{}
	order := make([]setEvent, 0, len(w.events))
	for i := range w.events {
		e := &w.events[i]
		if e.drop {
			continue
		}
		row := e.c.After
		if e.half == 1 {
			row = e.c.Before
		}
		img := w.image(e.c, row, connectors.Row{})
		img.Stamp = e.st
		e.h = w.rowHash(img)
		order = append(order, setEvent{int32(i), img})
	}
	slices.SortStableFunc(order, func(a, b setEvent) int {
		x, y := &w.events[a.i], &w.events[b.i]
		if c := fold.Compare(x.st, y.st); c != 0 {
			return c
		}
		return int(x.half) - int(y.half)
	})
	for _, d := range order {
		h := w.events[d.i].h
		s := w.sets[h]
		if s == nil {
			s = &rowSet{h: h}
			w.sets[h] = s
			w.setOrder = append(w.setOrder, h)
		}
		s.events = append(s.events, d)
	}
	for _, h := range w.setOrder {
		w.sets[h].find(w)
	}
	for _, h := range slices.SortedFunc(maps.Keys(w.replays), fold.ByHash) {
		if w.sets[h] == nil {
			w.sets[h] = &rowSet{h: h}
			w.setOrder = append(w.setOrder, h)
		}
	}
	sets := make([]*rowSet, len(w.setOrder))
	for k, h := range w.setOrder {
		sets[k] = w.sets[h]
	}
	if err := w.loadStamps(ctx, sets); err != nil {
		return err
	}
	w.markCut()
	for _, s := range sets {
		s.match(w)
	}
	if err := w.replaySets(ctx); err != nil {
		return err
	}
	if w.m.history() {
		return w.settleHistorySets(ctx)
	}
	for _, h := range w.setOrder {
		w.settleSet(w.sets[h])
	}
	w.settleRemovals()
	return nil
}

func (w *work) rowHash(img *fold.Image) fold.Hash {
	b := w.keyBuf[:0]
	for i := range img.Vals {
		b = appendNamed(b, w.m.cols.Source[i].Source, &img.Vals[i], img.Rescue[i])
	}
	b = appendSource(b, w.state, eventTopic(img.Meta.EventID), w.toldOf(img))
	w.keyBuf = b
	return fold.Sum(b)
}

// loadStamps reads the sequences of the rows of the table that the sets name.
func (w *work) loadStamps(ctx context.Context, sets []*rowSet) error {
	byFile := map[uint32][]*rowLife{}
	for _, s := range sets {
		for _, rows := range [][]rowLife{s.rows, s.past} {
			for i := range rows {
				if !rows[i].old {
					continue
				}
				byFile[rows[i].entry.File] = append(byFile[rows[i].entry.File], &rows[i])
			}
		}
	}
	for _, o := range sortedKeys(byFile) {
		l := byFile[o]
		slices.SortFunc(l, func(a, b *rowLife) int { return int(a.entry.Position() - b.entry.Position()) })
		rows := make([]int64, len(l))
		for i := range l {
			rows[i] = l[i].entry.Position()
		}
		f := w.m.idx.File(o)
		rec, err := w.m.readRows(ctx, f.Path, f.Size, []string{evolve.ColSequence}, w.m.snap.Schema(), rows)
		if err != nil {
			return err
		}
		for i := range l {
			if l[i].st, err = fold.Parse(columnar.ValueAt(rec.Column(0), schema.Of(schema.Binary), i).Str); err != nil {
				return err
			}
		}
	}
	return nil
}

// noEvent is the event of what is not of this merge.
const noEvent = -1

// repeats tells that an event is the one that left a stamp, once more. A record can bring several equal rows (Canal): with nothing but the offset to tell
// them apart, those of one merge are several. A record is in one merge as a whole, so that what an earlier one left is a repeat.
func (w *work) repeats(e *event, st fold.Stamp, ev int32) bool {
	if st.Off < e.again && st.Pos == e.st.Pos && st.Epoch == e.st.Epoch && st.Part&fold.PartitionMask == e.st.Part&fold.PartitionMask {
		return true
	}
	if fold.Compare(e.st, st) != 0 && !sameOffset(e.st, st) {
		return false
	}
	return ev == noEvent || e.st.Exact || w.events[ev].c.Sub == e.c.Sub
}

// sameOffset tells the same Kafka record, whatever the position says.
func sameOffset(a, b fold.Stamp) bool {
	return a.Off == b.Off && a.Part&fold.PartitionMask == b.Part&fold.PartitionMask && a.Pos == b.Pos
}

func (w *work) settleSet(s *rowSet) {
	for k := range s.rows {
		l := &s.rows[k]
		switch {
		case l.old && l.dead:
			w.kill(l.entry)
			w.res.Deleted++
			w.cutEntries = append(w.cutEntries, l.entry)
		case !l.old && !l.dead:
			w.upsert(winner{h: s.h, ev: -1, img: l.img, st: l.st})
		}
	}
}

// bury lets the index know of a deletion.
func (m *Merger) bury(d *deletion) {
	x := m.idx
	var e index.Entry
	if m.keyed() {
		e = x.Bury(d.h, d.g)
	} else {
		e = buryRemoval(x, d.h, d.g)
	}
	if d.has && d.old.Gone() {
		x.Raise(d.old)
	}
	if !d.has || !x.Replace(d.old, e) {
		x.Insert(e)
	}
}

// buryRemoval makes the tombstone of a removal of a table without key. The insert that it took back gets one of its own: neither is to be merged again.
func buryRemoval(x *index.Index, h fold.Hash, g index.Grave) index.Entry {
	if g.Add == (fold.Stamp{}) {
		return x.BuryAs(index.Waiting, h, g)
	}
	x.Insert(x.BuryAs(index.Undone, h, index.Grave{Stamp: g.Add, AtMs: g.AtMs}))
	return x.Bury(h, index.Grave{Stamp: g.Stamp, AtMs: g.AtMs})
}

// removalKnown tells whether a removal of a table without key has a tombstone of a kind.
func removalKnown(x *index.Index, h fold.Hash, kind uint32, seq fold.Seq) bool {
	_, known := findRemoval(x, h, kind, seq)
	return known
}

// findRemoval gives the entry of a removal's tombstone of a kind.
func findRemoval(x *index.Index, h fold.Hash, kind uint32, seq fold.Seq) (found index.Entry, ok bool) {
	st, err := fold.Parse(string(seq))
	if err != nil {
		return found, false
	}
	at := index.Marked(h, kind, st)
	x.From(at, func(e index.Entry) bool {
		if ok = e.SameMark(at) && x.Grave(e).Stamp.Seq() == seq; ok {
			found = e
		}
		return e.SameMark(at) && !ok
	})
	return found, ok
}
