package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice.io/sluice/connectors/store"
)

// tempPrefix begins the names of files that are being written. They are hidden from every reader of tables, and List
// leaves them out.
const tempPrefix = ".sluice-tmp-"

// tempAge is how old a temporary file must be before it is taken for the leftover of a crash.
const tempAge = 24 * time.Hour

// create makes a temporary file in the folder of path, and the folder where it is missing.
func (b *Bucket) create(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	name := filepath.Join(dir, tempPrefix+strconv.FormatUint(rand.Uint64(), 36)+"-"+strconv.Itoa(os.Getpid()))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.mkdir(dir); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	}
	if err != nil {
		return nil, err
	}
	b.sweep(dir)
	return f, nil
}

// mkdir makes a folder and those above it, durably.
func (b *Bucket) mkdir(dir string) error {
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes leftovers of crashed writers, once per folder and process. It is a convenience: errors are of no
// consequence, the files are looked for again by the next process.
func (b *Bucket) sweep(dir string) {
	b.mu.Lock()
	done := b.swept[dir]
	b.swept[dir] = true
	b.mu.Unlock()
	if done {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems can't sync a folder
		return err
	}
	return nil
}

// discard removes a temporary file that was not published. Its error says nothing about the object.
func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// Put writes an object, replacing what is there.
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	w, err := b.Create(ctx, key)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, closeQuietly(w))
	}
	return w.Close()
}

// closeQuietly ends a writer after a failed Write: Close then reports the same failure once more.
func closeQuietly(w io.Closer) error {
	_ = w.Close()
	return nil
}

// PutIfAbsent writes an object only if the key is free: the content is made durable under a hidden name, then link(2)
// publishes it, which fails where the name is taken.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	p, err := b.path(key)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	// Losing a race is common: find out before the content is written and synced.
	if _, err := os.Lstat(p); err == nil {
		return fmt.Errorf("write %s: %w", key, store.ErrExists)
	}
	f, err := b.create(p)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, plain(err))
	}
	defer discard(f)
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", key, plain(err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", key, plain(err))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if err := publish(f.Name(), p); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write %s: %w", key, store.ErrExists)
		}
		return fmt.Errorf("write %s: %w", key, plain(err))
	}
	if err := syncDir(filepath.Dir(p)); err != nil {
		// Others see the object, but whether it outlives a power cut is open (D3).
		return fmt.Errorf("write %s: %w: %w", key, store.ErrUnknownOutcome, err)
	}
	return nil
}

// writer streams an object into a temporary file and renames it on Close.
type writer struct {
	ctx  context.Context
	f    *os.File
	key  string
	path string
	err  error // the first failure; sticks
	done bool
}

// Create streams an object. It replaces what is under the key when Close succeeds.
func (b *Bucket) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	p, err := b.path(key)
	if err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	f, err := b.create(p)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", key, plain(err))
	}
	return &writer{ctx: ctx, f: f, key: key, path: p}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil {
		return 0, fmt.Errorf("write %s: %w", w.key, w.err)
	}
	n, err := w.f.Write(p)
	if err != nil {
		w.err = plain(err)
		return n, fmt.Errorf("write %s: %w", w.key, w.err)
	}
	return n, nil
}

// Close publishes the object, or drops it after a failed Write or a cancelled context.
func (w *writer) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	if w.err != nil {
		discard(w.f)
		return fmt.Errorf("write %s: %w", w.key, plain(w.err))
	}
	if err := w.f.Close(); err != nil {
		discard(w.f)
		return fmt.Errorf("write %s: %w", w.key, plain(err))
	}
	if err := os.Rename(w.f.Name(), w.path); err != nil {
		_ = os.Remove(w.f.Name())
		return fmt.Errorf("write %s: %w", w.key, plain(err))
	}
	if err := syncDir(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("write %s: %w: %w", w.key, store.ErrUnknownOutcome, err)
	}
	return nil
}
