package silver

import (
	"container/heap"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// rowSet is what becomes of the rows of one content. However many the table has of them, only those are looked at that an event of the merge may be, and those
// that a removal may take.
type rowSet struct {
	h      fold.Hash
	events []setEvent // in the order of their sequences
	rows   []rowLife  // of the table and of this merge
	past   []rowLife  // of a history: rows that have ended, as far as an event of this merge may have made them
	gone   []removal
	// What was merged: inserts, also those whose rows went, and removals.
	added, removed told
	free           available
	// again: all that is known of the content is replayed; undone are the inserts that removals took back.
	again  bool
	undone []fold.Stamp
}

type setEvent struct {
	i   int32
	img *fold.Image
}

type rowLife struct {
	st    fold.Stamp
	mark  index.Entry
	ev    int32 // of this merge, unless old
	img   *fold.Image
	entry index.Entry
	old   bool // in the table
	dead  bool
	cut   bool // a truncate of this merge ends it
	// Of a history: when it ended, and, where all of a content is replayed, when its row says so.
	life, is *lifetime
	spot     index.Spot
	ended    bool // its place is the spot
}

// removal is one of this merge, or one that waits for its insert.
type removal struct {
	st, add fold.Stamp
	matched bool
	atMs    int64
	entry   index.Entry
	old     bool // in the index
	changed bool
	us      int64 // of a history: when the source committed it
}

func (g *removal) deletion(h fold.Hash) deletion {
	return deletion{h: h, g: index.Grave{Stamp: g.st, Add: g.add, AtMs: g.atMs}, old: g.entry, has: g.old}
}

// find asks the index for what the events may meet.
func (s *rowSet) find(w *work) {
	x := w.m.idx
	if w.m.history() {
		s.findPast(w)
	}
	if _, any, _ := x.Get(s.h); !any {
		return
	}
	var adds, removes []*event
	for _, d := range s.events {
		if e := &w.events[d.i]; e.half == 1 {
			removes = append(removes, e)
		} else {
			adds = append(adds, e)
		}
	}
	row := func(e index.Entry) {
		if w.cutRows == nil || !w.cut(e) {
			s.rows = append(s.rows, rowLife{entry: e, ev: noEvent, old: true})
		}
	}
	grave := func(t *told) func(index.Entry) {
		return func(e index.Entry) { t.put(w, x.Grave(e).Stamp, noEvent) }
	}
	s.repeats(x, 0, adds, row)
	s.repeats(x, index.Undone, adds, grave(&s.added))
	s.repeats(x, index.Dead, removes, grave(&s.removed))
	s.repeats(x, index.Waiting, removes, grave(&s.removed))
	s.nearest(0, removes, -1, x.Below, row)
	if len(s.rows) > 1 {
		slices.SortFunc(s.rows, func(a, b rowLife) int { return index.Order(a.entry, b.entry) })
		s.rows = slices.CompactFunc(s.rows, func(a, b rowLife) bool { return a.entry == b.entry })
	}
	s.nearest(index.Waiting, adds, 1, x.From, func(e index.Entry) {
		g := x.Grave(e)
		s.gone = append(s.gone, removal{st: g.Stamp, atMs: g.AtMs, entry: e, old: true})
	})
	if w.m.history() {
		s.waitedUs(w)
	}
}

// repeats gives the entries of a kind that may be of one of the events.
func (s *rowSet) repeats(x *index.Index, kind uint32, events []*event, f func(index.Entry)) {
	if len(events) == 0 {
		return
	}
	type span struct {
		from index.Entry
		wide bool // all that have the prefix
	}
	spans := make([]span, len(events))
	for i, e := range events {
		spans[i] = span{index.Marked(s.h, kind, e.st), e.again > 0}
		if spans[i].wide {
			spans[i].from.SeqHash = 0
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return index.Order(a.from, b.from) })
	within := func(p span, e index.Entry) bool {
		return e.SameMark(p.from) || p.wide && e.Prefix == p.from.Prefix && e.Unpositioned() == p.from.Unpositioned()
	}
	// What is not older than the first event is little, mostly: one look is enough.
	var found []index.Entry
	k, seen, far := 0, 0, false
	x.From(spans[0].from, func(e index.Entry) bool {
		if index.Kind(e) != kind {
			return false
		}
		if seen++; seen > 64+4*len(spans) {
			far = true
			return false
		}
		for k < len(spans) && index.Order(spans[k].from, e) < 0 && !within(spans[k], e) {
			k++
		}
		if k == len(spans) {
			return false
		}
		if within(spans[k], e) {
			found = append(found, e)
		}
		return true
	})
	if far {
		found = found[:0]
		for i, p := range spans {
			if i > 0 && p == spans[i-1] {
				continue
			}
			x.From(p.from, func(e index.Entry) bool {
				if index.Kind(e) != kind || !within(p, e) {
					return false
				}
				found = append(found, e)
				return true
			})
		}
	}
	for _, e := range found {
		f(e)
	}
}

// nearest gives the entries of a kind that the events may be matched with: for each event one that is older (order -1) or newer (1), those first that are next
// to it. All that share the prefix of an event's mark are given, since only their sequences tell whether they are older.
func (s *rowSet) nearest(kind uint32, events []*event, order int, walk func(index.Entry, func(index.Entry) bool), f func(index.Entry)) {
	marks := make([]index.Entry, len(events))
	for i, e := range events {
		marks[i] = index.Marked(s.h, kind, e.st)
		if marks[i].SeqHash = 0; order < 0 {
			marks[i].SeqHash = ^uint32(0)
		}
	}
	slices.SortFunc(marks, func(a, b index.Entry) int { return index.Order(a, b) * order })
	for k := 0; k < len(marks); {
		need, last, more := 0, index.Entry{}, false
		walk(marks[k], func(e index.Entry) bool {
			if index.Kind(e) != kind {
				return false
			}
			for k < len(marks) && index.Order(marks[k], e)*order <= 0 {
				last = marks[k]
				need++
				k++
			}
			same := e.Prefix == last.Prefix && e.Unpositioned() == last.Unpositioned()
			if more = need <= 0 && !same; more {
				return false
			}
			f(e)
			if !same {
				need--
			}
			return true
		})
		if !more {
			return
		}
	}
}

// match decides which removal takes which row: of those that are older the newest one, by its mark. That is so whatever the batches (D7); replay
// sees to what comes late.
func (s *rowSet) match(w *work) {
	slices.SortFunc(s.rows, func(a, b rowLife) int { return fold.Compare(a.st, b.st) })
	slices.SortFunc(s.gone, func(a, b removal) int { return fold.Compare(a.st, b.st) })
	for k := range s.rows {
		s.added.put(w, s.rows[k].st, noEvent)
	}
	for k := range s.past {
		s.added.put(w, s.past[k].st, noEvent)
	}
	s.free.rows = &s.rows
	old, row, waiting := len(s.rows), 0, 0
	gone := len(s.gone)
	// until lets come free what is older than an event.
	until := func(older func(fold.Stamp) bool) {
		for {
			isRow := row < old && (waiting == gone || fold.Compare(s.rows[row].st, s.gone[waiting].st) < 0)
			switch {
			case isRow && older(s.rows[row].st):
				s.release(int32(row))
				row++
			case !isRow && waiting < gone && older(s.gone[waiting].st):
				s.wake(w, &s.gone[waiting])
				waiting++
			default:
				return
			}
		}
	}
	for _, d := range s.events {
		e := &w.events[d.i]
		until(func(st fold.Stamp) bool { return fold.Compare(st, e.st) < 0 })
		if e.half == 1 {
			s.remove(w, e, d.i)
		} else {
			s.add(w, e, d)
		}
	}
	until(func(fold.Stamp) bool { return waiting < gone })
}

// release lets removals take a row.
func (s *rowSet) release(k int32) {
	l := &s.rows[k]
	if l.dead || l.cut {
		return
	}
	l.mark = index.Marked(s.h, 0, l.st)
	heap.Push(&s.free, k)
}

// wake lets a removal that waits take an insert of this merge.
func (s *rowSet) wake(w *work, g *removal) {
	if len(s.free.at) == 0 || s.rows[s.free.at[0]].old {
		return
	}
	l := &s.rows[heap.Pop(&s.free).(int32)]
	l.dead, g.matched, g.add, g.changed = true, true, l.st, true
	w.res.Stale++
	if w.m.history() {
		l.life = w.setLife(l.img, g.st, g.us, &w.events[l.ev])
	}
}

func (s *rowSet) add(w *work, e *event, d setEvent) {
	if s.added.has(w, e) {
		w.res.Duplicates++
		return
	}
	s.added.put(w, e.st, d.i)
	l := rowLife{st: e.st, ev: d.i, img: d.img}
	if t := w.cutLate(e); t != nil {
		l.dead, l.life = true, &lifetime{fromUs: d.img.Meta.TsUs, ended: true, end: t.Stamp, endUs: t.Us}
	}
	s.rows = append(s.rows, l)
	s.release(int32(len(s.rows)) - 1)
}

func (s *rowSet) remove(w *work, e *event, i int32) {
	if s.removed.has(w, e) {
		w.res.Duplicates++
		return
	}
	s.removed.put(w, e.st, i)
	g := removal{st: e.st, atMs: e.c.Record.TimestampMs, changed: true, us: changeMicros(e.c)}
	if len(s.free.at) > 0 {
		l := &s.rows[heap.Pop(&s.free).(int32)]
		l.dead, l.life = true, &lifetime{ended: true, end: e.st, endUs: g.us}
		g.matched, g.add = true, l.st
	}
	s.gone = append(s.gone, g)
}

// available are the rows that a removal may take, as a heap: first the newest.
type available struct {
	rows *[]rowLife
	at   []int32
}

func (a *available) Len() int      { return len(a.at) }
func (a *available) Swap(i, k int) { a.at[i], a.at[k] = a.at[k], a.at[i] }
func (a *available) Push(x any)    { a.at = append(a.at, x.(int32)) }
func (a *available) Less(i, k int) bool {
	x, y := &(*a.rows)[a.at[i]], &(*a.rows)[a.at[k]]
	if c := index.Order(x.mark, y.mark); c != 0 {
		return c > 0
	}
	return fold.Compare(x.st, y.st) > 0
}

func (a *available) Pop() any {
	n := len(a.at) - 1
	x := a.at[n]
	a.at = a.at[:n]
	return x
}

// told are stamps of events that were merged, or come in this merge.
type told struct {
	l     []toldEvent
	byPos map[posKey][]int32 // of l; made where they are many
	byOff map[offKey]int32   // also
	exact bool
}

type toldEvent struct {
	st fold.Stamp
	ev int32 // of this merge, or noEvent
}

type posKey struct {
	epoch uint32
	pos   string
}

type offKey struct {
	pos  string
	part uint32
	off  int64
	sub  int32 // in its record; -1 of an earlier merge
}

const toldFew = 16

func (t *told) put(w *work, st fold.Stamp, ev int32) {
	t.exact = t.exact || st.Exact
	t.l = append(t.l, toldEvent{st, ev})
	switch n := len(t.l); {
	case n == toldFew:
		t.byPos, t.byOff = map[posKey][]int32{}, map[offKey]int32{}
		for i := range t.l {
			t.enter(w, int32(i))
		}
	case n > toldFew:
		t.enter(w, int32(n)-1)
	}
}

func (t *told) enter(w *work, i int32) {
	st, sub := &t.l[i].st, int32(-1)
	if ev := t.l[i].ev; ev != noEvent {
		sub = w.events[ev].c.Sub
	}
	k := posKey{st.Epoch, st.Pos}
	t.byPos[k] = append(t.byPos[k], i)
	t.byOff[offKeyOf(*st, sub)] = i
}

func offKeyOf(st fold.Stamp, sub int32) offKey {
	return offKey{st.Pos, st.Part & fold.PartitionMask, st.Off, sub}
}

// has tells that an event was there before.
func (t *told) has(w *work, e *event) bool {
	is := func(i int32) bool { return w.repeats(e, t.l[i].st, t.l[i].ev) }
	if t.byPos == nil {
		for i := range t.l {
			if is(int32(i)) {
				return true
			}
		}
		return false
	}
	for _, sub := range [2]int32{-1, e.c.Sub} {
		if i, ok := t.byOff[offKeyOf(e.st, sub)]; ok && is(i) {
			return true
		}
	}
	return (e.st.Exact || t.exact || e.again > 0) && slices.ContainsFunc(t.byPos[posKey{e.st.Epoch, e.st.Pos}], is)
}
