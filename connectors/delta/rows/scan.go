package rows

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/guard"
)

// Options say what of a table is read.
type Options struct {
	// Columns names the columns, in the order wanted. nil: all, in the table's order; empty: none, only row counts.
	Columns []string
	// Where leaves out rows that the predicate does not hold for, and files and row groups that by their statistics can't have
	// one. nil: every row.
	Where Predicate
	// Files restricts the scan to these files of the snapshot. nil: all.
	Files []*delta.Add
	// Parallel bounds how many files or row groups are decoded at once. 0: as many as there are processors.
	Parallel int
	// BatchRows bounds a batch: default 20 000 rows.
	BatchRows int
	// Positions asks for the position of each row in its file.
	Positions bool
	// IncludeDeleted gives rows that deletion vectors delete, too.
	IncludeDeleted bool
	// Reuse lets the memory of a batch be used again: it is valid only until the next one is asked for.
	Reuse bool
	// Zone is where writers were that wrote partition values of timestamps without zone. nil: UTC.
	Zone *time.Location
}

// Batch is a part of a file's rows that are wanted.
type Batch struct {
	Record arrow.Record
	// File is where the rows are from; it is shared, never change it.
	File *delta.Add
	// FirstRow is the position in the file from which on the batch was read; its first row may lie behind it.
	FirstRow int64
	// Positions are the rows' positions in the file, ascending, where Options.Positions asks for them.
	Positions []int64

	memory columnar.Batch // what Record was made of
}

// Schema gives the schema of the records of a scan.
func (o Options) Schema(s *delta.Snapshot) (schema.Schema, error) {
	if o.Columns == nil {
		return s.Schema(), nil
	}
	var out schema.Schema
	all := s.Schema()
	for _, name := range o.Columns {
		i := all.Index(name)
		if i < 0 {
			i = all.IndexFold(name)
		}
		if i < 0 {
			return out, fmt.Errorf("table %s has no column %q", s.Table().URL(), name)
		}
		out.Fields = append(out.Fields, all.Fields[i])
	}
	return out, nil
}

// scanner is one scan.
type scanner struct {
	table   *delta.Table
	version int64 // that errors name
	layout  *layout
	opts    Options
	// fields are the columns that are read: those wanted and behind them those that only Where needs. want is how many of them
	// are given out.
	fields []int
	want   int
	asked  map[string]*boundColumn // columns of Where
	arrow  *arrow.Schema           // of the records that are given out
	read   schema.Schema           // fields that lie in files
	pool   *parquet.Pool
	slots  chan struct{} // columns that are decoded at once; nil: one
}

// Scan gives the rows of a snapshot. The first error ends the sequence.
func Scan(ctx context.Context, s *delta.Snapshot, o Options) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		l, err := layoutOf(s)
		if err != nil {
			yield(Batch{}, fmt.Errorf("table %s, version %d: %w", s.Table().URL(), s.Version, err))
			return
		}
		var files iter.Seq[*delta.Add]
		if o.Files != nil {
			files = slices.Values(o.Files)
		} else {
			files = s.Files()
		}
		sc, err := newScanner(s.Table(), l, o)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		sc.version = s.Version
		sc.run(ctx, files, yield)
	}
}

func newScanner(t *delta.Table, l *layout, o Options) (*scanner, error) {
	sc := &scanner{table: t, layout: l, opts: o}
	if o.Reuse {
		sc.pool = &parquet.Pool{}
	}
	if sc.opts.Parallel <= 0 {
		sc.opts.Parallel = runtime.GOMAXPROCS(0)
	}
	if sc.opts.BatchRows <= 0 {
		sc.opts.BatchRows = columnar.DefaultBatchRows
	}
	if o.Columns == nil {
		for i := range l.schema.Fields {
			sc.fields = append(sc.fields, i)
		}
	}
	for _, name := range o.Columns {
		i := l.schema.Index(name)
		if i < 0 {
			i = l.schema.IndexFold(name)
		}
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %q", t.URL(), name)
		}
		sc.fields = append(sc.fields, i)
	}
	sc.want = len(sc.fields)
	var err error
	if sc.asked, err = bind(o.Where, l.schema); err != nil {
		return nil, fmt.Errorf("table %s: %w", t.URL(), err)
	}
	for _, c := range sc.asked {
		if !slices.Contains(sc.fields, c.path[0]) {
			sc.fields = append(sc.fields, c.path[0])
		}
	}
	out := schema.Schema{}
	for k, i := range sc.fields {
		f := l.schema.Fields[i]
		f.Nullable = true // what files hold is not judged here
		if k < sc.want {
			out.Fields = append(out.Fields, f)
		}
		if !l.isPart[i] {
			sc.read.Fields = append(sc.read.Fields, l.schema.Fields[i])
		}
	}
	sc.arrow, err = columnar.ArrowSchema(out)
	return sc, err
}

// opened is a file that is ready to be read.
type opened struct {
	add     *delta.Add
	file    *columnar.File
	deleted *roaring64.Bitmap
	parts   map[int]connectors.Value
	groups  []int
	err     error
}

// item is a batch or the error that ends the scan.
type item struct {
	batch Batch
	err   error
}

// run reads the files in their order. Files are opened ahead, units (a file's row groups, one or all) are decoded at the same time;
// units are handed over in order, so that the oldest one can always go on.
func (sc *scanner) run(ctx context.Context, files iter.Seq[*delta.Add], yield func(Batch, error) bool) {
	if sc.opts.Parallel == 1 {
		sc.runSerial(ctx, files, yield)
		return
	}
	sc.slots = make(chan struct{}, sc.opts.Parallel)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	opening := make(chan chan *opened, sc.opts.Parallel)
	units := make(chan chan item, sc.opts.Parallel)
	slots := make(chan struct{}, sc.opts.Parallel)

	wg.Add(1)
	go func() { // opens files ahead
		defer wg.Done()
		defer close(opening)
		skip := newSkipper(sc.opts.Where, sc.asked, sc.layout)
		for a := range files {
			parts, err := partitionValues(a, sc.layout, sc.opts.Zone)
			if err == nil && !skip.keepFile(a, parts) {
				continue
			}
			ready := make(chan *opened, 1)
			select {
			case opening <- ready:
			case <-ctx.Done():
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err != nil {
					ready <- &opened{err: sc.place(err)}
					return
				}
				var o *opened
				if err := guard.Do(func() error { o = sc.open(ctx, a, parts); return nil }); err != nil {
					o = &opened{err: sc.place(err)}
				}
				ready <- o
			}()
		}
	}()

	wg.Add(1)
	go func() { // cuts them into units
		defer wg.Done()
		defer close(units)
		for ready := range opening {
			o := <-ready
			for _, groups := range o.units() {
				out := make(chan item, 2)
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				wg.Add(1)
				go func() {
					defer wg.Done()
					defer func() { <-slots }()
					defer close(out)
					emit := func(i item) bool {
						select {
						case out <- i:
							return true
						case <-ctx.Done():
							return false
						}
					}
					if err := guard.Do(func() error { sc.decode(ctx, o, groups, emit); return nil }); err != nil {
						emit(item{err: sc.place(err)})
					}
				}()
				select {
				case units <- out:
				case <-ctx.Done():
					return
				}
			}
		}
	}()

	for out := range units {
		for i := range out {
			if i.err != nil {
				yield(Batch{}, i.err)
				return
			}
			on := yield(i.batch, nil)
			i.batch.memory.Done()
			if !on {
				return
			}
		}
	}
	if err := ctx.Err(); err != nil {
		yield(Batch{}, err)
	}
}

// place says of which table and version an error about a file's action is.
func (sc *scanner) place(err error) error {
	return fmt.Errorf("table %s, version %d: %w", sc.table.URL(), sc.version, err)
}

// runSerial is run without goroutines.
func (sc *scanner) runSerial(ctx context.Context, files iter.Seq[*delta.Add], yield func(Batch, error) bool) {
	skip := newSkipper(sc.opts.Where, sc.asked, sc.layout)
	for a := range files {
		parts, err := partitionValues(a, sc.layout, sc.opts.Zone)
		if err != nil {
			yield(Batch{}, sc.place(err))
			return
		}
		if !skip.keepFile(a, parts) {
			continue
		}
		on := true
		sc.decode(ctx, sc.open(ctx, a, parts), nil, func(i item) bool {
			on = yield(i.batch, i.err) && i.err == nil
			i.batch.memory.Done()
			return on
		})
		if !on {
			return
		}
	}
}

// units cuts a file into what is decoded at once.
func (o *opened) units() [][]int {
	if o.err != nil || len(o.groups) <= 1 && o.groups != nil {
		return [][]int{o.groups}
	}
	groups := o.groups
	if groups == nil {
		n := len(o.file.Meta().RowGroups)
		if n <= 1 {
			return [][]int{nil}
		}
		groups = make([]int, n)
		for i := range groups {
			groups[i] = i
		}
	}
	out := make([][]int, len(groups))
	for i, g := range groups {
		out[i] = []int{g}
	}
	return out
}

// open reads footer and deletion vector.
func (sc *scanner) open(ctx context.Context, a *delta.Add, parts map[int]connectors.Value) *opened {
	o := &opened{add: a, parts: parts}
	if o.file, o.err = OpenFile(ctx, sc.table, a); o.err != nil {
		return o
	}
	if !sc.opts.IncludeDeleted {
		if o.deleted, o.err = DeletedRows(ctx, sc.table, a); o.err != nil {
			return o
		}
	}
	o.groups = newSkipper(sc.opts.Where, sc.asked, sc.layout).keepGroups(o.file)
	return o
}

// decode reads row groups of a file (nil: all that are wanted) and hands over what is left of each batch.
func (sc *scanner) decode(ctx context.Context, o *opened, groups []int, emit func(item) bool) {
	if o.err != nil {
		emit(item{err: atVersion(o.err, sc.version)})
		return
	}
	if groups == nil {
		groups = o.groups
	}
	fail := func(err error) { emit(item{err: atVersion(fileError(sc.table, o.add.Path, err), sc.version)}) }
	opts := columnar.ReadOptions{Target: &sc.read, Mapping: sc.layout.mapping, RowGroups: groups, BatchRows: sc.opts.BatchRows, Block: blockOf(sc.table),
		Pool: sc.pool, Slots: sc.slots}
	constants := map[int]arrow.Array{}
	var deleted roaring64.IntPeekable64
	if o.deleted != nil {
		deleted = o.deleted.Iterator()
		if sc.opts.Where == nil {
			opts.Select = func(first int64, n int) []columnar.Run { return liveRuns(deleted, first, n) }
		}
	}
	for b, err := range o.file.Read(ctx, opts) {
		if err != nil {
			fail(err)
			return
		}
		rec, err := sc.complete(o, b.Record, constants)
		if err != nil {
			fail(err)
			return
		}
		batch := Batch{Record: rec, File: o.add, FirstRow: b.FirstRow, memory: b}
		if err := sc.filter(&batch, deleted); err != nil {
			fail(err)
			return
		}
		if batch.Record.NumRows() == 0 {
			b.Done()
			continue
		}
		if !emit(item{batch: batch}) {
			return
		}
	}
}

// complete adds the partition columns.
func (sc *scanner) complete(o *opened, rec arrow.Record, constants map[int]arrow.Array) (arrow.Record, error) {
	n := int(rec.NumRows())
	cols := make([]arrow.Array, len(sc.fields))
	fields := make([]arrow.Field, len(sc.fields))
	at := 0
	for k, i := range sc.fields {
		if !sc.layout.isPart[i] {
			cols[k] = rec.Column(at)
			fields[k] = rec.Schema().Field(at)
			at++
			continue
		}
		c := constants[i]
		if c == nil || c.Len() < n {
			var err error
			if c, err = columnar.Constant(sc.layout.schema.Fields[i].Type, o.parts[i], n); err != nil {
				return nil, err
			}
			constants[i] = c
		}
		if c.Len() > n {
			c = array.NewSlice(c, 0, int64(n))
		}
		cols[k] = c
		fields[k] = arrow.Field{Name: sc.layout.schema.Fields[i].Name, Type: c.DataType(), Nullable: true}
	}
	if len(cols) == sc.want {
		return array.NewRecord(sc.arrow, cols, int64(n)), nil
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(n)), nil
}

// filter leaves out the rows that are not wanted, with Where also those that are deleted, and notes positions.
func (sc *scanner) filter(b *Batch, deleted roaring64.IntPeekable64) error {
	runs := b.memory.Runs
	if sc.opts.Where != nil {
		n := int(b.Record.NumRows())
		cols := func(i int) arrow.Array { return b.Record.Column(slices.Index(sc.fields, i)) }
		keep, err := wanted(sc.opts.Where, sc.asked, cols, n)
		if err != nil {
			return err
		}
		eachDeleted(deleted, b.FirstRow, n, func(i int) { keep[i] = false })
		runs = keptRuns(keep)
		if len(sc.fields) != sc.want {
			b.Record = array.NewRecord(sc.arrow, b.Record.Columns()[:sc.want], int64(n))
		}
		rec, err := columnar.Select(b.Record, runs)
		if err != nil {
			return err
		}
		b.Record = rec
	}
	if sc.opts.Positions {
		b.Positions = make([]int64, 0, b.Record.NumRows())
		if runs == nil {
			runs = []columnar.Run{{From: 0, To: b.memory.Rows}}
		}
		for _, r := range runs {
			for i := r.From; i < r.To; i++ {
				b.Positions = append(b.Positions, b.FirstRow+int64(i))
			}
		}
	}
	return nil
}
