package silver

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

func bitmapOr(a, b *bitmap) *bitmap { return roaring64.Or(a, b) }

// apply lets the index follow a commit of ours (D8).
func (w *work) apply(snap *delta.Snapshot, parts []newFile, next map[uint32]*bitmap, moved *relocation) {
	m, x := w.m, w.m.idx
	w.dropRefs()
	for _, e := range w.cutEntries {
		x.Remove(e)
	}
	for i := range w.complex {
		for _, e := range w.complex[i].more {
			if x.Remove(e) && e.Gone() {
				x.Raise(e)
			}
		}
	}
	put := func(old index.Entry, has bool, e index.Entry) {
		if !has {
			x.Insert(e)
			return
		}
		if old.File == index.Dead {
			x.Raise(old)
		}
		if !x.Replace(old, e) {
			x.Insert(e)
		}
	}
	for i := range w.dels {
		m.bury(&w.dels[i])
	}
	from := 0
	for _, p := range parts {
		o := x.AddFile(index.File{Path: p.add.Path, Rows: p.rows, Size: p.add.Size})
		winners := w.winners[from : from+int(p.rows)]
		from += len(winners)
		for i := range winners {
			n := &winners[i]
			if n.life != nil && n.life.ended {
				m.past.Add(n.h, index.SpotAt(n.st, o, int64(i)))
				continue
			}
			put(n.old, n.has, index.At(n.h, n.st, o, int64(i), n.carried))
		}
	}
	m.place(moved)
	for o, v := range next {
		f := x.File(o)
		if int64(v.GetCardinality()) >= f.Rows || moved.from(o) {
			x.DropFile(o)
			continue
		}
		f.Deleted = v
	}
	x.Version, m.snap = snap.Version, snap
	m.cols.Sealed()
}

// checkCount compares the number of rows that the index knows with that of the table. A difference means that the index
// lies: nothing is merged onto it (D8).
func (m *Merger) checkCount() error {
	n, exact := m.snap.NumRecords()
	if !exact || n == m.idx.LiveRows()+m.past.Len() {
		return nil
	}
	if err := m.mismatch(fmt.Sprintf("the table has %d rows, the index %d", n, m.idx.LiveRows()+m.past.Len())); m.broken != nil {
		return err
	}
	return nil
}

// marks gives the watermarks as they are after a merge.
func (m *Merger) marks(w *work) map[fold.PartKey]int64 {
	out := maps.Clone(m.watermarks)
	for k, p := range w.parts {
		out[k] = max(out[k], p.maxMs)
	}
	return out
}

func (m *Merger) observe(w *work) {
	for k, p := range w.parts {
		m.watermarks[k] = max(m.watermarks[k], p.maxMs)
	}
}

// expiry gives the Kafka time, in ms, before which nothing older can come: the low watermark of all partitions less the
// retention. A partition that has been silent for a whole retention does not hold it back: its next record will be new.
func (m *Merger) expiry() int64 {
	if len(m.watermarks) == 0 {
		return math.MinInt64
	}
	keep := m.opt.Config.SilverTombstoneRetention.Milliseconds()
	high := int64(math.MinInt64)
	for _, ms := range m.watermarks {
		high = max(high, ms)
	}
	low := high
	for _, ms := range m.watermarks {
		if ms > high-keep {
			low = min(low, ms)
		}
	}
	return low - keep
}

// keepTomb tells which tombstones are still needed: those that the index has, or that w adds.
func (m *Merger) keepTomb(w *work) func(*state.Tomb) bool {
	added, revived := map[fold.Seq]bool{}, map[fold.Hash]bool{}
	if w != nil {
		for i := range w.newTombs {
			added[w.newTombs[i].Seq] = true
		}
		for i := range w.winners {
			if n := &w.winners[i]; n.has && n.old.File == index.Dead {
				revived[n.h] = true
			}
		}
	}
	limit := m.expiry()
	return func(t *state.Tomb) bool {
		if t.AtMs < limit {
			return false
		}
		if added[t.Seq] {
			return true
		}
		if revived[t.Hash] && m.keyed() {
			return false
		}
		if !m.keyed() {
			return removalKnown(m.idx, t.Hash, index.Dead, t.Seq) || removalKnown(m.idx, t.Hash, index.Waiting, t.Seq)
		}
		found := false
		m.idx.Each(t.Hash, func(e index.Entry) bool {
			found = found || e.File == index.Dead && m.idx.Grave(e).Stamp.Seq() == t.Seq
			return !found
		})
		return found
	}
}

// expire forgets what no late event can need any more. It gives the number of tombstones forgotten.
func (m *Merger) expire() int {
	limit := m.expiry()
	if limit == math.MinInt64 {
		return 0
	}
	n := m.idx.Expire(limit)
	st := m.state
	size := func() int { return len(st.Moves) + len(st.Opens) + len(st.Truncates) + len(st.Ends) }
	before := size()
	st.Ends = slices.DeleteFunc(slices.Clone(st.Ends), func(x state.End) bool { return x.AtMs < limit })
	st.Moves = slices.DeleteFunc(slices.Clone(st.Moves), func(x state.Move) bool { return x.AtMs < limit })
	st.Opens = slices.DeleteFunc(slices.Clone(st.Opens), func(x state.Open) bool { return x.AtMs < limit })
	st.Truncates = slices.DeleteFunc(slices.Clone(st.Truncates), func(x state.Truncate) bool { return x.AtMs < limit })
	if size() != before {
		m.pending = true
		m.remembered()
	}
	return n
}
