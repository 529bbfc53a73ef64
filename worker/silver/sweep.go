package silver

import (
	"context"
	"fmt"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// sweep is a snapshot of the source that says it is complete: a row older than its position that it did not bring is gone from
// the source, though no delete told it (a ghost row).
type sweep struct {
	c  *connectors.Change // the snapshot's last row of the table
	st fold.Stamp
}

// sawSnapshot notes the end of a snapshot of the table. An incremental or an unpositioned one says nothing of the rows that it
// does not bring.
func (w *work) sawSnapshot(c *connectors.Change, st fold.Stamp) {
	conf := w.m.opt.Config
	if c.Snapshot != connectors.SnapshotLast && c.Snapshot != connectors.SnapshotLastInCollection || c.Op != connectors.Read || st.Pos == "" ||
		!conf.SilverSnapshotSweep || conf.SilverDeleteMode == "ignore" || w.tableOf(c) == "" || w.topic(c.Record.Topic).Mixed {
		return
	}
	// All rows of the snapshot have its position, wherever they are: what is below is older. The deletes lie right below it, so that
	// rows of the snapshot that come later, from other partitions, are newer than they.
	st.Pos, st.Part, st.Off, st.Exact = st.Pos[:len(st.Pos)-1], 0, 0, true
	switch {
	case w.m.keyed():
		w.sweeps = append(w.sweeps, sweep{c, st})
	case commitOrdered(c.Source):
		// Rows without key are not brought again but added anew: all that were there go.
		w.truncs = append(w.truncs, truncate{c: c, st: st, after: len(w.events)})
	}
}

// commitOrdered tells that positions of a source follow the order of its commits. Those of Postgres do not: a transaction that was
// under way when the snapshot was taken has lower ones, and is not in it.
func commitOrdered(s *connectors.Source) bool { return s != nil && s.Connector != "postgresql" }

// sweepGhosts makes a delete, at the snapshot's position, for each key whose row is older than a complete snapshot. Keys that have a row of
// the snapshot in this merge are left to it. It comes before the groups are decided.
func (w *work) sweepGhosts(ctx context.Context) error {
	if w.m.table == nil {
		return nil
	}
	for i := range w.sweeps {
		s := &w.sweeps[i]
		byFile := map[uint32][]index.Entry{}
		w.m.idx.All(func(e *index.Entry) bool {
			if e.File != index.Dead && !w.cut(*e) && (e.Bound() || !w.inSnapshot(e.Hash, s.st)) {
				if v := index.Judge(*e, s.st); v == index.Newer || v == index.Unsure {
					byFile[e.File] = append(byFile[e.File], *e)
				}
			}
			return true
		})
		n := 0
		for _, o := range sortedKeys(byFile) {
			k, err := w.sweepFile(ctx, s, o, byFile[o])
			if err != nil {
				return fmt.Errorf("sweep ghost rows: %w", err)
			}
			n += k
		}
		if commitOrdered(s.c.Source) && !w.m.history() {
			// A row that a create met, and that was gone by the time of the snapshot, is no longer in the create's way.
			for k := range w.state.Opens {
				c := &w.complex[w.complexOf(w.state.Opens[k].Hash)]
				of := &fold.Image{Meta: fold.Meta{EventID: s.c.Record.EventID()}, Table: w.tableOf(s.c)}
				c.extra = append(c.extra, fold.Event{Stamp: s.st, Op: connectors.Truncate, Before: of})
			}
		}
		if n > 0 {
			w.m.log.Info("rows that a complete snapshot did not bring are gone from the source", "keys", n, "snapshot", s.c.Record.EventID())
		}
	}
	return nil
}

// inSnapshot tells that the key has a row of the snapshot, or of a later one, in this merge.
func (w *work) inSnapshot(h fold.Hash, st fold.Stamp) bool {
	gi := w.findGroup(h)
	if gi < 0 {
		return false
	}
	for i := w.groups[gi].head; i >= 0; i = w.events[i].next {
		if e := &w.events[i]; e.op == connectors.Read && e.st.Pos != "" && fold.Compare(e.st, st) >= 0 {
			return true
		}
	}
	return false
}

// sweepFile makes the deletes of the ghosts of one file. The rows themselves tell whether they are of the snapshot's table, how old they are
// exactly and, where positions do not follow commits, whether they were committed after the snapshot was taken.
func (w *work) sweepFile(ctx context.Context, s *sweep, o uint32, es []index.Entry) (int, error) {
	f := w.m.idx.File(o)
	bits := newBitmap()
	for _, e := range es {
		bits.Add(uint64(e.Position()))
	}
	rows := make([]int64, 0, len(es))
	for it := bits.Iterator(); it.HasNext(); {
		rows = append(rows, int64(it.Next()))
	}
	sch := w.m.snap.Schema()
	r := w.m.keyReader(sch)
	k := len(r.cols)
	cols := append(r.cols, evolve.ColEventID, evolve.ColTimestamp)
	told := sch.Index(evolve.ColSource) >= 0
	if told {
		cols = append(cols, evolve.ColSource)
	}
	rec, err := w.m.readRows(ctx, f.Path, f.Size, cols, sch, rows)
	if err != nil {
		return 0, err
	}
	defer rec.Release()
	n := 0
	of := w.known(&truncate{c: s.c, st: s.st})
	for i, row := range rows {
		key, err := r.key(columnar.Batch{Record: rec}, i)
		if err != nil {
			return n, fmt.Errorf("row %d of %s: %w", row, f.Path, err)
		}
		topic := eventTopic(columnar.ValueAt(rec.Column(k), schema.Of(schema.String), i).Str)
		ts := columnar.ValueAt(rec.Column(k+1), schema.Of(schema.Timestamp), i).Int
		table := ""
		if told {
			table = sourceKey(columnar.ValueAt(rec.Column(k+2), schema.Of(schema.String), i).Str)
		}
		if key.st.Pos == "" || fold.Compare(s.st, key.st) <= 0 || !w.ofRows(of, topic, table) || !commitOrdered(s.c.Source) && ts >= changeMicros(s.c) ||
			w.inSnapshot(key.h, s.st) {
			continue
		}
		n++
		if w.m.history() {
			g := w.histOf(key.h)
			w.hist[g].events = append(w.hist[g].events, fold.Event{Stamp: s.st, Op: connectors.Delete, TsUs: changeMicros(s.c)})
			w.hist[g].own = true
			w.need(g, s.st)
			continue
		}
		c := &w.complex[w.complexOf(key.h)]
		gone := fold.Event{Stamp: s.st, Op: connectors.Delete}
		if w.m.soft() {
			gone.Image = &fold.Image{Meta: fold.Meta{Op: 'd', TsUs: changeMicros(s.c), EventID: s.c.Record.EventID()}}
		}
		c.extra = append(c.extra, gone)
	}
	return n, nil
}
