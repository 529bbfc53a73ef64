package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// pulse is what the leader knows of a node beside the log.
type pulse struct {
	last    time.Time // of the last heartbeat; when leading began, before the first
	well    time.Time // since when without a gap
	life    string
	retired map[string]bool
	request *peerv1.HeartbeatRequest // nil before the first heartbeat of this term
	loads   map[ownership.TaskID]int64
	probing bool
	refused int // probes in a row that found nobody listening
	gone    bool
	// condemned while the entry that declares the node dead is on its way: no heartbeat is answered with a lease
	// meanwhile, so no lease outlives the decision.
	condemned bool
}

// pulses is the leader's failure detector.
type pulses struct {
	c    *Coordinator
	wake func()
	wg   sync.WaitGroup

	mu   sync.Mutex
	byID map[string]*pulse
}

func newPulses(c *Coordinator, wake func()) *pulses {
	p := &pulses{c: c, wake: wake, byID: map[string]*pulse{}}
	now := time.Now()
	for _, m := range view(c.m, (*state.State).Members) {
		// Nobody is dead for not having spoken to a leader that was not there.
		p.byID[m.ID] = &pulse{last: now, well: now, life: m.Incarnation, retired: map[string]bool{}}
	}
	return p
}

func (p *pulses) wait() { p.wg.Wait() }

// heard notes a heartbeat, and says whether it may be answered with a lease. An error means that two processes go by
// one name.
func (p *pulses) heard(req *peerv1.HeartbeatRequest) (bool, error) {
	now := time.Now()
	loads := make(map[ownership.TaskID]int64, len(req.GetLoads()))
	for _, t := range req.GetLoads() {
		loads[state.TaskIDFromProto(t.GetTask())] = t.GetLoad()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.byID[req.GetNodeId()]
	if b == nil {
		b = &pulse{well: now, retired: map[string]bool{}}
		p.byID[req.GetNodeId()] = b
	}
	if b.condemned {
		return false, nil
	}
	life := req.GetIncarnation()
	fresh := b.request == nil || now.Sub(b.last) > p.c.timing.Dead || b.life != life
	if b.life != "" && b.life != life {
		other := b.request.GetPeerAddress()
		if b.retired[life] || (other != "" && other != req.GetPeerAddress() && now.Sub(b.last) < p.c.timing.Dead && !b.gone) {
			return false, fmt.Errorf("node.id %s is in use by another process at %s; give this one (%s) another node.id",
				req.GetNodeId(), other, req.GetPeerAddress())
		}
		b.retired[b.life] = true
		b.well = now
	}
	if now.Sub(b.last) > p.c.timing.Dead {
		b.well = now
	}
	b.last, b.life, b.refused, b.gone = now, life, 0, false
	b.loads, b.request = loads, req
	if fresh {
		p.wake()
	}
	return true, nil
}

// loads merges what all nodes have measured.
func (p *pulses) loads() map[ownership.TaskID]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[ownership.TaskID]int64{}
	for _, b := range p.byID {
		maps.Copy(out, b.loads)
	}
	return out
}

// verdict of the failure detector on a member.
type verdict struct {
	alive bool
	// heartbeat of this term, nil if none came.
	request *peerv1.HeartbeatRequest
	well    time.Time
	silent  time.Duration
}

// judge says of a member whether it lives. Where a node has been silent for a while its port is tried: nobody
// listening there, twice, means that the process is gone, which need not be waited out.
func (p *pulses) judge(ctx context.Context, m state.Member) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.byID[m.ID]
	if b == nil {
		now := time.Now()
		b = &pulse{last: now, well: now, life: m.Incarnation, retired: map[string]bool{}}
		p.byID[m.ID] = b
	}
	silent := time.Since(b.last)
	v := verdict{alive: !b.condemned && silent < p.c.timing.Dead && !b.gone, request: b.request, well: b.well, silent: silent}
	// A new leader tries the silent ones at once: one of them led before.
	quiet := silent > p.c.timing.Heartbeat*3/2 || (b.request == nil && silent > p.c.timing.Heartbeat/4)
	if m.Alive && v.alive && quiet && !b.probing && m.ID != p.c.opts.NodeID {
		b.probing = true
		p.wg.Go(func() { p.probe(ctx, m) })
	}
	return v
}

func (p *pulses) probe(ctx context.Context, m state.Member) {
	pctx, cancel := context.WithTimeout(ctx, p.c.timing.Heartbeat)
	defer cancel()
	resp, err := p.c.call(pctx, m.PeerAddress, &peerv1.Request{Body: &peerv1.Request_Status{Status: &peerv1.StatusRequest{}}})
	sleep(pctx, p.c.timing.Heartbeat/4)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.byID[m.ID]
	if b == nil {
		return // removed meanwhile
	}
	b.probing = false
	switch {
	case b.life != m.Incarnation:
		// it has begun another life meanwhile
	case err != nil && errors.Is(err, syscall.ECONNREFUSED):
		b.refused++
	case err == nil && resp.GetStatus().GetIncarnation() != "" && resp.GetStatus().GetIncarnation() != m.Incarnation:
		b.refused = 2 // somebody else lives there now
	default:
		b.refused = 0
	}
	if b.refused >= 2 && !b.gone {
		b.gone = true
		p.wake()
	}
}

// condemn fixes the verdict that a member is dead until acquit, unless a heartbeat has come since it was judged.
func (p *pulses) condemn(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.byID[id]
	if b == nil || (time.Since(b.last) < p.c.timing.Dead && !b.gone) {
		return false
	}
	b.condemned = true
	return true
}

func (p *pulses) acquit(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.byID[id]; b != nil {
		b.condemned = false
	}
}

// forget drops what is known of a member that was removed.
func (p *pulses) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// strangers lists the heartbeats of nodes that the agreed state does not know yet, by id.
func (p *pulses) strangers(known []state.Member) []*peerv1.HeartbeatRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*peerv1.HeartbeatRequest
	for id, b := range p.byID {
		if b.request != nil && !slices.ContainsFunc(known, func(m state.Member) bool { return m.ID == id }) {
			out = append(out, b.request)
		}
	}
	slices.SortFunc(out, func(a, b *peerv1.HeartbeatRequest) int { return strings.Compare(a.GetNodeId(), b.GetNodeId()) })
	return out
}

// members brings the agreed state of the members in line with what is heard of them.
func (l *leadership) members(ctx context.Context) error {
	for _, r := range l.pulses.strangers(view(l.c.m, (*state.State).Members)) {
		if err := l.register(ctx, r); err != nil {
			return err
		}
	}
	for _, m := range view(l.c.m, (*state.State).Members) {
		v := l.pulses.judge(ctx, m)
		if v.request != nil && v.alive && differs(m, v.request) {
			if err := l.register(ctx, v.request); err != nil {
				return err
			}
			continue
		}
		if m.Alive != v.alive && (!v.alive || v.request != nil) {
			if v.alive {
				l.c.log.Info("a node is back", "member", m.ID)
			} else {
				if !l.pulses.condemn(m.ID) {
					continue
				}
				l.c.log.Warn("a node is gone, its tasks go to others", "member", m.ID, "silent", v.silent.Round(time.Millisecond))
			}
			err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_MarkMember{MarkMember: &raftv1.MarkMember{
				Id: m.ID, Incarnation: m.Incarnation, Alive: v.alive,
			}}})
			if errors.Is(err, raftnode.ErrUnknown) {
				// It may be in the log yet: this term gives the node no lease any more. If it is not, the next term judges anew.
				return err
			}
			l.pulses.acquit(m.ID)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func differs(m state.Member, r *peerv1.HeartbeatRequest) bool {
	return m.Incarnation != r.GetIncarnation() || m.PeerAddress != r.GetPeerAddress() || m.RESTAddress != r.GetRestAddress() ||
		m.Versions.GetCommand() != r.GetVersions().GetCommand() || m.Versions.GetBinary() != r.GetVersions().GetBinary()
}

// register enters a node, or a new life of one, in the agreed state; one that Raft does not have any more was removed, however lately it
// was heard.
func (l *leadership) register(ctx context.Context, r *peerv1.HeartbeatRequest) error {
	if !l.entering.TryLock() {
		return nil // a member is being removed: in the next round it is known which
	}
	defer l.entering.Unlock()
	if !slices.ContainsFunc(l.c.node.Servers(), func(s raftServer) bool { return s.ID == r.GetNodeId() }) {
		return nil
	}
	if err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_RegisterMember{RegisterMember: &raftv1.RegisterMember{
		Id: r.GetNodeId(), Incarnation: r.GetIncarnation(), PeerAddress: r.GetPeerAddress(), RestAddress: r.GetRestAddress(),
		Versions: r.GetVersions(),
	}}}); err != nil {
		return err
	}
	// Raft goes on using the address under which it knows a server.
	for _, s := range l.c.node.Servers() {
		if s.ID != r.GetNodeId() || s.Address == r.GetPeerAddress() {
			continue
		}
		if s.Voter {
			return l.c.node.AddVoter(ctx, s.ID, r.GetPeerAddress())
		}
		return l.c.node.AddNonvoter(ctx, s.ID, r.GetPeerAddress())
	}
	return nil
}
