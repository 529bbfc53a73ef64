package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// discoverTimeout bounds one question to the broker.
const discoverTimeout = 20 * time.Second

// finder asks about the connectors' topics, each connector on its own, so that one that hangs holds up no other.
type finder struct {
	c  *Coordinator
	wg sync.WaitGroup

	mu    sync.Mutex
	known map[string]*finding
}

// finding is what the finder knows of one connector.
type finding struct {
	run   uint64 // the connector's run that was last asked for
	asked time.Time
	busy  bool
	done  *found // answer that has not been taken over
}

type found struct {
	connector ownership.Connector
	run       uint64
	topics    []ownership.Topic
	tasks     []ownership.Task
	err       error
}

func newFinder(c *Coordinator) *finder { return &finder{c: c, known: map[string]*finding{}} }

func (f *finder) wait() { f.wg.Wait() }

// ask starts a question about c if one is due.
func (f *finder) ask(ctx context.Context, c ownership.Connector, run uint64, wake func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.known[c.Name]
	if k == nil {
		k = &finding{}
		f.known[c.Name] = k
	}
	if k.busy || (k.run == run && time.Since(k.asked) < f.c.timing.Discover) {
		return
	}
	k.busy, k.run, k.asked = true, run, time.Now()
	f.wg.Go(func() {
		dctx, cancel := context.WithTimeout(ctx, discoverTimeout)
		defer cancel()
		out := &found{connector: c, run: run}
		out.topics, out.tasks, out.err = f.call(dctx, c)
		f.mu.Lock()
		k.busy, k.done = false, out
		f.mu.Unlock()
		wake()
	})
}

// call keeps a fault in the port from taking the leader down.
func (f *finder) call(ctx context.Context, c ownership.Connector) (topics []ownership.Topic, tasks []ownership.Task, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("finding the topics of connector %s failed: %v", c.Name, r)
		}
	}()
	return f.c.opts.Discovery.Discover(ctx, c)
}

func (f *finder) answers() []*found {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*found
	for _, k := range f.known {
		if k.done != nil {
			out = append(out, k.done)
			k.done = nil
		}
	}
	slices.SortFunc(out, func(a, b *found) int { return strings.Compare(a.connector.Name, b.connector.Name) })
	return out
}

func (f *finder) keep(names map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, k := range f.known {
		if !names[name] && !k.busy {
			delete(f.known, name)
		}
	}
}

// discover runs the connectors themselves: it asks what they consist of, and takes over what was answered.
func (l *leadership) discover(ctx context.Context) error {
	names := map[string]bool{}
	for _, c := range view(l.c.m, (*state.State).Connectors) {
		names[c.Name] = true
		var run uint64
		var st ownership.State
		var node string
		view(l.c.m, func(s *state.State) bool {
			run, st, node, _, _ = s.Run(c.Name)
			return true
		})
		switch {
		case c.Target == ownership.TargetPaused && st != ownership.Failed && (st != ownership.Paused || node != l.c.opts.NodeID):
			if err := l.connectorStatus(ctx, c, run, ownership.Paused, ""); err != nil {
				return err
			}
		case c.Target != ownership.TargetRunning:
		case st == ownership.Failed && l.finder.asked(c.Name, run):
			// It waits for a restart or another configuration.
		case l.c.opts.Discovery == nil:
			if st != ownership.Running || node != l.c.opts.NodeID {
				if err := l.connectorStatus(ctx, c, run, ownership.Running, ""); err != nil {
					return err
				}
			}
		default:
			l.finder.ask(ctx, c, run, l.wake)
		}
	}
	l.finder.keep(names)
	for _, a := range l.finder.answers() {
		if err := l.takeOver(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) asked(name string, run uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.known[name]
	return k != nil && k.run == run
}

func (l *leadership) takeOver(ctx context.Context, a *found) error {
	c := a.connector
	if a.err == nil || a.tasks != nil {
		cmd := &raftv1.SetTasks{Connector: c.Name, Version: c.Version}
		slices.SortFunc(a.topics, func(x, y ownership.Topic) int { return strings.Compare(x.Name, y.Name) })
		slices.SortFunc(a.tasks, func(x, y ownership.Task) int { return x.ID.Compare(y.ID) })
		for _, t := range a.topics {
			cmd.Topics = append(cmd.Topics, state.TopicToProto(t))
		}
		for i := range a.tasks {
			a.tasks[i].ID.Connector = c.Name
			cmd.Tasks = append(cmd.Tasks, state.TaskToProto(a.tasks[i]))
		}
		if !view(l.c.m, func(s *state.State) bool { return same(s, c.Name, a) }) {
			if err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_SetTasks{SetTasks: cmd}}); err != nil {
				return err
			}
		}
	}
	st, trace := ownership.Running, ""
	if a.err != nil {
		trace = a.err.Error()
		if errors.Is(a.err, ownership.ErrInvalid) {
			st = ownership.Failed
		} else if a.tasks == nil {
			l.c.log.Warn("cannot find a connector's topics", "connector", c.Name, "error", a.err)
		}
	}
	return l.connectorStatus(ctx, c, a.run, st, trace)
}

// same says whether the agreed state is already what was found.
func same(s *state.State, name string, a *found) bool {
	tasks, _ := s.Tasks(name)
	topics := slices.EqualFunc(s.Topics(name), a.topics, func(x, y ownership.Topic) bool {
		return x.Name == y.Name && x.Partitions == y.Partitions && (x.ID == y.ID || y.ID == "") // a known id is not forgotten
	})
	return topics && slices.EqualFunc(tasks, a.tasks, func(x, y ownership.Task) bool {
		return x.ID == y.ID && slices.Equal(x.Partitions, y.Partitions) && slices.Equal(x.Topics, y.Topics)
	})
}

// connectorStatus writes a connector's own state if it is another one.
func (l *leadership) connectorStatus(ctx context.Context, c ownership.Connector, run uint64, st ownership.State, trace string) error {
	unchanged := view(l.c.m, func(s *state.State) bool {
		r, have, node, why, ok := s.Run(c.Name)
		return !ok || r != run || (have == st && node == l.c.opts.NodeID && why == trace)
	})
	if unchanged {
		return nil
	}
	return l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_SetConnectorStatus{SetConnectorStatus: &raftv1.SetConnectorStatus{
		Connector: c.Name, Version: c.Version, Run: run, State: state.StateToProto(st), Node: l.c.opts.NodeID, Trace: trace,
	}}})
}
