package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

// Tables keeps tables open. It is safe for concurrent use.
type Tables struct {
	log     *slog.Logger
	refused func()
	mu      sync.Mutex
	m       map[tableKey]*entry
	wg      sync.WaitGroup
}

type tableKey struct {
	bucket store.Bucket
	path   string
}

// entry is one table; its lock is held by the one who commits, so that writers of one node do not race each other.
type entry struct {
	open  sync.Mutex
	table atomic.Pointer[delta.Table]
	turn  chan struct{} // held while committing
	// Of who holds turn: the version of the last commit from here, and whether others had committed between it and the one before.
	last   int64
	shared bool
	busy   atomic.Bool // a checkpoint is being written
}

// NewTables makes an empty set.
func NewTables(log *slog.Logger) *Tables {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Tables{log: log, refused: func() {}, m: map[tableKey]*entry{}}
}

// OnRefused has f called for each Append that the log refused and whose task was stopped before it could learn more; those that end
// with ErrLost are the caller's to count. To be set before the first Append.
func (t *Tables) OnRefused(f func()) { t.refused = f }

// Wait waits for checkpoints that are being written.
func (t *Tables) Wait() { t.wg.Wait() }

func (t *Tables) entry(b store.Bucket, path string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := tableKey{b, path}
	e := t.m[k]
	if e == nil {
		e = &entry{turn: make(chan struct{}, 1)}
		t.m[k] = e
	}
	return e
}

// Open gives a table, opened once. delta.ErrNotTable: there is none yet.
func (t *Tables) Open(ctx context.Context, b store.Bucket, path string) (*delta.Table, error) {
	return t.get(ctx, b, path, nil)
}

// Opened gives a table if it is open, else nil. It asks no store.
func (t *Tables) Opened(b store.Bucket, path string) *delta.Table {
	return t.entry(b, path).table.Load()
}

// OpenOrCreate gives a table, and makes it where there is none.
func (t *Tables) OpenOrCreate(ctx context.Context, b store.Bucket, path string, o delta.CreateOptions) (*delta.Table, error) {
	return t.get(ctx, b, path, &o)
}

func (t *Tables) get(ctx context.Context, b store.Bucket, path string, create *delta.CreateOptions) (*delta.Table, error) {
	e := t.entry(b, path)
	if table := e.table.Load(); table != nil {
		return table, nil
	}
	e.open.Lock()
	defer e.open.Unlock()
	if table := e.table.Load(); table != nil {
		return table, nil
	}
	for {
		table, err := delta.Open(ctx, b, path, delta.WithLogger(t.log))
		if errors.Is(err, delta.ErrNotTable) && create != nil {
			table, err = delta.Create(ctx, b, path, *create, delta.WithLogger(t.log))
			if errors.Is(err, delta.ErrTableExists) {
				continue // another node was faster
			}
		}
		if err != nil {
			return nil, err
		}
		e.table.Store(table)
		return table, nil
	}
}

// Forget drops a table that was opened, so that the next one to ask reads it anew.
func (t *Tables) Forget(b store.Bucket, path string) {
	t.entry(b, path).table.Store(nil)
}

// Step is one compare and set of progress (D2): App's txn goes From (-1: it has none) To.
type Step struct {
	App      string
	From, To int64
}

// Append is what one commit adds.
type Append struct {
	Files []delta.Add
	Steps []Step
	Info  delta.CommitInfo
}

// ErrLost: the progress in the table is not what the append continues. It wraps delta.ErrProgress.
var ErrLost = fmt.Errorf("the progress was made by another writer: %w", delta.ErrProgress)

// Append commits files with their progress. It waits for its turn at the table, rebases past other writers, and settles
// an unknown outcome (D3). Errors: ErrLost; else see Transient. A transient error may leave the append in the table: call
// again with the same append, which then is found there.
func (t *Tables) Append(ctx context.Context, table *delta.Table, a Append) (int64, error) {
	ctx, fence := Watch(ctx)
	v, err := t.append(ctx, table, a)
	if !errors.Is(err, ErrLost) && fence.Refused(err) {
		t.refused()
	}
	return v, err
}

func (t *Tables) append(ctx context.Context, table *delta.Table, a Append) (int64, error) {
	e := t.entry(table.Bucket(), table.Path())
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for {
		base := table.Cached()
		// Where others write as well, the version after the one that is known is taken most of the time.
		if base == nil || e.shared {
			var err error
			if base, err = table.Snapshot(ctx); err != nil {
				return 0, err
			}
		}
		c := table.NewCommit(base)
		for _, f := range a.Files {
			c.Append(f)
		}
		for _, s := range a.Steps {
			c.Progress(s.App, s.From, s.To)
		}
		c.Info(a.Info)
		out := c.Do(ctx)
		switch {
		case out.Kind == delta.Committed:
			e.shared, e.last = out.Version > e.last+1, out.Version
			t.checkpoint(e, table, out.Snapshot)
			return out.Version, nil
		case out.Kind == delta.Unknown, errors.Is(out.Err, delta.ErrProgress):
			// Unknown: did it happen? ErrProgress: is it our own commit of an earlier, unknown outcome that is in the way?
			version, found, err := settle(ctx, table, base.Version, a)
			switch {
			case err != nil:
				return 0, Retry(fmt.Errorf("%w; then: %w", out.Err, err))
			case found:
				return version, nil
			case errors.Is(out.Err, delta.ErrProgress):
				return 0, fmt.Errorf("%w: %w", ErrLost, out.Err)
			}
			return 0, Retry(out.Err)
		case errors.Is(out.Err, delta.ErrMetadataChanged), errors.Is(out.Err, delta.ErrProtocolChanged):
			if _, err := table.Snapshot(ctx); err != nil {
				return 0, err
			}
			if s := table.Cached(); s == nil || s.Version == base.Version {
				return 0, out.Err
			}
			continue // an append does not mind; the new base has the new metadata
		}
		return 0, out.Err
	}
}

// settle looks for the append in the versions after base: all its steps at their ends, and its first file there.
func settle(ctx context.Context, table *delta.Table, base int64, a Append) (version int64, found bool, err error) {
	s, err := table.Snapshot(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, step := range a.Steps {
		if v, ok := s.Txn(step.App); !ok || v < step.To {
			return 0, false, nil
		}
	}
	from := max(base-64, 0) // an earlier call may have begun on an older version
	for v := s.Version; v >= from; v-- {
		files, err := Appended(ctx, table, v)
		if err != nil {
			return 0, false, err
		}
		for _, f := range files {
			if len(a.Files) > 0 && f.Path == a.Files[0].Path {
				return v, true, nil
			}
		}
	}
	return 0, false, nil
}

// CheckpointEvery is how many commits lie between two checkpoints of a table that is appended to.
const CheckpointEvery = 100

// checkpoint writes one in the background when it is due.
func (t *Tables) checkpoint(e *entry, table *delta.Table, s *delta.Snapshot) {
	if s == nil || !s.CheckpointDue() || !e.busy.CompareAndSwap(false, true) {
		return
	}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		defer e.busy.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), checkpointTimeout)
		defer cancel()
		err := guard.Do(func() error {
			_, err := table.Checkpoint(ctx, s, delta.CheckpointOptions{})
			return err
		})
		if err != nil {
			t.log.Warn("the checkpoint was not written; the next one will be", "table", table.URL(), "version", s.Version, "error", err)
		}
	}()
}
