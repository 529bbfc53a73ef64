package delta

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// Partition holds the partition values of a file: the protocol's map from column (its physical name) to serialised
// value or null, in a compact form that files of one partition share. The zero Partition is the empty map. It is
// immutable.
type Partition struct{ p *partition }

type partition struct {
	names  []string // sorted, shared between all partitions of a table
	packed string   // per name: uvarint of length+1 (0: null), then the bytes
}

// PartitionValue is one entry of a Partition.
type PartitionValue struct {
	Name  string
	Value string
	Null  bool
}

// NewPartition makes a Partition of entries in any order. The empty string means null to every type (delta.md §1.5), and
// is kept as null.
func NewPartition(values ...PartitionValue) Partition {
	if len(values) == 0 {
		return Partition{}
	}
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b PartitionValue) int { return strings.Compare(a.Name, b.Name) })
	names := make([]string, len(values))
	packed := make([]byte, 0, 64)
	for i, v := range values {
		names[i] = v.Name
		packed = appendPacked(packed, v)
	}
	return Partition{&partition{names: names, packed: string(packed)}}
}

func appendPacked(dst []byte, v PartitionValue) []byte {
	if v.Null || v.Value == "" {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.Value))+1)
	return append(dst, v.Value...)
}

// Len is the number of partition columns.
func (p Partition) Len() int {
	if p.p == nil {
		return 0
	}
	return len(p.p.names)
}

// All iterates over the entries in the order of their names.
func (p Partition) All() iter.Seq[PartitionValue] {
	return func(yield func(PartitionValue) bool) {
		if p.p == nil {
			return
		}
		rest := p.p.packed
		for _, name := range p.p.names {
			n, w := uvarint(rest)
			v := PartitionValue{Name: name, Null: n == 0}
			rest = rest[w:]
			if n > 0 {
				v.Value, rest = rest[:n-1], rest[n-1:]
			}
			if !yield(v) {
				return
			}
		}
	}
}

func uvarint(s string) (uint64, int) {
	var n uint64
	for i := 0; i < len(s); i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}

// Get gives the value of a column by its physical name. ok tells whether the column is there at all.
func (p Partition) Get(name string) (value string, null, ok bool) {
	for v := range p.All() {
		if v.Name == name {
			return v.Value, v.Null, true
		}
	}
	return "", false, false
}

// Equal tells whether two files are in the same partition.
func (p Partition) Equal(o Partition) bool {
	if p.p == o.p {
		return true
	}
	if p.Len() != o.Len() {
		return false
	}
	return p.p.packed == o.p.packed && slices.Equal(p.p.names, o.p.names)
}

// String prints k=v/k=v for people; null as null.
func (p Partition) String() string {
	var b strings.Builder
	for v := range p.All() {
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(v.Name)
		b.WriteByte('=')
		if v.Null {
			b.WriteString("null")
		} else {
			b.WriteString(v.Value)
		}
	}
	return b.String()
}

// interner shares Partitions and their names among the files of one load. Its memory is bounded.
type interner struct {
	names  []string // the last set of names
	known  map[string]*partition
	vals   []PartitionValue
	packed []byte
}

const maxInterned = 1 << 16

// make builds the Partition of in.vals, and empties in.vals. The strings may point into reused memory.
func (in *interner) make() Partition {
	if len(in.vals) == 0 {
		return Partition{}
	}
	if len(in.vals) > 1 {
		slices.SortFunc(in.vals, func(a, b PartitionValue) int { return strings.Compare(a.Name, b.Name) })
	}
	same := len(in.names) == len(in.vals)
	in.packed = in.packed[:0]
	for i, v := range in.vals {
		same = same && in.names[i] == v.Name
		in.packed = appendPacked(in.packed, v)
	}
	if !same || in.known == nil {
		in.names = make([]string, len(in.vals))
		for i, v := range in.vals {
			in.names[i] = strings.Clone(v.Name)
		}
		in.known = map[string]*partition{}
	}
	in.vals = in.vals[:0]
	if p := in.known[string(in.packed)]; p != nil {
		return Partition{p}
	}
	p := &partition{names: in.names, packed: string(in.packed)}
	if len(in.known) < maxInterned {
		in.known[p.packed] = p
	}
	return Partition{p}
}
