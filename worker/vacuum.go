package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/vacuum"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

// firstVacuum is the part of the interval after which a new owner vacuums for the first time, or up to as much later: the owner before it may have done so
// just now, but tables that move often shall not wait for ever.
const firstVacuum = 24

// places are the tables that a table task has opened. It is safe for concurrent use.
type places struct {
	mu    sync.Mutex
	paths []string
}

func (p *places) add(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.paths, path) {
		p.paths = append(p.paths, path)
	}
}

func (p *places) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.paths)
}

// vacuumer deletes, now and then, the files of a task's silver tables that no version within the retention needs, and the part of their logs that is older
// than its retention. It works beside the merges, which wait for nothing of it: what it deletes is older than the retention and referred to by nothing that
// they or any reader use. Two owners that do it at once do no harm. Bronze keeps its log: silver is built from its versions.
type vacuumer struct {
	t     *tableRun
	every time.Duration // 0: never
	turn  chan struct{} // one table of the node at a time
}

// run vacuums until ctx ends. What fails is tried again; only a defect is an error.
func (v *vacuumer) run(ctx context.Context) error {
	if v.every <= 0 {
		return nil
	}
	pause := v.every/firstVacuum + time.Duration(rand.Float64()*float64(v.every/firstVacuum)) //nolint:gosec // only so that tables do not all begin at once
	for sleep(ctx, pause) {
		for _, path := range v.t.places.all() {
			select {
			case v.turn <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			began := time.Now()
			var gone tidied
			err := guard.Do(func() (err error) {
				gone, err = tidyTable(ctx, v.t.lake, path)
				return err
			})
			<-v.turn
			var defect *guard.PanicError
			switch {
			case errors.As(err, &defect):
				return err
			case ctx.Err() != nil:
				return nil
			case err != nil:
				v.t.u.log.Warn("vacuum failed; it is tried again later", "table", path, "error", err)
			case gone.files.Deleted > 0 || gone.log > 0:
				v.t.u.log.Info("deleted files that no version within the retention needs", "table", path, "files", gone.files.Deleted, "bytes", gone.files.Bytes,
					"of the log", gone.log, "took", time.Since(began).Round(time.Millisecond))
			}
		}
		pause = v.every
	}
	return nil
}

// tidied is what a table got rid of.
type tidied struct {
	files vacuum.Result
	log   int // commits and checkpoints
}

// tidyTable vacuums a table, if it is there, and cleans its log up, each with the table's own retention. It reads the log anew: no snapshot with all its
// tombstones stays in memory.
func tidyTable(ctx context.Context, lake store.Bucket, path string) (gone tidied, err error) {
	t, err := delta.Open(ctx, lake, path)
	if errors.Is(err, delta.ErrNotTable) {
		return gone, nil
	}
	if err != nil {
		return gone, fmt.Errorf("vacuum %s: %w", path, err)
	}
	s := t.Cached()
	plan, err := vacuum.Make(ctx, s, vacuum.Options{})
	if err != nil {
		return gone, err
	}
	if len(plan.Files) > 0 {
		if gone.files, err = vacuum.Execute(ctx, t, plan, vacuum.Options{}); err != nil {
			return gone, err
		}
	}
	old, err := t.PlanCleanup(ctx, s, time.Now())
	if err != nil {
		return gone, err
	}
	gone.log, err = t.Cleanup(ctx, old)
	return gone, err
}
