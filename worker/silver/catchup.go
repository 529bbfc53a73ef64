package silver

import (
	"context"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// catchUp follows the commits of others (D8): it reads again only the files that are new, and rows whose deletion vectors
// changed.
func (m *Merger) catchUp(ctx context.Context, snap *delta.Snapshot) error {
	if m.idx.Version == snap.Version {
		return nil
	}
	start := time.Now()
	m.loaded = false // until all is done
	c := &catchup{m: m, keys: m.keyReader(snap.Schema()), gone: map[uint32]bool{}}
	if err := c.follow(ctx, snap); err != nil {
		return err
	}
	m.idx.Version = snap.Version
	m.stats.Foreign++
	m.log.Info("followed changes of the table by others", "version", snap.Version, "new files", len(c.fresh), "gone files", len(c.gone),
		"keys twice", c.twice, "took", time.Since(start).Round(time.Millisecond))
	m.loaded = true
	if n, exact := snap.NumRecords(); exact && n != m.idx.LiveRows()+m.past.Len() {
		m.log.Error("the key index does not agree with the table: building it anew", "rows", n, "index", m.idx.LiveRows()+m.past.Len(), "version", snap.Version)
		m.stats.Mismatches++
		m.loaded = false
		idx, err := m.buildIndex(ctx, snap)
		if err != nil {
			return err
		}
		m.idx, m.loaded = idx, true
	}
	return nil
}

// catchup is one catching up of the index with a newer version of the table.
type catchup struct {
	m     *Merger
	keys  *keyReader
	fresh []*delta.Add
	gone  map[uint32]bool // ordinals of files that the table has no longer
	twice int             // keys that the table has more than once
}

// follow brings the index to the files of the snapshot.
func (c *catchup) follow(ctx context.Context, snap *delta.Snapshot) error {
	known := map[string]bool{}
	for a := range snap.Files() {
		known[a.Path] = true
		o, ok := c.m.idx.Ordinal(a.Path)
		if !ok {
			c.fresh = append(c.fresh, a)
			continue
		}
		if err := c.redelete(ctx, o, a); err != nil {
			return err
		}
	}
	c.m.idx.Ordinals(func(o uint32, f *index.File) {
		if !known[f.Path] {
			c.gone[o] = true
		}
	})
	for _, a := range c.fresh {
		if err := c.enter(ctx, a); err != nil {
			return err
		}
	}
	return c.drop()
}

// redelete follows a file's deletion vector: rows that it took away, and rows that it gave back.
func (c *catchup) redelete(ctx context.Context, o uint32, a *delta.Add) error {
	x, past := c.m.idx, c.m.past
	f := x.File(o)
	del, err := c.m.deleted(ctx, a)
	if err != nil || sameBitmap(f.Deleted, del) {
		return err
	}
	err = c.keys.pick(ctx, a, f.Deleted, del, func(k rowKey) error {
		switch {
		case k.ended && has(del, k.row):
			past.Remove(k.h, index.SpotAt(k.st, o, k.row))
		case k.ended:
			past.Add(k.h, index.SpotAt(k.st, o, k.row))
		case has(del, k.row):
			x.Remove(index.At(k.h, k.st, o, k.row, k.carried))
		default:
			x.Insert(index.At(k.h, k.st, o, k.row, k.carried))
		}
		return nil
	})
	if err == nil {
		f.Deleted = del
	}
	return err
}

// enter reads the keys of a new file. A key that the index has in a file that is gone has moved.
func (c *catchup) enter(ctx context.Context, a *delta.Add) error {
	x := c.m.idx
	del, err := c.m.deleted(ctx, a)
	if err != nil {
		return err
	}
	n, err := c.m.records(ctx, a)
	if err != nil {
		return err
	}
	o := x.AddFile(index.File{Path: a.Path, Rows: n, Size: a.Size, Deleted: del})
	return c.keys.each(ctx, a.Path, a.Size, func(row int64) bool { return !has(del, row) }, func(k rowKey) error {
		if k.ended {
			c.m.past.Add(k.h, index.SpotAt(k.st, o, k.row))
			return nil
		}
		e := index.At(k.h, k.st, o, k.row, k.carried)
		if !c.m.keyed() {
			x.Insert(e)
			return nil
		}
		switch old, ok, more := x.Get(k.h); {
		case !ok:
			x.Insert(e)
		case !more && old.File == index.Dead: // the table has the key again
			x.Raise(old)
			x.Replace(old, e)
		case !more && c.gone[old.File]:
			x.Replace(old, e)
		default:
			c.twice++
			c.m.sawTwice(k.h)
			x.Insert(e)
		}
		return nil
	})
}

// drop takes the files that are gone out of the index, with the keys that still point there.
func (c *catchup) drop() error {
	if len(c.gone) == 0 {
		return nil
	}
	x := c.m.idx
	var lost []index.Entry
	x.All(func(e *index.Entry) bool {
		if !e.Gone() && c.gone[e.File] {
			lost = append(lost, *e)
		}
		return true
	})
	for _, e := range lost {
		x.Remove(e)
	}
	if err := c.m.past.DropFiles(c.gone); err != nil {
		return err
	}
	for o := range c.gone {
		x.DropFile(o)
	}
	return nil
}

// buryLate puts the tombstones of a commit of ours that came behind one of others into the index, which has followed both.
func (m *Merger) buryLate() {
	for _, d := range m.late {
		switch e, ok, _ := m.idx.Get(d.h); {
		case !ok:
			m.idx.Insert(m.idx.Bury(d.h, d.g))
		case e.File == index.Dead && fold.Compare(m.idx.Grave(e).Stamp, d.g.Stamp) < 0:
			m.idx.Rebury(e, d.g)
		}
	}
	m.late = nil
}

func has(b *bitmap, row int64) bool { return b != nil && b.Contains(uint64(row)) }

func sameBitmap(a, b *bitmap) bool {
	if a == nil || b == nil {
		return (a == nil || a.IsEmpty()) && (b == nil || b.IsEmpty())
	}
	return a.Equals(b)
}
