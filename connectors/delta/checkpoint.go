package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/google/uuid"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

// CheckpointFormat is a kind of checkpoint.
type CheckpointFormat uint8

const (
	// CheckpointAuto is V2 where the table has delta.checkpointPolicy=v2, else V1.
	CheckpointAuto CheckpointFormat = iota
	// CheckpointV1 is one Parquet file that every reader knows.
	CheckpointV1
	// CheckpointV2JSON and CheckpointV2Parquet have sidecars for the file actions; the table needs FeatureV2Checkpoint.
	CheckpointV2JSON
	CheckpointV2Parquet
)

// CheckpointOptions say how to write a checkpoint.
type CheckpointOptions struct {
	Format CheckpointFormat
	// SidecarActions is how many file actions one sidecar holds; default 50 000, as Spark.
	SidecarActions int
	// Vectors leaves out, and forgets, tombstones of deletion vectors that their file has had for a moment only. See Snapshot.momentary.
	Vectors bool
}

// CheckpointInfo describes a checkpoint that was written.
type CheckpointInfo struct {
	Version int64
	Key     string // of the top-level file
	Actions int64  // rows, those of sidecars included
	Bytes   int64
	Adds    int64
}

// DefaultCheckpointInterval is after how many commits a checkpoint is due where the table does not say
// (delta.checkpointInterval). Other engines take 10, which at a commit a second is a rewrite of the state every ten seconds.
const DefaultCheckpointInterval = 100

// CheckpointDue tells whether as many commits as the table wants were made since its last checkpoint.
func (s *Snapshot) CheckpointDue() bool {
	every := max(1, s.intProperty(PropCheckpointInterval, DefaultCheckpointInterval))
	last := max(s.checkpoint, s.table.checkpointed.Load())
	return s.Version-max(last, 0) >= every
}

// Checkpoint writes a checkpoint of a snapshot, then the hint. One that is there already is left as it is. Expired
// tombstones are left out, and forgotten by the cached snapshot too.
func (t *Table) Checkpoint(ctx context.Context, s *Snapshot, o CheckpointOptions) (CheckpointInfo, error) {
	fail := func(err error) (CheckpointInfo, error) {
		return CheckpointInfo{}, fmt.Errorf("checkpoint version %d of %s: %w", s.Version, t.URL(), err)
	}
	if o.Format == CheckpointAuto {
		o.Format = CheckpointV1
		if strings.EqualFold(s.Metadata.Configuration[PropCheckpointPolicy], "v2") && s.Protocol.HasReaderFeature(FeatureV2Checkpoint) {
			o.Format = CheckpointV2JSON
		}
	}
	if o.Format != CheckpointV1 && !s.Protocol.HasReaderFeature(FeatureV2Checkpoint) {
		return fail(&UnsupportedError{Write: true, Protocol: s.Protocol, Reason: "V2 checkpoints need the feature " + FeatureV2Checkpoint})
	}
	if o.SidecarActions <= 0 {
		o.SidecarActions = 50_000
	}
	// A checkpoint comes after its commit.
	if _, err := t.bucket.Stat(ctx, t.key(logDir+versionName(s.Version)+".json")); err != nil {
		return fail(fmt.Errorf("its commit: %w", err))
	}
	retention := s.retention(PropDeletedFileRetention, defaultDeletedFileRetention)
	w := cpWriter{t: t, s: s, o: o, cutoff: t.now().Add(-retention).UnixMilli()}
	if o.Vectors {
		w.brief = s.momentary(min(retention/64, 10*time.Minute))
	}
	var info CheckpointInfo
	var err error
	if o.Format == CheckpointV1 {
		info, err = w.classic(ctx)
	} else {
		info, err = w.v2(ctx)
	}
	if err != nil {
		return fail(err)
	}
	info.Version = s.Version
	for {
		old := t.checkpointed.Load()
		if old >= s.Version || t.checkpointed.CompareAndSwap(old, s.Version) {
			break
		}
	}
	t.forget(&w)
	if err := t.writeHint(ctx, info); err != nil {
		return info, fmt.Errorf("hint at checkpoint %d of %s: %w", s.Version, t.URL(), err)
	}
	return info, nil
}

// forget drops from the cached snapshot the tombstones that a checkpoint has left out.
func (t *Table) forget(w *cpWriter) {
	c := t.cached.Load()
	if c == nil {
		return
	}
	var old []*Remove
	for r := range c.Tombstones() {
		if w.leaves(r) {
			old = append(old, r)
		}
	}
	if len(old) == 0 {
		return
	}
	e := c.tombs.editing(hashRemove)
	for _, r := range old {
		e.del(hashRemove(r), func(o *Remove) bool { return o == r })
	}
	s := *c.Snapshot
	s.tombs = e.done()
	t.cached.CompareAndSwap(c, &cachedSnapshot{Snapshot: &s, verified: c.verified}) // lost: the next checkpoint does it
}

// momentary gives the tombstones of deletion vectors that their file had for no longer than span. A file whose vector changes with every commit
// leaves one each time, all of them for the retention of deleted files: a commit a second would have millions.
//
// What they keep from being vacuumed is kept without them. The data file is the path's, and its live add, or its newest tombstone, keeps that. The
// file of the vector is kept by its age, as all files without use are: it was written when the one before it ended, at most span before it ended
// itself, so that it goes at most span sooner. (A vector that a RESTORE has brought back is older than that; its version goes with it.)
func (s *Snapshot) momentary(span time.Duration) map[*Remove]bool {
	paths := map[string][]*Remove{}
	for r := range s.Tombstones() {
		key := keyPath(r.Path)
		paths[key] = append(paths[key], r)
	}
	out := map[*Remove]bool{}
	for path, rs := range paths {
		_, live := s.File(path)
		slices.SortFunc(rs, func(a, b *Remove) int { return cmp.Compare(a.DeletionTimestamp, b.DeletionTimestamp) })
		if len(rs) > 1 && rs[0].DeletionVector == nil || live && len(rs) == 1 && rs[0].DeletionVector == nil {
			out[rs[0]] = true // the data file alone, which others keep
		}
		// The newest stays: it says when the vector after it was written.
		for i := 1; i < len(rs)-1; i++ {
			if rs[i].DeletionVector != nil && rs[i].DeletionTimestamp-rs[i-1].DeletionTimestamp <= span.Milliseconds() {
				out[rs[i]] = true
			}
		}
	}
	return out
}

// writeHint points _last_checkpoint at a checkpoint, never back to an older one.
func (t *Table) writeHint(ctx context.Context, info CheckpointInfo) error {
	if h, err := t.readHint(ctx); err == nil && h != nil && h.Version > info.Version {
		return nil
	}
	e := enc{b: []byte{'{'}}
	e.int("version", info.Version)
	e.int("size", info.Actions)
	e.int("sizeInBytes", info.Bytes)
	e.int("numOfAddFiles", info.Adds)
	e.raw("}")
	if err := t.bucket.Put(ctx, t.key(logDir+"_last_checkpoint"), e.b); err != nil {
		return err
	}
	if strings.HasPrefix(t.bucket.URL(), "file:") {
		// Hadoop's checksum of the hint that we have just replaced would make Spark refuse ours (delta.md §1.9).
		return t.bucket.Delete(ctx, t.key(logDir+"._last_checkpoint.crc"))
	}
	return nil
}

// cpWriter writes one checkpoint.
type cpWriter struct {
	t      *Table
	s      *Snapshot
	o      CheckpointOptions
	cutoff int64 // tombstones of this time (ms) and before have expired
	brief  map[*Remove]bool
	adds   int64
	rows   int64
}

// leaves tells whether the checkpoint leaves a tombstone out.
func (w *cpWriter) leaves(r *Remove) bool { return r.DeletionTimestamp <= w.cutoff || w.brief[r] }

// tableRows are the actions about the table as a whole.
func (w *cpWriter) tableRows(visit func(cpRow) bool) bool {
	s := w.s
	if !visit(cpRow{protocol: s.Protocol}) || !visit(cpRow{metadata: s.Metadata}) {
		return false
	}
	txns := slices.SortedFunc(s.Txns(), func(a, b *Txn) int { return strings.Compare(a.AppID, b.AppID) })
	for _, t := range txns {
		if !visit(cpRow{txn: t}) {
			return false
		}
	}
	for _, d := range slices.Sorted(maps.Keys(s.domains)) {
		if !visit(cpRow{domain: &DomainMetadata{Domain: d, Configuration: s.domains[d]}}) {
			return false
		}
	}
	return true
}

// fileRows are the file actions.
func (w *cpWriter) fileRows(visit func(cpRow) bool) bool {
	for a := range w.s.Files() {
		w.adds++
		if !visit(cpRow{add: a}) {
			return false
		}
	}
	for r := range w.s.Tombstones() {
		if !w.leaves(r) && !visit(cpRow{remove: r}) {
			return false
		}
	}
	return true
}

func (w *cpWriter) classic(ctx context.Context) (CheckpointInfo, error) {
	key := w.t.key(logDir + versionName(w.s.Version) + ".checkpoint.parquet")
	if have, err := w.t.bucket.Stat(ctx, key); err == nil && have.Size > 0 {
		// Another writer was faster; readers may be in the middle of it.
		n, adds := int64(0), int64(0)
		err := w.t.readParquetActions(ctx, have, func(a *Actions) error {
			adds += int64(len(a.Adds))
			n += int64(len(a.Adds) + len(a.Removes) + len(a.Txns) + len(a.Domains))
			if a.Protocol != nil {
				n++
			}
			if a.Metadata != nil {
				n++
			}
			return nil
		})
		if err == nil {
			return CheckpointInfo{Key: key, Actions: n, Bytes: have.Size, Adds: adds}, nil
		}
		// It can't be read: replace it.
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return CheckpointInfo{}, err
	}
	n, err := w.write(ctx, key, cpClassic, func(yield func(cpRow) bool) {
		if w.tableRows(yield) {
			w.fileRows(yield)
		}
	})
	return CheckpointInfo{Key: key, Actions: w.rows, Bytes: n, Adds: w.adds}, err
}

func (w *cpWriter) v2(ctx context.Context) (CheckpointInfo, error) {
	var sidecars []*Sidecar
	total := int64(0)
	next, stop := iter.Pull(func(yield func(cpRow) bool) { w.fileRows(yield) })
	defer stop()
	for {
		first, ok := next()
		if !ok {
			break
		}
		name := uuid.NewString() + ".parquet"
		n, err := w.write(ctx, w.t.key(logDir+"_sidecars/"+name), cpSidecar, func(yield func(cpRow) bool) {
			for i, row, ok := 0, first, true; ok; row, ok = next() {
				if !yield(row) {
					return
				}
				if i++; i == w.o.SidecarActions {
					return
				}
			}
		})
		if err != nil {
			return CheckpointInfo{}, err
		}
		total += n
		sidecars = append(sidecars, &Sidecar{Path: name, SizeInBytes: n, ModificationTime: w.t.now().UnixMilli()})
	}
	top := func(yield func(cpRow) bool) {
		if !yield(cpRow{meta: &CheckpointMetadata{Version: w.s.Version}}) || !w.tableRows(yield) {
			return
		}
		for _, s := range sidecars {
			if !yield(cpRow{sidecar: s}) {
				return
			}
		}
	}
	base := w.t.key(logDir + versionName(w.s.Version) + ".checkpoint." + uuid.NewString())
	if w.o.Format == CheckpointV2Parquet {
		n, err := w.write(ctx, base+".parquet", cpTop, top)
		return CheckpointInfo{Key: base + ".parquet", Actions: w.rows, Bytes: total + n, Adds: w.adds}, err
	}
	e := enc{}
	for r := range top {
		w.rows++
		e.row(r)
	}
	err := w.t.bucket.Put(ctx, base+".json", e.b)
	return CheckpointInfo{Key: base + ".json", Actions: w.rows, Bytes: total + int64(len(e.b)), Adds: w.adds}, err
}

func (e *enc) row(r cpRow) {
	switch {
	case r.meta != nil:
		e.checkpointMetadata(r.meta)
	case r.protocol != nil:
		e.protocol(r.protocol)
	case r.metadata != nil:
		e.metadata(r.metadata)
	case r.txn != nil:
		e.txn(r.txn)
	case r.domain != nil:
		e.domain(r.domain)
	case r.sidecar != nil:
		e.sidecar(r.sidecar)
	case r.add != nil:
		e.add(r.add)
	case r.remove != nil:
		e.remove(r.remove, false)
	}
}

// checkpointGroup is how many rows a row group has: memory is bounded by it, and readers split by it.
const checkpointGroup = 32 << 10

// write streams rows into a Parquet file and gives its size.
func (w *cpWriter) write(ctx context.Context, key string, kind cpKind, rows iter.Seq[cpRow]) (size int64, err error) {
	root, cols, err := checkpointSchema(kind, w.s)
	if err != nil {
		return 0, err
	}
	opts := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Snappy), parquet.WithVersion(parquet.V1_0), parquet.WithCreatedBy(EngineInfo),
		parquet.WithDataPageVersion(parquet.DataPageV1), parquet.WithRootName("spark_schema"),
		parquet.WithRootRepetition(required),
	}
	for _, p := range []string{"add.path", "add.stats", "remove.path", "metaData.schemaString"} {
		// Long and all different: neither a dictionary nor bounds are of use.
		opts = append(opts, parquet.WithDictionaryFor(p, false), parquet.WithStatsFor(p, false))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := w.t.bucket.Create(ctx, key)
	if err != nil {
		return 0, err
	}
	count := &countingWriter{w: out}
	pw := file.NewParquetWriter(count, root, file.WithWriterProps(parquet.NewWriterProperties(opts...)))
	n := 0
	// One row group is encoded while the next is collected.
	encoding := make(chan error, 1)
	encoding <- nil
	flush := func() error {
		if err := <-encoding; err != nil {
			encoding <- err
			return err
		}
		for _, c := range cols {
			c.pad(n)
			c.buf, c.full, c.rows = c.full, c.buf, 0
		}
		go func() { encoding <- guard.Do(func() error { return flushGroup(pw, cols) }) }()
		return nil
	}
	of := map[string][]*cpColumn{} // by action
	for _, c := range cols {
		action, _, _ := strings.Cut(c.path, ".")
		of[action] = append(of[action], c)
	}
	for r := range rows {
		w.rows++
		for _, c := range of[r.action()] {
			c.add(&r, n)
		}
		if n++; n == checkpointGroup {
			if err = ctx.Err(); err == nil {
				err = flush()
			}
			if err != nil {
				break
			}
			n = 0
		}
	}
	if err == nil && n > 0 {
		err = flush()
	}
	if last := <-encoding; err == nil {
		err = last
	}
	if err == nil {
		err = pw.Close()
	}
	if err != nil {
		cancel() // which keeps the object from appearing
		_ = out.Close()
		return 0, err
	}
	return count.n, out.Close()
}

func flushGroup(pw *file.Writer, cols []*cpColumn) error {
	rg := pw.AppendRowGroup()
	for _, c := range cols {
		cw, err := rg.NextColumn()
		if err != nil {
			return err
		}
		if err := c.write(cw); err != nil {
			return err
		}
		if err := cw.Close(); err != nil {
			return err
		}
		c.full.reset()
	}
	return rg.Close()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
