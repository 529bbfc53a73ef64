package fold

import (
	"slices"

	"sluice.io/sluice/connectors"
)

// Event is one change of one key, made ready for folding.
type Event struct {
	Stamp Stamp
	// Sub orders the changes of one record, which share its offset.
	Sub int32
	Op  connectors.Op // Insert, Update, Read, Delete
	// TsUs is when the source committed it, in µs. History needs it.
	TsUs int64
	// Tx is equal for the events of one transaction and differs from those of others; "" where that is not known.
	Tx string
	// Image holds an upsert's row: Vals in all four states, Meta, Rescue. nil for deletes, unless soft deletes keep Before.
	Image *Image
	// Before is the row that a delete removed, where the event tells it whole.
	Before *Image
	// From is the key that the row had, To the key that it gets, of the halves of a key change. Zero: none.
	From, To Hash
}

// Base is what the table says of a key before the merge.
type Base struct {
	Stamp Stamp
	// Image is the row; nil for a tombstone.
	Image *Image
}

// Fill is an older image that came late for the key that a row had before a key change: it tells columns that the row
// carried over.
type Fill struct {
	// Origin names the key change.
	Origin string
	// Image has the values, Image.Stamp and Image.From say from when they are.
	Image *Image
	// Left is when the row left its old key, where Image is that row and no earlier image of it.
	Left Stamp
	// Now tells that Image is what the table says of the row itself, whatever it was when it came.
	Now bool
	// Born is when a row was made, or went, at a key that the row had later: what the row has from before is another one's. Image is what was made.
	Born Stamp
}

// Input is what Fold needs to know of one key.
type Input struct {
	Key    Hash
	Base   *Base // nil: the key is unknown
	Events []Event
	Fills  []Fill
	// Moved gives the row of the key that e's row had, as it was just before e; nil where it is not known. guess: its delete has
	// not come.
	Moved func(e *Event) (row *Image, guess bool)
	Rules Rules
	// TxLen is how many bytes of a position name the transaction of the events, 0 where they don't.
	TxLen int
}

// Rules are the parts of the configuration that matter to a fold.
type Rules struct {
	// Soft keeps the last image of deleted rows.
	Soft bool
	// IgnoreNulls takes NULLs of updates for unchanged values.
	IgnoreNulls bool
}

// Output is what became of the key.
type Output struct {
	// Changed tells that the table must change: to Image, or to nothing when Image is nil.
	Changed bool
	Image   *Image
	// Stamp is up to where the key is decided: the sequence of the row or of the tombstone. Of a key that is not there it
	// is only valid when Dead is set.
	Stamp Stamp
	Dead  bool
	// Shift tells that a create met the key while it was there. Inside one transaction that is how a key shift looks
	// (formats.md §1.6), or an older delete or truncate is still to come: base and events must be remembered and folded again
	// with what comes.
	Shift bool
	// Took is the sequence of the row that the last delete took away, where it took one.
	Took Stamp
	// Moves are the deletes that were first halves of key changes, in order.
	Moves []Move
	// Births are second halves of key changes whose first half has not come, though they do not tell all columns.
	Births []Birth
	// Unfilled counts the columns whose value is not known from anywhere: NULL was written.
	Unfilled int
	// Duplicates and Stale count events that changed nothing.
	Duplicates, Stale int
}

// Move is the first half of a key change: the row, as it was, leaves to another key.
type Move struct {
	Stamp Stamp
	To    Hash
	// Origin names the key change, the same for both halves.
	Origin string
	Image  *Image // nil: not known
}

// Sort orders events by age, equal ones as they came.
func Sort(ev []Event) {
	slices.SortStableFunc(ev, func(a, b Event) int {
		if c := Compare(a.Stamp, b.Stamp); c != 0 || a.Stamp.Off != b.Stamp.Off {
			return c
		}
		return int(a.Sub) - int(b.Sub)
	})
}

// Fold applies the events of one key to its state. Events may come in any order and may hold repeats.
func Fold(in Input) Output {
	f := folder{in: in}
	ev := slices.Clone(in.Events)
	liftAll(ev, in.Base)
	Sort(ev)
	baseDone := in.Base == nil
	for i := range ev {
		e := &ev[i]
		if !baseDone && Compare(e.Stamp, in.Base.Stamp) >= 0 {
			f.base()
			baseDone = true
		}
		if i > 0 && twice(&ev[i-1], e) || in.Base != nil && f.repeats(e, baseDone) {
			f.out.Duplicates++
			continue
		}
		f.late = !baseDone
		if e.Op == connectors.Delete {
			f.remove(e)
		} else {
			f.upsert(e)
		}
	}
	if !baseDone {
		f.late = false
		f.base()
	}
	return f.done()
}

// liftAll gives changes without position the place behind the change that they follow.
func liftAll(ev []Event, base *Base) {
	mixed := base != nil && base.Stamp.Pos != ""
	bare := false
	for i := range ev {
		if ev[i].Stamp.Pos == "" {
			bare = true
		} else {
			mixed = true
		}
	}
	if !bare || !mixed {
		return
	}
	slices.SortStableFunc(ev, func(a, b Event) int { return tail(a.Stamp, b.Stamp) })
	var prev Stamp
	if base != nil {
		prev = base.Stamp
	}
	for i := range ev {
		ev[i].Stamp = ev[i].Stamp.Lift(prev)
		if Compare(ev[i].Stamp, prev) > 0 || prev.Pos == "" {
			prev = ev[i].Stamp
		}
	}
}

type folder struct {
	in  Input
	out Output

	live  bool
	img   *Image // of a key that is not live: columns that late events told, or nil
	stamp Stamp  // newest event applied
	seen  bool   // stamp is valid
	// floor is the newest delete that was passed.
	floor Stamp
	// born is the late key change by which img came to its key.
	born  Stamp
	tx    string // of the shift
	under []*Image

	late  bool // the events now are older than the base
	dirty bool
}

// repeats tells whether an event is the one that made the base. passed: the base is not younger than it.
func (f *folder) repeats(e *Event, passed bool) bool {
	b := f.in.Base
	if Compare(e.Stamp, b.Stamp) == 0 {
		return true
	}
	// A position that may be shared: the same content at the same position is a repeat too.
	if e.Stamp.Exact || e.Stamp.Pos == "" || e.Stamp.Pos != b.Stamp.Pos || e.Stamp.Epoch != b.Stamp.Epoch {
		return false
	}
	if passed && Compare(f.stamp, b.Stamp) != 0 {
		return false // something else of that position came between
	}
	if e.Op == connectors.Delete {
		return b.Image == nil || b.Image.Deleted
	}
	return b.Image != nil && !b.Image.Deleted && e.Image != nil && e.Image.Meta.Op == b.Image.Meta.Op && equalKnown(e.Image, b.Image)
}

// base puts the row of the table in its place among the events.
func (f *folder) base() {
	b := f.in.Base
	f.late = false
	f.stamp, f.seen = b.Stamp, true
	if b.Image == nil {
		f.live, f.img, f.floor = false, nil, b.Stamp
		return
	}
	img := b.Image
	if len(img.From) > 0 && (f.img != nil || f.floor.set() || len(f.in.Fills) > 0) {
		img = img.Clone()
		if f.fill(img) {
			f.dirty = true
		}
		born := false // columns came with the row from its old key
		for _, col := range carriedCols(img) {
			from := img.From[col]
			born = born || f.bears(img) && Compare(f.born, from) > 0
			best, src := from, (*Image)(nil)
			if f.img != nil {
				if t, ok := f.known(col); ok && f.tells(img, t, best) {
					best, src = t, f.img
				}
			}
			switch {
			case src != nil:
				img.take(col, src, best)
				f.dirty = true
			case f.floor.set() && Compare(f.floor, from) > 0 && img.Origin == "":
				// The value is from before a delete that came late: it was another row's.
				img.Vals[col] = connectors.NullValue()
				delete(img.Rescue, col)
				img.setFrom(col, f.floor)
				f.dirty = true
			}
		}
		if born {
			img.Origin, img.Guess = f.img.Origin, f.img.Guess
			f.dirty = true
		}
	}
	f.img, f.live = img, !img.Deleted
	if img.Deleted {
		f.floor = b.Stamp
	}
}

// tells tells whether the late events know a column, from t on, better than the base, which has it from best. A row that came by a key change
// has its columns from the time at its old key; here they count from when it came.
func (f *folder) tells(img *Image, t, best Stamp) bool {
	if f.bears(img) && Compare(f.born, best) > 0 {
		return true
	}
	return Compare(t, best) > 0 && SinceBirth(img.Origin, t)
}

// bears tells that the late events tell by which key change the base's row came.
func (f *folder) bears(img *Image) bool {
	return f.img != nil && f.born.set() && f.img.Origin != "" && f.img.Origin != img.Origin && SinceBirth(img.Origin, f.born)
}

// fill lets a row that came by a key change learn what late images of its old key tell.
func (f *folder) fill(img *Image) bool {
	learned := false
	for i := range f.in.Fills {
		fl := &f.in.Fills[i]
		if fl.Origin == "" || fl.Origin != img.Origin || len(img.From) == 0 {
			continue
		}
		if fl.Now {
			learned = img.Renew(fl.Image) || learned
		} else if fl.Born.set() {
			learned = img.Reborn(fl.Image, fl.Born) || learned
		} else if fl.Left.set() {
			learned = img.Replace(fl.Image, fl.Left) || learned
		} else {
			learned = img.Learn(fl.Image) || learned
		}
	}
	return learned
}

// known gives when the events before the base told a column, if they did.
func (f *folder) known(col int) (Stamp, bool) {
	if col >= len(f.img.Vals) || Gaps(&f.img.Vals[col]) {
		return Stamp{}, false
	}
	return f.img.told(col), true
}

func (s Stamp) set() bool { return s.Pos != "" || s.Off != 0 || s.Part != 0 || s.Epoch != 0 }

func (f *folder) upsert(e *Event) {
	if f.late {
		f.out.Stale++
	} else {
		f.dirty = true
	}
	old := f.img
	if f.live && e.Op == connectors.Insert && !f.late {
		// A create while the key is there: its old row lies below until its delete comes.
		if f.tx != e.Tx || e.Tx == "" {
			f.tx, f.under = e.Tx, nil
		}
		f.under = append(f.under, f.img)
		f.out.Shift = true
		old = nil
	}
	if !f.live && old != nil && old.Deleted {
		old = nil
	}
	img := e.Image.Clone()
	img.Stamp, img.Deleted, img.Took = e.Stamp, false, Stamp{}
	var moved *Image
	asked, guess := false, false
	for i := range img.Vals {
		v := &img.Vals[i]
		carry := Unknown(v) || f.in.Rules.IgnoreNulls && v.State == connectors.Null && e.Op == connectors.Update && img.Rescue[i] == ""
		if !carry {
			if Gaps(v) { // inside of a nested value
				src := old
				if !e.From.IsZero() && f.in.Moved != nil && !asked {
					moved, guess = f.in.Moved(e)
					asked = true
				}
				if moved != nil {
					src = moved
				}
				var o connectors.Value
				if src != nil {
					o = src.at(i)
				}
				*v = Mend(*v, o)
			}
			continue
		}
		if !e.From.IsZero() && e.Op != connectors.Update && !asked && f.in.Moved != nil {
			moved, guess = f.in.Moved(e)
			asked = true
			if moved != nil {
				img.Origin = e.Origin(e.From)
			}
		}
		null := v.State == connectors.Null
		switch src := pick(moved, old, asked); {
		case src != nil && i < len(src.Vals) && !Unknown(&src.Vals[i]):
			img.take(i, src, src.told(i))
			img.Guess = img.Guess || guess || src.Guess
		case f.late && e.From.IsZero():
			// Nothing is known of the column at this time; the base may tell.
		case null:
		default:
			*v = connectors.NullValue()
			if e.From.IsZero() {
				img.setFrom(i, f.floor)
			} else {
				img.setFrom(i, Stamp{}) // any row of the old key tells more
			}
			if !f.late {
				f.out.Unfilled++
			}
		}
	}
	if img.Origin == "" && len(img.From) > 0 {
		if !e.From.IsZero() {
			img.Origin = e.Origin(e.From)
		} else if old != nil {
			img.Origin = old.Origin
		}
	}
	if asked && (guess || moved == nil) {
		f.out.Births = append(f.out.Births, Birth{From: e.From, Origin: e.Origin(e.From), Stamp: e.Stamp, Row: moved})
	}
	f.fill(img)
	if e.Op == connectors.Insert {
		f.born = Stamp{}
		if f.late && !e.From.IsZero() {
			f.born = e.Stamp
		}
	}
	f.img, f.live = img, true
	f.stamp, f.seen = e.Stamp, true
}

// pick chooses where unknown columns come from: the row of the old key for the second half of a key change.
func pick(moved, old *Image, asked bool) *Image {
	if moved != nil || asked && old == nil {
		return moved
	}
	return old
}

func (f *folder) remove(e *Event) {
	if f.late {
		f.out.Stale++
	} else {
		f.dirty = true
	}
	if f.live && len(f.under) > 0 && f.tx == e.Tx && e.Tx != "" && !f.late {
		f.voids(e)
		return
	}
	if f.out.Took = (Stamp{}); f.live && f.seen {
		f.out.Took = f.stamp
	}
	if !e.To.IsZero() && !f.late {
		m := Move{Stamp: e.Stamp, To: e.To, Origin: e.Origin(f.in.Key)}
		if f.live && f.img != nil {
			m.Image = f.img
		} else if e.Before != nil {
			m.Image = e.Before
		}
		f.out.Moves = append(f.out.Moves, m)
	}
	if f.in.Rules.Soft && !f.late {
		f.soften(e)
	} else {
		f.img = nil
	}
	f.live = false
	f.floor, f.born = e.Stamp, Stamp{}
	f.stamp, f.seen = e.Stamp, true
	f.under, f.tx = nil, ""
}

func (f *folder) done() Output {
	o := &f.out
	o.Changed, o.Stamp = f.dirty, f.stamp
	if f.live || f.in.Rules.Soft && f.img != nil && f.img.Deleted {
		o.Image = f.img
	}
	o.Dead = o.Image == nil && f.seen
	if o.Image != nil {
		for c, s := range o.Image.From {
			if Compare(s, o.Image.Stamp) >= 0 {
				delete(o.Image.From, c)
			}
		}
	}
	return *o
}
