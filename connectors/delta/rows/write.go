package rows

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// WriteOptions are the choices of WriteFile. Zero values mean what the table's properties say, else the defaults.
type WriteOptions struct {
	// Partition holds the file's partition values, by physical name.
	Partition delta.Partition
	// Compression overrides delta.parquet.compression.codec; default snappy.
	Compression string
	// RowGroupRows and RowGroupBytes end a row group: see columnar.WriterOptions.
	RowGroupRows, RowGroupBytes int64
	// Tags go to the add action.
	Tags map[string]string
	// NoDictionary writes plain values always.
	NoDictionary bool
	// RowIDs are the two columns of Snapshot.RowIDColumns, which the records then have behind those of the table. They get no statistics.
	RowIDs []schema.Field
}

// writerOptions joins options with what the table's properties say.
func writerOptions(s *delta.Snapshot, o WriteOptions) (columnar.WriterOptions, error) {
	w := columnar.WriterOptions{Compression: o.Compression, RowGroupRows: o.RowGroupRows, RowGroupBytes: o.RowGroupBytes, NoDictionary: o.NoDictionary,
		NoPacking: s.PlainIntegers(), Parallel: runtime.GOMAXPROCS(0)}
	if w.Compression == "" {
		w.Compression, _ = s.Property(delta.PropCompressionCodec)
		w.Compression = strings.ToLower(w.Compression)
	}
	var err error
	if w.Mapping, err = MappingOf(s.Metadata); err != nil {
		return w, err
	}
	if v, ok := s.Property(delta.PropStatsColumns); ok {
		n, err := strconv.Atoi(v)
		if err != nil {
			return w, fmt.Errorf("property %s is %q, no number", delta.PropStatsColumns, v)
		}
		w.StatsColumns = n
		if n == 0 {
			w.StatsNames = []string{}
		}
	}
	if v, ok := s.Property(delta.PropStatsColumnNames); ok {
		w.StatsNames = splitNames(v)
	}
	w.StatsAlways, err = clusteringColumns(s)
	return w, err
}

// clusteringColumns gives the physical paths of the columns that a table is clustered by: files must have statistics of them
// (PROTOCOL.md, "Clustered Table").
func clusteringColumns(s *delta.Snapshot) ([][]string, error) {
	text, ok := s.Domain("delta.clustering")
	if !ok {
		return nil, nil
	}
	var c struct {
		Columns [][]string `json:"clusteringColumns"`
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("domain delta.clustering of table %s: %w", s.Table().URL(), err)
	}
	return c.Columns, nil
}

// splitNames splits a comma list of column names, which may be in backticks.
func splitNames(s string) []string {
	out := []string{}
	var b strings.Builder
	quoted := false
	for _, r := range s {
		switch {
		case r == '`':
			quoted = !quoted
		case r == ',' && !quoted:
			out = append(out, strings.TrimSpace(b.String()))
			b.Reset()
		default:
			b.WriteRune(r)
		}
	}
	if b.Len() > 0 {
		out = append(out, strings.TrimSpace(b.String()))
	}
	return out
}

// tableFields gives the table's own fields for the columns of a file: with their metadata and nullability.
func tableFields(s *delta.Snapshot, sc schema.Schema) (schema.Schema, error) {
	all := s.Schema()
	var out schema.Schema
	for _, f := range sc.Fields {
		i := all.Index(f.Name)
		if i < 0 {
			i = all.IndexFold(f.Name)
		}
		if i < 0 {
			return out, fmt.Errorf("table %s has no column %q", s.Table().URL(), f.Name)
		}
		for _, p := range s.Metadata.PartitionColumns {
			if strings.EqualFold(p, f.Name) {
				return out, fmt.Errorf("column %q partitions table %s: its value belongs to the options, not to the file", f.Name, s.Table().URL())
			}
		}
		if !all.Fields[i].Type.Equal(f.Type) {
			return out, fmt.Errorf("column %q is %s, in table %s it is %s", f.Name, f.Type, s.Table().URL(), all.Fields[i].Type)
		}
		out.Fields = append(out.Fields, all.Fields[i])
	}
	return out, nil
}

// WriteFile writes records as a new data file of the snapshot's table under a name relative to the table's folder, and
// gives the add action for it, with statistics. sc is the schema of the records: columns of the table, without the
// partition columns; a column that is left out is null in all rows. Nothing is left behind where it fails.
//
// Names must be unique for ever, but for a writer that repeats itself after a crash (D4): it may put the same rows under the
// same name again.
func WriteFile(ctx context.Context, s *delta.Snapshot, name string, sc schema.Schema, recs iter.Seq2[arrow.Record, error], o WriteOptions) (delta.Add, error) {
	fields, err := tableFields(s, sc)
	if err != nil {
		return delta.Add{}, err
	}
	w, err := writerOptions(s, o)
	if err != nil {
		return delta.Add{}, err
	}
	all := schema.Schema{Fields: slices.Concat(fields.Fields, o.RowIDs)}
	size, stats, err := writeObject(ctx, s.Table(), name, all, recs, w)
	if err != nil {
		return delta.Add{}, fmt.Errorf("write data file %s of table %s: %w", name, s.Table().URL(), err)
	}
	stats.Columns = slices.DeleteFunc(stats.Columns, func(c columnar.ColumnStats) bool {
		return slices.ContainsFunc(o.RowIDs, func(f schema.Field) bool { return f.Name == c.Name })
	})
	return delta.Add{
		Path: EncodePath(name), PartitionValues: o.Partition, Size: size, ModificationTime: time.Now().UnixMilli(), DataChange: true,
		Stats: stats.JSON(s.Protocol.Has(delta.FeatureDeletionVectors)), Tags: o.Tags,
		Written: &delta.Written{Size: size, Rows: stats.NumRecords, Schema: fields, RowIDs: len(o.RowIDs) > 0},
	}, nil
}

// writeObject streams a file into the table's folder.
func writeObject(ctx context.Context, t *delta.Table, name string, fields schema.Schema, recs iter.Seq2[arrow.Record, error], o columnar.WriterOptions) (size int64, stats columnar.FileStats, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sink, err := t.Bucket().Create(ctx, joinKey(t.Path(), name))
	if err != nil {
		return 0, stats, err
	}
	c := &counter{w: sink}
	abort := func(err error) (int64, columnar.FileStats, error) {
		cancel() // makes the object vanish
		_ = sink.Close()
		return 0, stats, err
	}
	w, err := columnar.NewWriter(c, fields, o)
	if err != nil {
		return abort(err)
	}
	for rec, err := range recs {
		if err != nil {
			return abort(err)
		}
		if err := w.Write(rec); err != nil {
			return abort(err)
		}
	}
	if stats, err = w.Close(); err != nil {
		return abort(err)
	}
	if err := sink.Close(); err != nil {
		return 0, stats, err
	}
	return c.n, stats, nil
}

type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func joinKey(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// EncodePath makes the path of an add action of a file's name: a URI, percent-encoded once (delta.md §1.4).
func EncodePath(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// PartitionFolder gives the folder of a partition in Hive's form, k=v/k=v, with a slash behind it; "" without partition columns, under column
// mapping, and where a value is too long for a folder's name. The protocol takes values from the log, and folders for a convention; but Polars 2.1
// takes them from the folders, so that a table should have them for all of its files. (Where the path in the log has an escape, as for a space
// or what is not ASCII, Polars also gives the deleted rows of files with deletion vectors.)
func PartitionFolder(m *delta.Metadata, sc schema.Schema, p delta.Partition) string {
	mapping, err := MappingOf(m)
	if err != nil || mapping != columnar.MapNone {
		return "" // mapped names say nothing to people
	}
	var b strings.Builder
	for _, name := range m.PartitionColumns {
		v, null, ok := p.Get(name)
		if !ok {
			continue
		}
		folder := hiveEscape(name) + "=__HIVE_DEFAULT_PARTITION__"
		if !null {
			folder = hiveEscape(name) + "=" + hiveEscape(v)
		}
		if len(folder) > 255 { // bytes: what file systems take
			return ""
		}
		b.WriteString(folder)
		b.WriteByte('/')
	}
	return b.String()
}

// hiveEscape escapes what Hive escapes in names of partition folders.
func hiveEscape(s string) string {
	const special = "\"#%'*/:=?\\{[]^"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c == 0x7f || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
