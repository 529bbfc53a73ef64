package delta

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// CleanupPlan says which files of the log are no longer needed.
type CleanupPlan struct {
	// Keep is the version of the checkpoint that the log will begin with.
	Keep int64
	// Delete are keys, oldest version first: commits, then what belongs to them.
	Delete []string
}

// PlanCleanup finds what the log can do without at now (delta.md §5): everything before the newest checkpoint that is
// older than delta.logRetentionDuration, cut at midnight UTC. That checkpoint and its commit stay, as does all after it. The
// checkpoint is read back first: nothing is planned on one that can't be read. Nothing to do: an empty plan.
func (t *Table) PlanCleanup(ctx context.Context, s *Snapshot, now time.Time) (CleanupPlan, error) {
	plan := CleanupPlan{Keep: -1}
	if v, ok := s.Property(PropEnableLogCleanup); ok && strings.EqualFold(v, "false") {
		return plan, nil
	}
	fail := func(err error) (CleanupPlan, error) {
		return CleanupPlan{Keep: -1}, fmt.Errorf("plan the clean-up of the log of %s: %w", t.URL(), err)
	}
	protected, err := s.protectedBefore()
	if err != nil {
		return fail(err)
	}
	cutoff := now.Add(-s.retention(PropLogRetention, defaultLogRetention)).UTC().Truncate(24 * time.Hour)
	l, err := t.list(ctx, 0)
	if err != nil {
		return fail(err)
	}
	for _, c := range l.checkpoints {
		info, ok := l.commits[c.version]
		if c.version > s.Version || !ok || !info.ModTime.Before(cutoff) {
			continue
		}
		r := newReplay(t, nil)
		if err := t.readCheckpoint(ctx, r, c); err != nil {
			if ctx.Err() != nil {
				return fail(err)
			}
			t.log.Warn("a checkpoint can't be read, the log before it is kept", "table", t.URL(), "version", c.version, "error", err)
			continue
		}
		plan.Keep = c.version
		break
	}
	if plan.Keep <= 0 || plan.Keep < protected {
		return CleanupPlan{Keep: -1}, nil
	}
	keep, err := t.liveSidecars(ctx, l, plan.Keep)
	if err != nil {
		return fail(err)
	}
	prefix := t.key(logDir)
	for info, err := range t.bucket.List(ctx, prefix, "") {
		if err != nil {
			return fail(err)
		}
		name := strings.TrimPrefix(info.Key, prefix)
		if side, ok := strings.CutPrefix(name, "_sidecars/"); ok {
			// Sidecars of a checkpoint that is being written are not referred to yet: a day of grace.
			if !keep[side] && now.Sub(info.ModTime) > 24*time.Hour && info.ModTime.Before(cutoff) {
				plan.Delete = append(plan.Delete, info.Key)
			}
			continue
		}
		f, ok := parseLogName(name)
		if !ok {
			continue
		}
		switch {
		case f.kind == compactedFile:
			// A compaction that begins at or before the checkpoint is of no use to anyone.
			ok = f.version <= plan.Keep && info.ModTime.Before(cutoff)
		default:
			ok = f.version < plan.Keep
		}
		if ok {
			plan.Delete = append(plan.Delete, info.Key)
		}
	}
	return plan, nil
}

// protectedBefore is the version before which commits may only be deleted all at once, with the checkpoints that protect them: they have a
// protocol that readers of the newest version need not know (PROTOCOL.md, "Checkpoint Protection"). 0 where there is none.
func (s *Snapshot) protectedBefore() (int64, error) {
	v, ok := s.Property(PropProtectedBefore)
	if !ok || !s.Protocol.Has(FeatureCheckpointProtection) {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("property %s is %q, no version", PropProtectedBefore, v)
	}
	return n, nil
}

// liveSidecars collects the sidecars of the checkpoints that stay.
func (t *Table) liveSidecars(ctx context.Context, l *logListing, from int64) (map[string]bool, error) {
	keep := map[string]bool{}
	for _, c := range l.checkpoints {
		if c.version < from {
			continue
		}
		for _, f := range c.files {
			var side []*Sidecar
			collect := func(a *Actions) error { side = append(side, a.Sidecars...); return nil }
			if strings.HasSuffix(f.info.Key, ".json") {
				data, err := t.bucket.Get(ctx, f.info.Key)
				if err != nil {
					return nil, err
				}
				var p parser
				a, err := p.commit(data)
				if err != nil {
					return nil, err
				}
				_ = collect(a)
			} else if err := t.readParquetActions(ctx, f.info, collect); err != nil {
				return nil, err
			}
			for _, s := range side {
				keep[s.Path[strings.LastIndexByte(s.Path, '/')+1:]] = true
			}
		}
	}
	return keep, nil
}

// Cleanup deletes what a plan names, oldest first, so that a clean-up that is cut short leaves a log without gaps.
func (t *Table) Cleanup(ctx context.Context, plan CleanupPlan) (deleted int, err error) {
	for _, key := range plan.Delete {
		if err := t.bucket.Delete(ctx, key); err != nil {
			return deleted, fmt.Errorf("clean up the log of %s: %w", t.URL(), err)
		}
		deleted++
	}
	return deleted, nil
}

// UpkeepOptions choose what Upkeep does.
type UpkeepOptions struct {
	Checksum    bool // write <v>.crc
	TxnID       string
	Checkpoint  CheckpointOptions
	KeepAllLogs bool // never clean up
}

// Upkeep does what follows a commit and need not be waited for: the checksum, the checkpoint when one is due, and after a
// checkpoint the clean-up of the log. It tells whether a checkpoint was written.
func (t *Table) Upkeep(ctx context.Context, s *Snapshot, o UpkeepOptions) (checkpointed bool, err error) {
	var errs error
	if o.Checksum {
		errs = t.WriteChecksum(ctx, s, o.TxnID)
	}
	if !s.CheckpointDue() {
		return false, errs
	}
	if _, err := t.Checkpoint(ctx, s, o.Checkpoint); err != nil {
		return false, errors.Join(errs, err)
	}
	if o.KeepAllLogs {
		return true, errs
	}
	plan, err := t.PlanCleanup(ctx, s, t.now())
	if err == nil {
		_, err = t.Cleanup(ctx, plan)
	}
	return true, errors.Join(errs, err)
}
