// Package sim runs the replicated state, the planner, leases and the hand-over protocol under a simulated clock,
// network and table log, driven by one seed: the same seed gives the same history, step by step. It finds what real
// processes show once in a thousand days.
//
// What is real in it: coordinator/state (one replica a node) and coordinator/placement. What is modelled, in the terms
// of coordinator: Raft (committed entries reach every node in order, with lags; a leader without a majority commits
// nothing and stops granting leases after LeaderLease; a successor is elected no sooner), heartbeats, leases, the
// failure detector, a worker that reads, writes and commits in batches, and a table whose log decides by compare and
// set (D2).
//
// Checked after every step: the invariants of state; that no two living nodes run one task on a valid lease; that the
// table's progress is that of its commits, each offset once (D1 to D3). At the end, when all faults are healed, every
// task runs once.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/coordinator/placement"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// Durations of the model, in milliseconds; the proportions are those of coordinator.
const (
	heartbeatEvery = 200
	leaseTime      = 1000
	deadAfter      = 1300
	leaderLease    = 400
	electionMin    = 500
	electionMax    = 1000
	revokeAfter    = 30_000
)

// World is one history.
type World struct {
	rnd    *rand.Rand
	now    int64
	log    [][]byte
	nodes  []*node
	leader int // index in nodes, -1: none
	term   int
	// majorityLost is since when the leader has no majority, -1 while it has one.
	majorityLost int64
	electAt      int64
	pulses       map[string]*pulse
	revoked      map[ownership.TaskID]mark
	table        map[string]*progress // by topic/partition
	partitions   int32
	faults       map[string]int
	trace        []string
	lives        int
	orphans      []orphan
	forced       bool // somebody was relieved by force: two may run one task, D2 decides
}

type mark struct {
	epoch uint64
	since int64
}

type pulse struct {
	last int64
	life string
}

// node is one process.
type node struct {
	id      string
	life    string
	state   *state.State
	applied int
	up      bool
	stalled int64 // SIGSTOP until then
	cut     bool  // from everybody
	lag     int   // entries that reach it late
	lease   int64
	gap     int // counts lapses of the lease
	beatAt  int64
	running map[ownership.TaskID]*run
	release map[ownership.TaskID]uint64
}

// run is a task at work.
type run struct {
	epoch   uint64
	gap     int // of the lease under which the worker last looked at it
	task    ownership.Task
	next    map[int32]int64 // by partition: from where the next batch goes on
	flight  *flight
	stopped bool // revoked: no new batch
}

// flight is a commit that is on its way to the table.
type flight struct {
	lands    int64
	from, to map[int32]int64
	answered bool // the node will hear the outcome
}

// orphan is a flight whose node has died or given up; it may land all the same.
type orphan struct {
	topic string
	f     *flight
}

type progress struct {
	next    int64
	commits int
}

// New makes the world before the first step.
func New(seed uint64) *World {
	w := &World{
		rnd: rand.New(rand.NewPCG(seed, 0x511ce)), leader: -1, majorityLost: -1, pulses: map[string]*pulse{}, revoked: map[ownership.TaskID]mark{},
		table: map[string]*progress{}, partitions: 4, faults: map[string]int{},
	}
	for i := range 3 + w.rnd.IntN(3) {
		w.nodes = append(w.nodes, &node{id: fmt.Sprintf("n%d", i+1)})
		w.boot(w.nodes[i])
	}
	return w
}

func (w *World) say(format string, args ...any) {
	if len(w.trace) > 400 {
		w.trace = w.trace[200:]
	}
	w.trace = append(w.trace, fmt.Sprintf("%7d ", w.now)+fmt.Sprintf(format, args...))
}

// boot starts a process: nothing is left of its former life but the log.
func (w *World) boot(n *node) {
	w.lives++
	n.life = fmt.Sprintf("%s.%d", n.id, w.lives)
	n.state, n.applied = state.New(), 0
	n.up, n.stalled, n.lag, n.lease, n.beatAt = true, 0, 0, 0, w.now
	n.running, n.release = map[ownership.TaskID]*run{}, map[ownership.TaskID]uint64{}
	w.say("%s starts as %s", n.id, n.life)
}

// awake says whether the process executes anything now.
func (w *World) awake(n *node) bool { return n.up && w.now >= n.stalled }

// reaches says whether two nodes can talk.
func (w *World) reaches(a, b *node) bool {
	return w.awake(a) && w.awake(b) && (a == b || (!a.cut && !b.cut))
}

func (w *World) majority(of *node) bool {
	n := 0
	for _, o := range w.nodes {
		if w.reaches(of, o) {
			n++
		}
	}
	return n > len(w.nodes)/2
}

// propose commits a command if the leader has a majority; nobody hears of it otherwise.
func (w *World) propose(cmd *raftv1.Command) bool {
	if w.leader < 0 || !w.awake(w.nodes[w.leader]) || !w.majority(w.nodes[w.leader]) {
		return false
	}
	cmd.MinVersion = 1
	data, err := proto.Marshal(cmd)
	if err != nil {
		panic(err)
	}
	w.log = append(w.log, data)
	w.apply(w.nodes[w.leader], len(w.log)) // the leader answers once it has applied
	return true
}

func (w *World) apply(n *node, upTo int) {
	for n.applied < upTo {
		if _, _, err := n.state.ApplyBytes(uint64(n.applied+1), w.log[n.applied]); err != nil {
			panic(err)
		}
		n.applied++
	}
}

// Step lets a little time pass, in which everybody does what is due. An error is a violated invariant.
func (w *World) Step(faults bool) error {
	w.now += int64(1 + w.rnd.IntN(20))
	if faults {
		w.disturb()
	}
	w.elect()
	for _, i := range w.rnd.Perm(len(w.nodes)) {
		n := w.nodes[i]
		if !w.awake(n) {
			continue
		}
		w.follow(n)
		w.beat(n)
		w.work(n)
	}
	w.lead()
	w.land()
	return w.check()
}

// elect ends the leadership of who has lost the majority for too long, and finds a successor.
func (w *World) elect() {
	if w.leader >= 0 {
		l := w.nodes[w.leader]
		switch {
		case l.up && w.awake(l) && w.majority(l):
			w.majorityLost = -1
			return
		case w.majorityLost < 0:
			w.majorityLost = w.now
			w.electAt = w.now + electionMin + w.rnd.Int64N(electionMax-electionMin)
		}
		if !l.up || w.now-w.majorityLost > leaderLease {
			w.say("%s leads no more", l.id)
			w.leader = -1
		}
		return
	}
	if w.now < w.electAt {
		return
	}
	for _, i := range w.rnd.Perm(len(w.nodes)) {
		n := w.nodes[i]
		if w.awake(n) && w.majority(n) {
			w.leader, w.majorityLost = i, -1
			w.term++
			w.apply(n, len(w.log)) // the barrier
			w.pulses, w.revoked = map[string]*pulse{}, map[ownership.TaskID]mark{}
			for _, m := range n.state.Members() {
				w.pulses[m.ID] = &pulse{last: w.now, life: m.Incarnation}
			}
			w.say("%s leads term %d", n.id, w.term)
			return
		}
	}
}

// follow applies what has arrived.
func (w *World) follow(n *node) {
	if w.leader < 0 || !w.reaches(n, w.nodes[w.leader]) || !w.majority(w.nodes[w.leader]) {
		return
	}
	upTo := len(w.log)
	if w.leader >= 0 && n != w.nodes[w.leader] {
		upTo = max(n.applied, upTo-w.rnd.IntN(3+n.lag))
	}
	w.apply(n, upTo)
}

// beat asks the leader for a lease.
func (w *World) beat(n *node) {
	if w.now < n.beatAt || w.leader < 0 {
		return
	}
	l := w.nodes[w.leader]
	sent := w.now - int64(w.rnd.IntN(60)) // the request took so long
	n.beatAt = w.now + heartbeatEvery
	if !w.reaches(n, l) {
		return
	}
	p := w.pulses[n.id]
	if p == nil {
		p = &pulse{}
		w.pulses[n.id] = p
	}
	p.last, p.life = w.now, n.life
	if m, ok := l.state.Member(n.id); !ok || m.Incarnation != n.life {
		w.propose(&raftv1.Command{Body: &raftv1.Command_RegisterMember{RegisterMember: &raftv1.RegisterMember{
			Id: n.id, Incarnation: n.life, Versions: &raftv1.Versions{Command: 1},
		}}})
	}
	// A lease counts once its holder knows what the leader knew when it gave it.
	if n.applied >= l.applied || w.rnd.IntN(3) > 0 {
		w.apply(n, l.applied)
		if !w.holds(n) {
			n.gap++
		}
		n.lease = max(n.lease, sent+leaseTime)
	}
}

// lead is the leader's round.
func (w *World) lead() {
	if w.leader < 0 || !w.awake(w.nodes[w.leader]) || w.rnd.IntN(3) > 0 {
		return
	}
	l := w.nodes[w.leader]
	if !w.majority(l) {
		return
	}
	s := l.state
	for _, m := range s.Members() {
		p := w.pulses[m.ID]
		alive := p != nil && w.now-p.last < deadAfter
		if m.Alive != alive && (!alive || p.life == m.Incarnation) {
			w.say("%s is marked alive=%v", m.ID, alive)
			w.propose(&raftv1.Command{Body: &raftv1.Command_MarkMember{MarkMember: &raftv1.MarkMember{Id: m.ID, Incarnation: m.Incarnation, Alive: alive}}})
		}
	}
	w.overdue(s)
	in := placement.Input{Tasks: s.Placeable(), Current: s.Assignments(), Rebalance: w.rnd.IntN(20) == 0}
	for _, m := range s.Members() {
		if m.Alive {
			in.Nodes = append(in.Nodes, placement.Node{ID: m.ID, Draining: m.Draining || m.Leaving})
		}
	}
	moves := placement.Plan(in)
	if len(moves) == 0 {
		return
	}
	place := &raftv1.Place{}
	for _, mv := range moves {
		place.Moves = append(place.Moves, &raftv1.Place_Move{Task: state.TaskIDToProto(mv.Task), Epoch: mv.Epoch, Node: mv.To})
	}
	w.propose(&raftv1.Command{Body: &raftv1.Command_Place{Place: place}})
}

func (w *World) overdue(s *state.State) {
	for _, a := range s.Assignments() {
		if !a.Revoked {
			continue
		}
		m, ok := w.revoked[a.Task.ID]
		if !ok || m.epoch != a.Epoch {
			w.revoked[a.Task.ID] = mark{a.Epoch, w.now}
		} else if w.now-m.since > revokeAfter {
			w.forced = true
			w.faults["forced release"]++
			w.propose(&raftv1.Command{Body: &raftv1.Command_Release{Release: &raftv1.Release{
				Items: []*raftv1.Release_Item{{Task: state.TaskIDToProto(a.Task.ID), Epoch: a.Epoch}},
			}}})
		}
	}
}

// holds says whether a node may run its tasks now.
func (w *World) holds(n *node) bool { return n.up && w.now < n.lease }

// claims says whether a node believes, with reason, that it may run a task: the lease has not lapsed since it looked.
// A process that was stopped goes on for an instant after it wakes, lease or not: D2 is for that.
func (w *World) claims(n *node, r *run) bool { return w.holds(n) && r.gap == n.gap }

// Nodes gives the ids of the processes.
func (w *World) Nodes() []string {
	var out []string
	for _, n := range w.nodes {
		out = append(out, n.id)
	}
	return out
}

// Trace gives the last things that happened.
func (w *World) Trace() []string { return slices.Clone(w.trace) }

// Faults counts what was done to the world, by kind.
func (w *World) Faults() map[string]int { return w.faults }
