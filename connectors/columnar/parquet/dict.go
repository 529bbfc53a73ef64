package parquet

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

const (
	// maxDictBytes is where a dictionary stops to grow: readers keep it in memory.
	maxDictBytes = 1 << 20
	// dictTrial is after how many values a dictionary that hardly helps is given up at once.
	dictTrial = 1024
	// enoughRepeats are so many that the number of distinct values can be guessed from them, to a third or so; promisingUses, how often each must come so
	// that a dictionary makes a column smaller, and reading it faster.
	enoughRepeats = 8
	promisingUses = 8
)

var hashSeed = maphash.MakeSeed()

// dictionary gives numbers to distinct values.
type dictionary struct {
	typ    Type
	length int
	plain  []byte  // the entries as the dictionary page holds them
	ends   []int32 // ByteArray: where entry i ends in plain
	n      uint32
	slots  []uint32 // entry+1; 0: free
	hashes []uint32

	last    uint32 // the entry that the last value was: equal neighbours are frequent
	hasLast bool
}

func newDictionary(t Type, length int) *dictionary {
	return &dictionary{typ: t, length: length, slots: make([]uint32, 256)}
}

// renewed gives an empty dictionary, in the memory of an old one where there is one that is not too large.
func renewed(old *dictionary, t Type, length int) *dictionary {
	if old == nil || len(old.slots) > 1<<16 || cap(old.plain) > maxDictBytes {
		return newDictionary(t, length)
	}
	clear(old.slots)
	*old = dictionary{typ: t, length: length, plain: old.plain[:0], ends: old.ends[:0], slots: old.slots, hashes: old.hashes[:0]}
	return old
}

// entry gives the bytes of entry i, without its length.
func (d *dictionary) entry(i uint32) []byte {
	switch d.typ {
	case ByteArray:
		from := int32(0)
		if i > 0 {
			from = d.ends[i-1]
		}
		return d.plain[from+4 : d.ends[i]]
	case Int32, Float:
		return d.plain[4*i : 4*i+4]
	case FixedLenByteArray:
		return d.plain[int(i)*d.length : (int(i)+1)*d.length]
	}
	return d.plain[8*i : 8*i+8]
}

// bytes gives the number of a value and whether it is new.
func (d *dictionary) bytes(v []byte) (uint32, bool) {
	if d.hasLast && bytes.Equal(d.entry(d.last), v) {
		return d.last, false
	}
	h := uint32(maphash.Bytes(hashSeed, v))
	for at := h & uint32(len(d.slots)-1); ; at = (at + 1) & uint32(len(d.slots)-1) {
		s := d.slots[at]
		if s == 0 {
			if d.typ == ByteArray {
				d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(len(v)))
			}
			d.plain = append(d.plain, v...)
			d.ends = append(d.ends, int32(len(d.plain)))
			return d.add(at, h), true
		}
		if d.hashes[s-1] == h && bytes.Equal(d.entry(s-1), v) {
			d.last, d.hasLast = s-1, true
			return s - 1, false
		}
	}
}

func (d *dictionary) w4(v uint32) (uint32, bool) {
	h := uint32(uint64(v) * 0x9e3779b97f4a7c15 >> 32)
	for at := h & uint32(len(d.slots)-1); ; at = (at + 1) & uint32(len(d.slots)-1) {
		s := d.slots[at]
		if s == 0 {
			d.plain = binary.LittleEndian.AppendUint32(d.plain, v)
			return d.add(at, h), true
		}
		if binary.LittleEndian.Uint32(d.plain[4*(s-1):]) == v {
			return s - 1, false
		}
	}
}

func (d *dictionary) w8(v uint64) (uint32, bool) {
	hi, lo := bits.Mul64(v, 0x9e3779b97f4a7c15)
	h := uint32(hi ^ lo>>32)
	for at := h & uint32(len(d.slots)-1); ; at = (at + 1) & uint32(len(d.slots)-1) {
		s := d.slots[at]
		if s == 0 {
			d.plain = binary.LittleEndian.AppendUint64(d.plain, v)
			return d.add(at, h), true
		}
		if binary.LittleEndian.Uint64(d.plain[8*(s-1):]) == v {
			return s - 1, false
		}
	}
}

func (d *dictionary) add(at, h uint32) uint32 {
	d.hashes = append(d.hashes, h)
	d.n++
	d.slots[at] = d.n
	d.last, d.hasLast = d.n-1, true
	if int(d.n)*2 > len(d.slots) {
		d.slots = make([]uint32, 4*len(d.slots))
		mask := uint32(len(d.slots) - 1)
		for i, h := range d.hashes {
			p := h & mask
			for d.slots[p] != 0 {
				p = (p + 1) & mask
			}
			d.slots[p] = uint32(i + 1)
		}
	}
	return d.n - 1
}
