package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/commit"
	"sluice.io/sluice/worker/task"
)

// Runtime runs the tasks that this node owns.
type Runtime struct {
	o       Options
	log     *slog.Logger
	lakes   *lakes
	clients *clients
	tables  *commit.Tables
	groups  *groups
	feeds   *feeds
	mirror  *mirror
	letters *letterBoxes
	memory  *kafka.Budget
	slabs   *bronze.Slabs

	spares   *columnar.Spares
	encoders chan struct{} // bronze.Options.Encoders
	coldRoom *coldRoom
	vacuums  chan struct{} // a table of the node is vacuumed at a time
	stats    *statistics
	merging  atomic.Int64 // silver tables that are open
	crashes  bool         // a crash hook is set
	status   *reporter

	events chan taskEvent
	tasks  map[ownership.TaskID]*taskState // the loop's
	runs   sync.WaitGroup
	hard   context.Context // ends when runs must drop everything
	kill   context.CancelFunc
}

// taskState is a task and what runs for it; it belongs to the loop.
type taskState struct {
	id         ownership.TaskID
	life       task.Task
	assignment ownership.Assignment
	connector  ownership.Connector
	run        *run
}

// run is one run of a task.
type run struct {
	epoch     uint64
	task      ownership.Task
	connector ownership.Connector
	rt        *Runtime
	log       *slog.Logger

	ctx    context.Context // ends when the run shall finish
	stop   context.CancelFunc
	hard   context.Context // ends when the run shall drop what it has
	kill   context.CancelFunc
	bytes  atomic.Int64 // work done, for Load
	passed int64        // bytes when they were looked at last; the loop's
	began  time.Time

	mu   sync.Mutex
	text string // what it waits for
}

// taskEvent is news of a task for the loop.
type taskEvent struct {
	id ownership.TaskID
	e  task.Event
}

// New makes a Runtime; Run makes it work.
func New(o Options) (*Runtime, error) {
	crashes := o.Crash != nil
	o.fill()
	if o.Ownership == nil || o.OpenLake == nil || o.Formats == nil {
		return nil, errors.New("a worker needs ownership, lakes and formats")
	}
	r := &Runtime{
		o: o, log: o.Logger, crashes: crashes, events: make(chan taskEvent, 256), tasks: map[ownership.TaskID]*taskState{},
		memory: kafka.NewBudget(o.share(chunkShare)),
	}
	r.hard, r.kill = context.WithCancel(context.Background())
	r.lakes = newLakes(o.OpenLake, func() { r.stats.conflicts.Add(1) })
	r.clients = newClients(o.Logger, kafka.NewBudget(o.share(fetchShare)))
	r.tables = commit.NewTables(o.Logger)
	r.groups = newGroups(r)
	r.slabs = bronze.NewSlabs(o.share(spareShare))
	r.feeds = newFeeds(o.share(hotShare), r.slabs)
	r.spares = columnar.NewSpares(o.share(pagesShare))
	r.encoders = make(chan struct{}, runtime.GOMAXPROCS(0))
	r.coldRoom = newColdRoom(o.share(mergeShare))
	r.vacuums = make(chan struct{}, 1)
	r.mirror = newMirror(o.Logger)
	r.letters = newLetterBoxes(r)
	r.stats = newStatistics(r)
	r.tables.OnRefused(func() { r.stats.refusedBronze.Add(1) })
	r.status = newReporter(o)
	if o.Registerer != nil {
		if err := o.Registerer.Register(r.stats); err != nil {
			return nil, fmt.Errorf("register the worker's metrics: %w", err)
		}
	}
	return r, nil
}

// Run runs tasks until ctx ends; then all of them finish their batches, within Options.Grace, and Run returns.
func (r *Runtime) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	for _, f := range []func(context.Context){r.mirror.run, r.status.run} {
		helpers.Add(1)
		go func() { defer helpers.Done(); f(background) }()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		conns, mine, changed := r.o.Ownership.Owned()
		r.reconcile(conns, mine)
	events:
		for {
			select {
			case <-changed:
				break events
			case e := <-r.events:
				r.step(e.id, e.e)
			case <-tick.C:
				r.tick()
			case <-ctx.Done():
				break events
			}
		}
	}
	r.drain()
	stop()
	helpers.Wait()
	r.clients.closeAll()
	r.tables.Wait()
	r.kill()
	if r.o.Registerer != nil {
		r.o.Registerer.Unregister(r.stats)
	}
	return r.lakes.close()
}

// reconcile makes the running set follow the owned set.
func (r *Runtime) reconcile(conns []ownership.Connector, mine []ownership.Assignment) {
	byName := make(map[string]ownership.Connector, len(conns))
	for _, c := range conns {
		byName[c.Name] = c
	}
	owned := make(map[ownership.TaskID]bool, len(mine))
	for _, a := range mine {
		id := a.Task.ID
		owned[id] = true
		t := r.tasks[id]
		if t == nil {
			t = &taskState{id: id}
			r.tasks[id] = t
		}
		c, known := byName[id.Connector]
		t.assignment = a
		switch {
		case a.Revoked:
			r.step(id, task.Revoked{Epoch: a.Epoch})
		case !known:
			continue // its connector is not here yet, or not any more: then the assignment goes as well
		default:
			t.connector = c
			r.step(id, task.Assigned{Epoch: a.Epoch, Paused: c.Target != ownership.TargetRunning})
		}
	}
	for id := range r.tasks {
		if !owned[id] {
			r.step(id, task.Gone{})
		}
	}
}

// step feeds an event to a task and carries out what follows.
func (r *Runtime) step(id ownership.TaskID, e task.Event) {
	t := r.tasks[id]
	if t == nil {
		return
	}
	if _, ended := e.(task.Ended); ended && t.run != nil {
		r.passed(id, t.run)
	}
	var effects []task.Effect
	t.life, effects = t.life.Step(e)
	for _, f := range effects {
		switch f := f.(type) {
		case task.Start:
			r.start(t, f.Epoch)
		case task.Stop:
			if t.run != nil {
				t.run.stop()
				if f.Now {
					t.run.kill()
				}
			}
		case task.Retry:
			time.AfterFunc(f.After, func() { r.post(id, task.RetryDue{Epoch: f.Epoch}) })
		case task.Release:
			r.status.release(id, f.Epoch)
		case task.Report:
			r.status.report(ownership.TaskStatus{ID: id, Node: r.o.Node, Epoch: f.Epoch, State: f.State, Trace: f.Trace})
			r.stats.state(id, f.State, f.Trace)
		case task.Forget:
			delete(r.tasks, id)
			r.status.forget(id)
			r.stats.forget(id)
		}
	}
}

// post hands an event to the loop; after the end of the Runtime it is dropped.
func (r *Runtime) post(id ownership.TaskID, e task.Event) {
	select {
	case r.events <- taskEvent{id, e}:
	case <-r.hard.Done():
	}
}

// start begins a run in a goroutine of its own.
func (r *Runtime) start(t *taskState, epoch uint64) {
	u := &run{
		epoch: epoch, task: t.assignment.Task, connector: t.connector, rt: r, began: time.Now(),
		log: r.log.With("task", t.id.String(), "epoch", epoch),
	}
	u.hard, u.kill = context.WithCancel(r.hard)
	u.ctx, u.stop = context.WithCancel(u.hard)
	t.run = u
	r.runs.Add(1)
	go func() {
		defer r.runs.Done()
		u.log.Info("task starts")
		err := guard.Do(u.work)
		asked := u.ctx.Err() != nil
		u.stop()
		u.kill()
		if asked || errors.Is(err, context.Canceled) {
			if err != nil && !errors.Is(err, context.Canceled) {
				u.log.Warn("task ended with work undone; it is done again by the next owner", "error", err)
			}
			err = nil
		}
		if err == nil {
			u.log.Info("task ended")
		} else {
			u.log.Error("task ended", "error", err, "transient", commit.Transient(err))
		}
		r.post(t.id, task.Ended{Epoch: epoch, Err: err, Transient: commit.Transient(err), Lasted: time.Since(u.began) > time.Minute})
	}()
}

// work does what the task is for. A panic in it is a defect: the task fails and shows where, the others keep running. Its goroutines hand theirs to it
// (package guard).
func (u *run) work() error {
	props := maps.Clone(u.connector.Config)
	if props == nil {
		props = map[string]string{}
	}
	props["name"] = u.connector.Name
	cfg, err := config.Parse(props, u.rt.o.Defaults)
	if err != nil {
		return commit.Permanent(err)
	}
	switch u.task.ID.Kind {
	case ownership.PartitionTask:
		return u.partitions(cfg)
	case ownership.TableTask:
		return u.table(cfg)
	}
	return commit.Permanent(fmt.Errorf("a task of kind %d is of a newer version than this node", u.task.ID.Kind))
}

// wait says what the run waits for; empty: nothing.
func (u *run) wait(text string) {
	u.mu.Lock()
	u.text = text
	u.mu.Unlock()
}

func (u *run) waiting() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.text
}

// tick looks at all runs once a second: what they wait for, and how much they do.
func (r *Runtime) tick() {
	for id, t := range r.tasks {
		if t.run == nil || t.life.Phase != task.Running {
			continue
		}
		r.step(id, task.Trouble{Epoch: t.run.epoch, Text: t.run.waiting()})
		r.status.load(id, r.passed(id, t.run))
	}
}

// passed gives what a run has done since it was asked last.
func (r *Runtime) passed(id ownership.TaskID, u *run) int64 {
	n := u.bytes.Load()
	did := n - u.passed
	u.passed = n
	if did > 0 && id.Kind == ownership.PartitionTask {
		r.status.active(id.Connector, id.Topic)
	}
	return did
}

// drain ends all tasks.
func (r *Runtime) drain() {
	for id := range r.tasks {
		r.step(id, task.Drain{})
	}
	timer := time.AfterFunc(r.o.Grace+5*time.Second, r.kill) // runs give up by themselves before
	defer timer.Stop()
	ended := make(chan struct{})
	go func() { r.runs.Wait(); close(ended) }()
	for {
		select {
		case e := <-r.events:
			r.step(e.id, e.e)
		case <-ended:
			return
		}
	}
}
