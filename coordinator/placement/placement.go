// Package placement decides which node should own which task: a pure function from what is (nodes, tasks, assignments,
// loads) to moves. It has no memory, no clock and no randomness; the same input gives the same moves in the same order.
//
// Aims, in this order:
//
//  1. every task has an owner that is alive and not draining;
//  2. what runs well stays where it is: each move costs its task a pause;
//  3. nodes have about the same load, measured where measurements exist, counted where not;
//  4. a table and the partitions that feed it, its family, live on one node as far as that permits: there changes reach the table in
//     memory, and elsewhere it has to read them from files and decode them again.
//
// What it is not: it does not know how a move is carried out (state does: revoke, release, assign), nor when to plan
// (the leader does).
package placement

import (
	"cmp"
	"maps"
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
	task   ownership.Task
	cost   int64
	epoch  uint64
	node   int // -1: none
	family int
	fixed  bool
	moved  bool
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
	kin    [][]int64       // by family, by node: cost of its tasks there
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
		p.gather()
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
	p.families()
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

// placeHomeless finds owners for tasks that have none or whose owner is draining. What is homeless of a family stays together where a node
// has room for it, the heaviest first; else its tables choose and its partitions are dealt out, to those nodes while they have room: were the tables
// last, there would often be none beside their partitions, and evening out would move them once more.
func (p *planner) placeHomeless() {
	homeless := map[int][]*item{}
	costs := map[int]int64{}
	for i := range p.items {
		it := &p.items[i]
		if it.fixed || it.node < 0 && it.epoch != 0 || it.node >= 0 && !p.nodes[it.node].Draining {
			continue
		}
		homeless[it.family] = append(homeless[it.family], it)
		costs[it.family] += it.cost
	}
	families := slices.Collect(maps.Keys(homeless))
	slices.SortFunc(families, func(a, b int) int { return cmp.Or(cmp.Compare(costs[b], costs[a]), cmp.Compare(a, b)) })
	for _, f := range families {
		home := p.home(f, costs[f])
		slices.SortStableFunc(homeless[f], func(a, b *item) int {
			kinds := cmp.Compare(a.task.ID.Kind, b.task.ID.Kind)
			if home < 0 {
				kinds = -kinds
			}
			return cmp.Or(kinds, cmp.Compare(b.cost, a.cost))
		})
		for _, it := range homeless[f] {
			why := "new"
			if it.node >= 0 {
				why = "drain"
			}
			to := home
			if to < 0 && it.task.ID.Kind == ownership.TableTask {
				to = p.nearest(it)
			} else if to < 0 {
				to = p.beside(it)
			}
			p.move(it, to, why)
		}
	}
}

// home is the node that has room for so much more of a family, and most of it already; -1: none.
func (p *planner) home(family int, cost int64) int {
	best := -1
	for n := range p.nodes {
		if p.nodes[n].Draining || p.load[n]+cost > p.roomy() {
			continue
		}
		if best < 0 || p.kin[family][n] > p.kin[family][best] || p.kin[family][n] == p.kin[family][best] && p.load[n] < p.load[best] {
			best = n
		}
	}
	return best
}

// roomy is the load up to which a node may take more than its share to keep a family together.
func (p *planner) roomy() int64 { return p.mean * (100 + tolerance/2) / 100 }

// beside is the node with most of the item's family among those whose load stays below the mean, else the lightest one.
func (p *planner) beside(it *item) int {
	best := -1
	kin := p.kin[it.family]
	for n := range p.nodes {
		if p.nodes[n].Draining || kin[n] == 0 || p.load[n]+it.cost > p.mean {
			continue
		}
		if best < 0 || kin[n] > kin[best] {
			best = n
		}
	}
	if best < 0 {
		return p.lightest(it)
	}
	return best
}

// lightest is the node with the least load; among equals the one with most of the same family.
func (p *planner) lightest(it *item) int {
	kin := p.kin[it.family]
	best := -1
	for n := range p.nodes {
		if p.nodes[n].Draining {
			continue
		}
		if best < 0 || p.load[n] < p.load[best] || (p.load[n] == p.load[best] && kin[n] > kin[best]) {
			best = n
		}
	}
	return best
}

// nearest is the node with most of the table's partitions among those that it does not overload: balancing would only undo that.
func (p *planner) nearest(it *item) int {
	limit := p.roomy()
	best := -1
	var bestNear int64
	for n := range p.nodes {
		if p.nodes[n].Draining || p.load[n]+it.cost > limit {
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
		p.kin[it.family][it.node] -= it.cost
		if near != nil {
			near[it.node] -= it.cost
		}
	}
	p.load[to] += it.cost
	p.kin[it.family][to] += it.cost
	if near != nil {
		near[to] += it.cost
	}
	it.node, it.moved = to, true
	p.moves = append(p.moves, mv)
}
