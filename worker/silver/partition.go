package silver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
)

// A partitioned table (silver.partition.by) has in each file the rows of one combination of values of some columns. The values stand in
// the log, not in the file. A row whose value changes leaves its file and appears in one of the other partition, in the same commit.

// ErrPartition: the table cannot be partitioned as silver.partition.by says.
var ErrPartition = errors.New("silver.partition.by does not fit the table")

// partitionNames are the columns of the table by which it is partitioned, by their names in the table; nil for none.
func (m *Merger) partitionNames() []string {
	if m.snap != nil {
		return m.snap.Metadata.PartitionColumns
	}
	return nil
}

// checkPartition compares the configuration with a table that is there.
func (m *Merger) checkPartition(snap *delta.Snapshot) error {
	var is []string
	for _, name := range snap.Metadata.PartitionColumns {
		for i := range m.cols.Source {
			if m.cols.Source[i].Name == name {
				is = append(is, m.cols.Source[i].Source)
			}
		}
	}
	if want := m.opt.Config.SilverPartitionBy; !slices.Equal(is, want) {
		return fmt.Errorf("%w: %s is partitioned by (%s), silver.partition.by says (%s); a table keeps its partitioning: choose another silver.path",
			ErrPartition, m.table.URL(), strings.Join(is, ", "), strings.Join(want, ", "))
	}
	return nil
}

// choosePartition gives the partition columns of a table in the making. ErrPartition where a column is not one of the rows'.
func (m *Merger) choosePartition(w *work) ([]string, error) {
	var names []string
	for _, source := range m.opt.Config.SilverPartitionBy {
		i := m.cols.BySource(source)
		if i < 0 && w.mentions(source) {
			// The events have it, always NULL as yet, and declare no types: text can hold whatever comes.
			m.cols.Observe(connectors.Row{Shape: &connectors.Shape{Names: []string{source}, Types: []schema.Type{schema.Of(schema.String)}},
				Values: []connectors.Value{nullValue}}, true)
			i = m.cols.BySource(source)
		}
		if i < 0 {
			var have []string
			for k := range m.cols.Source {
				have = append(have, m.cols.Source[k].Source)
			}
			return nil, fmt.Errorf("%w: there is no column %q; the rows have %s", ErrPartition, source, strings.Join(have, ", "))
		}
		switch col := &m.cols.Source[i]; col.Type.Kind {
		case schema.Binary, schema.Array, schema.Map, schema.Struct, schema.Variant, schema.Void:
			return nil, fmt.Errorf("%w: column %q is %s, which has no form in a partition's name", ErrPartition, source, col.Type)
		default:
			names = append(names, col.Name)
		}
	}
	return names, nil
}

// mentions tells that a row of the merge has the column.
func (w *work) mentions(source string) bool {
	for i := range w.events {
		if c := w.events[i].c; c.After.Shape != nil && c.After.Shape.Index(source) >= 0 {
			return true
		}
	}
	return false
}

// partitions tells whether the table is partitioned by a source column.
func (m *Merger) partitions(col int) bool {
	by := m.opt.Config.SilverPartitionBy
	return len(by) > 0 && slices.Contains(by, m.cols.Source[col].Source)
}

// divisible tells that a value can stand in the log as that of a partition: the empty text cannot, it means NULL there.
func divisible(v *value, t schema.Type) bool {
	_, null, err := rows.FormatPartitionValue(*v, t)
	return err == nil && (!null || v.State != connectors.Present)
}

// span is winners of one partition, from … to-1.
type span struct {
	part     delta.Partition
	from, to int
}

// spans puts the winners in the order of their partitions, and says where each begins. A table without partitions has one.
func (w *work) spans() ([]span, error) {
	m := w.m
	if len(w.winners) == 0 {
		return nil, nil
	}
	names := m.partitionNames()
	if len(names) == 0 {
		return []span{{to: len(w.winners)}}, nil
	}
	cols := make([]int, len(names))
	physical := make([]string, len(names))
	for k, n := range names {
		cols[k] = slices.IndexFunc(m.cols.Source, func(c evolve.Column) bool { return c.Name == n })
		if cols[k] < 0 {
			return nil, fmt.Errorf("%w: the table has lost its column %q", ErrPartition, n)
		}
		physical[k] = columnar.PhysicalName(&m.cols.Schema.Fields[m.cols.Source[cols[k]].At], m.mapping())
	}
	type placed struct {
		x    winner
		text string
		part delta.Partition
	}
	seen := map[string]delta.Partition{}
	list := make([]placed, len(w.winners))
	for i := range w.winners {
		x := &w.winners[i]
		vals := make([]delta.PartitionValue, len(names))
		for k, c := range cols {
			var plan *evolve.Plan
			if x.img == nil {
				plan = w.plan(w.events[x.ev].c.After)
			}
			text, null, err := rows.FormatPartitionValue(*w.cell(x, plan, c), m.cols.Source[c].Type)
			if err != nil {
				return nil, fmt.Errorf("column %q: %w", names[k], err)
			}
			vals[k] = delta.PartitionValue{Name: physical[k], Value: text, Null: null}
		}
		part := delta.NewPartition(vals...)
		text := partitionText(part)
		if p, ok := seen[text]; ok {
			part = p
		} else {
			seen[text] = part
		}
		list[i] = placed{*x, text, part}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return strings.Compare(a.text, b.text) })
	var out []span
	for i := range list {
		w.winners[i] = list[i].x
		if i == 0 || list[i].text != list[i-1].text {
			out = append(out, span{part: list[i].part, from: i})
		}
		out[len(out)-1].to = i + 1
	}
	return out, nil
}

// partitionText tells partitions apart, NULL from every value.
func partitionText(p delta.Partition) string {
	var b strings.Builder
	for v := range p.All() {
		if v.Null {
			b.WriteByte(0)
		} else {
			b.WriteByte(1)
			b.WriteString(v.Value)
		}
		b.WriteByte(0)
	}
	return b.String()
}

// partitionOf gives the partition of a file of the table.
func (m *Merger) partitionOf(path string) delta.Partition {
	for _, s := range []*delta.Snapshot{m.look, m.snap} {
		if s != nil {
			if a, ok := s.File(path); ok {
				return a.PartitionValues
			}
		}
	}
	return delta.Partition{}
}

// byPartition orders files so that those of one partition are together.
func (m *Merger) byPartition(ordinals []uint32) []uint32 {
	if len(m.partitionNames()) == 0 {
		return ordinals
	}
	out := slices.Clone(ordinals)
	text := make(map[uint32]string, len(out))
	for _, o := range out {
		text[o] = partitionText(m.partitionOf(m.idx.File(o).Path))
	}
	slices.SortStableFunc(out, func(a, b uint32) int { return strings.Compare(text[a], text[b]) })
	return out
}

// dataFile is an open data file with the values that its rows have from the log.
type dataFile struct {
	*columnar.File
	m    *Merger
	part map[string]string // serialised, by physical name; NULLs left out
	is   []string          // physical names of partition columns
}

func (m *Merger) withPartition(f *columnar.File, path string) *dataFile {
	d := &dataFile{File: f, m: m}
	p := m.partitionOf(path)
	for v := range p.All() {
		d.is = append(d.is, v.Name)
		if !v.Null {
			if d.part == nil {
				d.part = map[string]string{}
			}
			d.part[v.Name] = v.Value
		}
	}
	return d
}

// Read is columnar.File.Read with the partition's values.
func (d *dataFile) Read(ctx context.Context, o columnar.ReadOptions) iter.Seq2[columnar.Batch, error] {
	o.Mapping = d.m.mapping()
	if len(d.is) == 0 {
		return d.File.Read(ctx, o)
	}
	return func(yield func(columnar.Batch, error) bool) {
		for b, err := range d.File.Read(ctx, o) {
			if err == nil {
				b.Record, err = d.complete(b.Record, o.Target)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// ReadRowsAt is columnar.File.ReadRowsAt with the partition's values.
func (d *dataFile) ReadRowsAt(ctx context.Context, o columnar.ReadOptions, at []int64) (arrow.Record, error) {
	o.Mapping = d.m.mapping()
	rec, err := d.File.ReadRowsAt(ctx, o, at)
	if err != nil || len(d.is) == 0 {
		return rec, err
	}
	return d.complete(rec, o.Target)
}

// complete puts the partition's values into a record.
func (d *dataFile) complete(rec arrow.Record, target *schema.Schema) (arrow.Record, error) {
	cols := slices.Clone(rec.Columns())
	for i := range cols {
		k := target.Index(rec.ColumnName(i))
		if k < 0 {
			continue
		}
		f := &target.Fields[k]
		name := columnar.PhysicalName(f, d.m.mapping())
		if !slices.Contains(d.is, name) {
			continue
		}
		v := nullValue
		if text, ok := d.part[name]; ok {
			var err error
			if v, err = rows.ParsePartitionValue(text, f.Type, nil); err != nil {
				return nil, fmt.Errorf("column %s: %w", f.Name, err)
			}
		}
		c, err := columnar.Constant(f.Type, v, int(rec.NumRows()))
		if err != nil {
			return nil, err
		}
		cols[i] = c
	}
	return array.NewRecord(rec.Schema(), cols, rec.NumRows()), nil
}

// fileSchema gives the columns that the table's files hold, and the places of the others in s.
func (m *Merger) fileSchema(s schema.Schema) (schema.Schema, []int) {
	names := m.partitionNames()
	if len(names) == 0 {
		return s, nil
	}
	var out schema.Schema
	var left []int
	for i := range s.Fields {
		if slices.Contains(names, s.Fields[i].Name) {
			left = append(left, i)
		} else {
			out.Fields = append(out.Fields, s.Fields[i])
		}
	}
	return out, left
}

// without leaves columns of a record out.
func without(rec arrow.Record, left []int) arrow.Record {
	if len(left) == 0 {
		return rec
	}
	var cols []arrow.Array
	var fields []arrow.Field
	for i, c := range rec.Columns() {
		if !slices.Contains(left, i) {
			cols, fields = append(cols, c), append(fields, rec.Schema().Field(i))
		}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), cols, rec.NumRows())
}

// onePartition leaves the files of the partition that has the most of them: only they can be joined.
func (m *Merger) onePartition(files []uint32) []uint32 {
	by := map[string][]uint32{}
	best := ""
	for _, o := range files {
		text := partitionText(m.partitionOf(m.idx.File(o).Path))
		by[text] = append(by[text], o)
		if n, most := len(by[text]), len(by[best]); n > most || n == most && text < best {
			best = text
		}
	}
	return by[best]
}
