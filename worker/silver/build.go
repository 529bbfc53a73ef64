package silver

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// buildIndex reads the keys of a snapshot, its files in parallel, and the tombstones of the state.
func (m *Merger) buildIndex(ctx context.Context, snap *delta.Snapshot) (*index.Index, error) {
	start := time.Now()
	m.twice, m.late = nil, nil
	x := index.New(snap.Version)
	x.WithSpill(m.spill())
	b := &builder{m: m, snap: snap, idx: x, bulk: x.Bulk(), past: index.NewPast(m.spill())}
	if n, ok := snap.NumRecords(); ok {
		var err error
		if b.stage, err = x.Stage(int(n)); err != nil {
			return nil, fmt.Errorf("build the key index: %w", err)
		}
		if b.stage == nil {
			x.Reserve(x.Room(int(n)))
		}
	}
	files := slices.Collect(snap.Files())
	g, gctx := guard.WithContext(ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, a := range files {
		g.Go(func() error { return b.enter(gctx, a) })
	}
	defer b.stage.Close()
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("build the key index: %w", err)
	}
	if err := b.done(ctx); err != nil {
		return nil, fmt.Errorf("build the key index: %w", err)
	}
	if err := m.loadTombs(ctx, x); err != nil {
		return nil, err
	}
	if err := m.observeRows(ctx, snap, x, &b.newest); err != nil {
		return nil, err
	}
	m.past = b.past
	m.stats.Rebuilds++
	m.log.Info("key index built", "version", snap.Version, "rows", x.LiveRows()+m.past.Len(), "tombstones", x.Tombstones(),
		"files", len(files), "keys twice", len(m.twice), "bytes", x.MemoryBytes()+m.past.MemoryBytes(), "on disk", x.Spilled()+m.past.Spilled(), "took", time.Since(start).Round(time.Millisecond), "reading the log took", m.logTook.Round(time.Millisecond))
	return x, nil
}

// builder is one building of the index from the table's files. Files enter in parallel.
type builder struct {
	m    *Merger
	snap *delta.Snapshot
	bulk *index.Bulk
	// stage takes the entries in place of bulk where they are many more than memory holds, else nil.
	stage *index.Stage

	filling sync.RWMutex // held alone to move the index into its file
	filled  atomic.Int64 // entries since

	mu     sync.Mutex   // of what follows, and of m.twice
	idx    *index.Index // its files; entries go through bulk
	past   *index.Past
	newest maxima
}

// done moves what is staged into the index.
func (b *builder) done(ctx context.Context) error {
	b.bulk.Done()
	if b.stage == nil {
		return nil
	}
	twice, err := b.stage.Fill(ctx, b.idx)
	if b.m.keyed() {
		b.m.twice = append(b.m.twice, twice...)
	}
	return err
}

// enter reads the keys of a file.
func (b *builder) enter(ctx context.Context, a *delta.Add) error {
	del, err := b.m.deleted(ctx, a)
	if err != nil {
		return err
	}
	n, err := b.m.records(ctx, a)
	if err != nil {
		return err
	}
	if n > index.MaxRows {
		return fmt.Errorf("%s has %d rows, the index can hold %d of one file", a.Path, n, index.MaxRows)
	}
	// Ordinals depend on the order in which files are begun; nothing that is written does.
	var o uint32
	b.alone(func() { o = b.idx.AddFile(index.File{Path: a.Path, Rows: n, Size: a.Size, Deleted: del}) })
	var want func(int64) bool
	if del != nil {
		want = func(row int64) bool { return !del.Contains(uint64(row)) }
	}
	f := &fileKeys{b: b, keys: make([]index.Entry, 0, min(n, buildBatch)), sorted: make([]index.Entry, min(n, buildBatch))}
	err = b.m.keyReader(b.snap.Schema()).each(ctx, a.Path, a.Size, want, func(k rowKey) error { return f.see(o, k) })
	if err == nil {
		err = f.flush()
	}
	b.alone(func() {
		b.idx.File(o).Join(&f.seen)
		b.newest.join(&f.newest)
	})
	return err
}

// alone does what only one goroutine may do at a time. A panic does not leave the others waiting.
func (b *builder) alone(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// buildBatch is how many entries a goroutine gathers before they go into the index.
const buildBatch = 1 << 16

// fileKeys are the keys of one file on their way into the index.
type fileKeys struct {
	b            *builder
	keys, sorted []index.Entry
	seen         index.File
	newest       maxima
}

// see takes the key of a row.
func (f *fileKeys) see(o uint32, k rowKey) error {
	if len(f.keys) == cap(f.keys) {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.newest.see(reached{st: k.st, file: o, row: k.row})
	if k.ended {
		f.newest.see(reached{st: k.end, file: o, row: k.row, ended: true})
		f.b.mu.Lock()
		defer f.b.mu.Unlock()
		f.b.past.Add(k.h, index.SpotAt(k.st, o, k.row))
		return f.b.past.Shrink()
	}
	e := index.At(k.h, k.st, o, k.row, k.carried)
	f.keys = append(f.keys, e)
	f.seen.See(e)
	return nil
}

// flush moves the gathered keys into the index, and the index to disk where it has grown too large for memory.
func (f *fileKeys) flush() error {
	b := f.b
	if b.stage != nil {
		err := b.stage.Add(f.keys)
		f.keys = f.keys[:0]
		return err
	}
	twice := b.add(f.keys, f.sorted)
	n := b.filled.Add(int64(len(f.keys)))
	f.keys = f.keys[:0]
	var err error
	if int64(b.idx.Room(math.MaxInt)) < n {
		var more []fold.Hash
		more, err = b.compact()
		twice = append(twice, more...)
	}
	if b.m.keyed() && len(twice) > 0 {
		b.alone(func() { b.m.twice = append(b.m.twice, twice...) })
	}
	return err
}

func (b *builder) add(keys, sorted []index.Entry) (twice []fold.Hash) {
	b.filling.RLock()
	defer b.filling.RUnlock()
	return b.bulk.Add(keys, sorted)
}

// compact moves the index to disk, unless another goroutine just did. It gives the keys that were there twice.
func (b *builder) compact() ([]fold.Hash, error) {
	b.filling.Lock()
	defer b.filling.Unlock()
	if int64(b.idx.Room(math.MaxInt)) >= b.filled.Load() {
		return nil, nil
	}
	b.filled.Store(0)
	b.bulk.Done()
	return b.idx.Compact()
}

// loadTombs puts the tombstones of the state into the index, unless their key has been there again since.
func (m *Merger) loadTombs(ctx context.Context, x *index.Index) error {
	l := removals{x: x, most: waitingMost, released: releasedOf(m.state)}
	err := m.store.Tombs(ctx, m.state, func(tombs []state.Tomb) error {
		for i := range tombs {
			t := &tombs[i]
			st, err := fold.Parse(string(t.Seq))
			if err != nil {
				return fmt.Errorf("tombstone: %w", err)
			}
			g := index.Grave{Stamp: st, AtMs: t.AtMs}
			if t.Add != "" {
				if g.Add, err = fold.Parse(string(t.Add)); err != nil {
					return fmt.Errorf("tombstone: %w", err)
				}
			}
			if !m.keyed() {
				if err := l.load(t, g); err != nil {
					return err
				}
				continue
			}
			e, ok, _ := x.Get(t.Hash)
			switch {
			case !ok:
				x.Insert(x.Bury(t.Hash, g))
			case e.File == index.Dead && fold.Compare(x.Grave(e).Stamp, st) < 0:
				x.Rebury(e, g)
			}
		}
		more, err := x.Shrink()
		if m.keyed() {
			m.twice = append(m.twice, more...)
		}
		return err
	})
	if err != nil || m.keyed() {
		return err
	}
	if err := l.enter(); err != nil {
		return err
	}
	_, err = x.Shrink()
	return err
}
