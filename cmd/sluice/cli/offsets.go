package cli

import "github.com/RoaringBitmap/roaring/v2/roaring64"

// offsetSet are the offsets of one partition that a table has rows of. Offsets without large gaps take about a bit each, so that a table of 10^9 rows can be
// verified in some hundred megabytes; scattered ones a few bytes.
type offsetSet struct {
	bits    roaring64.Bitmap
	doubled int64 // rows of offsets that were there
}

// add takes the offset of a row.
func (s *offsetSet) add(offset int64) {
	if !s.bits.CheckedAdd(uint64(offset)) {
		s.doubled++
	}
}

// report compares the offsets with the progress next.
func (s *offsetSet) report(next int64) partitionReport {
	n := int64(s.bits.GetCardinality())
	p := partitionReport{Next: next, Rows: n + s.doubled, Doubled: s.doubled, Missing: []offsetRange{}, Lost: -1}
	if n > 0 {
		p.First = int64(s.bits.Minimum())
	}
	if next <= 0 {
		p.Beyond = n
		return p
	}
	p.Beyond = n - int64(s.bits.Rank(uint64(next-1)))
	at := p.First
	for it := s.bits.Iterator(); it.HasNext(); {
		o := int64(it.Next())
		if o >= next {
			break
		}
		if o > at {
			p.Missing = append(p.Missing, offsetRange{at, o})
		}
		at = o + 1
	}
	if at < next {
		p.Missing = append(p.Missing, offsetRange{at, next})
	}
	return p
}
