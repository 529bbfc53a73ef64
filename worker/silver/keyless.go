package silver

import (
	"context"
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
		w.reject(c, connectors.ClassApply, "the event has a key, the table has none: a changed key definition needs the table to be rebuilt")
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
	return true
}

// rowSet is what becomes of the rows of one content.
type rowSet struct {
	h    fold.Hash
	live []rowLife // rows of the table and of this merge
	past []rowLife // of a history: rows that have ended, as far as an event of this merge may have made them
	gone []removal
}

type rowLife struct {
	st    fold.Stamp
	ev    int32 // of this merge, unless old
	img   *fold.Image
	entry index.Entry
	old   bool // in the table
	dead  bool
	cut   bool      // a truncate of this merge ends it
	life  *lifetime // of a history: when it ended
}

type removal struct {
	st, add fold.Stamp
	// The events of this merge that st and add are of; noEvent for others.
	ev, addEv int32
	matched   bool
	atMs      int64
	entry     index.Entry
	old       bool // in the index
	changed   bool
	us        int64 // of a history: when the source committed it
}

// foldSets merges the events of a table without key.
func (w *work) foldSets(ctx context.Context) error {
	w.sets = map[fold.Hash]*rowSet{}
	type done struct {
		i   int32
		img *fold.Image
	}
	order := make([]done, 0, len(w.events))
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
		order = append(order, done{int32(i), img})
		if w.sets[e.h] == nil {
			s := &rowSet{h: e.h}
			w.m.idx.Each(e.h, func(x index.Entry) bool {
				if x.File == index.Dead {
					g := w.m.idx.Grave(x)
					s.gone = append(s.gone, removal{st: g.Stamp, add: g.Add, ev: noEvent, addEv: noEvent, matched: g.Add != (fold.Stamp{}), atMs: g.AtMs, entry: x, old: true,
						us: w.endUs(e.h, g.Stamp)})
				} else if w.cutRows == nil || !w.cut(x) {
					s.live = append(s.live, rowLife{entry: x, ev: noEvent, old: true})
				}
				return true
			})
			w.sets[e.h] = s
			w.setOrder = append(w.setOrder, e.h)
		}
		w.sets[e.h].sawEvent(w, e)
	}
	if err := w.loadStamps(ctx); err != nil {
		return err
	}
	w.markCut()
	slices.SortStableFunc(order, func(a, b done) int {
		x, y := &w.events[a.i], &w.events[b.i]
		if c := fold.Compare(x.st, y.st); c != 0 {
			return c
		}
		return int(x.half) - int(y.half)
	})
	for _, d := range order {
		e := &w.events[d.i]
		s := w.sets[e.h]
		if e.half == 1 {
			s.remove(w, e, d.i)
		} else {
			s.add(w, e, d.i, d.img)
		}
	}
	if w.m.history() {
		return w.settleHistorySets(ctx)
	}
	for _, h := range w.setOrder {
		w.settleSet(w.sets[h])
	}
	return nil
}

func (w *work) rowHash(img *fold.Image) fold.Hash {
	b := w.keyBuf[:0]
	for i := range img.Vals {
		b = appendNamed(b, w.m.cols.Source[i].Source, &img.Vals[i])
	}
	w.keyBuf = b
	return fold.Sum(b)
}

// loadStamps reads the sequences of the rows of the table that the sets name.
func (w *work) loadStamps(ctx context.Context) error {
	byFile := map[uint32][]*rowLife{}
	for _, h := range w.setOrder {
		s := w.sets[h]
		for _, rows := range [][]rowLife{s.live, s.past} {
			for i := range rows {
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

func (s *rowSet) add(w *work, e *event, i int32, img *fold.Image) {
	for _, rows := range [][]rowLife{s.past, s.live} {
		for k := range rows {
			if w.repeats(e, rows[k].st, rows[k].ev) {
				w.res.Duplicates++
				return
			}
		}
	}
	for k := range s.gone {
		if g := &s.gone[k]; g.matched && w.repeats(e, g.add, g.addEv) {
			w.res.Duplicates++
			return
		}
	}
	for k := range s.gone {
		if g := &s.gone[k]; !g.matched && fold.Compare(e.st, g.st) < 0 {
			g.matched, g.add, g.addEv, g.changed = true, e.st, i, true
			w.res.Stale++
			if w.m.history() {
				s.live = append(s.live, rowLife{st: e.st, ev: i, img: img, dead: true, life: w.setLife(img, g.st, g.us, e)})
			}
			return
		}
	}
	l := rowLife{st: e.st, ev: i, img: img}
	if t := w.cutLate(e); t != nil {
		l.dead, l.life = true, &lifetime{fromUs: img.Meta.TsUs, ended: true, end: t.Stamp, endUs: t.Us}
	}
	s.live = append(s.live, l)
}

func (s *rowSet) remove(w *work, e *event, i int32) {
	for k := range s.gone {
		if g := &s.gone[k]; w.repeats(e, g.st, g.ev) {
			w.res.Duplicates++
			return
		}
	}
	best := -1
	for k := range s.live {
		l := &s.live[k]
		if !l.dead && !l.cut && fold.Compare(l.st, e.st) < 0 && (best < 0 || fold.Compare(s.live[best].st, l.st) < 0) {
			best = k
		}
	}
	g := removal{st: e.st, ev: i, addEv: noEvent, atMs: e.c.Record.TimestampMs, changed: true, us: changeMicros(e.c)}
	if best >= 0 {
		s.live[best].dead = true
		s.live[best].life = &lifetime{ended: true, end: e.st, endUs: g.us}
		g.matched, g.add, g.addEv = true, s.live[best].st, s.live[best].ev
	}
	s.gone = append(s.gone, g)
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
	for k := range s.live {
		l := &s.live[k]
		switch {
		case l.old && l.dead:
			w.kill(l.entry)
			w.res.Deleted++
			w.cutEntries = append(w.cutEntries, l.entry)
		case !l.old && !l.dead:
			w.upsert(winner{h: s.h, ev: -1, img: l.img, st: l.st})
		}
	}
	for k := range s.gone {
		g := &s.gone[k]
		if !g.changed {
			continue
		}
		d := deletion{h: s.h, g: index.Grave{Stamp: g.st, Add: g.add, AtMs: g.atMs}, old: g.entry, has: g.old}
		w.dels = append(w.dels, d)
	}
}
