package silver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// Merger merges changes into one silver table. It belongs to one goroutine.
type Merger struct {
	opt Options
	log *slog.Logger
	now func() time.Time

	table *delta.Table // nil until the first row makes the table
	born  birth
	snap  *delta.Snapshot
	look  *delta.Snapshot // what is being loaded
	cols  *evolve.Columns
	// decided tells that keys is settled; no keys: a table without key.
	decided bool
	keys    []string
	// compressed tells that events were seen which leave out what did not change.
	compressed bool
	keyPlans   map[*connectors.Shape]*keyPlan

	idx    *index.Index
	past   *index.Past // of a history: the ended versions
	store  *state.Store
	state  *state.State
	stateM int64 // number of the valid state object, -1: none
	// opens and moved are the keys of state.Opens and state.Moves.
	opens map[fold.Hash]bool
	moved map[fold.Hash][]int32 // indexes in state.Moves
	// ends are indexes in state.Ends.
	ends map[fold.Hash][]int32

	// durable is the progress in the table, merged what was merged: ahead of it by batches that changed nothing.
	durable, merged map[string]int64
	lazy            int // merges since the durable progress moved

	// ready tells that table, columns, index and state agree; else the next Merge brings them together again. loaded tells
	// that index and state are those of snap; pending, that the state changed since it was written.
	ready, loaded, pending bool
	// broken is why nothing is merged any more; verified, how many mismatches a scrub has come after. twice are keys that the
	// table has more than once.
	broken   error
	verified int64
	twice    []fold.Hash
	// late are deletes of a commit of ours that came behind one of others: the index gets their tombstones when it has followed.
	late       []deletion
	watermarks map[fold.PartKey]int64
	stats      Stats
	upkeep     upkeepState
	logTook    time.Duration // to read the table's log, at the last load
	// job is a compaction under way, nil for none. touched keeps the compiler from leaving reads out whose result nobody needs.
	job     *rewriter
	touched uint64
	// cutRead are, in a merge whose truncate takes several commits, the files that have nothing more for it.
	cutRead map[string]bool
	// Memory from merge to merge.
	scratch scratch
	build   *columnar.Builder
}

const (
	appPrefix = "sluice/"
	// lazyMerges is how many merges without a row may pass before the progress is written.
	lazyMerges = 256
)

func (m *Merger) appID(feed string) string { return appPrefix + m.opt.Connector + "/" + feed }
func (m *Merger) stateID() string          { return appPrefix + m.opt.Connector + "/state" }

// Open makes the Merger of a table, which need not exist. It reads the table's keys to build the index.
func Open(ctx context.Context, o Options) (*Merger, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Path = strings.Trim(o.Path, "/")
	o.Upkeep = o.Upkeep.withDefaults()
	if o.Spares == nil {
		o.Spares = columnar.NewSpares(0)
	}
	m := &Merger{opt: o, log: o.Logger.With("table", o.Path), now: o.Now, store: state.NewStore(o.Bucket, o.Path),
		durable: map[string]int64{}, merged: map[string]int64{}, watermarks: map[fold.PartKey]int64{}}
	if err := m.load(ctx); err != nil {
		return nil, fmt.Errorf("open silver table %s: %w", o.Path, err)
	}
	return m, nil
}

func (m *Merger) policy() evolve.Policy {
	c := m.opt.Config
	return m.mappingPolicy(evolve.Policy{Add: c.EvolveAdd, Widen: c.EvolveWiden, Drop: c.EvolveDrop, Type: c.EvolveType,
		Include: c.SilverColumnsInclude, Exclude: c.SilverColumnsExclude,
		Identity:    func(source string) bool { return !m.keyed() || slices.Contains(m.keys, source) },
		CarryAbsent: c.CDCAbsent == "unchanged" || c.CDCAbsent == "" && c.Format == "goldengate", MayWiden: m.mayWiden})
}

// load brings table, columns, state and index together: from nothing, or from where they were before something failed or
// others changed the table.
func (m *Merger) load(ctx context.Context) error {
	m.ready = false
	m.keyPlans = map[*connectors.Shape]*keyPlan{}
	start := m.now()
	if m.table == nil {
		t, err := delta.Open(ctx, m.opt.Bucket, m.opt.Path, delta.WithLogger(m.log))
		switch {
		case errors.Is(err, delta.ErrNotTable):
			m.cols = evolve.New(schema.Schema{}, m.policy())
			m.decided, m.keys = false, nil
			m.idx, m.past, m.stateM = index.New(-1), index.NewPast(index.Spill{}), -1
			if m.state == nil {
				m.state = state.New()
			}
			if err := m.loadTombs(ctx, m.idx); err != nil {
				return err
			}
			m.remembered()
			m.ready = true
			return nil
		case err != nil:
			return err
		}
		m.table = t
	} else if err := m.sameTable(ctx); err != nil {
		return err
	}
	snap, err := m.table.Snapshot(ctx)
	if err != nil {
		return err
	}
	if m.born.id == "" {
		if err := m.remember0(ctx, snap); err != nil {
			return err
		}
	}
	m.logTook = m.now().Sub(start)
	return m.loadAt(ctx, snap)
}

func (m *Merger) loadAt(ctx context.Context, snap *delta.Snapshot) error {
	if err := snap.CheckWritable(); err != nil {
		return err
	}
	text, ok := snap.Property(propKeys)
	if !ok {
		return fmt.Errorf("%s is a Delta table that Sluice did not make (property %s is missing): choose another silver.path", m.table.URL(), propKeys)
	}
	is := snap.Schema().Index(evolve.ColEndSequence) >= 0
	if !is && snap.Schema().Index(evolve.ColStart) >= 0 {
		return fmt.Errorf("%w: %s is a history and has no column %s; name it so again, or choose another silver.path", ErrColumns, m.table.URL(), evolve.ColEndSequence)
	}
	if is != m.history() {
		return fmt.Errorf("%w: %s %s: silver.scd.type of a table cannot change; choose another silver.path", ErrConfig, m.table.URL(),
			map[bool]string{true: "is a history (silver.scd.type=2)", false: "is no history (silver.scd.type=1)"}[is])
	}
	if err := m.checkSequence(snap); err != nil {
		return err
	}
	keys, err := decodeKeys(text)
	if err != nil {
		return err
	}
	m.keys, m.decided = keys, keys != nil
	if err := m.checkKeys(); err != nil {
		return err
	}
	m.look = snap
	m.cols = evolve.New(snap.Schema(), m.policy())
	m.cols.Sealed()
	if err := m.checkColumns(snap); err != nil {
		return err
	}
	if err := m.checkPartition(snap); err != nil {
		return err
	}
	stateM := int64(-1)
	if v, ok := snap.Txn(m.stateID()); ok {
		stateM = v
	}
	durable := map[string]int64{}
	prefix := appPrefix + m.opt.Connector + "/"
	for t := range snap.Txns() {
		if feed, ok := strings.CutPrefix(t.AppID, prefix); ok && feed != "state" {
			durable[feed] = t.Version
		}
	}
	if m.loaded && (stateM != m.stateM || !maps.Equal(durable, m.durable)) {
		m.loaded = false // somebody else merged: nothing of ours counts
	}
	if m.loaded {
		if err := m.catchUp(ctx, snap); err != nil {
			return err
		}
		m.buryLate()
	} else {
		st, err := m.store.Load(ctx, stateM)
		if err != nil {
			return err
		}
		m.state, m.stateM, m.pending = st, stateM, false
		m.durable, m.merged, m.lazy = durable, maps.Clone(durable), 0
		maps.Copy(m.watermarks, st.Watermarks)
		if m.idx, err = m.buildIndex(ctx, snap); err != nil {
			return err
		}
	}
	m.snap, m.look = snap, nil
	m.remembered()
	m.loaded, m.ready = true, true
	return nil
}

// remembered notes which keys the state has something to say of.
func (m *Merger) remembered() {
	m.opens, m.moved = map[fold.Hash]bool{}, map[fold.Hash][]int32{}
	for _, o := range m.state.Opens {
		m.opens[o.Hash] = true
	}
	for i := range m.state.Moves {
		h := m.state.Moves[i].From
		m.moved[h] = append(m.moved[h], int32(i))
	}
	m.ends = map[fold.Hash][]int32{}
	for i := range m.state.Ends {
		h := m.state.Ends[i].Hash
		m.ends[h] = append(m.ends[h], int32(i))
	}
}

// Progress gives the last bronze version of a feed that was merged, -1 for none.
func (m *Merger) Progress(feed string) int64 {
	if v, ok := m.merged[feed]; ok {
		return v
	}
	return -1
}

// Durable is Progress as far as the table has it. A new owner begins there.
func (m *Merger) Durable(feed string) int64 {
	if v, ok := m.durable[feed]; ok {
		return v
	}
	return -1
}

// Stats describe the Merger.
func (m *Merger) Stats() Stats {
	s := m.stats
	s.Rows, s.Tombstones, s.IndexBytes, s.Version = m.idx.LiveRows()+m.past.Len(), int64(m.idx.Tombstones()), m.idx.MemoryBytes()+m.past.MemoryBytes(), m.idx.Version
	s.IndexDisk = m.idx.Spilled() + m.past.Spilled()
	if m.snap != nil {
		s.Files = m.snap.NumFiles()
	}
	return s
}

// Schema gives the table's columns as they are now.
func (m *Merger) Schema() schema.Schema { return m.cols.Schema }

// Close writes progress that was not written yet and gives memory back.
func (m *Merger) Close(ctx context.Context) error {
	if m.ready && m.table != nil && !maps.Equal(m.durable, m.merged) {
		if err := m.Flush(ctx); err != nil && !errors.Is(err, ErrFenced) {
			return err
		}
	}
	m.dropJob()
	m.ready, m.idx, m.past, m.state = false, index.New(-1), index.NewPast(index.Spill{}), state.New()
	return nil
}

func readDV(ctx context.Context, b store.Bucket, path string, d dv.Descriptor) (*roaring64.Bitmap, error) {
	return dv.Read(ctx, b, path, d)
}
