package silver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
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
}

type newFile struct {
	add  delta.Add
	rows int64
}

type rowMove struct {
	h          fold.Hash
	file, row  uint32
	to, newRow uint32 // to: index into files
	// was is the spot of an ended version of a history; ended tells that it is one.
	was   spot
	ended bool
}

func (r *relocation) from(o uint32) bool { return r != nil && r.froms[o] }

// rewriteFiles writes the live rows of files into new ones, in order. deleted overrides the rows that are gone.
func (m *Merger) rewriteFiles(ctx context.Context, kind string, input []byte, ordinals []uint32, deleted map[uint32]*bitmap, to schema.Schema, base int64,
	grown map[string]schema.Type) (*relocation, error) {
	r := &relocation{froms: map[uint32]bool{}}
	var fw *fileWriter
	var rows int64
	var puts []func(context.Context) error
	finish := func() error {
		if fw == nil {
			return nil
		}
		add, put, err := fw.finish()
		if err != nil {
			return err
		}
		r.files = append(r.files, newFile{add, rows})
		puts = append(puts, put)
		fw, rows = nil, 0
		return nil
	}
	// Columns that grow are read as what they are and converted here.
	as := to
	if len(grown) > 0 {
		as.Fields = slices.Clone(to.Fields)
		for i := range as.Fields {
			if t, ok := grown[as.Fields[i].Name]; ok {
				as.Fields[i].Type = t
			}
		}
	}
	hashes := m.rowHasher(to)
	ends := m.endReader(to)
	for _, o := range ordinals {
		f := m.idx.File(o)
		r.froms[o] = true
		gone := f.Deleted
		if d, ok := deleted[o]; ok {
			gone = d
		}
		src, err := m.openFile(ctx, f.Path, f.Size)
		if err != nil {
			return nil, err
		}
		for b, err := range src.Read(ctx, columnar.ReadOptions{Target: &as}) {
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", f.Path, err)
			}
			rec, kept, err := liveRows(b, gone)
			if err != nil {
				return nil, err
			}
			if len(kept) == 0 {
				continue
			}
			if fw == nil {
				if fw, err = m.newFile(ctx, m.fileName(kind, input, base, len(r.files)+1), to); err != nil {
					return nil, err
				}
			}
			if len(grown) > 0 {
				if rec, err = m.grow(rec, as, to); err != nil {
					return nil, err
				}
			}
			for i, old := range kept {
				h, err := hashes(rec, i)
				if err != nil {
					return nil, err
				}
				mv := rowMove{h: h, file: o, row: uint32(old), to: uint32(len(r.files)), newRow: uint32(rows) + uint32(i)}
				if ends != nil {
					if mv.was, mv.ended, err = ends(rec, i, o, old); err != nil {
						return nil, err
					}
				}
				r.moves = append(r.moves, mv)
			}
			if rec, err = m.unrescue(rec, to); err != nil {
				return nil, err
			}
			if err := fw.w.Write(rec); err != nil {
				return nil, err
			}
			rows += int64(len(kept))
			if rows >= m.opt.Upkeep.TargetRows || fw.w.Size() >= m.opt.Upkeep.TargetBytes {
				if err := finish(); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := finish(); err != nil {
		return nil, err
	}
	for _, put := range puts {
		if err := put(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
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
	var buf []byte
	return func(rec arrow.Record, row int) (fold.Hash, error) {
		buf = buf[:0]
		for i, c := range at {
			v := columnar.ValueAt(rec.Column(c), sch.Fields[c].Type, row)
			if r.names == nil {
				buf = fold.AppendCanonical(buf, &v)
			} else {
				buf = appendNamed(buf, r.names[i], &v)
			}
		}
		return fold.Sum(buf), nil
	}
}

// endReader tells which rows of a history have ended, and their spots. nil: the table is no history.
func (m *Merger) endReader(sch schema.Schema) func(rec arrow.Record, row int, file uint32, at int64) (spot, bool, error) {
	end, seq := sch.Index(evolve.ColEndSequence), sch.Index(evolve.ColSequence)
	if end < 0 {
		return nil
	}
	return func(rec arrow.Record, row int, file uint32, at int64) (spot, bool, error) {
		if rec.Column(end).IsNull(row) {
			return spot{}, false, nil
		}
		st, err := fold.Parse(columnar.ValueAt(rec.Column(seq), sch.Fields[seq].Type, row).Str)
		return spotAt(st, file, at), true, err
	}
}

// place lets the index point to the new files.
func (m *Merger) place(r *relocation) {
	if r == nil {
		return
	}
	to := make([]uint32, len(r.files))
	for i, f := range r.files {
		to[i] = m.idx.AddFile(index.File{Path: f.add.Path, Rows: f.rows, Size: f.add.Size})
	}
	for i := range r.moves {
		v := &r.moves[i]
		if v.ended {
			if !m.past.move(v.h, v.was, to[v.to], v.newRow) {
				m.loaded = false
			}
			continue
		}
		if !m.idx.Move(v.h, v.file, v.row, to[v.to], v.newRow) {
			m.loaded = false // found by checkCount's sum or not: an index that misses a row is not to be trusted
		}
	}
}

// rearrange commits a rewrite of files that changes no row.
func (m *Merger) rearrange(ctx context.Context, operation string, ordinals []uint32, to schema.Schema, grown map[string]schema.Type) error {
	input := []byte(operation)
	for _, o := range ordinals {
		input = append(input, m.idx.File(o).Path...)
	}
	r, err := m.rewriteFiles(ctx, "opt", input, ordinals, nil, to, m.snap.Version, grown)
	if err != nil {
		return err
	}
	c := m.table.NewCommit(m.snap)
	for _, o := range ordinals {
		a, ok := m.snap.File(m.idx.File(o).Path)
		if !ok {
			return fmt.Errorf("the index points to %s, which version %d does not have", m.idx.File(o).Path, m.snap.Version) // D8
		}
		c.Remove(a)
	}
	for _, f := range r.files {
		c.Append(f.add)
	}
	c.Rearrange()
	if !m.snap.Schema().Equal(to) {
		meta := m.snap.Metadata.Clone()
		meta.SchemaString = to.String()
		c.SetMetadata(meta)
	}
	c.Info(delta.CommitInfo{Operation: "OPTIMIZE", OperationParameters: map[string]string{"reason": operation},
		OperationMetrics: map[string]string{"numRemovedFiles": fmt.Sprint(len(ordinals)), "numAddedFiles": fmt.Sprint(len(r.files))}})
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
	for _, o := range ordinals {
		m.idx.DropFile(o)
	}
	m.snap, m.idx.Version = out.Snapshot, out.Snapshot.Version
	m.shrink()
	if !m.loaded {
		m.ready = false
	}
	return m.checkCount()
}

// widen rewrites the table's files for columns whose types grew, before rows of the new types are merged.
func (m *Merger) widen(ctx context.Context) error {
	var all []uint32
	m.idx.Ordinals(func(o uint32, _ *index.File) { all = append(all, o) })
	grown := m.cols.Widened
	for _, t := range grown {
		if t.Kind == schema.Long { // a long that no double equals is rescued
			m.cols.Ensure(evolve.ColRescued, schema.Of(schema.String))
		}
	}
	to := m.cols.Schema
	names := make([]string, 0, len(m.cols.Widened))
	for n := range grown {
		names = append(names, n)
	}
	slices.Sort(names)
	m.cols.Widened = nil
	if len(all) == 0 {
		c := m.table.NewCommit(m.snap)
		m.describe(c)
		c.Info(delta.CommitInfo{Operation: "CHANGE COLUMN"})
		out := c.Do(ctx)
		m.ready = false
		if out.Kind != delta.Committed && !errors.Is(out.Err, delta.ErrConflict) {
			return out.Err
		}
		return nil
	}
	m.log.Info("columns grow: the table's files are written anew", "columns", names, "files", len(all))
	if err := m.rearrange(ctx, "widen", all, to, grown); err != nil {
		return err
	}
	m.ready = false // columns are read from the table again
	return nil
}

// widenBytes is up to which size a table is rewritten at once when a column grows. Values that do not fit a bigger table's
// columns are rescued.
const widenBytes = 1 << 30

func (m *Merger) mayWiden() bool { return m.snap == nil || m.snap.SizeBytes() <= widenBytes }

// grow converts the columns of a record that have grown.
func (m *Merger) grow(rec arrow.Record, as, to schema.Schema) (arrow.Record, error) {
	b := columnar.NewBuilder(to)
	rescuedAt := to.Index(evolve.ColRescued)
	for row := range int(rec.NumRows()) {
		var lost evolve.Rescue
		if rescuedAt >= 0 {
			lost = evolve.ParseRescue(columnar.ValueAt(rec.Column(rescuedAt), as.Fields[rescuedAt].Type, row).Str)
		}
		for c := range to.Fields {
			if c == rescuedAt {
				continue
			}
			v := columnar.ValueAt(rec.Column(c), as.Fields[c].Type, row)
			if !as.Fields[c].Type.Equal(to.Fields[c].Type) {
				w, ok := evolve.Convert(v, to.Fields[c].Type)
				if !ok {
					lost.Put(to.Fields[c].Name, v)
					w = nullValue
				}
				v = w
			}
			if err := b.Append(c, v); err != nil {
				return nil, err
			}
		}
		if rescuedAt >= 0 {
			if text := lost.JSON(); text != "" {
				b.AppendString(rescuedAt, text)
			} else {
				b.AppendNull(rescuedAt)
			}
		}
	}
	return b.NewRecord(), nil
}

// unrescue puts rescued values back into columns that have grown since.
func (m *Merger) unrescue(rec arrow.Record, to schema.Schema) (arrow.Record, error) {
	at := to.Index(evolve.ColRescued)
	if at < 0 || rec.Column(at).NullN() == int(rec.NumRows()) {
		return rec, nil
	}
	b := columnar.NewBuilder(to)
	for row := range int(rec.NumRows()) {
		res := evolve.ParseRescue(columnar.ValueAt(rec.Column(at), to.Fields[at].Type, row).Str)
		for c := range to.Fields {
			if c == at {
				continue
			}
			v := columnar.ValueAt(rec.Column(c), to.Fields[c].Type, row)
			if raw, ok := res[to.Fields[c].Name]; ok && v.State == nullValue.State {
				if w, ok := evolve.FromJSON(raw, to.Fields[c].Type); ok {
					v = w
					delete(res, to.Fields[c].Name)
				}
			}
			if err := b.Append(c, v); err != nil {
				return nil, err
			}
		}
		if text := res.JSON(); text != "" {
			b.AppendString(at, text)
		} else {
			b.AppendNull(at)
		}
	}
	return b.NewRecord(), nil
}
