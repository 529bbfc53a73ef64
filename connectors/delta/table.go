package delta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/connectors/store"
)

// Table is a Delta table in a bucket. It is safe for concurrent use; the snapshots that it gives out never change.
//
// It keeps the newest snapshot that it has seen, so that the next one costs as much as the commits since.
type Table struct {
	bucket store.Bucket
	path   string
	log    *slog.Logger
	now    func() time.Time

	// refreshing is held by the one that reads the log on; a channel, so that waiting for it respects a context.
	refreshing chan struct{}
	cached     atomic.Pointer[cachedSnapshot]
	// checkpointed is the newest version that we have written a checkpoint of.
	checkpointed atomic.Int64

	mu     sync.Mutex
	recent map[int64]*Actions // of the newest commits, for conflict checks
}

type cachedSnapshot struct {
	*Snapshot
	// verified is when the version was surely the newest.
	verified time.Time
}

// keepRecent is how many commits a Table remembers the actions of, and recentFiles how many files these may name.
const (
	keepRecent  = 64
	recentFiles = 1 << 14
)

// Option changes how a Table works.
type Option func(*Table)

// WithLogger sets where the table tells what it works around (a corrupt checkpoint, say).
func WithLogger(l *slog.Logger) Option { return func(t *Table) { t.log = l } }

// WithClock sets the clock, for tests.
func WithClock(now func() time.Time) Option { return func(t *Table) { t.now = now } }

func newTable(b store.Bucket, tablePath string, opts []Option) *Table {
	t := &Table{bucket: b, path: strings.Trim(tablePath, "/"), log: slog.New(slog.DiscardHandler), now: time.Now,
		refreshing: make(chan struct{}, 1), recent: map[int64]*Actions{}}
	for _, o := range opts {
		o(t)
	}
	return t
}

// Open reads the table under tablePath ("" is the bucket's root) at its newest version. ErrNotTable: there is none;
// *UnsupportedError: it needs features that we lack; *CorruptError: its log can't be read.
func Open(ctx context.Context, b store.Bucket, tablePath string, opts ...Option) (*Table, error) {
	t := newTable(b, tablePath, opts)
	if _, err := t.Snapshot(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// OpenAt is Open for a reader of one old version: the newest version is not looked at, it may be unreadable.
func OpenAt(ctx context.Context, b store.Bucket, tablePath string, version int64, opts ...Option) (*Snapshot, error) {
	return newTable(b, tablePath, opts).load(ctx, version)
}

// Path is the key of the table's folder, without slashes at its ends.
func (t *Table) Path() string { return t.path }

// Bucket is where the table is.
func (t *Table) Bucket() store.Bucket { return t.bucket }

// URL names the table for people.
func (t *Table) URL() string {
	if t.path == "" {
		return t.bucket.URL()
	}
	return strings.TrimSuffix(t.bucket.URL(), "/") + "/" + t.path
}

// key gives the object key of a path below the table's folder, which is no URI.
func (t *Table) key(rel string) string {
	if t.path == "" {
		return rel
	}
	return t.path + "/" + rel
}

// ObjectKey gives the object key of a path of the log (Add.Path, AddCDC.Path), which is a URI: percent-encoded once,
// relative to the table or absolute. An absolute one must lie in the table's bucket.
func (t *Table) ObjectKey(logPath string) (string, error) {
	return objectKey(t.bucket.URL(), t.path, logPath)
}

func objectKey(bucketURL, tablePath, logPath string) (string, error) {
	decoded, err := url.PathUnescape(logPath)
	if err != nil {
		return "", fmt.Errorf("path %q of the log: %w", logPath, err)
	}
	abs := strings.HasPrefix(logPath, "/")
	if scheme, _, ok := strings.Cut(logPath, ":"); ok && !strings.ContainsAny(scheme, "/%=") {
		abs = true
	}
	if !abs {
		key := path.Join(tablePath, decoded)
		if key == ".." || strings.HasPrefix(key, "../") {
			return "", fmt.Errorf("path %q of the log leaves the bucket", logPath)
		}
		return key, nil
	}
	root, target := strings.TrimSuffix(bucketURL, "/"), decoded
	if strings.HasPrefix(root, "file:") {
		root, target = strings.TrimSuffix(keyPath(root), "/"), keyPath(target)
	} else if strings.HasPrefix(target, "s3a://") || strings.HasPrefix(target, "s3n://") {
		target = "s3" + target[3:]
	}
	if rest, ok := strings.CutPrefix(target, root+"/"); ok {
		return rest, nil
	}
	return "", fmt.Errorf("path %q of the log is outside of %s", logPath, bucketURL)
}

// Cached gives the newest snapshot that was seen, without looking at the store; nil where none was.
func (t *Table) Cached() *Snapshot {
	if c := t.cached.Load(); c != nil {
		return c.Snapshot
	}
	return nil
}

// publish makes s the cached snapshot unless a newer one is there already.
func (t *Table) publish(s *Snapshot, verified time.Time) {
	next := &cachedSnapshot{Snapshot: s, verified: verified}
	for {
		old := t.cached.Load()
		if old != nil && (old.Version > s.Version || old.Version == s.Version && !verified.After(old.verified)) {
			return
		}
		if old != nil && old.Version == s.Version {
			next.Snapshot = old.Snapshot // same version, same content: keep the one that others hold
			if s.checkpoint > old.checkpoint {
				next.Snapshot = s
			}
		}
		if t.cached.CompareAndSwap(old, next) {
			return
		}
	}
}

func (t *Table) remember(version int64, a *Actions) {
	if len(a.Adds)+len(a.Removes) > recentFiles {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent[version] = a
	delete(t.recent, version-keepRecent)
	if len(t.recent) > 2*keepRecent {
		for v := range t.recent {
			if v < version-keepRecent {
				delete(t.recent, v)
			}
		}
	}
}

func (t *Table) remembered(version int64) *Actions {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.recent[version]
}

// Snapshot gives the table at its newest version. With a cached snapshot it costs as much as the commits since; the
// check that there are none is one read.
func (t *Table) Snapshot(ctx context.Context) (*Snapshot, error) {
	select {
	case t.refreshing <- struct{}{}:
		defer func() { <-t.refreshing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("read delta table %s: %w", t.URL(), ctx.Err())
	}
	c := t.cached.Load()
	if c != nil && !t.trusted(ctx, c) {
		c = nil
	}
	if c != nil {
		s, err := t.forward(ctx, c.Snapshot)
		if !errors.Is(err, ErrGap) && !errors.Is(err, ErrVersionNotFound) {
			return s, err
		}
		// Commits after the cached one were cleaned up, or lost: a checkpoint may lie behind them.
	}
	at := t.now()
	s, err := t.load(ctx, -1)
	if err != nil {
		return nil, err
	}
	t.publish(s, at)
	return s, nil
}

// trusted tells whether the version after c, if it is not there, was never written. Between two looks the log may have
// been cleaned up past c: then the commit after c is missing for another reason. That takes at least the log's retention,
// so that after a shorter pause nothing needs to be asked.
func (t *Table) trusted(ctx context.Context, c *cachedSnapshot) bool {
	safe := c.retention(PropLogRetention, defaultLogRetention) / 2
	if t.now().Sub(c.verified) < min(safe, 10*time.Minute) {
		return true
	}
	_, err := t.bucket.Stat(ctx, t.key(logDir+versionName(c.Version)+".json"))
	return err == nil
}

// forward reads the commits after s one by one; when there are many it lists them and reads them in parallel.
func (t *Table) forward(ctx context.Context, s *Snapshot) (*Snapshot, error) {
	var p parser
	for n := 0; ; n++ {
		if n == 16 {
			newer, err := t.catchUp(ctx, s)
			if err != nil {
				return nil, err
			}
			s = newer
		}
		at := t.now()
		var err error
		a := t.remembered(s.Version + 1) // of a commit that ours has lost to
		if a == nil {
			a, err = t.readCommit(ctx, &p, s.Version+1)
		}
		if errors.Is(err, store.ErrNotFound) {
			t.publish(s, at)
			return s, nil
		}
		if err != nil {
			t.publish(s, time.Time{}) // what was read need not be read again
			return nil, err
		}
		t.remember(s.Version+1, a)
		if s, err = s.next(s.Version+1, a, time.Time{}); err != nil {
			return nil, err
		}
	}
}

// readCommit reads one commit. The error wraps store.ErrNotFound where there is none.
func (t *Table) readCommit(ctx context.Context, p *parser, version int64) (*Actions, error) {
	name := logDir + versionName(version) + ".json"
	data, err := t.bucket.Get(ctx, t.key(name))
	if err != nil {
		return nil, fmt.Errorf("read version %d of %s: %w", version, t.URL(), err)
	}
	a, err := p.commit(data)
	if err != nil {
		return nil, corrupt(t.URL(), version, name, err)
	}
	return a, nil
}

// SnapshotAt gives the table at a version. ErrVersionNotFound: it never was, or the log no longer reaches back so far.
func (t *Table) SnapshotAt(ctx context.Context, version int64) (*Snapshot, error) {
	if version < 0 {
		return nil, fmt.Errorf("version %d of %s: %w", version, t.URL(), ErrVersionNotFound)
	}
	if c := t.Cached(); c != nil && c.Version == version {
		return c, nil
	}
	return t.load(ctx, version)
}

// retention reads an interval property of the table ("interval 30 days").
func (s *Snapshot) retention(prop string, def time.Duration) time.Duration {
	if s.Metadata == nil {
		return def
	}
	v, ok := s.Metadata.Configuration[prop]
	if !ok {
		return def
	}
	d, err := ParseInterval(v)
	if err != nil {
		return def
	}
	return d
}

// intProperty reads a whole number of the table's configuration.
func (s *Snapshot) intProperty(prop string, def int64) int64 {
	v, ok := s.Metadata.Configuration[prop]
	if !ok {
		return def
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil {
		return def
	}
	return n
}

const (
	defaultLogRetention         = 30 * 24 * time.Hour
	defaultDeletedFileRetention = 7 * 24 * time.Hour
)

// ParseInterval reads the intervals of table properties: "interval 1 week", "30 days", "interval 12 hours 30 minutes".
func ParseInterval(s string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(s))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%q is no interval (interval 30 days)", s)
	}
	var total time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(strings.Trim(words[i], "'"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no interval: %w", s, err)
		}
		unit, ok := intervalUnits[strings.TrimSuffix(strings.Trim(words[i+1], "'"), "s")]
		if !ok {
			return 0, fmt.Errorf("%q is no interval: unit %q", s, words[i+1])
		}
		if n < 0 || n > int64(1<<62)/int64(unit) {
			return 0, fmt.Errorf("%q is no interval: out of range", s)
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

var intervalUnits = map[string]time.Duration{
	"nanosecond": time.Nanosecond, "microsecond": time.Microsecond, "millisecond": time.Millisecond, "second": time.Second,
	"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
}
