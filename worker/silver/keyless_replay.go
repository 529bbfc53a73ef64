package silver

import (
	"context"
	"math"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// Mostly what an event means to the rows of its content is seen from those that are next to it. It is not where partitions are behind each other, so that it
// comes later than removals behind it that took older rows, or than a truncate: then all that is known of the content is replayed, from first to last, as if all
// had come in order (D7). The rows are those that the events give in whatever order they come.

// doubt tells that what was decided about the events of this merge may be otherwise for one that all is known of. It is not where they are newer than all
// removals that took a row.
func (s *rowSet) doubt(w *work) bool {
	behind, took := s.newestRemoval(w)
	waits := s.anyWaits(w)
	for _, d := range s.events {
		e := &w.events[d.i]
		if e.st.Pos == "" {
			continue // its place is its offset, which says nothing about other partitions
		}
		if late := took && fold.Compare(e.st, behind) < 0; late && (waits || w.m.history()) {
			return true
		}
		if (waits || e.half == 1) && w.cutLate(e) != nil {
			return true // its row, or the row that it took, ended by a truncate behind it
		}
	}
	return false
}

// newestRemoval gives the newest removal of before that took a row.
func (s *rowSet) newestRemoval(w *work) (newest fold.Stamp, any bool) {
	x := w.m.idx
	top := index.Entry{Hash: s.h, File: index.Dead, Prefix: math.MaxUint64, SeqHash: math.MaxUint32}
	for _, e := range sameMark(x.Below, top) {
		if st := x.Grave(e).Stamp; !any || fold.Compare(newest, st) < 0 {
			newest, any = st, true
		}
	}
	return newest, any
}

// anyWaits tells that a removal waits for its row, or did before this merge.
func (s *rowSet) anyWaits(w *work) bool {
	return slices.ContainsFunc(s.gone, func(g removal) bool { return !g.matched }) ||
		len(sameMark(w.m.idx.From, index.Entry{Hash: s.h, File: index.Waiting})) > 0
}

// sameMark gives the first entry of a kind, from a place on, and those whose marks don't tell them from it.
func sameMark(walk func(index.Entry, func(index.Entry) bool), from index.Entry) (l []index.Entry) {
	walk(from, func(e index.Entry) bool {
		ok := index.Kind(e) == from.File && (len(l) == 0 || e.Prefix == l[0].Prefix)
		if ok {
			l = append(l, e)
		}
		return ok
	})
	return l
}

// releaseRemovals finds the contents with removals behind a truncate of this merge: those that took a row of before it have to take another. The index doesn't
// know the source tables of removals, so that they keep what they took where there are several.
func (w *work) releaseRemovals() {
	if _, ok := w.lastTruncate(); !ok {
		return
	}
	x := w.m.idx
	x.All(func(e *index.Entry) bool {
		if e.File != index.Dead {
			return true
		}
		for i := range w.truncs {
			t := w.truncs[i].st
			if prefix, _ := index.Mark(t); t.Pos == "" || e.Prefix < prefix || fold.Compare(x.Grave(*e).Stamp, t) <= 0 {
				continue
			}
			w.replay(e.Hash)
			break
		}
		return true
	})
}

// replay lets the events of a content be replayed in this merge.
func (w *work) replay(h fold.Hash) {
	if w.replays == nil {
		w.replays = map[fold.Hash]bool{}
	}
	w.replays[h] = true
}

// lastTruncate gives the newest truncate of the content's source table.
func (s *rowSet) lastTruncate(w *work) (at fold.Stamp, ok bool) {
	if len(s.events) == 0 {
		return w.lastTruncate() // of releaseRemovals
	}
	c := w.events[s.events[0].i].c
	for i := range w.state.Truncates {
		if t := &w.state.Truncates[i]; w.ofChange(t, c) && (!ok || fold.Compare(at, t.Stamp) < 0) {
			at, ok = t.Stamp, true
		}
	}
	return at, ok
}

// lastTruncate gives the newest truncate of a table of current rows that come from one source table.
func (w *work) lastTruncate() (at fold.Stamp, ok bool) {
	if w.severalSources() || len(w.state.Topics) == 0 {
		return at, false
	}
	for i := range w.state.Truncates {
		t := &w.state.Truncates[i]
		if !w.ofRows(t, w.state.Topics[0].Name, "") {
			return at, false
		}
		if !ok || fold.Compare(at, t.Stamp) < 0 {
			at, ok = t.Stamp, true
		}
	}
	return at, ok
}

// replaySets replays the contents of this merge that need it.
func (w *work) replaySets(ctx context.Context) error {
	var again []*rowSet
	for _, h := range w.setOrder {
		s := w.sets[h]
		if s.again = w.replays[h] || s.doubt(w); s.again {
			s.reset(w)
			again = append(again, s)
		}
	}
	if len(again) == 0 {
		return nil
	}
	if w.m.history() {
		if err := w.loadVersions(ctx, again); err != nil {
			return err
		}
	} else if err := w.loadStamps(ctx, again); err != nil {
		return err
	}
	for _, s := range again {
		if w.m.history() {
			s.replayHistory(w)
		} else {
			s.replayRows(w)
		}
	}
	return nil
}

// reset takes all that is known of the content, and undoes what was decided about the events of this merge.
func (s *rowSet) reset(w *work) {
	x := w.m.idx
	s.rows = slices.DeleteFunc(s.rows, func(l rowLife) bool { return l.old })
	for k := range s.rows {
		s.rows[k].dead, s.rows[k].life = false, nil
	}
	s.gone = slices.DeleteFunc(s.gone, func(g removal) bool { return g.old })
	for k := range s.gone {
		s.gone[k].matched, s.gone[k].add = false, fold.Stamp{}
	}
	var all []index.Entry
	x.Each(s.h, func(e index.Entry) bool {
		all = append(all, e)
		return true
	})
	s.undone = nil
	for _, e := range all {
		switch kind := index.Kind(e); {
		case kind == 0:
			if w.cutRows == nil || !w.cut(e) {
				s.rows = append(s.rows, rowLife{entry: e, ev: noEvent, old: true})
			}
		case kind == index.Undone:
			s.undone = append(s.undone, x.Grave(e).Stamp)
		default:
			g := x.Grave(e)
			s.gone = append(s.gone, removal{st: g.Stamp, atMs: g.AtMs, entry: e, old: true, matched: kind == index.Dead})
		}
	}
	if w.m.history() {
		s.waitedUs(w)
		for _, p := range w.m.past.Of(s.h) {
			s.rows = append(s.rows, rowLife{ev: noEvent, old: true, spot: p, ended: true})
		}
	}
}

// act is an insert, a removal or a truncate in a replay.
type act struct {
	st   fold.Stamp
	row  int // of rowSet.rows; -1: none
	gone int // of rowSet.gone; -1: none
	cut  *state.Truncate
	us   int64 // of a removal that is known by the row that it ended
}

func inOrder(acts []act) {
	slices.SortStableFunc(acts, func(a, b act) int { return fold.Compare(a.st, b.st) })
}

// replayRows decides how many rows of the content there are, and which removals wait. All rows are equal: those that removals took once stay what they are.
func (s *rowSet) replayRows(w *work) {
	truncated, any := s.lastTruncate(w)
	valid := func(st fold.Stamp) bool { return !any || st.Pos == "" || fold.Compare(st, truncated) > 0 }
	var acts []act
	for _, st := range s.undone {
		if valid(st) {
			acts = append(acts, act{st: st, row: -1, gone: -1})
		}
	}
	undone := len(acts)
	dead := slices.Clone(acts) // what took a row, and what it took: a truncate may have come in between
	for k := range s.rows {
		acts = append(acts, act{st: s.rows[k].st, row: k, gone: -1})
	}
	for k := range s.gone {
		if g := &s.gone[k]; valid(g.st) {
			a := act{st: g.st, row: -1, gone: k}
			acts = append(acts, a)
			if g.matched {
				dead = append(dead, a)
			}
		}
	}
	_, have := matchActs(dead)
	for k := range s.gone {
		if g := &s.gone[k]; g.matched && valid(g.st) && !have[k] {
			g.matched, g.changed = false, true
		}
	}
	open, matched := matchActs(acts)
	var wake []int
	for k := range matched {
		if !s.gone[k].matched {
			wake = append(wake, k)
		}
	}
	// Those that have a row keep it; of the others the newest are content with any row.
	slices.SortFunc(wake, func(a, b int) int { return fold.Compare(s.gone[b].st, s.gone[a].st) })
	wake = wake[:min(len(wake), max(0, len(matched)-len(have)))]
	var taken []int
	for k := range s.rows {
		if !open[k] {
			taken = append(taken, k)
		}
	}
	slices.SortFunc(taken, func(a, b int) int { return fold.Compare(s.rows[a].st, s.rows[b].st) })
	taken = taken[:min(len(taken), max(0, len(matched)-undone))]
	for _, k := range taken {
		s.rows[k].dead = true
	}
	for i, k := range wake {
		g := &s.gone[k]
		g.matched, g.changed, g.add = true, true, truncated // that is no insert of any row
		if i < len(taken) {
			g.add = s.rows[taken[i]].st
		}
	}
}

// matchActs lets each removal take the newest row that is there. It gives the rows that are left, and the removals that took one.
func matchActs(acts []act) (open, matched map[int]bool) {
	inOrder(acts)
	var there []int
	open, matched = map[int]bool{}, map[int]bool{}
	for _, a := range acts {
		switch {
		case a.gone < 0:
			there = append(there, a.row)
		case len(there) > 0:
			there = there[:len(there)-1]
			matched[a.gone] = true
		}
	}
	for _, row := range there {
		open[row] = true
	}
	return open, matched
}

// loadVersions reads the rows of contents of a history.
func (w *work) loadVersions(ctx context.Context, sets []*rowSet) error {
	byFile := map[uint32][]*rowLife{}
	for _, s := range sets {
		for k := range s.rows {
			if l := &s.rows[k]; l.old {
				file, _ := l.ref(s.h).place()
				byFile[file] = append(byFile[file], l)
			}
		}
	}
	for _, file := range sortedKeys(byFile) {
		l := byFile[file]
		place := func(l *rowLife) int64 {
			_, row := l.ref(fold.Hash{}).place()
			return row
		}
		slices.SortFunc(l, func(a, b *rowLife) int { return int(place(a) - place(b)) })
		rows := make([]int64, len(l))
		for i := range l {
			rows[i] = place(l[i])
		}
		versions, err := w.versions(ctx, file, rows)
		if err != nil {
			return err
		}
		for i, v := range versions {
			l[i].img, l[i].st = v.Image, v.Image.Stamp
			l[i].is = &lifetime{fromUs: v.FromUs, endUs: v.EndUs, end: v.End, ended: v.Ended}
		}
	}
	return nil
}

func (l *rowLife) ref(h fold.Hash) *rowRef {
	return &rowRef{h: h, ended: l.ended, entry: l.entry, spot: l.spot}
}

// replayHistory decides when each row of the content ended, and by what.
func (s *rowSet) replayHistory(w *work) {
	var acts []act
	isTruncate := map[fold.Seq]bool{}
	for k := range w.state.Truncates {
		t := &w.state.Truncates[k]
		acts = append(acts, act{st: t.Stamp, row: -1, gone: -1, cut: t})
		isTruncate[t.Stamp.Seq()] = true
	}
	took := map[fold.Seq]int{} // removals, by number in s.gone
	for k := range s.gone {
		if s.gone[k].matched {
			took[s.gone[k].st.Seq()] = k
			continue // by the row that it ended
		}
		acts = append(acts, act{st: s.gone[k].st, row: -1, gone: k})
	}
	for k := range s.rows {
		l := &s.rows[k]
		if !l.old {
			l.is = &lifetime{fromUs: l.img.Meta.TsUs}
		}
		acts = append(acts, act{st: l.st, row: k, gone: -1})
		if l.is.ended && !isTruncate[l.is.end.Seq()] {
			a := act{st: l.is.end, row: -1, gone: -1, us: l.is.endUs}
			if g, ok := took[l.is.end.Seq()]; ok {
				a.gone = g
				s.gone[g].us = l.is.endUs
			}
			acts = append(acts, a)
		}
	}
	inOrder(acts)
	var there []int
	end := func(k int, st fold.Stamp, us int64) {
		s.rows[k].life = &lifetime{fromUs: s.rows[k].is.fromUs, ended: true, end: st, endUs: us}
	}
	for _, a := range acts {
		switch {
		case a.row >= 0:
			there = append(there, a.row)
		case a.cut != nil:
			there = slices.DeleteFunc(there, func(k int) bool {
				cut := w.ofRow(a.cut, s.rows[k].img)
				if cut {
					end(k, a.st, a.cut.Us)
				}
				return cut
			})
		default:
			k, us := -1, a.us
			if n := len(there) - 1; n >= 0 {
				k, there = there[n], there[:n]
			}
			if a.gone >= 0 {
				us = s.gone[a.gone].us
				s.gone[a.gone].settle(k >= 0)
			}
			if k >= 0 {
				end(k, a.st, us)
				if a.gone >= 0 {
					s.gone[a.gone].add = s.rows[k].st
				}
			}
		}
	}
	for k := range s.rows {
		l := &s.rows[k]
		if l.life == nil {
			l.life = &lifetime{fromUs: l.is.fromUs}
		}
		l.dead = l.old && (l.life.ended != l.is.ended || l.life.ended && l.life.end.Seq() != l.is.end.Seq()) // it is written anew
	}
}

// settle notes whether a removal took a row.
func (g *removal) settle(took bool) {
	g.changed = g.changed || g.matched != took
	g.matched = took
}
