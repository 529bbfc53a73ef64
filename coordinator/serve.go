package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// Codes of answers that only nodes see. Names are never changed.
const (
	codeNotLeader    = "not_leader"
	codeStarting     = "starting"
	codeNoLeader     = "no_leader"
	codeUnknown      = "unknown_outcome"
	codeRemoved      = "removed"
	codeDuplicate    = "duplicate_node"
	codeWrongCluster = "wrong_cluster"
	codeClock        = "clock"
	codeBusy         = "busy"
)

func refuse(code string, err error) *peerv1.Response {
	return &peerv1.Response{Code: code, Message: err.Error()}
}

func (c *Coordinator) notLeader() *peerv1.Response {
	_, addr := c.node.Leader()
	r := refuse(codeNotLeader, fmt.Errorf("node %s does not lead", c.opts.NodeID))
	if addr != c.opts.PeerAdvertised {
		r.LeaderAddress = addr
	}
	return r
}

// serve answers requests of peers.
func (c *Coordinator) serve(ctx context.Context, req *peerv1.Request) *peerv1.Response {
	if st := req.GetStatus(); st != nil {
		return c.serveStatus()
	}
	mine := c.ClusterID()
	if theirs := req.GetClusterId(); mine != "" && theirs != "" && mine != theirs {
		return refuse(codeWrongCluster, fmt.Errorf("node %s belongs to cluster %s, the caller to %s; check cluster.join and data.dir of both",
			c.opts.NodeID, mine, theirs))
	}
	switch b := req.GetBody().(type) {
	case *peerv1.Request_Join:
		return c.serveJoin(ctx, b.Join)
	case *peerv1.Request_Heartbeat:
		return c.serveHeartbeat(b.Heartbeat)
	case *peerv1.Request_Forward:
		return c.serveForward(ctx, b.Forward)
	case *peerv1.Request_Vote:
		return c.serveVote(b.Vote)
	case *peerv1.Request_Admin:
		return c.serveAdmin(ctx, b.Admin)
	case *peerv1.Request_Level:
		if c.opts.SetLevel != nil {
			c.opts.SetLevel(b.Level.GetLogger(), slog.Level(b.Level.GetLevel()))
		}
		return &peerv1.Response{Body: &peerv1.Response_Level{Level: &peerv1.LevelResponse{}}}
	default:
		return refuse("unimplemented", fmt.Errorf("node %s does not know this request; it is older than the caller", c.opts.NodeID))
	}
}

func (c *Coordinator) serveStatus() *peerv1.Response {
	formed, err := c.node.Formed()
	if err != nil {
		return refuse("internal", err)
	}
	id, addr := c.node.Leader()
	own := c.Condition()
	return &peerv1.Response{Body: &peerv1.Response_Status{Status: &peerv1.StatusResponse{
		HoldsLease: own.HoldsLease, LeasesLost: own.LeasesLost, LeaseLostUnixMs: own.LeaseLostMs, RefusedCommits: own.RefusedCommits,
		NodeId: c.opts.NodeID, Incarnation: c.incarnation, ClusterId: c.ClusterID(), Formed: formed, LeaderId: id, LeaderAddress: addr,
		UnixMs: c.opts.Now().UnixMilli(), Versions: c.versions(), AppliedIndex: c.node.AppliedIndex(), RestAddress: c.opts.RESTAdvertised,
		Term: c.node.Term(), State: c.Stage(),
	}}}
}

// serveJoin enters a node in Raft's configuration, without a vote at first: votes are given once it has proved itself.
func (c *Coordinator) serveJoin(ctx context.Context, req *peerv1.JoinRequest) *peerv1.Response {
	l := c.leading()
	if l == nil {
		return c.notLeader()
	}
	if req.GetClusterId() != "" && req.GetClusterId() != c.ClusterID() {
		return refuse(codeWrongCluster, fmt.Errorf("this is cluster %s, and the data.dir of node %s belongs to cluster %s: "+
			"start it with another data.dir, or with the seeds of its own cluster", c.ClusterID(), req.GetNodeId(), req.GetClusterId()))
	}
	if skew := c.skew(req.GetUnixMs()); skew > c.timing.ClockSkew {
		return refuse(codeClock, fmt.Errorf("the clock of node %s is %s off that of node %s (at most %s is allowed): set it right, with NTP if possible",
			req.GetNodeId(), skew.Round(time.Second), c.opts.NodeID, c.timing.ClockSkew))
	}
	if feature := view(c.m, (*state.State).FeatureVersion); req.GetVersions().GetCommand() < feature {
		return refuse("too_new", fmt.Errorf("the cluster uses command version %d and node %s (%s) knows up to %d: start it with a newer binary: %w",
			feature, req.GetNodeId(), req.GetVersions().GetBinary(), req.GetVersions().GetCommand(), ownership.ErrTooNew))
	}
	if err := l.pulses.collides(ctx, req); err != nil {
		return refuse(codeDuplicate, err)
	}
	if !req.GetEmpty() && c.removed(req.GetNodeId()) {
		return refuse(codeRemoved, removedError(req.GetNodeId()))
	}
	if err := c.enter(ctx, req); err != nil {
		return c.failure(err)
	}
	return &peerv1.Response{Body: &peerv1.Response_Join{Join: &peerv1.JoinResponse{ClusterId: c.ClusterID(), Index: c.node.CommitIndex()}}}
}

// removed says of a node with data of this cluster that it is no member any more.
func (c *Coordinator) removed(id string) bool {
	_, member := view2(c.m, func(s *state.State) (state.Member, bool) { return s.Member(id) })
	return !member && !slices.ContainsFunc(c.node.Servers(), func(s raftServer) bool { return s.ID == id })
}

func removedError(id string) error {
	return ownership.Errorf(ownership.ErrConflict, "node %s was removed from its cluster; to join again it has to start with an empty data.dir", id)
}

func (c *Coordinator) enter(ctx context.Context, req *peerv1.JoinRequest) error {
	id, addr := req.GetNodeId(), req.GetPeerAddress()
	if id == c.opts.NodeID {
		return errors.New("a node cannot join itself")
	}
	for _, s := range c.node.Servers() {
		switch {
		case s.ID != id && s.Address == addr:
			// A node that was given another name: its old one will not come back.
			if err := c.node.Remove(ctx, s.ID); err != nil {
				return err
			}
		case s.ID != id:
		case req.GetEmpty() && s.Voter:
			// It has forgotten its votes and its log, so it must not vote before it has them again.
			if err := c.node.Demote(ctx, id); err != nil {
				return err
			}
		case s.Voter:
			if s.Address == addr {
				return nil
			}
			return c.node.AddVoter(ctx, id, addr)
		}
	}
	return c.node.AddNonvoter(ctx, id, addr)
}

// collides says whether another living process goes by the name of a node that wants to join.
func (p *pulses) collides(ctx context.Context, req *peerv1.JoinRequest) error {
	m, ok := view2(p.c.m, func(s *state.State) (state.Member, bool) { return s.Member(req.GetNodeId()) })
	if !ok || m.Incarnation == req.GetIncarnation() || m.PeerAddress == req.GetPeerAddress() {
		return nil
	}
	if p.judge(ctx, m).alive {
		pctx, cancel := context.WithTimeout(ctx, 2*p.c.timing.Heartbeat)
		defer cancel()
		resp, err := p.c.call(pctx, m.PeerAddress, &peerv1.Request{Body: &peerv1.Request_Status{Status: &peerv1.StatusRequest{}}})
		if err == nil && resp.GetStatus().GetNodeId() == m.ID && resp.GetStatus().GetIncarnation() == m.Incarnation {
			return fmt.Errorf("node.id %s is in use by the node at %s; give the one at %s another node.id", m.ID, m.PeerAddress, req.GetPeerAddress())
		}
	}
	return nil
}
