package delta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
)

// Written is what the writer of a data file knows of it: what Appendix B wants compared with the add action. It is never part of the log.
type Written struct {
	Size, Rows int64
	// Schema is what the file was written with, by logical names; empty where that was compared with the table already.
	Schema schema.Schema
	// RowIDs tells that the file holds the ids of its rows and the versions that they are of (Snapshot.RowIDColumns): they were moved.
	RowIDs bool
}

// vectors are the deleted rows of a file before and after a change, where the caller has them in memory. Both are read only.
type vectors struct{ before, now *roaring64.Bitmap }

// verify asserts the rules of delta.md Appendix B that are about what lies in files: B2 (deletion vectors delete rows that the file has, and all that
// were deleted before) and B3 (a new file has the size, the rows and the columns that the log says). What the commit's caller vouches for is
// compared in memory; anything else is read from the store. It costs what the commit costs.
func (c *Commit) verify(ctx context.Context) error {
	for _, d := range c.dvs {
		if err := c.verifyVector(ctx, d); err != nil {
			return err
		}
	}
	for _, a := range c.adds {
		if _, exists := c.base.File(a.Path); exists {
			continue // a change of statistics or tags, or refused by B1
		}
		if err := c.verifyFile(ctx, a); err != nil {
			return err
		}
		if a.DeletionVector == nil {
			continue
		}
		now, err := c.readVector(ctx, a.Path, a.DeletionVector)
		if err != nil {
			return err
		}
		if err := checkVector(a, a.DeletionVector, nil, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *Commit) verifyVector(ctx context.Context, d *dvChange) error {
	v := d.vectors
	if d.ours.Offset == nil && d.ours.StorageType != dv.StorageInline || d.ours.SizeInBytes <= 0 {
		return nil // refused by check, without a look at the store
	}
	if v == nil {
		now, err := c.readVector(ctx, d.origin.Path, &d.ours)
		if err != nil {
			return err
		}
		v = &vectors{now: now}
		if d.origin.DeletionVector != nil {
			if v.before, err = c.readVector(ctx, d.origin.Path, d.origin.DeletionVector); err != nil {
				return err
			}
		}
	}
	return checkVector(d.origin, &d.ours, v.before, v.now)
}

func (c *Commit) readVector(ctx context.Context, path string, d *dv.Descriptor) (*roaring64.Bitmap, error) {
	v, err := dv.Read(ctx, c.t.bucket, c.t.path, *d)
	if errors.Is(err, dv.ErrCorrupt) || errors.Is(err, dv.ErrUnsupported) || errors.Is(err, store.ErrNotFound) {
		return nil, invalid("B2 deletion vectors", "%s: %v", path, err)
	}
	return v, err
}

// checkVector asserts B2 of the vector d, whose rows are now, on a file whose deleted rows were before; nil: none.
func checkVector(a *Add, d *dv.Descriptor, before, now *roaring64.Bitmap) error {
	n, ok := a.NumRecords()
	if !ok {
		return invalid("B2 deletion vectors", "%s has a deletion vector and no numRecords in its statistics", a.Path)
	}
	if have := now.GetCardinality(); have != uint64(d.Cardinality) || have == 0 {
		return invalid("B2 deletion vectors", "%s: the vector deletes %d rows, its descriptor says %d", a.Path, have, d.Cardinality)
	}
	if top := now.Maximum(); top >= uint64(n) {
		return invalid("B2 deletion vectors", "%s: the vector deletes row %d of a file of %d rows", a.Path, top, n)
	}
	var old int64
	if a.DeletionVector != nil && a.DeletionVector != d {
		old = a.DeletionVector.Cardinality
	}
	if before == nil {
		if old > 0 {
			return invalid("B2 deletion vectors", "%s has %d deleted rows, the commit knows of none", a.Path, old)
		}
		return nil
	}
	if have := before.GetCardinality(); have != uint64(old) {
		return invalid("B2 deletion vectors", "%s has %d deleted rows, the commit knows of %d", a.Path, old, have)
	}
	if kept := before.AndCardinality(now); kept != uint64(old) {
		return invalid("B2 deletion vectors", "%s: %d rows that were deleted would come back", a.Path, uint64(old)-kept)
	}
	return nil
}

// verifyFile asserts B3 of a new data file.
func (c *Commit) verifyFile(ctx context.Context, a *Add) error {
	if w := a.Written; w != nil {
		if w.Size != a.Size {
			return invalid("B3 size", "%s was written with %d bytes, the action says %d", a.Path, w.Size, a.Size)
		}
		if n, ok := a.NumRecords(); ok && n != w.Rows {
			return invalid("B3 rows", "%s was written with %d rows, its statistics say %d", a.Path, w.Rows, n)
		}
		return c.verifySchema(a, w.Schema)
	}
	key, err := c.t.ObjectKey(a.Path)
	if err != nil {
		return nil // a file of another table, elsewhere
	}
	info, err := c.t.bucket.Stat(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return invalid("B3 file", "%s is not in the store", a.Path)
	}
	if err != nil {
		return err
	}
	if info.Size != a.Size {
		return invalid("B3 size", "%s has %d bytes, the action says %d", a.Path, info.Size, a.Size)
	}
	f, err := columnar.OpenFile(ctx, &footerReader{ctx, c.t.bucket, key, info.Size}, info.Size)
	if err != nil {
		if errors.Is(err, parquet.ErrCorrupt) {
			return invalid("B3 file", "%s: %v", a.Path, err)
		}
		return err
	}
	if n, ok := a.NumRecords(); ok && n != f.NumRows() {
		return invalid("B3 rows", "%s has %d rows, its statistics say %d", a.Path, f.NumRows(), n)
	}
	sc := c.dataSchema()
	mapping := map[string]columnar.Mapping{"name": columnar.MapName, "id": columnar.MapID}[c.base.Metadata.Configuration[PropColumnMappingMode]]
	if err := f.Readable(columnar.ReadOptions{Target: &sc, Mapping: mapping}); err != nil {
		return invalid("B3 schema", "%s: %v", a.Path, err)
	}
	return nil
}

// dataSchema gives the columns that lie in files, as they will be after the commit.
func (c *Commit) dataSchema() schema.Schema {
	sc, meta := c.base.schema, c.base.Metadata
	if c.metadata != nil {
		if next, err := c.metadata.parse(); err == nil { // else check refuses it
			sc, meta = next, c.metadata
		}
	}
	sc.Fields = slices.DeleteFunc(slices.Clone(sc.Fields), func(f schema.Field) bool { return slices.Contains(meta.PartitionColumns, f.Name) })
	return sc
}

func (c *Commit) verifySchema(a *Add, file schema.Schema) error {
	if len(file.Fields) == 0 {
		return nil
	}
	sc := c.dataSchema()
	for _, f := range file.Fields {
		i := sc.Index(f.Name)
		if i < 0 {
			return invalid("B3 schema", "%s has the column %q, which the table keeps in no file", a.Path, f.Name)
		}
		if !f.Type.Equal(sc.Fields[i].Type) {
			return invalid("B3 schema", "%s has the column %q as %s, the table has it as %s", a.Path, f.Name, f.Type, sc.Fields[i].Type)
		}
	}
	return nil
}

// checkRows asserts B5: the commit gains the live rows that its caller says, and one that only rearranges rows gains none.
func (c *Commit) checkRows(a *Actions, next *Snapshot) error {
	gain := int64(0)
	for _, x := range a.Adds {
		n, ok := x.LiveRecords()
		if !ok {
			return nil
		}
		if old, exists := c.base.File(x.Path); exists && old.DVID() == x.DVID() {
			if m, ok := old.LiveRecords(); !ok || m != n {
				return nil // statistics are made right
			}
			n = 0
		}
		gain += n
	}
	for _, r := range a.Removes {
		old, exists := c.base.File(r.Path)
		if !exists {
			return nil
		}
		n, ok := old.LiveRecords()
		if !ok {
			return nil
		}
		gain -= n
	}
	before, exactBefore := c.base.NumRecords()
	after, exactAfter := next.NumRecords()
	if exactBefore && exactAfter && after != before+gain {
		return invalid("B5 rows", "the table would have %d live rows, %d and %d of this commit are expected", after, before, gain)
	}
	if c.rearrange && gain != 0 {
		return invalid("B5 rows", "a commit that only moves rows would change their number by %d", gain)
	}
	if c.gain != nil && gain != *c.gain {
		return invalid("B5 rows", "the commit changes the number of live rows by %d, its writer counted %d", gain, *c.gain)
	}
	return nil
}

// footerReader reads an object by ranges.
type footerReader struct {
	ctx    context.Context
	bucket store.Bucket
	key    string
	size   int64
}

// ReadAt implements io.ReaderAt.
func (o *footerReader) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), o.size-off)
	if n <= 0 {
		return 0, io.EOF
	}
	b, err := o.bucket.ReadRange(o.ctx, o.key, off, n)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", o.key, err)
	}
	if k := copy(p, b); k < len(p) {
		return k, io.EOF
	}
	return len(p), nil
}
