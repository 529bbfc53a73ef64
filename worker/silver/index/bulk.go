package index

import (
	"sync"

	"sluice.io/sluice/worker/silver/fold"
)

// Bulk fills a table from several goroutines at once. The table is for nobody else until Done.
type Bulk struct {
	t  *Table
	mu [shards]sync.Mutex
	n  [shards]int
}

// Bulk begins to fill t.
func (t *Table) Bulk() *Bulk { return &Bulk{t: t} }

// Add adds entries in their order. They are taken shard by shard, so that the slots in use stay in the processor's cache; sorted is
// room for as many. twice are hashes that had an entry already.
func (b *Bulk) Add(es, sorted []Entry) (twice []fold.Hash) {
	var at [shards + 1]int
	for i := range es {
		at[shardOf(es[i].Hash)+1]++
	}
	for s := range shards {
		at[s+1] += at[s]
	}
	next := at
	sorted = sorted[:len(es)]
	for i := range es {
		s := shardOf(es[i].Hash)
		sorted[next[s]] = es[i]
		next[s]++
	}
	for s := range shards {
		part := sorted[at[s]:at[s+1]]
		if len(part) == 0 {
			continue
		}
		b.mu[s].Lock()
		for i := range part {
			if b.t.shards[s].add(part[i]) {
				twice = append(twice, part[i].Hash)
			}
		}
		b.n[s] += len(part)
		b.mu[s].Unlock()
	}
	return twice
}

// Done makes the table whole, for others to use. No Add may run meanwhile; after it one may go on to Add.
func (b *Bulk) Done() {
	for s, n := range b.n {
		b.t.n += n
		b.n[s] = 0
	}
}
