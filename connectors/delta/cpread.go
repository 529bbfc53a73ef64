package delta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store"
)

// readCheckpoint folds a checkpoint of any kind into r: V1 in one file or in parts, V2 as JSON or Parquet, with or
// without sidecars.
func (t *Table) readCheckpoint(ctx context.Context, r *replay, c checkpointSet) error {
	for _, f := range c.files {
		name := strings.TrimPrefix(f.info.Key, t.key(""))
		side := &Actions{}
		var err error
		if strings.HasSuffix(name, ".json") {
			err = t.readJSONCheckpoint(ctx, r, f.info.Key, side)
		} else {
			err = t.readParquetActions(ctx, f.info, func(a *Actions) error {
				side.Sidecars = append(side.Sidecars, a.Sidecars...)
				if a.Checkpoint != nil {
					side.Checkpoint = a.Checkpoint
				}
				r.apply(a)
				return nil
			})
		}
		if err == nil && side.Checkpoint != nil && side.Checkpoint.Version != c.version {
			err = fmt.Errorf("it says that it is of version %d", side.Checkpoint.Version)
		}
		for _, s := range side.Sidecars {
			if err != nil {
				break
			}
			err = t.readSidecar(ctx, r, s)
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, store.ErrPermission) {
				return fmt.Errorf("read checkpoint %s: %w", name, err)
			}
			return corrupt(t.URL(), c.version, name, err)
		}
	}
	if r.s.Protocol == nil || r.s.Metadata == nil {
		return corrupt(t.URL(), c.version, strings.TrimPrefix(c.files[0].info.Key, t.key("")),
			errors.New("the checkpoint holds no protocol or no metaData"))
	}
	return nil
}

func (t *Table) readJSONCheckpoint(ctx context.Context, r *replay, key string, side *Actions) error {
	data, err := t.bucket.Get(ctx, key)
	if err != nil {
		return err
	}
	var p parser
	a, err := p.commit(data)
	if err != nil {
		return err
	}
	if a.Checkpoint == nil {
		return errors.New("it has no checkpointMetadata")
	}
	side.Checkpoint, side.Sidecars = a.Checkpoint, a.Sidecars
	r.apply(a)
	return nil
}

func (t *Table) readSidecar(ctx context.Context, r *replay, s *Sidecar) error {
	key, err := t.sidecarKey(s.Path)
	if err != nil {
		return err
	}
	info, err := t.bucket.Stat(ctx, key)
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	err = t.readParquetActions(ctx, info, func(a *Actions) error {
		r.apply(&Actions{Adds: a.Adds, Removes: a.Removes})
		return nil
	})
	if err != nil {
		return fmt.Errorf("sidecar %s: %w", s.Path, err)
	}
	return nil
}

// sidecarKey resolves the path of a sidecar: a bare file name, a path relative to the table, or an absolute one.
func (t *Table) sidecarKey(p string) (string, error) {
	if !strings.Contains(p, "/") {
		p = logDir + "_sidecars/" + p
	}
	key, err := t.ObjectKey(p)
	if err != nil {
		return "", err
	}
	if path.Dir(key) != path.Clean(t.key(logDir+"_sidecars")) {
		return "", fmt.Errorf("sidecar %s is not in %s_sidecars", p, logDir)
	}
	return key, nil
}

// readParquetActions reads a Parquet file of actions and gives them in pieces.
func (t *Table) readParquetActions(ctx context.Context, info store.Info, visit func(*Actions) error) error {
	var src io.ReaderAt
	size, block := info.Size, bigCheckpointBlock
	if size <= wholeCheckpoint {
		data, err := t.bucket.Get(ctx, info.Key)
		if err != nil {
			return err
		}
		size, block = int64(len(data)), len(data)
		src = heldFile(data)
	} else {
		src = &objectFile{ctx: ctx, b: t.bucket, key: info.Key, size: size}
	}
	m, err := parquet.ReadMeta(src, size)
	if err != nil {
		return err
	}
	if m.NumRows > 8*size {
		return fmt.Errorf("%w: %d rows in %d bytes: each takes a bit at least", parquet.ErrCorrupt, m.NumRows, size)
	}
	leaves := cpLeaves(m.Root)
	pool := &parquet.Pool{}
	var p parser
	for i := range m.RowGroups {
		rg := newActionReader(&m.RowGroups[i], leaves, &p, func(leaf cpLeaf) *cursor {
			cc := &m.RowGroups[i].Columns[leaf.node.Column]
			return &cursor{chunk: parquet.NewChunk(src, leaf.node, cc, block, pool), leaf: leaf.node, left: m.RowGroups[i].NumRows, pool: pool}
		})
		if err := rg.readAll(ctx, visit); err != nil {
			return err
		}
	}
	return nil
}

// bigCheckpointBlock is how many bytes of a column are read at once from a checkpoint that is not read whole.
const bigCheckpointBlock = 4 << 20

// actionReader reads the rows of one row group as actions.
type actionReader struct {
	p    *parser
	rows int64
	cols map[string]*cursor
	all  []*cursor

	add, remove            fileCursors
	clusteringProvider     *cursor
	stats                  *cursor
	parsed                 *statsTree
	deletionTime, extended *cursor
	text                   arena
}

type fileCursors struct {
	path, size, modified, dataChange *cursor
	partKey, partValue               *cursor
	tagKey, tagValue                 *cursor
	dvType, dvPath, dvOffset, dvSize *cursor
	dvCardinality                    *cursor
	baseRowID, rowCommitVersion      *cursor
}

func newActionReader(g *parquet.RowGroup, leaves []cpLeaf, p *parser, open func(cpLeaf) *cursor) *actionReader {
	r := &actionReader{p: p, rows: g.NumRows, cols: map[string]*cursor{}}
	index := map[string]cpLeaf{}
	for _, l := range leaves {
		index[l.name] = l
	}
	col := func(name string) *cursor {
		l, ok := index[name]
		if !ok {
			return nil
		}
		c := open(l)
		r.cols[name] = c
		r.all = append(r.all, c)
		return c
	}
	for _, name := range []string{"txn.appId", "txn.version", "txn.lastUpdated", "protocol.minReaderVersion",
		"protocol.minWriterVersion", "protocol.readerFeatures.list.element", "protocol.writerFeatures.list.element",
		"metaData.id", "metaData.name", "metaData.description", "metaData.format.provider", "metaData.schemaString",
		"metaData.format.options.key_value.key", "metaData.format.options.key_value.value",
		"metaData.partitionColumns.list.element", "metaData.configuration.key_value.key",
		"metaData.configuration.key_value.value", "metaData.createdTime", "domainMetadata.domain",
		"domainMetadata.configuration", "domainMetadata.removed", "checkpointMetadata.version", "sidecar.path",
		"sidecar.sizeInBytes", "sidecar.modificationTime"} {
		col(name)
	}
	files := func(action string) fileCursors {
		return fileCursors{
			path: col(action + ".path"), size: col(action + ".size"), modified: col(action + ".modificationTime"),
			dataChange: col(action + ".dataChange"), partKey: col(action + ".partitionValues.key_value.key"),
			partValue: col(action + ".partitionValues.key_value.value"), tagKey: col(action + ".tags.key_value.key"),
			tagValue: col(action + ".tags.key_value.value"), dvType: col(action + ".deletionVector.storageType"),
			dvPath: col(action + ".deletionVector.pathOrInlineDv"), dvOffset: col(action + ".deletionVector.offset"),
			dvSize: col(action + ".deletionVector.sizeInBytes"), dvCardinality: col(action + ".deletionVector.cardinality"),
			baseRowID: col(action + ".baseRowId"), rowCommitVersion: col(action + ".defaultRowCommitVersion"),
		}
	}
	r.add, r.remove = files("add"), files("remove")
	r.clusteringProvider = col("add.clusteringProvider")
	r.deletionTime, r.extended = col("remove.deletionTimestamp"), col("remove.extendedFileMetadata")
	if l, ok := index["add.stats"]; ok && !allNull(g, l) {
		r.stats = col("add.stats")
		return r
	}
	// Only then are the typed statistics worth their columns.
	r.parsed = newStatsTree(g, leaves, func(l cpLeaf) *cursor {
		c := open(l)
		r.all = append(r.all, c)
		return c
	})
	return r
}

func allNull(g *parquet.RowGroup, l cpLeaf) bool {
	return g.Columns[l.node.Column].NullCount == g.NumRows
}

// readAll visits the actions of all rows, and gives the reader's memory back.
func (r *actionReader) readAll(ctx context.Context, visit func(*Actions) error) error {
	defer func() {
		for _, c := range r.all {
			c.close()
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := r.read(8192)
		if err != nil || a == nil {
			return err
		}
		if err := visit(a); err != nil {
			return err
		}
	}
}

// read gives the actions of the next at most n rows, nil at the end.
func (r *actionReader) read(n int64) (*Actions, error) {
	n = min(n, r.rows)
	if n <= 0 || len(r.all) == 0 { // without a column there is nothing, however many rows
		return nil, nil
	}
	r.rows -= n
	a := &Actions{}
	for range n {
		if err := r.row(a); err != nil {
			return nil, err
		}
	}
	for _, c := range r.all {
		if c.err != nil {
			return nil, c.err
		}
	}
	return a, nil
}

func (r *actionReader) row(a *Actions) error {
	r.addRow(a)
	r.removeRow(a)
	c := r.cols
	if id := c["txn.appId"].strOpt(); id != "" {
		a.Txns = append(a.Txns, &Txn{AppID: id, Version: c["txn.version"].intOr(0), LastUpdated: c["txn.lastUpdated"].intOr(0)})
	} else {
		c["txn.version"].row()
		c["txn.lastUpdated"].row()
	}
	r.protocolRow(a)
	r.metadataRow(a)
	domain, conf := c["domainMetadata.domain"].strOpt(), c["domainMetadata.configuration"].strOpt()
	if removed := c["domainMetadata.removed"].boolOr(false); domain != "" {
		a.Domains = append(a.Domains, &DomainMetadata{Domain: domain, Configuration: conf, Removed: removed})
	}
	if v := c["checkpointMetadata.version"].intOpt(); v != nil {
		a.Checkpoint = &CheckpointMetadata{Version: *v}
	}
	p, size, mod := c["sidecar.path"].strOpt(), c["sidecar.sizeInBytes"].intOr(0), c["sidecar.modificationTime"].intOr(0)
	if p != "" {
		a.Sidecars = append(a.Sidecars, &Sidecar{Path: p, SizeInBytes: size, ModificationTime: mod})
	}
	return nil
}

func (r *actionReader) partition(f *fileCursors) Partition {
	in := &r.p.parts
	in.vals = in.vals[:0]
	eachPair(f.partKey, f.partValue, func(key string, value *cursor) {
		v := PartitionValue{Name: key, Null: !value.here}
		if value.here {
			v.Value = value.str()
		}
		in.vals = append(in.vals, v)
	})
	return in.make()
}

func stringMap(key, value *cursor) map[string]string {
	var out map[string]string
	eachPair(key, value, func(k string, v *cursor) {
		if !v.here {
			return
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v.str()
	})
	return out
}

func (f *fileCursors) dv() (*dv.Descriptor, error) {
	typ, p := f.dvType.strOpt(), f.dvPath.strOpt()
	offset, size, card := f.dvOffset.intOpt(), f.dvSize.intOr(0), f.dvCardinality.intOr(0)
	if typ == "" {
		return nil, nil
	}
	d := &dv.Descriptor{StorageType: typ, PathOrInlineDv: p, SizeInBytes: int32(size), Cardinality: card}
	if offset != nil {
		o := int32(*offset)
		if *offset < 0 || *offset > math.MaxInt32 {
			return nil, fmt.Errorf("a deletion vector at offset %d", *offset)
		}
		d.Offset = &o
	}
	return d, nil
}

func (r *actionReader) addRow(a *Actions) {
	f := &r.add
	has := f.path.row()
	var x Add
	if has {
		x.Path = r.text.string(f.path.view())
	}
	x.PartitionValues = r.partition(f)
	x.Size, x.ModificationTime = f.size.intOr(0), f.modified.intOr(0)
	x.DataChange = f.dataChange.boolOr(false)
	x.Tags = stringMap(f.tagKey, f.tagValue)
	d, err := f.dv()
	if err != nil && f.path.err == nil {
		f.path.err = err
	}
	x.DeletionVector = d
	x.BaseRowID, x.DefaultRowCommitVersion = f.baseRowID.intOpt(), f.rowCommitVersion.intOpt()
	x.ClusteringProvider = r.clusteringProvider.strOpt()
	if r.stats.row() {
		x.Stats = r.text.string(r.stats.view())
	}
	if r.parsed != nil {
		if s := r.parsed.row(); len(s) > 0 {
			x.Stats = r.text.string(s)
		}
	}
	if has {
		p := r.p.newAdd()
		*p = x
		a.Adds = append(a.Adds, p)
	}
}

func (r *actionReader) removeRow(a *Actions) {
	f := &r.remove
	x := Remove{Path: f.path.strOpt(), PartitionValues: r.partition(f), Size: f.size.intOr(-1),
		DataChange: f.dataChange.boolOr(false), Tags: stringMap(f.tagKey, f.tagValue),
		DeletionTimestamp: r.deletionTime.intOr(0), ExtendedFileMetadata: r.extended.boolOr(false),
		BaseRowID: f.baseRowID.intOpt(), DefaultRowCommitVersion: f.rowCommitVersion.intOpt()}
	d, err := f.dv()
	if err != nil && f.path.err == nil {
		f.path.err = err
	}
	x.DeletionVector = d
	if x.Path != "" {
		a.Removes = append(a.Removes, &x)
	}
}

func list(c *cursor) []string {
	out := []string{}
	c.each(func() { out = append(out, c.str()) })
	return out
}

func (r *actionReader) protocolRow(a *Actions) {
	c := r.cols
	reader, writer := c["protocol.minReaderVersion"].intOr(0), c["protocol.minWriterVersion"].intOr(0)
	rf, wf := list(c["protocol.readerFeatures.list.element"]), list(c["protocol.writerFeatures.list.element"])
	if reader == 0 && writer == 0 {
		return
	}
	p := &Protocol{MinReaderVersion: int(reader), MinWriterVersion: int(writer)}
	if reader >= 3 {
		p.ReaderFeatures = rf
	}
	if writer >= 7 {
		p.WriterFeatures = wf
	}
	a.Protocol = p
}

func (r *actionReader) metadataRow(a *Actions) {
	c := r.cols
	m := &Metadata{ID: c["metaData.id"].strOpt(), Name: c["metaData.name"].strOpt(),
		Description: c["metaData.description"].strOpt(), SchemaString: c["metaData.schemaString"].strOpt(),
		PartitionColumns: list(c["metaData.partitionColumns.list.element"]), CreatedTime: c["metaData.createdTime"].intOr(0),
		Format: Format{Provider: c["metaData.format.provider"].strOpt(),
			Options: stringMap(c["metaData.format.options.key_value.key"], c["metaData.format.options.key_value.value"])},
		Configuration: stringMap(c["metaData.configuration.key_value.key"], c["metaData.configuration.key_value.value"])}
	if m.ID != "" || m.SchemaString != "" {
		a.Metadata = m
	}
}

// arena copies short-lived bytes into strings that share blocks, so that a table of 300 000 files is a few thousand
// allocations. Blocks are small enough that one surviving string holds little.
type arena struct{ block []byte }

func (m *arena) string(b []byte) string {
	const size = 16 << 10
	if len(b) > size/4 {
		return string(b)
	}
	if len(m.block)+len(b) > cap(m.block) {
		m.block = make([]byte, 0, size)
	}
	at := len(m.block)
	m.block = append(m.block, b...)
	return unsafeString(m.block[at:])
}
