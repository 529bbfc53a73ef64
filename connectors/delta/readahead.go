package delta

import (
	"context"
	"iter"
	"sync"

	"sluice.io/sluice/internal/guard"
)

// segmentResult is what a segment holds: the actions of its commit; of a compaction those of the compaction and of its
// last commit; where a compaction is not to be trusted, those of all its commits.
type segmentResult struct {
	actions []*Actions
	err     error
}

// readers is how many files of the log are read ahead at a time.
const readers = 8

// readSegments reads pieces of the log in parallel and gives them in order. Memory: at most readers pieces.
func (t *Table) readSegments(ctx context.Context, segs []segment) iter.Seq2[*segment, segmentResult] {
	return func(yield func(*segment, segmentResult) bool) {
		if len(segs) == 0 {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()

		slots := make([]chan segmentResult, len(segs))
		for i := range slots {
			slots[i] = make(chan segmentResult, 1)
		}
		tokens := make(chan struct{}, readers)
		next := make(chan int)
		wg.Go(func() {
			defer close(next)
			for i := range segs {
				select {
				case tokens <- struct{}{}:
				case <-ctx.Done():
					return
				}
				select {
				case next <- i:
				case <-ctx.Done():
					return
				}
			}
		})
		for range min(readers, len(segs)) {
			wg.Go(func() {
				var p parser
				for i := range next {
					var res segmentResult
					if err := guard.Do(func() error { res = t.readSegment(ctx, &p, &segs[i]); return nil }); err != nil {
						res.err = err
					}
					slots[i] <- res
				}
			})
		}
		for i := range segs {
			var res segmentResult
			select {
			case res = <-slots[i]:
			case <-ctx.Done():
				res.err = ctx.Err()
			}
			if !yield(&segs[i], res) || res.err != nil {
				return
			}
			<-tokens
		}
	}
}

func (t *Table) readSegment(ctx context.Context, p *parser, seg *segment) segmentResult {
	if !seg.compacted {
		a, err := t.readCommit(ctx, p, seg.first)
		return segmentResult{actions: []*Actions{a}, err: err}
	}
	a, err := t.readCompacted(ctx, p, seg)
	if err == nil {
		res := segmentResult{actions: []*Actions{a}}
		if last, err := t.readCommit(ctx, p, seg.last); err == nil {
			res.actions = append(res.actions, last)
		}
		return res
	}
	// Compactions repeat what the commits say: any doubt about one sends us to the commits.
	t.log.Warn("a compacted file of the log is not used", "table", t.URL(), "file", seg.name, "error", err)
	seg.compacted = false
	var res segmentResult
	for v := seg.first; v <= seg.last; v++ {
		a, err := t.readCommit(ctx, p, v)
		if err != nil {
			return segmentResult{err: err}
		}
		res.actions = append(res.actions, a)
	}
	return res
}
