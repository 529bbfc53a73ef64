package coordinator

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// leadership is one term of this node as leader: what a leader knows that is not in the log.
type leadership struct {
	c     *Coordinator
	term  uint64
	since time.Time
	poke  chan struct{} // one wake-up waits at most

	pulses   *pulses
	entering sync.Mutex // held while a member is registered or removed
	finder   *finder
	revoked  map[ownership.TaskID]revocation
	balanced time.Time
	planned  uint64    // changes up to which there is nothing to place, plus one
	looked   time.Time // for overdue releases
	voted    time.Time
	takers   string
}

type revocation struct {
	epoch uint64
	since time.Time
}

// leading gives the present term, nil while this node does not lead or has not yet caught up with its own log.
func (c *Coordinator) leading() *leadership {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.lead
}

// campaign follows Raft's elections: it leads while this node is elected, and has ended what leading started before it
// returns or leads again.
func (c *Coordinator) campaign(ctx context.Context) {
	for {
		if c.node.IsLeader() {
			c.leadOnce(ctx)
		}
		if !c.node.IsLeader() {
			select {
			case <-c.node.LeaderCh():
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// leadOnce leads until leadership or ctx ends.
func (c *Coordinator) leadOnce(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	term := c.node.Term()
	// Everything that former leaders have promised is applied before this one decides anything.
	if err := c.node.Barrier(ctx); err != nil {
		c.log.Debug("elected, and lost before the log was applied", "error", err)
		sleep(ctx, 20*time.Millisecond)
		return
	}
	l := &leadership{
		c: c, term: term, since: time.Now(), poke: make(chan struct{}, 1),
		revoked: map[ownership.TaskID]revocation{},
	}
	l.pulses = newPulses(c, l.wake)
	l.finder = newFinder(c)
	if err := l.establish(ctx); err != nil {
		c.log.Debug("elected, and lost before the first entry", "error", err)
		sleep(ctx, 20*time.Millisecond)
		return
	}
	c.mu.Lock()
	c.mu.lead = l
	c.mu.Unlock()
	c.log.Info("leads the cluster", "term", term)
	defer func() {
		c.mu.Lock()
		c.mu.lead = nil
		c.mu.Unlock()
		cancel()
		l.pulses.wait()
		l.finder.wait()
		c.log.Info("leads the cluster no more", "term", term)
	}()
	l.run(ctx)
}

func (l *leadership) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// establish names the cluster if nobody has, and enters this node.
func (l *leadership) establish(ctx context.Context) error {
	c := l.c
	if view(c.m, (*state.State).ClusterID) == "" {
		if err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_InitCluster{
			InitCluster: &raftv1.InitCluster{ClusterId: randomID()},
		}}); err != nil {
			return err
		}
	}
	m, ok := view2(c.m, func(s *state.State) (state.Member, bool) { return s.Member(c.opts.NodeID) })
	if !ok || m.Incarnation != c.incarnation {
		return l.register(ctx, c.heartbeat())
	}
	return nil
}

// run is the leader's loop: look, decide, propose; after everything that may matter, and every tick.
func (l *leadership) run(ctx context.Context) {
	tick := time.NewTicker(max(l.c.timing.Heartbeat/4, 5*time.Millisecond))
	defer tick.Stop()
	for l.c.node.IsLeader() && l.c.node.Term() == l.term {
		changed := l.c.m.changed.wait()
		if err := l.step(ctx); err != nil {
			if errors.Is(err, raftnode.ErrNotLeader) || errors.Is(err, raftnode.ErrUnknown) || errors.Is(err, raftnode.ErrClosed) {
				// Raft says through its state whether that was the end.
				sleep(ctx, 10*time.Millisecond)
			} else if ctx.Err() == nil {
				l.c.log.Error("leader's round", "error", err)
				sleep(ctx, l.c.timing.Heartbeat)
			}
		}
		select {
		case <-changed:
		case <-l.poke:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *leadership) step(ctx context.Context) error {
	if err := l.members(ctx); err != nil {
		return err
	}
	if err := l.voters(ctx); err != nil {
		return err
	}
	if err := l.ratchet(ctx); err != nil {
		return err
	}
	if err := l.discover(ctx); err != nil {
		return err
	}
	if err := l.overdue(ctx); err != nil {
		return err
	}
	return l.plan(ctx)
}

// propose writes a command of the leader's own.
func (l *leadership) propose(ctx context.Context, cmd *raftv1.Command) error {
	res, err := l.c.apply(ctx, cmd)
	if err != nil {
		return err
	}
	if errors.Is(res.Err, ownership.ErrConflict) || errors.Is(res.Err, ownership.ErrNotFound) {
		return nil // overtaken by a change; the next round sees it
	}
	return res.Err
}

// ratchet raises the version of commands once every member knows it (D10).
func (l *leadership) ratchet(ctx context.Context) error {
	var feature, known uint32
	view(l.c.m, func(s *state.State) bool {
		feature, known = s.FeatureVersion(), uint32(state.CommandVersion)
		for _, m := range s.Members() {
			known = min(known, m.Versions.GetCommand())
		}
		return true
	})
	if known <= feature {
		return nil
	}
	l.c.log.Info("every member knows newer commands", "version", known)
	return l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_RatchetVersion{RatchetVersion: &raftv1.RatchetVersion{Version: known}}})
}
