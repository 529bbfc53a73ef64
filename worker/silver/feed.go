package silver

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/index"
)

// feedFile is the change file of a commit, one for each partition (silver.change.data.feed): for each row that is replaced the row before and the row
// after, for the others insert or delete. Readers who find one look at nothing else, so it covers all that the commit changes; a
// commit that only adds rows, or only takes some away, needs none.
type feedFile struct {
	w   *work
	fws map[string]*fileWriter // by partition
	sch schema.Schema
	// pre are the rows that are replaced: file and row.
	pre   map[[2]int64]bool
	next  int // of w.winners
	order []*fileWriter
	input []byte
	ctx   context.Context
}

// feeds tells whether the table has a change data feed.
func (m *Merger) hasFeed() bool {
	return m.opt.Config.SilverCDF || m.snap != nil && m.snap.PropertyIs(delta.PropEnableCDF)
}

// replaces gives the row of the table that a winner takes the place of.
func (x *winner) replaces() (file uint32, row int64, ok bool) {
	switch {
	case x.life != nil && x.life.was != nil:
		file, row = x.life.was.place()
		return file, row, true
	case x.has && x.old.File != index.Dead:
		return x.old.File, x.old.Position(), true
	}
	return 0, 0, false
}

// newFeed begins the change file of a merge; nil where readers can tell the changes without one.
func (w *work) newFeed(ctx context.Context) (*feedFile, error) {
	m := w.m
	if !m.hasFeed() || len(w.gone) == 0 || len(w.winners) == 0 && !m.copyOnWrite() {
		return nil, nil
	}
	f := &feedFile{w: w, pre: map[[2]int64]bool{}, sch: m.cols.Schema}
	f.sch.Fields = append(f.sch.Fields[:len(f.sch.Fields):len(f.sch.Fields)], schema.Field{Name: cdf.ColumnType, Type: schema.Of(schema.String), Nullable: true})
	for i := range w.winners {
		if file, row, ok := w.winners[i].replaces(); ok {
			f.pre[[2]int64{int64(file), row}] = true
		}
	}
	f.fws = map[string]*fileWriter{}
	f.input = w.input()
	f.ctx = ctx
	return f, nil
}

// file gives the change file of a partition.
func (f *feedFile) file(part delta.Partition) (*fileWriter, error) {
	text := partitionText(part)
	if fw := f.fws[text]; fw != nil {
		return fw, nil
	}
	m := f.w.m
	n := len(f.fws)
	fw, err := m.newFile(f.ctx, cdf.Folder+"/"+m.fileName("cdc", f.input, m.snap.Version, n), f.sch, part, 0)
	if err != nil {
		return nil, err
	}
	f.fws[text] = fw
	f.order = append(f.order, fw)
	return fw, nil
}

// write appends rows with their kinds of change.
func (f *feedFile) write(rec arrow.Record, part delta.Partition, kind func(row int) string) error {
	fw, err := f.file(part)
	if err != nil {
		return err
	}
	b := columnar.NewBuilder(schema.Schema{Fields: f.sch.Fields[len(f.sch.Fields)-1:]})
	for i := range int(rec.NumRows()) {
		b.AppendString(0, kind(i))
	}
	kinds := b.NewRecord()
	defer kinds.Release()
	n := int(rec.NumCols())
	cols := append(rec.Columns()[:n:n], kinds.Column(0))
	fields := append(rec.Schema().Fields()[:n:n], kinds.Schema().Field(0))
	out := array.NewRecord(arrow.NewSchema(fields, nil), cols, rec.NumRows())
	defer out.Release()
	return fw.append(out)
}

// after writes rows as they are after the commit, in the order of the winners.
func (f *feedFile) after(rec arrow.Record, part delta.Partition) error {
	from := f.next
	f.next += int(rec.NumRows())
	return f.write(rec, part, func(i int) string {
		if _, _, ok := f.w.winners[from+i].replaces(); ok {
			return cdf.PostUpdate
		}
		return cdf.Insert
	})
}

// before writes the rows that go, as the table has them.
func (f *feedFile) before(ctx context.Context) error {
	m := f.w.m
	for _, o := range sortedKeys(f.w.gone) {
		file := m.idx.File(o)
		gone := f.w.gone[o].ToArray()
		for len(gone) > 0 {
			n := min(len(gone), emitRows)
			at := make([]int64, n)
			for i := range at {
				at[i] = int64(gone[i])
			}
			gone = gone[n:]
			rec, err := m.readRows(ctx, file.Path, file.Size, nil, m.cols.Schema, at)
			if err != nil {
				return err
			}
			err = f.write(rec, m.partitionOf(file.Path), func(i int) string {
				if f.pre[[2]int64{int64(o), at[i]}] {
					return cdf.PreUpdate
				}
				return cdf.Delete
			})
			rec.Release()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// finish ends the files and stores them.
func (f *feedFile) finish(ctx context.Context) ([]delta.AddCDC, error) {
	if err := f.before(ctx); err != nil {
		return nil, fmt.Errorf("change data feed: %w", err)
	}
	var out []delta.AddCDC
	for _, fw := range f.order {
		add, put, err := fw.finish()
		if err != nil {
			return nil, err
		}
		if err := put(ctx); err != nil {
			return nil, err
		}
		out = append(out, delta.AddCDC{Path: rows.EncodePath(add.Path), PartitionValues: add.PartitionValues, Size: add.Size})
	}
	return out, nil
}
