package silver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver/index"
)

// stateSafe is how old an object of the state must be before it is deleted: older than any merge under way.
const stateSafe = 6 * time.Hour

// patience is how many times as many small files, and how many times as few live rows in a file, make a compaction of a table that
// is behind.
const patience = 8

// upkeepState remembers when what was done.
type upkeepState struct {
	checkpoint int64 // version of the last checkpoint, or of the first look
	cleaned    int64 // merges at the last clean-up
	expired    int64 // expiry bound of the last pass
	looked     bool
	rested     int64 // the version after the one at which there was nothing to do
	scrubbed   time.Time
}

// Idle is for times without work: it writes the progress that waited for a commit with rows, and does a step of the upkeep that the last changes left to do.
// A table at rest costs nothing.
func (m *Merger) Idle(ctx context.Context) error {
	if err := m.Flush(ctx); err != nil || m.opt.Upkeep.Manual || !m.ready || m.table == nil || m.upkeep.rested == m.snap.Version+1 {
		return err
	}
	did, err := m.Maintain(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		m.log.Warn("upkeep failed; it is tried again later", "error", err)
	case err == nil && !did && m.ready:
		m.upkeep.rested = m.snap.Version + 1
	}
	return nil
}

// Maintain does at most one bounded piece of work for the table: a compaction step, a checkpoint, or forgetting what is
// too old. It tells whether it did something. Call it between merges; it cannot conflict with them.
func (m *Merger) Maintain(ctx context.Context) (bool, error) {
	if !m.ready || m.table == nil {
		return false, nil
	}
	u := &m.upkeep
	if !u.looked {
		u.looked, u.checkpoint = true, m.snap.Version-m.snap.Version%m.opt.Upkeep.Checkpoint
	}
	// First, since a table with much to compact would be read from ever more commits by its next owner.
	if m.snap.Version-u.checkpoint >= m.opt.Upkeep.Checkpoint {
		u.checkpoint = m.snap.Version
		if _, err := m.table.Checkpoint(ctx, m.snap, delta.CheckpointOptions{Vectors: true}); err != nil {
			return true, fmt.Errorf("checkpoint %s: %w", m.opt.Path, err)
		}
		if s := m.table.Cached(); s != nil && s.Version == m.snap.Version {
			m.snap = s // without the tombstones that the checkpoint left out
		}
		return true, nil
	}
	if did, err := m.compact(ctx); err != nil {
		return true, fmt.Errorf("compact %s: %w", m.opt.Path, err)
	} else if did {
		return true, nil
	}
	if keep := m.opt.Config.SilverTombstoneRetention.Milliseconds(); m.expiry() > u.expired+keep/16 {
		u.expired = m.expiry()
		if n := m.expire(); n > 0 {
			m.log.Info("forgot deletes that no late event can reach", "keys", n)
			return true, nil
		}
	}
	if now := m.now(); u.scrubbed.IsZero() {
		u.scrubbed = now
	} else if now.Sub(u.scrubbed) >= scrubEvery {
		u.scrubbed = now
		// A difference is told by the next Merge, or mended by it: here it is no failure of upkeep.
		if err := m.Scrub(ctx, scrubRows); err != nil && !errors.Is(err, ErrIndex) {
			return true, fmt.Errorf("compare the key index of %s with the table: %w", m.opt.Path, err)
		}
		return true, nil
	}
	if m.stats.Merges-u.cleaned >= 512 && m.stateM >= 0 {
		u.cleaned = m.stats.Merges
		if err := m.store.Clean(ctx, m.stateM, m.state, m.now().Add(-stateSafe)); err != nil {
			return true, fmt.Errorf("clean up the merge states of %s: %w", m.opt.Path, err)
		}
		return true, nil
	}
	return false, nil
}

// compact does a step of the compaction under way, or begins one where one is due.
func (m *Merger) compact(ctx context.Context) (bool, error) {
	if w := m.job; w != nil && (w.idx != m.idx || w.to.String() != m.snap.Schema().String()) {
		m.dropJob() // the index was built anew, or a column came, or went and came again
	}
	if m.job == nil {
		o := m.compactable()
		if len(o) == 0 {
			return false, nil
		}
		m.stats.Compactions++
		if m.copyOnWrite() { // a merge may replace any file: nothing that takes longer would come to its end
			return true, m.rearrange(ctx, "compact", o, m.snap.Schema(), nil)
		}
		// It outlives this call.
		jctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		m.job = m.rearranger(jctx, "compact", o, m.snap.Schema(), nil)
		m.job.idx, m.job.cancel = m.idx, cancel
	}
	w := m.job
	defer context.AfterFunc(ctx, w.cancel)()
	done, err := w.step(ctx, m.opt.Upkeep.PieceBytes, m.opt.Upkeep.PieceTime)
	if err != nil || !done {
		if err != nil {
			m.dropJob()
		}
		return true, err
	}
	m.job = nil
	defer w.cancel()
	return true, m.rearranged(ctx, "compact", w)
}

// dropJob gives up the compaction under way.
func (m *Merger) dropJob() {
	if m.job != nil {
		m.job.abort()
		m.job.cancel()
		m.job = nil
	}
}

// compactable chooses the files of one compaction: the smallest ones when there are many small ones, else the one with the most deleted rows, when it has
// many or the table has.
//
// The bounds are from what DuckDB needed to read ten million rows (docs/figures.md): a dead row costs as much as a live one, 25 files no more than five.
func (m *Merger) compactable() []uint32 {
	u := m.opt.Upkeep
	if u.SmallFiles < 0 {
		return nil
	}
	fewest, dead := u.SmallFiles, u.DeadShare
	if m.opt.Behind != nil && m.opt.Behind() {
		fewest, dead = patience*fewest, 1-(1-dead)/patience
	}
	var small []uint32
	worst, share := uint32(0), 0.0
	rows, live := int64(0), int64(0)
	m.idx.Ordinals(func(o uint32, f *index.File) {
		n := f.Live()
		rows, live = rows+f.Rows, live+n
		if f.Size < u.TargetBytes/8 && n < u.TargetRows/8 {
			small = append(small, o)
		}
		if gone := float64(f.Rows-n) / float64(max(1, f.Rows)); gone > share && f.Rows > 1024 && f.Size <= 2*u.TargetBytes && f.Rows <= 2*u.TargetRows {
			worst, share = o, gone
		}
	})
	if len(m.partitionNames()) > 0 {
		// A commit has a file for each partition that it touches.
		small, fewest = m.onePartition(small), max(2, fewest/4)
	}
	size := func(o uint32) int64 { return m.idx.File(o).Size }
	if len(small) >= fewest {
		// Files of about one size are joined, so that each row is rewritten a few times only.
		slices.SortFunc(small, func(a, b uint32) int {
			if d := size(a) - size(b); d != 0 {
				return int(max(-1, min(1, d)))
			}
			return int(a) - int(b)
		})
		var out []uint32
		total := int64(0)
		for _, o := range small {
			if len(out) >= min(fewest, u.SmallFiles)/2 && size(o) > 4*max(total/int64(len(out)), 64<<10) || total+size(o) > u.StepBytes {
				break
			}
			out = append(out, o)
			total += size(o)
		}
		if len(out) > 1 {
			return out
		}
	}
	if total := float64(rows-live) / float64(max(1, rows)); share >= dead || dead == u.DeadShare && share > 0 && total >= u.DeadShare/4 {
		return []uint32{worst}
	}
	return nil
}
