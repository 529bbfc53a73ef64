package rows

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
)

// Trouble is the kind of a Finding.
type Trouble string

// The kinds, from those that lose rows to those that only cost time.
const (
	MissingFile    Trouble = "missing-file"    // the log refers to a data file that is not there
	CorruptFile    Trouble = "corrupt-file"    // it can't be read
	CorruptVector  Trouble = "corrupt-vector"  // its deletion vector can't be read, or deletes rows that it does not have
	WrongColumns   Trouble = "wrong-columns"   // its columns can't be read as the table's
	WrongPartition Trouble = "wrong-partition" // its partition values are not of the columns' types
	WrongSize      Trouble = "wrong-size"      // it has another size than the log says
	WrongCount     Trouble = "wrong-count"     // it has another number of rows than its statistics say
	WrongStats     Trouble = "wrong-stats"     // its statistics do not hold for its rows: readers may skip rows that are wanted
	Unreachable    Trouble = "unreachable"     // it, or its deletion vector, lies where this software does not look: in another bucket, say
	Unsupported    Trouble = "unsupported"     // it is written in a way that is not read here
)

// Finding is one thing that is wrong with a table.
type Finding struct {
	Trouble Trouble
	// File is the path in the log.
	File string
	// Text says what was found, in a sentence.
	Text string
	// Add is the file's action.
	Add *delta.Add
}

// FsckOptions say how deep Fsck looks.
type FsckOptions struct {
	// Deep reads all rows: pages and their checksums, and compares them with the statistics.
	Deep bool
	// Files restricts it to these.
	Files []*delta.Add
	// Progress, where set, is called after each file.
	Progress func(done, total int)
}

// Fsck looks for what is wrong with the data files of a snapshot. Findings are no errors; an error means that it could not look
// (the store does not answer), and ends the sequence. The log itself was checked by opening the snapshot.
func Fsck(ctx context.Context, s *delta.Snapshot, o FsckOptions) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		l, err := layoutOf(s)
		if err != nil {
			yield(Finding{}, err)
			return
		}
		files := o.Files
		if files == nil {
			for a := range s.Files() {
				files = append(files, a)
			}
		}
		c := &checker{ctx: ctx, s: s, layout: l, deep: o.Deep}
		for i, a := range files {
			if err := ctx.Err(); err != nil {
				yield(Finding{}, err)
				return
			}
			c.found = c.found[:0]
			if err := c.file(a); err != nil {
				yield(Finding{}, err)
				return
			}
			for _, f := range c.found {
				if !yield(f, nil) {
					return
				}
			}
			if o.Progress != nil {
				o.Progress(i+1, len(files))
			}
		}
	}
}

type checker struct {
	ctx    context.Context
	s      *delta.Snapshot
	layout *layout
	deep   bool
	found  []Finding
}

func (c *checker) note(t Trouble, a *delta.Add, format string, args ...any) {
	c.found = append(c.found, Finding{t, a.Path, fmt.Sprintf(format, args...), a})
}

// file checks one file. The error is of the environment.
func (c *checker) file(a *delta.Add) error {
	t := c.s.Table()
	if _, err := partitionValues(a, c.layout, nil); err != nil {
		c.note(WrongPartition, a, "%v", err)
	}
	key, err := t.ObjectKey(a.Path)
	if err != nil {
		c.note(Unreachable, a, "%v", err)
		return nil
	}
	st, err := t.Bucket().Stat(c.ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		c.note(MissingFile, a, "there is no object %s", strings.TrimPrefix(key, t.Path()+"/"))
		return nil
	}
	if err != nil {
		return err
	}
	if st.Size != a.Size {
		c.note(WrongSize, a, "%d bytes, the log says %d", st.Size, a.Size)
	}
	f, err := openObject(c.ctx, t, key, st.Size)
	if err != nil {
		return c.unread(a, err)
	}
	if n, ok := a.NumRecords(); ok && n != f.NumRows() {
		c.note(WrongCount, a, "%d rows, its statistics say %d", f.NumRows(), n)
	}
	if err := c.vector(a, f.NumRows()); err != nil {
		return err
	}
	var sc schema.Schema
	for i, x := range c.layout.schema.Fields {
		if !c.layout.isPart[i] {
			sc.Fields = append(sc.Fields, x)
		}
	}
	return c.rows(a, f, sc)
}

// unread notes why a file could not be read, unless the error is of the store.
func (c *checker) unread(a *delta.Add, err error) error {
	var corrupt *delta.CorruptError
	switch {
	case c.ctx.Err() != nil || errors.Is(err, store.ErrPermission):
		return err
	case errors.Is(err, columnar.ErrType):
		c.note(WrongColumns, a, "%v", err)
	case errors.Is(err, parquet.ErrUnsupported):
		c.note(Unsupported, a, "%v", err)
	case errors.As(err, &corrupt), errors.Is(err, store.ErrNotFound):
		c.note(CorruptFile, a, "%v", err)
	default:
		return err
	}
	return nil
}

func (c *checker) vector(a *delta.Add, n int64) error {
	if a.DeletionVector == nil {
		return nil
	}
	v, err := DeletedRows(c.ctx, c.s.Table(), a)
	if err != nil {
		var corrupt *delta.CorruptError
		switch {
		case errors.Is(err, dv.ErrUnsupported):
			c.note(Unreachable, a, "%v", err)
		case errors.As(err, &corrupt), errors.Is(err, store.ErrNotFound):
			c.note(CorruptVector, a, "%v", err)
		default:
			return err
		}
		return nil
	}
	if !v.IsEmpty() && v.Maximum() >= uint64(n) {
		c.note(CorruptVector, a, "its deletion vector deletes row %d of %d", v.Maximum(), n)
	}
	if _, ok := a.NumRecords(); !ok {
		c.note(WrongStats, a, "it has a deletion vector and no numRecords in its statistics, which the protocol forbids")
	}
	return nil
}

// rows reads the file: all of it where the check is deep, else nothing but whether its columns can be read.
func (c *checker) rows(a *delta.Add, f *columnar.File, sc schema.Schema) error {
	o := columnar.ReadOptions{Target: &sc, Mapping: c.layout.mapping}
	if !c.deep {
		o.RowGroups = []int{}
	}
	w := newWitness(sc, c.layout.mapping)
	for b, err := range f.Read(c.ctx, o) {
		if err != nil {
			return c.unread(a, fileError(c.s.Table(), a.Path, err))
		}
		w.add(b)
	}
	if a.Stats == "" {
		return nil
	}
	var p fastjson.Parser
	stats, err := p.Parse(a.Stats)
	if err != nil {
		c.note(WrongStats, a, "its statistics are no JSON: %v", err)
		return nil
	}
	if !c.deep {
		return nil
	}
	deleted := a.DeletionVector != nil
	for _, x := range w.check(stats, f.NumRows(), deleted) {
		c.note(WrongStats, a, "%s", x)
	}
	return nil
}

// witness compares rows with statistics: it keeps the extremes of top-level columns and of members of structs.
type witness struct {
	cols []*witnessColumn
}

type witnessColumn struct {
	keys   []string // physical path
	path   []int
	typ    schema.Type
	field  *schema.Field
	nulls  int64
	lo, hi connectors.Value
}

func newWitness(sc schema.Schema, m columnar.Mapping) *witness {
	w := &witness{}
	var walk func(fields []schema.Field, keys []string, path []int)
	walk = func(fields []schema.Field, keys []string, path []int) {
		for i := range fields {
			k := append(keys[:len(keys):len(keys)], columnar.PhysicalName(&fields[i], m))
			p := append(path[:len(path):len(path)], i)
			if fields[i].Type.Kind == schema.Struct {
				walk(fields[i].Type.Fields, k, p)
				continue
			}
			w.cols = append(w.cols, &witnessColumn{keys: k, path: p, typ: fields[i].Type, field: &fields[i]})
		}
	}
	walk(sc.Fields, nil, nil)
	return w
}

func (w *witness) add(b columnar.Batch) {
	n := int(b.Record.NumRows())
	for _, c := range w.cols {
		for i := range n {
			v := valueAt(b.Record.Column(c.path[0]), c.path[1:], c.typ, i)
			if v.State != connectors.Present {
				c.nulls++
				continue
			}
			if c.lo.State != connectors.Present {
				c.lo, c.hi = v, v
				continue
			}
			if compare(v, c.lo, c.typ) < 0 {
				c.lo = v
			}
			if compare(v, c.hi, c.typ) > 0 {
				c.hi = v
			}
		}
	}
}

// check gives a sentence for each statistic that does not hold. With a deletion vector nullCount counts only where it is 0 or all.
func (w *witness) check(stats *fastjson.Value, rows int64, deleted bool) []string {
	var out []string
	for _, c := range w.cols {
		name := strings.Join(c.keys, ".")
		get := func(root string) *fastjson.Value { return stats.Get(append([]string{root}, c.keys...)...) }
		if v := get("nullCount"); v != nil {
			if n, err := v.Int64(); err == nil && n != c.nulls && (!deleted || n == 0) {
				out = append(out, fmt.Sprintf("column %s has %d nulls, nullCount is %d", name, c.nulls, n))
			}
		}
		if c.lo.State != connectors.Present {
			continue
		}
		b := bounds{nulls: -1, rows: rows}
		b.read(c.field, get("minValues"), get("maxValues"))
		if b.hasLo && compare(c.lo, b.lo, c.typ) < 0 {
			out = append(out, fmt.Sprintf("column %s has %s, below minValues %s", name, columnar.FormatValue(c.lo, c.typ), get("minValues")))
		}
		if b.hasHi && compare(c.hi, b.hi, c.typ) > 0 {
			out = append(out, fmt.Sprintf("column %s has %s, above maxValues %s", name, columnar.FormatValue(c.hi, c.typ), get("maxValues")))
		}
	}
	return out
}

// Repair takes out of the table the files of findings that can't be read any more because they are not there: the only
// repair that loses nothing which is not lost already. Other findings are left alone. It gives the commit's outcome; Committed at
// the snapshot's version, without a commit, where there is nothing to do.
func Repair(ctx context.Context, s *delta.Snapshot, found []Finding) (delta.Outcome, []Finding) {
	c := s.Table().NewCommit(s)
	var done []Finding
	seen := map[string]bool{}
	for _, f := range found {
		if f.Trouble != MissingFile || f.Add == nil || seen[f.File] {
			continue
		}
		seen[f.File] = true
		c.Remove(f.Add)
		done = append(done, f)
	}
	if len(done) == 0 {
		return delta.Outcome{Kind: delta.Committed, Version: s.Version, Snapshot: s}, nil
	}
	c.Info(delta.CommitInfo{Operation: "FSCK", OperationMetrics: map[string]string{"numRemovedFiles": fmt.Sprint(len(done))}})
	return c.Do(ctx), done
}
