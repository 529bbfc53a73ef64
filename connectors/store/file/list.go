package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice.io/sluice/connectors/store"
)

// List gives the objects below prefix that come after after, in the byte order of their keys, as an object store would.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		// Only the folder part of the prefix is a place to look in.
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i+1]
		}
		for seg := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
			if seg == ".." || seg == "." || seg == "" && dir != "" {
				yield(store.Info{}, fmt.Errorf("list %q: not a prefix of keys", prefix))
				return
			}
		}
		l := lister{b: b, ctx: ctx, prefix: prefix, after: after, yield: yield}
		l.walk(dir)
	}
}

type lister struct {
	b             *Bucket
	ctx           context.Context
	prefix, after string
	yield         func(store.Info, error) bool
}

// walk lists the folder dir ("" or ending in a slash) and tells whether to go on.
func (l *lister) walk(dir string) bool {
	if err := l.ctx.Err(); err != nil {
		l.yield(store.Info{}, fmt.Errorf("list %s: %w", l.prefix, err))
		return false
	}
	path := filepath.Join(l.b.root, filepath.FromSlash(dir))
	entries, err := os.ReadDir(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
		l.yield(store.Info{}, fmt.Errorf("list %s: %w", l.prefix, plain(err)))
		return false
	}
	type item struct {
		key   string // of a folder: with the slash, which is how its objects sort
		entry os.DirEntry
		dir   bool
	}
	items := make([]item, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		it := item{key: dir + e.Name(), entry: e, dir: e.IsDir()}
		if e.Type()&fs.ModeSymlink != 0 {
			if fi, err := os.Stat(filepath.Join(path, e.Name())); err == nil {
				it.dir = fi.IsDir()
			}
		}
		if it.dir {
			it.key += "/"
			// The prefix or the folder may be the longer one.
			if !strings.HasPrefix(it.key, l.prefix) && !strings.HasPrefix(l.prefix, it.key) {
				continue
			}
			if it.key < l.after && !strings.HasPrefix(l.after, it.key) {
				continue
			}
		} else if !strings.HasPrefix(it.key, l.prefix) || it.key <= l.after {
			continue
		}
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	for i, it := range items {
		if it.dir {
			if !l.walk(it.key) {
				return false
			}
			continue
		}
		if i&255 == 255 {
			if err := l.ctx.Err(); err != nil {
				l.yield(store.Info{}, fmt.Errorf("list %s: %w", l.prefix, err))
				return false
			}
		}
		fi, err := os.Stat(filepath.Join(path, it.entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile, or a link to nowhere
		}
		if err != nil {
			l.yield(store.Info{}, fmt.Errorf("list %s: %w", it.key, plain(err)))
			return false
		}
		if !l.yield(store.Info{Key: it.key, Size: fi.Size(), ModTime: fi.ModTime()}, nil) {
			return false
		}
	}
	return true
}
