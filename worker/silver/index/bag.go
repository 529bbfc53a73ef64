package index

import (
	"cmp"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

// bag has the entries of one hash, once they are many: the equal rows of a table without key and what is remembered of those that went, or the versions of
// a key. They are in order (Entry.cmp), in blocks, so that neither their number nor the place of a new one counts.
type bag struct {
	blocks [][]item
	n      int
}

// item is an Entry without its hash.
type item struct {
	prefix             uint64
	seqHash, file, row uint32
}

const (
	bagFrom  = 9 // entries of a hash from which on they are a bag
	itemSize = 24
)

var bagBlock = 512 // items of a block at most; tests make it small

func itemOf(e Entry) item { return item{e.Prefix, e.SeqHash, e.File, e.Row} }

func (x item) entry(h fold.Hash) Entry {
	return Entry{Hash: h, Prefix: x.prefix, SeqHash: x.seqHash, File: x.file, Row: x.row}
}

// cmp orders entries of one hash: rows first, then tombstones by kind, each by its mark, rows without position first. What has the same mark has the same
// place, wherever it points: that changes.
func (e Entry) cmp(o Entry) int {
	if c := cmp.Compare(kind(e.File), kind(o.File)); c != 0 {
		return c
	}
	if a, b := e.Unpositioned(), o.Unpositioned(); a != b {
		if a {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(e.Prefix, o.Prefix), cmp.Compare(e.SeqHash, o.SeqHash))
}

// Order is cmp, and where that says nothing the place that entries point to.
func Order(a, b Entry) int {
	return cmp.Or(a.cmp(b), cmp.Compare(a.File, b.File), cmp.Compare(a.row(), b.row()))
}

// Kind is the File of a tombstone, 0 of a row.
func Kind(e Entry) uint32 { return kind(e.File) }

// kind is the File of a tombstone, 0 of a row.
func kind(file uint32) uint32 {
	if file < firstGrave {
		return 0
	}
	return file
}

// lower gives the place of the first item that is not below e.
func (b *bag) lower(e Entry) (block, at int) {
	below := func(x item, e Entry) int {
		if x.entry(e.Hash).cmp(e) < 0 {
			return -1
		}
		return 1
	}
	block, _ = slices.BinarySearchFunc(b.blocks, e, func(l []item, e Entry) int { return below(l[len(l)-1], e) })
	if block < len(b.blocks) {
		at, _ = slices.BinarySearchFunc(b.blocks[block], e, below)
	}
	return block, at
}

// insert adds an item in front of those with its mark, and gives by how many bytes the bag has grown.
func (b *bag) insert(e Entry) (grown int) {
	b.n++
	i, at := b.lower(e)
	if i == len(b.blocks) { // the newest, as nearly always
		if i > 0 && len(b.blocks[i-1]) < bagBlock {
			i--
		} else {
			b.blocks = append(b.blocks, nil)
		}
		at = len(b.blocks[i])
	} else if l := b.blocks[i]; len(l) >= bagBlock {
		half := len(l) / 2
		b.blocks = slices.Insert(b.blocks, i+1, slices.Clone(l[half:]))
		b.blocks[i] = l[:half]
		grown += cap(b.blocks[i+1])
		if at > half {
			i, at = i+1, at-half
		}
	}
	grown -= cap(b.blocks[i])
	b.blocks[i] = slices.Insert(b.blocks[i], at, itemOf(e))
	return (grown + cap(b.blocks[i])) * itemSize
}

// find gives the place of the item that points where e does.
func (b *bag) find(e Entry) (block, at int, ok bool) {
	i, k := b.lower(e)
	for ; i < len(b.blocks); i, k = i+1, 0 {
		for ; k < len(b.blocks[i]); k++ {
			x := &b.blocks[i][k]
			if x.entry(e.Hash).cmp(e) != 0 {
				return b.look(e)
			}
			if x.points(e) {
				return i, k, true
			}
		}
	}
	return b.look(e)
}

// look is find for those who do not know the mark.
func (b *bag) look(e Entry) (block, at int, ok bool) {
	if e.Prefix != 0 {
		return 0, 0, false
	}
	for i, l := range b.blocks {
		for k := range l {
			if l[k].points(e) {
				return i, k, true
			}
		}
	}
	return 0, 0, false
}

func (x *item) points(e Entry) bool {
	return x.file == e.File && x.entry(e.Hash).row() == e.row()
}

// from calls f for the items that are not below e, until it gives false.
func (b *bag) from(e Entry, f func(Entry) bool) {
	for i, at := b.lower(e); i < len(b.blocks); i, at = i+1, 0 {
		for _, x := range b.blocks[i][at:] {
			if !f(x.entry(e.Hash)) {
				return
			}
		}
	}
}

// below calls f for the items below e, the highest first, until it gives false.
func (b *bag) below(e Entry, f func(Entry) bool) {
	i, at := b.lower(e)
	for {
		for at == 0 {
			if i--; i < 0 {
				return
			}
			at = len(b.blocks[i])
		}
		at--
		if !f(b.blocks[i][at].entry(e.Hash)) {
			return
		}
	}
}

// each calls f for all items until it gives false.
func (b *bag) each(h fold.Hash, f func(Entry) bool) bool {
	for _, l := range b.blocks {
		for _, x := range l {
			if !f(x.entry(h)) {
				return false
			}
		}
	}
	return true
}

// remove takes an item away, and gives by how many bytes the bag has shrunk.
func (b *bag) remove(block, at int) (freed int) {
	b.n--
	if b.blocks[block] = slices.Delete(b.blocks[block], at, at+1); len(b.blocks[block]) == 0 {
		freed = cap(b.blocks[block]) * itemSize
		b.blocks = slices.Delete(b.blocks, block, block+1)
	}
	return freed
}
