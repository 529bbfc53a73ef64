package cdf

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
)

var (
	// ErrDisabled is wrapped where a version of the range was made without the change data feed.
	ErrDisabled = errors.New("the change data feed was off")
	// ErrSchemaChanged is wrapped where the rows of a version can't be shown in the schema that the changes have.
	ErrSchemaChanged = errors.New("the schema changed in a way that the change data feed can't be read across")
)

// Change types, the values of column _change_type.
const (
	Insert     = "insert"
	Delete     = "delete"
	PreUpdate  = "update_preimage"
	PostUpdate = "update_postimage"
)

// Columns that the feed has besides the table's.
const (
	ColumnType      = "_change_type"
	ColumnVersion   = "_commit_version"
	ColumnTimestamp = "_commit_timestamp"
)

var typeField = schema.Field{Name: ColumnType, Type: schema.Of(schema.String), Nullable: true}

// Options say what of the feed is read.
type Options struct {
	// From and To are the first and last version, both included. To < 0: the newest.
	From, To int64
	// Columns names the table's columns that are wanted. nil: all. The three columns of the feed come always, last.
	Columns []string
	// BatchRows bounds a batch: default 20 000 rows.
	BatchRows int
}

// Batch is a part of one version's changes: the table's columns, _change_type, _commit_version, _commit_timestamp.
type Batch struct {
	Record    arrow.Record
	Version   int64
	Timestamp time.Time
}

// reader is one reading of a feed.
type reader struct {
	table *delta.Table
	shape *delta.Snapshot // whose schema the rows have
	to    int64
	opts  Options
}

// Schema gives the schema of the records: that of a snapshot, which Shape found, with the feed's columns.
func Schema(s *delta.Snapshot, o Options) (schema.Schema, error) {
	sc, err := (rows.Options{Columns: o.Columns}).Schema(s)
	if err != nil {
		return sc, err
	}
	sc.Fields = append(sc.Fields[:len(sc.Fields):len(sc.Fields)], typeField,
		schema.Field{Name: ColumnVersion, Type: schema.Of(schema.Long), Nullable: true},
		schema.Field{Name: ColumnTimestamp, Type: schema.Of(schema.Timestamp), Nullable: true})
	return sc, nil
}

// Read gives the changes of a range of versions, in their order. The first error ends the sequence.
func Read(ctx context.Context, t *delta.Table, o Options) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		r, err := open(ctx, t, o)
		if err != nil {
			yield(Batch{}, fmt.Errorf("change data feed of table %s: %w", t.URL(), err))
			return
		}
		on := true
		emit := func(b Batch, err error) bool {
			if err != nil {
				err = fmt.Errorf("change data feed of table %s: %w", t.URL(), err)
			}
			on = yield(b, err) && err == nil
			return on
		}
		for c, err := range t.Commits(ctx, r.opts.From, r.to) {
			if err != nil {
				emit(Batch{}, err)
				return
			}
			if r.commit(ctx, c, emit); !on {
				return
			}
		}
	}
}

func open(ctx context.Context, t *delta.Table, o Options) (*reader, error) {
	shape, to, err := shapeOf(ctx, t, o)
	if err != nil {
		return nil, err
	}
	return &reader{table: t, shape: shape, to: to, opts: o}, nil
}

// Shape gives the version of the table whose columns the changes have: the newest, as Spark and delta-rs show them too, or, where the rows of the
// range can't be shown in its schema, the last of the range.
func Shape(ctx context.Context, t *delta.Table, o Options) (*delta.Snapshot, error) {
	s, _, err := shapeOf(ctx, t, o)
	if err != nil {
		return nil, fmt.Errorf("change data feed of table %s: %w", t.URL(), err)
	}
	return s, nil
}

// shapeOf does what Shape says, and gives the last version of the range.
func shapeOf(ctx context.Context, t *delta.Table, o Options) (shape *delta.Snapshot, to int64, err error) {
	newest, newestErr := t.Snapshot(ctx)
	last := newest
	if o.To >= 0 && (newestErr != nil || o.To != newest.Version) {
		if last, err = t.SnapshotAt(ctx, o.To); err != nil {
			return nil, 0, err
		}
	} else if newestErr != nil {
		return nil, 0, newestErr
	}
	if o.From < 0 || o.From > last.Version {
		return nil, 0, fmt.Errorf("%w: from %d to %d", delta.ErrVersionNotFound, o.From, last.Version)
	}
	first, err := t.SnapshotAt(ctx, o.From)
	if err != nil {
		return nil, 0, err
	}
	if !first.PropertyIs(delta.PropEnableCDF) {
		return nil, 0, fmt.Errorf("%w at version %d (%s is not true)", ErrDisabled, o.From, delta.PropEnableCDF)
	}
	if newestErr == nil && readable(first.Schema(), newest) == nil && readable(last.Schema(), newest) == nil {
		return newest, last.Version, nil
	}
	if err := readable(first.Schema(), last); err != nil {
		return nil, 0, fmt.Errorf("%w (version %d)", err, o.From)
	}
	return last, last.Version, nil
}

// readable tells whether rows of an older schema can be shown in that of shape: columns may have come, types may have widened.
func readable(old schema.Schema, shape *delta.Snapshot) error {
	mapping, err := rows.MappingOf(shape.Metadata)
	if err != nil {
		return err
	}
	return fieldsReadable(old.Fields, shape.Schema().Fields, mapping)
}

func fieldsReadable(old, now []schema.Field, m columnar.Mapping) error {
	for i := range old {
		name := columnar.PhysicalName(&old[i], m)
		var f *schema.Field
		for k := range now {
			if columnar.PhysicalName(&now[k], m) == name {
				f = &now[k]
			}
		}
		if f == nil {
			return fmt.Errorf("%w: column %s is gone", ErrSchemaChanged, old[i].Name)
		}
		if f.Name != old[i].Name {
			return fmt.Errorf("%w: column %s became %s", ErrSchemaChanged, old[i].Name, f.Name)
		}
		if err := typeReadable(old[i].Type, f.Type, m); err != nil {
			return fmt.Errorf("%w: column %s was %s and is %s", err, f.Name, old[i].Type, f.Type)
		}
	}
	return nil
}

func typeReadable(old, now schema.Type, m columnar.Mapping) error {
	if old.Equal(now) {
		return nil
	}
	switch {
	case old.Kind == schema.Struct && now.Kind == schema.Struct:
		return fieldsReadable(old.Fields, now.Fields, m)
	case old.Kind == schema.Array && now.Kind == schema.Array:
		return typeReadable(*old.Elem, *now.Elem, m)
	case old.Kind == schema.Map && now.Kind == schema.Map:
		if err := typeReadable(*old.Key, *now.Key, m); err != nil {
			return err
		}
		return typeReadable(*old.Elem, *now.Elem, m)
	case Widens(old, now):
		return nil
	}
	return ErrSchemaChanged
}

// Widens tells whether a change of a column's type is one of Delta's type widening: values of the old type are read as the
// new one without loss.
func Widens(old, now schema.Type) bool {
	digits := map[schema.Kind]int{schema.Byte: 3, schema.Short: 5, schema.Integer: 10, schema.Long: 20}
	rank := func(k schema.Kind) int { return digits[k] }
	switch {
	case rank(old.Kind) > 0 && rank(now.Kind) > 0:
		return rank(now.Kind) >= rank(old.Kind)
	case rank(old.Kind) > 0 && now.Kind == schema.Double:
		return old.Kind != schema.Long
	case rank(old.Kind) > 0 && now.Kind == schema.Decimal:
		need := 10
		if old.Kind == schema.Long {
			need = 20
		}
		return now.Precision-now.Scale >= need
	case old.Kind == schema.Float && now.Kind == schema.Double:
		return true
	case old.Kind == schema.Date && now.Kind == schema.TimestampNTZ:
		return true
	case old.Kind == schema.Decimal && now.Kind == schema.Decimal:
		return now.Scale >= old.Scale && now.Precision-now.Scale >= old.Precision-old.Scale
	}
	return old.Kind == schema.Void
}

// commit gives the changes of one version.
func (r *reader) commit(ctx context.Context, c delta.CommitEntry, emit func(Batch, error) bool) {
	if c.Metadata != nil {
		if !strings.EqualFold(c.Metadata.Configuration[delta.PropEnableCDF], "true") {
			emit(Batch{}, fmt.Errorf("%w from version %d on", ErrDisabled, c.Version))
			return
		}
		sc, err := schema.Parse(c.Metadata.SchemaString)
		if err == nil {
			err = readable(sc, r.shape)
		}
		if err != nil {
			emit(Batch{}, fmt.Errorf("%w (version %d)", err, c.Version))
			return
		}
	}
	if len(c.CDC) > 0 {
		for _, f := range c.CDC {
			a := &delta.Add{Path: f.Path, PartitionValues: f.PartitionValues, Size: f.Size}
			if !r.file(ctx, c, rows.Single{File: a, Extra: []schema.Field{typeField}}, "", emit) {
				return
			}
		}
		return
	}
	if emptyMerge(c.CommitInfo) {
		return
	}
	r.derive(ctx, c, emit)
}

// emptyMerge tells what Spark takes for a commit without changes: a MERGE whose metrics say that it changed no row.
func emptyMerge(i *delta.CommitInfo) bool {
	if i == nil || i.Operation != "MERGE" {
		return false
	}
	for _, k := range []string{"numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsDeleted"} {
		if i.OperationMetrics[k] != "0" {
			return false
		}
	}
	return true
}

// derive works out the changes of a commit without change files.
func (r *reader) derive(ctx context.Context, c delta.CommitEntry, emit func(Batch, error) bool) {
	removed := map[string]*delta.Remove{}
	for _, x := range c.Removes {
		if x.DataChange {
			removed[x.Path] = x
		}
	}
	added := map[string]bool{}
	for _, a := range c.Adds {
		if !a.DataChange {
			continue
		}
		added[a.Path] = true
		now, err := r.vector(ctx, a)
		if err != nil {
			emit(Batch{}, err)
			return
		}
		x := removed[a.Path]
		if x == nil { // a new file
			if !r.file(ctx, c, rows.Single{File: a, Drop: now}, Insert, emit) {
				return
			}
			continue
		}
		before, err := r.vector(ctx, &delta.Add{Path: x.Path, DeletionVector: x.DeletionVector})
		if err != nil {
			emit(Batch{}, err)
			return
		}
		if d := minus(now, before); d != nil && !r.file(ctx, c, rows.Single{File: a, Only: d}, Delete, emit) {
			return
		}
		if d := minus(before, now); d != nil && !r.file(ctx, c, rows.Single{File: a, Only: d}, Insert, emit) {
			return
		}
	}
	for _, x := range c.Removes {
		if !x.DataChange || added[x.Path] {
			continue
		}
		a, err := r.removedFile(ctx, c.Version, x)
		if err != nil {
			emit(Batch{}, err)
			return
		}
		gone, err := r.vector(ctx, a)
		if err != nil {
			emit(Batch{}, err)
			return
		}
		if !r.file(ctx, c, rows.Single{File: a, Drop: gone}, Delete, emit) {
			return
		}
	}
}

// minus gives what a has and b has not; nil where that is nothing.
func minus(a, b *roaring64.Bitmap) *roaring64.Bitmap {
	if a == nil || a.IsEmpty() {
		return nil
	}
	if b == nil {
		return a
	}
	d := roaring64.AndNot(a, b)
	if d.IsEmpty() {
		return nil
	}
	return d
}

func (r *reader) vector(ctx context.Context, a *delta.Add) (*roaring64.Bitmap, error) {
	return rows.DeletedRows(ctx, r.table, a)
}

// removedFile gives a removed file as an add. Old writers left out what the remove need not say: then it is looked up in the
// version before.
func (r *reader) removedFile(ctx context.Context, version int64, x *delta.Remove) (*delta.Add, error) {
	if x.Size >= 0 && (x.PartitionValues.Len() > 0 || len(r.shape.Metadata.PartitionColumns) == 0) {
		return &delta.Add{Path: x.Path, PartitionValues: x.PartitionValues, Size: x.Size, DeletionVector: x.DeletionVector}, nil
	}
	s, err := r.table.SnapshotAt(ctx, version-1)
	if err != nil {
		return nil, fmt.Errorf("version %d removes %s without saying its partition: %w", version, x.Path, err)
	}
	a, ok := s.File(x.Path)
	if !ok {
		return nil, fmt.Errorf("version %d removes %s, which version %d does not have", version, x.Path, version-1)
	}
	return a, nil
}

// file gives the rows of one file as changes of a type; "" where the file says the type.
func (r *reader) file(ctx context.Context, c delta.CommitEntry, f rows.Single, changeType string, emit func(Batch, error) bool) bool {
	o := rows.Options{Columns: r.opts.Columns, BatchRows: r.opts.BatchRows}
	if o.Columns == nil {
		o.Columns = []string{}
		for _, x := range r.shape.Schema().Fields {
			o.Columns = append(o.Columns, x.Name)
		}
	}
	if changeType == "" {
		o.Columns = append(o.Columns[:len(o.Columns):len(o.Columns)], ColumnType)
	}
	for b, err := range rows.ReadSingle(ctx, r.shape, f, o) {
		if err != nil {
			emit(Batch{}, fmt.Errorf("version %d: %w", c.Version, err))
			return false
		}
		rec, err := r.complete(b.Record, c, changeType)
		if !emit(Batch{Record: rec, Version: c.Version, Timestamp: c.Timestamp}, err) {
			return false
		}
	}
	return true
}

// complete adds the feed's columns.
func (r *reader) complete(rec arrow.Record, c delta.CommitEntry, changeType string) (arrow.Record, error) {
	n := int(rec.NumRows())
	cols, fields := rec.Columns(), rec.Schema().Fields()
	cols, fields = cols[:len(cols):len(cols)], fields[:len(fields):len(fields)]
	add := func(name string, t schema.Type, v connectors.Value) error {
		a, err := columnar.Constant(t, v, n)
		if err == nil {
			cols = append(cols, a)
			fields = append(fields, arrow.Field{Name: name, Type: a.DataType(), Nullable: true})
		}
		return err
	}
	if changeType != "" {
		if err := add(ColumnType, schema.Of(schema.String), connectors.Text(changeType)); err != nil {
			return nil, err
		}
	}
	if err := add(ColumnVersion, schema.Of(schema.Long), connectors.Int(schema.Long, c.Version)); err != nil {
		return nil, err
	}
	if err := add(ColumnTimestamp, schema.Of(schema.Timestamp), connectors.Int(schema.Timestamp, c.Timestamp.UnixMicro())); err != nil {
		return nil, err
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, int64(n)), nil
}
