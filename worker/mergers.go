package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/commit"
	"sluice.io/sluice/worker/silver"
)

// mergers brings the batches of a table task to its table, or to its tables.
type mergers interface {
	// progress is the last version of a feed of which everything is merged.
	progress(feed string) int64
	merge(ctx context.Context, batches []silver.Batch) error
	// idle writes the progress that waited for a commit with rows. It costs nothing where there is none.
	idle(ctx context.Context) error
	close(ctx context.Context) error
}

// open opens the Merger of one table.
func (t *tableRun) open(ctx context.Context, path string) (*oneTable, error) {
	var lake store.Bucket = t.lake
	if t.u.rt.crashes {
		lake = &crashBucket{Bucket: t.lake, crash: t.u.rt.o.Crash}
	}
	dir := ""
	if t.u.rt.o.DataDir != "" {
		dir = filepath.Join(t.u.rt.o.DataDir, "index")
	}
	t.u.rt.merging.Add(1)
	m, err := silver.Open(ctx, silver.Options{
		Bucket: lake, Path: path, Connector: t.cfg.Name, Config: t.cfg, Epoch: t.u.epoch, DataDir: dir, IndexMemory: t.u.rt.indexMemory,
		Spares: t.u.rt.spares, Logger: t.u.rt.log, DeadLetters: t.letters(path), Behind: t.behind,
	})
	if err != nil {
		t.u.rt.merging.Add(-1)
		return nil, err
	}
	t.places.add(path)
	return &oneTable{t: t, m: m, seen: t.u.rt.stats.table(t.cfg.Name, path, t.u.task.Topics)}, nil
}

// oneTable is the usual case: all topics of the task feed one table.
type oneTable struct {
	t    *tableRun
	m    tableMerger
	seen *tableFigures
	// told is when a slow batch was last explained.
	told time.Time
}

// A batch that takes longer than slowBatch explains itself in the log, not more often than slowEvery.
const (
	slowBatch = time.Second
	slowEvery = 10 * time.Second
)

// explain says why a batch was slow. The next one is as much larger as there has come in meanwhile.
func (o *oneTable) explain(res silver.Result, batches int) {
	res.Took.Read, o.t.read = o.t.read, 0
	total := res.Took.Total()
	if total < max(slowBatch, o.t.cfg.CommitInterval) || time.Since(o.told) < slowEvery {
		return
	}
	o.told = time.Now()
	why, part := res.Took.Slowest()
	o.t.u.log.Info(fmt.Sprintf("batch %.1f s: %s", total.Seconds(), why), "of it", part.Round(time.Millisecond), "events", res.Events, "versions", batches,
		"bytes", res.Bytes, "attempts", res.Attempts)
}

func (t *tableRun) openOne(ctx context.Context) (mergers, error) {
	o, err := t.open(ctx, t.u.task.ID.Table)
	if err != nil {
		return nil, err
	}
	o.seen.merged(o.m.Stats(), silver.Result{}, nil, time.Time{})
	return o, nil
}

func (o *oneTable) progress(feed string) int64 { return o.m.Progress(feed) }

func (o *oneTable) merge(ctx context.Context, batches []silver.Batch) error {
	watched, fence := commit.Watch(ctx)
	res, err := o.m.Merge(watched, batches)
	if errors.Is(err, silver.ErrFenced) || fence.Refused(err) {
		o.t.u.rt.stats.refusedSilver.Add(1)
	}
	if err != nil {
		return err
	}
	if o.t.u.rt.crashes && res.Committed {
		o.t.u.rt.o.Crash(phaseSilverAfterCommit)
	}
	o.seen.merged(o.m.Stats(), res, batches, time.Now())
	o.explain(res, len(batches))
	return nil
}

func (o *oneTable) idle(ctx context.Context) error { return o.m.Idle(ctx) }

func (o *oneTable) close(ctx context.Context) error {
	o.t.u.rt.merging.Add(-1)
	return o.m.Close(ctx)
}

// manyTables is for topics that hold many tables: silver.path has variables that only an event resolves.
//
// Each table has its own progress in its own commits, but which tables there are is known only from events, so a table
// that a version brings to life for the first time could be forgotten by a crash between the commits of two tables. So the task
// has progress of its own: a txn of the bronze table, moved (now and then) after all tables are done with a version. Everything after
// it is read again, and what a table has merged already it knows by its own progress.
type manyTables struct {
	t       *tableRun
	tables  map[string]*oneTable
	at      map[string]int64 // merged by all tables
	durable map[string]int64
	moved   time.Time
	last    map[partitionKey]lastDelete
	idled   string // the table that was looked after last
}

type partitionKey struct {
	topic     string
	partition int32
}

// lastDelete remembers where a delete went, for its tombstone, which names no table.
type lastDelete struct {
	key  string
	path string
}

func (m *manyTables) app() string { return "sluice/" + m.t.cfg.Name + "/silver/" + m.t.u.task.ID.Table }

func (t *tableRun) openMany(ctx context.Context) (mergers, error) {
	m := &manyTables{t: t, tables: map[string]*oneTable{}, at: map[string]int64{}, durable: map[string]int64{}, last: map[partitionKey]lastDelete{}, moved: time.Now()}
	for _, x := range t.feeds {
		m.durable[x.path] = -1
		table, err := t.u.rt.tables.Open(ctx, t.lake, x.path)
		if errors.Is(err, delta.ErrNotTable) {
			m.at[x.path] = -1
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := table.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		if v, ok := s.Txn(m.app()); ok {
			m.durable[x.path] = v
		}
		m.at[x.path] = m.durable[x.path]
	}
	return m, nil
}

func (m *manyTables) progress(feed string) int64 { return m.at[feed] }

func (m *manyTables) merge(ctx context.Context, batches []silver.Batch) error {
	parts, lost := m.split(batches)
	if len(lost) > 0 {
		if err := m.t.letters("")(ctx, lost); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(parts)) {
		o := m.tables[path]
		if o == nil {
			var err error
			if o, err = m.t.open(ctx, path); err != nil {
				return err
			}
			m.tables[path] = o
		}
		fresh := slices.DeleteFunc(parts[path], func(b silver.Batch) bool { return b.Version <= o.m.Progress(b.Feed) })
		if len(fresh) == 0 {
			continue
		}
		if err := o.merge(ctx, fresh); err != nil {
			return fmt.Errorf("table %s: %w", path, err)
		}
	}
	for _, b := range batches {
		m.at[b.Feed] = max(m.at[b.Feed], b.Version)
	}
	if time.Since(m.moved) > lazyProgress {
		return m.flush(ctx)
	}
	return nil
}

// lazyProgress is how often the progress of a task with many tables is written; after a crash this much is read again.
const lazyProgress = time.Minute

// split sorts changes by table. lost are those that no table can be told for.
func (m *manyTables) split(batches []silver.Batch) (map[string][]silver.Batch, []connectors.DeadLetter) {
	out := map[string][]silver.Batch{}
	var lost []connectors.DeadLetter
	type route struct {
		topic string // a transform may have changed it
		src   *connectors.Source
	}
	paths := map[route]string{}
	for _, b := range batches {
		by := map[string][]connectors.Change{}
		for i := range b.Changes {
			c := &b.Changes[i]
			k := partitionKey{c.Record.Topic, c.Record.Partition}
			if c.Kind == connectors.Control {
				continue
			}
			if c.Kind == connectors.Tombstone && c.Source == nil {
				if d, ok := m.last[k]; ok && d.key == string(c.Record.Key) {
					by[d.path] = append(by[d.path], *c)
				} else if c.Record.Key != nil {
					lost = append(lost, connectors.DeadLetter{
						Record: c.Record, Connector: m.t.cfg.Name, Stage: connectors.StageApply, Class: connectors.ClassApply,
						Reason: "a tombstone without its delete, in a topic that holds many tables: it names none of them",
					})
				}
				continue
			}
			if c.Source == nil {
				lost = append(lost, connectors.DeadLetter{
					Record: c.Record, Connector: m.t.cfg.Name, Stage: connectors.StageApply, Class: connectors.ClassApply,
					Reason: "silver.path is " + m.t.u.task.ID.Table + ", and the event names no table",
				})
				continue
			}
			to := route{c.Topic(), c.Source}
			path, ok := paths[to]
			if !ok {
				path = config.ResolvePath(m.t.cfg.SilverPath, to.topic, c.Source, m.t.cfg.Name)
				paths[to] = path
			}
			if c.Op == connectors.Delete {
				m.last[k] = lastDelete{key: string(c.Record.Key), path: path}
			}
			by[path] = append(by[path], *c)
		}
		for path, cs := range by {
			out[path] = append(out[path], silver.Batch{Feed: b.Feed, Version: b.Version, Changes: cs})
		}
	}
	return out, lost
}

// flush writes the task's progress into its bronze tables.
func (m *manyTables) flush(ctx context.Context) error {
	m.moved = time.Now()
	for _, x := range m.t.feeds {
		from, to := m.durable[x.path], m.at[x.path]
		// The commit that writes the progress is a version too, with nothing in it: not worth another commit.
		if to <= from+1 && from >= 0 || to < 0 || x.table == nil {
			continue
		}
		for _, path := range slices.Sorted(maps.Keys(m.tables)) {
			if err := m.tables[path].m.Flush(ctx); err != nil { // lazy progress of the tables first
				return err
			}
		}
		_, err := m.t.u.rt.tables.Append(ctx, x.table, commit.Append{
			Steps: []commit.Step{{App: m.app(), From: from, To: to}},
			Info:  delta.CommitInfo{Operation: "STREAMING UPDATE", OperationParameters: map[string]string{"outputMode": "Update", "queryId": m.t.cfg.Name}},
		})
		if err != nil {
			return err
		}
		m.durable[x.path] = to
	}
	return nil
}

// idleSpan is about how long tables are looked after before changes are looked for again.
const idleSpan = 300 * time.Millisecond

func (m *manyTables) idle(ctx context.Context) error { return m.idleFor(ctx, idleSpan) }

// idleFor looks after one table after the other, going on behind the last one of before, until span is over.
func (m *manyTables) idleFor(ctx context.Context, span time.Duration) error {
	paths, began := slices.Sorted(maps.Keys(m.tables)), time.Now()
	next, found := slices.BinarySearch(paths, m.idled)
	if found {
		next++
	}
	for i := range paths {
		if i > 0 && time.Since(began) >= span {
			break // the others next time
		}
		m.idled = paths[(next+i)%len(paths)]
		if err := m.tables[m.idled].m.Idle(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *manyTables) close(ctx context.Context) error {
	var errs []error
	for _, o := range m.tables {
		errs = append(errs, o.close(ctx))
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, m.flush(ctx))
	}
	return errors.Join(errs...)
}

// phases of a silver commit at which Options.Crash is called.
const (
	phaseSilverBeforeUpload = "silver-before-upload"
	phaseSilverBeforeCommit = "silver-before-commit"
	phaseSilverAfterCommit  = "silver-after-commit"
)

// crashBucket calls the kill test's hook before silver's writes. It stands in the way of nothing else, and only where there is
// a hook.
type crashBucket struct {
	store.Bucket
	crash func(string)
}

// Put implements store.Bucket.
func (c *crashBucket) Put(ctx context.Context, key string, data []byte) error {
	c.upload(key)
	return c.Bucket.Put(ctx, key, data)
}

// PutIfAbsent implements store.Bucket.
func (c *crashBucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if strings.Contains(key, "/_delta_log/") {
		c.crash(phaseSilverBeforeCommit)
	} else {
		c.upload(key)
	}
	return c.Bucket.PutIfAbsent(ctx, key, data)
}

func (c *crashBucket) upload(key string) {
	if strings.HasSuffix(key, ".parquet") && !strings.Contains(key, "/_delta_log/") {
		c.crash(phaseSilverBeforeUpload)
	}
}
