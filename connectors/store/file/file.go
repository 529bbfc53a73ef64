// Package file keeps a lake in a folder of the local machine.
//
// What it promises beyond the port: a write is on the disk when it returns (fsync of the file and of its folder), and
// PutIfAbsent is decided by link(2), so that any number of processes that share the folder agree on one winner. A crash
// leaves at most hidden temporary files, which are never listed and which a later writer sweeps away after a day.
//
// What it is not: a store for folders that Spark writes at the same time (its local log store checks and renames under a
// lock of one JVM), nor for network file systems without hard links and without renameat2.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"sluice.io/sluice/connectors/store"
)

// Bucket is a folder. It is safe for concurrent use, also by several processes.
type Bucket struct {
	root string

	mu    sync.Mutex
	swept map[string]bool // folders whose old temporary files were looked for
}

var _ store.Bucket = (*Bucket)(nil)

// Open names the folder root as a bucket. The folder need not be there: the first write makes it. A root that is a file
// is refused.
func Open(root string) (*Bucket, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", root, err)
	}
	fi, err := os.Stat(abs)
	switch {
	case err == nil && !fi.IsDir():
		return nil, fmt.Errorf("open folder %s: it is a file, not a folder", abs)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open folder %s: %w", abs, plain(err))
	}
	return &Bucket{root: abs, swept: map[string]bool{}}, nil
}

// URL gives file:///folder.
func (b *Bucket) URL() string { return "file://" + filepath.ToSlash(b.root) }

// Close does nothing.
func (b *Bucket) Close() error { return nil }

// path maps a key to a path, and refuses keys that would leave the folder.
func (b *Bucket) path(key string) (string, error) {
	if key == "" || strings.HasPrefix(key, "/") || strings.ContainsRune(key, 0) {
		return "", fmt.Errorf("%q is no key", key)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return "", fmt.Errorf("%q is no key: it holds the segment %q", key, seg)
		}
	}
	return filepath.Join(b.root, filepath.FromSlash(key)), nil
}

// plain turns errors of the operating system into the sentinels of the port, with the cause kept in words.
func plain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		// Before "not found": a path that goes through a file is a mistake, not an absence.
		return fmt.Errorf("a part of the path is a file, not a folder: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return store.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", store.ErrPermission, err)
	}
	return err
}

// Get reads a whole object.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	return b.ReadRange(ctx, key, 0, -1)
}

// ReadRange reads length bytes at offset; to the end where length < 0.
func (b *Bucket) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	f, size, err := b.open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if offset < 0 || offset > size {
		return nil, fmt.Errorf("read %s: offset %d is outside of its %d bytes", key, offset, size)
	}
	if length < 0 {
		length = size - offset
	}
	if length > size-offset {
		return nil, fmt.Errorf("read %s: %d bytes at %d asked for, it has %d: %w", key, length, offset, size,
			io.ErrUnexpectedEOF)
	}
	buf := make([]byte, length)
	// In pieces, so that a cancelled reader of a large object stops.
	const piece = 8 << 20
	for done := int64(0); done < length; {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		n, err := f.ReadAt(buf[done:min(done+piece, length)], offset+done)
		done += int64(n)
		if err != nil && done < length {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
	}
	return buf, nil
}

// Stat describes an object.
func (b *Bucket) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := ctx.Err(); err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	p, err := b.path(key)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat: %w", err)
	}
	fi, err := os.Stat(p)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, plain(err))
	}
	if fi.IsDir() {
		return store.Info{}, fmt.Errorf("stat %s: it is a folder: %w", key, store.ErrNotFound)
	}
	return store.Info{Key: key, Size: fi.Size(), ModTime: fi.ModTime()}, nil
}

// Delete removes an object. Folders that get empty stay.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	p, err := b.path(key)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, plain(err))
	}
	return nil
}

// open opens an object for reading.
func (b *Bucket) open(ctx context.Context, key string) (*os.File, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", key, err)
	}
	p, err := b.path(key)
	if err != nil {
		return nil, 0, fmt.Errorf("read: %w", err)
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", key, plain(err))
	}
	fi, err := f.Stat()
	if err == nil && fi.IsDir() {
		err = fmt.Errorf("it is a folder: %w", store.ErrNotFound)
	}
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("read %s: %w", key, plain(err))
	}
	return f, fi.Size(), nil
}

// ReadInto implements store.IntoReader.
func (b *Bucket) ReadInto(ctx context.Context, key string, p []byte, offset int64) (int, error) {
	f, _, err := b.open(ctx, key)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", key, plain(err))
	}
	return n, err
}
