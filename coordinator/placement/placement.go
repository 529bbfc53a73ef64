// Package placement decides which node should own which task: a pure function from what is (nodes, tasks, assignments,
// loads) to moves. It has no memory, no clock and no randomness; the same input gives the same moves in the same order.
//
// Aims, in this order:
//
//  1. every task has an owner that is alive and not draining;
//  2. what runs well stays where it is: each move costs its task a pause;
//  3. nodes have about the same load, measured where measurements exist, counted where not;
//  4. a table lives where most of its topics' partitions are, so that changes reach it in memory.
//
// What it is not: it does not know how a move is carried out (state does: revoke, release, assign), nor when to plan
// (the leader does).
package placement

import (
	"cmp"
	"slices"

	"sluice.io/sluice/internal/ownership"
)

// Node is a live member.
type Node struct {
	ID string
	// Draining nodes give away what they have and get nothing.
	Draining bool
}

// Input is all that a plan depends on.
type Input struct {
	Nodes []Node
	// Tasks that may have an owner.
	Tasks []ownership.Task
	// Current assignments, revoked ones included, with which nothing can be done before they are released.
	Current []ownership.Assignment
	// Loads as measured, by task; of a task that is missing the mean of its kind is assumed.
	Loads map[ownership.TaskID]int64
	// Rebalance permits moves of tasks that run well. Without it only tasks without a home are placed.
	Rebalance bool
	// MaxMoves bounds the moves of running tasks in one plan; 0 is no bound.
	MaxMoves int
}

// Move gives a task to a node.
type Move struct {
	Task ownership.TaskID
	// Epoch of the present assignment, 0 where there is none.
	Epoch uint64
	// From is empty where nobody has the task.
	From, To string
	// Why is one word for people: new, drain, balance, gravity.
	Why string
}

// tolerance in percent of the mean load: imbalance below it moves nothing, and balancing stops at half of it.
const tolerance = 25

// unit is the cost of a task of which nothing else is known.
const unit = 1000

type item struct {
	task  ownership.Task
	cost  int64
	epoch uint64
	node  int // -1: none
	fixed bool
	moved bool
}

// movable: it runs somewhere, and has not been told to move.
func (it *item) movable() bool { return it.node >= 0 && !it.fixed && !it.moved }

type planner struct {
	in     Input
	nodes  []Node // sorted
	at     map[string]int
	items  []item
	load   []int64
	topics map[topic]int
	near   [][]int64       // by topic, by node: cost of partition tasks there
	tables map[topic][]int // items of the tables that a topic feeds
	moves  []Move
	mean   int64 // load of a node that takes tasks, as if everything had a home
	left   int   // moves of running tasks still allowed
}

type topic struct{ connector, name string }

// Plan gives the moves, tasks without a home first.
func Plan(in Input) []Move {
	p := &planner{in: in, at: map[string]int{}, topics: map[topic]int{}, tables: map[topic][]int{}, left: in.MaxMoves}
	if in.MaxMoves <= 0 {
		p.left = len(in.Tasks)
	}
	p.nodes = slices.Clone(in.Nodes)
	slices.SortFunc(p.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	takers := 0
	for i, n := range p.nodes {
		p.at[n.ID] = i
		if !n.Draining {
			takers++
		}
	}
	if takers == 0 {
		return nil
	}
	p.load = make([]int64, len(p.nodes))
	p.read()
	for i := range p.items {
		p.mean += p.items[i].cost
	}
	p.mean /= int64(takers)
	p.placeHomeless()
	if in.Rebalance {
		p.balance()
		p.gravity()
	}
	return p.moves
}

// read weighs the tasks and puts them where they are, or will be after a move that is under way.
func (p *planner) read() {
	current := make(map[ownership.TaskID]*ownership.Assignment, len(p.in.Current))
	for i := range p.in.Current {
		current[p.in.Current[i].Task.ID] = &p.in.Current[i]
	}
	cost := p.costs()
	p.items = make([]item, 0, len(p.in.Tasks))
	for _, t := range p.in.Tasks {
		it := item{task: t, cost: cost(t.ID), node: -1}
		if a := current[t.ID]; a != nil {
			it.epoch = a.Epoch
			where := a.Node
			if a.Revoked {
				where, it.fixed = a.Next, true
			}
			if n, ok := p.at[where]; ok {
				it.node = n
				p.load[n] += it.cost
			}
		}
		p.items = append(p.items, it)
	}
	slices.SortFunc(p.items, func(a, b item) int { return a.task.ID.Compare(b.task.ID) })
	for i := range p.items {
		it := &p.items[i]
		for _, name := range it.task.Topics {
			t := topic{it.task.ID.Connector, name}
			p.tables[t] = append(p.tables[t], i)
		}
		if it.task.ID.Kind == ownership.PartitionTask && it.node >= 0 {
			p.nearby(topic{it.task.ID.Connector, it.task.ID.Topic})[it.node] += it.cost
		}
	}
}

func (p *planner) nearby(t topic) []int64 {
	i, ok := p.topics[t]
	if !ok {
		i = len(p.near)
		p.topics[t] = i
		p.near = append(p.near, make([]int64, len(p.nodes)))
	}
	return p.near[i]
}

// costs weighs tasks: a fixed part, since an idle task costs too, and the measured part, in the same unit.
func (p *planner) costs() func(ownership.TaskID) int64 {
	var sum, count [3]int64
	for id, l := range p.in.Loads {
		if l > 0 && int(id.Kind) < len(sum) {
			sum[id.Kind] += l
			count[id.Kind]++
		}
	}
	total, n := sum[1]+sum[2], count[1]+count[2]
	if n == 0 {
		return func(ownership.TaskID) int64 { return unit }
	}
	mean := max(total/n, 1)
	return func(id ownership.TaskID) int64 {
		l, ok := p.in.Loads[id]
		if !ok && int(id.Kind) < len(sum) && count[id.Kind] > 0 {
			l = sum[id.Kind] / count[id.Kind]
		}
		// Loads may be any size: scale by the mean first, in floating point that is the same on every machine
		// (one multiplication, one division).
		return unit/4 + int64(float64(l)*unit/float64(mean))
	}
}

// placeHomeless finds owners for tasks that have none or whose owner is draining: partitions first, heaviest first, so
// that tables can follow them.
func (p *planner) placeHomeless() {
	var homeless []*item
	for i := range p.items {
		it := &p.items[i]
		switch {
		case it.fixed:
		case it.node < 0 && it.epoch == 0:
			homeless = append(homeless, it)
		case it.node >= 0 && p.nodes[it.node].Draining:
			homeless = append(homeless, it)
		}
	}
	slices.SortStableFunc(homeless, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.task.ID.Kind, b.task.ID.Kind), cmp.Compare(b.cost, a.cost))
	})
	for _, it := range homeless {
		why := "new"
		if it.node >= 0 {
			why = "drain"
		}
		to := p.lightest(it)
		if it.task.ID.Kind == ownership.TableTask {
			to = p.nearest(it)
		}
		p.move(it, to, why)
	}
}

// lightest is the node with the least load; among equals the one with the least of the same topic.
func (p *planner) lightest(it *item) int {
	near := p.nearby(topic{it.task.ID.Connector, it.task.ID.Topic})
	best := -1
	for n := range p.nodes {
		if p.nodes[n].Draining {
			continue
		}
		if best < 0 || p.load[n] < p.load[best] || (p.load[n] == p.load[best] && near[n] < near[best]) {
			best = n
		}
	}
	return best
}

// nearest is the node with most of the table's partitions among those that are not overloaded.
func (p *planner) nearest(it *item) int {
	limit := p.mean * (100 + tolerance/2) / 100
	best := -1
	var bestNear int64
	for n := range p.nodes {
		if p.nodes[n].Draining || p.load[n] > limit {
			continue
		}
		near := p.affinity(it, n)
		if best < 0 || near > bestNear || (near == bestNear && p.load[n] < p.load[best]) {
			best, bestNear = n, near
		}
	}
	if best < 0 {
		return p.lightest(it)
	}
	return best
}

func (p *planner) affinity(it *item, node int) int64 {
	if it.task.ID.Kind != ownership.TableTask {
		return 0
	}
	var sum int64
	for _, name := range it.task.Topics {
		if i, ok := p.topics[topic{it.task.ID.Connector, name}]; ok {
			sum += p.near[i][node]
		}
	}
	return sum
}

func (p *planner) move(it *item, to int, why string) {
	if to < 0 || to == it.node {
		return
	}
	mv := Move{Task: it.task.ID, Epoch: it.epoch, To: p.nodes[to].ID, Why: why}
	var near []int64
	if it.task.ID.Kind == ownership.PartitionTask {
		near = p.nearby(topic{it.task.ID.Connector, it.task.ID.Topic})
	}
	if it.node >= 0 {
		mv.From = p.nodes[it.node].ID
		p.load[it.node] -= it.cost
		if near != nil {
			near[it.node] -= it.cost
		}
	}
	p.load[to] += it.cost
	if near != nil {
		near[to] += it.cost
	}
	it.node, it.moved = to, true
	p.moves = append(p.moves, mv)
}
