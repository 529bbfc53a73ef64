package fold

import (
	"bytes"
	"testing"
)

// The sequence of a change that was lifted tells that, and sorts right behind what has the position itself (formats.md §0.2).
func TestLiftedSequence(t *testing.T) {
	t.Parallel()
	prev := Stamp{Epoch: FirstEpoch, Pos: "position", Part: 5, Off: 70}
	for _, part := range []uint32{4, 5, 6} {
		bare := Stamp{Epoch: FirstEpoch, Part: 3<<PartitionBits | part, Off: 71}
		s := bare.Lift(prev)
		if part >= 5 && !s.Lifted {
			t.Fatalf("%+v was not lifted", bare)
		}
		if !s.Lifted {
			continue
		}
		back, err := Parse(string(s.Seq()))
		if err != nil || back != s {
			t.Errorf("%+v came back as %+v, %v", s, back, err)
		}
		other := prev
		other.Part, other.Off = PartitionMask, 1<<60
		if bytes.Compare(s.Append(nil), other.Append(nil)) <= 0 || Compare(back, other) <= 0 {
			t.Errorf("%+v does not sort behind %+v", s, other)
		}
	}
}
