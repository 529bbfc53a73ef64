package silver

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// maxima are the newest positioned sequences by partition, and the rows that tell them.
type maxima struct {
	at map[uint32]*reached
	// last is the one of the partition seen last.
	last     *reached
	lastPart uint32
}

// reached is a sequence, and the row that it began or, with ended, ended.
type reached struct {
	st    fold.Stamp
	file  uint32
	row   int64
	ended bool
}

// see notes a sequence. Its text may belong to a file's memory: settle copies it.
func (x *maxima) see(r reached) {
	if r.st.Pos == "" {
		return
	}
	p := r.st.Part & fold.PartitionMask
	old := x.last
	if old == nil || x.lastPart != p {
		if old = x.at[p]; old == nil {
			if x.at == nil {
				x.at = map[uint32]*reached{}
			}
			n := r // only here: else each call would take memory
			x.at[p] = &n
			x.last, x.lastPart = &n, p
			return
		}
		x.last, x.lastPart = old, p
	}
	if old.st.Epoch > r.st.Epoch || old.st.Epoch == r.st.Epoch && old.st.Pos >= r.st.Pos {
		return
	}
	*old = r
}

// settle lets go of the memory of files.
func (x *maxima) settle() {
	for _, r := range x.at {
		r.st.Pos = strings.Clone(r.st.Pos)
	}
}

func (x *maxima) join(o *maxima) {
	o.settle()
	for _, r := range o.at {
		x.see(*r)
	}
}

// observeRows tells the lineages what the rows show of merges behind the last one that wrote its state, so that they know a source that begins anew from
// one that repeats itself, as they would have without a restart. Rows name no topic and no source in the index: where there are several, each merge writes its state.
func (m *Merger) observeRows(ctx context.Context, snap *delta.Snapshot, x *index.Index, seen *maxima) error {
	l := m.state.Lineages
	var mu sync.Mutex // of l
	g, gctx := guard.WithContext(ctx)
	g.SetLimit(16)
	for k, p := range l.Parts {
		r := seen.at[uint32(k.Partition)]
		if l.Many() || r == nil || p.Reached(r.st) {
			continue
		}
		g.Go(func() error {
			ts, err := m.timeOf(gctx, snap, x, r)
			if err != nil {
				return fmt.Errorf("when the newest change of %s-%d was: %w", k.Topic, k.Partition, err)
			}
			mu.Lock()
			defer mu.Unlock()
			p.Observe(r.st, ts)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	l.Observed()
	return nil
}

// timeOf reads the source time of a change, in ns, from the row that it began or ended. The table has whole microseconds: the last instant of it.
func (m *Merger) timeOf(ctx context.Context, snap *delta.Snapshot, x *index.Index, r *reached) (int64, error) {
	col := evolve.ColTimestamp
	if r.ended {
		col = evolve.ColEnd
	}
	f := x.File(r.file)
	rec, err := m.readRows(ctx, f.Path, f.Size, []string{col}, snap.Schema(), []int64{r.row})
	if err != nil {
		return 0, err
	}
	defer rec.Release()
	us := columnar.ValueAt(rec.Column(0), schema.Of(schema.Timestamp), 0).Int
	return min(us, math.MaxInt64/1000-1)*1000 + 999, nil
}
