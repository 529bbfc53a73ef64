package optimize

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta"
)

// Ranks translates positions of rows in input files to positions in the file that they became. It is immutable.
type Ranks struct {
	inputs map[string]*input
}

type input struct {
	add   *delta.Add // as it was read
	start int64      // position of its first live row in the output
	rows  int64      // physical rows
	gone  *roaring64.Bitmap
}

// live is how many of the input's rows are in the output.
func (in *input) live() int64 {
	if in.gone == nil {
		return in.rows
	}
	return in.rows - int64(in.gone.GetCardinality())
}

// New gives the position in the output of a row of an input file. ok is false where the row was deleted before it was read.
func (r *Ranks) New(path string, position int64) (_ int64, ok bool) {
	in := r.inputs[path]
	if in == nil || position < 0 || position >= in.rows {
		return 0, false
	}
	if in.gone == nil {
		return in.start + position, true
	}
	if in.gone.Contains(uint64(position)) {
		return 0, false
	}
	return in.start + position - int64(in.gone.Rank(uint64(position))), true
}

// Inputs tells whether a file is an input, and where its rows begin in the output and how many of them are there.
func (r *Ranks) Inputs(path string) (start, live int64, ok bool) {
	in := r.inputs[path]
	if in == nil {
		return 0, 0, false
	}
	return in.start, in.live(), true
}

// carry adds to out the new positions of rows that now deletes and the input did not; now nil: the file is gone, and with it
// all its rows.
func (in *input) carry(now *roaring64.Bitmap, present bool, out *roaring64.Bitmap) error {
	if !present {
		out.AddRange(uint64(in.start), uint64(in.start+in.live()))
		return nil
	}
	if in.gone != nil {
		if now == nil || roaring64.AndNot(in.gone, now).GetCardinality() > 0 {
			return fmt.Errorf("%w: rows of %s came back", delta.ErrConcurrentRemove, in.add.Path)
		}
	}
	if now == nil {
		return nil
	}
	it := now.Iterator()
	var skip roaring64.IntPeekable64
	if in.gone != nil {
		skip = in.gone.Iterator()
	}
	before := int64(0) // rows of gone before the position at hand
	for it.HasNext() {
		p := it.Next()
		for skip != nil && skip.HasNext() && skip.PeekNext() < p {
			skip.Next()
			before++
		}
		if skip != nil && skip.HasNext() && skip.PeekNext() == p {
			continue
		}
		if int64(p) >= in.rows {
			return fmt.Errorf("the deletion vector of %s deletes row %d of %d", in.add.Path, p, in.rows)
		}
		out.Add(uint64(in.start + int64(p) - before))
	}
	return nil
}
