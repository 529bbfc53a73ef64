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
	// seen keeps the compiler from leaving touch out.
	seen [shards]uint64
}

// fetchAhead is how many slots are asked for before the first of them is filled.
const fetchAhead = 32

// touch reads the home slots of entries. The reads do not wait for each other, so that the processor fetches many at once; add, which decides by
// what it reads, would wait for each.
func (s *shard) touch(es []Entry) (sum uint64) {
	if s.n == 0 {
		return 0
	}
	for i := range es {
		sum += s.slots[s.slot(es[i].Hash)].Hash.Lo
	}
	return sum
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
		if part := sorted[at[s]:at[s+1]]; len(part) > 0 {
			twice = b.addShard(s, part, twice)
		}
	}
	return twice
}

// addShard adds the entries of one shard, and appends the hashes that it had already to twice.
func (b *Bulk) addShard(s int, part []Entry, twice []fold.Hash) []fold.Hash {
	b.mu[s].Lock()
	defer b.mu[s].Unlock()
	for len(part) > 0 {
		block := part[:min(len(part), fetchAhead)]
		part = part[len(block):]
		b.seen[s] += b.t.shards[s].touch(block)
		for i := range block {
			if b.t.shards[s].add(block[i]) {
				twice = append(twice, block[i].Hash)
			}
		}
		b.n[s] += len(block)
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
