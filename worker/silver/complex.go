package silver

import (
	"context"
	"math"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
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
					w.forward(mv.To, mv.Origin, mv.Stamp, mv.Image, mv.Stamp)
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
			if e.c.NewKey().Shape != nil && e.op == connectors.Delete && e.c.Kind == connectors.RowChange && unavailable(e.c.Source) {
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
		if e.Op != connectors.Delete && e.Op != connectors.Insert {
			continue
		}
		k := w.nextMove(h, e.Stamp)
		if k < 0 || !fold.SinceBirth(w.state.Moves[k].Born, e.Stamp) {
			continue
		}
		if born := e.Origin(e.From); w.state.Moves[k].Born != born {
			w.state.Moves[k].Born = born
			w.stateNew = true
		}
	}
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
		if e.Image == nil || e.Op == connectors.Delete {
			continue
		}
		k := w.nextMove(h, e.Stamp)
		if k < 0 || !fold.SinceBirth(w.state.Moves[k].Born, e.Stamp) {
			continue
		}
		mv := &w.state.Moves[k]
		img := e.Image.Clone()
		img.Stamp = e.Stamp
		img.Guess = mv.Born == bornUnknown
		if !e.From.IsZero() {
			img.Inherit(w.parked(h, e.Origin(e.From), e))
		}
		w.patch(k, img, fold.Stamp{})
		w.forward(mv.To, mv.Origin, mv.Stamp, img, fold.Stamp{})
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
}

// forward tells the key to which a row went, and those to which it went on, what the row was: columns that are carried
// over there may be older, or guessed. left is when the row img left its key; the zero Stamp where img is an earlier image.
func (w *work) forward(to fold.Hash, origin string, at fold.Stamp, img *fold.Image, left fold.Stamp) {
	for range maxRounds {
		e, ok, _ := w.entry(to)
		gi := w.findGroup(to)
		if ok && e.Carried() || gi >= 0 && w.groups[gi].cx >= 0 && w.groups[gi].head >= 0 {
			if key := (toldKey{to, origin, img.Sign(), left}); !w.told[key] {
				w.told[key] = true
				c := &w.complex[w.complexOf(to)]
				c.fills = append(c.fills, fold.Fill{Origin: origin, Image: img, Left: left})
				c.folded = false
			}
		}
		k := w.nextMove(to, at)
		if k < 0 || w.state.Moves[k].Born != origin {
			return // the row that left later was another one
		}
		w.patch(k, img, left)
		mv := &w.state.Moves[k]
		to, origin, at = mv.To, mv.Origin, mv.Stamp
	}
}

// patch puts newer values into the carried columns of a row that is kept for the second half of a key change.
func (w *work) patch(k int32, img *fold.Image, left fold.Stamp) {
	old := w.state.Moves[k].Row
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
	if left != (fold.Stamp{}) {
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

func imageGaps(m *fold.Image) bool {
	for i := range m.Vals {
		if fold.Gaps(&m.Vals[i]) {
			return true
		}
	}
	return false
}

// foldEvent makes an event ready for folding.
func (w *work) foldEvent(e *event) fold.Event {
	fe := fold.Event{Stamp: e.st, Sub: e.c.Sub, Op: e.op, Tx: fold.TxKey(e.c)}
	if e.op != connectors.Delete {
		fe.Image = w.image(e.c, e.c.After, e.c.Key)
		return fe
	}
	if w.m.soft() {
		fe.Image = &fold.Image{Meta: metaOf(e.c)}
	}
	if w.wholeBefore(e) && e.c.Kind == connectors.RowChange {
		fe.Before = w.image(e.c, e.c.Before, e.c.Key)
		fe.Before.Stamp = e.st
		fe.Before.Meta = metaOf(e.c)
	}
	return fe
}

// image makes an image of a row: one value for each source column, converted to the column's type, what does not fit
// rescued.
func (w *work) image(c *connectors.Change, row, key connectors.Row) *fold.Image {
	cols := w.m.cols
	plan := w.plan(row)
	img := &fold.Image{Vals: make([]connectors.Value, len(cols.Source)), Meta: metaOf(c)}
	for i := range cols.Source {
		col := &cols.Source[i]
		s := plan.Src[i]
		if s < 0 {
			if v := key.Get(col.Source); w.m.isKeyCol(i) && v.State != connectors.Absent {
				img.Vals[i], _ = keyConvert(v, col.Type)
				continue
			}
			if plan.Whole {
				img.Vals[i] = connectors.NullValue()
			}
			continue
		}
		v := row.Values[s]
		if from := plan.From[i]; from.Kind >= schema.Array && v.State == connectors.Present {
			v = evolve.Reshape(v, from, col.Type)
		}
		if v.State != connectors.Present {
			img.Vals[i] = v
			continue
		}
		part := w.m.partitions(i)
		if conv, ok := evolve.Convert(v, col.Type); ok && (!part || divisible(&conv, col.Type)) {
			img.Vals[i] = conv
			continue
		}
		if w.m.isKeyCol(i) || part && v.Kind != schema.String {
			if conv, ok := keyConvert(v, col.Type); ok {
				img.Vals[i] = conv
				continue
			}
		}
		img.Vals[i] = connectors.NullValue()
		rescue(img, i, string(evolve.AppendJSON(nil, v)))
	}
	for _, r := range row.Rescued() {
		if r.Column < len(row.Shape.Names) {
			if i := cols.BySource(row.Shape.Names[r.Column]); i >= 0 {
				var x evolve.Rescue
				x.PutText("t", r.Text)
				rescue(img, i, x["t"])
			}
		}
	}
	return img
}

func rescue(img *fold.Image, col int, raw string) {
	if img.Rescue == nil {
		img.Rescue = map[int]string{}
	}
	img.Rescue[col] = raw
}

func metaOf(c *connectors.Change) fold.Meta {
	m := fold.Meta{Op: opLetter(c.Op), TsUs: changeMicros(c), EventID: c.Record.EventID()}
	if c.Kind == connectors.Tombstone {
		m.Op = 'd'
	}
	return m
}

func opLetter(o connectors.Op) byte {
	switch o {
	case connectors.Insert:
		return 'c'
	case connectors.Read:
		return 'r'
	case connectors.Delete:
		return 'd'
	}
	return 'u'
}

// changeMicros is _cdc_timestamp: when the source committed; Kafka's time where it does not say.
func changeMicros(c *connectors.Change) int64 {
	ns := c.SourceTsNs
	if ns == 0 {
		return c.Record.TimestampMs * 1000
	}
	us := ns / 1000
	if ns%1000 < 0 {
		us--
	}
	return us
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
		c.fills = append(c.fills, fold.Fill{Origin: c.base.Image.Origin, Image: c.base.Image})
	}
	c.out = fold.Fold(w.foldInput(c, c.events))
	if c.opened {
		c.out.Changed = !c.out.Same(c.base)
	}
}

func (w *work) foldInput(c *complexGroup, events []fold.Event) fold.Input {
	return fold.Input{Key: c.h, Base: c.inBase, Events: events, Fills: c.fills, Moved: func(e *fold.Event) (*fold.Image, bool) { return w.movedRow(c.h, e) },
		Rules: fold.Rules{Soft: w.m.soft(), IgnoreNulls: w.m.opt.Config.SilverIgnoreNullUpdates}}
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
	in := w.foldInput(c, fold.Prefix(events, before))
	in.Base = base
	out := fold.Fold(in)
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
		for k := range out.Moves {
			if mv := &out.Moves[k]; mv.To == to && mv.Origin == origin && mv.Image != nil {
				return mv.Image, false
			}
		}
		return out.Image, true
	}
	return nil, false
}

// parked finds the row of the old key among the moves whose second half was to come.
func (w *work) parked(to fold.Hash, origin string, e *fold.Event) *fold.Image {
	for _, k := range w.m.moved[e.From] {
		if mv := &w.state.Moves[k]; mv.Row != nil && mv.To == to && mv.Origin == origin {
			return w.fromRow(mv.Row)
		}
	}
	return nil
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
		w.upsert(winner{h: c.h, ev: -1, img: c.base.Image, st: c.base.Stamp, carried: len(c.base.Image.From) > 0, old: c.entry, has: c.has})
	case !o.Changed:
	case o.Image != nil:
		w.upsert(winner{h: c.h, ev: -1, img: o.Image, st: o.Image.Stamp, carried: len(o.Image.From) > 0, old: c.entry, has: c.has})
	case o.Dead:
		w.delete(deletion{h: c.h, g: index.Grave{Stamp: o.Stamp, Add: w.tookOf(c), AtMs: atMs}, old: c.entry, has: c.has})
	}
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
			Image: w.toRow(e.Image, false), Before: w.toRow(e.Before, false)})
	}
	w.state.Opens = append(w.state.Opens, x)
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
		w.state.Moves = append(w.state.Moves, x)
		w.stateNew = true
	}
	for k := range c.events {
		e := &c.events[k]
		if e.From.IsZero() {
			continue
		}
		for _, j := range w.m.moved[e.From] {
			mv := &w.state.Moves[j]
			if mv.To != c.h || mv.Origin != e.Origin(e.From) || mv.Row == nil {
				continue
			}
			mv.Row = nil
			if !imageGaps(e.Image) {
				mv.AtMs = math.MinInt64 // swept
			}
			w.stateNew = true
		}
	}
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
				return w.groups[gi].cx >= 0 && rowGaps(e), false // its second half is here
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

func originOf(e *event, from fold.Hash) string {
	fe := fold.Event{Stamp: e.st, Tx: fold.TxKey(e.c)}
	return fe.Origin(from)
}

func rowGaps(e *event) bool {
	for i := range e.c.After.Values {
		if fold.Gaps(&e.c.After.Values[i]) {
			return true
		}
	}
	return false
}

// toRow keeps an image in the state; may restricts it to columns whose values a source may leave out as unavailable.
func (w *work) toRow(img *fold.Image, may bool) *state.Row {
	if img == nil {
		return nil
	}
	r := &state.Row{Stamp: img.Stamp, Meta: img.Meta, Origin: img.Origin, Deleted: img.Deleted, Guess: img.Guess}
	for i := range img.Vals {
		col := &w.m.cols.Source[i]
		if may {
			switch col.Type.Kind {
			case schema.String, schema.Binary, schema.Decimal, schema.Array, schema.Map, schema.Struct:
			default:
				continue
			}
		}
		r.Names = append(r.Names, col.Source)
		r.Values = append(r.Values, img.Vals[i])
		r.Rescue = append(r.Rescue, img.Rescue[i])
		var from *fold.Stamp
		if s, ok := img.From[i]; ok {
			from = &s
		}
		r.From = append(r.From, from)
	}
	return r
}

// fromRow is the inverse of toRow: columns that were not kept are absent.
func (w *work) fromRow(r *state.Row) *fold.Image {
	if r == nil {
		return nil
	}
	img := &fold.Image{Vals: make([]connectors.Value, len(w.m.cols.Source)), Stamp: r.Stamp, Meta: r.Meta, Origin: r.Origin, Deleted: r.Deleted, Guess: r.Guess}
	for i, n := range r.Names {
		k := w.m.cols.BySource(n)
		if k < 0 {
			continue
		}
		v, ok := evolve.Convert(r.Values[i], w.m.cols.Source[k].Type)
		if !ok {
			v = connectors.NullValue()
			rescue(img, k, string(evolve.AppendJSON(nil, r.Values[i])))
		}
		img.Vals[k] = v
		if r.Rescue != nil && r.Rescue[i] != "" {
			rescue(img, k, r.Rescue[i])
		}
		if r.From != nil && r.From[i] != nil {
			if img.From == nil {
				img.From = map[int]fold.Stamp{}
			}
			img.From[k] = *r.From[i]
		}
	}
	return img
}
