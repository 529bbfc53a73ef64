package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"
	"strconv"
	"time"

	"sluice.io/sluice/connectors/store"
)

// Commits iterates over the commits from version from to version to (to < 0: to the newest), oldest first, reading ahead.
// The first version that is missing ends it with an error that wraps ErrVersionNotFound.
func (t *Table) Commits(ctx context.Context, from, to int64) iter.Seq2[CommitEntry, error] {
	return func(yield func(CommitEntry, error) bool) {
		if from >= 0 && to >= from && to-from < keepRecent {
			t.few(ctx, from, to, yield)
			return
		}
		l, err := t.list(ctx, max(from, 0))
		if err != nil {
			yield(CommitEntry{}, err)
			return
		}
		last := to
		if last < 0 {
			if last = l.last; last < from {
				return
			}
		}
		l.compacted = nil // commits one by one
		for seg, res := range t.readSegments(ctx, l.plan(max(from, 0)-1, last)) {
			if res.err != nil {
				if errors.Is(res.err, store.ErrNotFound) {
					res.err = fmt.Errorf("version %d of %s: %w", seg.first, t.URL(), ErrVersionNotFound)
				}
				yield(CommitEntry{}, res.err)
				return
			}
			a := res.actions[0]
			e := CommitEntry{Version: seg.first, Timestamp: seg.at, Actions: a}
			if ci := a.CommitInfo; ci != nil {
				switch {
				case ci.InCommitTimestamp != nil:
					e.Timestamp = timeOfMs(*ci.InCommitTimestamp)
				case e.Timestamp.IsZero() && ci.Timestamp != 0:
					e.Timestamp = timeOfMs(ci.Timestamp)
				}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// few gives some commits without a listing, from memory where they are recent: it is how a follower reads a table that
// gets a commit a second.
func (t *Table) few(ctx context.Context, from, to int64, yield func(CommitEntry, error) bool) {
	var p parser
	for v := from; v <= to; v++ {
		a := t.remembered(v)
		if a == nil {
			var err error
			if a, err = t.readCommit(ctx, &p, v); err != nil {
				if errors.Is(err, store.ErrNotFound) {
					err = fmt.Errorf("version %d of %s: %w", v, t.URL(), ErrVersionNotFound)
				}
				yield(CommitEntry{}, err)
				return
			}
		}
		e := CommitEntry{Version: v, Actions: a}
		if ci := a.CommitInfo; ci != nil && ci.InCommitTimestamp != nil {
			e.Timestamp = timeOfMs(*ci.InCommitTimestamp)
		} else if ci != nil && ci.Timestamp != 0 {
			e.Timestamp = timeOfMs(ci.Timestamp)
		}
		if !yield(e, nil) {
			return
		}
	}
}

// HistoryEntry is what DESCRIBE HISTORY shows of a commit.
type HistoryEntry struct {
	Version int64
	// Timestamp is the one that time travel goes by (VersionAsOf): the in-commit timestamp, else the time of the commit's file.
	Timestamp time.Time
	Info      *CommitInfo // nil where the commit has none
	// Adds, Removes and CDC count file actions, Rows the rows of the added files where statistics tell, those left out that only got another
	// deletion vector.
	Adds, Removes, CDC int
	Rows               int64
	Txns               []*Txn
}

// History gives the newest limit commits that the log still has, newest first; limit <= 0: all.
func (t *Table) History(ctx context.Context, limit int) ([]HistoryEntry, error) {
	l, err := t.list(ctx, 0)
	if err != nil {
		return nil, err
	}
	if l.last < 0 {
		if len(l.checkpoints) > 0 {
			return nil, nil
		}
		return nil, t.notATable(ctx, l)
	}
	from := l.last
	for from > 0 && (limit <= 0 || l.last-from+1 < int64(limit)) {
		if _, ok := l.commits[from-1]; !ok {
			break
		}
		from--
	}
	since := int64(0) // the first version whose in-commit timestamp counts
	if s, err := t.Snapshot(ctx); err == nil {
		since = s.ictSince()
	}
	files := map[int64]time.Time{}
	for _, c := range monotone(l.times()) {
		files[c.version] = c.at
	}
	var out []HistoryEntry
	for e, err := range t.Commits(ctx, from, l.last) {
		if err != nil {
			return nil, err
		}
		if at := files[e.Version]; !at.IsZero() && (e.Version < since || e.CommitInfo == nil || e.CommitInfo.InCommitTimestamp == nil) {
			e.Timestamp = at
		}
		h := HistoryEntry{Version: e.Version, Timestamp: e.Timestamp, Info: e.CommitInfo, Adds: len(e.Adds), Removes: len(e.Removes),
			CDC: len(e.CDC), Txns: e.Txns}
		for _, a := range e.Adds {
			if n, ok := a.NumRecords(); ok && a.DeletionVector == nil {
				h.Rows += n
			}
		}
		out = append(out, h)
	}
	slices.Reverse(out)
	return out, nil
}

// ictSince gives the version from which on in-commit timestamps count: 0 where the table had them from the start, math.MaxInt64 where it has none.
func (s *Snapshot) ictSince() int64 {
	if !s.PropertyIs(PropEnableICT) {
		return math.MaxInt64
	}
	if v, err := strconv.ParseInt(s.Metadata.Configuration[PropICTEnablementVersion], 10, 64); err == nil {
		return v
	}
	return 0
}

// commitTime is the time of a version, for time travel.
type commitTime struct {
	version int64
	at      time.Time
}

// VersionAsOf gives the newest version that was there at a time. In-commit timestamps count where the table has them; before
// they were enabled, and without them, the modification times of the commits' files, made to rise (a file copied later than
// its successor counts as a millisecond after its predecessor). A time after the newest commit gives the newest version;
// one before the oldest that can be read: ErrVersionNotFound.
func (t *Table) VersionAsOf(ctx context.Context, at time.Time) (int64, error) {
	newest, err := t.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	l, err := t.list(ctx, 0)
	if err != nil {
		return 0, err
	}
	times := l.times()
	// Only what the log can show: from version 0, or from the oldest checkpoint.
	oldest := int64(0)
	if l.first != 0 && len(l.checkpoints) > 0 {
		oldest = l.checkpoints[len(l.checkpoints)-1].version
	}
	i := sort.Search(len(times), func(i int) bool { return times[i].version >= oldest })
	times = times[i:]
	if newest.PropertyIs(PropEnableICT) {
		return t.versionByICT(ctx, newest, times, at)
	}
	return t.pick(monotone(times), at)
}

// times gives the commits and the modification times of their files.
func (l *logListing) times() []commitTime {
	var out []commitTime
	for v, info := range l.commits {
		out = append(out, commitTime{v, info.ModTime})
	}
	slices.SortFunc(out, func(a, b commitTime) int { return cmp.Compare(a.version, b.version) })
	return out
}

func monotone(times []commitTime) []commitTime {
	for i := 1; i < len(times); i++ {
		if !times[i].at.After(times[i-1].at) {
			times[i].at = times[i-1].at.Add(time.Millisecond)
		}
	}
	return times
}

func (t *Table) pick(times []commitTime, at time.Time) (int64, error) {
	i := sort.Search(len(times), func(i int) bool { return times[i].at.After(at) })
	if i == 0 {
		first := "there is no commit"
		if len(times) > 0 {
			first = fmt.Sprintf("the oldest version that can be read is %d of %s", times[0].version, times[0].at.UTC().Format(time.RFC3339Nano))
		}
		return 0, fmt.Errorf("%s at %s: %w: %s", t.URL(), at.UTC().Format(time.RFC3339Nano), ErrVersionNotFound, first)
	}
	return times[i-1].version, nil
}

// versionByICT searches the commits that have in-commit timestamps, which rise; the others go by file time.
func (t *Table) versionByICT(ctx context.Context, s *Snapshot, times []commitTime, at time.Time) (int64, error) {
	from := s.ictSince()
	if from > 0 {
		ms, err := strconv.ParseInt(s.Metadata.Configuration[PropICTEnablementTime], 10, 64)
		if err == nil && at.UnixMilli() < ms {
			n := sort.Search(len(times), func(i int) bool { return times[i].version >= from })
			return t.pick(monotone(times[:n]), at)
		}
	}
	i := sort.Search(len(times), func(i int) bool { return times[i].version >= from })
	times = times[i:]
	var p parser
	var failed error
	n := sort.Search(len(times), func(i int) bool {
		if failed != nil {
			return true
		}
		a, err := t.readCommit(ctx, &p, times[i].version)
		if err != nil {
			failed = err
			return true
		}
		if a.CommitInfo == nil || a.CommitInfo.InCommitTimestamp == nil {
			failed = corrupt(t.URL(), times[i].version, logDir+versionName(times[i].version)+".json",
				errors.New("in-commit timestamps are enabled and it has none"))
			return true
		}
		times[i].at = timeOfMs(*a.CommitInfo.InCommitTimestamp)
		return times[i].at.After(at)
	})
	if failed != nil {
		return 0, failed
	}
	if n == 0 {
		return t.pick(times[:min(1, len(times))], at)
	}
	return times[n-1].version, nil
}

// SnapshotAsOf gives the table as it was at a time (VersionAsOf).
func (t *Table) SnapshotAsOf(ctx context.Context, at time.Time) (*Snapshot, error) {
	v, err := t.VersionAsOf(ctx, at)
	if err != nil {
		return nil, err
	}
	return t.SnapshotAt(ctx, v)
}
