package silver

import (
	"context"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// cutKeys bounds how many rows one commit ends because of a truncate, in a table with a key.
var cutKeys = 1 << 16

// cutHistory finds the versions that the truncates of this merge end: those that began before and end later. Keys, sequences and
// ends of the whole table are read.
func (w *work) cutHistory(ctx context.Context) error {
	m := w.m
	if m.snap == nil {
		return nil
	}
	r := m.keyReader(m.snap.Schema())
	r.tellSource()
	truncs := make([]*state.Truncate, len(w.truncs))
	for i := range truncs {
		truncs[i] = w.known(&w.truncs[i])
	}
	var files []uint32
	m.idx.Ordinals(func(o uint32, _ *index.File) { files = append(files, o) })
	n := 0
	for _, o := range files {
		if n >= cutKeys && m.keyed() {
			break // the next commit reads on
		}
		f := m.idx.File(o)
		if m.cutRead[f.Path] {
			continue
		}
		live := func(row int64) bool { return (n < cutKeys || !m.keyed()) && !has(f.Deleted, row) }
		if err := r.each(ctx, f.Path, f.Size, live, func(k rowKey) error {
			for i := range w.truncs {
				t := &w.truncs[i]
				if fold.Compare(k.st, t.st) >= 0 || k.ended && fold.Compare(k.end, t.st) <= 0 || !w.ofRows(truncs[i], eventTopic(k.event), k.source) {
					continue
				}
				n++
				if !m.keyed() {
					w.cutSet(k, o)
					return nil
				}
				g := w.histOf(k.h)
				w.need(g, t.st)
				w.hist[g].own = true
			}
			return nil
		}); err != nil {
			return err
		}
		if n < cutKeys {
			w.cutRead = append(w.cutRead, f.Path)
		}
	}
	w.partial = n >= cutKeys && m.keyed()
	return nil
}

// cutOn lets the next commit of a truncate begin behind the files that this one was done with.
func (m *Merger) cutOn(w *work) {
	if !w.partial {
		return
	}
	if m.cutRead == nil {
		m.cutRead = map[string]bool{}
	}
	for _, path := range w.cutRead {
		m.cutRead[path] = true
	}
}

// cutAlone leaves the events of this merge to the next attempt: a truncate has more to end than one commit should.
func (w *work) cutAlone() {
	w.feeds = map[string]int64{}
	for i := range w.groups {
		w.groups[i].head, w.groups[i].n = -1, 0
	}
	st := w.m.state.Clone()
	st.Truncates, w.stateNew = w.state.Truncates, true
	w.state, w.lateMoves = st, nil
	clear(w.parts)
}

// settleHistory turns the outcome of a fold into rows.
func (w *work) settleHistory(g *histGroup) {
	w.res.Duplicates += g.out.Duplicates
	if !g.own {
		return
	}
	w.res.Unfilled += g.out.Unfilled
	kept := make([]bool, len(g.refs))
	for i := range g.out.Versions {
		v := &g.out.Versions[i]
		if v.Row >= 0 {
			kept[v.Row] = !v.Changed
		}
		if !v.Changed {
			continue
		}
		life := &lifetime{fromUs: v.FromUs, endUs: v.EndUs, end: v.End, ended: v.Ended}
		if v.Row >= 0 {
			life.was = &g.refs[v.Row]
		}
		w.winners = append(w.winners, winner{h: g.h, ev: -1, img: v.Image, st: v.Image.Stamp, carried: len(v.Image.From) > 0, life: life})
	}
	gone := func(v *fold.Version) {
		if !kept[v.Row] {
			w.killRef(g.refs[v.Row])
		}
	}
	if g.base != nil {
		gone(g.base)
	}
	for i := range g.stored {
		gone(&g.stored[i])
	}
	w.settleEnds(g)
}

// killRef takes a row of a history away.
func (w *work) killRef(r rowRef) {
	w.goneRefs = append(w.goneRefs, r)
	file, row := r.place()
	b := w.gone[file]
	if b == nil {
		b = newBitmap()
		w.gone[file] = b
	}
	b.Add(uint64(row))
}

// settleEnds remembers the deletes that no row tells of, as long as tombstones are.
func (w *work) settleEnds(g *histGroup) {
	old := slices.DeleteFunc(slices.Clone(w.m.ends[g.h]), func(k int32) bool { return w.decided(g, &w.m.state.Ends[k]) })
	same := len(old) == len(g.out.Ends)
	for k := 0; same && k < len(old); k++ {
		same = w.m.state.Ends[old[k]].Stamp.Seq() == g.out.Ends[k].Stamp.Seq()
	}
	if same {
		return
	}
	w.stateNew = true
	at := map[fold.Seq]int64{}
	for _, k := range old {
		at[w.m.state.Ends[k].Stamp.Seq()] = w.m.state.Ends[k].AtMs
	}
	w.state.Ends = slices.DeleteFunc(w.state.Ends, func(x state.End) bool { return x.Hash == g.h && !w.decided(g, &x) })
	for _, e := range g.out.Ends {
		ms, ok := at[e.Stamp.Seq()]
		if !ok {
			ms = g.atMs
		}
		w.state.Ends = append(w.state.Ends, state.End{Hash: g.h, Stamp: e.Stamp, Us: e.Us, AtMs: ms, Before: w.toRow(e.Before, false)})
	}
}

// dropRefs takes the rows that went out of the index (D8).
func (w *work) dropRefs() {
	for _, r := range w.goneRefs {
		if r.ended {
			w.m.past.Remove(r.h, r.spot)
		} else {
			w.m.idx.Remove(r.entry)
		}
	}
}
