package delta

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"unsafe"
)

// hamt is a persistent hash map (a compressed hash-array mapped trie): deriving a changed map copies only the path to
// what changed, so that a snapshot of a table of any size follows a commit in time and memory of the commit. The zero
// value is empty. A hamt is immutable except through an editor, whose nodes nobody else has seen yet.
//
// Equality is the caller's: every operation takes the hash and a predicate that tells the wanted entry among those of equal
// hash. Iteration order depends on the entries alone, not on the order in which they came.
type hamt[V any] struct {
	root *hnode[V]
	n    int
}

// hedit marks nodes that one editor made and may change in place.
type hedit struct{ _ byte }

type hnode[V any] struct {
	edit    *hedit
	dataMap uint32 // which of the 32 places hold an entry
	nodeMap uint32 // which hold a node
	data    []V
	kids    []*hnode[V]
}

const (
	hbits  = 5
	hmask  = 1<<hbits - 1
	hdepth = 60 // shift at which the hash is used up: below, a node is a plain list
)

// hash64 hashes a string, the same in every process: iteration order must not change from run to run.
func hash64(s string) uint64 {
	const k0, k1 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	h := uint64(len(s)) ^ k0
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for len(b) >= 16 {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b)^k1, binary.LittleEndian.Uint64(b[8:])^h)
		h = hi ^ lo
		b = b[16:]
	}
	var a, c uint64
	for i := 0; i < len(b); i++ {
		if i < 8 {
			a = a<<8 | uint64(b[i])
		} else {
			c = c<<8 | uint64(b[i])
		}
	}
	hi, lo := bits.Mul64(a^k1, c^h)
	hi, lo = bits.Mul64(hi^lo^k0, uint64(len(s))^k1)
	return hi ^ lo
}

func (m hamt[V]) len() int { return m.n }

// get finds an entry.
func (m hamt[V]) get(h uint64, same func(V) bool) (V, bool) {
	node := m.root
	for shift := uint(0); node != nil; shift += hbits {
		if shift >= hdepth {
			for _, v := range node.data {
				if same(v) {
					return v, true
				}
			}
			break
		}
		bit := uint32(1) << (h >> shift & hmask)
		if node.dataMap&bit != 0 {
			v := node.data[bits.OnesCount32(node.dataMap&(bit-1))]
			if same(v) {
				return v, true
			}
			break
		}
		if node.nodeMap&bit == 0 {
			break
		}
		node = node.kids[bits.OnesCount32(node.nodeMap&(bit-1))]
	}
	var none V
	return none, false
}

// all iterates over the entries.
func (m hamt[V]) all() iter.Seq[V] {
	return func(yield func(V) bool) {
		if m.root != nil {
			m.root.walk(yield)
		}
	}
}

func (n *hnode[V]) walk(yield func(V) bool) bool {
	for _, v := range n.data {
		if !yield(v) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.walk(yield) {
			return false
		}
	}
	return true
}

// heditor changes a copy of a map.
type heditor[V any] struct {
	m    hamt[V]
	edit *hedit
	hash func(V) uint64
}

// editing begins changes; hash must give the hash that entries are set under.
func (m hamt[V]) editing(hash func(V) uint64) *heditor[V] {
	return &heditor[V]{m: m, edit: &hedit{}, hash: hash}
}

// done gives the changed map. The editor must not be used afterwards.
func (e *heditor[V]) done() hamt[V] {
	e.edit = nil
	return e.m
}

func (e *heditor[V]) own(n *hnode[V]) *hnode[V] {
	if n.edit == e.edit {
		return n
	}
	c := &hnode[V]{edit: e.edit, dataMap: n.dataMap, nodeMap: n.nodeMap}
	c.data = append(make([]V, 0, len(n.data)+1), n.data...)
	c.kids = append(make([]*hnode[V], 0, len(n.kids)+1), n.kids...)
	return c
}

// set puts v, in the place of the entry that is the same where there is one, and gives that one back.
func (e *heditor[V]) set(v V, same func(V) bool) (old V, replaced bool) {
	if e.m.root == nil {
		e.m.root = &hnode[V]{edit: e.edit}
	}
	e.m.root, old, replaced = e.setIn(e.m.root, 0, e.hash(v), v, same)
	if !replaced {
		e.m.n++
	}
	return old, replaced
}

func (e *heditor[V]) setIn(n *hnode[V], shift uint, h uint64, v V, same func(V) bool) (*hnode[V], V, bool) {
	var none V
	n = e.own(n)
	if shift >= hdepth {
		for i, o := range n.data {
			if same(o) {
				n.data[i] = v
				return n, o, true
			}
		}
		n.data = append(n.data, v)
		return n, none, false
	}
	bit := uint32(1) << (h >> shift & hmask)
	di, ki := bits.OnesCount32(n.dataMap&(bit-1)), bits.OnesCount32(n.nodeMap&(bit-1))
	switch {
	case n.nodeMap&bit != 0:
		kid, old, replaced := e.setIn(n.kids[ki], shift+hbits, h, v, same)
		n.kids[ki] = kid
		return n, old, replaced
	case n.dataMap&bit == 0:
		n.dataMap |= bit
		n.data = insertAt(n.data, di, v)
		return n, none, false
	}
	o := n.data[di]
	if same(o) {
		n.data[di] = v
		return n, o, true
	}
	// Two entries want the place: both move one level down.
	kid := &hnode[V]{edit: e.edit}
	kid, _, _ = e.setIn(kid, shift+hbits, e.hash(o), o, never[V])
	kid, _, _ = e.setIn(kid, shift+hbits, h, v, never[V])
	n.dataMap &^= bit
	n.data = removeAt(n.data, di)
	n.nodeMap |= bit
	n.kids = insertAt(n.kids, ki, kid)
	return n, none, false
}

func never[V any](V) bool { return false }

// del takes an entry away.
func (e *heditor[V]) del(h uint64, same func(V) bool) (old V, found bool) {
	if _, ok := e.m.get(h, same); !ok {
		return old, false // nothing is copied for nothing
	}
	e.m.root, old = e.delIn(e.m.root, 0, h, same)
	e.m.n--
	return old, true
}

func (e *heditor[V]) delIn(n *hnode[V], shift uint, h uint64, same func(V) bool) (*hnode[V], V) {
	n = e.own(n)
	if shift >= hdepth {
		for i, o := range n.data {
			if same(o) {
				n.data = removeAt(n.data, i)
				return n, o
			}
		}
	}
	bit := uint32(1) << (h >> shift & hmask)
	if n.dataMap&bit != 0 {
		i := bits.OnesCount32(n.dataMap & (bit - 1))
		o := n.data[i]
		n.dataMap &^= bit
		n.data = removeAt(n.data, i)
		return n, o
	}
	i := bits.OnesCount32(n.nodeMap & (bit - 1))
	kid, old := e.delIn(n.kids[i], shift+hbits, h, same)
	switch {
	case len(kid.kids) == 0 && len(kid.data) == 0:
		n.nodeMap &^= bit
		n.kids = removeAt(n.kids, i)
	case len(kid.kids) == 0 && len(kid.data) == 1:
		// A node of one entry is lifted, so that equal maps have equal shapes.
		n.nodeMap &^= bit
		n.kids = removeAt(n.kids, i)
		n.dataMap |= bit
		n.data = insertAt(n.data, bits.OnesCount32(n.dataMap&(bit-1)), kid.data[0])
	default:
		n.kids[i] = kid
	}
	return n, old
}

func insertAt[T any](s []T, i int, v T) []T {
	var zero T
	s = append(s, zero)
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}

func removeAt[T any](s []T, i int) []T {
	var zero T
	copy(s[i:], s[i+1:])
	s[len(s)-1] = zero
	return s[:len(s)-1]
}
