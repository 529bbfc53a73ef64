package silver

import (
	"context"
	"math"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// foldComplex folds the keys that the index alone does not settle: it makes their events ready, finds the keys that they
// lean on (the other half of a key change), reads the rows of all of them at once, and folds. A fold that tells what rows of
// other keys carried over brings those in too, until nothing new is told.
func (w *work) foldComplex(ctx context.Context) error {
	w.told = map[toldKey]bool{}
	for from, round := 0, 0; ; round++ {
		for late, next := from, from; late < len(w.complex); late++ { // grows while it runs
			for ; next < len(w.complex); next++ {
				w.prepare(next)
			}
			w.lateForMoved(late)
		}
		if err := w.loadBases(ctx, from); err != nil {
			return err
		}
		from = len(w.complex)
		clear(w.prefixes)
		var done []int
		for i := range w.complex {
			if c := &w.complex[i]; !c.folded {
				w.foldGroup(i)
				done = append(done, i)
			}
		}
		if len(done) == 0 || round > maxRounds {
			break
		}
		for _, i := range done {
			for _, mv := range w.complex[i].out.Moves {
				if mv.Image != nil {
					w.forward(mv.To, mv.Origin, mv.Stamp, mv.Image, mv.Stamp, fold.Stamp{})
				}
			}
		}
	}
	w.res.Complex = len(w.complex)
	for i := range w.complex {
		w.settle(i)
	}
	w.state.Moves = slices.DeleteFunc(w.state.Moves, func(mv state.Move) bool { return mv.AtMs == math.MinInt64 })
	return nil
}

// maxRounds bounds how far one merge follows rows from key to key.
const maxRounds = 64

// prepare makes the events of a complex group and names the groups that it depends on.
func (w *work) prepare(i int) {
	h := w.complex[i].h
	entry, has, more := w.entry(h)
	var events []fold.Event
	locate := has && entry.File != index.Dead
	if gi := w.complex[i].group; gi >= 0 {
		for k := w.groups[gi].head; k >= 0; k = w.events[k].next {
			e := &w.events[k]
			fe := w.foldEvent(e)
			if e.c.OldKey().Shape != nil && e.op != connectors.Delete {
				if from, why := w.keyHash(e.c, e.c.OldKey()); why == "" && from != h {
					fe.From = from
					if imageGaps(fe.Image) || len(w.m.moved[from]) > 0 {
						w.complexOf(from)
					}
				}
			}
			if e.c.NewKey().Shape != nil && e.op == connectors.Delete && unavailable(e.c.Source) {
				if to, why := w.keyHash(e.c, e.c.NewKey()); why == "" && to != h {
					fe.To = to
				}
			}
			events = append(events, fe)
		}
		w.lateBirths(h, events)
	}
	c := &w.complex[i]
	c.entry, c.has, c.locate = entry, has, locate
	c.events = append(events, c.extra...)
	if more {
		w.m.idx.Each(h, func(e index.Entry) bool {
			if e != entry {
				c.more = append(c.more, e)
			}
			return true
		})
	}
}

// complexOf makes the key a complex group.
func (w *work) complexOf(h fold.Hash) int32 {
	gi := w.group(h)
	return w.markComplex(gi)
}

// lateBirths notes what events that are older than a key change tell, late, of how the row that left had come.
func (w *work) lateBirths(h fold.Hash, events []fold.Event) {
	if len(w.m.moved[h]) == 0 {
		return
	}
	order := slices.Clone(events)
	fold.Sort(order)
	for j := range order {
		e := &order[j]
		if e.Op != connectors.Delete && e.Op != connectors.Insert && e.From.IsZero() {
			continue
		}
		k := w.nextMove(h, e.Stamp)
		if k < 0 || !fold.SinceBirth(w.state.Moves[k].Born, e.Stamp) || e.Op == connectors.Delete && w.state.Moves[k].Origin == e.Origin(h) {
			continue
		}
		born := e.Origin(e.From)
		mv := &w.state.Moves[k]
		if mv.Born == born {
			continue
		}
		if w.births == nil {
			w.births = map[birthKey]bool{}
		}
		w.births[birthKey{h, e.Stamp}] = true
		if mv.Row != nil && fold.Compare(mv.Row.Stamp, e.Stamp) < 0 {
			// What was kept is the row before the one that left.
			if e.Op == connectors.Delete && !e.To.IsZero() {
				w.lateMove(state.Move{From: h, To: e.To, Stamp: e.Stamp, Origin: e.Origin(h), Born: mv.Born, AtMs: mv.AtMs, Row: mv.Row})
				mv = &w.state.Moves[k]
			}
			mv.Row = nil
		}
		mv.Born = born
		w.stateNew = true
	}
}

// birthKey names a change by which a row was made, or went, before the one came that left the key later.
type birthKey struct {
	h  fold.Hash
	at fold.Stamp
}

// lateMove remembers a key change whose first half came late, with the row as it was taken for that of a later one; and tells its new key.
func (w *work) lateMove(mv state.Move) {
	w.addMove(mv)
	w.forward(mv.To, mv.Origin, mv.Stamp, w.fromRow(mv.Row), mv.Stamp, fold.Stamp{})
}

// lateForMoved hands images that are older than a key change on to the key that the row has now.
func (w *work) lateForMoved(i int) {
	h := w.complex[i].h
	if len(w.m.moved[h]) == 0 || w.complex[i].group < 0 {
		return
	}
	order := slices.Clone(w.complex[i].events)
	fold.Sort(order)
	for j := range order {
		e := &order[j]
		born := fold.Stamp{}
		if w.births[birthKey{h, e.Stamp}] {
			born = e.Stamp
		}
		if (e.Image == nil || e.Op == connectors.Delete) && born == (fold.Stamp{}) {
			continue
		}
		k := w.nextMove(h, e.Stamp)
		if k < 0 || !fold.SinceBirth(w.state.Moves[k].Born, e.Stamp) {
			continue
		}
		mv := &w.state.Moves[k]
		if e.Op == connectors.Delete {
			w.patch(k, nil, fold.Stamp{}, born)
			w.forward(mv.To, mv.Origin, mv.Stamp, nil, fold.Stamp{}, born)
			continue
		}
		img := e.Image.Clone()
		img.Stamp = e.Stamp
		img.Guess = mv.Born == bornUnknown
		if !e.From.IsZero() {
			img.Inherit(w.parked(h, e.Origin(e.From), e))
		}
		w.patch(k, img, fold.Stamp{}, born)
		w.forward(mv.To, mv.Origin, mv.Stamp, img, fold.Stamp{}, born)
	}
}

// bornUnknown is the Born of a move whose row was not known when it left: late images of the old key may be of a row before
// it.
const bornUnknown = "?"

// nextMove finds the first time that the row of a key went on to another key, after some event: an index in state.Moves, -1
// for none.
func (w *work) nextMove(h fold.Hash, after fold.Stamp) int32 {
	best := int32(-1)
	for _, k := range w.m.moved[h] {
		mv := &w.state.Moves[k]
		if fold.Compare(after, mv.Stamp) < 0 && (best < 0 || fold.Compare(mv.Stamp, w.state.Moves[best].Stamp) < 0) {
			best = k
		}
	}
	return best
}

// toldKey names what one key was told of a row that it came from.
type toldKey struct {
	to     fold.Hash
	origin string
	image  string
	left   fold.Stamp
	born   fold.Stamp
}

// forward tells the key to which a row went, and those to which it went on, what the row was: columns that are carried
// over there may be older, or guessed. left is when the row img left its key, born when it was made as img; the zero Stamp where img is another image.
func (w *work) forward(to fold.Hash, origin string, at fold.Stamp, img *fold.Image, left, born fold.Stamp) {
	sign := ""
	if img != nil {
		sign = img.Sign()
	}
	for range maxRounds {
		e, ok, _ := w.entry(to)
		gi := w.findGroup(to)
		if ok && e.Carried() || gi >= 0 && w.groups[gi].cx >= 0 && w.groups[gi].head >= 0 {
			if key := (toldKey{to, origin, sign, left, born}); !w.told[key] {
				w.told[key] = true
				c := &w.complex[w.complexOf(to)]
				c.fills = append(c.fills, fold.Fill{Origin: origin, Image: img, Left: left, Born: born})
				c.folded = false
			}
		}
		k := w.nextMove(to, at)
		if k < 0 || w.state.Moves[k].Born != origin {
			return // the row that left later was another one
		}
		w.patch(k, img, left, born)
		mv := &w.state.Moves[k]
		to, origin, at = mv.To, mv.Origin, mv.Stamp
	}
}

// patch puts newer values into the carried columns of a row that is kept for the second half of a key change.
func (w *work) patch(k int32, img *fold.Image, left, born fold.Stamp) {
	old := w.state.Moves[k].Row
	if old == nil && img == nil {
		return
	}
	if old == nil {
		// It was not known when it left; it is kept for a second half that comes later still.
		row := img.Clone()
		row.Blank()
		row.Guess = true
		w.state.Moves[k].Row = w.toRow(row, true)
		w.stateNew = true
		return
	}
	row := w.fromRow(old)
	learned := false
	if born != (fold.Stamp{}) {
		learned = row.Reborn(img, born)
	} else if left != (fold.Stamp{}) {
		learned = row.Replace(img, left)
	} else {
		learned = row.LearnUntil(img, w.state.Moves[k].Stamp)
	}
	if learned {
		r := w.toRow(row, true)
		w.state.Moves[k].Row = r
		w.stateNew = true
	}
}

// foldGroup folds a group.
func (w *work) foldGroup(i int) {
	c := &w.complex[i]
	again := c.inBase != nil || c.opened
	c.folded = true
	if !again {
		c.inBase = c.base
	}
	if o := w.open(c.h); o != nil && !again {
		c.opened = true
		// The key was created while it was there: its fold begins where it did then.
		c.inBase = w.openBase(o)
		// What is remembered comes first: of two equal events the one that was merged stays.
		events := make([]fold.Event, 0, len(o.Events)+len(c.events))
		for k := range o.Events {
			events = append(events, w.openEvent(&o.Events[k]))
		}
		c.events = append(events, c.events...)
	} else if !again {
		w.reopen(c)
	}
	if c.opened && !again && c.base != nil && c.base.Image != nil && len(c.base.Image.From) > 0 {
		// What the row learned meanwhile about the row that it came from is in the table only.
		c.fills = slices.Insert(c.fills, 0, fold.Fill{Origin: c.base.Image.Origin, Image: c.base.Image, Now: true})
	}
	c.out = fold.Fold(w.foldInput(c, c.inBase, c.events))
	if c.opened {
		c.out.Changed = !c.out.Same(c.base)
	}
}

func (w *work) foldInput(c *complexGroup, base *fold.Base, events []fold.Event) fold.Input {
	return fold.Input{Key: c.h, Base: base, Events: withTruncates(base, events), Fills: c.fills, Moved: func(e *fold.Event) (*fold.Image, bool) { return w.movedRow(c.h, e) },
		Rules: fold.Rules{Soft: w.m.soft(), IgnoreNulls: w.m.opt.Config.SilverIgnoreNullUpdates}, TxLen: w.txLenOf(c)}
}

// txLenOf gives how many bytes of the positions of a group's events name their transaction.
func (w *work) txLenOf(c *complexGroup) int {
	if !w.m.soft() {
		return 0
	}
	n := 0
	if c.group >= 0 {
		for i := w.groups[c.group].head; i >= 0; i = w.events[i].next {
			n = max(n, fold.TxLen(w.events[i].c.Source))
		}
	}
	if n == 0 {
		n = w.txLenAny()
	}
	return n
}

// foldPrefix folds the events of a group that are older than a sequence. Rows that went from key to key inside one
// transaction, even in a circle, lean on each other event by event: what is asked for is always older than who asks.
func (w *work) foldPrefix(i int, before fold.Stamp) *fold.Output {
	at := prefixKey{i, before}
	if out := w.prefixes[at]; out != nil {
		return out
	}
	c := &w.complex[i]
	events := c.events
	base := c.base
	if o := w.open(c.h); o != nil {
		base = w.openBase(o)
		events = slices.Clone(events)
		for k := range o.Events {
			events = append(events, w.openEvent(&o.Events[k]))
		}
	}
	if base != nil && fold.Compare(base.Stamp, before) >= 0 {
		base = nil
	}
	out := fold.Fold(w.foldInput(c, base, fold.Prefix(events, before)))
	if w.prefixes == nil {
		w.prefixes = map[prefixKey]*fold.Output{}
	}
	w.prefixes[at] = &out
	return &out
}

// prefixKey names a fold of the events of a group up to a sequence.
type prefixKey struct {
	group  int
	before fold.Stamp
}

func (w *work) findGroup(h fold.Hash) int32 {
	mask := uint64(len(w.slots) - 1)
	for i := h.Lo & mask; w.slots[i] != 0; i = (i + 1) & mask {
		if w.groups[w.slots[i]-1].h == h {
			return w.slots[i] - 1
		}
	}
	return -1
}

// settle turns the outcome of a fold into rows, deletions and things to remember.
func (w *work) settle(i int) {
	c := &w.complex[i]
	o := &c.out
	w.res.Duplicates += o.Duplicates
	w.res.Stale += o.Stale
	w.res.Unfilled += o.Unfilled
	atMs := int64(math.MinInt64)
	if c.group >= 0 {
		for k := w.groups[c.group].head; k >= 0; k = w.events[k].next {
			atMs = max(atMs, w.events[k].c.Record.TimestampMs)
		}
	}
	if atMs == math.MinInt64 {
		atMs = w.nowMs
	}
	w.settleOpen(c, atMs)
	w.settleMoves(c, atMs)
	for _, e := range c.more {
		// Somebody else wrote the key twice: the newest stays.
		if e.File != index.Dead {
			w.kill(e)
		}
	}
	switch {
	case !o.Changed && len(c.more) > 0 && c.base != nil && c.base.Image != nil:
		w.upsert(winner{h: c.h, ev: -1, img: c.base.Image, st: c.base.Stamp, carried: c.base.Image.Noted(), old: c.entry, has: c.has})
	case !o.Changed:
	case o.Image != nil:
		w.upsert(winner{h: c.h, ev: -1, img: o.Image, st: o.Image.Stamp, carried: o.Image.Noted(), old: c.entry, has: c.has})
	case o.Dead:
		w.delete(deletion{h: c.h, g: index.Grave{Stamp: o.Stamp, Add: w.tookOf(c), AtMs: atMs}, old: c.entry, has: c.has})
	}
}
