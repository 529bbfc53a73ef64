package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/commit"
	"sluice.io/sluice/worker/deadletter"
	"sluice.io/sluice/worker/silver"
)

// tableMerger is what a table task needs of a silver.Merger.
type tableMerger interface {
	Progress(feed string) int64
	Merge(ctx context.Context, batches []silver.Batch) (silver.Result, error)
	Stats() silver.Stats
	Flush(ctx context.Context) error
	Idle(ctx context.Context) error
	Close(ctx context.Context) error
}

// follower follows the versions of one bronze table.
type follower struct {
	topic  string // empty where several topics share the table
	path   string
	feed   *feed
	table  *delta.Table // nil until it exists
	newest int64        // newest version that is known to exist
	taken  int64        // newest version that the step under way takes
	looked time.Time    // when the store was last asked for newer ones
	at     atomic.Int64 // merged up to here
	wake   chan struct{}
}

func (x *follower) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// tableRun is one run of a table task.
type tableRun struct {
	u       *run
	cfg     *config.Sink
	lake    store.Bucket
	dec     connectors.Decoder
	topics  map[string]bool
	feeds   []*follower
	wake    chan struct{}
	mergers mergers
	poll    time.Duration
	budget  int64 // bytes of changes that one merge takes
	cold    coldShare
	places  places
	read    time.Duration // that the batches at hand were read from files for, until a merge has told it
}

// mergeShare is the part of the memory limit that the changes of one merge may take, and those of all merges that were read from files.
const mergeShare = 0.10

// table runs a table task: it follows the bronze tables that feed the table and merges what is new, as many versions at a
// time as there are.
func (u *run) table(cfg *config.Sink) error {
	lake, err := u.rt.lakes.get(u.ctx, cfg.LakeURL)
	if err != nil {
		return err
	}
	dec, err := u.rt.decoder(cfg)
	if err != nil {
		return commit.Permanent(err)
	}
	t := &tableRun{
		u: u, cfg: cfg, lake: lake, dec: dec, topics: map[string]bool{}, wake: make(chan struct{}, 1),
		poll:   max(cfg.CommitInterval/2, 250*time.Millisecond),
		budget: u.rt.o.share(mergeShare),
		cold:   coldShare{room: u.rt.coldRoom, ratio: firstRatio},
	}
	for _, topic := range u.task.Topics {
		t.topics[topic] = true
		path := config.ResolvePath(cfg.BronzePath, topic, nil, cfg.Name)
		if i := slices.IndexFunc(t.feeds, func(x *follower) bool { return x.path == path }); i >= 0 {
			t.feeds[i].topic = ""
			continue
		}
		t.feeds = append(t.feeds, &follower{topic: topic, path: path, feed: u.rt.feeds.get(lake.URL(), path, u.connector.Version), newest: -1, wake: t.wake})
	}
	if config.PathNeedsRow(u.task.ID.Table) {
		t.mergers, err = t.openMany(u.ctx)
	} else {
		t.mergers, err = t.openOne(u.ctx)
	}
	if err != nil {
		return mergeError(err)
	}
	defer func() {
		grace, cancel := context.WithTimeout(u.hard, u.rt.o.Grace)
		defer cancel()
		if err := t.mergers.close(grace); err != nil {
			u.log.Info("progress of a silver table was not written to the last; it is made again", "error", err)
		}
	}()
	for _, x := range t.feeds {
		x.at.Store(t.mergers.progress(x.path))
		x.feed.follow(x)
		defer x.feed.unfollow(x)
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	beside, stop := context.WithCancelCause(u.ctx)
	defer stop(nil)
	v := vacuumer{t: t, every: cfg.SilverVacuumInterval, turn: u.rt.vacuums}
	helpers.Go(func() {
		if err := v.run(beside); err != nil {
			stop(err)
		}
	})
	err = t.follow(beside)
	if cause := context.Cause(beside); cause != nil && u.ctx.Err() == nil {
		return cause
	}
	return err
}

// mergeError tells errors of silver that pass from those that do not.
func mergeError(err error) error {
	if errors.Is(err, silver.ErrFenced) {
		return commit.Retry(fmt.Errorf("%w; beginning again from the table", err))
	}
	if errors.Is(err, silver.ErrReplaced) {
		return commit.Permanent(fmt.Errorf("%w; restart the task to merge into what is there now", err))
	}
	if errors.Is(err, silver.ErrPartition) {
		return commit.Permanent(fmt.Errorf("%w; change silver.partition.by, or give the connector another silver.path", err))
	}
	if errors.Is(err, silver.ErrConfig) {
		return commit.Permanent(err)
	}
	if errors.Is(err, silver.ErrIndex) { // D8
		return commit.Permanent(fmt.Errorf("%w; restart the task to build the index anew from the table", err))
	}
	return err
}

// idleFlush is after what time without work the progress of versions that changed no row is written, so that the tables
// themselves say that they are up to date (D1).
const idleFlush = time.Second

// follow merges until ctx ends.
func (t *tableRun) follow(ctx context.Context) error {
	timer := time.NewTimer(t.poll)
	defer timer.Stop()
	busy := time.Now()
	for pause := 100 * time.Millisecond; ; {
		if ctx.Err() != nil {
			return nil
		}
		did, err := t.step(ctx)
		if err == nil && !did && time.Since(busy) > idleFlush {
			err = t.mergers.idle(ctx)
		}
		err = mergeError(err)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!commit.Transient(err) || errors.Is(err, silver.ErrFenced)):
			return err
		case err != nil:
			text := err.Error()
			if strings.Contains(text, "no space left on device") {
				text = "the lake's disk is full, nothing is lost; going on when there is room: " + text
			}
			t.u.wait(text)
			if !sleep(ctx, pause) {
				return nil
			}
			pause = min(2*pause, 10*time.Second)
			continue
		}
		pause = 100 * time.Millisecond
		if did {
			busy = time.Now()
			continue
		}
		timer.Reset(t.poll)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// step merges what is there, up to the budget. It tells whether there may be more.
func (t *tableRun) step(ctx context.Context) (bool, error) {
	var batches []silver.Batch
	bytes := int64(0)
	full := false
	defer t.cold.release()
	t.read = 0
	for _, x := range t.feeds {
		if err := t.look(ctx, x); err != nil {
			return false, err
		}
		for v := x.at.Load() + 1; v <= x.newest; v++ {
			if bytes >= t.budget {
				full = true
				break
			}
			got, n, err := t.collect(ctx, x, v, len(batches) > 0)
			if errors.Is(err, errNoRoom) {
				full = true
				break
			}
			if err != nil {
				return false, err
			}
			batches = append(batches, got...)
			bytes += n
			x.taken = v
		}
	}
	if len(batches) == 0 {
		return false, nil
	}
	if err := t.mergers.merge(ctx, batches); err != nil {
		return false, err
	}
	t.u.wait("")
	t.u.bytes.Add(bytes)
	for _, b := range batches {
		for _, x := range t.feeds {
			if x.path == b.Feed {
				x.at.Store(max(x.at.Load(), b.Version))
			}
		}
	}
	for _, x := range t.feeds {
		x.feed.trim()
	}
	return full || len(batches) > 0, nil
}

// behind tells that bronze has more than the step under way takes.
func (t *tableRun) behind() bool {
	for _, x := range t.feeds {
		if max(x.newest, x.feed.newestVersion()) > x.taken {
			return true
		}
	}
	return false
}

// look finds out which versions the bronze table has. Versions that were committed on this node are known at once; others are
// asked for at every poll.
func (t *tableRun) look(ctx context.Context, x *follower) error {
	x.newest = max(x.newest, x.feed.newestVersion())
	if x.newest > x.at.Load() && x.table != nil {
		return nil
	}
	if x.table != nil && time.Since(x.looked) < t.poll*9/10 {
		return nil
	}
	if x.table == nil {
		table, err := t.u.rt.tables.Open(ctx, t.lake, x.path)
		if errors.Is(err, delta.ErrNotTable) {
			t.u.wait(fmt.Sprintf("nothing was appended to %s yet; waiting for it", x.path))
			return nil
		}
		if err != nil {
			return err
		}
		x.table = table
		t.u.wait("")
	}
	inBronze := t.u.rt.stats.committed(t.cfg.Name, x.path)
	s, err := x.table.Snapshot(ctx)
	if err != nil {
		return err
	}
	x.looked = time.Now()
	if s.Version == x.at.Load() {
		inBronze.merged()
	}
	x.newest = max(x.newest, x.feed.known(s.Version))
	return nil
}

// errNoRoom: the version has to be read from files, and there is no room for it beside what was collected before.
var errNoRoom = errors.New("no room to read another version")

// collect gives the changes of a version: from memory where they are, else from its files. A version without changes gives a
// batch without changes, so that progress moves. It waits for room for what it reads, unless more says that there is something to merge before.
func (t *tableRun) collect(ctx context.Context, x *follower, version int64, more bool) ([]silver.Batch, int64, error) {
	if hot, ok := x.feed.has(version); ok {
		out := []silver.Batch{{Feed: x.path, Version: version}}
		for _, slab := range hot.changes {
			if x.topic == "" || len(slab) > 0 && slab[0].Record.Topic != x.topic {
				slab = slices.DeleteFunc(slices.Clone(slab), func(c connectors.Change) bool { return !t.topics[c.Record.Topic] })
			}
			out = append(out, silver.Batch{Feed: x.path, Version: version, Changes: slab})
		}
		return out, hot.bytes, nil
	}
	files, began := int64(0), time.Now()
	defer func() { t.read += time.Since(began) }()
	pieces, refused, err := bronze.ReadVersion(ctx, x.table, version, t.dec, bronze.ReadOptions{
		Topics: func(topic string) bool { return t.topics[topic] },
		Admit: func(bytes int64) error {
			files = bytes
			ok, err := t.cold.admit(ctx, bytes, more)
			if err == nil && !ok {
				err = errNoRoom
			}
			return err
		},
	})
	if err != nil {
		return nil, 0, err
	}
	t.u.rt.stats.cold.Add(1)
	if len(refused) > 0 {
		// Whoever appended them has written the same letters, unless the transforms were others then. Each is kept once.
		for i := range refused {
			refused[i].Connector = t.cfg.Name
		}
		if err := t.letters("")(ctx, refused); err != nil {
			return nil, 0, err
		}
	}
	out := []silver.Batch{{Feed: x.path, Version: version}} // also where there is nothing, so that progress moves
	bytes := int64(0)
	for _, changes := range pieces {
		for i := range changes {
			bytes += bronze.HotBytes(&changes[i])
		}
		out = append(out, silver.Batch{Feed: x.path, Version: version, Changes: changes})
	}
	t.cold.correct(files, bytes)
	return out, bytes, nil
}

// letters gives the sink of records that cannot be applied to a table.
func (t *tableRun) letters(table string) func(context.Context, []connectors.DeadLetter) error {
	var box *deadletter.Box
	return func(ctx context.Context, ls []connectors.DeadLetter) error {
		if box == nil {
			box = t.u.rt.letters.box(t.lake, t.cfg, table)
		}
		err := box.Write(ctx, ls, nil)
		if err == nil && t.cfg.ErrorsTolerance == "none" && len(ls) > 0 {
			err = commit.Permanent(fmt.Errorf("record %s is a dead letter, and errors.tolerance is none: %s", ls[0].Record.EventID(), ls[0].Reason))
		}
		return err
	}
}
