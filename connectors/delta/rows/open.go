package rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store"
)

// wholeFile is the size up to which a data file is fetched at once: one request instead of several.
const wholeFile = 256 << 10

// objectReader reads an object of a bucket by ranges.
type objectReader struct {
	ctx    context.Context
	bucket store.Bucket
	key    string
	size   int64
}

// ReadAt implements io.ReaderAt.
func (o *objectReader) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), o.size-off)
	if n <= 0 {
		return 0, io.EOF
	}
	b, err := o.bucket.ReadRange(o.ctx, o.key, off, n)
	if err != nil {
		return 0, err
	}
	k := copy(p, b)
	if k < len(p) {
		return k, io.EOF
	}
	return k, nil
}

// ReadRange implements parquet.RangeReader.
func (o *objectReader) ReadRange(off, n int64) ([]byte, error) {
	return o.bucket.ReadRange(o.ctx, o.key, off, n)
}

// localReader reads an object that lies near: small pieces into the same memory cost less than large ones into new memory.
type localReader struct {
	ctx  context.Context
	from store.IntoReader
	key  string
}

// ReadAt implements io.ReaderAt.
func (o *localReader) ReadAt(p []byte, off int64) (int, error) {
	return o.from.ReadInto(o.ctx, o.key, p, off)
}

// localBlock is how much of a column is read at once of an object that lies near.
const localBlock = 256 << 10

// blockOf is how much of a column is read at once; 0: what the format's reader thinks is best.
func blockOf(t *delta.Table) int {
	if _, near := t.Bucket().(store.IntoReader); near {
		return localBlock
	}
	return 0
}

// OpenFile opens a data file of a table. The file reads with ctx for as long as it is used.
func OpenFile(ctx context.Context, t *delta.Table, a *delta.Add) (*columnar.File, error) {
	key, err := t.ObjectKey(a.Path)
	if err != nil {
		return nil, err
	}
	return openObject(ctx, t, key, a.Size)
}

func openObject(ctx context.Context, t *delta.Table, key string, size int64) (*columnar.File, error) {
	var r io.ReaderAt = &objectReader{ctx, t.Bucket(), key, size}
	if near, ok := t.Bucket().(store.IntoReader); ok {
		r = &localReader{ctx, near, key}
	}
	if size <= wholeFile {
		b, err := t.Bucket().Get(ctx, key)
		if err != nil {
			return nil, fileError(t, key, err)
		}
		r, size = bytes.NewReader(b), int64(len(b))
	}
	f, err := columnar.OpenFile(ctx, r, size)
	if errors.Is(err, parquet.ErrCorrupt) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// The log may be wrong about the size.
		if st, serr := t.Bucket().Stat(ctx, key); serr == nil && st.Size != size {
			err = fmt.Errorf("%w: the file has %d bytes, the log says %d: %w", parquet.ErrCorrupt, st.Size, size, err)
		}
	}
	if err != nil {
		return nil, fileError(t, key, err)
	}
	return f, nil
}

// fileError says which file of which table an error is about.
func fileError(t *delta.Table, key string, err error) error {
	key = strings.TrimPrefix(key, t.Path()+"/")
	if errors.Is(err, parquet.ErrCorrupt) {
		c := &delta.CorruptError{Table: t.URL(), Version: -1, File: key, Offset: -1, Err: err}
		if at, ok := parquet.Place(err); ok {
			c.Offset = at
		}
		return c
	}
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("table %s: data file %s, which the log refers to, is missing: %w", t.URL(), key, err)
	}
	return fmt.Errorf("table %s: data file %s: %w", t.URL(), key, err)
}

// DeletedRows gives the rows that a file's deletion vector deletes; nil where there is none.
func DeletedRows(ctx context.Context, t *delta.Table, a *delta.Add) (*roaring64.Bitmap, error) {
	if a.DeletionVector == nil {
		return nil, nil
	}
	v, err := dv.Read(ctx, t.Bucket(), t.Path(), *a.DeletionVector)
	if err != nil {
		if errors.Is(err, dv.ErrCorrupt) {
			c := &delta.CorruptError{Table: t.URL(), Version: -1, File: a.Path, Offset: -1, Err: err}
			if key, kerr := dv.Key(t.Bucket().URL(), t.Path(), *a.DeletionVector); kerr == nil {
				c.File, c.Err = strings.TrimPrefix(key, t.Path()+"/"), fmt.Errorf("for data file %s: %w", a.Path, err)
				if a.DeletionVector.Offset != nil {
					c.Offset = int64(*a.DeletionVector.Offset)
				}
			}
			return nil, c
		}
		return nil, fmt.Errorf("table %s: file %s: %w", t.URL(), a.Path, err)
	}
	return v, nil
}

// atVersion says in the error of a corrupt file of which version of the table it was read.
func atVersion(err error, version int64) error {
	var c *delta.CorruptError
	if errors.As(err, &c) && c.Version < 0 {
		c.Version = version
	}
	return err
}
