package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// form makes this node part of a cluster: its own of old, that of the seeds, or a new one.
//
// A new cluster is formed by one of the seeds, the one with the smallest address among those that answer, if a majority
// of the seeds, itself included, belongs to no cluster and consents. Each node consents to one candidate (and writes
// that down), so two clusters cannot come into being, whatever the start order; the others find the one there is and
// join it. A majority is asked, because a formed cluster may not answer just now, but then a majority of its seeds would
// not be empty.
func (c *Coordinator) form(ctx context.Context) error {
	formed, err := c.node.Formed()
	if err != nil {
		return err
	}
	if formed && (!c.empty || len(c.opts.Join) == 0) {
		return c.rejoin(ctx)
	}
	if len(c.opts.Join) == 0 {
		c.setStage("forming a cluster of one")
		return c.node.Bootstrap()
	}
	if err := c.joining.begin(); err != nil {
		return err
	}
	var said string
	for {
		done, wait, err := c.formStep(ctx)
		if err != nil {
			return err
		}
		if done {
			err := c.joining.end()
			c.node.Vote()
			return err
		}
		if wait != said {
			said = wait
			c.setStage("waiting for " + wait)
			c.log.Info("waits to be part of a cluster", "for", wait)
		}
		if !sleep(ctx, max(c.timing.Heartbeat/2, 10*time.Millisecond)) {
			return nil
		}
	}
}

// seed is what a node says of itself.
type seed struct {
	address string
	self    bool
	status  *peerv1.StatusResponse
	err     error
}

// formStep looks at the seeds once and does what it can.
func (c *Coordinator) formStep(ctx context.Context) (done bool, wait string, err error) {
	seeds := c.askSeeds(ctx)
	var silent, empty []string
	var cluster string
	for _, s := range seeds {
		switch {
		case s.err != nil:
			silent = append(silent, fmt.Sprintf("%s (%v)", s.address, rootCause(s.err)))
			continue
		case !s.self && s.status.GetNodeId() == c.opts.NodeID:
			return false, "", ownership.Errorf(ownership.ErrConflict, "the node at %s has the same node.id, %s, as this one: give each node its own",
				s.address, c.opts.NodeID)
		case !s.self && c.skewed(s.status.GetUnixMs()):
			return false, "", ownership.Errorf(ownership.ErrConflict, "the clocks of this node and of %s are %s apart (at most %s is allowed): set them right, with NTP if possible",
				s.address, c.skew(s.status.GetUnixMs()).Round(time.Second), c.timing.ClockSkew)
		case s.status.GetFormed():
			if id := s.status.GetClusterId(); id != "" {
				if cluster != "" && cluster != id {
					return false, "", ownership.Errorf(ownership.ErrConflict, "the seeds in cluster.join belong to different clusters, %s and %s: list the seeds of one", cluster, id)
				}
				cluster = id
			}
		default:
			empty = append(empty, s.address)
		}
	}
	for _, s := range seeds {
		if s.err == nil && s.status.GetFormed() {
			addr := s.status.GetLeaderAddress()
			if addr == "" {
				addr = s.address
			}
			joined, why, err := c.join(ctx, addr, true)
			if joined || err != nil {
				return joined, "", err
			}
			wait = why
		}
	}
	if wait != "" {
		return false, wait, nil
	}
	need := len(seeds)/2 + 1
	if len(empty) < need {
		return false, fmt.Sprintf("a majority of the seeds (%d of %d); no answer from %s", need, len(seeds), strings.Join(silent, ", ")), nil
	}
	// seeds are sorted: the first empty one is the candidate.
	for _, s := range seeds {
		if s.err == nil && !s.status.GetFormed() {
			if !s.self {
				return false, "the node at " + s.address + " to form the cluster", nil
			}
			return c.stand(ctx, seeds, need)
		}
	}
	return false, "the seeds", nil
}

// stand asks the empty seeds for their consent and forms the cluster with that of a majority.
func (c *Coordinator) stand(ctx context.Context, seeds []seed, need int) (done bool, wait string, err error) {
	if ok, other, err := c.vote.grant(c.opts.NodeID); err != nil || !ok {
		return false, "the node " + other + ", to which this one has consented, to form the cluster", err
	}
	votes := 1
	refused := ""
	for _, s := range seeds {
		if s.self || s.err != nil || s.status.GetFormed() {
			continue
		}
		vctx, cancel := context.WithTimeout(ctx, time.Second)
		resp, err := c.call(vctx, s.address, &peerv1.Request{Body: &peerv1.Request_Vote{Vote: &peerv1.VoteRequest{
			CandidateId: c.opts.NodeID, CandidateIncarnation: c.incarnation,
		}}})
		cancel()
		switch {
		case err == nil && resp.GetVote().GetGranted():
			votes++
		case err == nil && resp.GetCode() == "":
			refused = resp.GetVote().GetVotedFor()
		}
	}
	if votes >= need {
		c.log.Info("forms the cluster", "votes", votes, "seeds", len(seeds))
		if err := c.node.Bootstrap(); err != nil {
			return false, "", err
		}
		return true, "", nil
	}
	// Not enough: the consents are given back, so that another candidate can have them.
	for _, s := range seeds {
		if s.self || s.err != nil {
			continue
		}
		vctx, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = c.call(vctx, s.address, &peerv1.Request{Body: &peerv1.Request_Vote{Vote: &peerv1.VoteRequest{
			CandidateId: c.opts.NodeID, CandidateIncarnation: c.incarnation, Withdraw: true,
		}}}) // one that does not hear it grants the same candidate again
		cancel()
	}
	if err := c.vote.withdraw(c.opts.NodeID); err != nil {
		return false, "", err
	}
	if refused != "" {
		return false, "the consent of more seeds: some have consented to " + refused, nil
	}
	return false, fmt.Sprintf("the consent of %d of %d seeds, has %d", need, len(seeds), votes), nil
}

// askSeeds asks all seeds at once who they are; this node is one of them, listed or not. Sorted by address, each node
// once.
func (c *Coordinator) askSeeds(ctx context.Context) []seed {
	addrs := slices.Clone(c.opts.Join)
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	out := make([]seed, len(addrs))
	ch := make(chan int)
	for i, a := range addrs {
		go func() {
			out[i] = c.askSeed(ctx, a)
			ch <- i
		}()
	}
	for range addrs {
		<-ch
	}
	seen := map[string]bool{}
	self := false
	out = slices.DeleteFunc(out, func(s seed) bool {
		if s.err != nil {
			return false
		}
		dup := seen[s.status.GetIncarnation()]
		seen[s.status.GetIncarnation()] = true
		self = self || s.self
		return dup
	})
	if !self {
		out = append(out, seed{address: c.opts.PeerAdvertised, self: true, status: c.serveStatus().GetStatus()})
	}
	slices.SortFunc(out, func(a, b seed) int { return strings.Compare(a.address, b.address) })
	return out
}

func (c *Coordinator) askSeed(ctx context.Context, addr string) seed {
	if addr == c.opts.PeerAdvertised {
		return seed{address: addr, self: true, status: c.serveStatus().GetStatus()}
	}
	actx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	resp, err := c.call(actx, addr, &peerv1.Request{Body: &peerv1.Request_Status{Status: &peerv1.StatusRequest{}}})
	if err == nil && resp.GetCode() != "" {
		err = errors.New(resp.GetMessage())
	}
	return seed{address: addr, status: resp.GetStatus(), err: err, self: resp.GetStatus().GetIncarnation() == c.incarnation}
}

// join asks the node at addr, or the leader that it names, to enter this one. An error is one that waiting does not
// mend.
func (c *Coordinator) join(ctx context.Context, addr string, empty bool) (joined bool, wait string, err error) {
	for range 3 {
		jctx, cancel := context.WithTimeout(ctx, c.timing.Write)
		resp, err := c.call(jctx, addr, &peerv1.Request{Body: &peerv1.Request_Join{Join: &peerv1.JoinRequest{
			NodeId: c.opts.NodeID, Incarnation: c.incarnation, PeerAddress: c.opts.PeerAdvertised, RestAddress: c.opts.RESTAdvertised,
			Versions: c.versions(), UnixMs: c.opts.Now().UnixMilli(), ClusterId: c.ClusterID(), Empty: empty,
		}}})
		cancel()
		if err != nil {
			return false, fmt.Sprintf("the cluster of %s (%v)", addr, rootCause(err)), nil
		}
		switch resp.GetCode() {
		case "":
			return true, "", nil
		case codeNotLeader:
			if resp.GetLeaderAddress() == "" {
				return false, "a leader in the cluster of " + addr, nil
			}
			addr = resp.GetLeaderAddress()
		case codeRemoved:
			return false, "", removedError(c.opts.NodeID)
		case codeWrongCluster, codeClock, codeDuplicate, "too_new":
			kind := "conflict"
			if resp.GetCode() == "too_new" {
				kind = resp.GetCode()
			}
			return false, "", fmt.Errorf("join the cluster: %w", state.FromCode(kind, resp.GetMessage()))
		default:
			return false, fmt.Sprintf("the cluster of %s (%s)", addr, resp.GetMessage()), nil
		}
	}
	return false, "a leader that stays", nil
}

// rejoin is for a node with data: it belongs to its cluster, which it finds through Raft. The seeds are asked once
// whether they are of the same one.
func (c *Coordinator) rejoin(ctx context.Context) error {
	c.setStage("looking for the leader of its cluster")
	if len(c.opts.Join) == 0 {
		return nil
	}
	mine := c.ClusterID()
	for !c.isReady() {
		if mine == "" {
			mine = c.ClusterID()
		}
		for _, s := range c.askSeeds(ctx) {
			if s.err != nil || s.self {
				continue
			}
			if id := s.status.GetClusterId(); mine != "" && id != "" && id != mine {
				return ownership.Errorf(ownership.ErrConflict, "data.dir of this node belongs to cluster %s, and the seed %s to cluster %s: correct cluster.join, "+
					"or start this node with an empty data.dir to join the other cluster", mine, s.address, id)
			}
			if c.skewed(s.status.GetUnixMs()) {
				c.log.Warn("the clocks of two nodes are apart", "peer", s.address, "by", c.skew(s.status.GetUnixMs()).Round(time.Second))
			}
			// A cluster whose nodes have all got new addresses finds itself again through the seeds.
			if addr := s.status.GetLeaderAddress(); addr != "" && c.moved(addr) {
				if _, _, err := c.join(ctx, addr, false); err != nil {
					return err
				}
			}
		}
		if !sleep(ctx, 5*c.timing.Heartbeat) {
			return nil
		}
	}
	return nil
}

// moved says whether Raft here has heard nothing of that leader: then the leader may know this node by an old address.
func (c *Coordinator) moved(leader string) bool {
	_, addr := c.node.Leader()
	return addr == "" && leader != c.opts.PeerAdvertised
}

// skew is how far another clock is off this node's.
func (c *Coordinator) skew(unixMS int64) time.Duration {
	return c.opts.Now().Sub(time.UnixMilli(unixMS)).Abs()
}

func (c *Coordinator) skewed(unixMS int64) bool {
	return unixMS != 0 && c.skew(unixMS) > c.timing.ClockSkew
}

// rootCause gives the last error of a chain: what went wrong rather than where.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
