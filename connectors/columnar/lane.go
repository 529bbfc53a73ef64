package columnar

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/internal/guard"
)

const (
	// lanesPerSlot is how many lanes there are for each that may be at work: more even out columns of different cost.
	lanesPerSlot = 4
	// ahead is how many batches lanes may be ahead of what is asked for.
	ahead = 2
)

// lane reads some columns of one row group. It belongs to one goroutine.
type lane struct {
	plan   *plan
	fields []int // of the plan
	chunks []*parquet.Chunk
	vecs   []parquet.Vector
	asm    assembler
	pool   *parquet.Pool
}

// all are the fields of a plan.
func (p *plan) all() []int {
	out := make([]int, len(p.fields))
	for i := range out {
		out[i] = i
	}
	return out
}

func (f *File) openLane(p *plan, fields []int, g, block int, pool *parquet.Pool) *lane {
	r := &lane{plan: p, fields: fields, pool: pool, asm: assembler{vectors: map[*parquet.Node]*parquet.Vector{}}}
	var leaves []*parquet.Node
	for _, i := range fields {
		p.fields[i].leaves(func(n *parquet.Node) {
			if _, seen := r.asm.vectors[n]; !seen {
				r.asm.vectors[n] = nil
				leaves = append(leaves, n)
			}
		})
	}
	slices.SortFunc(leaves, func(a, b *parquet.Node) int { return a.Column - b.Column })
	r.vecs = make([]parquet.Vector, len(leaves))
	for i, l := range leaves {
		r.chunks = append(r.chunks, parquet.NewChunk(f.r, l, &f.meta.RowGroups[g].Columns[l.Column], block, pool))
		r.asm.vectors[l] = &r.vecs[i]
	}
	return r
}

func (r *lane) close() {
	for _, c := range r.chunks {
		c.Close()
	}
}

func (r *lane) skip(rows int) error {
	for _, c := range r.chunks {
		if err := c.Skip(rows); err != nil {
			return err
		}
	}
	return nil
}

// next makes arrays of the next rows, or of some runs of them (nil: all), in the memory of a lease.
func (r *lane) next(rows int, runs []Run, mem *parquet.Lease) ([]arrow.Array, error) {
	if runs != nil && len(runs) == 0 {
		if err := r.skip(rows); err != nil {
			return nil, err
		}
		return r.none(), nil
	}
	into := mem
	if len(runs) > 1 && mem != nil { // what is left out goes at once
		into = r.pool.Lease()
		defer into.Done()
	}
	for i, c := range r.chunks {
		r.vecs[i].Reset(into)
		if err := c.Read(&r.vecs[i], rows); err != nil {
			return nil, err
		}
	}
	r.asm.mem = into
	out := make([]arrow.Array, len(r.fields))
	for k, i := range r.fields {
		d, err := r.asm.array(r.plan.fields[i], place{}, rows)
		if err == nil {
			out[k], err = selectArray(array.MakeFromData(d), runs, mem)
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", r.plan.arrow.Field(i).Name, err)
		}
	}
	return out, nil
}

// none are the arrays of no rows.
func (r *lane) none() []arrow.Array {
	out := make([]arrow.Array, len(r.fields))
	for k, i := range r.fields {
		out[k] = array.MakeFromData(nullData(r.plan.fields[i].arrow, 0))
	}
	return out
}

// laneFields shares the columns of a row group out to at most n lanes, by their bytes. Columns that are read from the same leaf stay
// together.
func (f *File) laneFields(p *plan, g, n int) [][]int {
	type group struct {
		fields []int
		bytes  int64
	}
	var groups []*group
	of := map[*parquet.Node]*group{}
	for i, field := range p.fields {
		own := &group{fields: []int{i}}
		field.leaves(func(l *parquet.Node) {
			have := of[l]
			switch {
			case have == own:
				return
			case have == nil:
				of[l] = own
				own.bytes += f.meta.RowGroups[g].Columns[l.Column].Uncompressed + 1
				return
			}
			have.fields, have.bytes = append(have.fields, own.fields...), have.bytes+own.bytes
			for l, x := range of {
				if x == own {
					of[l] = have
				}
			}
			groups = slices.DeleteFunc(groups, func(x *group) bool { return x == own })
			own = have
		})
		if !slices.Contains(groups, own) {
			groups = append(groups, own)
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(b.bytes, a.bytes) })
	lanes := make([]group, min(n, len(groups)))
	for _, x := range groups {
		least := 0
		for i := range lanes {
			if lanes[i].bytes < lanes[least].bytes {
				least = i
			}
		}
		lanes[least].fields, lanes[least].bytes = append(lanes[least].fields, x.fields...), lanes[least].bytes+x.bytes
	}
	out := make([][]int, len(lanes))
	for i := range lanes {
		out[i] = lanes[i].fields
	}
	return out
}

// readGroup gives the batches of a row group, and whether there is to be more.
func (f *File) readGroup(ctx context.Context, p *plan, g int, o ReadOptions, rows int, yield func(Batch, error) bool) bool {
	rg := &f.meta.RowGroups[g]
	work := &groupWork{slots: o.Slots}
	n := 1
	if o.Slots != nil {
		n = lanesPerSlot * cap(o.Slots)
	}
	for _, fields := range f.laneFields(p, g, n) {
		work.lanes = append(work.lanes, f.openLane(p, fields, g, o.Block, o.Pool))
	}
	work.start()
	defer work.stop()
	fail := func(err error) bool {
		yield(Batch{}, err)
		return false
	}
	var waiting []*pass
	for at := int64(0); at < rg.NumRows || len(waiting) > 0; {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		for at < rg.NumRows && len(waiting) <= work.ahead() {
			ps := &pass{first: rg.FirstRow + at, rows: int(min(rg.NumRows-at, int64(rows))), pool: o.Pool}
			if o.Select != nil {
				if ps.runs = o.Select(ps.first, ps.rows); ps.runs == nil {
					ps.runs = []Run{}
				}
				if len(ps.runs) == 1 && ps.runs[0] == (Run{0, ps.rows}) {
					ps.runs = nil
				}
			}
			work.begin(ps)
			waiting = append(waiting, ps)
			at += int64(ps.rows)
		}
		ps := waiting[0]
		waiting = waiting[1:]
		b := Batch{FirstRow: ps.first, Rows: ps.rows, Runs: ps.runs}
		n := ps.rows
		if ps.runs != nil {
			n = RunRows(ps.runs)
		}
		cols := make([]arrow.Array, len(p.fields))
		if err := work.collect(ps, cols, &b); err != nil {
			return fail(fmt.Errorf("row group %d: %w", g, err))
		}
		b.Record = array.NewRecord(p.arrow, cols, int64(n))
		if !yield(b, nil) {
			return false
		}
	}
	return true
}

// pass is the reading of one batch by all lanes.
type pass struct {
	first int64
	rows  int
	runs  []Run
	pool  *parquet.Pool
}

// part is what one lane has made of a pass.
type part struct {
	cols  []arrow.Array
	lease *parquet.Lease
	err   error
}

// groupWork are the lanes of a row group, each in a goroutine of its own where there are slots.
type groupWork struct {
	slots chan struct{}
	lanes []*lane
	todo  []chan *pass
	done  []chan part
	wg    sync.WaitGroup
}

func (w *groupWork) ahead() int {
	if w.slots == nil {
		return 0
	}
	return ahead
}

func (w *groupWork) start() {
	if w.slots == nil {
		return
	}
	for _, l := range w.lanes {
		// As many as may wait: nobody blocks on sending.
		todo, done := make(chan *pass, ahead+1), make(chan part, ahead+1)
		w.todo, w.done = append(w.todo, todo), append(w.done, done)
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for ps := range todo {
				w.slots <- struct{}{}
				out := l.pass(ps)
				<-w.slots
				done <- out
			}
		}()
	}
}

// stop ends the lanes.
func (w *groupWork) stop() {
	for _, c := range w.todo {
		close(c)
	}
	w.wg.Wait()
	for _, l := range w.lanes {
		l.close()
	}
}

func (w *groupWork) begin(ps *pass) {
	for _, c := range w.todo {
		c <- ps
	}
}

// collect waits for what the lanes make of the oldest pass.
func (w *groupWork) collect(ps *pass, cols []arrow.Array, b *Batch) error {
	var err error
	for i, l := range w.lanes {
		var out part
		if w.slots != nil {
			out = <-w.done[i]
		} else {
			out = l.pass(ps)
		}
		if out.lease != nil {
			b.leases = append(b.leases, out.lease)
		}
		if err == nil {
			err = out.err
		}
		for k, c := range out.cols {
			cols[l.fields[k]] = c
		}
	}
	return err
}

func (l *lane) pass(ps *pass) part {
	p := part{lease: ps.pool.Lease()}
	p.err = guard.Do(func() (err error) {
		p.cols, err = l.next(ps.rows, ps.runs, p.lease)
		return err
	})
	return p
}
