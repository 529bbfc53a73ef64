package silver

import (
	"context"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// In a history of a table without key a row that is removed stays, with the time of its removal. Which row a removal takes is
// decided as in a table of current rows.

// endUs gives when the source committed a removal that found no row.
func (w *work) endUs(h fold.Hash, at fold.Stamp) int64 {
	for _, k := range w.m.ends[h] {
		if x := &w.m.state.Ends[k]; x.Stamp.Seq() == at.Seq() {
			return x.Us
		}
	}
	return 0
}

// setLife is the lifetime of a row that comes later than its removal, or than a truncate before that.
func (w *work) setLife(img *fold.Image, end fold.Stamp, us int64, e *event) *lifetime {
	l := &lifetime{fromUs: img.Meta.TsUs, ended: true, end: end, endUs: us}
	if t := w.cutLate(e); t != nil && fold.Compare(t.Stamp, end) < 0 {
		l.end, l.endUs = t.Stamp, t.Us
	}
	return l
}

// cutLate finds the first truncate behind an event of a history.
func (w *work) cutLate(e *event) *state.Truncate {
	if !w.m.history() || e.st.Pos == "" {
		return nil
	}
	var first *state.Truncate
	for k := range w.state.Truncates {
		t := &w.state.Truncates[k]
		if (e.c.Source == nil || t.Table == tableKey(e.c.Source)) && fold.Compare(e.st, t.Stamp) < 0 && (first == nil || fold.Compare(t.Stamp, first.Stamp) < 0) {
			first = t
		}
	}
	return first
}

// cutRow is a row of the table that a truncate of this merge ends.
type cutRow struct {
	h     fold.Hash
	entry index.Entry
}

// cutSet notes such a row.
func (w *work) cutSet(k rowKey, file uint32) {
	if k.ended {
		return // removed behind the truncate, which is late: its end stays where it is
	}
	w.m.idx.Each(k.h, func(e index.Entry) bool {
		if e.File == file && e.Position() == k.row {
			w.cutSets = append(w.cutSets, cutRow{k.h, e})
			return false
		}
		return true
	})
}

// markCut keeps the rows that a truncate ends from removals. Repeats of what made them are still known.
func (w *work) markCut() {
	for _, c := range w.cutSets {
		if s := w.sets[c.h]; s != nil {
			for k := range s.live {
				s.live[k].cut = s.live[k].cut || s.live[k].old && s.live[k].entry == c.entry
			}
		}
	}
}

// settleHistorySets writes the rows that end, with their ends, and those that are new.
func (w *work) settleHistorySets(ctx context.Context) error {
	type ending struct {
		h     fold.Hash
		entry index.Entry
		life  *lifetime // nil: a truncate
	}
	byFile := map[uint32][]ending{}
	for _, c := range w.cutSets {
		byFile[c.entry.File] = append(byFile[c.entry.File], ending{c.h, c.entry, nil})
	}
	for _, h := range w.setOrder {
		s := w.sets[h]
		for k := range s.live {
			l := &s.live[k]
			switch {
			case l.old && l.dead:
				byFile[l.entry.File] = append(byFile[l.entry.File], ending{h, l.entry, l.life})
			case !l.old:
				if l.life == nil {
					l.life = &lifetime{}
				}
				l.life.fromUs = l.img.Meta.TsUs
				w.winners = append(w.winners, winner{h: h, ev: -1, img: l.img, st: l.st, life: l.life})
			}
		}
		w.settleRemovals(s)
	}
	for _, file := range sortedKeys(byFile) {
		l := byFile[file]
		slices.SortFunc(l, func(a, b ending) int { return int(a.entry.Position() - b.entry.Position()) })
		rows := make([]int64, len(l))
		for i := range l {
			rows[i] = l[i].entry.Position()
		}
		versions, err := w.versions(ctx, file, rows)
		if err != nil {
			return err
		}
		for i, v := range versions {
			life := l[i].life
			if life == nil {
				life = w.cutLife(v.Image.Stamp)
			}
			life.fromUs, life.was = v.FromUs, &rowRef{h: l[i].h, entry: l[i].entry}
			w.killRef(*life.was)
			w.winners = append(w.winners, winner{h: l[i].h, ev: -1, img: v.Image, st: v.Image.Stamp, life: life})
			w.res.Deleted++
		}
	}
	return nil
}

// cutLife gives the end of a row by the first truncate of this merge behind it.
func (w *work) cutLife(at fold.Stamp) *lifetime {
	l := &lifetime{}
	for i := range w.truncs {
		t := &w.truncs[i]
		if fold.Compare(at, t.st) < 0 && (!l.ended || fold.Compare(t.st, l.end) < 0) {
			l.ended, l.end, l.endUs = true, t.st, changeMicros(t.c)
		}
	}
	return l
}

// settleRemovals remembers the removals, and of those that found no row the time.
func (w *work) settleRemovals(s *rowSet) {
	for k := range s.gone {
		g := &s.gone[k]
		if !g.changed {
			continue
		}
		w.dels = append(w.dels, deletion{h: s.h, g: index.Grave{Stamp: g.st, Add: g.add, AtMs: g.atMs}, old: g.entry, has: g.old})
		w.state.Ends = slices.DeleteFunc(w.state.Ends, func(x state.End) bool { return x.Hash == s.h && x.Stamp.Seq() == g.st.Seq() })
		if !g.matched {
			w.state.Ends = append(w.state.Ends, state.End{Hash: s.h, Stamp: g.st, Us: g.us, AtMs: g.atMs})
		}
		w.stateNew = true
	}
}

// sawEvent notes the rows of a history that have ended and may have begun with an event.
func (s *rowSet) sawEvent(w *work, e *event) {
	if e.half == 1 || !w.m.history() {
		return
	}
	at := index.SpotAt(e.st, 0, 0)
	for _, x := range w.m.past.Of(e.h) {
		l := rowLife{entry: index.Entry{File: x.File, Row: uint32(x.Position())}, ev: noEvent, old: true}
		if x.SameMark(at) && !slices.ContainsFunc(s.past, func(o rowLife) bool { return o.entry == l.entry }) {
			s.past = append(s.past, l)
		}
	}
}
