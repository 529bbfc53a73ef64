package fold

import (
	"slices"

	"sluice.io/sluice/connectors"
)

// Version is one row of a key's history (silver.scd.type=2): an image and the time during which it was the row. Image.Stamp is
// the event that began it.
type Version struct {
	Image *Image
	// FromUs and EndUs are the source's commit times, in µs, of the events that began and ended it.
	FromUs, EndUs int64
	// Ended tells that End, a change of the row, a delete or a truncate, ended it.
	Ended bool
	End   Stamp
	// Row is the caller's number of the row of the table that shows the version, -1 where the table has none.
	Row int
	// Changed tells, in an output, that the table must be made to show it: there is no row, or it says something else.
	Changed bool
}

// End is a delete that no version tells of: it found no row, took one of several that shared the key inside a transaction, or took
// another one than it says. It has its place in the history when more comes.
type End struct {
	Stamp  Stamp
	Us     int64
	Before *Image // the row that it removed, where that is known
}

// HistoryInput is what History needs to know of one key.
type HistoryInput struct {
	Key Hash
	// Base is the newest version that is older than all that may change; nil: there is none. Of the versions of the table, Stored
	// are those behind it, in any order.
	Base   *Version
	Stored []Version
	// Events are new. TsUs of each is set.
	Events []Event
	// Ends are the deletes that found no row so far, Truncates the truncates of the tables that the rows may be of.
	Ends, Truncates []End
	// Cuts tells whether truncate k is one of a row's source table; nil: all are.
	Cuts func(k int, row *Image) bool
	// TxLen is how many bytes of a position name the transaction, 0 where they don't: Event.Tx does then.
	TxLen int
	// Before bounds the look to what is older; the zero Stamp: all.
	Before Stamp
	// Moved gives the row of key from as it was just before at, for the second half of a key change. ok: from's history is known up to
	// there.
	Moved func(from Hash, origin string, at Stamp) (row *Image, ok bool)
	Rules Rules
}

// HistoryOutput is what became of the key.
type HistoryOutput struct {
	// Versions from Base on, in order. Rows of the table whose number is not among them are no versions any more.
	Versions []Version
	// Ends are the deletes behind Base that found no row.
	Ends []End
	// Live is the row at the end, nil for none.
	Live *Image
	// Left are the rows that deletes took away, in order, with the origin that a key change would have.
	Left []Move
	// Births are the second halves of key changes that asked for the old key's row.
	Births []Birth
	// Since is the oldest change, valid where Changed is set.
	Since      Stamp
	Changed    bool
	Unfilled   int
	Duplicates int
}

// Birth is a version that came by a key change and does not tell all of its columns.
type Birth struct {
	From   Hash
	Origin string
	Stamp  Stamp
	Row    *Image // Fold's: the row that was at the old key then, as far as is known
}

// History gives the versions of one key. It is a function of the set of events that have come, whatever their order: rows of
// the table count as the events that made them, their carried columns as not told.
func History(in HistoryInput) HistoryOutput {
	h := &historian{in: in, open: -1}
	for _, s := range h.steps() {
		if in.Before != (Stamp{}) && Compare(s.Stamp, in.Before) >= 0 {
			break
		}
		if s.Op == connectors.Delete {
			h.remove(&s)
		} else {
			h.upsert(&s)
		}
	}
	return h.done()
}

type historian struct {
	in  HistoryInput
	out HistoryOutput

	img   *Image // the row, nil: none
	open  int    // its version
	floor Stamp
	tx    string
	under []*Image
}

func (h *historian) change(s *step) {
	if s.told || h.out.Changed && Compare(h.out.Since, s.Stamp) <= 0 {
		return
	}
	h.out.Changed, h.out.Since = true, s.Stamp
}

// close ends the open version.
func (h *historian) close(s *step) {
	if h.open < 0 {
		return
	}
	v := &h.out.Versions[h.open]
	v.Ended, v.End, v.EndUs = true, s.Stamp, s.TsUs
	h.open = -1
}

// begin opens a version.
func (h *historian) begin(img *Image, s *step) {
	if n := h.open; n >= 0 && Compare(h.out.Versions[n].Image.Stamp, s.Stamp) == 0 {
		// A later change of one record, which nothing tells from the one before: the key's row is the last one.
		h.out.Versions = h.out.Versions[:n]
		h.open = -1
	}
	h.close(s)
	v := Version{Image: img, FromUs: s.TsUs, Row: -1}
	if s.was != nil {
		v.Row = s.was.Row
	}
	h.img, h.open = img, len(h.out.Versions)
	h.out.Versions = append(h.out.Versions, v)
}

func (h *historian) upsert(s *step) {
	old := h.img
	if h.img != nil && s.Op == connectors.Insert {
		// A create while the key is there: its old row lies below until its delete comes (formats.md §1.6).
		if h.tx != s.Tx || s.Tx == "" {
			h.tx, h.under = s.Tx, nil
		}
		h.under = append(h.under, h.img)
		old = nil
	}
	img := s.Image
	if s.was == nil || s.was.Row != h.baseRow() {
		img = h.fill(s, old)
	}
	h.change(s)
	h.begin(img, s)
}

func (h *historian) baseRow() int {
	if h.in.Base == nil {
		return -2
	}
	return h.in.Base.Row
}

// fill makes the image of a step: what its event does not tell comes from the row before, or from the old key's row.
func (h *historian) fill(s *step, old *Image) *Image {
	img := s.Image.Clone()
	img.Stamp, img.Deleted, img.Guess = s.Stamp, false, false
	from, origin := s.From, ""
	if s.was != nil {
		for col := range s.Image.From {
			img.Vals[col] = connectors.UnavailableValue()
			delete(img.Rescue, col)
		}
		img.From, img.Origin = nil, ""
		if s.Op != connectors.Update {
			from = FromOf(s.Image.Origin)
		}
		origin = s.Image.Origin
	} else if s.Op == connectors.Update {
		from = Hash{}
	}
	if !from.IsZero() && s.was == nil {
		origin = s.Event.Origin(from)
	}
	var moved *Image
	asked, known := false, false
	for i := range img.Vals {
		v := &img.Vals[i]
		if !Unknown(v) && !(h.in.Rules.IgnoreNulls && v.State == connectors.Null && s.Op == connectors.Update && img.Rescue[i] == "") {
			if Gaps(v) {
				var o connectors.Value
				if old != nil {
					o = old.at(i)
				}
				*v = Mend(*v, o)
			}
			continue
		}
		src := old
		if !from.IsZero() {
			if !asked {
				asked = true
				if h.in.Moved != nil {
					moved, known = h.in.Moved(from, origin, s.Stamp)
				}
				img.Origin = origin
				h.out.Births = append(h.out.Births, Birth{From: from, Origin: origin, Stamp: s.Stamp})
			}
			if src = moved; !known && s.was != nil {
				img.take(i, s.Image, s.Image.told(i))
				continue
			}
		}
		switch {
		case src != nil && i < len(src.Vals) && !Unknown(&src.Vals[i]):
			img.take(i, src, src.told(i))
		case v.State == connectors.Null:
		default:
			*v = connectors.NullValue()
			at := h.floor
			if !from.IsZero() {
				at = Stamp{} // any row of the old key tells more
			}
			img.setFrom(i, at)
			h.out.Unfilled++
		}
	}
	if img.Origin == "" && len(img.From) > 0 && old != nil {
		img.Origin = old.Origin
	}
	return img
}

// FromOf gives the old key that the origin of a row names, zero for none.
func FromOf(origin string) Hash {
	if len(origin) < originHash {
		return Hash{}
	}
	b := origin[len(origin)-originHash:]
	return Hash{Lo: uint64(be32(b))<<32 | uint64(be32(b[4:])), Hi: be32(b[8:])}
}

func (h *historian) remove(s *step) {
	if h.img == nil {
		if !s.quiet {
			h.remember(s)
			h.change(s)
		}
		h.floor = s.Stamp
		return
	}
	if h.spared(s) {
		return
	}
	if !s.quiet || !s.told {
		h.change(s)
	}
	left := Move{Stamp: s.Stamp, To: s.To, Origin: s.Event.Origin(h.in.Key), Image: h.img}
	if len(h.under) > 0 && h.tx == s.Tx && s.Tx != "" {
		left.Image = h.void(s)
		h.out.Left = append(h.out.Left, left)
		h.remember(s)
		return
	}
	if s.Before != nil && !equalKnown(s.Before, h.img) {
		h.remember(s)
	}
	h.out.Left = append(h.out.Left, left)
	h.close(s)
	h.img, h.floor, h.under, h.tx = nil, s.Stamp, nil, ""
}

// spared tells that a step is nothing but truncates of other tables than the row's. The row that such a step ended stays ended.
func (h *historian) spared(s *step) bool {
	if len(s.cuts) == 0 || h.in.Cuts == nil || s.told && s.Before != nil && s.Before.Stamp == h.img.Stamp {
		return false
	}
	return !slices.ContainsFunc(s.cuts, func(k int) bool { return h.in.Cuts(k, h.img) })
}

func (h *historian) remember(s *step) {
	h.out.Ends = append(h.out.Ends, End{Stamp: s.Stamp, Us: s.TsUs, Before: s.Before})
}

// void takes away one of several rows that share a key inside a transaction: net, the key stays. It gives the row that left.
func (h *historian) void(s *step) *Image {
	n := len(h.under) - 1
	top := s.Before != nil && equalKnown(s.Before, h.img)
	drop := 0
	if s.Before != nil {
		for i, u := range h.under {
			if equalKnown(s.Before, u) {
				top, drop = false, i
				break
			}
		}
	}
	var left *Image
	if top {
		left = h.img
		img := h.under[n].Clone()
		img.Stamp = s.Stamp
		h.under = h.under[:n]
		h.begin(img, s)
	} else {
		left = h.under[drop]
		h.under = slices.Delete(slices.Clone(h.under), drop, drop+1)
	}
	if len(h.under) == 0 {
		h.tx = ""
	}
	return left
}

func (h *historian) done() HistoryOutput {
	o := &h.out
	o.Live = h.img
	was, back := map[int]*Version{}, map[Seq]int{}
	if h.in.Base != nil {
		was[h.in.Base.Row] = h.in.Base
	}
	for i := range h.in.Stored {
		w := &h.in.Stored[i]
		was[w.Row] = w
		if restored(w.Image) {
			back[w.Image.Stamp.Seq()] = w.Row
		}
	}
	for i := range o.Versions {
		v := &o.Versions[i]
		if v.Row < 0 && len(back) > 0 {
			if row, ok := back[v.Image.Stamp.Seq()]; ok {
				v.Row = row
			}
		}
		for c, s := range v.Image.From {
			if Compare(s, v.Image.Stamp) >= 0 {
				delete(v.Image.From, c)
			}
		}
		w := was[v.Row]
		if v.Changed = w == nil || !v.same(w); v.Changed && (!o.Changed || Compare(v.Image.Stamp, o.Since) < 0) && (w == nil || !sameImage(v.Image, w.Image)) {
			o.Changed, o.Since = true, v.Image.Stamp
		}
	}
	return *o
}

func (v *Version) same(w *Version) bool {
	return v.FromUs == w.FromUs && v.Ended == w.Ended && (!v.Ended || v.EndUs == w.EndUs && v.End.Seq() == w.End.Seq()) && sameImage(v.Image, w.Image)
}
