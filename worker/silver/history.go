package silver

import (
	"context"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// A history (silver.scd.type=2) has a row for each version of a key: what an upsert made it, from when to when. A change of a
// key takes the rows that it touches, the newest one nearly always, folds them anew together with the change (fold.History) and
// writes those that come out different. Rows tell all that a later fold needs, so that next to nothing is remembered beside
// them: deletes that found no row, truncates, and which key changes carried values over.

// lifetime is the part of a version that a row of current state does not have.
type lifetime struct {
	fromUs, endUs int64
	end           fold.Stamp
	ended         bool
	was           *rowRef // the row that shows the version so far
}

// rowRef points to a row of a history.
type rowRef struct {
	h     fold.Hash
	ended bool
	entry index.Entry // of a version that has not ended
	spot  index.Spot
}

func (r rowRef) place() (file uint32, row int64) {
	if r.ended {
		return r.spot.File, r.spot.Position()
	}
	return r.entry.File, r.entry.Position()
}

// histGroup is a key whose history is folded.
type histGroup struct {
	h     fold.Hash
	group int32
	// floor is the oldest of what may change; rows from the one before it on are loaded. all: all rows are. set: floor is valid.
	floor    fold.Stamp
	set, all bool
	loaded   bool
	folded   bool
	own      bool // it has events, or rows that must be looked at again
	events   []fold.Event
	refs     []rowRef
	rows     []fold.Version // by number in refs
	base     *fold.Version
	stored   []fold.Version
	txLen    int
	out      fold.HistoryOutput
	sign     string
	atMs     int64
}

func (m *Merger) history() bool { return m.opt.Config.SilverSCDType == 2 }

// histOf gives the group of a key, made where it is new: an index in w.hist.
func (w *work) histOf(h fold.Hash) int32 {
	gi := w.group(h)
	g := &w.groups[gi]
	if g.cx < 0 {
		g.cx = int32(len(w.hist))
		w.hist = append(w.hist, histGroup{h: h, group: gi})
	}
	return g.cx
}

// need lets the fold of a key begin at a sequence or before.
func (w *work) need(i int32, at fold.Stamp) {
	g := &w.hist[i]
	if g.set && fold.Compare(g.floor, at) <= 0 {
		return
	}
	g.floor, g.set = at, true
	g.folded, g.loaded = false, false
}

// foldHistory merges the events of a history with keys.
func (w *work) foldHistory(ctx context.Context) error {
	for gi := range w.groups {
		if gi&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if g := &w.groups[gi]; g.head >= 0 && !w.simpleHistory(g) {
			w.hist[w.histOf(g.h)].own = true
		}
	}
	for i := 0; i < len(w.hist); i++ { // grows while it runs
		w.histEvents(int32(i))
	}
	for i := range w.hist {
		g := &w.hist[i]
		g.own = g.own || w.groups[g.group].head >= 0
	}
	for round := 0; round < maxRounds; round++ {
		if err := w.loadHistory(ctx); err != nil {
			return err
		}
		clear(w.histPrefixes)
		var done []int
		for i := range w.hist {
			if g := &w.hist[i]; !g.folded {
				w.foldHist(g)
				done = append(done, i)
			}
		}
		again := false
		for _, i := range done {
			g := &w.hist[i]
			sign := histSign(&g.out)
			if sign == g.sign {
				continue
			}
			g.sign = sign
			again = w.forwardHistory(i) || again
		}
		if !again {
			break
		}
	}
	w.res.Complex = len(w.hist)
	for i := range w.hist {
		w.settleHistory(&w.hist[i])
	}
	for gi := range w.groups {
		if g := &w.groups[gi]; g.head >= 0 && g.cx < 0 { // simple
			w.winners = append(w.winners, winner{h: g.h, ev: g.head, st: w.events[g.head].st})
		}
	}
	return nil
}

// histSign tells outcomes of folds apart.
func histSign(o *fold.HistoryOutput) string {
	var b []byte
	for i := range o.Versions {
		b = append(b, o.Versions[i].Image.Sign()...)
		b = append(b, '|')
	}
	return string(append(b, '.'))
}

// simpleHistory tells a key that is seen for the first time, by a whole row: its first version is the event as it came.
func (w *work) simpleHistory(g *group) bool {
	m := w.m
	if g.n != 1 || len(w.state.Truncates) > 0 || len(m.ends[g.h]) > 0 || len(m.moved[g.h]) > 0 {
		return false
	}
	if ended, _ := m.past.Has(g.h); ended {
		return false
	}
	if _, has, _ := m.idx.Get(g.h); has {
		return false
	}
	e := &w.events[g.head]
	return e.op != connectors.Delete && w.whole(e)
}

// histEvents makes the events of a group and asks for the keys that they lean on.
func (w *work) histEvents(i int32) {
	g := &w.hist[i]
	h := g.h
	events := g.events // of sweeps
	for k := w.groups[g.group].head; k >= 0; k = w.events[k].next {
		e := &w.events[k]
		fe := w.foldEvent(e)
		fe.TsUs = changeMicros(e.c)
		if e.c.OldKey().Shape != nil && e.op != connectors.Delete && imageGaps(fe.Image) {
			if from, why := w.keyHash(e.c, e.c.OldKey()); why == "" && from != h {
				fe.From = from
				w.need(w.histOf(from), e.st)
			}
		}
		if e.c.NewKey().Shape != nil && e.op == connectors.Delete && e.c.Kind == connectors.RowChange {
			if to, why := w.keyHash(e.c, e.c.NewKey()); why == "" && to != h {
				fe.To = to
			}
		}
		g = &w.hist[i] // may have moved
		if e.c.Source != nil {
			g.txLen = max(g.txLen, fold.TxLen(e.c.Source))
		}
		g.atMs = max(g.atMs, e.c.Record.TimestampMs)
		events = append(events, fe)
		w.need(i, e.st)
	}
	g = &w.hist[i]
	g.events = events
	if g.atMs == 0 {
		g.atMs = w.nowMs
	}
}

// window chooses the rows of a group that must be read.
func (w *work) window(g *histGroup) {
	m := w.m
	g.refs, g.all = g.refs[:0], true
	live, has := index.Entry{}, false
	m.idx.Each(g.h, func(e index.Entry) bool {
		if e.File != index.Dead {
			g.refs = append(g.refs, rowRef{h: g.h, entry: e})
			live, has = e, true
		}
		return true
	})
	ended, bare := m.past.Has(g.h)
	switch {
	case !ended:
	case has && len(g.refs) == 1 && g.set && w.allNewer(g, live):
		g.all = false
	case len(g.refs) > 1 || !g.set || g.floor.Pos == "" || bare || has && live.Unpositioned():
		g.addSpots(m.past.Of(g.h))
	default:
		floor := w.txFloor(g)
		l, all := m.past.Since(g.h, fold.Mark(floor.Epoch, floor.Pos))
		g.all = all
		g.addSpots(l)
	}
}

// allNewer tells that all that may change is newer than the live row.
func (w *work) allNewer(g *histGroup, live index.Entry) bool {
	for i := range g.events {
		if index.Judge(live, g.events[i].Stamp) != index.Newer {
			return false
		}
	}
	return index.Judge(live, w.txFloor(g)) == index.Newer
}

// txFloor is the beginning of the transaction of the oldest change, or of what shares its position: what shares a key inside a transaction is folded
// whole, and so is what may be repeated.
func (w *work) txFloor(g *histGroup) fold.Stamp {
	s := g.floor
	if n := w.txLen(g); n > 0 && len(s.Pos) > n {
		s.Pos = s.Pos[:n]
	}
	s.Exact = s.Exact || s.Pos != ""
	return s
}

func (w *work) txLen(g *histGroup) int {
	if g.txLen > 0 {
		return g.txLen
	}
	return w.txLenAny()
}

// txLenAny is for keys without events of their own: they are of the same source as those that ask for them.
func (w *work) txLenAny() int {
	for i := range w.events {
		if s := w.events[i].c.Source; s != nil {
			return fold.TxLen(s)
		}
	}
	for i := range w.truncs {
		if s := w.truncs[i].c.Source; s != nil {
			return fold.TxLen(s)
		}
	}
	return 0
}

func (g *histGroup) addSpots(l []index.Spot) {
	for _, x := range l {
		g.refs = append(g.refs, rowRef{h: g.h, ended: true, spot: x})
	}
}

// loadHistory reads the rows of the groups that need some.
func (w *work) loadHistory(ctx context.Context) error {
	type want struct {
		row  int64
		g, n int
	}
	byFile := map[uint32][]want{}
	var fresh []int
	for i := range w.hist {
		g := &w.hist[i]
		if g.loaded {
			continue
		}
		g.loaded = true
		w.window(g)
		g.rows = make([]fold.Version, len(g.refs))
		for n, r := range g.refs {
			file, row := r.place()
			byFile[file] = append(byFile[file], want{row, i, n})
		}
		fresh = append(fresh, i)
	}
	for _, file := range sortedKeys(byFile) {
		l := byFile[file]
		slices.SortFunc(l, func(a, b want) int { return int(a.row - b.row) })
		rows := make([]int64, len(l))
		for k := range l {
			rows[k] = l[k].row
		}
		rows = slices.Compact(rows)
		versions, err := w.versions(ctx, file, rows)
		if err != nil {
			return err
		}
		k := 0
		for _, x := range l {
			for rows[k] != x.row {
				k++
			}
			v := versions[k]
			v.Row = x.n
			w.hist[x.g].rows[x.n] = v
		}
	}
	for _, i := range fresh {
		w.hist[i].arrange(w)
	}
	return nil
}

// arrange finds the version at which the fold begins.
func (g *histGroup) arrange(w *work) {
	g.base, g.stored = nil, g.stored[:0]
	if !g.set {
		g.stored = append(g.stored, g.rows...)
		return
	}
	floor := w.txFloor(g)
	bare := g.floor.Pos == ""
	for i := range g.rows {
		bare = bare || g.rows[i].Image.Stamp.Pos == ""
	}
	for i := range g.rows {
		// Where not all have positions, sequences alone don't tell a place to begin from: all rows are looked at.
		v := &g.rows[i]
		if bare && g.all || fold.Compare(v.Image.Stamp, floor) >= 0 {
			continue
		}
		if g.base == nil || fold.Compare(g.base.Image.Stamp, v.Image.Stamp) < 0 {
			g.base = v
		}
	}
	for i := range g.rows {
		v := &g.rows[i]
		if v != g.base && (g.base == nil || fold.Compare(v.Image.Stamp, g.base.Image.Stamp) >= 0) {
			g.stored = append(g.stored, *v)
		}
	}
}

// covers tells that the group's rows tell the row at some time.
func (g *histGroup) covers(at fold.Stamp) bool {
	if g.base == nil {
		return g.loaded && g.all
	}
	return g.loaded && fold.Compare(g.base.Image.Stamp, at) < 0
}

func (w *work) histInput(g *histGroup) fold.HistoryInput {
	in := fold.HistoryInput{Key: g.h, Base: g.base, Stored: g.stored, Events: g.events, TxLen: w.txLen(g), Moved: w.movedHistory,
		Rules: fold.Rules{IgnoreNulls: w.m.opt.Config.SilverIgnoreNullUpdates}}
	for _, k := range w.m.ends[g.h] {
		x := &w.m.state.Ends[k]
		if w.decided(g, x) {
			continue
		}
		in.Ends = append(in.Ends, fold.End{Stamp: x.Stamp, Us: x.Us, Before: w.fromRow(x.Before)})
	}
	var of []*state.Truncate
	for k := range w.state.Truncates {
		// Those of other tables say nothing of the key; their positions, in another log, may be those of its changes.
		if t := &w.state.Truncates[k]; w.ofAny(t, g) {
			of = append(of, t)
			in.Truncates = append(in.Truncates, fold.End{Stamp: t.Stamp, Us: t.Us})
		}
	}
	in.Cuts = func(k int, row *fold.Image) bool { return w.ofRow(of[k], row) }
	return in
}

// ofAny tells whether a truncate is one of the source table of any row of a key, of before or new.
func (w *work) ofAny(t *state.Truncate, g *histGroup) bool {
	if g.base != nil && w.ofRow(t, g.base.Image) {
		return true
	}
	for i := range g.stored {
		if w.ofRow(t, g.stored[i].Image) {
			return true
		}
	}
	for i := range g.events {
		if e := &g.events[i]; e.Image != nil && w.ofRow(t, e.Image) {
			return true
		}
	}
	return false
}

// decided tells that a delete is older than all that may change: that it ended nothing stays so.
func (w *work) decided(g *histGroup, x *state.End) bool {
	return g.base != nil && fold.Compare(x.Stamp, w.txFloor(g)) < 0
}

func (w *work) foldHist(g *histGroup) {
	g.folded = true
	g.out = fold.History(w.histInput(g))
	for _, b := range g.out.Births {
		w.noteBirth(g, b)
	}
}

// movedHistory gives the row of a key as it was when it left for another key.
func (w *work) movedHistory(from fold.Hash, origin string, at fold.Stamp) (*fold.Image, bool) {
	gi := w.findGroup(from)
	if gi < 0 || w.groups[gi].cx < 0 {
		return nil, false
	}
	i := w.groups[gi].cx
	g := &w.hist[i]
	if !g.covers(at) {
		return nil, false
	}
	key := prefixKey{int(i), at}
	out := w.histPrefixes[key]
	if out == nil {
		in := w.histInput(g)
		in.Before = at
		o := fold.History(in)
		out = &o
		if w.histPrefixes == nil {
			w.histPrefixes = map[prefixKey]*fold.HistoryOutput{}
		}
		w.histPrefixes[key] = out
	}
	for k := len(out.Left) - 1; k >= 0; k-- {
		if out.Left[k].Origin == origin {
			return out.Left[k].Image, true
		}
	}
	// A delete that tells no position lies right behind the row that it took, and so before the change that took the row along.
	if n := len(out.Left); out.Live == nil && n > 0 && out.Left[n-1].Stamp.Lifted {
		return out.Left[n-1].Image, true
	}
	return out.Live, true
}

// noteBirth remembers that a row carries values of the row that another key had.
func (w *work) noteBirth(g *histGroup, b fold.Birth) {
	if mv := (state.Move{From: b.From, To: g.h, Stamp: b.Stamp, Origin: b.Origin, AtMs: g.atMs}); w.moveAt(&mv) < 0 {
		w.addMove(mv)
		w.stateNew = true
	}
}

// forwardHistory lets the keys be folded again to which rows of a changed key went later. It tells whether there are any.
func (w *work) forwardHistory(i int) bool {
	out := &w.hist[i].out
	if !out.Changed {
		return false
	}
	any := false
	h, since := w.hist[i].h, out.Since // hist may grow
	for _, l := range [2][]int32{w.m.moved[h], w.lateMoves[h]} {
		for _, k := range l {
			mv := &w.state.Moves[k]
			if fold.Compare(since, mv.Stamp) >= 0 {
				continue
			}
			to := w.histOf(mv.To)
			w.need(to, mv.Stamp)
			w.hist[to].own, w.hist[to].folded = true, false
			any = true
		}
	}
	return any
}
