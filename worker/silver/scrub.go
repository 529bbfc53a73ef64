package silver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// ErrIndex: the key index did not agree with the table, was built anew, and does not agree again. Nothing is merged onto it
// (D8). A Merger that is opened anew builds another one.
var ErrIndex = errors.New("the key index does not agree with the silver table")

const (
	scrubEvery = 10 * time.Minute
	scrubRows  = 256  // rows of one file that are read and looked up
	scrubFresh = 4096 // rows after an index was built anew because it was wrong
)

// Scrub compares a sample of the index with the table: rows of one file, taken at random, must be where the index says, with their
// sequence, and entries taken at random must point to rows that live. rows bounds both; math.MaxInt: all of the table. A
// difference is an error in the log and makes the next Merge build the index anew; the second one stops the merge for good
// (ErrIndex).
func (m *Merger) Scrub(ctx context.Context, rows int) error {
	if !m.ready || m.table == nil {
		return nil
	}
	m.stats.Scrubs++
	why, err := m.compare(ctx, rows)
	if err != nil || why == "" {
		return err
	}
	return m.mismatch(why)
}

// mismatch is what happens when the index is found wrong.
func (m *Merger) mismatch(why string) error {
	m.ready, m.loaded = false, false
	m.stats.Mismatches++
	err := fmt.Errorf("%w: %s, version %d", ErrIndex, why, m.snap.Version)
	if m.stats.Mismatches > 1 {
		m.broken = err
		m.log.Error("the key index does not agree with the table again: nothing is merged until it is opened anew", "difference", why, "version", m.snap.Version)
		return err
	}
	m.log.Error("the key index does not agree with the table: it is built anew before anything is merged", "difference", why, "version", m.snap.Version)
	return err
}

// compare tells a difference between index and table, "" for none.
func (m *Merger) compare(ctx context.Context, rows int) (string, error) {
	if n, exact := m.snap.NumRecords(); exact && n != m.idx.LiveRows()+m.past.Len() {
		return fmt.Sprintf("the table has %d rows, the index %d", n, m.idx.LiveRows()+m.past.Len()), nil
	}
	if why := m.compareEntries(rows); why != "" {
		return why, nil
	}
	var files []uint32
	total := int64(0)
	m.idx.Ordinals(func(o uint32, f *index.File) {
		files = append(files, o)
		total += f.Rows
	})
	if int64(rows) < total && len(files) > 0 {
		// One file, with a chance that follows its rows.
		at := rand.Int64N(total)
		for _, o := range files {
			if at -= m.idx.File(o).Rows; at < 0 {
				files = []uint32{o}
				break
			}
		}
	}
	for _, o := range files {
		if why, err := m.compareFile(ctx, o, rows); err != nil || why != "" {
			return why, err
		}
	}
	return "", nil
}

// compareEntries checks that entries point to rows that live.
func (m *Merger) compareEntries(n int) (why string) {
	m.idx.Sample(n, func(e index.Entry) bool {
		if e.Gone() {
			return true
		}
		f := m.idx.Known(e.File)
		switch {
		case f == nil:
			why = fmt.Sprintf("key %016x points to a file that the index does not know", e.Hash.Lo)
		case e.Position() >= f.Rows || has(f.Deleted, e.Position()):
			why = fmt.Sprintf("key %016x points to row %d of %s, which is deleted or not there", e.Hash.Lo, e.Position(), f.Path)
		}
		return why == ""
	})
	return why
}

// compareFile looks rows of a file up.
func (m *Merger) compareFile(ctx context.Context, o uint32, n int) (string, error) {
	f := m.idx.File(o)
	a, ok := m.snap.File(f.Path)
	if !ok {
		return "the index knows " + f.Path + ", which the table does not have", nil
	}
	del, err := m.deleted(ctx, a)
	if err != nil {
		return "", err
	}
	if !sameBitmap(del, f.Deleted) {
		return "the index has other deleted rows of " + f.Path + " than the table", nil
	}
	pick := pickRows(f.Rows, n)
	r := m.keyReader(m.snap.Schema())
	rec, err := m.readRows(ctx, f.Path, f.Size, r.cols, r.sch, pick)
	if err != nil {
		return "", err
	}
	defer rec.Release()
	for i, row := range pick {
		k, err := r.key(columnar.Batch{Record: rec}, i)
		if err != nil {
			return "", err
		}
		found, marked := false, false
		see := func(e index.Entry) bool {
			if e.File == o && e.Position() == row {
				found, marked = true, e.Marks(k.st)
			}
			return !found
		}
		if m.keyed() {
			m.idx.Each(k.h, see)
		} else { // many may be equal
			at := index.At(k.h, k.st, 0, 0, false)
			m.idx.From(at, func(e index.Entry) bool { return e.SameMark(at) && see(e) })
		}
		if k.ended && !found {
			found = m.past.Knows(k.h, index.SpotAt(k.st, o, row))
			marked = found
		}
		switch live := !has(del, row); {
		case live && !found:
			return fmt.Sprintf("row %d of %s is not in the index", row, f.Path), nil
		case !live && found:
			return fmt.Sprintf("row %d of %s is deleted, and the index points to it", row, f.Path), nil
		case live && !marked:
			return fmt.Sprintf("row %d of %s has another sequence than the index says", row, f.Path), nil
		}
	}
	return "", nil
}

// pickRows gives n different rows out of all, ascending.
func pickRows(all int64, n int) []int64 {
	out := make([]int64, 0, min(all, int64(n)))
	if int64(n) >= all {
		for row := range all {
			out = append(out, row)
		}
		return out
	}
	for range n {
		out = append(out, rand.Int64N(all))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scrubbed makes sure that an index which was built because the one before was wrong is right.
func (m *Merger) scrubbed(ctx context.Context) error {
	if m.stats.Mismatches == 0 || m.verified == m.stats.Mismatches || m.snap == nil {
		return nil
	}
	if err := m.Scrub(ctx, scrubFresh); err != nil {
		return err
	}
	m.verified = m.stats.Mismatches
	return nil
}

// healBatch bounds how many keys one merge heals.
const healBatch = 10_000

// heal takes keys along that the table has more than once: the newest row stays. w.healed counts them.
func (w *work) heal() {
	slices.SortFunc(w.m.twice, fold.ByHash)
	w.m.twice = slices.Compact(w.m.twice)
	for _, h := range w.m.twice[:min(len(w.m.twice), healBatch)] {
		if w.m.history() {
			w.hist[w.histOf(h)].own = true
		} else {
			w.complexOf(h)
		}
		w.healed++
	}
}

// sawTwice notes a key that the table has more than once.
func (m *Merger) sawTwice(h fold.Hash) { m.twice = append(m.twice, h) }
