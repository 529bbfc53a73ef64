package fold

import (
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
)

// step is an event on the way through a key's history: new, or told by the table's rows.
type step struct {
	Event
	was   *Version // the row of the table that the step made
	told  bool     // by the table
	quiet bool     // a truncate: remembered elsewhere
	kept  bool     // of HistoryInput.Ends
	cuts  []int    // the truncates that it is, unless it is a delete, too
}

// steps puts events and rows in their order, each once.
func (h *historian) steps() []step {
	in := &h.in
	all := make([]step, 0, 2*len(in.Stored)+len(in.Events)+len(in.Ends)+len(in.Truncates)+2)
	rows := slices.Clone(in.Stored)
	slices.SortStableFunc(rows, func(a, b Version) int { return Compare(a.Image.Stamp, b.Image.Stamp) })
	if in.Base != nil {
		rows = slices.Insert(rows, 0, *in.Base)
	}
	for i := range rows {
		v := &rows[i]
		if restored(v.Image) && (in.Base == nil || i > 0) {
			all = append(all, step{Event: Event{Stamp: v.Image.Stamp, Op: connectors.Delete, TsUs: v.FromUs}, told: true})
		} else {
			all = append(all, step{Event: Event{Stamp: v.Image.Stamp, Op: opOf(v.Image.Meta.Op), Image: v.Image, TsUs: v.FromUs}, was: v, told: true})
		}
		if v.Ended && !(i+1 < len(rows) && Compare(v.End, rows[i+1].Image.Stamp) == 0) {
			all = append(all, step{Event: Event{Stamp: v.End, Op: connectors.Delete, TsUs: v.EndUs, Before: v.Image}, told: true})
		}
	}
	for k, e := range in.Truncates {
		all = append(all, step{Event: Event{Stamp: e.Stamp, Op: connectors.Delete, TsUs: e.Us}, quiet: true, cuts: []int{k}})
	}
	for _, e := range in.Ends {
		all = append(all, step{Event: Event{Stamp: e.Stamp, Op: connectors.Delete, TsUs: e.Us, Before: e.Before}, told: true, kept: true})
	}
	for i := range in.Events {
		all = append(all, step{Event: in.Events[i]})
	}
	h.lift(all)
	slices.SortStableFunc(all, func(a, b step) int {
		if c := Compare(a.Stamp, b.Stamp); c != 0 || a.Stamp.Off != b.Stamp.Off || a.told || b.told {
			return c
		}
		return int(a.Sub) - int(b.Sub)
	})
	out := all[:0]
	for i := range all {
		s := all[i]
		if in.TxLen > 0 && len(s.Stamp.Pos) >= in.TxLen && !s.Stamp.Lifted && s.Op != connectors.Read && !s.quiet {
			s.Tx = s.Stamp.Pos[:in.TxLen]
		}
		if k := h.repeated(out, &s); k >= 0 {
			h.merge(&out[k], &s)
			continue
		}
		out = append(out, s)
	}
	return h.unrepeat(out)
}

// restored tells a version that came back when a row that shared its key left again (void): its sequence is that of the delete
// and not that of its event.
func restored(m *Image) bool {
	id := m.Meta.EventID
	var n [2]int64
	for k := range n {
		i := strings.LastIndexByte(id, '-')
		if i < 0 {
			return false
		}
		v, err := strconv.ParseInt(id[i+1:], 10, 64)
		if err != nil {
			return false
		}
		n[k], id = v, id[:i]
	}
	return n[0] != m.Stamp.Off || n[1] != int64(m.Stamp.Part&PartitionMask)
}

func cmpOr(a, b Hash) Hash {
	if a.IsZero() {
		return b
	}
	return a
}

func opOf(letter byte) connectors.Op {
	switch letter {
	case 'c':
		return connectors.Insert
	case 'r':
		return connectors.Read
	}
	return connectors.Update
}

// lift gives new changes without position the place behind the change that they follow.
func (h *historian) lift(all []step) {
	ev := make([]Event, len(all))
	for i := range all {
		ev[i] = all[i].Event
		ev[i].Sub = int32(i)
	}
	liftAll(ev, nil)
	for i := range ev {
		all[ev[i].Sub].Stamp = ev[i].Stamp
	}
}

// repeated finds the step before s that is the same event, -1 for none.
func (h *historian) repeated(done []step, s *step) int {
	for k := len(done) - 1; k >= 0; k-- {
		a := &done[k]
		if a.Stamp.Epoch != s.Stamp.Epoch || a.Stamp.Pos != s.Stamp.Pos || Compare(a.Stamp, s.Stamp) != 0 {
			return -1
		}
		if a.Stamp.Off == s.Stamp.Off && !a.told && !s.told && a.Sub != s.Sub {
			continue // two changes of one record
		}
		if (s.Op == connectors.Delete) == (a.Op == connectors.Delete) || a.told {
			return k
		}
	}
	return -1
}

// deletes tells that a step takes any row away: it is more than truncates, and than what the table tells of them.
func (s *step) deletes() bool { return s.kept || !s.told && len(s.cuts) == 0 }

// merge puts what s tells more into the step that it repeats.
func (h *historian) merge(a, s *step) {
	if a.deletes() || s.deletes() {
		a.cuts = nil
	} else {
		a.cuts = append(a.cuts, s.cuts...)
	}
	a.quiet = a.quiet || s.quiet
	a.To = cmpOr(a.To, s.To)
	if s.Before != nil && (a.Before == nil || a.told && !a.kept) {
		a.Before = s.Before
	}
	a.kept = a.kept || s.kept
	if !s.quiet && !s.told {
		h.out.Duplicates++
	}
}

// maxTies bounds how far back among the changes of one position a repeat is looked for.
const maxTies = 256

// unrepeat drops what a source that was started again has sent twice, where several changes of the key may share a position (formats.md §0.2). A
// repeat goes on to the end of what was known: what merely equals an earlier change, with another one between, is a change of its own.
func (h *historian) unrepeat(all []step) []step {
	out := all[:0]
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && all[to].Stamp.Pos == all[from].Stamp.Pos && all[to].Stamp.Epoch == all[from].Stamp.Epoch {
			to++
		}
		first := len(out)
		run := all[from:to]
		from = to
		if run[0].Stamp.Pos == "" {
			out = append(out, run...)
			continue
		}
	next:
		for i := 0; i < len(run); {
			for j := max(first, len(out)-maxTies); j < len(out); j++ {
				if n := len(out) - j; n <= len(run)-i && alike(out[j:], run[i:i+n]) {
					for k := range n {
						h.merge(&out[j+k], &run[i+k])
					}
					i += n
					continue next
				}
			}
			out = append(out, run[i])
			i++
		}
	}
	return out
}

// alike tells that steps, one by one, do the same.
func alike(a, b []step) bool {
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Stamp.Off == y.Stamp.Off && x.Stamp.Part == y.Stamp.Part && !x.Stamp.Lifted && !y.Stamp.Lifted {
			return false // changes of one record
		}
		if x.Op == connectors.Delete || y.Op == connectors.Delete {
			if x.Op != y.Op {
				return false
			}
		} else if x.Image.Meta.Op != y.Image.Meta.Op || !equalKnown(y.Image, x.Image) {
			return false
		}
	}
	return true
}
