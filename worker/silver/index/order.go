package index

import (
	"github.com/zeebo/xxh3"

	"sluice.io/sluice/worker/silver/fold"
)

// subShared ends the positions that many events may have (formats.md §0.2, sub order): those of a snapshot's rows and, where a source tells no order inside
// of a transaction, of its changes.
const subShared = 1

// Mark gives what an Entry keeps of a sequence: eight bytes that order it and four that tell it from others.
func Mark(s fold.Stamp) (prefix uint64, hash uint32) {
	if s.Pos == "" {
		return uint64(s.Part&fold.PartitionMask)<<44 | uint64(s.Off)&(1<<44-1), s.Epoch ^ s.Part>>fold.PartitionBits<<16
	}
	x := xxh3.HashString(s.Pos)
	if s.Pos[len(s.Pos)-1] == subShared { // many rows may have this position: those of a snapshot, of a commit
		x ^= (uint64(s.Part&fold.PartitionMask)<<44 + uint64(s.Off)) * 0x9e3779b97f4a7c15
	}
	return fold.Mark(s.Epoch, s.Pos), uint32(x) ^ uint32(x>>32) ^ s.Epoch
}

// Verdict is what an Entry's mark says of a change beside it.
type Verdict int8

// The verdicts.
const (
	Older  Verdict = iota - 1 // the change is older than the row
	Same                      // it is the event that made the row
	Newer                     // it is newer
	Unsure                    // read the row's sequence and compare
)

// Judge compares a change with the row of an entry that is not Dead.
func Judge(e Entry, s fold.Stamp) Verdict {
	if e.Unpositioned() != (s.Pos == "") {
		return Unsure
	}
	prefix, hash := Mark(s)
	if e.Bound() {
		if s.Pos != "" && prefix > e.Prefix {
			return Newer
		}
		return Unsure
	}
	if s.Pos == "" {
		if hash != e.SeqHash || prefix>>44 != e.Prefix>>44 {
			return Unsure
		}
		switch {
		case prefix < e.Prefix:
			return Older
		case prefix > e.Prefix:
			return Newer
		}
		return Same
	}
	switch {
	case prefix < e.Prefix:
		return Older
	case prefix > e.Prefix:
		return Newer
	case hash != e.SeqHash || !s.Exact:
		return Unsure
	}
	return Same
}

// Marks tells that the entry's mark is that of a sequence, Exact aside.
func (e Entry) Marks(s fold.Stamp) bool {
	prefix, hash := Mark(s)
	if e.Bound() {
		return e.Unpositioned() == (s.Pos == "") && prefix <= e.Prefix
	}
	return e.Unpositioned() == (s.Pos == "") && e.Prefix == prefix && e.SeqHash == hash
}
