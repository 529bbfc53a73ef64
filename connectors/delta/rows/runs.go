package rows

import (
	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/columnar"
)

// keptRuns are the runs of rows that are kept.
func keptRuns(keep []bool) []columnar.Run {
	runs := []columnar.Run{}
	for i, n := 0, len(keep); i < n; i++ {
		if !keep[i] {
			continue
		}
		from := i
		for i < n && keep[i] {
			i++
		}
		runs = append(runs, columnar.Run{From: from, To: i})
	}
	return runs
}

// liveRuns are the runs of the n rows from first on that are not deleted.
func liveRuns(deleted roaring64.IntPeekable64, first int64, n int) []columnar.Run {
	runs, from := []columnar.Run{}, 0
	eachDeleted(deleted, first, n, func(i int) {
		if i > from {
			runs = append(runs, columnar.Run{From: from, To: i})
		}
		from = i + 1
	})
	if from < n {
		runs = append(runs, columnar.Run{From: from, To: n})
	}
	return runs
}

// eachDeleted calls fn for the rows from first on, n of them, that are deleted, by their index behind first.
func eachDeleted(deleted roaring64.IntPeekable64, first int64, n int, fn func(int)) {
	if deleted == nil {
		return
	}
	deleted.AdvanceIfNeeded(uint64(first))
	for deleted.HasNext() {
		p := int64(deleted.PeekNext()) - first
		if p >= int64(n) {
			return
		}
		deleted.Next()
		fn(int(p))
	}
}
