package bronze

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/commit"
)

var (
	// ErrReseek: the table's progress of a partition is not what this Appender thought: its pump reads on from the table.
	ErrReseek = errors.New("another writer moved the partition's progress; reading on from the table")
	// ErrTopicChanged: the table holds records of another topic of the same name.
	ErrTopicChanged = errors.New("the topic was deleted and created again since the table was begun")
	// ErrClosed: the Appender has ended.
	ErrClosed = errors.New("the appender has ended")
)

// DeadLetters keeps records that could not be decoded (D6). Write must be done with all letters when it returns nil, and is
// called again with the same ones after a failure. ranges say which offsets of each partition were looked at.
type DeadLetters interface {
	Write(ctx context.Context, letters []connectors.DeadLetter, ranges []Range) error
}

// Range are offsets [From, To) of a partition.
type Range struct {
	Topic     string
	Partition int32
	From, To  int64
}

// Hot takes the changes of a committed version to whoever merges on this node.
type Hot interface {
	// Wanted tells whether anybody would take them; changes of records that are decoded while it says no are not kept.
	Wanted() bool
	// Offer hands over all changes of a version, which takes bytes of memory. It may wait for room, but no longer than wait:
	// bronze does not depend on silver.
	Offer(version int64, changes [][]connectors.Change, bytes int64, wait time.Duration)
	// Skip tells that a version was committed whose changes were not kept.
	Skip(version int64)
}

// Options are what an Appender needs.
type Options struct {
	Connector, Topic string
	// TopicID is Kafka's id of the topic, empty where the broker has none.
	TopicID string
	// Interval is the longest time that a record waits for its commit, MaxBytes the size that commits sooner.
	Interval time.Duration
	MaxBytes int64

	Bucket store.Bucket
	Path   string
	Tables *commit.Tables

	// NewDecoder makes the decoder of a partition's pump.
	NewDecoder func() (connectors.Decoder, error)
	// FailOnPoison ends a partition at its first undecodable record (errors.tolerance=none).
	FailOnPoison bool
	DeadLetters  DeadLetters
	Hot          Hot
	// Mirror is told the next offsets after each commit; it must not block.
	Mirror func(topic string, next map[int32]int64)
	// Slabs, where not nil, is where memory for kept changes comes from; who is done with them gives them back there.
	Slabs *Slabs
	// Spares is where memory for encoding comes from, and Encoders has a place for each Appender that may encode at a time, since it takes
	// about twice its chunk for that; nil: the Appender has its own.
	Spares   *columnar.Spares
	Encoders chan struct{}
	// Memory bounds what all Appenders of the node hold (D9).
	Memory *kafka.Budget
	Logger *slog.Logger
	// Refused is told of every commit that the table's log refused, since another writer has moved the progress (D2).
	Refused func()
	// Crash is called between the steps of a commit by the kill test; nil otherwise.
	Crash func(phase string)
	Now   func() time.Time
}

// Phases at which Options.Crash is called.
const (
	PhaseBeforeUpload = "bronze-before-upload"
	PhaseBeforeCommit = "bronze-before-commit"
	PhaseBeforeMirror = "bronze-before-mirror"
)

// cutShare is the part of the interval that a chunk fills; encoding, upload, commit and a lost race have the rest.
const cutShare = 0.5

// hotWait is how long a commit may be held up so that the changes of the one before it reach silver in memory: reading and
// decoding them again would cost both more. A follower that does not keep up is given up after a few of these (Hot.Wanted).
const hotWait = 4 * time.Second

// Appender appends the partitions of one topic that this node owns to its bronze table.
type Appender struct {
	o      Options
	log    *slog.Logger
	filled atomic.Int64 // bytes in chunks that are not cut yet
	open   atomic.Int64 // when the first row of the chunk at hand came, Unix ns; 0: none

	mu      sync.Mutex
	parts   map[int32]*Partition
	gen     uint64 // raised when chunks in flight become invalid
	trouble string
	err     error
	done    chan struct{}
	cutDone chan struct{} // closed and replaced after each cut

	wake  chan struct{} // the cutter looks again
	flush atomic.Bool   // cut now

	build *columnar.Builder // the cutter's
	told  time.Time         // the committer's: when a slow commit was last explained

	stats counters
}

// counters are totals since the Appender was made.
type counters struct {
	rows, bytes, commits, poison atomic.Int64
	lastCommit                   atomic.Int64 // Unix ms
	lastVersion                  atomic.Int64
}

// Stats are an Appender's totals since it was made.
type Stats struct {
	Rows, Bytes, Commits, Undecodable int64
	LastCommit                        time.Time
	LastVersion                       int64
	Trouble                           string
}

// New makes an Appender; Run makes it work.
func New(o Options) *Appender {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Memory == nil {
		o.Memory = kafka.NewBudget(4 * o.MaxBytes)
	}
	if o.Spares == nil {
		o.Spares = columnar.NewSpares(0)
	}
	if o.Encoders == nil {
		o.Encoders = make(chan struct{}, 1)
	}
	if o.Crash == nil {
		o.Crash = func(string) {}
	}
	if o.Refused == nil {
		o.Refused = func() {}
	}
	// One chunk fills, one is encoded, one is committed: what all have to share bounds each of them (D9).
	o.MaxBytes = max(min(o.MaxBytes, o.Memory.Limit()/3), 1)
	a := &Appender{
		o: o, log: o.Logger.With("connector", o.Connector, "topic", o.Topic, "table", o.Path),
		parts: map[int32]*Partition{}, done: make(chan struct{}), cutDone: make(chan struct{}),
		wake: make(chan struct{}, 1), build: columnar.NewBuilder(storedSchema),
	}
	a.stats.lastVersion.Store(-1)
	return a
}

// Stats gives the totals.
func (a *Appender) Stats() Stats {
	s := Stats{
		Rows: a.stats.rows.Load(), Bytes: a.stats.bytes.Load(), Commits: a.stats.commits.Load(), Undecodable: a.stats.poison.Load(),
		LastVersion: a.stats.lastVersion.Load(), Trouble: a.Trouble(),
	}
	if ms := a.stats.lastCommit.Load(); ms > 0 {
		s.LastCommit = time.UnixMilli(ms)
	}
	return s
}

// TableRows is how many rows the table has, as far as this node has seen it; 0 before that.
func (a *Appender) TableRows() int64 {
	t := a.o.Tables.Opened(a.o.Bucket, a.o.Path)
	if t == nil {
		return 0
	}
	s := t.Cached()
	if s == nil {
		return 0
	}
	n, _ := s.NumRecords()
	return n
}

// Trouble says what the Appender waits for, empty when nothing.
func (a *Appender) Trouble() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trouble
}

func (a *Appender) setTrouble(err error) {
	text := ""
	if err != nil {
		text = err.Error()
		if isFull(err) {
			text = "the lake's disk is full, nothing is lost; going on when there is room: " + text
		}
	}
	a.mu.Lock()
	changed := a.trouble != text
	a.trouble = text
	a.mu.Unlock()
	if changed && text != "" {
		a.log.Warn("bronze waits", "reason", text)
	} else if changed {
		a.log.Info("bronze goes on")
	}
}

// Run cuts and commits until ctx ends, or until an error that trying again does not mend. Chunks that were not committed
// are dropped; their records are read again by whoever comes next. Leave the Partitions first to end with a commit.
func (a *Appender) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunks := make(chan *chunk) // unbuffered: one filling, one encoded, one being committed (D9)
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		for {
			select {
			case c := <-chunks:
				if err := guard.Do(func() error { return a.commit(ctx, c) }); err != nil {
					cancel(err)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := guard.Do(func() error { a.cutter(ctx, chunks, cancel); return nil }); err != nil {
		cancel(err)
	}
	<-committed
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	a.end(err)
	return err
}

// end makes all calls return.
func (a *Appender) end(err error) {
	a.mu.Lock()
	a.err = err
	if err == nil {
		a.err = ErrClosed
	}
	parts := a.partitions()
	close(a.done)
	a.mu.Unlock()
	for _, p := range parts {
		p.abandon(a.endError())
	}
}

func (a *Appender) endError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// partitions gives the joined partitions in ascending order; a.mu is held.
func (a *Appender) partitions() []*Partition {
	out := make([]*Partition, 0, len(a.parts))
	for _, p := range a.parts {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y *Partition) int { return int(x.id) - int(y.id) })
	return out
}

func (a *Appender) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// cutter waits for a reason to cut, then encodes and uploads. It returns when ctx ends.
func (a *Appender) cutter(ctx context.Context, chunks chan<- *chunk, cancel context.CancelCauseFunc) {
	for a.waitForCut(ctx) {
		c := a.cut()
		if c == nil {
			continue
		}
		if err := guard.Do(func() error { return a.write(ctx, c) }); err != nil {
			c.drop(a)
			cancel(err)
			return
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			c.drop(a)
			return
		}
	}
}

// waitForCut returns true when there is a reason to cut.
func (a *Appender) waitForCut(ctx context.Context) bool {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return false
		}
		wait := time.Hour
		if since := a.open.Load(); since != 0 {
			due := time.Unix(0, since).Add(time.Duration(float64(a.o.Interval) * cutShare))
			wait = due.Sub(a.o.Now())
			full := a.filled.Load() >= a.o.MaxBytes || a.o.Memory.Used() >= a.o.Memory.Limit()*9/10
			if wait <= 0 || full || a.flush.Load() {
				return true
			}
		} else {
			a.flush.Store(false)
		}
		timer.Reset(wait)
		select {
		case <-a.wake:
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
}

// isFull tells whether err says that a disk is full.
func isFull(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no space left on device")
}

// retry calls f until it succeeds, ctx ends, or it fails in a way that trying again does not mend.
func (a *Appender) retry(ctx context.Context, what string, f func() error) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := f()
		if err == nil {
			a.setTrouble(nil)
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !commit.Transient(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		a.setTrouble(fmt.Errorf("%s: %w", what, err))
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}
