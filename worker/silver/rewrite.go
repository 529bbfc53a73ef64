package silver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// relocation is where the rows of rewritten files are now. Rows keep their order, so their keys need not be looked up: the
// hashes are taken from the rows that pass by.
type relocation struct {
	files []newFile
	froms map[uint32]bool
	moves []rowMove
	ended []endedMove
}

type newFile struct {
	add  delta.Add
	rows int64
	// dead are the rows that died while the file was written; nil for none.
	dead *bitmap
}

type rowMove struct {
	was        index.Entry // without mark, but for a table without key, where many may have its hash
	to, newRow uint32      // to: index into files
}

// endedMove is the move of an ended version of a history, which was at a spot.
type endedMove struct {
	rowMove
	spot index.Spot
}

func (r *relocation) from(o uint32) bool { return r != nil && r.froms[o] }

// rewriter writes the live rows of files into new ones, in order, some of them at a time. Between two steps the table may change: its beginning is kept.
type rewriter struct {
	m        *Merger
	ctx      context.Context
	kind     string
	input    []byte
	base     int64
	ordinals []uint32
	parts    []delta.Partition // of from
	from     []index.File      // as they were at the beginning; Deleted are the rows that are left out
	as, to   schema.Schema
	grown    map[string]schema.Type

	r      *relocation
	hashes func(rec arrow.Record, row int) (fold.Hash, error)
	stamps func(rec arrow.Record, row int) (fold.Stamp, error) // nil where it is not needed
	ends   func(rec arrow.Record, row int, file uint32, at int64) (index.Spot, bool, error)
	fw     *fileWriter
	rows   int64 // of fw
	live   int64 // rows of all of from that are to be written
	at     int   // index into from, of the file that is read
	next   func() (columnar.Batch, error, bool)
	stop   func()
	// Of a compaction in steps: the index at its beginning, and what ends its context.
	idx    *index.Index
	cancel context.CancelFunc
}

// rewriteFiles writes the live rows of files into new ones, in order. deleted overrides the rows that are gone.
func (m *Merger) rewriteFiles(ctx context.Context, kind string, input []byte, ordinals []uint32, deleted map[uint32]*bitmap, to schema.Schema, base int64,
	grown map[string]schema.Type) (*relocation, error) {
	w := m.newRewriter(ctx, kind, input, ordinals, deleted, to, base, grown)
	if _, err := w.step(ctx, math.MaxInt64, 0); err != nil {
		w.abort()
		return nil, err
	}
	return w.r, nil
}

func (m *Merger) newRewriter(ctx context.Context, kind string, input []byte, ordinals []uint32, deleted map[uint32]*bitmap, to schema.Schema, base int64,
	grown map[string]schema.Type) *rewriter {
	ordinals = m.byPartition(ordinals)
	w := &rewriter{m: m, ctx: ctx, kind: kind, input: input, base: base, ordinals: ordinals, to: to, as: to, grown: grown,
		r: &relocation{froms: map[uint32]bool{}}, hashes: m.rowHasher(to), ends: m.endReader(to)}
	if !m.keyed() {
		w.stamps = stampReader(to)
	}
	// Columns that grow are read as what they are and converted here.
	if len(grown) > 0 {
		w.as.Fields = slices.Clone(to.Fields)
		for i := range w.as.Fields {
			if t, ok := grown[w.as.Fields[i].Name]; ok {
				w.as.Fields[i].Type = t
			}
		}
	}
	for _, o := range ordinals {
		f := *m.idx.File(o)
		if d, ok := deleted[o]; ok {
			f.Deleted = d
		}
		w.from, w.parts = append(w.from, f), append(w.parts, m.partitionOf(f.Path))
		w.r.froms[o] = true
		w.live += f.Live()
	}
	w.r.moves = make([]rowMove, 0, w.live)
	return w
}

// step rewrites about as much as fits in bytes of the files read, and in span, if it is not 0; some of it in any case. done: all is written.
func (w *rewriter) step(ctx context.Context, bytes int64, span time.Duration) (done bool, err error) {
	began := w.m.now()
	for some := false; bytes > 0 && !(some && span > 0 && w.m.now().Sub(began) >= span); {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if w.next == nil {
			if w.at == len(w.from) {
				return true, w.finish()
			}
			f := &w.from[w.at]
			src, err := w.m.openFile(w.ctx, f.Path, f.Size)
			if err != nil {
				return false, err
			}
			w.next, w.stop = iter.Pull2(src.Read(w.ctx, columnar.ReadOptions{Target: &w.as}))
		}
		f := &w.from[w.at]
		b, err, ok := w.next()
		if !ok {
			w.stop()
			w.next = nil
			w.at++
			continue
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", f.Path, err)
		}
		if err := w.add(b, f, w.ordinals[w.at]); err != nil {
			return false, err
		}
		bytes -= f.Size * b.Record.NumRows() / max(f.Rows, 1)
		some = true
	}
	return false, nil
}

// add writes the live rows of a batch.
func (w *rewriter) add(b columnar.Batch, f *index.File, o uint32) error {
	m, r := w.m, w.r
	rec, kept, err := liveRows(b, f.Deleted)
	if err != nil || len(kept) == 0 {
		return err
	}
	part := w.parts[w.at]
	if w.fw != nil && !w.fw.part.Equal(part) {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if w.fw == nil {
		if w.fw, err = m.newFile(w.ctx, m.fileName(w.kind, w.input, w.base, len(r.files)+1), w.to, part, min(w.live, m.opt.Upkeep.TargetRows)); err != nil {
			return err
		}
	}
	if len(w.grown) > 0 {
		if rec, err = m.grow(rec, w.as, w.to); err != nil {
			return err
		}
	}
	for i, old := range kept {
		h, err := w.hashes(rec, i)
		if err != nil {
			return err
		}
		mv := rowMove{was: index.Entry{Hash: h, File: o, Row: uint32(old)}, to: uint32(len(r.files)), newRow: uint32(w.rows) + uint32(i)}
		if w.stamps != nil {
			st, err := w.stamps(rec, i)
			if err != nil {
				return err
			}
			mv.was = index.At(h, st, o, old, false)
		}
		if w.ends != nil {
			was, ended, err := w.ends(rec, i, o, old)
			if err != nil {
				return err
			}
			if ended {
				r.ended = append(r.ended, endedMove{mv, was})
				continue
			}
		}
		r.moves = append(r.moves, mv)
	}
	if rec, err = m.unrescue(rec, w.to); err != nil {
		return err
	}
	if err := w.fw.append(rec); err != nil {
		return err
	}
	w.rows += int64(len(kept))
	if w.rows >= m.opt.Upkeep.TargetRows || w.fw.w.Size() >= m.opt.Upkeep.TargetBytes {
		return w.finish()
	}
	return nil
}

// finish ends the file that is written.
func (w *rewriter) finish() error {
	if w.fw == nil {
		return nil
	}
	add, put, err := w.fw.finish()
	if err != nil {
		return err
	}
	w.r.files = append(w.r.files, newFile{add: add, rows: w.rows})
	w.fw, w.rows = nil, 0
	return put(w.ctx)
}

// abort gives the rewrite up. Files of it that are finished are in no version of the table: vacuum deletes them.
func (w *rewriter) abort() {
	if w.next != nil {
		w.stop()
		w.next = nil
	}
	if w.fw != nil {
		w.fw.abort()
		w.fw = nil
	}
}

// follow takes rows along that died since the beginning: the new files have them, deleted. It gives false where a file is not there any more, or not what
// it was, so that the rewrite is void.
func (w *rewriter) follow() bool {
	m := w.m
	died := map[uint32]*bitmap{}
	for i, o := range w.ordinals {
		f := m.idx.Known(o)
		if f == nil || f.Path != w.from[i].Path {
			return false
		}
		was, is := w.from[i].Deleted, f.Deleted
		if was == is {
			continue
		}
		if is == nil {
			return false
		}
		d := is.Clone()
		if was != nil {
			if was.AndCardinality(is) != was.GetCardinality() {
				return false // rows came back
			}
			d.AndNot(was)
		}
		if !d.IsEmpty() {
			died[o] = d
		}
	}
	if len(died) == 0 {
		return true
	}
	gone := func(v *rowMove) bool {
		d := died[v.was.File]
		if d == nil || !d.Contains(uint64(v.was.Position())) {
			return false
		}
		f := &w.r.files[v.to]
		if f.dead == nil {
			f.dead = newBitmap()
		}
		f.dead.Add(uint64(v.newRow))
		return true
	}
	w.r.moves = slices.DeleteFunc(w.r.moves, func(v rowMove) bool { return gone(&v) })
	w.r.ended = slices.DeleteFunc(w.r.ended, func(v endedMove) bool { return gone(&v.rowMove) })
	return true
}

// liveRows leaves the deleted rows out of a batch. kept are the positions of those that stay.
func liveRows(b columnar.Batch, gone *bitmap) (arrow.Record, []int64, error) {
	n := b.Record.NumRows()
	kept := make([]int64, 0, n)
	idx := make([]int32, 0, n)
	for i := range n {
		if gone == nil || !gone.Contains(uint64(b.FirstRow+i)) {
			kept = append(kept, b.FirstRow+i)
			idx = append(idx, int32(i))
		}
	}
	if int64(len(kept)) == n || len(kept) == 0 {
		return b.Record, kept, nil
	}
	rec, err := columnar.SelectRows(b.Record, idx)
	return rec, kept, err
}

// rowHasher hashes the keys of rows of the table.
func (m *Merger) rowHasher(sch schema.Schema) func(rec arrow.Record, row int) (fold.Hash, error) {
	r := m.keyReader(sch)
	at := make([]int, len(r.keys))
	for i, k := range r.keys {
		at[i] = sch.Index(r.cols[k])
	}
	saved, event, source := sch.Index(evolve.ColRescued), sch.Index(evolve.ColEventID), sch.Index(evolve.ColSource)
	var buf []byte
	text := func(rec arrow.Record, row, col int) string {
		if col < 0 {
			return ""
		}
		return columnar.ValueAt(rec.Column(col), sch.Fields[col].Type, row).Str
	}
	return func(rec arrow.Record, row int) (fold.Hash, error) {
		buf = buf[:0]
		var rescued evolve.Rescue
		if r.rescued >= 0 && !rec.Column(saved).IsNull(row) {
			rescued = evolve.ParseRescue(columnar.ValueAt(rec.Column(saved), sch.Fields[saved].Type, row).Str)
		}
		for i, c := range at {
			v := columnar.ValueAt(rec.Column(c), sch.Fields[c].Type, row)
			buf = r.appendKey(buf, i, &v, rescued)
		}
		if r.apart {
			buf = appendSource(buf, m.state, eventTopic(text(rec, row, event)), sourceKey(text(rec, row, source)))
		}
		return fold.Sum(buf), nil
	}
}

// endReader tells which rows of a history have ended, and their spots. nil: the table is no history.
func (m *Merger) endReader(sch schema.Schema) func(rec arrow.Record, row int, file uint32, at int64) (index.Spot, bool, error) {
	end, stamps := sch.Index(evolve.ColEndSequence), stampReader(sch)
	if end < 0 {
		return nil
	}
	return func(rec arrow.Record, row int, file uint32, at int64) (index.Spot, bool, error) {
		if rec.Column(end).IsNull(row) {
			return index.Spot{}, false, nil
		}
		st, err := stamps(rec, row)
		return index.SpotAt(st, file, at), true, err
	}
}

// stampReader takes the sequences of rows of the table.
func stampReader(sch schema.Schema) func(rec arrow.Record, row int) (fold.Stamp, error) {
	seq := sch.Index(evolve.ColSequence)
	return func(rec arrow.Record, row int) (fold.Stamp, error) {
		return fold.Parse(columnar.ValueAt(rec.Column(seq), sch.Fields[seq].Type, row).Str)
	}
}

// fetchAhead is how many entries are asked for before the first of them is looked at.
const fetchAhead = 64

// place lets the index point to the new files.
func (m *Merger) place(r *relocation) {
	if r == nil {
		return
	}
	to := make([]uint32, len(r.files))
	for i, f := range r.files {
		if f.gone() {
			continue
		}
		to[i] = m.idx.AddFile(index.File{Path: f.add.Path, Rows: f.rows, Size: f.add.Size, Deleted: f.dead})
	}
	if m.idx.Spilled() > 0 { // neighbours on disk are read and written together
		slices.SortFunc(r.moves, func(a, b rowMove) int {
			return cmp.Or(cmp.Compare(a.was.Hash.Lo, b.was.Hash.Lo), index.Order(a.was, b.was))
		})
	}
	if m.past.Spilled() > 0 {
		slices.SortFunc(r.ended, func(a, b endedMove) int {
			return cmp.Or(cmp.Compare(a.was.Hash.Lo, b.was.Hash.Lo), a.spot.Compare(b.spot))
		})
	}
	for i := range r.moves {
		if i%fetchAhead == 0 {
			for k := i; k < min(i+fetchAhead, len(r.moves)); k++ {
				m.touched += m.idx.Touch(r.moves[k].was.Hash)
			}
		}
		v := &r.moves[i]
		if !m.idx.Move(v.was, to[v.to], v.newRow) {
			m.loaded = false // found by checkCount's sum or not: an index that misses a row is not to be trusted
		}
	}
	for i := range r.ended {
		if v := &r.ended[i]; !m.past.Move(v.was.Hash, v.spot, to[v.to], v.newRow) {
			m.loaded = false
		}
	}
}

// gone tells that no row of the file is left.
func (f *newFile) gone() bool { return f.dead != nil && int64(f.dead.GetCardinality()) >= f.rows }

// rearrange commits a rewrite of files that changes no row.
func (m *Merger) rearrange(ctx context.Context, operation string, ordinals []uint32, to schema.Schema, grown map[string]schema.Type) error {
	w := m.rearranger(ctx, operation, ordinals, to, grown)
	if _, err := w.step(ctx, math.MaxInt64, 0); err != nil {
		w.abort()
		return err
	}
	return m.rearranged(ctx, operation, w)
}

func (m *Merger) rearranger(ctx context.Context, operation string, ordinals []uint32, to schema.Schema, grown map[string]schema.Type) *rewriter {
	input := []byte(operation)
	for _, o := range ordinals {
		input = append(input, m.idx.File(o).Path...)
	}
	return m.newRewriter(ctx, "opt", input, ordinals, nil, to, m.snap.Version, grown)
}

// rearranged commits what a rewriter wrote. Rows that died since it began, by merges of ours or by others, stay dead: their positions are translated in
// the same commit.
func (m *Merger) rearranged(ctx context.Context, operation string, w *rewriter) error {
	if !w.follow() {
		return nil // another time
	}
	r, to := w.r, w.to
	c := m.table.NewCommit(m.snap)
	for _, o := range w.ordinals {
		a, ok := m.snap.File(m.idx.File(o).Path)
		if !ok {
			return fmt.Errorf("the index points to %s, which version %d does not have", m.idx.File(o).Path, m.snap.Version) // D8
		}
		c.Remove(a)
	}
	var vectors []*bitmap
	for i := range r.files {
		if f := &r.files[i]; f.dead != nil && !f.gone() {
			vectors = append(vectors, f.dead.Clone())
		}
	}
	var descs []dv.Descriptor
	if len(vectors) > 0 {
		var err error
		if descs, _, err = dv.Write(ctx, m.opt.Bucket, m.table.Path(), vectors); err != nil {
			return err
		}
	}
	for i := range r.files {
		f := &r.files[i]
		add := f.add
		switch {
		case f.gone():
			continue
		case f.dead != nil:
			add.DeletionVector, add.Stats = &descs[0], delta.WideBounds(add.Stats)
			descs = descs[1:]
		}
		c.Append(add)
	}
	c.Rearrange()
	if !m.snap.Schema().Equal(to) {
		c.SetMetadata(m.described(to))
	}
	c.Info(delta.CommitInfo{Operation: "OPTIMIZE", OperationParameters: map[string]string{"reason": operation},
		OperationMetrics: map[string]string{"numRemovedFiles": fmt.Sprint(len(w.ordinals)), "numAddedFiles": fmt.Sprint(len(r.files))}})
	out := c.Do(ctx)
	if out.Kind != delta.Committed {
		m.ready = false
		if out.Kind == delta.Unknown || !errors.Is(out.Err, delta.ErrConflict) {
			m.loaded = m.loaded && out.Kind != delta.Unknown
			return out.Err
		}
		return nil // others changed the files: another time
	}
	if out.Snapshot == nil || out.Snapshot.Version != m.snap.Version+1 {
		m.ready, m.loaded = false, false
		return nil
	}
	m.place(r)
	for _, o := range w.ordinals {
		m.idx.DropFile(o)
	}
	m.snap, m.idx.Version = out.Snapshot, out.Snapshot.Version
	m.shrink()
	if !m.loaded {
		m.ready = false
	}
	return m.checkCount()
}
