package silver

import (
	"math"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

func (w *work) open(h fold.Hash) *state.Open {
	if !w.m.opens[h] {
		return nil
	}
	for k := range w.state.Opens {
		if w.state.Opens[k].Hash == h {
			return &w.state.Opens[k]
		}
	}
	return nil
}

func (w *work) openBase(o *state.Open) *fold.Base {
	switch {
	case o.Base != nil:
		return &fold.Base{Stamp: o.Stamp, Image: w.fromRow(o.Base)}
	case o.Dead:
		return &fold.Base{Stamp: o.Stamp}
	}
	return nil
}

func (w *work) openEvent(e *state.Event) fold.Event {
	return fold.Event{Stamp: e.Stamp, Sub: e.Sub, Op: e.Op, Tx: e.Tx, From: e.From, To: e.To, Image: w.fromRow(e.Image), Before: w.fromRow(e.Before)}
}

// movedRow gives the row that e's row was under its old key. guess: its delete has not come, so that it may be another row.
func (w *work) movedRow(to fold.Hash, e *fold.Event) (row *fold.Image, guess bool) {
	origin := e.Origin(e.From)
	if img := w.parked(to, origin, e); img != nil {
		// Kept when the row left, with all that was known of it. Events of it in this merge are repeats, or were put in (patch).
		return img, false
	}
	if gi := w.findGroup(e.From); gi >= 0 && w.groups[gi].cx >= 0 {
		out := w.foldPrefix(int(w.groups[gi].cx), e.Stamp)
		for k := len(out.Moves) - 1; k >= 0; k-- {
			if mv := &out.Moves[k]; mv.To == to && mv.Image != nil && halves(mv.Origin, origin, mv.Stamp, e.Stamp) {
				return mv.Image, false
			}
		}
		if out.Image != nil && out.Image.Deleted {
			return nil, true // the last image of a row that went before
		}
		return out.Image, true
	}
	return nil, false
}

// parked finds the row of the old key among the moves whose second half was to come.
func (w *work) parked(to fold.Hash, origin string, e *fold.Event) *fold.Image {
	for _, l := range [2][]int32{w.lateMoves[e.From], w.m.moved[e.From]} {
		for _, k := range slices.Backward(l) {
			if mv := &w.state.Moves[k]; mv.Row != nil && mv.From == e.From && mv.To == to && halves(mv.Origin, origin, mv.Stamp, e.Stamp) {
				return w.fromRow(mv.Row)
			}
		}
	}
	return nil
}

// halves tells that a delete that left at some place and a create are of one key change. A delete that tells no position lies right behind the row that
// it took, and so before the create.
func halves(left, came string, leftAt, cameAt fold.Stamp) bool {
	return left == came || leftAt.Lifted && fold.Compare(leftAt, cameAt) < 0
}

// maxOpenEvents bounds what is remembered of a key that was created while it was there.
const maxOpenEvents = 64

func (w *work) settleOpen(c *complexGroup, atMs int64) {
	had := w.m.opens[c.h]
	if !had && !c.out.Shift && !c.keep {
		return
	}
	w.stateNew = true
	w.state.Opens = slices.DeleteFunc(w.state.Opens, func(o state.Open) bool { return o.Hash == c.h })
	if !c.out.Shift && !c.keep || len(c.events) > maxOpenEvents {
		return
	}
	x := state.Open{Hash: c.h, AtMs: atMs}
	if b := c.inBase; b != nil {
		x.Stamp, x.Dead, x.Base = b.Stamp, b.Image == nil, w.toRow(b.Image, false)
	}
	seen := map[string]bool{}
	for i := range c.events {
		e := &c.events[i]
		if id := string(e.Stamp.Seq()) + string(rune(e.Sub)); seen[id] {
			continue
		} else {
			seen[id] = true
		}
		x.Events = append(x.Events, state.Event{Stamp: e.Stamp, Sub: e.Sub, Op: e.Op, Tx: e.Tx, From: e.From, To: e.To,
			Image: w.toRow(w.inherited(c.h, e), false), Before: w.toRow(e.Before, false)})
	}
	w.state.Opens = append(w.state.Opens, x)
}

// inherited gives the image of an event with what the row of its old key tells now: that may be gone when the event is folded again.
func (w *work) inherited(to fold.Hash, e *fold.Event) *fold.Image {
	if e.Image == nil || e.From.IsZero() || !imageGaps(e.Image) {
		return e.Image
	}
	row, guess := w.movedRow(to, e)
	if row == nil {
		return e.Image
	}
	img := e.Image.Clone()
	img.Inherit(row)
	img.Guess = guess || row.Guess
	return img
}

// settleMoves remembers first halves of key changes whose second half is to come, or carried values over; and forgets those
// that no late image can help any more.
func (w *work) settleMoves(c *complexGroup, atMs int64) {
	for i := range c.out.Moves {
		mv := &c.out.Moves[i]
		keep, parked := w.needed(c.h, mv)
		if !keep {
			continue
		}
		x := state.Move{From: c.h, To: mv.To, Stamp: mv.Stamp, Origin: mv.Origin, AtMs: atMs}
		x.Born = bornUnknown
		if mv.Image != nil {
			x.Born = mv.Image.Origin
		}
		if parked && mv.Image != nil {
			x.Row = w.toRow(mv.Image, true)
		}
		w.keepMove(x)
	}
	for i := range c.out.Births {
		b := &c.out.Births[i]
		x := state.Move{From: b.From, To: c.h, Stamp: b.Stamp, Origin: b.Origin, Born: bornUnknown, AtMs: atMs}
		if b.Row != nil {
			x.Born = b.Row.Origin
		}
		if w.moveAt(&x) < 0 {
			w.keepMove(x)
		}
	}
	for k := range c.events {
		e := &c.events[k]
		if e.From.IsZero() {
			continue
		}
		for _, j := range w.m.moved[e.From] {
			mv := &w.state.Moves[j]
			if mv.To != c.h || mv.Row == nil || !halves(mv.Origin, e.Origin(e.From), mv.Stamp, e.Stamp) {
				continue
			}
			mv.Row = nil
			if !imageGaps(e.Image) && len(e.Image.From) == 0 {
				mv.AtMs = math.MinInt64 // swept
			}
			w.stateNew = true
		}
	}
}

// moveAt finds what is remembered of a key change, -1 for nothing.
func (w *work) moveAt(x *state.Move) int {
	for _, l := range [2][]int32{w.m.moved[x.From], w.lateMoves[x.From]} {
		for _, k := range l {
			if mv := &w.state.Moves[k]; mv.From == x.From && mv.To == x.To && mv.Origin == x.Origin {
				return int(k)
			}
		}
	}
	return -1
}

// addMove remembers a key change that this merge found.
func (w *work) addMove(x state.Move) {
	if w.lateMoves == nil {
		w.lateMoves = map[fold.Hash][]int32{}
	}
	w.lateMoves[x.From] = append(w.lateMoves[x.From], int32(len(w.state.Moves)))
	w.state.Moves = append(w.state.Moves, x)
}

// keepMove remembers a key change, once.
func (w *work) keepMove(x state.Move) {
	if k := w.moveAt(&x); k >= 0 {
		w.state.Moves[k] = x
	} else {
		w.addMove(x)
	}
	w.stateNew = true
}

// needed tells whether a key change must be remembered, and whether the row that left must be.
func (w *work) needed(from fold.Hash, mv *fold.Move) (keep, parked bool) {
	if gi := w.findGroup(mv.To); gi >= 0 {
		for k := w.groups[gi].head; k >= 0; k = w.events[k].next {
			e := &w.events[k]
			if e.op == connectors.Delete || e.c.OldKey().Shape == nil {
				continue
			}
			if h, why := w.keyHash(e.c, e.c.OldKey()); why == "" && h == from && originOf(e, from) == mv.Origin {
				return w.groups[gi].cx >= 0 && w.rowGaps(e), false // its second half is here
			}
		}
	}
	e, ok, _ := w.m.idx.Get(mv.To)
	if !ok {
		return true, true
	}
	switch w.judge(e, mv.Stamp) {
	case index.Newer, index.Unsure:
		return true, true // the second half is to come
	}
	// The key is decided up to a later event: the second half was merged, or will be stale.
	if e.File == index.Dead {
		return w.nextMove(mv.To, mv.Stamp) >= 0, false
	}
	return e.Carried() || w.nextMove(mv.To, mv.Stamp) >= 0, false
}
