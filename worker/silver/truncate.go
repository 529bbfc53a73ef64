package silver

import (
	"context"
	"fmt"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// knownTruncate tells that a truncate, or a newer one of its table, was applied.
func (w *work) knownTruncate(c *connectors.Change, st fold.Stamp) bool {
	return st.Pos != "" && slices.ContainsFunc(w.m.state.Truncates, func(t state.Truncate) bool {
		is := fold.Compare(t.Stamp, st)
		return w.ofChange(&t, c) && (is == 0 || is > 0 && !w.m.history())
	})
}

// applyTruncates drops the events that a truncate of this or of an earlier merge holds back, and puts the new ones into the
// state.
func (w *work) applyTruncates() {
	for i := range w.truncs {
		t := &w.truncs[i]
		if t.st.Pos == "" {
			for k := 0; k < t.after; k++ {
				w.events[k].drop = w.events[k].drop || sameTable(w.events[k].c, t.c)
			}
			continue
		}
		w.putTruncate(t)
	}
	for i := range w.sweeps {
		// What comes late and is older than a complete snapshot is in it, or gone.
		if s := &w.sweeps[i]; commitOrdered(s.c.Source) {
			w.putTruncate(&truncate{c: s.c, st: s.st})
		}
	}
	if len(w.state.Truncates) == 0 || w.m.history() {
		return
	}
	for i := range w.events {
		e := &w.events[i]
		if e.drop || e.st.Pos == "" {
			continue
		}
		for k := range w.state.Truncates {
			t := &w.state.Truncates[k]
			if w.ofChange(t, e.c) && fold.Compare(e.st, t.Stamp) < 0 {
				e.drop = true
			}
		}
	}
}

func sameTable(a, b *connectors.Change) bool {
	return a.Source == b.Source || a.Source == nil || b.Source == nil || tableKey(a.Source) == tableKey(b.Source)
}

func (w *work) putTruncate(t *truncate) {
	key := tableKey(t.c.Source)
	us := int64(0)
	if w.m.history() {
		us = changeMicros(t.c)
	}
	for k := range w.state.Truncates {
		s := &w.state.Truncates[k]
		if us != 0 {
			if s.Table == key && fold.Compare(s.Stamp, t.st) == 0 {
				return
			}
			continue // a history needs all of them
		}
		if s.Table == key {
			if fold.Compare(s.Stamp, t.st) < 0 {
				s.Stamp, s.AtMs = t.st, t.c.Record.TimestampMs
				w.stateNew = true
			}
			return
		}
	}
	w.state.Truncates = append(w.state.Truncates, state.Truncate{Topic: t.c.Record.Topic, Table: key, Stamp: t.st, AtMs: t.c.Record.TimestampMs, Us: us})
	w.stateNew = true
}

// cut tells whether a truncate of this merge takes the row away.
func (w *work) cut(e index.Entry) bool {
	b := w.cutRows[e.File]
	return b != nil && b.Contains(uint64(e.Position()))
}

// findCut finds the rows that the truncates of this merge end: by the index where it tells, else by reading the sequences of the
// table. A truncate of one of several source tables ends only its rows.
func (w *work) findCut(ctx context.Context) error {
	if len(w.truncs) == 0 {
		return nil
	}
	if w.m.history() {
		return w.cutHistory(ctx)
	}
	w.cutRows = map[uint32]*bitmap{}
	if w.m.snap == nil {
		return nil // a truncate before the first row: there is no table yet
	}
	if !w.cutsAll() || !w.cutByIndex() {
		clear(w.cutRows)
		if err := w.cutByScan(ctx); err != nil {
			return err
		}
	}
	w.m.idx.All(func(e *index.Entry) bool {
		if !e.Gone() && w.cut(*e) {
			w.cutEntries = append(w.cutEntries, *e)
			w.kill(*e)
		}
		return true
	})
	w.res.Deleted += len(w.cutEntries)
	if w.m.keyed() {
		return w.truncateMemory(ctx)
	}
	w.releaseRemovals()
	return nil
}

// truncateMemory lets the truncates count as deletes of the keys whose rows stand on something older: values carried over, or a
// row that a create met.
func (w *work) truncateMemory(ctx context.Context) error {
	var hashes []fold.Hash
	for i := range w.state.Opens {
		hashes = append(hashes, w.state.Opens[i].Hash)
	}
	cutOff := map[uint32]*bitmap{} // rows of which the index has only a part of the hash
	w.m.idx.All(func(e *index.Entry) bool {
		switch {
		case !e.Carried() || w.cut(*e):
		case e.Bound():
			if cutOff[e.File] == nil {
				cutOff[e.File] = newBitmap()
			}
			cutOff[e.File].Add(uint64(e.Position()))
		default:
			hashes = append(hashes, e.Hash)
		}
		return true
	})
	r := w.m.keyReader(w.m.snap.Schema())
	for _, o := range sortedKeys(cutOff) {
		f, rows := w.m.idx.File(o), cutOff[o]
		if err := r.each(ctx, f.Path, f.Size, func(row int64) bool { return rows.Contains(uint64(row)) }, func(k rowKey) error {
			hashes = append(hashes, k.h)
			return nil
		}); err != nil {
			return fmt.Errorf("truncate: find the rows with values carried over: %w", err)
		}
	}
	slices.SortFunc(hashes, fold.ByHash)
	for _, h := range slices.Compact(hashes) {
		for i := range w.truncs {
			t := &w.truncs[i]
			if t.st.Pos == "" {
				continue
			}
			c := w.complexOf(h)
			of := &fold.Image{Meta: fold.Meta{EventID: t.c.Record.EventID()}, Table: w.tableOf(t.c)}
			w.complex[c].extra = append(w.complex[c].extra, fold.Event{Stamp: t.st, Op: connectors.Truncate, Before: of})
		}
	}
	return nil
}

// withTruncates makes deletes of those of a key's truncates that are of the source table of the row that they met, and leaves the others out.
func withTruncates(base *fold.Base, events []fold.Event) []fold.Event {
	isTruncate := func(e fold.Event) bool { return e.Op == connectors.Truncate }
	if !slices.ContainsFunc(events, isTruncate) {
		return events
	}
	out := make([]fold.Event, 0, len(events))
	for _, t := range events {
		if !isTruncate(t) {
			out = append(out, t)
			continue
		}
		var met *fold.Image
		var at fold.Stamp
		if base != nil {
			met, at = base.Image, base.Stamp // a newer one has values carried over
		}
		for i := range events {
			e := &events[i]
			if e.Image != nil && e.Op != connectors.Delete && fold.Compare(e.Stamp, t.Stamp) < 0 && (met == nil || fold.Compare(at, t.Stamp) >= 0 || fold.Compare(at, e.Stamp) < 0) {
				met, at = e.Image, e.Stamp
			}
		}
		if met == nil || sameSource(t.Before, met) {
			out = append(out, fold.Event{Stamp: t.Stamp, Op: connectors.Delete})
		}
	}
	return out
}

// known is a truncate as the state has it.
func (w *work) known(t *truncate) *state.Truncate {
	return &state.Truncate{Topic: t.c.Record.Topic, Table: w.tableOf(t.c), Stamp: t.st}
}

// cutsAll tells that all rows of the table are of the source table of each truncate of this merge.
func (w *work) cutsAll() bool {
	if w.severalSources() {
		return false
	}
	for i := range w.truncs {
		if !w.ofRows(w.known(&w.truncs[i]), w.state.Topics[0].Name, "") {
			return false
		}
	}
	return true
}

func (w *work) cutByIndex() bool {
	sure := true
	w.m.idx.All(func(e *index.Entry) bool {
		if e.Gone() {
			return true
		}
		for i := range w.truncs {
			t := w.truncs[i].st
			v := index.Newer
			if t.Pos != "" {
				v = index.Judge(*e, t)
			}
			switch v {
			case index.Newer:
				w.addCut(e.File, e.Position())
			case index.Unsure:
				sure = false
				return false
			}
		}
		return true
	})
	return sure
}

func (w *work) addCut(file uint32, row int64) {
	b := w.cutRows[file]
	if b == nil {
		b = newBitmap()
		w.cutRows[file] = b
	}
	b.Add(uint64(row))
}

func (w *work) cutByScan(ctx context.Context) error {
	sch := w.m.snap.Schema()
	cols := []string{evolve.ColSequence, evolve.ColEventID}
	told := sch.Index(evolve.ColSource) >= 0
	if told {
		cols = append(cols, evolve.ColSource)
	}
	truncs := make([]*state.Truncate, len(w.truncs))
	for k := range truncs {
		truncs[k] = w.known(&w.truncs[k])
	}
	var fail error
	w.m.idx.Ordinals(func(o uint32, f *index.File) {
		if fail != nil {
			return
		}
		file, err := w.m.openFile(ctx, f.Path, f.Size)
		if err != nil {
			fail = err
			return
		}
		for b, err := range file.Read(ctx, columnar.ReadOptions{Columns: cols, Target: &sch}) {
			if err != nil {
				fail = fmt.Errorf("read %s: %w", f.Path, err)
				return
			}
			for i := range int(b.Record.NumRows()) {
				st, err := fold.Parse(columnar.ValueAt(b.Record.Column(0), schema.Of(schema.Binary), i).Str)
				if err != nil {
					fail = fmt.Errorf("row %d of %s: %w", b.FirstRow+int64(i), f.Path, err)
					return
				}
				topic, table := eventTopic(columnar.ValueAt(b.Record.Column(1), schema.Of(schema.String), i).Str), ""
				if told {
					table = sourceKey(columnar.ValueAt(b.Record.Column(2), schema.Of(schema.String), i).Str)
				}
				for k := range w.truncs {
					t := &w.truncs[k]
					if w.ofRows(truncs[k], topic, table) && (t.st.Pos == "" || fold.Compare(t.st, st) > 0) {
						w.addCut(o, b.FirstRow+int64(i))
					}
				}
			}
		}
	})
	return fail
}
