package silver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/zeebo/xxh3"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
)

type bitmap = roaring64.Bitmap

func newBitmap() *bitmap { return roaring64.New() }

// objectReader reads an object in pieces. Small objects are read whole, at once: a point read of a young file is one
// request then.
type objectReader struct {
	ctx    context.Context
	bucket store.Bucket
	key    string
	whole  []byte
}

const wholeObject = 256 << 10

func (r *objectReader) ReadAt(p []byte, off int64) (int, error) {
	if r.whole != nil {
		n := copy(p, r.whole[min(off, int64(len(r.whole))):])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	b, err := r.bucket.ReadRange(r.ctx, r.key, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	return copy(p, b), nil
}

// openFile opens a data file of the table.
func (m *Merger) openFile(ctx context.Context, path string, size int64) (*dataFile, error) {
	key, err := m.table.ObjectKey(path)
	if err != nil {
		return nil, err
	}
	r := &objectReader{ctx: ctx, bucket: m.opt.Bucket, key: key}
	if size <= wholeObject {
		if r.whole, err = m.opt.Bucket.Get(ctx, key); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		size = int64(len(r.whole))
	}
	f, err := columnar.OpenFile(ctx, r, size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return m.withPartition(f, path), nil
}

// readRows reads some rows of a file, in the order of rows, which ascend.
func (m *Merger) readRows(ctx context.Context, path string, size int64, cols []string, sch schema.Schema, rows []int64) (arrow.Record, error) {
	f, err := m.openFile(ctx, path, size)
	if err != nil {
		return nil, err
	}
	rec, err := f.ReadRowsAt(ctx, columnar.ReadOptions{Columns: cols, Target: &sch}, rows)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", path, err)
	}
	return rec, nil
}

// fileName names a data file as a function of the input (D4): what is merged, onto which version, by which owner, into
// which columns. A repeat of the same merge meets its own file with the same bytes.
func (m *Merger) fileName(kind string, input []byte, base int64, n int) string {
	h := xxh3.New()
	_, _ = h.WriteString(m.opt.Connector)
	_, _ = h.Write(input)
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], uint64(base))
	binary.LittleEndian.PutUint64(b[8:], m.opt.Epoch)
	binary.LittleEndian.PutUint64(b[16:], uint64(n))
	_, _ = h.Write(b[:])
	s := h.Sum128()
	return fmt.Sprintf("%s-%020d-%016x%016x.parquet", kind, base+1, s.Hi, s.Lo)
}

// fileWriter writes one data file into memory, or past a bound straight into the store.
type fileWriter struct {
	m    *Merger
	name string
	key  string
	buf  bytes.Buffer
	out  io.WriteCloser
	// ctx is that of the stream: cancelled, it appears nowhere.
	ctx    context.Context
	cancel context.CancelFunc
	size   int64
	w      *columnar.Writer
	pages  *columnar.Buffers // lent by Options.Spares
	part   delta.Partition
	left   []int // columns that the log has, not the file
}

// streamFrom is from how many bytes on a file is streamed.
var streamFrom = 32 << 20

// newFile begins a file of rows of one partition: about as many as are expected, 0 where nobody knows.
func (m *Merger) newFile(ctx context.Context, name string, s schema.Schema, part delta.Partition, expected int64) (*fileWriter, error) {
	key, err := m.table.ObjectKey(name)
	if err != nil {
		return nil, err
	}
	fw := &fileWriter{m: m, name: name, key: key, pages: m.opt.Spares.Pages(), part: part}
	s, fw.left = m.fileSchema(s)
	fw.ctx, fw.cancel = context.WithCancel(ctx)
	if fw.w, err = columnar.NewWriter(fw, s, columnar.WriterOptions{Buffers: fw.pages, Mapping: m.mapping(), ExpectedRows: expected,
		NoPacking: m.table.Cached().PlainIntegers()}); err != nil {
		fw.abort()
		return nil, err
	}
	return fw, nil
}

// append writes rows of the table.
func (f *fileWriter) append(rec arrow.Record) error { return f.w.Write(without(rec, f.left)) }

// Write implements io.Writer for the Parquet writer.
func (f *fileWriter) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	if f.out == nil && f.buf.Len()+len(p) > streamFrom {
		out, err := f.m.opt.Bucket.Create(f.ctx, f.key)
		if err != nil {
			return 0, err
		}
		f.out = out
		if _, err := out.Write(f.buf.Bytes()); err != nil {
			return 0, err
		}
		f.buf = bytes.Buffer{}
	}
	if f.out != nil {
		return f.out.Write(p)
	}
	return f.buf.Write(p)
}

// finish ends the file and gives its add. put stores what is still in memory; it may be called later, from any goroutine.
// After an error the file is given up.
func (f *fileWriter) finish() (add delta.Add, put func(context.Context) error, err error) {
	defer f.abort()
	stats, err := f.w.Close()
	if err != nil {
		return add, nil, fmt.Errorf("write %s: %w", f.name, err)
	}
	f.m.opt.Spares.GivePages(f.pages)
	add = delta.Add{Path: f.name, PartitionValues: f.part, Size: f.size, DataChange: true, Stats: stats.JSON(true), Written: &delta.Written{Size: f.size, Rows: stats.NumRecords}}
	if out := f.out; out != nil {
		f.out = nil
		if err := out.Close(); err != nil {
			return add, nil, fmt.Errorf("write %s: %w", f.name, err)
		}
		return add, func(context.Context) error { return nil }, nil
	}
	data := f.buf.Bytes()
	return add, func(ctx context.Context) error {
		if err := f.m.opt.Bucket.Put(ctx, f.key, data); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
		return nil
	}, nil
}

// abort gives up a file, unless it is finished. What was streamed of it appears nowhere.
func (f *fileWriter) abort() {
	f.cancel()
	if f.out != nil {
		_ = f.out.Close()
		f.out = nil
	}
}

// deleted reads the deletion vector of a file, nil for none.
func (m *Merger) deleted(ctx context.Context, a *delta.Add) (*bitmap, error) {
	if a.DeletionVector == nil {
		return nil, nil
	}
	return readDV(ctx, m.opt.Bucket, m.table.Path(), *a.DeletionVector)
}

var errNoStats = errors.New("the log does not say how many rows the file has")

// records gives the physical rows of a file; where the log does not say it, the file does.
func (m *Merger) records(ctx context.Context, a *delta.Add) (int64, error) {
	if n, ok := a.NumRecords(); ok {
		return n, nil
	}
	f, err := m.openFile(ctx, a.Path, a.Size)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoStats, err)
	}
	return f.NumRows(), nil
}

// birth tells a table from another one that came into its place.
type birth struct {
	id string // of the metadata; "": not known yet
	// first is the commit that made the table; without it (the log was cleaned up) gone is set.
	first store.Info
	gone  bool
}

func (m *Merger) firstCommit(ctx context.Context) (store.Info, bool, error) {
	info, err := m.opt.Bucket.Stat(ctx, fmt.Sprintf("%s/_delta_log/%020d.json", m.opt.Path, 0))
	if errors.Is(err, store.ErrNotFound) {
		return info, true, nil
	}
	return info, false, err
}

// remember0 notes which table it is.
func (m *Merger) remember0(ctx context.Context, snap *delta.Snapshot) error {
	info, gone, err := m.firstCommit(ctx)
	if err != nil {
		return err
	}
	m.born = birth{id: snap.Metadata.ID, first: info, gone: gone}
	return nil
}

// sameTable gives ErrReplaced where the table was deleted or made anew. A commit into the empty place would make a table without
// beginning. It costs one look at the first commit, made while files are uploaded.
func (m *Merger) sameTable(ctx context.Context) error {
	if m.born.id == "" {
		return nil
	}
	info, gone, err := m.firstCommit(ctx)
	if err != nil {
		return err
	}
	if !gone && !m.born.gone && info.Size == m.born.first.Size && info.ModTime.Equal(m.born.first.ModTime) {
		return nil
	}
	if gone && m.born.gone && m.snap != nil {
		_, err := m.opt.Bucket.Stat(ctx, fmt.Sprintf("%s/_delta_log/%020d.json", m.opt.Path, m.snap.Version))
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	// The log was cleaned up, or it is another table.
	t, err := delta.Open(ctx, m.opt.Bucket, m.opt.Path)
	if errors.Is(err, delta.ErrNotTable) {
		return fmt.Errorf("%w: there is no table at %s any more", ErrReplaced, m.opt.Path)
	}
	if err != nil {
		return err
	}
	snap, err := t.Snapshot(ctx)
	if err != nil {
		return err
	}
	if snap.Metadata.ID != m.born.id {
		return fmt.Errorf("%w: the table at %s has id %s, it was %s", ErrReplaced, m.opt.Path, snap.Metadata.ID, m.born.id)
	}
	m.born.first, m.born.gone = info, gone
	return nil
}

func sortedKeys[V any](m map[uint32]V) []uint32 {
	out := make([]uint32, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
