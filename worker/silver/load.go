package silver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// buildBatch is how many entries a goroutine gathers before they go into the index.
const buildBatch = 1 << 16

// buildIndex reads the keys of a snapshot, its files in parallel, and the tombstones of the state.
func (m *Merger) buildIndex(ctx context.Context, snap *delta.Snapshot) (*index.Index, error) {
	start := time.Now()
	m.twice, m.late = nil, nil
	x := index.New(snap.Version)
	x.WithSpill(m.spill())
	if n, ok := snap.NumRecords(); ok {
		x.Reserve(x.Room(int(n)))
	}
	files := slices.Collect(snap.Files())
	var mu sync.Mutex // of x.files, old, twice and max32
	bulk, max32 := x.Bulk(), &maxima{}
	old := index.NewPast(m.spill())
	var filling sync.RWMutex // held alone to move the index into its file
	var filled atomic.Int64  // entries since
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, a := range files {
		g.Go(func() error {
			del, err := m.deleted(gctx, a)
			if err != nil {
				return err
			}
			n, err := m.records(gctx, a)
			if err != nil {
				return err
			}
			if n > index.MaxRows {
				return fmt.Errorf("%s has %d rows, the index can hold %d of one file", a.Path, n, index.MaxRows)
			}
			mu.Lock()
			// Ordinals depend on the order in which files are begun; nothing that is written does.
			o := x.AddFile(index.File{Path: a.Path, Rows: n, Size: a.Size, Deleted: del})
			mu.Unlock()
			var want func(int64) bool
			if del != nil {
				want = func(row int64) bool { return !del.Contains(uint64(row)) }
			}
			local := &maxima{}
			keys, sorted := make([]index.Entry, 0, min(n, buildBatch)), make([]index.Entry, min(n, buildBatch))
			var seen index.File
			flush := func() error {
				filling.RLock()
				twice := bulk.Add(keys, sorted)
				filling.RUnlock()
				n := filled.Add(int64(len(keys)))
				keys = keys[:0]
				var err error
				if int64(x.Room(math.MaxInt)) < n {
					filling.Lock()
					if int64(x.Room(math.MaxInt)) < filled.Load() {
						filled.Store(0)
						bulk.Done()
						var more []fold.Hash
						more, err = x.Compact()
						twice = append(twice, more...)
					}
					filling.Unlock()
				}
				if m.keyed() && len(twice) > 0 {
					mu.Lock()
					m.twice = append(m.twice, twice...)
					mu.Unlock()
				}
				return err
			}
			err = m.keyReader(snap.Schema()).each(gctx, a.Path, a.Size, want, func(k rowKey) error {
				if len(keys) == cap(keys) {
					if err := flush(); err != nil {
						return err
					}
				}
				local.see(k.st)
				if k.ended {
					local.see(k.end)
					mu.Lock()
					defer mu.Unlock()
					old.Add(k.h, index.SpotAt(k.st, o, k.row))
					if old.Over() {
						return old.Compact()
					}
					return nil
				}
				e := index.At(k.h, k.st, o, k.row, k.carried)
				keys = append(keys, e)
				seen.See(e)
				return nil
			})
			if err == nil {
				err = flush()
			}
			mu.Lock()
			x.File(o).Join(&seen)
			mu.Unlock()
			max32.join(local)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("build the key index: %w", err)
	}
	bulk.Done()
	if err := m.loadTombs(ctx, x, max32); err != nil {
		return nil, err
	}
	m.observeTable(snap, max32)
	m.past = old
	m.stats.Rebuilds++
	m.log.Info("key index built", "version", snap.Version, "rows", x.LiveRows()+old.Len(), "tombstones", x.Tombstones(),
		"files", len(files), "keys twice", len(m.twice), "bytes", x.MemoryBytes()+old.MemoryBytes(), "on disk", x.Spilled()+old.Spilled(), "took", time.Since(start).Round(time.Millisecond), "reading the log took", m.logTook.Round(time.Millisecond))
	return x, nil
}

// spill says where the key index goes on when it grows too large for memory. Tables without key, and histories, need all of each
// entry; a history has two halves.
func (m *Merger) spill() index.Spill {
	if m.opt.DataDir == "" || m.opt.IndexMemory == nil {
		return index.Spill{}
	}
	s := index.Spill{Dir: m.opt.DataDir, Limit: m.opt.IndexMemory, Whole: !m.keyed() || m.history()}
	if m.history() {
		s.Limit = func() int64 { return m.opt.IndexMemory() / 2 }
	}
	return s
}

// shrink moves the index to disk where it has grown too large for memory. An index that could not be read or written is built
// anew by the next merge.
func (m *Merger) shrink() {
	if m.idx.Spilled() == 0 {
		m.idx.WithSpill(m.spill())
	}
	if m.past.Spilled() == 0 {
		m.past.WithSpill(m.spill())
	}
	over := cmp.Or(m.idx.Err(), m.past.Err()) == nil && (m.idx.Over() || m.past.Over())
	if over {
		start, before := m.now(), m.idx.MemoryBytes()+m.past.MemoryBytes()
		var err error
		if m.idx.Over() {
			_, err = m.idx.Compact()
		}
		if err == nil && m.past.Over() {
			err = m.past.Compact()
		}
		if err != nil {
			m.log.Warn("the key index stays in memory, beyond its share", "memory", before, "error", err)
		} else {
			m.log.Info("moved the key index from memory to disk", "memory", before, "now", m.idx.MemoryBytes()+m.past.MemoryBytes(),
				"disk", m.idx.Spilled()+m.past.Spilled(), "took", m.now().Sub(start).Round(time.Millisecond))
		}
	}
	if err := cmp.Or(m.idx.Err(), m.past.Err()); err != nil {
		m.log.Error("the key index could not be kept on disk; it is built anew", "error", err)
		m.ready, m.loaded = false, false
	}
}

// loadTombs puts the tombstones of the state into the index, unless their key has been there again since.
func (m *Merger) loadTombs(ctx context.Context, x *index.Index, seen *maxima) error {
	return m.store.Tombs(ctx, m.state, func(tombs []state.Tomb) error {
		for i := range tombs {
			t := &tombs[i]
			st, err := fold.Parse(string(t.Seq))
			if err != nil {
				return fmt.Errorf("tombstone: %w", err)
			}
			seen.see(st)
			g := index.Grave{Stamp: st, AtMs: t.AtMs}
			if t.Add != "" {
				if g.Add, err = fold.Parse(string(t.Add)); err != nil {
					return fmt.Errorf("tombstone: %w", err)
				}
			}
			if !m.keyed() {
				m.loadRemoval(x, t.Hash, g)
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
		if !x.Over() {
			return nil
		}
		more, err := x.Compact()
		if m.keyed() {
			m.twice = append(m.twice, more...)
		}
		return err
	})
}

// loadRemoval keeps one removal of a table without key; a later object's word on the same removal counts.
func (m *Merger) loadRemoval(x *index.Index, h fold.Hash, g index.Grave) {
	var same *index.Entry
	x.Each(h, func(e index.Entry) bool {
		if e.File == index.Dead && x.Grave(e).Stamp.Seq() == g.Stamp.Seq() {
			same = &e
		}
		return same == nil
	})
	if same != nil {
		x.Rebury(*same, g)
	} else {
		x.Insert(x.Bury(h, g))
	}
}

// observeTable tells the lineages what was merged before, so that they know a source that begins anew from one that
// repeats itself.
func (m *Merger) observeTable(snap *delta.Snapshot, seen *maxima) {
	topics := map[string]bool{}
	for k := range m.state.Lineages.Parts {
		topics[k.Topic] = true
	}
	if len(topics) == 1 {
		for k, p := range m.state.Lineages.Parts {
			if at, ok := seen.get(uint32(k.Partition)); ok {
				p.Observe(at.Epoch, at.Pos)
			}
		}
	}
	var times []string // by their names in statistics
	for i := range snap.Schema().Fields {
		if f := &snap.Schema().Fields[i]; f.Name == evolve.ColTimestamp || f.Name == evolve.ColEnd {
			times = append(times, columnar.PhysicalName(f, m.mapping()))
		}
	}
	newest := int64(0)
	for a := range snap.Files() {
		var s struct {
			Max map[string]json.RawMessage `json:"maxValues"`
		}
		if json.Unmarshal([]byte(a.Stats), &s) != nil {
			continue
		}
		for _, col := range times {
			var text string
			if json.Unmarshal(s.Max[col], &text) != nil {
				continue
			}
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				newest = max(newest, t.UnixNano()+int64(time.Millisecond)) // statistics are cut off to ms
			}
		}
	}
	for i := range m.state.Ends {
		newest = max(newest, m.state.Ends[i].Us*int64(time.Microsecond))
	}
	for i := range m.state.Tombs {
		newest = max(newest, m.state.Tombs[i].AtMs*int64(time.Millisecond))
	}
	for i := range m.state.Segments {
		newest = max(newest, m.state.Segments[i].NewestMs*int64(time.Millisecond))
	}
	for _, t := range m.state.Truncates { // what they took away tells nothing any more
		newest = max(newest, t.AtMs*int64(time.Millisecond))
	}
	m.state.Lineages.ObserveTs(newest)
}
