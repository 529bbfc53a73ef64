package placement

import (
	"cmp"
	"slices"

	"sluice.io/sluice/internal/ownership"
)

// gravity moves a table that has none of its partitions beside it to where most of them are: if there is room, or
// if a partition there that has no table beside it may come here instead.
func (p *planner) gravity() {
	for i := range p.items {
		it := &p.items[i]
		if it.task.ID.Kind != ownership.TableTask || !it.movable() || p.left == 0 || p.affinity(it, it.node) > 0 {
			continue
		}
		best, bestNear, total := -1, int64(0), int64(0)
		for n := range p.nodes {
			near := p.affinity(it, n)
			total += near
			if !p.nodes[n].Draining && near > bestNear {
				best, bestNear = n, near
			}
		}
		if best < 0 || bestNear*2 < total {
			continue
		}
		if !p.even(it.node, best, it.cost) {
			other := p.exchange(it, best)
			if other == nil || p.left < 2 || !p.even(it.node, best, it.cost-other.cost) {
				continue
			}
			p.left--
			p.move(other, it.node, "gravity")
		}
		p.left--
		p.move(it, best, "gravity")
	}
}

// even says whether the nodes would be even enough to be left alone if cost went from one node to another: otherwise
// balancing would only undo it.
func (p *planner) even(from, to int, cost int64) bool {
	return p.spread(from, to, cost) <= p.mean*tolerance/100
}

// exchange finds a partition on node that could change places with the table it: about as heavy, not one of the
// table's, and nobody there would miss it.
func (p *planner) exchange(it *item, node int) *item {
	var best *item
	var bestScore int64
	for i := range p.items {
		o := &p.items[i]
		if o.node != node || o.task.ID.Kind != ownership.PartitionTask || !o.movable() {
			continue
		}
		off := max(o.cost-it.cost, it.cost-o.cost)
		if off > it.cost/4 || slices.Contains(it.task.Topics, o.task.ID.Topic) {
			continue
		}
		score := off + p.parting(o, it.node)
		if p.tableOn(o, node) {
			continue
		}
		if best == nil || score < bestScore {
			best, bestScore = o, score
		}
	}
	return best
}

// tableOn says whether a table that the partition feeds is on node.
func (p *planner) tableOn(it *item, node int) bool {
	for _, t := range p.tables[topic{it.task.ID.Connector, it.task.ID.Topic}] {
		if p.items[t].node == node {
			return true
		}
	}
	return false
}

// balance moves tasks from the heaviest node to the lightest while that makes a difference worth a pause: families as far as that
// goes, then single tasks.
func (p *planner) balance() {
	if !p.uneven() {
		return
	}
	p.balanceFamilies()
	if !p.uneven() {
		return
	}
	at := p.movable()
	for p.left > 0 {
		high, low := p.extremes()
		diff := p.load[high] - p.load[low]
		if diff <= p.mean*tolerance/200 {
			return
		}
		i := p.pick(at[high], low, diff)
		if i < 0 {
			return
		}
		it := at[high][i]
		at[high] = slices.Delete(at[high], i, i+1)
		p.left--
		p.move(it, low, "balance")
	}
}

// uneven says whether loads differ by more than is left alone.
func (p *planner) uneven() bool {
	high, low := p.extremes()
	return high >= 0 && p.load[high]-p.load[low] > p.mean*tolerance/100
}

func (p *planner) extremes() (high, low int) {
	high, low = -1, -1
	for n := range p.nodes {
		if p.nodes[n].Draining {
			continue
		}
		if high < 0 || p.load[n] > p.load[high] {
			high = n
		}
		if low < 0 || p.load[n] < p.load[low] {
			low = n
		}
	}
	return high, low
}

// movable lists each node's tasks that may move, by cost.
func (p *planner) movable() [][]*item {
	at := make([][]*item, len(p.nodes))
	for i := range p.items {
		it := &p.items[i]
		// What has only just been placed stays: it would be moved in the same breath.
		if it.movable() {
			at[it.node] = append(at[it.node], it)
		}
	}
	for _, items := range at {
		slices.SortStableFunc(items, func(a, b *item) int { return cmp.Compare(a.cost, b.cost) })
	}
	return at
}

// window bounds how many tasks of about the right size are compared.
const window = 16

// pick finds the task whose move to node low evens out diff best: half of diff would be perfect, all of it useless.
// Among tasks of about that size, the one that loses the least nearness.
func (p *planner) pick(items []*item, low int, diff int64) int {
	end, _ := slices.BinarySearchFunc(items, diff, func(it *item, d int64) int { return cmp.Compare(it.cost, d) })
	if end == 0 {
		return -1
	}
	mid, _ := slices.BinarySearchFunc(items[:end], diff/2, func(it *item, d int64) int { return cmp.Compare(it.cost, d) })
	best := -1
	var bestScore int64
	for i := max(0, mid-window); i < min(end, mid+window); i++ {
		it := items[i]
		off := it.cost - diff/2
		if off < 0 {
			off = -off
		}
		score := off + p.parting(it, low)
		if best < 0 || score < bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// parting is what a move costs in nearness: of a table that leaves its partitions, of a partition that leaves its
// table. Less than nothing where they come together.
func (p *planner) parting(it *item, to int) int64 {
	if it.task.ID.Kind == ownership.TableTask {
		return (p.affinity(it, it.node) - p.affinity(it, to)) / 4
	}
	var loss int64
	if p.tableOn(it, it.node) {
		loss += it.cost / 2
	}
	if p.tableOn(it, to) {
		loss -= it.cost / 2
	}
	return loss
}
