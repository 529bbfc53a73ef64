package coordinator

import (
	"context"
	"maps"
	"time"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// Owned gives all connectors, the assignments of this node (revoked ones included: they are to be released), and a
// channel that is closed when any of it may have changed. Without a valid lease the node owns nothing: tasks that are
// no longer listed are to be stopped at once, without a release.
func (c *Coordinator) Owned() ([]ownership.Connector, []ownership.Assignment, <-chan struct{}) {
	changed := c.m.changed.wait()
	held := c.holdsLease()
	c.m.mu.RLock()
	defer c.m.mu.RUnlock()
	var mine []ownership.Assignment
	// What a former life of this node owned is not owned by this one.
	if m, ok := c.m.st.Member(c.opts.NodeID); ok && held && m.Incarnation == c.incarnation {
		mine = c.m.st.Owned(c.opts.NodeID)
	}
	return c.m.st.Connectors(), mine, changed
}

// Release lets go of a task. It returns when the cluster has agreed, so that the next owner may begin. A task that is
// not this node's under that epoch is left alone, which is not an error.
func (c *Coordinator) Release(ctx context.Context, id ownership.TaskID, epoch uint64) error {
	_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_Release{Release: &raftv1.Release{
		Node: c.opts.NodeID, Items: []*raftv1.Release_Item{{Task: state.TaskIDToProto(id), Epoch: epoch}},
	}}})
	return err
}

// Report notes the statuses of this node's tasks; they are delivered in the background, the newest of each task, until
// the cluster has them. Loads go to the leader beside the log.
func (c *Coordinator) Report(_ context.Context, statuses []ownership.TaskStatus) error {
	c.mu.Lock()
	for _, s := range statuses {
		c.mu.loads[s.ID] = s.Load
		s.Load, s.Node = 0, c.opts.NodeID
		s.State = state.StateFromProto(state.StateToProto(s.State)) // the closed list
		if s.State == ownership.Stopped {
			s.State = ownership.Unassigned // tasks are never STOPPED
		}
		c.mu.reported[s.ID] = s
	}
	c.mu.Unlock()
	c.report.broadcast()
	return nil
}

// deliver brings reported statuses into the agreed state.
func (c *Coordinator) deliver(ctx context.Context) {
	for {
		again := c.report.wait()
		changed := c.m.changed.wait()
		if due := c.undelivered(); len(due) > 0 {
			cmd := &raftv1.ReportTasks{}
			for _, s := range due {
				cmd.Statuses = append(cmd.Statuses, state.StatusToProto(s))
			}
			_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_ReportTasks{ReportTasks: cmd}})
			pause := c.timing.Heartbeat / 20 // gathers what comes in quick succession
			if err != nil {
				pause = c.timing.Heartbeat
			}
			if !sleep(ctx, pause) {
				return
			}
			continue
		}
		select {
		case <-again:
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// undelivered lists the statuses that the agreed state should take and has not; those of runs that are over are
// forgotten.
func (c *Coordinator) undelivered() []ownership.TaskStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.reported) == 0 {
		return nil
	}
	c.m.mu.RLock()
	defer c.m.mu.RUnlock()
	var due []ownership.TaskStatus
	for id, s := range c.mu.reported {
		a, ok := c.m.st.Assignment(id)
		have, known := c.m.st.TaskStatus(id)
		if !ok || a.Node != c.opts.NodeID || a.Epoch > s.Epoch {
			delete(c.mu.reported, id)
			delete(c.mu.loads, id)
			continue
		}
		if a.Epoch == s.Epoch && known && have.Epoch == s.Epoch && have != s {
			if have.State == ownership.Failed && s.State == ownership.Paused {
				continue
			}
			due = append(due, s)
		}
	}
	return due
}

func (c *Coordinator) currentLoads() map[ownership.TaskID]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.mu.loads)
}

// holdsLease says whether this node may run its tasks.
func (c *Coordinator) holdsLease() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.forever || time.Now().Before(c.mu.lease)
}

// renewLease extends the lease to d after sent, when the question was asked.
func (c *Coordinator) renewLease(sent time.Time, d time.Duration, forever bool) {
	c.mu.Lock()
	had := c.mu.forever || time.Now().Before(c.mu.lease)
	if until := sent.Add(d); until.After(c.mu.lease) {
		c.mu.lease = until
	}
	c.mu.forever = forever
	has := c.mu.forever || time.Now().Before(c.mu.lease)
	c.mu.Unlock()
	if has != had {
		c.m.changed.broadcast()
	}
	c.owned.broadcast()
}

// watchLease wakes the worker when the lease runs out.
func (c *Coordinator) watchLease(ctx context.Context) {
	held := false
	for {
		renewed := c.owned.wait()
		c.mu.Lock()
		left, forever := time.Until(c.mu.lease), c.mu.forever
		c.mu.Unlock()
		now := forever || left > 0
		if held && !now {
			c.mu.Lock()
			c.mu.lost++
			c.mu.lostAt = time.Now()
			c.mu.Unlock()
			c.log.Warn("lost touch with the leader past the lease: tasks stop here until it is back")
			c.m.changed.broadcast()
		}
		held = now
		var expiry <-chan time.Time
		var timer *time.Timer
		if now && !forever {
			timer = time.NewTimer(left)
			expiry = timer.C
		}
		select {
		case <-expiry:
		case <-renewed:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}
