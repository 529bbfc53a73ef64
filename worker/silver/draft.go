package silver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/internal/guard"
)

// draft is a commit in the making: the files that are written for it, and what it says of those that are there. What it writes is in no version
// before compose's commit is done; after a failure vacuum finds it.
type draft struct {
	w    *work
	snap *delta.Snapshot // what the commit builds on
	// Writes of files that run meanwhile.
	g   *guard.Group
	ctx context.Context // ends when one of them fails

	feed  *feedFile // nil: the table has no change data feed, or the commit is told by its files
	cdc   []delta.AddCDC
	adds  []delta.Add
	parts []newFile // files of the winners, in their order
	// newState: the durable state changes, to object stateM.
	newState bool
	stateM   int64

	next    map[uint32]*bitmap // rows that are gone after the commit, of the files that lose some
	removed []*delta.Add       // files that go
	rewrite []uint32           // of them, those whose other rows are written anew
	moved   *relocation        // where to
	changed []changedFile      // files that stay with another deletion vector
	gain    int64              // rows more than before
}

// changedFile is a file that stays, with more rows deleted.
type changedFile struct {
	add           *delta.Add
	before, after *bitmap
	desc          dv.Descriptor
}

func (w *work) draft(ctx context.Context) *draft {
	m := w.m
	d := &draft{w: w, snap: m.snap, newState: w.stateNew || m.pending || len(w.newTombs) > 0, stateM: m.stateM, next: map[uint32]*bitmap{},
		gain: int64(len(w.winners))}
	d.g, d.ctx = guard.WithContext(ctx)
	d.g.Go(func() error { return m.sameTable(d.ctx) })
	return d
}

// wait waits for the writes that run, and gives the first error of them.
func (d *draft) wait() error { return d.g.Wait() }

// abort gives up the files that are begun and not finished.
func (d *draft) abort() {
	if d.feed != nil {
		for _, fw := range d.feed.order {
			fw.abort()
		}
	}
}

// writeRows writes the winners, a file for each partition that has some.
func (d *draft) writeRows(ctx context.Context) error {
	w, m := d.w, d.w.m
	spans, err := w.spans()
	if err != nil {
		return err
	}
	if d.feed, err = w.newFeed(ctx); err != nil {
		return err
	}
	if len(spans) == 0 {
		return nil
	}
	input := w.input()
	for n, s := range spans {
		fw, err := m.newFile(ctx, m.fileName("part", input, d.snap.Version, n), m.cols.Schema, s.part, int64(s.to-s.from))
		if err != nil {
			return err
		}
		write := fw.append
		if d.feed != nil {
			write = func(rec arrow.Record) error {
				if err := fw.append(rec); err != nil {
					return err
				}
				return d.feed.after(rec, s.part)
			}
		}
		if err := w.emit(ctx, w.winners[s.from:s.to], write); err != nil {
			fw.abort()
			return err
		}
		add, put, err := fw.finish()
		if err != nil {
			return err
		}
		d.adds, d.parts = append(d.adds, add), append(d.parts, newFile{add: add, rows: int64(s.to - s.from)})
		w.res.Bytes += add.Size
		d.g.Go(func() error { return put(d.ctx) })
	}
	return nil
}

// saveState begins to write the durable state, where it changes.
func (d *draft) saveState() {
	if !d.newState {
		return
	}
	w, m := d.w, d.w.m
	w.state.Tombs = append(w.state.Tombs, w.newTombs...)
	w.state.Watermarks = m.marks(w)
	from := m.stateM + 1
	d.g.Go(func() (err error) {
		d.stateM, err = m.store.Save(d.ctx, from, w.state, m.keepTomb(w), m.expiry())
		return err
	})
}

// writeRest writes what tells of rows that go: the change feed, deletion vectors, files anew.
func (d *draft) writeRest(ctx context.Context) error {
	if err := d.sortGone(); err != nil {
		return err
	}
	if d.feed != nil {
		var err error
		if d.cdc, err = d.feed.finish(ctx); err != nil {
			return err
		}
	}
	m := d.w.m
	if len(d.changed) > 0 {
		d.g.Go(d.writeVectors)
	}
	if len(d.rewrite) > 0 {
		var err error
		if d.moved, err = m.rewriteFiles(d.ctx, "cow", d.w.input(), d.rewrite, d.next, m.cols.Schema, d.snap.Version, nil); err != nil {
			return cmp.Or(d.wait(), err) // it ends too where another write has failed
		}
		for _, f := range d.moved.files {
			d.adds = append(d.adds, f.add)
		}
	}
	return nil
}

// sortGone finds out what becomes of each file that loses rows.
func (d *draft) sortGone() error {
	m := d.w.m
	for _, o := range sortedKeys(d.w.gone) {
		f := m.idx.File(o)
		a, ok := d.snap.File(f.Path)
		if !ok {
			return fmt.Errorf("the index points to %s, which version %d does not have", f.Path, d.snap.Version) // D8
		}
		v := d.w.gone[o]
		d.gain -= int64(v.GetCardinality())
		if f.Deleted != nil {
			v = bitmapOr(f.Deleted, v)
		}
		d.next[o] = v
		switch {
		case int64(v.GetCardinality()) >= f.Rows:
			d.removed = append(d.removed, a)
		case m.copyOnWrite():
			d.removed, d.rewrite = append(d.removed, a), append(d.rewrite, o)
		default:
			d.changed = append(d.changed, changedFile{add: a, before: f.Deleted, after: v.Clone()})
		}
	}
	return nil
}

// writeVectors writes the deletion vectors of the files that stay, all into one file.
func (d *draft) writeVectors() error {
	vectors := make([]*bitmap, len(d.changed))
	for i := range d.changed {
		vectors[i] = d.changed[i].after
	}
	m := d.w.m
	descs, _, err := dv.Write(d.ctx, m.opt.Bucket, m.table.Path(), vectors)
	if err != nil {
		return err
	}
	for i := range d.changed {
		d.changed[i].desc = descs[i]
	}
	return nil
}

// compose makes the commit of what was written: rows, deletes, progress and state together (D2).
func (d *draft) compose() *delta.Commit {
	w, m := d.w, d.w.m
	c := m.table.NewCommit(d.snap)
	for _, a := range d.removed {
		c.Remove(a)
	}
	for _, x := range d.cdc {
		c.AppendCDC(x)
	}
	for i := range d.changed {
		x := &d.changed[i]
		c.SetVector(x.add, x.desc, x.before, x.after)
	}
	for _, a := range d.adds {
		c.Append(a)
	}
	c.ExpectRows(d.gain)
	m.describe(c)
	next := w.nextProgress()
	for _, feed := range slices.Sorted(maps.Keys(next)) {
		c.Progress(m.appID(feed), m.Durable(feed), next[feed])
	}
	if d.newState {
		c.Progress(m.stateID(), m.stateM, d.stateM)
	} else {
		c.Expect(m.stateID(), m.stateM) // D2: what was decided follows from it
	}
	c.Info(w.info())
	return c
}
