package silver

import (
	"context"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// winner is a row to be written: from an event as it came, or from an image that was folded.
type winner struct {
	h       fold.Hash
	ev      int32       // index into work.events, -1: img
	img     *fold.Image // where ev is -1
	st      fold.Stamp
	carried bool
	// old is the entry that the row replaces, if has is set.
	old index.Entry
	has bool
	// life is set in a history, but for a row as it came that has not ended.
	life *lifetime
}

// deletion is a key that goes.
type deletion struct {
	h   fold.Hash
	g   index.Grave
	old index.Entry
	has bool
}

// complexGroup is a key that needs more than a look into the index.
type complexGroup struct {
	group  int32 // -1: no events of its own
	h      fold.Hash
	entry  index.Entry
	has    bool
	more   []index.Entry // further entries of the key: duplicates in the table
	events []fold.Event
	extra  []fold.Event // deletes that truncates stand for
	base   *fold.Base   // what the table says
	inBase *fold.Base   // where the fold begins: base, or what was before it
	// opened: the key was created while it was there, in an earlier merge. folded: out is up to date.
	// keep: it is remembered as such though its fold does not say so.
	opened, folded, keep bool
	fills                []fold.Fill
	out                  fold.Output
	locate               bool
}

// decideGroups settles the keys that the index alone settles and marks the others.
func (w *work) decideGroups(ctx context.Context) error {
	for gi := range w.groups {
		if gi&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if gi%fetchAhead == 0 {
			for k := gi; k < min(gi+fetchAhead, len(w.groups)); k++ {
				w.m.touched += w.m.idx.Touch(w.groups[k].h)
			}
		}
		g := &w.groups[gi]
		if g.head < 0 || g.cx >= 0 {
			continue
		}
		if !w.simple(int32(gi)) {
			w.markComplex(int32(gi))
		}
	}
	return nil
}

func (w *work) markComplex(gi int32) int32 {
	g := &w.groups[gi]
	if g.cx < 0 {
		g.cx = int32(len(w.complex))
		w.complex = append(w.complex, complexGroup{group: gi, h: g.h})
	}
	return g.cx
}

// simple settles a key whose newest change tells all: against its entry, without a read. It gives false, and settles
// nothing, where that is not so.
func (w *work) simple(gi int32) bool {
	m, g := w.m, &w.groups[gi]
	entry, has, more := w.entry(g.h)
	live := has && entry.File != index.Dead
	if more || live && entry.Carried() || g.flags&hasBare != 0 && g.n > 1 || m.opens[g.h] || len(m.moved[g.h]) > 0 {
		return false
	}
	best := g.head
	if g.n > 1 {
		for i := w.events[g.head].next; i >= 0; i = w.events[i].next {
			c := fold.Compare(w.events[i].st, w.events[best].st)
			if c > 0 || c == 0 && w.events[i].c.Record == w.events[best].c.Record {
				best = i
			}
		}
		if g.flags&hasInsert != 0 && !w.plainOrder(g, live) {
			return false
		}
	} else if g.flags&hasInsert != 0 && live {
		return false
	}
	e := &w.events[best]
	if g.flags&hasHint != 0 && !w.plainHints(g, best) {
		return false
	}
	if e.op == connectors.Delete && m.soft() && (live || !w.wholeBefore(e)) {
		return false
	}
	if g.flags&(hasInsert|hasDelete) != 0 {
		if _, _, ok := w.sharedLate(gi, entry, has, nil); ok {
			return false
		}
	}
	if has {
		switch w.judge(entry, e.st) {
		case index.Unsure:
			return false
		case index.Older:
			w.res.Stale += int(g.n)
			return true
		case index.Same:
			w.res.Duplicates++
			w.res.Stale += int(g.n) - 1
			return true
		}
	}
	if e.op == connectors.Delete {
		if m.soft() {
			return false
		}
		took, ok := w.took(g, e, entry, live)
		if !ok {
			return false
		}
		w.res.Stale += int(g.n) - 1
		w.delete(deletion{h: g.h, g: index.Grave{Stamp: e.st, Add: took, AtMs: e.c.Record.TimestampMs}, old: entry, has: has})
		return true
	}
	if !w.whole(e) {
		return false
	}
	w.res.Stale += int(g.n) - 1
	w.upsert(winner{h: g.h, ev: best, st: e.st, old: entry, has: has})
	return true
}

// judge compares a change with an entry, tombstone or row.
func (w *work) judge(entry index.Entry, s fold.Stamp) index.Verdict {
	if entry.File != index.Dead {
		return index.Judge(entry, s)
	}
	grave := w.m.idx.Grave(entry).Stamp
	if (grave.Pos == "") != (s.Pos == "") || grave.Pos != "" && grave.Pos == s.Pos && !s.Exact {
		return index.Unsure
	}
	return index.Verdict(fold.Compare(s, grave))
}

// plainOrder tells that, in the order of their sequences, no create of the group meets a row that is there: then there is
// no key shift inside a transaction.
func (w *work) plainOrder(g *group, live bool) bool {
	if g.n > 64 {
		return false
	}
	var buf [64]int32
	order := buf[:0]
	for i := g.head; i >= 0; i = w.events[i].next {
		k := len(order)
		order = append(order, i)
		for k > 0 && fold.Compare(w.events[order[k-1]].st, w.events[i].st) > 0 {
			order[k] = order[k-1]
			k--
		}
		order[k] = i
	}
	for k, i := range order {
		op := w.events[i].op
		if op == connectors.Insert && live && (k == 0 || fold.Compare(w.events[order[k-1]].st, w.events[i].st) != 0) {
			return false
		}
		live = op != connectors.Delete
	}
	return true
}

// plainHints tells that the halves of key changes among the events need no help: their source has no unavailable values, or
// the create tells all columns and there is no delete whose row could be asked for.
func (w *work) plainHints(g *group, best int32) bool {
	for i := g.head; i >= 0; i = w.events[i].next {
		e := &w.events[i]
		if !unavailable(e.c.Source) {
			continue
		}
		if e.c.NewKey().Shape != nil && e.op == connectors.Delete {
			return false
		}
		if e.c.OldKey().Shape != nil && len(w.state.Moves) > 0 {
			return false
		}
	}
	return true
}

// unavailable tells whether a source may send placeholders for values.
func unavailable(s *connectors.Source) bool {
	return s == nil || s.Connector != "mysql" && s.Connector != "mariadb"
}

// whole is wholeRow, of which the answer is known mostly.
func (w *work) whole(e *event) bool {
	if e.gen == w.m.cols.Gen+1 {
		return e.whole
	}
	return w.wholeRow(e)
}

// wholeRow tells that the event's row goes into the table as it is: each column present or NULL, and of a kind that needs no
// conversion.
func (w *work) wholeRow(e *event) bool {
	row := e.c.After
	if row.Rescued() != nil {
		return false
	}
	plan := w.plan(row)
	if !plan.Whole || w.m.opt.Config.SilverIgnoreNullUpdates && e.op == connectors.Update {
		return false
	}
	vals := row.Values
	for i, s := range plan.Src {
		if s < 0 {
			if w.m.isKeyCol(i) || w.unchanged(e.c) {
				return false
			}
			continue
		}
		v := &vals[s]
		if v.State == connectors.Null {
			continue
		}
		if v.State != connectors.Present || plan.Mask[i]&(1<<v.Kind) == 0 || w.m.partitions(i) && !divisible(v, w.m.cols.Source[i].Type) {
			return false
		}
	}
	return true
}

func (w *work) wholeBefore(e *event) bool {
	return e.c.BeforeQuality == connectors.BeforeFull && !e.c.Before.IsZero()
}

func (w *work) upsert(x winner) {
	w.winners = append(w.winners, x)
	if x.has && x.old.File != index.Dead {
		w.kill(x.old)
	}
}

func (w *work) delete(d deletion) {
	w.dels = append(w.dels, d)
	if d.has && d.old.File != index.Dead {
		w.kill(d.old)
		w.res.Deleted++
	}
}

// kill takes a row of the table away.
func (w *work) kill(e index.Entry) {
	b := w.gone[e.File]
	if b == nil {
		b = newBitmap()
		w.gone[e.File] = b
	}
	b.Add(uint64(e.Position()))
}

// plan gives the plan of an event's row, as the columns are now.
func (w *work) plan(row connectors.Row) *evolve.Plan {
	return w.m.cols.Plan(row)
}
