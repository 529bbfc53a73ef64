package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.io/sluice/connectors/store"
)

// LogTrouble is the kind of a LogFinding.
type LogTrouble string

// The kinds.
const (
	CorruptCommit     LogTrouble = "corrupt-commit"     // a commit that can't be read: versions from it on are lost, unless a checkpoint covers it
	MissingCommit     LogTrouble = "missing-commit"     // a gap between commits
	CorruptCheckpoint LogTrouble = "corrupt-checkpoint" // readers fall back to older ones, as long as the commits after them are there
	MissingPart       LogTrouble = "missing-part"       // a checkpoint of several parts lacks one: as if it were not there
	CorruptCompaction LogTrouble = "corrupt-compaction" // a compacted file that can't be read, or lists a file twice: readers take the commits
	WrongTimestamp    LogTrouble = "wrong-timestamp"    // a commit without in-commit timestamp, or with one that does not rise, where the table has them
	WrongHint         LogTrouble = "wrong-hint"         // _last_checkpoint makes no sense, or names a checkpoint that is not there
	WrongChecksum     LogTrouble = "wrong-checksum"     // the newest .crc file can't be read, or says something else than the log
)

// LogFinding is one thing that is wrong with a table's log.
type LogFinding struct {
	Trouble LogTrouble
	// File is the name below the table's folder.
	File string
	// Text says what was found, in a sentence.
	Text string
	// remove are the keys that may be deleted without losing anything, once the table can be read without them.
	remove []string
}

// CheckLog reads every file of a log, whether or not the table can be opened, and gives what is wrong. An error means that it could not look
// (no permission, the store does not answer, there is no table at all).
func CheckLog(ctx context.Context, b store.Bucket, tablePath string, opts ...Option) ([]LogFinding, error) {
	t := newTable(b, tablePath, opts)
	l, err := t.list(ctx, 0)
	if err != nil {
		return nil, err
	}
	if l.last < 0 && len(l.checkpoints) == 0 {
		return nil, t.notATable(ctx, l)
	}
	c := logChecker{t: t, l: l}
	for _, step := range []func(context.Context) error{c.commits, c.timestamps, c.compactions, c.checkpoints, c.parts, c.hint, c.checksum} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("check the log of %s: %w", t.URL(), err)
		}
	}
	return c.found, nil
}

type logChecker struct {
	t     *Table
	l     *logListing
	found []LogFinding
	times []commitTime // in-commit timestamps of the commits that were read; zero: none
}

// note keeps what an error says of a file, unless the error is of the environment.
func (c *logChecker) note(ctx context.Context, kind LogTrouble, file string, err error, remove ...string) error {
	if ctx.Err() != nil || errors.Is(err, store.ErrPermission) {
		return err
	}
	c.found = append(c.found, LogFinding{kind, file, err.Error(), remove})
	return nil
}

func (c *logChecker) commits(ctx context.Context) error {
	var p parser
	versions := make([]int64, 0, len(c.l.commits))
	for v := range c.l.commits {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	for i, v := range versions {
		if i > 0 && versions[i-1] != v-1 {
			err := fmt.Errorf("versions %d to %d are missing, and there are commits up to %d", versions[i-1]+1, v-1, c.l.last)
			if err := c.note(ctx, MissingCommit, logDir+versionName(versions[i-1]+1)+".json", err); err != nil {
				return err
			}
		}
		a, err := c.t.readCommit(ctx, &p, v)
		if err != nil {
			if err := c.note(ctx, CorruptCommit, logDir+versionName(v)+".json", err); err != nil {
				return err
			}
			continue
		}
		at := commitTime{version: v}
		if ci := a.CommitInfo; ci != nil && ci.InCommitTimestamp != nil {
			at.at = timeOfMs(*ci.InCommitTimestamp)
		}
		c.times = append(c.times, at)
	}
	return nil
}

// timestamps compares the in-commit timestamps of a table that has them: time travel relies on their rising.
func (c *logChecker) timestamps(ctx context.Context) error {
	s, err := c.t.load(ctx, -1)
	if err != nil {
		return ctx.Err() // else said already, or unsupported
	}
	since := s.ictSince()
	var last commitTime
	for _, at := range c.times {
		if at.version < since {
			continue
		}
		var err error
		switch {
		case at.at.IsZero():
			err = errors.New("the table has in-commit timestamps, and this commit has none")
		case !last.at.IsZero() && !at.at.After(last.at):
			err = fmt.Errorf("its in-commit timestamp is %s, version %d has %s", at.at.Format(time.RFC3339Nano), last.version, last.at.Format(time.RFC3339Nano))
		}
		if err != nil {
			if err := c.note(ctx, WrongTimestamp, logDir+versionName(at.version)+".json", err); err != nil {
				return err
			}
			continue
		}
		last = at
	}
	return nil
}

func (c *logChecker) compactions(ctx context.Context) error {
	var p parser
	for _, f := range c.l.compacted {
		name := strings.TrimPrefix(f.info.Key, c.t.key(logDir))
		_, err := c.t.readCompacted(ctx, &p, &segment{first: f.version, last: f.last, compacted: true, name: name})
		if err == nil {
			continue
		}
		if err := c.note(ctx, CorruptCompaction, logDir+name, err, f.info.Key); err != nil {
			return err
		}
	}
	return nil
}

func (c *logChecker) checkpoints(ctx context.Context) error {
	for _, set := range c.l.checkpoints {
		err := c.t.readCheckpoint(ctx, newReplay(c.t, nil), set)
		if err == nil || errors.Is(err, ErrUnsupported) {
			continue
		}
		var keys []string
		for _, f := range set.files {
			keys = append(keys, f.info.Key)
		}
		if err := c.note(ctx, CorruptCheckpoint, strings.TrimPrefix(keys[0], c.t.key("")), err, keys...); err != nil {
			return err
		}
	}
	return nil
}

func (c *logChecker) parts(ctx context.Context) error {
	for _, set := range c.l.incomplete {
		var keys []string
		for _, f := range set.files {
			keys = append(keys, f.info.Key)
		}
		err := fmt.Errorf("of the %d parts of the checkpoint of version %d there are %d; readers do as if it were not there", set.files[0].parts, set.version, len(keys))
		if err := c.note(ctx, MissingPart, strings.TrimPrefix(keys[0], c.t.key("")), err, keys...); err != nil {
			return err
		}
	}
	return nil
}

func (c *logChecker) hint(ctx context.Context) error {
	key := c.t.key(logDir + "_last_checkpoint")
	data, err := c.t.bucket.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	h := parseHint(data)
	switch {
	case h == nil:
		err = errors.New("it is not what a hint at a checkpoint is; readers list the log instead")
	case !slices.ContainsFunc(c.l.checkpoints, func(s checkpointSet) bool { return s.version == h.Version }):
		err = fmt.Errorf("it names a checkpoint of version %d, and there is none; readers list the log instead", h.Version)
	default:
		return nil
	}
	return c.note(ctx, WrongHint, logDir+"_last_checkpoint", err, key)
}

// checksum compares the .crc file of the newest version, where it has one.
func (c *logChecker) checksum(ctx context.Context) error {
	s, err := c.t.load(ctx, -1)
	if err != nil {
		return nil // said already, or unsupported
	}
	name := logDir + versionName(s.Version) + ".crc"
	sum, err := c.t.ReadChecksum(ctx, s.Version)
	if errors.Is(err, ErrVersionNotFound) {
		return nil
	}
	if err == nil {
		diff := sum.Compare(s)
		if len(diff) == 0 {
			return nil
		}
		err = errors.New(strings.Join(diff, "; "))
	}
	return c.note(ctx, WrongChecksum, name, err, c.t.key(name))
}

// RepairLog deletes the files of findings that the table can be read without: checkpoints, hints and checksums that are wrong. It gives those that it
// deleted; nothing is deleted where the table can't be read by its commits and other checkpoints.
func RepairLog(ctx context.Context, b store.Bucket, tablePath string, found []LogFinding, opts ...Option) ([]LogFinding, error) {
	t := newTable(b, tablePath, opts)
	if _, err := t.load(ctx, -1); err != nil {
		return nil, fmt.Errorf("repair the log of %s: %w", t.URL(), err)
	}
	var done []LogFinding
	for _, f := range found {
		for _, key := range f.remove {
			if err := b.Delete(ctx, key); err != nil {
				return done, fmt.Errorf("repair the log of %s: %w", t.URL(), err)
			}
		}
		if len(f.remove) > 0 {
			done = append(done, f)
		}
	}
	return done, nil
}
