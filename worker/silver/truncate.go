package silver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// tableKey names a source table.
func tableKey(s *connectors.Source) string {
	if s == nil {
		return ""
	}
	return s.Name + "\x00" + s.DB + "\x00" + s.Schema + "\x00" + s.Table
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
			if (e.c.Source == nil || t.Table == tableKey(e.c.Source)) && fold.Compare(e.st, t.Stamp) < 0 {
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
// table. A truncate of one of several topics that feed the table ends only that topic's rows.
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
	if len(w.state.Topics) > 1 || !w.cutByIndex() {
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
			w.complex[c].extra = append(w.complex[c].extra, fold.Event{Stamp: t.st, Op: connectors.Delete})
		}
	}
	return nil
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
				id := columnar.ValueAt(b.Record.Column(1), schema.Of(schema.String), i).Str
				for k := range w.truncs {
					t := &w.truncs[k]
					if eventTopic(id) == t.c.Record.Topic && (t.st.Pos == "" || fold.Compare(t.st, st) > 0) {
						w.addCut(o, b.FirstRow+int64(i))
					}
				}
			}
		}
	})
	return fail
}

// eventTopic takes the topic out of <topic>-<partition>-<offset>.
func eventTopic(id string) string {
	for n := 0; n < 2; n++ {
		i := strings.LastIndexByte(id, '-')
		if i < 0 {
			return id
		}
		id = id[:i]
	}
	return id
}
