package coordinator

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"sluice.io/sluice/coordinator/state"
	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// beat tells the leader that this node lives, and keeps the lease by its answers.
func (c *Coordinator) beat(ctx context.Context) {
	for {
		refused := c.beatOnce(ctx)
		pause := c.timing.Heartbeat
		if refused {
			pause /= 4
		}
		if !c.isReady() || !c.holdsLease() {
			pause = min(pause, 20*time.Millisecond)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (c *Coordinator) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// beatOnce says whether the leader's port refused the heartbeat.
func (c *Coordinator) beatOnce(ctx context.Context) (refused bool) {
	c.mu.Lock()
	leaving := c.mu.leaving
	c.mu.Unlock()
	if leaving {
		return false
	}
	sent := time.Now()
	req := c.heartbeat()
	var resp *peerv1.Response
	if c.node.IsLeader() {
		resp = c.serveHeartbeat(req)
	} else {
		_, addr := c.node.Leader()
		if addr == "" {
			return false
		}
		callCtx, cancel := context.WithTimeout(ctx, c.timing.Lease/2)
		defer cancel()
		var err error
		resp, err = c.call(callCtx, addr, &peerv1.Request{Body: &peerv1.Request_Heartbeat{Heartbeat: req}})
		if err != nil {
			return c.leaderSilent(addr, err) // the lease says how long this may go on
		}
	}
	c.refusals = 0
	switch resp.GetCode() {
	case "":
		alone := false
		if c.node.IsLeader() {
			alone = len(c.node.Servers()) == 1
		}
		lease := time.Duration(resp.GetHeartbeat().GetLeaseMs()) * time.Millisecond
		// The leader may have given this node's tasks away while it was not heard. A lease on what this node believes to
		// own would then be one on what another node runs already, so first it learns what the leader knew.
		wctx, cancel := context.WithTimeout(ctx, c.timing.Lease/2)
		defer cancel()
		if c.m.waitIndex(wctx, resp.GetHeartbeat().GetIndex()) != nil {
			return false
		}
		c.renewLease(sent, lease, alone)
		c.checkReady()
	case codeRemoved:
		c.stop(removedError(c.opts.NodeID))
	case codeDuplicate, codeWrongCluster:
		c.stop(state.FromCode("conflict", resp.GetMessage()))
	}
	return false
}

// leaderSilent looks at why a heartbeat was not answered. Where nobody listens at the leader's port any more its process
// is gone, and one voter, the first of the others, stands for election without waiting out the leader's silence; the others
// follow in turn, should it be gone as well.
func (c *Coordinator) leaderSilent(addr string, err error) (refused bool) {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		c.refusals = 0
		return false
	}
	if addr != c.refusedBy {
		c.refusedBy, c.refusals = addr, 0
	}
	c.refusals++
	turn := 2
	for _, s := range c.node.Servers() {
		if !s.Voter || s.Address == addr {
			continue
		}
		if s.ID == c.opts.NodeID {
			if c.refusals == turn {
				c.log.Debug("the leader's process is gone: stands for election", "leader", addr)
				c.node.Elect()
			}
			break
		}
		turn += 4
	}
	return true
}

func (c *Coordinator) heartbeat() *peerv1.HeartbeatRequest {
	req := &peerv1.HeartbeatRequest{
		NodeId: c.opts.NodeID, Incarnation: c.incarnation, AppliedIndex: c.node.AppliedIndex(), UnixMs: c.opts.Now().UnixMilli(),
		PeerAddress: c.opts.PeerAdvertised, RestAddress: c.opts.RESTAdvertised, Versions: c.versions(),
	}
	for id, l := range c.currentLoads() {
		if l > 0 {
			req.Loads = append(req.Loads, &peerv1.TaskLoad{Task: state.TaskIDToProto(id), Load: l})
		}
	}
	return req
}

// checkReady closes Ready once the agreed state knows this life of this node.
func (c *Coordinator) checkReady() {
	if c.isReady() {
		return
	}
	m, ok := view2(c.m, func(s *state.State) (state.Member, bool) { return s.Member(c.opts.NodeID) })
	if ok && m.Incarnation == c.incarnation && m.Alive && c.ClusterID() != "" {
		if err := c.cluster.set(c.ClusterID()); err != nil {
			c.stop(err)
			return
		}
		c.readyOnce.Do(func() {
			c.setStage("ready")
			c.log.Info("member of the cluster", "cluster", c.ClusterID(), "peer", c.opts.PeerAdvertised)
			close(c.ready)
			c.m.changed.broadcast()
		})
	}
}

func view2[A, B any](m *machine, f func(*state.State) (A, B)) (A, B) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(m.st)
}

// serveHeartbeat is the leader's side.
func (c *Coordinator) serveHeartbeat(req *peerv1.HeartbeatRequest) *peerv1.Response {
	l := c.leading()
	if l == nil || !c.node.IsLeader() {
		return c.notLeader()
	}
	known := false
	for _, s := range c.node.Servers() {
		known = known || s.ID == req.GetNodeId()
	}
	if !known {
		return refuse(codeRemoved, fmt.Errorf("node %s is not a member of this cluster", req.GetNodeId()))
	}
	ok, err := l.pulses.heard(req)
	if err != nil {
		return refuse(codeDuplicate, err)
	}
	if !ok {
		return refuse(codeBusy, fmt.Errorf("node %s is being declared dead; it is to ask again", req.GetNodeId()))
	}
	return &peerv1.Response{Body: &peerv1.Response_Heartbeat{Heartbeat: &peerv1.HeartbeatResponse{
		Term: l.term, LeaseMs: uint32(c.timing.Lease.Milliseconds()), Index: view(c.m, (*state.State).Index),
	}}}
}
