package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/uuid"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store"
)

// Kind is how a commit ended (D3).
type Kind uint8

const (
	// Committed: the commit is a version of the table.
	Committed Kind = iota
	// Conflict: the commit is surely not in the table; Outcome.Err says why. Its files may be deleted or used again.
	Conflict
	// Unknown: the commit may be in the table, or come to be. Its files must stay; the next reader of the table finds out by
	// the txn or the txnId.
	Unknown
)

// String gives the kind's name.
func (k Kind) String() string {
	switch k {
	case Committed:
		return "committed"
	case Conflict:
		return "conflict"
	}
	return "unknown"
}

// Outcome is how a commit ended.
type Outcome struct {
	Kind     Kind
	Version  int64     // of Committed: the version made
	Snapshot *Snapshot // of Committed: the table at Version. Of Conflict: the newest that was read; may be nil
	TxnID    string    // the name of the commit, in its commitInfo
	Attempts int       // versions that were tried
	Err      error     // nil for Committed
}

// Isolation says which concurrent changes a commit can't live with.
type Isolation uint8

const (
	// WriteSerializable, the default: concurrent blind appends are taken to have come later.
	WriteSerializable Isolation = iota
	// Serializable: a commit that has read the table conflicts with blind appends too.
	Serializable
)

// EngineInfo is what commits say about the software that made them.
var EngineInfo = "Sluice"

// Commit is a commit in the making: describe it, then Do it once. It belongs to one goroutine.
type Commit struct {
	t    *Table
	base *Snapshot

	adds      []*Add
	removes   []*Add
	dvs       []*dvChange
	cdc       []*AddCDC
	metadata  *Metadata
	protocol  *Protocol
	features  []string
	progress  []progress
	expected  []progress
	domains   []*DomainMetadata
	reads     map[string]bool
	readsAll  bool
	isolation Isolation
	rearrange bool
	info      CommitInfo
	gain      *int64
	err       error
	done      bool
}

type dvChange struct {
	base *Add // the file as the snapshot has it
	next dv.Descriptor
	// ours is the descriptor that the caller gave; next differs from it after a rebase.
	ours    dv.Descriptor
	origin  *Add // the file as the caller saw it
	vectors *vectors
}

type progress struct {
	appID    string
	from, to int64
}

// NewCommit begins a commit that continues base. Its isolation is what the table wants (delta.isolationLevel), else WriteSerializable.
func (t *Table) NewCommit(base *Snapshot) *Commit {
	c := &Commit{t: t, base: base}
	if base != nil && base.Metadata != nil && strings.EqualFold(base.Metadata.Configuration[PropIsolationLevel], "Serializable") {
		c.isolation = Serializable
	}
	return c
}

// Append adds a new data file.
func (c *Commit) Append(a Add) { c.adds = append(c.adds, &a) }

// Remove takes a file out of the table. a must come from the commit's snapshot.
func (c *Commit) Remove(a *Add) { c.removes = append(c.removes, a) }

// SetDV gives a file of the commit's snapshot a deletion vector in place of the one it has. The vector must hold all rows
// of the old one. A vector that deletes every row removes the file.
func (c *Commit) SetDV(a *Add, d dv.Descriptor) {
	c.dvs = append(c.dvs, &dvChange{base: a, origin: a, next: d, ours: d})
}

// SetVector is SetDV for a caller that has the deleted rows in memory, so that they need not be read to be checked: before is nil where the file
// has no vector. Neither may change until the commit is done.
func (c *Commit) SetVector(a *Add, d dv.Descriptor, before, now *roaring64.Bitmap) {
	c.dvs = append(c.dvs, &dvChange{base: a, origin: a, next: d, ours: d, vectors: &vectors{before, now}})
}

// ExpectRows says by how many live rows the table grows (or shrinks) by its caller's own count; a commit that would do otherwise is refused.
func (c *Commit) ExpectRows(gain int64) { c.gain = &gain }

// AppendCDC adds a file of change rows. If a commit has one, they must cover all its changes.
func (c *Commit) AppendCDC(x AddCDC) { c.cdc = append(c.cdc, &x) }

// SetMetadata replaces schema, partitioning or configuration. Features that the new metadata needs are added to the
// protocol.
func (c *Commit) SetMetadata(m *Metadata) { c.metadata = m.Clone() }

// RequireFeatures upgrades the protocol so that it has the named features.
func (c *Commit) RequireFeatures(names ...string) { c.features = append(c.features, names...) }

// SetDomain writes a metadata domain; the protocol must have FeatureDomainMetadata, or gets it.
func (c *Commit) SetDomain(domain, configuration string) {
	c.domains = append(c.domains, &DomainMetadata{Domain: domain, Configuration: configuration})
}

// RemoveDomain removes a metadata domain.
func (c *Commit) RemoveDomain(domain string) {
	c.domains = append(c.domains, &DomainMetadata{Domain: domain, Removed: true})
}

// Progress moves the txn of appID from one version to the next, and makes the commit depend on it (D2): it is made only on
// a version at which the txn is from; from < 0: at which there is none. Else Do gives ErrProgress.
func (c *Commit) Progress(appID string, from, to int64) {
	c.progress = append(c.progress, progress{appID, from, to})
}

// Expect makes the commit depend on the txn of appID without moving it: it is made only on a version at which the txn is at; at < 0:
// at which there is none. Else Do gives ErrProgress.
func (c *Commit) Expect(appID string, at int64) {
	c.expected = append(c.expected, progress{appID, at, at})
}

// Info sets operation, parameters, metrics and user metadata; the rest is filled in.
func (c *Commit) Info(i CommitInfo) { c.info = i }

// Rearrange says that the commit only moves rows between files (compaction, purge): its files are dataChange=false,
// and no concurrent append is in its way.
func (c *Commit) Rearrange() { c.rearrange = true }

// ReadsTable says that the commit was computed from all rows: concurrent deletes conflict, and concurrent adds that are
// no blind appends (under Serializable these too).
func (c *Commit) ReadsTable() { c.readsAll = true }

// ReadsFile says that the commit was computed from the rows of a file that it does not change.
func (c *Commit) ReadsFile(a *Add) {
	if c.reads == nil {
		c.reads = map[string]bool{}
	}
	c.reads[keyPath(a.Path)] = true
}

// Isolate chooses the isolation level, in place of the table's.
func (c *Commit) Isolate(i Isolation) { c.isolation = i }

// Base is the snapshot that the commit continues; after conflicts that were rebased, the newest one.
func (c *Commit) Base() *Snapshot { return c.base }

// blind tells that the commit adds rows and depends on none.
func (c *Commit) blind() bool {
	return len(c.adds) > 0 && len(c.removes) == 0 && len(c.dvs) == 0 && len(c.reads) == 0 && !c.readsAll &&
		c.metadata == nil && c.protocol == nil && len(c.features) == 0 && !c.rearrange && len(c.domains) == 0
}

// Do makes the commit. Concurrent commits that do not conflict are put before it, as often as needed until ctx ends.
// It never returns Committed for a commit that is not in the table, nor Conflict for one that is or may come to be.
func (c *Commit) Do(ctx context.Context) Outcome {
	out := Outcome{Kind: Conflict, TxnID: uuid.NewString()}
	fail := func(err error) Outcome {
		out.Err = fmt.Errorf("commit to delta table %s: %w", c.t.URL(), err)
		if c.base != nil {
			out.Snapshot = c.base
		}
		return out
	}
	if c.done {
		return fail(errors.New("this commit was done before"))
	}
	c.done = true
	if c.base == nil || c.base.table != c.t {
		return fail(errors.New("the commit has no snapshot of this table"))
	}
	// Versions that are known already need not be tried.
	if newest := c.t.Cached(); newest != nil && newest.Version > c.base.Version {
		if err := c.rebaseTo(ctx, newest); err != nil {
			return fail(err)
		}
	}
	verified := false
	for {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		acts, err := c.build(out.TxnID)
		if err != nil {
			return fail(err)
		}
		if !verified { // on another base they are the same files
			if err := c.verify(ctx); err != nil {
				return fail(err)
			}
			verified = true
		}
		next, err := c.base.next(c.base.Version+1, acts, time.Time{})
		if err == nil {
			err = c.checkRows(acts, next)
		}
		if err != nil {
			return fail(err)
		}
		e := enc{b: make([]byte, 0, 1024+512*(len(acts.Adds)+len(acts.Removes)))}
		e.actions(acts)
		version := c.base.Version + 1
		out.Attempts++
		at := c.t.now()
		res := c.t.put(ctx, version, e.b, out.TxnID)
		switch res.kind {
		case putDone:
			c.t.remember(version, acts)
			c.t.publish(next, at)
			out.Kind, out.Version, out.Snapshot, out.Err = Committed, version, next, nil
			return out
		case putFailed:
			return fail(res.err)
		case putUnknown:
			out.Kind = Unknown
			out.Err = fmt.Errorf("commit version %d to delta table %s: %w", version, c.t.URL(), res.err)
			return out
		}
		if err := c.step(ctx, res.winner); err != nil {
			return fail(err)
		}
		// Others may be far ahead.
		newest, err := c.t.Snapshot(ctx)
		if err != nil {
			return fail(err)
		}
		if err := c.rebaseTo(ctx, newest); err != nil {
			return fail(err)
		}
	}
}

// rebaseTo moves the commit's base up to the version of newest, past every winner in between.
func (c *Commit) rebaseTo(ctx context.Context, newest *Snapshot) error {
	var p parser
	for c.base.Version < newest.Version {
		v := c.base.Version + 1
		a := c.t.remembered(v)
		if a == nil {
			var err error
			if a, err = c.t.readCommit(ctx, &p, v); err != nil {
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("%w: version %d, which this commit must be compared with, is no longer in the log", ErrConflict, v)
				}
				return err
			}
		}
		if err := c.step(ctx, a); err != nil {
			return err
		}
	}
	if c.base.Version == newest.Version {
		c.base = newest
	}
	return nil
}

// step puts one winner before the commit.
func (c *Commit) step(ctx context.Context, winner *Actions) error {
	version := c.base.Version + 1
	next, err := c.base.next(version, winner, time.Time{})
	if err != nil {
		return err
	}
	if err := c.conflicts(ctx, winner, next); err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	c.base = next
	return nil
}

// build makes the actions of the commit on its base, checked (delta.md Appendix B).
func (c *Commit) build(txnID string) (*Actions, error) {
	if c.err != nil {
		return nil, c.err
	}
	s := c.base
	now := c.t.now().UnixMilli()
	// A clock that is behind must not shorten the life of tombstones (delta.md §8.23).
	if !s.Timestamp.IsZero() {
		now = max(now, s.Timestamp.UnixMilli())
	}
	a := &Actions{CDC: c.cdc}
	if err := c.buildProtocol(a, now); err != nil {
		return nil, err
	}
	meta, proto := s.Metadata, s.Protocol
	if a.Metadata != nil {
		meta = a.Metadata
	}
	if a.Protocol != nil {
		proto = a.Protocol
	}
	change := !c.rearrange
	for _, f := range c.removes {
		a.Removes = append(a.Removes, removeOf(f, now, change))
	}
	for _, d := range c.dvs {
		a.Removes = append(a.Removes, removeOf(d.base, now, change))
		if n, ok := d.base.NumRecords(); ok && d.next.Cardinality == n {
			continue // no row is left
		}
		next := *d.base
		vector := d.next
		next.DeletionVector, next.DataChange, next.Stats = &vector, change, WideBounds(d.base.Stats)
		a.Adds = append(a.Adds, &next)
	}
	for _, f := range c.adds {
		x := *f
		x.DataChange, x.Written = change, nil
		if x.ModificationTime == 0 {
			x.ModificationTime = now
		}
		a.Adds = append(a.Adds, &x)
	}
	for _, p := range slices.Concat(c.progress, c.expected) {
		// D2: compare and set.
		got, ok := s.Txn(p.appID)
		if !ok {
			got = -1
		}
		if from := max(p.from, -1); got != from {
			return nil, fmt.Errorf("%w: %s is at %d in version %d, not at %d", ErrProgress, p.appID, got, s.Version, from)
		}
	}
	for _, p := range c.progress {
		a.Txns = append(a.Txns, &Txn{AppID: p.appID, Version: p.to, LastUpdated: now})
	}
	a.Domains = append(a.Domains, c.domains...)
	if err := c.assignRowIDs(a, proto, meta); err != nil {
		return nil, err
	}
	info := c.info
	if info.Operation == "" {
		info.Operation = "WRITE"
	}
	fillInfo(&info, now)
	info.TxnID = txnID
	read := s.Version
	info.ReadVersion = &read
	blind := c.blind()
	info.IsBlindAppend = &blind
	switch {
	case c.rearrange:
		info.IsolationLevel = "SnapshotIsolation"
	case c.isolation == Serializable:
		info.IsolationLevel = "Serializable"
	default:
		info.IsolationLevel = "WriteSerializable"
	}
	if strings.EqualFold(meta.Configuration[PropEnableICT], "true") {
		ict := max(now, s.ict+1)
		info.InCommitTimestamp = &ict
	}
	a.CommitInfo = &info
	return a, check(s, a, proto, meta)
}

func fillInfo(i *CommitInfo, now int64) {
	i.Timestamp = now
	if i.EngineInfo == "" {
		i.EngineInfo = EngineInfo
	}
	if i.TxnID == "" {
		i.TxnID = uuid.NewString()
	}
}

func removeOf(f *Add, now int64, change bool) *Remove {
	return &Remove{Path: f.Path, DeletionTimestamp: now, DataChange: change, ExtendedFileMetadata: true,
		PartitionValues: f.PartitionValues, Size: f.Size, DeletionVector: f.DeletionVector, BaseRowID: f.BaseRowID,
		DefaultRowCommitVersion: f.DefaultRowCommitVersion}
}

// buildProtocol works out metaData and protocol of the commit, which is made at now.
func (c *Commit) buildProtocol(a *Actions, now int64) error {
	s := c.base
	proto := s.Protocol
	needed := c.features
	if meta := c.metadata; meta != nil {
		if meta.ID == "" {
			meta.ID = s.Metadata.ID
		}
		sc, err := parseSchema(meta)
		if err != nil {
			return err
		}
		if meta.CreatedTime == 0 {
			meta.CreatedTime = s.Metadata.CreatedTime
		}
		c.enableICT(meta, now)
		needed = append(neededFeatures(sc, meta.Configuration, nil), needed...)
		a.Metadata = meta
	}
	if len(c.domains) > 0 {
		needed = append(needed, FeatureDomainMetadata)
	}
	up, err := proto.WithFeatures(needed...)
	if err != nil {
		return err
	}
	if !up.equal(proto) {
		a.Protocol = up
	}
	return nil
}

// enableICT records from which version and time on in-commit timestamps are there, where they are switched on later: those of the commit itself.
func (c *Commit) enableICT(m *Metadata, now int64) {
	s := c.base
	if strings.EqualFold(m.Configuration[PropEnableICT], "true") && !s.PropertyIs(PropEnableICT) {
		m.Configuration[PropICTEnablementVersion] = fmt.Sprint(s.Version + 1)
		m.Configuration[PropICTEnablementTime] = fmt.Sprint(max(now, s.ict+1))
	}
}
