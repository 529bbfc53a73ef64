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

// waitedUs finds when the source committed the removals that wait.
func (s *rowSet) waitedUs(w *work) {
	if len(s.gone) == 0 {
		return
	}
	at := map[fold.Seq]int64{}
	for _, k := range w.m.ends[s.h] {
		x := &w.m.state.Ends[k]
		at[x.Stamp.Seq()] = x.Us
	}
	for k := range s.gone {
		if s.gone[k].old {
			s.gone[k].us = at[s.gone[k].st.Seq()]
		}
	}
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
		if w.ofChange(t, e.c) && fold.Compare(e.st, t.Stamp) < 0 && (first == nil || fold.Compare(t.Stamp, first.Stamp) < 0) {
			first = t
		}
	}
	return first
}

// cutRow is a row of the table that a truncate of this merge ends.
type cutRow struct {
	h     fold.Hash
	entry index.Entry
	ended bool // by a later truncate, which came first
	spot  index.Spot
}

func (c *cutRow) ref() *rowRef { return &rowRef{h: c.h, ended: c.ended, entry: c.entry, spot: c.spot} }

// cutSet notes such a row.
func (w *work) cutSet(k rowKey, file uint32) {
	c := cutRow{h: k.h, entry: index.At(k.h, k.st, file, k.row, k.carried), ended: k.ended}
	if k.ended {
		end := k.end.Seq()
		if !slices.ContainsFunc(w.m.state.Truncates, func(t state.Truncate) bool { return t.Stamp.Seq() == end }) {
			w.replay(k.h) // removed behind the truncate, which is late: that removal was another row's
			return
		}
		c.spot = index.SpotAt(k.st, file, k.row)
	}
	w.cutSets = append(w.cutSets, c)
}

// markCut keeps the rows that a truncate ends from removals. Repeats of what made them are still known.
func (w *work) markCut() {
	if len(w.cutSets) == 0 {
		return
	}
	type place struct {
		file uint32
		row  int64
	}
	cut := map[place]bool{}
	for _, c := range w.cutSets {
		if w.sets[c.h] != nil {
			cut[place{c.entry.File, c.entry.Position()}] = true
		}
	}
	for _, s := range w.sets {
		for k := range s.rows {
			s.rows[k].cut = cut[place{s.rows[k].entry.File, s.rows[k].entry.Position()}]
		}
	}
}

// settleHistorySets writes the rows that end, with their ends, and those that are new.
func (w *work) settleHistorySets(ctx context.Context) error {
	type ending struct {
		ref  *rowRef
		row  int64
		life *lifetime // nil: a truncate
	}
	byFile := map[uint32][]ending{}
	end := func(r *rowRef, life *lifetime) {
		file, row := r.place()
		byFile[file] = append(byFile[file], ending{r, row, life})
	}
	for k := range w.cutSets {
		if s := w.sets[w.cutSets[k].h]; s == nil || !s.again {
			end(w.cutSets[k].ref(), nil)
		}
	}
	for _, h := range w.setOrder {
		s := w.sets[h]
		for k := range s.rows {
			l := &s.rows[k]
			switch {
			case l.old && l.dead:
				end(l.ref(h), l.life)
			case !l.old:
				if l.life == nil {
					l.life = &lifetime{}
				}
				l.life.fromUs = l.img.Meta.TsUs
				w.winners = append(w.winners, winner{h: h, ev: -1, img: l.img, st: l.st, life: l.life})
			}
		}
	}
	w.settleRemovals()
	for _, file := range sortedKeys(byFile) {
		l := byFile[file]
		slices.SortFunc(l, func(a, b ending) int { return int(a.row - b.row) })
		rows := make([]int64, len(l))
		for i := range l {
			rows[i] = l[i].row
		}
		versions, err := w.versions(ctx, file, rows)
		if err != nil {
			return err
		}
		for i, v := range versions {
			life := l[i].life
			if life == nil {
				life = w.cutLife(v.Image)
			}
			life.fromUs, life.was = v.FromUs, l[i].ref
			w.killRef(*life.was)
			w.winners = append(w.winners, winner{h: l[i].ref.h, ev: -1, img: v.Image, st: v.Image.Stamp, life: life})
			w.res.Deleted++
		}
	}
	return nil
}

// cutLife gives the end of a row by the first truncate of its table and of this merge behind it.
func (w *work) cutLife(row *fold.Image) *lifetime {
	l := &lifetime{}
	for i := range w.truncs {
		t := &w.truncs[i]
		if w.ofRow(w.known(t), row) && fold.Compare(row.Stamp, t.st) < 0 && (!l.ended || fold.Compare(t.st, l.end) < 0) {
			l.ended, l.end, l.endUs = true, t.st, changeMicros(t.c)
		}
	}
	return l
}

// settleRemovals remembers the removals; of a history the times of those that found no row, and of a table of current rows those that wait again: there are words
// on what they took.
func (w *work) settleRemovals() {
	changed := map[removalKey]bool{}
	var ends []state.End
	for _, h := range w.setOrder {
		s := w.sets[h]
		for k := range s.gone {
			g := &s.gone[k]
			if !g.changed {
				continue
			}
			w.dels = append(w.dels, g.deletion(h))
			changed[removalKey{h, g.st.Seq()}] = true
			if !g.matched && (w.m.history() || g.old) {
				ends = append(ends, state.End{Hash: h, Stamp: g.st, Us: g.us, AtMs: g.atMs})
			}
		}
	}
	if len(changed) == 0 || len(ends) == 0 && len(w.state.Ends) == 0 {
		return
	}
	w.state.Ends = append(slices.DeleteFunc(w.state.Ends, func(x state.End) bool { return changed[removalKey{x.Hash, x.Stamp.Seq()}] }), ends...)
	w.stateNew = true
}

// findPast finds the rows of a history that have ended and may have begun with an event.
func (s *rowSet) findPast(w *work) {
	seen := map[index.Entry]bool{}
	for _, d := range s.events {
		e := &w.events[d.i]
		if e.half == 1 {
			continue
		}
		for _, x := range w.m.past.Marked(s.h, e.st, e.again > 0) {
			l := index.Entry{File: x.File, Row: uint32(x.Position())}
			if !seen[l] {
				seen[l] = true
				s.past = append(s.past, rowLife{entry: l, ev: noEvent, old: true})
			}
		}
	}
}
