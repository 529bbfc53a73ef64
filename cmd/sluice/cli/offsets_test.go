package cli

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOffsetsAreComparedWithProgress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		offsets []int64
		next    int64
		want    string // rows first doubled beyond missing
	}{
		{nil, 0, "0 0 0 0 []"},
		{nil, 4, "0 0 0 0 [{0 4}]"},
		{[]int64{2, 0, 1}, 3, "3 0 0 0 []"},
		{[]int64{7, 5, 5, 6, 5}, 8, "5 5 2 0 []"},
		{[]int64{5, 9, 7, 12}, 11, "4 5 0 1 [{6 7} {8 9} {10 11}]"},
		{[]int64{3, 4}, 3, "2 3 0 2 []"},
		{[]int64{0, 1}, 0, "2 0 0 2 []"},
		{[]int64{1 << 40, 1<<40 + 2}, 1<<40 + 3, fmt.Sprintf("2 %d 0 0 [{%d %d}]", int64(1)<<40, int64(1)<<40+1, int64(1)<<40+2)},
	} {
		var s offsetSet
		for _, o := range c.offsets {
			s.add(o)
		}
		p := s.report(c.next)
		if d := cmp.Diff(c.want, fmt.Sprint(p.Rows, p.First, p.Doubled, p.Beyond, p.Missing)); d != "" {
			t.Errorf("%v below %d: %s", c.offsets, c.next, d)
		}
	}
}

// Memory follows the range of the offsets and not the number of rows, in whatever order files bring them.
func TestOffsetsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	const rows, file = 1 << 20, 1 << 10
	for name, step := range map[string]int64{"every offset": 1, "every tenth": 10} {
		var s offsetSet
		for _, f := range rand.New(rand.NewPCG(1, 2)).Perm(rows / file) {
			for i := range int64(file) {
				s.add((int64(f)*file + i) * step)
			}
		}
		if n := s.bits.GetSizeInBytes(); n > uint64(rows*step/4) {
			t.Errorf("%s of %d rows takes %d bytes", name, rows, n)
		}
		if p := s.report(rows * step); p.Rows != rows || p.Doubled != 0 || step == 1 && len(p.Missing) != 0 {
			t.Errorf("%s: %d rows, %d doubled, %d gaps", name, p.Rows, p.Doubled, len(p.Missing))
		}
	}
}
