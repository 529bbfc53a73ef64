package js

import "strings"

// Names recognises the members of an object whose members are known in advance, and predicts that they come in the
// order of the object before.
type Names struct {
	ids map[string]uint8
	raw []string // "name": in the order of the last object
	id  []uint8
}

// NewNames makes Names whose identifiers are 1, 2, … in the order given; 0 is any other member.
func NewNames(names ...string) *Names {
	n := &Names{ids: make(map[string]uint8, len(names))}
	for i, name := range names {
		n.ids[name] = uint8(i + 1)
	}
	return n
}

// Read reads the name of the k-th member at i and gives its identifier and the index of its value.
func (n *Names) Read(s string, i, k int) (id uint8, next int) {
	if k < len(n.raw) {
		if raw := n.raw[k]; len(s)-i > len(raw) && s[i:i+len(raw)] == raw {
			i += len(raw)
			if s[i] <= ' ' {
				i = Space(s, i)
			}
			return n.id[k], i
		}
	}
	name, _, next := Member(s, i)
	if next < 0 {
		return 0, -1
	}
	id = n.ids[name]
	if k < 64 && k <= len(n.raw) && len(name) < 256 {
		n.raw = append(n.raw[:k], strings.Clone(s[i:i+len(name)+2])+":")
		n.id = append(n.id[:k], id)
	}
	return id, next
}
