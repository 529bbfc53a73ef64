package placement

import (
	"cmp"
	"slices"

	"sluice.io/sluice/internal/ownership"
)

// families gives each item its family: the tables of a connector, the topics that feed them, and the other tables that those feed. Families are
// numbered in the order of their first items.
func (p *planner) families() {
	parent := map[topic]topic{}
	var root func(t topic) topic
	root = func(t topic) topic {
		up, ok := parent[t]
		if !ok || up == t {
			return t
		}
		up = root(up)
		parent[t] = up
		return up
	}
	for i := range p.items {
		task := &p.items[i].task
		for _, name := range task.Topics {
			parent[root(topic{task.ID.Connector, name})] = root(topic{task.ID.Connector, task.Topics[0]})
		}
	}
	number := map[topic]int{}
	for i := range p.items {
		it := &p.items[i]
		t := topic{it.task.ID.Connector, it.task.ID.Topic}
		if it.task.ID.Kind == ownership.TableTask {
			t.name = "" // a table that no topic feeds yet; these are one family, which is no matter
			if len(it.task.Topics) > 0 {
				t.name = it.task.Topics[0]
			}
		}
		t = root(t)
		n, ok := number[t]
		if !ok {
			n = len(number)
			number[t] = n
			p.kin = append(p.kin, make([]int64, len(p.nodes)))
		}
		it.family = n
		if it.node >= 0 {
			p.kin[n][it.node] += it.cost
		}
	}
}

// balanceFamilies moves what a node has of a family as a whole from the heaviest node to the lightest, while both come closer to the mean
// by it: first what meets more of its family there, then the largest.
func (p *planner) balanceFamilies() {
	type block struct {
		cost  int64
		items []*item
	}
	blocks := make([][]block, len(p.nodes)) // by node, by family
	for n := range blocks {
		blocks[n] = make([]block, len(p.kin))
	}
	for i := range p.items {
		if it := &p.items[i]; it.movable() {
			b := &blocks[it.node][it.family]
			b.cost += it.cost
			b.items = append(b.items, it)
		}
	}
	for p.left > 0 {
		high, low := p.extremes()
		if p.load[high]-p.load[low] <= p.mean*tolerance/200 {
			return
		}
		best := -1
		for f := range p.kin {
			b := &blocks[high][f]
			if len(b.items) == 0 || len(b.items) > p.left || p.load[low]+b.cost > p.roomy() || p.load[high]-b.cost < p.mean*(100-tolerance/2)/100 {
				continue
			}
			if best < 0 || p.kin[f][low] > p.kin[best][low] || p.kin[f][low] == p.kin[best][low] && b.cost > blocks[high][best].cost {
				best = f
			}
		}
		if best < 0 {
			return
		}
		for _, it := range blocks[high][best].items {
			p.left--
			p.move(it, low, "balance")
		}
		blocks[high][best] = block{}
	}
}

// gather brings partitions to the node of the table that they feed: where it leaves the nodes well balanced, or where two of about the same
// cost change places that each brings nearer.
func (p *planner) gather() {
	type way struct{ from, to int }
	away := map[way][]*item{}
	var ways []way
	for i := range p.items {
		it := &p.items[i]
		if it.task.ID.Kind != ownership.PartitionTask || !it.movable() || p.tableOn(it, it.node) {
			continue
		}
		to := p.tableOf(it)
		if to < 0 || p.nodes[to].Draining {
			continue
		}
		if p.left > 0 && p.spread(it.node, to, it.cost) <= p.mean*tolerance/200 {
			p.left--
			p.move(it, to, "gravity")
			continue
		}
		w := way{it.node, to}
		if away[w] == nil {
			ways = append(ways, w)
		}
		away[w] = append(away[w], it)
	}
	for _, w := range ways {
		if w.from > w.to {
			continue
		}
		there, back := away[w], away[way{w.to, w.from}]
		byCost := func(a, b *item) int { return cmp.Compare(b.cost, a.cost) }
		slices.SortStableFunc(there, byCost)
		slices.SortStableFunc(back, byCost)
		for len(there) > 0 && len(back) > 0 && p.left >= 2 {
			a, b := there[0], back[0]
			switch off := a.cost - b.cost; {
			case off > b.cost/4:
				there = there[1:]
			case -off > a.cost/4:
				back = back[1:]
			case p.spread(w.from, w.to, off) > max(p.mean*tolerance/200, p.spread(w.from, w.to, 0)):
				there, back = there[1:], back[1:]
			default:
				there, back = there[1:], back[1:]
				p.left -= 2
				p.move(a, w.to, "gravity")
				p.move(b, w.from, "gravity")
			}
		}
	}
}

// tableOf is the node of the table that a partition feeds; -1: it feeds none that has a place, or several.
func (p *planner) tableOf(it *item) int {
	tables := p.tables[topic{it.task.ID.Connector, it.task.ID.Topic}]
	if len(tables) != 1 {
		return -1
	}
	return p.items[tables[0]].node
}

// spread is how far loads would be apart if cost went from one node to another.
func (p *planner) spread(from, to int, cost int64) int64 {
	p.load[from] -= cost
	p.load[to] += cost
	high, low := p.extremes()
	out := p.load[high] - p.load[low]
	p.load[from] += cost
	p.load[to] -= cost
	return out
}
