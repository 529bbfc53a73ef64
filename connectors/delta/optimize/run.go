package optimize

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/google/uuid"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
)

// Result is what a run did.
type Result struct {
	// Bins were committed; Lost were not, because another writer rewrote or restored their files meanwhile.
	Bins, Lost int
	// FilesRemoved and BytesRemoved count the input, FilesAdded and BytesAdded the output, RowsPurged the deleted rows that were left
	// out, RowsCarried the rows that others deleted meanwhile.
	FilesRemoved, FilesAdded int
	BytesRemoved, BytesAdded int64
	RowsPurged, RowsCarried  int64
	// Version is the newest version that the run made; -1: none.
	Version int64
}

// Run optimizes a table, one commit for each bin, so that a run that is broken off keeps what it did.
func Run(ctx context.Context, t *delta.Table, o Options) (Result, error) {
	o = o.withDefaults()
	res := Result{Version: -1}
	s, err := t.Snapshot(ctx)
	if err != nil {
		return res, err
	}
	if err := s.CheckMaintainable(); err != nil {
		return res, fmt.Errorf("optimize %s: %w", t.URL(), err)
	}
	bins := Plan(s, o)
	var total, done int64
	for _, b := range bins {
		total += b.Bytes()
	}
	for _, b := range bins {
		w, err := Rewrite(ctx, s, b, o)
		if err != nil {
			return res, err
		}
		out := w.Commit(ctx, o)
		switch {
		case out.Kind == delta.Committed:
			res.add(w, out.Version)
		case out.Kind == delta.Conflict && errors.Is(out.Err, delta.ErrConflict):
			res.Lost++
			w.discard(ctx)
		default: // unknown: the files must stay (D3)
			return res, out.Err
		}
		done += b.Bytes()
		if o.Progress != nil {
			o.Progress(done, total)
		}
	}
	return res, nil
}

// Purge rewrites every file that has a deletion vector (Spark's REORG … APPLY (PURGE)).
func Purge(ctx context.Context, t *delta.Table, o Options) (Result, error) {
	o.Purge = true
	return Run(ctx, t, o)
}

func (r *Result) add(w *Rewritten, version int64) {
	r.Bins++
	r.Version = version
	r.FilesRemoved += len(w.bin.Files)
	r.BytesRemoved += w.bin.Bytes()
	if w.committed > 0 {
		r.FilesAdded++
		r.BytesAdded += w.out.Size
	}
	for _, in := range w.ranks.inputs {
		r.RowsPurged += in.rows - in.live()
	}
	r.RowsCarried += w.carried
}

// Rewritten is a bin whose new file is written and not yet committed.
type Rewritten struct {
	table *delta.Table
	base  *delta.Snapshot
	bin   Bin
	ranks Ranks
	// out is the new file; it is not there where no row was left.
	out       delta.Add
	rows      int64
	committed int64 // rows of out that are live in the commit
	carried   int64
}

// Ranks translates positions in the input files to positions in the new one.
func (w *Rewritten) Ranks() *Ranks { return &w.ranks }

// Output is the new file; ok is false where no row was left to write.
func (w *Rewritten) Output() (_ delta.Add, ok bool) { return w.out, w.rows > 0 }

// Rewrite reads the files of a bin at a snapshot and writes their live rows to one new file.
func Rewrite(ctx context.Context, s *delta.Snapshot, b Bin, o Options) (*Rewritten, error) {
	if len(b.Files) == 0 {
		return nil, errors.New("an empty bin")
	}
	t := s.Table()
	ids, tracking, err := rowIDFields(s)
	if err != nil {
		return nil, err
	}
	w := &Rewritten{table: t, base: s, bin: b, ranks: Ranks{inputs: map[string]*input{}}}
	for _, f := range b.Files {
		gone, err := rows.DeletedRows(ctx, t, f)
		if err != nil {
			return nil, err
		}
		in := &input{add: f, start: w.rows, gone: gone}
		n, ok := f.NumRecords()
		if !ok {
			file, err := rows.OpenFile(ctx, t, f)
			if err != nil {
				return nil, err
			}
			n = file.NumRows()
		}
		in.rows = n
		w.rows += in.live()
		w.ranks.inputs[f.Path] = in
	}
	if w.rows == 0 {
		return w, nil
	}
	sc, err := rows.DataSchema(s)
	if err != nil {
		return nil, err
	}
	name := "part-" + uuid.NewString() + ".parquet"
	if o.Name != nil {
		name = o.Name()
	} else {
		name = folder(t, b.Files[0]) + name
	}
	cols := make([]string, len(sc.Fields))
	for i, f := range sc.Fields {
		cols[i] = f.Name
	}
	var wrote int64
	recs, write := liveRows(ctx, s, b, cols, o.Parallel, &wrote), rows.WriteOptions{Partition: b.Files[0].PartitionValues}
	if tracking {
		recs, write.RowIDs = trackedRows(ctx, s, b, cols, ids, &wrote), ids
	}
	w.out, err = rows.WriteFile(ctx, s, name, sc, recs, write)
	if err != nil {
		return nil, err
	}
	if wrote != w.rows {
		w.discard(ctx)
		return nil, fmt.Errorf("table %s: the files of a bin have %d live rows, their statistics say %d", t.URL(), wrote, w.rows)
	}
	return w, nil
}

// folder gives the folder that a file lies in below the table's, with a slash behind it. The new file goes there too: Polars takes the partition
// values from the folders, and can't read a table where some files have Hive's k=v folders and others have none.
func folder(t *delta.Table, a *delta.Add) string {
	key, err := t.ObjectKey(a.Path)
	if err != nil {
		return ""
	}
	if t.Path() != "" {
		var ok bool
		if key, ok = strings.CutPrefix(key, t.Path()+"/"); !ok {
			return "" // a file of another table
		}
	}
	return key[:strings.LastIndexByte(key, '/')+1]
}

func liveRows(ctx context.Context, s *delta.Snapshot, b Bin, cols []string, parallel int, n *int64) iter.Seq2[arrow.Record, error] {
	return func(yield func(arrow.Record, error) bool) {
		for batch, err := range rows.Scan(ctx, s, rows.Options{Columns: cols, Files: b.Files, Parallel: parallel}) {
			if err != nil {
				yield(nil, err)
				return
			}
			*n += batch.Record.NumRows()
			if !yield(batch.Record, nil) {
				return
			}
		}
	}
}

// discard deletes the new file of a bin that was surely not committed.
func (w *Rewritten) discard(ctx context.Context) {
	if w.out.Path == "" {
		return
	}
	if key, err := w.table.ObjectKey(w.out.Path); err == nil {
		_ = w.table.Bucket().Delete(ctx, key) // else vacuum does
	}
}

// Commit puts the new file in the place of the old ones. Rows that others deleted meanwhile are deleted in the new file too; files
// that others removed take their rows with them. Conflict means that another writer rewrote the files, or brought rows back.
func (w *Rewritten) Commit(ctx context.Context, o Options) delta.Outcome {
	for {
		s, err := w.table.Snapshot(ctx)
		if err != nil {
			return delta.Outcome{Kind: delta.Conflict, Err: err}
		}
		c, err := w.commitOn(ctx, s, o)
		if err != nil {
			return delta.Outcome{Kind: delta.Conflict, Snapshot: s, Err: err}
		}
		out := c.Do(ctx)
		// A winner that touched our files: what it deleted is carried over on the next try.
		if out.Kind == delta.Conflict && errors.Is(out.Err, delta.ErrConcurrentRemove) && ctx.Err() == nil {
			continue
		}
		return out
	}
}

// commitOn makes the commit on a snapshot.
func (w *Rewritten) commitOn(ctx context.Context, s *delta.Snapshot, o Options) (*delta.Commit, error) {
	c := w.table.NewCommit(s)
	gone := roaring64.New()
	present := 0
	for _, f := range w.bin.Files {
		in := w.ranks.inputs[f.Path]
		now, ok := s.File(f.Path)
		if !ok {
			if err := w.rewritten(ctx, s, f.Path); err != nil {
				return nil, err
			}
			if err := in.carry(nil, false, gone); err != nil {
				return nil, err
			}
			continue
		}
		present++
		if now.DVID() != f.DVID() {
			v, err := rows.DeletedRows(ctx, w.table, now)
			if err != nil {
				return nil, err
			}
			if err := in.carry(v, true, gone); err != nil {
				return nil, err
			}
		}
		c.Remove(now)
	}
	if present == 0 {
		return nil, fmt.Errorf("%w: all files of the bin are gone", delta.ErrConcurrentRemove)
	}
	w.carried = int64(gone.GetCardinality())
	w.committed = w.rows - w.carried
	if w.carried > 0 && w.committed > 0 && !(s.Protocol.Has(delta.FeatureDeletionVectors) && s.PropertyIs(delta.PropEnableDVs)) {
		return nil, fmt.Errorf("%w: rows of the bin were deleted, which a table without deletion vectors can't carry over", delta.ErrConcurrentRemove)
	}
	added := 0
	if w.committed > 0 {
		out := w.out
		if w.carried > 0 {
			d, _, err := dv.Write(ctx, w.table.Bucket(), w.table.Path(), []*roaring64.Bitmap{gone})
			if err != nil {
				return nil, err
			}
			out.DeletionVector = &d[0]
			out.Stats = wide(out.Stats)
		}
		c.Append(out)
		added = 1
	}
	c.Rearrange()
	op := "OPTIMIZE"
	if o.Purge {
		op = "REORG"
	}
	c.Info(delta.CommitInfo{Operation: op, UserMetadata: o.UserMetadata,
		OperationParameters: map[string]string{"predicate": "[]", "zOrderBy": "[]", "auto": "false"},
		OperationMetrics: map[string]string{"numRemovedFiles": strconv.Itoa(present), "numAddedFiles": strconv.Itoa(added),
			"numRemovedBytes": strconv.FormatInt(w.bin.Bytes(), 10), "numAddedBytes": strconv.FormatInt(w.out.Size, 10)}})
	return c, nil
}

// rewritten gives ErrConcurrentRemove where a file that is gone was rearranged: its rows are elsewhere then, and must not
// vanish with it. The commits since the bin was read tell.
func (w *Rewritten) rewritten(ctx context.Context, s *delta.Snapshot, path string) error {
	for e, err := range w.table.Commits(ctx, w.base.Version+1, s.Version) {
		if err != nil {
			return err
		}
		for _, r := range e.Removes {
			if r.Path == path && !r.DataChange {
				return fmt.Errorf("%w: version %d rewrote %s", delta.ErrConflict, e.Version, path)
			}
		}
	}
	return nil
}

// wide says in statistics that WriteFile made that the bounds are no longer tight.
func wide(stats string) string {
	s := strings.TrimSuffix(strings.TrimSuffix(stats, "}"), `,"tightBounds":true`)
	return s + `,"tightBounds":false}`
}
