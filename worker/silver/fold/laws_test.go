package fold

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// laws is a table of what becomes of the events of one key, "op@position.transaction column=value…": a value of ? was not told, - is NULL,
// a delete's columns are those of the row that it removed. row is what Fold must give, "gone" for a tombstone; history are the versions of
// History with the positions at which they begin and end. Both must come out of every order of the events, each cut in two merges
// anywhere, with any event repeated. One exception: Fold, which has one row to remember by, needs the events in their order where rows
// share a key inside a transaction.
var laws = []struct {
	name, events, row, history string
}{
	{"one", "c@1.1 a=1 b=x", "a=1 b=x @1", "a=1 b=x [1,"},
	{"the newest wins", "c@1.1 a=1 b=x; u@2.2 a=2 b=y; u@3.3 a=3 b=z", "a=3 b=z @3", "a=1 b=x [1,2) a=2 b=y [2,3) a=3 b=z [3,"},
	{"a delete is remembered", "c@1.1 a=1 b=x; d@2.2", "gone @2", "a=1 b=x [1,2)"},
	{"a delete of what never came", "d@2.2", "gone @2", ""},
	{"what is older than a delete is stale", "d@5.5; u@4.4 a=4 b=x", "gone @5", "a=4 b=x [4,5)"},
	{"two deletes", "c@1.1 a=1 b=x; d@2.2; d@4.4; u@3.3 a=3 b=y", "gone @4", "a=1 b=x [1,2) a=3 b=y [3,4)"},
	{"a key that comes back", "c@1.1 a=1 b=x; d@2.2; c@3.3 a=3 b=y", "a=3 b=y @3", "a=1 b=x [1,2) a=3 b=y [3,"},
	{"a value that was not told is carried", "c@1.1 a=1 b=x; u@2.2 a=2 b=?", "a=2 b=x @2", "a=1 b=x [1,2) a=2 b=x [2,"},
	{"over several events", "c@1.1 a=1 b=x; u@2.2 a=2 b=?; u@3.3 a=3 b=?", "a=3 b=x @3", "a=1 b=x [1,2) a=2 b=x [2,3) a=3 b=x [3,"},
	{"from the newest that tells it", "c@1.1 a=1 b=x; u@2.2 a=2 b=y; u@3.3 a=3 b=?", "a=3 b=y @3", "a=1 b=x [1,2) a=2 b=y [2,3) a=3 b=y [3,"},
	{"NULL is told", "c@1.1 a=1 b=x; u@2.2 a=2 b=-; u@3.3 a=3 b=?", "a=3 b=- @3", "a=1 b=x [1,2) a=2 b=- [2,3) a=3 b=- [3,"},
	{"nothing is carried over a delete", "c@1.1 a=1 b=x; d@2.2; c@3.3 a=3 b=?", "a=3 b=- @3", "a=1 b=x [1,2) a=3 b=- [3,"},
	{"nobody tells it", "u@2.2 a=2 b=?", "a=2 b=- @2", "a=2 b=- [2,"},
	{"a read is a version", "c@1.1 a=1 b=x; r@2.0 a=1 b=x", "a=1 b=x @2", "a=1 b=x [1,2) a=1 b=x [2,"},
	{"formats.md 1.6: a row comes before the one with its key goes", "c@1.1 a=1 b=x; c@2.2 a=2 b=y; d@3.2 a=1 b=x", "a=2 b=y @3", "a=1 b=x [1,2) a=2 b=y [2,"},
	{"it comes and goes, the old one stays", "c@1.1 a=1 b=x; c@2.2 a=2 b=y; d@3.2 a=2 b=y", "a=1 b=x @3", "a=1 b=x [1,2) a=2 b=y [2,3) a=1 b=x [3,"},
	{"both go", "c@1.1 a=1 b=x; c@2.2 a=2 b=y; d@3.2 a=1 b=x; d@4.2 a=2 b=y", "gone @4", "a=1 b=x [1,2) a=2 b=y [2,4)"},
	{"in two transactions the later delete takes the later row", "c@1.1 a=1 b=x; c@2.2 a=2 b=y; d@3.3 a=2 b=y", "gone @3", "a=1 b=x [1,2) a=2 b=y [2,3)"},
}

var lawCols = []string{"a", "b"}

func lawEvent(t *testing.T, text string, off int64) Event {
	t.Helper()
	words := strings.Fields(text)
	op, at, _ := strings.Cut(words[0], "@")
	pos, tx, _ := strings.Cut(at, ".")
	n := func(s string) uint64 {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	b := binary.BigEndian.AppendUint64(nil, n(tx))
	b = append(binary.BigEndian.AppendUint64(b, n(pos)), 0, 0, 0, 0, 0, 0, 0, 0, 0)
	e := Event{Stamp: Stamp{Pos: string(b), Epoch: FirstEpoch, Off: off, Exact: true}, Tx: string(b[:8]), TsUs: int64(n(pos))}
	if op == "r" { // of a snapshot: of the position alone
		e.Tx = ""
		copy(b, string(binary.BigEndian.AppendUint64(nil, n(pos))))
		e.Stamp.Pos = string(b)
	}
	img := &Image{Vals: make([]connectors.Value, len(lawCols)), Meta: Meta{Op: op[0], EventID: fmt.Sprintf("t-0-%d", off)}, Stamp: e.Stamp}
	for _, w := range words[1:] {
		name, v, _ := strings.Cut(w, "=")
		i := slices.Index(lawCols, name)
		switch {
		case v == "?":
			img.Vals[i] = connectors.UnavailableValue()
		case v == "-":
			img.Vals[i] = connectors.NullValue()
		case name == "a":
			img.Vals[i] = connectors.Int(schema.Long, int64(n(v)))
		default:
			img.Vals[i] = connectors.Text(v)
		}
	}
	switch op {
	case "d":
		e.Op = connectors.Delete
		if len(words) > 1 {
			e.Before = img
		}
		return e
	case "c":
		e.Op = connectors.Insert
	case "u":
		e.Op = connectors.Update
	case "r":
		e.Op = connectors.Read
	}
	e.Image = img
	return e
}

func lawImage(m *Image) string {
	var parts []string
	for i, c := range lawCols {
		v := m.Vals[i]
		text := "-"
		if v.State == connectors.Present {
			if text = v.Str; v.Kind == schema.Long {
				text = strconv.FormatInt(v.Int, 10)
			}
		}
		parts = append(parts, c+"="+text)
	}
	return strings.Join(parts, " ")
}

func lawAt(s Stamp) string {
	if len(s.Pos) < 16 {
		return "?"
	}
	return strconv.FormatUint(binary.BigEndian.Uint64([]byte(s.Pos[8:16])), 10)
}

// lawMerge merges batches by Fold as the merge does: what a fold gives is the base of the next, and a key that was created while it was
// there is folded again from where that began.
func lawMerge(batches [][]Event) string {
	var base, from *Base
	var open []Event
	for _, b := range batches {
		in := Input{Base: base, Events: b}
		if open != nil {
			in = Input{Base: from, Events: append(slices.Clone(open), b...)}
		}
		out := Fold(in)
		if from, open = in.Base, nil; out.Shift {
			open = in.Events
		}
		switch {
		case out.Image != nil:
			base = &Base{Stamp: parsed(out.Image.Stamp), Image: out.Image}
			base.Image.Stamp = base.Stamp
		case out.Dead:
			base = &Base{Stamp: parsed(out.Stamp)}
		}
	}
	switch {
	case base == nil:
		return "unknown"
	case base.Image == nil:
		return "gone @" + lawAt(base.Stamp)
	}
	return lawImage(base.Image) + " @" + lawAt(base.Stamp)
}

// parsed is a stamp as it comes back from the table.
func parsed(s Stamp) Stamp {
	s.Exact = false
	return s
}

// lawHistory merges batches by History: versions and ends of one are what the table and the state say to the next.
func lawHistory(batches [][]Event) string {
	var versions []Version
	var ends []End
	for _, b := range batches {
		out := History(HistoryInput{Stored: versions, Ends: ends, Events: b, TxLen: 8})
		versions, ends = nil, nil
		for i, v := range out.Versions {
			v.Row, v.Changed = i, false
			img := v.Image.Clone()
			img.Stamp, v.End = parsed(img.Stamp), parsed(v.End)
			v.Image = img
			versions = append(versions, v)
		}
		for _, e := range out.Ends {
			e.Stamp = parsed(e.Stamp)
			ends = append(ends, e)
		}
	}
	var parts []string
	for _, v := range versions {
		text := lawImage(v.Image) + " [" + lawAt(v.Image.Stamp) + ","
		if v.Ended {
			text += lawAt(v.End) + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// sharedOutOfOrder tells that a row was created while another one had its key, and that the events are not in their order.
func sharedOutOfOrder(events []Event) bool {
	creates, sorted := map[string]int{}, true
	for i := range events {
		if events[i].Op == connectors.Delete || events[i].Op == connectors.Insert {
			creates[events[i].Tx]++
		}
		sorted = sorted && (i == 0 || Compare(events[i-1].Stamp, events[i].Stamp) <= 0)
	}
	for _, n := range creates {
		if n > 1 && !sorted {
			return true
		}
	}
	return false
}

func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var out [][]int
	for _, p := range permutations(n - 1) {
		for i := 0; i <= len(p); i++ {
			out = append(out, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return out
}

func TestLaws(t *testing.T) {
	t.Parallel()
	for _, law := range laws {
		t.Run(law.name, func(t *testing.T) {
			t.Parallel()
			texts := strings.Split(law.events, ";")
			for _, order := range permutations(len(texts)) {
				for again := -1; again < len(texts); again++ { // the event that is repeated at the end
					var events []Event
					var names []string
					for k, i := range order {
						events = append(events, lawEvent(t, texts[i], int64(k)))
						names = append(names, strings.TrimSpace(texts[i]))
					}
					if again >= 0 {
						events = append(events, lawEvent(t, texts[again], int64(len(texts))))
						names = append(names, strings.TrimSpace(texts[again])+" again")
					}
					for cut := 0; cut <= len(events); cut++ {
						batches := [][]Event{events[:cut], events[cut:]}
						if got := lawMerge(batches); got != law.row && !sharedOutOfOrder(events) {
							t.Fatalf("Fold of %s, cut at %d: %s, want %s", strings.Join(names, "; "), cut, got, law.row)
						}
						if got := lawHistory(batches); got != law.history {
							t.Fatalf("History of %s, cut at %d:\n%s, want\n%s", strings.Join(names, "; "), cut, got, law.history)
						}
					}
				}
			}
		})
	}
}
