package delta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice.io/sluice/connectors/store"
)

// load reads a snapshot from nothing: the newest for target < 0, else that version.
//
// The plan: the hint says from where to list; of the listing the newest complete checkpoint that can be read is taken, then
// the commits after it. Whatever is wrong with hint or checkpoint is worked around as long as the commits allow it.
func (t *Table) load(ctx context.Context, target int64) (*Snapshot, error) {
	h, err := t.readHint(ctx)
	if err != nil {
		return nil, err
	}
	from := int64(0)
	if h != nil && (target < 0 || h.Version <= target) {
		from = h.Version
	}
	for {
		l, err := t.list(ctx, from)
		if err != nil {
			return nil, err
		}
		s, err := t.build(ctx, l, target)
		if err == nil || from == 0 || ctx.Err() != nil || errors.Is(err, ErrUnsupported) {
			if err == nil && h != nil && s.checkpoint < 0 && h.Version <= s.Version {
				t.log.Warn("the hint names a checkpoint that is not there", "table", t.URL(), "checkpoint", h.Version)
			}
			return s, err
		}
		t.log.Warn("reading the table from the checkpoint that the hint names failed, listing the whole log",
			"table", t.URL(), "checkpoint", from, "error", err)
		from = 0
	}
}

// build makes the snapshot of what a listing shows.
func (t *Table) build(ctx context.Context, l *logListing, target int64) (*Snapshot, error) {
	if l.last < 0 && len(l.checkpoints) == 0 {
		return nil, t.notATable(ctx, l)
	}
	newest := l.last
	if len(l.checkpoints) > 0 {
		newest = max(newest, l.checkpoints[0].version)
	}
	if target > newest {
		// The listing may lag: ask for the commit itself.
		if _, err := t.bucket.Stat(ctx, t.key(logDir+versionName(target)+".json")); err != nil {
			return nil, fmt.Errorf("version %d of %s: %w: the newest is %d", target, t.URL(), ErrVersionNotFound, newest)
		}
	}
	var firstErr error
	for _, c := range l.checkpoints {
		if target >= 0 && c.version > target {
			continue
		}
		r := newReplay(t, nil)
		err := t.readCheckpoint(ctx, r, c)
		if err == nil {
			r.s.Version, r.s.checkpoint = c.version, c.version
			r.s.Timestamp = c.files[0].info.ModTime
			var s *Snapshot
			if s, err = t.replayCommits(ctx, l, r, target); err == nil {
				return s, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, ErrUnsupported) || errors.Is(err, store.ErrPermission) {
			return nil, err
		}
		if firstErr == nil {
			firstErr = err
		}
		t.log.Warn("a checkpoint can't be used, trying an older one", "table", t.URL(), "version", c.version, "error", err)
	}
	if l.from > 0 {
		if firstErr == nil {
			firstErr = fmt.Errorf("no complete checkpoint of version %d or newer", l.from)
		}
		return nil, firstErr
	}
	if l.first > 0 || l.first < 0 {
		if firstErr != nil {
			return nil, firstErr
		}
		if target >= 0 {
			return nil, fmt.Errorf("version %d of %s: %w: the log no longer reaches back to it", target, t.URL(), ErrVersionNotFound)
		}
		what := "there is no checkpoint"
		if len(l.incomplete) > 0 {
			c := l.incomplete[0]
			what = fmt.Sprintf("of the %d parts of checkpoint %d there are %d", c.files[0].parts, c.version, len(c.files))
		}
		return nil, fmt.Errorf("open delta table %s: %w: its oldest commit is %d and %s", t.URL(), ErrGap, l.first, what)
	}
	s, err := t.replayCommits(ctx, l, newReplay(t, nil), target)
	if err != nil && firstErr != nil {
		return nil, fmt.Errorf("%w (and without the checkpoint: %w)", firstErr, err)
	}
	return s, err
}

// notATable says why there is no table.
func (t *Table) notATable(ctx context.Context, l *logListing) error {
	if l.from > 0 {
		return fmt.Errorf("no log from version %d on", l.from)
	}
	if t.path != "" {
		if _, err := t.bucket.Stat(ctx, t.path); err == nil {
			return fmt.Errorf("%s: %w: it is a file, not a folder", t.URL(), ErrNotTable)
		}
	}
	if l.others > 0 {
		return fmt.Errorf("%s: %w: its _delta_log has no commit and no complete checkpoint", t.URL(), ErrNotTable)
	}
	for _, err := range t.bucket.List(ctx, t.key(""), "") {
		if err != nil {
			return fmt.Errorf("open delta table %s: %w", t.URL(), err)
		}
		return fmt.Errorf("%s: %w: the folder has no _delta_log", t.URL(), ErrNotTable)
	}
	return fmt.Errorf("%s: %w: there is nothing there", t.URL(), ErrNotTable)
}

// segment is a piece of the log to be read: one commit, or a compaction of several.
type segment struct {
	first, last int64
	compacted   bool
	at          time.Time
	name        string
}

// minCompacted is how many commits a compaction must replace before it is read in their place.
const minCompacted = 4

// plan lays out the commits after version base.
func (l *logListing) plan(base, target int64) []segment {
	last := l.last
	if target >= 0 {
		last = target
	}
	var out []segment
	for v := base + 1; v <= last; {
		seg := segment{first: v, last: v, name: versionName(v) + ".json"}
		if info, ok := l.commits[v]; ok {
			seg.at = info.ModTime
		}
		for _, c := range l.compacted {
			if c.version == v && c.last <= last && c.last >= v+minCompacted-1 && c.last > seg.last {
				seg = segment{first: v, last: c.last, compacted: true,
					name: versionName(v) + "." + versionName(c.last) + ".compacted.json"}
				if info, ok := l.commits[c.last]; ok {
					seg.at = info.ModTime
				}
			}
		}
		out = append(out, seg)
		v = seg.last + 1
	}
	return out
}

// replayCommits reads the commits after what r holds, up to target, or to the newest that there is.
func (t *Table) replayCommits(ctx context.Context, l *logListing, r *replay, target int64) (*Snapshot, error) {
	segs := l.plan(r.s.Version, target)
	for seg, res := range t.readSegments(ctx, segs) {
		if res.err != nil {
			return nil, t.segmentError(l, seg, res.err)
		}
		if seg.compacted {
			r.apply(res.actions[0])
			r.s.Version, r.s.Timestamp = seg.last, seg.at
			if len(res.actions) > 1 { // the last commit itself, for its commitInfo
				r.commit(seg.last, &Actions{CommitInfo: res.actions[1].CommitInfo}, seg.at)
			}
			continue
		}
		for i, a := range res.actions { // several where a compaction was not to be trusted
			r.commit(seg.first+int64(i), a, seg.at)
			if seg.last > l.last-keepRecent {
				t.remember(seg.first+int64(i), a)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read delta table %s: %w", t.URL(), err)
	}
	if r.s.Version < 0 {
		return nil, fmt.Errorf("open delta table %s: %w: commit 0 is missing", t.URL(), ErrGap)
	}
	if r.s.Version == r.s.checkpoint {
		if err := t.timeOfCheckpoint(ctx, l, r); err != nil {
			return nil, err
		}
	}
	s, err := r.done(nil)
	if err != nil || target >= 0 {
		return s, err
	}
	// The listing may be older than the newest commit, where stores list with a lag.
	return t.forward(ctx, s)
}

// timeOfCheckpoint gives a snapshot that is a checkpoint, without a commit after it, the time of its own commit: the next in-commit timestamp must be
// a later one.
func (t *Table) timeOfCheckpoint(ctx context.Context, l *logListing, r *replay) error {
	s := r.s
	if info, ok := l.commits[s.Version]; ok {
		s.Timestamp = info.ModTime
	}
	if !s.PropertyIs(PropEnableICT) {
		return nil
	}
	var p parser
	a, err := t.readCommit(ctx, &p, s.Version)
	if err == nil {
		r.commit(s.Version, &Actions{CommitInfo: a.CommitInfo}, s.Timestamp)
		return nil
	}
	var damaged *CorruptError
	if !errors.Is(err, store.ErrNotFound) && !errors.As(err, &damaged) {
		return err
	}
	// A commit that is gone or damaged does not keep the checkpoint from being read.
	if sum, err := t.ReadChecksum(ctx, s.Version); err == nil && sum.InCommitTimestamp != nil {
		s.ict, s.Timestamp = *sum.InCommitTimestamp, timeOfMs(*sum.InCommitTimestamp)
	}
	return nil
}

func (t *Table) segmentError(l *logListing, seg *segment, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		if seg.first < l.last {
			return fmt.Errorf("read delta table %s: %w: commit %d is missing, and there are commits up to %d", t.URL(), ErrGap,
				seg.first, l.last)
		}
		return fmt.Errorf("version %d of %s: %w", seg.first, t.URL(), ErrVersionNotFound)
	}
	return err
}

// catchUp reads many commits after s. ErrGap and ErrVersionNotFound: some of them are not there, so that s leads nowhere.
func (t *Table) catchUp(ctx context.Context, s *Snapshot) (*Snapshot, error) {
	l, err := t.list(ctx, s.Version)
	if err != nil {
		return nil, err
	}
	r := newReplay(t, s)
	for seg, res := range t.readSegments(ctx, l.plan(s.Version, -1)) {
		if res.err != nil {
			return nil, t.segmentError(l, seg, res.err)
		}
		if seg.compacted {
			r.apply(res.actions[0])
			r.commit(seg.last, &Actions{CommitInfo: res.actions[len(res.actions)-1].CommitInfo}, seg.at)
			continue
		}
		for i, a := range res.actions {
			r.commit(seg.first+int64(i), a, seg.at)
			t.remember(seg.first+int64(i), a)
		}
	}
	return r.done(s)
}
