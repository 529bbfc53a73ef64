package silver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// maxAttempts bounds how often one Merge begins anew because others changed the table.
const maxAttempts = 20

// Merge merges batches in one commit. Batches of one feed must be in ascending order of version and go on where Progress ends;
// those that were merged before are passed over. An error other than ErrFenced leaves the table as it was, or as Merge would
// have made it: call Merge again with the same batches.
func (m *Merger) Merge(ctx context.Context, batches []Batch) (Result, error) {
	lettersDone := false
	if m.broken != nil {
		return Result{}, fmt.Errorf("merge into %s: %w", m.opt.Path, m.broken)
	}
	m.cutRead = nil
	var before Phases // of attempts that were not the last, and around them
	for attempt := 1; ; attempt++ {
		if !m.ready {
			m.cutRead = nil // others were at the table, perhaps
			start := m.now()
			err := m.load(ctx)
			if err == nil {
				err = m.scrubbed(ctx)
			}
			if err != nil {
				return Result{}, fmt.Errorf("merge into %s: %w", m.opt.Path, err)
			}
			before.Load += m.now().Sub(start)
		}
		if err := m.mapColumns(ctx); err != nil {
			return Result{}, m.failed(fmt.Errorf("merge into %s: %w", m.opt.Path, err))
		}
		if !m.ready {
			continue
		}
		w := m.begin()
		start := m.now()
		for i := range batches {
			b := &batches[i]
			if b.Version <= m.Progress(b.Feed) {
				continue
			}
			w.feeds[b.Feed] = max(b.Version, w.feeds[b.Feed])
			w.gather(b)
		}
		if len(m.cols.Widened) > 0 && m.table != nil {
			// A column grows: first the files that are there, then the rows that need it.
			w.finish()
			if err := m.widen(ctx); err != nil {
				return w.res, m.failed(fmt.Errorf("merge into %s: %w", m.opt.Path, err))
			}
			before.Rewrite += m.now().Sub(start)
			continue
		}
		w.res.Took.Gather = m.now().Sub(start)
		w.res.DeadLetters = len(w.letters)
		if len(w.letters) > 0 && !lettersDone {
			if m.opt.DeadLetters == nil {
				return w.res, m.failed(fmt.Errorf("merge into %s: %d events cannot be applied and there is nowhere to keep them; the first: %s",
					m.opt.Path, len(w.letters), w.letters[0].Reason))
			}
			start := m.now()
			if err := m.opt.DeadLetters(ctx, w.letters); err != nil { // D6: before the commit that passes them
				return w.res, m.failed(fmt.Errorf("keep the dead letters of %s: %w", m.opt.Path, err))
			}
			before.Letters, lettersDone = m.now().Sub(start), true
		}
		res, void, err := w.run(ctx)
		w.finish()
		res.Attempts = attempt
		if err != nil {
			return res, m.failed(fmt.Errorf("merge into %s: %w", m.opt.Path, err))
		}
		if !void {
			res.Took.add(before)
			m.stats.DeadLetters += int64(res.DeadLetters)
			if res.Committed && !m.opt.Upkeep.Manual {
				start := m.now()
				if _, err := m.Maintain(ctx); err != nil && ctx.Err() == nil {
					m.log.Warn("upkeep failed; it is tried again later", "error", err)
				}
				res.Took.Upkeep = m.now().Sub(start)
			}
			return res, nil
		}
		if w.partial {
			before.add(res.Took)
			attempt--
			continue
		}
		before.Again += res.Took.Total()
		if attempt == maxAttempts {
			return res, m.failed(fmt.Errorf("merge into %s: others changed the table %d times in a row", m.opt.Path, attempt))
		}
	}
}

// failed makes the next Merge load table, state and index anew: what this one changed in memory is not to be trusted.
func (m *Merger) failed(err error) error {
	m.ready = false
	return err
}

func (m *Merger) begin() *work {
	w := &work{m: m, state: m.state.Clone(), feeds: map[string]int64{}, parts: map[fold.PartKey]*partition{},
		gone: map[uint32]*bitmap{}, nowMs: m.now().UnixMilli()}
	w.events, w.groups, w.winners, w.dels = m.scratch.events[:0], m.scratch.groups[:0], m.scratch.winners[:0], m.scratch.dels[:0]
	w.slots = m.scratch.slots
	return w
}

// scratch is memory that one merge leaves to the next. Nothing in it outlives a merge.
type scratch struct {
	events  []event
	groups  []group
	slots   []int32
	winners []winner
	dels    []deletion
}

// scratchEvents is up to how many events memory is kept for.
const scratchEvents = 1 << 18

// finish gives the memory of a merge to the next one, without what it points to.
func (w *work) finish() {
	if cap(w.events) > scratchEvents {
		w.m.scratch = scratch{}
		return
	}
	clear(w.events)
	clear(w.winners)
	clear(w.dels)
	w.m.scratch = scratch{w.events, w.groups, w.slots, w.winners, w.dels}
}

// run decides, writes and commits what was gathered. again: others changed the table, the work is void.
func (w *work) run(ctx context.Context) (Result, bool, error) {
	m := w.m
	start := m.now()
	w.collect()
	if err := w.findCut(ctx); err != nil {
		return w.res, false, err
	}
	if w.partial {
		w.cutAlone()
	} else if m.keyed() {
		if err := w.sweepGhosts(ctx); err != nil {
			return w.res, false, err
		}
	}
	if m.keyed() && m.history() {
		w.heal()
		if err := w.foldHistory(ctx); err != nil {
			return w.res, false, err
		}
	} else if m.keyed() {
		if err := w.decideGroups(ctx); err != nil {
			return w.res, false, err
		}
		w.heal()
		if err := w.foldComplex(ctx); err != nil {
			return w.res, false, err
		}
	} else if err := w.foldSets(ctx); err != nil {
		return w.res, false, err
	}
	if err := cmp.Or(m.idx.Err(), m.past.Err()); err != nil { // D8
		m.loaded = false
		return w.res, false, err
	}
	w.stateNew = w.stateNew || w.reached && w.state.Lineages.Many()
	w.res.Took.Fold = m.now().Sub(start)
	w.res.Upserted = len(w.winners)
	if len(w.feeds) == 0 && !w.partial {
		return w.res, false, nil
	}
	for _, d := range w.dels {
		w.newTombs = append(w.newTombs, state.Tomb{Hash: d.h, Seq: d.g.Stamp.Seq(), Add: addSeq(d.g), AtMs: d.g.AtMs})
	}
	w.rememberDeletes()
	if m.table == nil && len(w.winners) == 0 && len(m.opt.Config.SilverPartitionBy) > 0 {
		w.settleDeletes()
		return w.res, false, nil
	}
	if len(w.winners) == 0 && len(w.gone) == 0 && len(w.newTombs) == 0 && len(w.truncs) == 0 && len(m.cols.Widened) == 0 && m.sameSchema() {
		if overtaken, err := w.overtaken(ctx); err != nil || overtaken {
			return w.res, overtaken, err
		}
		// Nothing to write: the progress may follow later, with a commit that has rows. What was remembered meanwhile goes with
		// it; a crash before repeats these batches.
		w.settleMemory()
		if m.table == nil {
			return w.res, false, nil
		}
		if m.lazy++; m.lazy < lazyMerges {
			return w.res, false, nil
		}
		return m.flushResult(ctx, w.res)
	}
	return w.commit(ctx)
}

// overtaken tells that the table has moved on while this merge would drop events as stale, without a commit that finds it out: somebody may have
// raised the epoch (RaiseEpoch), so that they are not.
func (w *work) overtaken(ctx context.Context) (bool, error) {
	m := w.m
	if w.res.Stale == 0 || m.table == nil {
		return false, nil
	}
	snap, err := m.table.Snapshot(ctx)
	if err != nil {
		return false, err
	}
	if snap.Version == m.snap.Version {
		return false, nil
	}
	m.ready = false
	return true, nil
}

func addSeq(g index.Grave) fold.Seq {
	if g.Add == (fold.Stamp{}) {
		return ""
	}
	return g.Add.Seq()
}

func (m *Merger) sameSchema() bool {
	return m.snap != nil && m.snap.Schema().Equal(m.cols.Schema)
}

// rememberDeletes puts the deletes that may be followed by a tombstone record into the state.
func (w *work) rememberDeletes() {
	for _, p := range w.parts {
		old := w.state.Deletes[:0:0]
		for _, d := range w.state.Deletes {
			if d.Topic == p.key.Topic && d.Partition == p.key.Partition {
				old = append(old, d)
			}
		}
		if slices.Equal(old, p.ring) {
			continue
		}
		w.state.Deletes = slices.DeleteFunc(w.state.Deletes, func(d state.Delete) bool {
			return d.Topic == p.key.Topic && d.Partition == p.key.Partition
		})
		w.state.Deletes = append(w.state.Deletes, p.ring...)
		w.stateNew = true
	}
	slices.SortFunc(w.state.Deletes, func(a, b state.Delete) int {
		switch {
		case a.Topic != b.Topic:
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		case a.Partition != b.Partition:
			return int(a.Partition) - int(b.Partition)
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
}

// settleMemory takes over state and progress of a merge that wrote nothing.
func (w *work) settleMemory() {
	m := w.m
	m.state = w.state
	m.pending = m.pending || w.stateNew
	maps.Copy(m.merged, w.feeds)
	m.observe(w)
	m.remembered()
	m.stats.Merges++
}

// settleDeletes remembers, in memory, deletes that come before the first row of a table that is to be partitioned: only a row tells the
// columns. The progress stays in memory too, so that a crash repeats them.
func (w *work) settleDeletes() {
	w.state.Tombs = append(w.state.Tombs, w.newTombs...)
	for i := range w.dels {
		w.m.bury(&w.dels[i])
	}
	w.settleMemory()
	w.m.pending = true
}
