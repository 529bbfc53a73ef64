package silver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// maxAttempts bounds how often one Merge begins anew because others changed the table.
const maxAttempts = 20

// Merge merges batches in one commit. Batches of one feed must be in ascending order of version and go on where Progress ends;
// those that were merged before are passed over. An error other than ErrFenced leaves the table as it was, or as Merge would
// have made it: call Merge again with the same batches.
func (m *Merger) Merge(ctx context.Context, batches []Batch) (Result, error) {
	lettersDone := false
	if m.broken != nil {
		return Result{}, fmt.Errorf("merge into %s: %w", m.opt.Path, m.broken)
	}
	for attempt := 1; ; attempt++ {
		if !m.ready {
			err := m.load(ctx)
			if err == nil {
				err = m.scrubbed(ctx)
			}
			if err != nil {
				return Result{}, fmt.Errorf("merge into %s: %w", m.opt.Path, err)
			}
		}
		w := m.begin()
		start := m.now()
		for i := range batches {
			b := &batches[i]
			if b.Version <= m.Progress(b.Feed) {
				continue
			}
			w.feeds[b.Feed] = max(b.Version, w.feeds[b.Feed])
			w.gather(b)
		}
		if len(m.cols.Widened) > 0 && m.table != nil {
			// A column grows: first the files that are there, then the rows that need it.
			w.finish()
			if err := m.widen(ctx); err != nil {
				return w.res, m.failed(fmt.Errorf("merge into %s: %w", m.opt.Path, err))
			}
			continue
		}
		w.res.Took.Gather = m.now().Sub(start)
		w.res.DeadLetters = len(w.letters)
		if len(w.letters) > 0 && !lettersDone {
			if m.opt.DeadLetters == nil {
				return w.res, m.failed(fmt.Errorf("merge into %s: %d events cannot be applied and there is nowhere to keep them; the first: %s",
					m.opt.Path, len(w.letters), w.letters[0].Reason))
			}
			if err := m.opt.DeadLetters(ctx, w.letters); err != nil { // D6: before the commit that passes them
				return w.res, m.failed(fmt.Errorf("keep the dead letters of %s: %w", m.opt.Path, err))
			}
			lettersDone = true
		}
		res, again, err := w.run(ctx)
		w.finish()
		res.Attempts = attempt
		if err != nil {
			return res, m.failed(fmt.Errorf("merge into %s: %w", m.opt.Path, err))
		}
		if !again {
			m.stats.DeadLetters += int64(res.DeadLetters)
			if res.Committed && !m.opt.Upkeep.Manual {
				start := m.now()
				if _, err := m.Maintain(ctx); err != nil && ctx.Err() == nil {
					m.log.Warn("upkeep failed; it is tried again later", "error", err)
				}
				res.Took.Upkeep = m.now().Sub(start)
			}
			return res, nil
		}
		if w.partial {
			attempt--
			continue
		}
		if attempt == maxAttempts {
			return res, m.failed(fmt.Errorf("merge into %s: others changed the table %d times in a row", m.opt.Path, attempt))
		}
	}
}

// failed makes the next Merge load table, state and index anew: what this one changed in memory is not to be trusted.
func (m *Merger) failed(err error) error {
	m.ready = false
	return err
}

func (m *Merger) begin() *work {
	w := &work{m: m, state: m.state.Clone(), feeds: map[string]int64{}, parts: map[fold.PartKey]*partition{},
		gone: map[uint32]*bitmap{}, nowMs: m.now().UnixMilli()}
	w.events, w.groups, w.winners, w.dels = m.scratch.events[:0], m.scratch.groups[:0], m.scratch.winners[:0], m.scratch.dels[:0]
	w.slots = m.scratch.slots
	return w
}

// scratch is memory that one merge leaves to the next. Nothing in it outlives a merge.
type scratch struct {
	events  []event
	groups  []group
	slots   []int32
	winners []winner
	dels    []deletion
}

// scratchEvents is up to how many events memory is kept for.
const scratchEvents = 1 << 18

// finish gives the memory of a merge to the next one, without what it points to.
func (w *work) finish() {
	if cap(w.events) > scratchEvents {
		w.m.scratch = scratch{}
		return
	}
	clear(w.events)
	clear(w.winners)
	clear(w.dels)
	w.m.scratch = scratch{w.events, w.groups, w.slots, w.winners, w.dels}
}

// run decides, writes and commits what was gathered. again: others changed the table, the work is void.
func (w *work) run(ctx context.Context) (Result, bool, error) {
	m := w.m
	start := m.now()
	w.collect()
	if err := w.findCut(ctx); err != nil {
		return w.res, false, err
	}
	if w.partial {
		w.cutAlone()
	} else if m.keyed() {
		if err := w.sweepGhosts(ctx); err != nil {
			return w.res, false, err
		}
	}
	if m.keyed() && m.history() {
		w.heal()
		if err := w.foldHistory(ctx); err != nil {
			return w.res, false, err
		}
	} else if m.keyed() {
		if err := w.decideGroups(ctx); err != nil {
			return w.res, false, err
		}
		w.heal()
		if err := w.foldComplex(ctx); err != nil {
			return w.res, false, err
		}
	} else if err := w.foldSets(ctx); err != nil {
		return w.res, false, err
	}
	if err := m.idx.Err(); err != nil { // D8
		m.loaded = false
		return w.res, false, err
	}
	w.res.Took.Fold = m.now().Sub(start)
	w.res.Upserted = len(w.winners)
	if len(w.feeds) == 0 && !w.partial {
		return w.res, false, nil
	}
	for _, d := range w.dels {
		w.newTombs = append(w.newTombs, state.Tomb{Hash: d.h, Seq: d.g.Stamp.Seq(), Add: addSeq(d.g), AtMs: d.g.AtMs})
	}
	w.rememberDeletes()
	if m.table == nil && len(w.winners) == 0 && len(m.opt.Config.SilverPartitionBy) > 0 {
		w.settleDeletes()
		return w.res, false, nil
	}
	if len(w.winners) == 0 && len(w.gone) == 0 && len(w.newTombs) == 0 && len(w.truncs) == 0 && len(m.cols.Widened) == 0 && m.sameSchema() {
		if overtaken, err := w.overtaken(ctx); err != nil || overtaken {
			return w.res, overtaken, err
		}
		// Nothing to write: the progress may follow later, with a commit that has rows. What was remembered meanwhile goes with
		// it; a crash before repeats these batches.
		w.settleMemory()
		if m.table == nil {
			return w.res, false, nil
		}
		if m.lazy++; m.lazy < lazyMerges {
			return w.res, false, nil
		}
		return m.flushResult(ctx, w.res)
	}
	return w.commit(ctx)
}

// overtaken tells that the table has moved on while this merge would drop events as stale, without a commit that finds it out: somebody may have
// raised the epoch (RaiseEpoch), so that they are not.
func (w *work) overtaken(ctx context.Context) (bool, error) {
	m := w.m
	if w.res.Stale == 0 || m.table == nil {
		return false, nil
	}
	snap, err := m.table.Snapshot(ctx)
	if err != nil {
		return false, err
	}
	if snap.Version == m.snap.Version {
		return false, nil
	}
	m.ready = false
	return true, nil
}

func addSeq(g index.Grave) fold.Seq {
	if g.Add == (fold.Stamp{}) {
		return ""
	}
	return g.Add.Seq()
}

func (m *Merger) sameSchema() bool {
	return m.snap != nil && m.snap.Schema().Equal(m.cols.Schema)
}

// rememberDeletes puts the deletes that may be followed by a tombstone record into the state.
func (w *work) rememberDeletes() {
	for _, p := range w.parts {
		old := w.state.Deletes[:0:0]
		for _, d := range w.state.Deletes {
			if d.Topic == p.key.Topic && d.Partition == p.key.Partition {
				old = append(old, d)
			}
		}
		if slices.Equal(old, p.ring) {
			continue
		}
		w.state.Deletes = slices.DeleteFunc(w.state.Deletes, func(d state.Delete) bool {
			return d.Topic == p.key.Topic && d.Partition == p.key.Partition
		})
		w.state.Deletes = append(w.state.Deletes, p.ring...)
		w.stateNew = true
	}
	slices.SortFunc(w.state.Deletes, func(a, b state.Delete) int {
		switch {
		case a.Topic != b.Topic:
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		case a.Partition != b.Partition:
			return int(a.Partition) - int(b.Partition)
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
}

// settleMemory takes over state and progress of a merge that wrote nothing.
func (w *work) settleMemory() {
	m := w.m
	m.state = w.state
	m.pending = m.pending || w.stateNew
	maps.Copy(m.merged, w.feeds)
	m.observe(w)
	m.remembered()
	m.stats.Merges++
}

// settleDeletes remembers, in memory, deletes that come before the first row of a table that is to be partitioned: only a row tells the
// columns. The progress stays in memory too, so that a crash repeats them.
func (w *work) settleDeletes() {
	w.state.Tombs = append(w.state.Tombs, w.newTombs...)
	for i := range w.dels {
		d := &w.dels[i]
		if e := w.m.idx.Bury(d.h, d.g); d.has && d.old.File == index.Dead {
			w.m.idx.Raise(d.old)
			w.m.idx.Replace(d.old.File, d.old.Row, e)
		} else {
			w.m.idx.Insert(e)
		}
	}
	w.settleMemory()
	w.m.pending = true
}

func (w *work) commit(ctx context.Context) (Result, bool, error) {
	m := w.m
	start := m.now()
	w.ensureColumns()
	m.ensureOwn()
	if m.table == nil {
		by, err := m.choosePartition(w)
		if err != nil {
			return w.res, false, err
		}
		if err := m.create(ctx, by); err != nil {
			return w.res, false, err
		}
	}
	snap := m.snap
	newState := w.stateNew || m.pending || len(w.newTombs) > 0
	g, gctx := errgroup.WithContext(ctx)
	defer func() { _ = g.Wait() }() // nothing of this merge runs on when it is given up
	g.Go(func() error { return m.sameTable(gctx) })
	var adds []delta.Add
	var parts []newFile
	spans, err := w.spans()
	if err != nil {
		return w.res, false, err
	}
	feed, err := w.newFeed(ctx)
	if err != nil {
		return w.res, false, err
	}
	var input []byte
	if len(spans) > 0 {
		input = w.input()
	}
	for n, s := range spans {
		fw, err := m.newFile(ctx, m.fileName("part", input, snap.Version, n), m.cols.Schema, s.part)
		if err != nil {
			return w.res, false, err
		}
		write := fw.append
		if feed != nil {
			write = func(rec arrow.Record) error {
				if err := fw.append(rec); err != nil {
					return err
				}
				return feed.after(rec, s.part)
			}
		}
		if err := w.emit(ctx, w.winners[s.from:s.to], write); err != nil {
			fw.abort()
			return w.res, false, err
		}
		add, put, err := fw.finish()
		if err != nil {
			return w.res, false, err
		}
		adds, parts = append(adds, add), append(parts, newFile{add: add, rows: int64(s.to - s.from)})
		w.res.Bytes += add.Size
		g.Go(func() error { return put(gctx) })
	}
	w.res.Took.Emit = m.now().Sub(start)
	start = m.now()
	stateM := m.stateM
	if newState {
		w.state.Tombs = append(w.state.Tombs, w.newTombs...)
		w.state.Watermarks = m.marks(w)
		g.Go(func() error {
			n, err := m.store.Save(gctx, m.stateM+1, w.state, m.keepTomb(w), m.expiry())
			stateM = n
			return err
		})
	}
	c := m.table.NewCommit(snap)
	var vectors, before []*bitmap
	var changed []*delta.Add
	next := map[uint32]*bitmap{}
	var rewrite []uint32
	gain := int64(len(w.winners))
	for _, o := range sortedKeys(w.gone) {
		f := m.idx.File(o)
		a, ok := snap.File(f.Path)
		if !ok {
			return w.res, false, fmt.Errorf("the index points to %s, which version %d does not have", f.Path, snap.Version) // D8
		}
		v := w.gone[o]
		gain -= int64(v.GetCardinality())
		if f.Deleted != nil {
			v = bitmapOr(f.Deleted, v)
		}
		next[o] = v
		switch {
		case int64(v.GetCardinality()) >= f.Rows:
			c.Remove(a)
		case m.copyOnWrite():
			rewrite = append(rewrite, o)
		default:
			vectors, before, changed = append(vectors, v.Clone()), append(before, f.Deleted), append(changed, a)
		}
	}
	if feed != nil {
		x, err := feed.finish(ctx)
		if err != nil {
			return w.res, false, err
		}
		for _, x := range x {
			c.AppendCDC(x)
		}
	}
	var descs []dv.Descriptor
	if len(vectors) > 0 {
		g.Go(func() error {
			var err error
			descs, _, err = dv.Write(gctx, m.opt.Bucket, m.table.Path(), vectors)
			return err
		})
	}
	var moved *relocation
	if len(rewrite) > 0 {
		var err error
		if moved, err = m.rewriteFiles(gctx, "cow", w.input(), rewrite, next, m.cols.Schema, snap.Version, nil); err != nil {
			_ = g.Wait()
			return w.res, false, err
		}
		for _, o := range rewrite {
			a, _ := snap.File(m.idx.File(o).Path)
			c.Remove(a)
		}
		for _, f := range moved.files {
			adds = append(adds, f.add)
		}
	}
	if err := g.Wait(); err != nil {
		return w.res, false, err
	}
	for i, a := range changed {
		c.SetVector(a, descs[i], before[i], vectors[i])
	}
	for _, a := range adds {
		c.Append(a)
	}
	c.ExpectRows(gain)
	m.describe(c)
	for _, feed := range slices.Sorted(maps.Keys(w.nextProgress())) {
		c.Progress(m.appID(feed), m.Durable(feed), w.nextProgress()[feed])
	}
	if newState {
		c.Progress(m.stateID(), m.stateM, stateM)
	} else {
		c.Expect(m.stateID(), m.stateM) // D2: what was decided follows from it
	}
	c.Info(w.info())
	out := c.Do(ctx)
	w.res.Took.Commit = m.now().Sub(start)
	switch out.Kind {
	case delta.Committed:
		start = m.now()
		if out.Snapshot == nil || out.Snapshot.Version != snap.Version+1 {
			// Others came before us: what they did is not in the index. The next merge follows it, and this commit with it.
			m.accept(w, stateM, newState)
			m.ready = false
			if m.loaded = m.keyed() && !m.history(); m.loaded {
				m.late = append(m.late, slices.Clone(w.dels)...)
			}
			w.res.Committed, w.res.Version = true, out.Version
			return w.res, false, nil
		}
		m.accept(w, stateM, newState)
		w.apply(out.Snapshot, parts, next, moved)
		m.shrink()
		w.res.Committed, w.res.Version = true, out.Version
		w.res.Took.Index = m.now().Sub(start)
		return w.res, w.partial, m.checkCount()
	case delta.Unknown:
		return w.res, false, m.readBack(ctx, w, out)
	}
	if errors.Is(out.Err, delta.ErrProgress) { // D2
		m.ready, m.loaded = false, false
		return w.res, false, fmt.Errorf("%w: %w", ErrFenced, out.Err)
	}
	if errors.Is(out.Err, delta.ErrConflict) {
		m.stats.Foreign++
		m.ready = false
		return w.res, true, nil
	}
	return w.res, false, out.Err
}

// nextProgress is the progress that the commit makes durable: also that of earlier merges which wrote nothing.
func (w *work) nextProgress() map[string]int64 {
	next := map[string]int64{}
	for feed, v := range w.m.merged {
		if v > w.m.Durable(feed) {
			next[feed] = v
		}
	}
	maps.Copy(next, w.feeds)
	return next
}

// input names what the merge is made of, for file names.
func (w *work) input() []byte {
	h := xxh3.New()
	var b []byte
	next := w.nextProgress()
	for _, feed := range slices.Sorted(maps.Keys(next)) {
		b = append(b, feed...)
		b = binary.BigEndian.AppendUint64(b, uint64(w.m.Durable(feed)))
		b = binary.BigEndian.AppendUint64(b, uint64(next[feed]))
	}
	b = append(b, w.m.cols.Schema.String()...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(w.winners)))
	_, _ = h.Write(b)
	for i := range w.winners {
		// The rows depend on the configuration too, which may have changed since an attempt that failed.
		x := &w.winners[i]
		b = binary.BigEndian.AppendUint64(b[:0], x.h.Lo)
		b = x.st.Append(b)
		if x.img != nil {
			b = append(b, x.img.Meta.Op, byte(len(x.img.From)), byte(len(x.img.Rescue)))
			b = append(b, x.img.Meta.EventID...)
		}
		if x.life != nil && x.life.ended {
			b = x.life.end.Append(b)
		}
		_, _ = h.Write(b)
	}
	sum := h.Sum128().Bytes()
	return sum[:]
}

// describe sets the metadata where the schema changed.
func (m *Merger) describe(c *delta.Commit) {
	keys, _ := m.snap.Property(propKeys)
	feed := m.opt.Config.SilverCDF && !m.snap.PropertyIs(delta.PropEnableCDF)
	if m.sameSchema() && keys == m.keysText() && !feed {
		return
	}
	meta := m.snap.Metadata.Clone()
	meta.SchemaString = m.cols.Schema.String()
	meta.Configuration[propKeys] = m.keysText()
	if feed {
		meta.Configuration[delta.PropEnableCDF] = "true"
	}
	c.SetMetadata(meta)
}

func (w *work) info() delta.CommitInfo {
	n := func(i int) string { return strconv.Itoa(i) }
	return delta.CommitInfo{Operation: "STREAMING UPDATE",
		OperationParameters: map[string]string{"outputMode": "Update", "connector": w.m.opt.Connector, "epoch": strconv.FormatUint(w.m.opt.Epoch, 10)},
		OperationMetrics: map[string]string{"numOutputRows": n(len(w.winners)), "numDeletedRows": n(w.res.Deleted),
			"numSourceRows": n(w.res.Events)}}
}

// ensureOwn adds the columns that every silver table has, behind those of the first rows.
func (m *Merger) ensureOwn() {
	m.cols.Ensure(evolve.ColOperation, schema.Of(schema.String))
	m.cols.Ensure(evolve.ColTimestamp, schema.Of(schema.Timestamp))
	m.cols.Ensure(evolve.ColEventID, schema.Of(schema.String))
	m.cols.Ensure(evolve.ColSequence, schema.Of(schema.Binary))
	if m.soft() {
		m.cols.Ensure(evolve.ColDeleted, schema.Of(schema.Boolean))
	}
	if m.history() {
		m.cols.Ensure(evolve.ColStart, schema.Of(schema.Timestamp))
		m.cols.Ensure(evolve.ColEnd, schema.Of(schema.Timestamp))
		m.cols.Ensure(evolve.ColEndSequence, schema.Of(schema.Binary))
	}
}

func (m *Merger) copyOnWrite() bool { return m.opt.Config.SilverMergeMode == "copy-on-write" }

// create makes the table.
func (m *Merger) create(ctx context.Context, by []string) error {
	conf := map[string]string{propKeys: m.keysText()}
	if !m.copyOnWrite() {
		conf[delta.PropEnableDVs] = "true"
	}
	if m.opt.Config.SilverCDF {
		conf[delta.PropEnableCDF] = "true"
	}
	if seq := m.opt.Config.SilverSequenceBy; len(seq) > 0 {
		conf[propSequence] = strings.Join(seq, ",")
	}
	t, err := delta.Create(ctx, m.opt.Bucket, m.opt.Path, delta.CreateOptions{Schema: m.cols.Schema, PartitionColumns: by, Configuration: conf}, delta.WithLogger(m.log))
	if errors.Is(err, delta.ErrTableExists) {
		m.ready = false
		return fmt.Errorf("somebody else made the table meanwhile: %w", err)
	}
	if err != nil {
		return err
	}
	m.table, m.snap = t, t.Cached()
	if m.snap == nil {
		if m.snap, err = t.Snapshot(ctx); err != nil {
			return err
		}
	}
	m.cols.Sealed()
	m.idx.Version = m.snap.Version
	m.loaded = true
	return m.remember0(ctx, m.snap)
}

// accept takes over state and progress of a merge that is in the table.
func (m *Merger) accept(w *work, stateM int64, newState bool) {
	maps.Copy(m.merged, w.feeds)
	m.durable = maps.Clone(m.merged)
	m.lazy = 0
	m.state = w.state
	if newState {
		m.stateM, m.pending = stateM, false
	}
	m.observe(w)
	m.remembered()
	m.stats.Merges++
	m.stats.Upserted += int64(len(w.winners))
	if w.healed > 0 {
		m.log.Warn("keys that the table had more than once have one row again", "keys", w.healed)
		m.stats.Healed += int64(w.healed)
		m.twice = m.twice[min(w.healed, len(m.twice)):]
	}
	m.stats.Deleted += int64(w.res.Deleted)
	for _, f := range w.flips {
		m.log.Warn("the source's log began anew: its events get a new epoch", "epoch", f)
	}
}

// advanced tells whether a snapshot has merged what this work would merge.
func (m *Merger) advanced(s *delta.Snapshot, w *work) bool {
	if s == nil {
		return false
	}
	for feed := range w.feeds {
		if v, ok := s.Txn(m.appID(feed)); ok && v > m.Durable(feed) {
			return true
		}
	}
	return false
}

// readBack finds out what became of a commit whose outcome is unknown (D3).
func (m *Merger) readBack(ctx context.Context, w *work, out delta.Outcome) error {
	m.ready, m.loaded = false, false
	var last error
	for i := range 5 {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(i) * 100 * time.Millisecond):
			}
		}
		snap, err := m.table.Snapshot(ctx)
		if err != nil {
			last = err
			continue
		}
		if m.advanced(snap, w) {
			m.log.Warn("a commit of unknown outcome is in the table", "txn", out.TxnID)
			if err := m.load(ctx); err != nil {
				return err
			}
			w.res.Committed, w.res.Version = true, snap.Version
			return nil
		}
		last = out.Err
	}
	return fmt.Errorf("outcome unknown: %w", last)
}

// Flush writes progress and state that no commit has taken along yet.
func (m *Merger) Flush(ctx context.Context) error {
	_, _, err := m.flushResult(ctx, Result{})
	return err
}

func (m *Merger) flushResult(ctx context.Context, res Result) (Result, bool, error) {
	if m.table == nil || !m.ready || maps.Equal(m.durable, m.merged) && !m.pending {
		return res, false, nil
	}
	c := m.table.NewCommit(m.snap)
	stateM := m.stateM
	if m.pending {
		var err error
		if stateM, err = m.store.Save(ctx, m.stateM+1, m.state, m.keepTomb(nil), m.expiry()); err != nil {
			return res, false, m.failed(err)
		}
		c.Progress(m.stateID(), m.stateM, stateM)
	}
	for _, feed := range slices.Sorted(maps.Keys(m.merged)) {
		if v := m.merged[feed]; v > m.Durable(feed) {
			c.Progress(m.appID(feed), m.Durable(feed), v)
		}
	}
	c.Info(delta.CommitInfo{Operation: "STREAMING UPDATE", OperationParameters: map[string]string{"connector": m.opt.Connector}})
	out := c.Do(ctx)
	if out.Kind != delta.Committed {
		m.ready, m.loaded = false, false
		if errors.Is(out.Err, delta.ErrProgress) {
			return res, false, fmt.Errorf("%w: %w", ErrFenced, out.Err)
		}
		return res, false, out.Err
	}
	m.durable, m.lazy, m.stateM, m.pending = maps.Clone(m.merged), 0, stateM, false
	res.Committed, res.Version = true, out.Version
	if out.Snapshot == nil || out.Snapshot.Version != m.snap.Version+1 {
		m.ready = false // others came before: catch up
		return res, false, nil
	}
	m.snap, m.idx.Version = out.Snapshot, out.Snapshot.Version
	return res, false, nil
}
