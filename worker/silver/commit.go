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

	"github.com/zeebo/xxh3"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
)

// commit writes what was decided and puts it into the table, in one version. again: others changed the table, the merge is to begin anew.
func (w *work) commit(ctx context.Context) (res Result, again bool, err error) {
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
	d := w.draft(ctx)
	defer d.wait() // nothing of this merge runs on when it is given up
	defer d.abort()
	if err := d.writeRows(ctx); err != nil {
		return w.res, false, err
	}
	w.res.Took.Emit = m.now().Sub(start)
	start = m.now()
	d.saveState()
	if err := d.writeRest(ctx); err != nil {
		return w.res, false, err
	}
	if err := d.wait(); err != nil {
		return w.res, false, err
	}
	out := d.compose().Do(ctx)
	w.res.Took.Commit += m.now().Sub(start)
	return w.conclude(ctx, d, out)
}

// conclude takes over a commit that is in the table, or finds out what became of it (D3).
func (w *work) conclude(ctx context.Context, d *draft, out delta.Outcome) (res Result, again bool, err error) {
	m := w.m
	switch {
	case out.Kind == delta.Unknown:
		return w.res, false, m.readBack(ctx, w, out)
	case out.Kind == delta.Committed:
		start := m.now()
		m.accept(w, d.stateM, d.newState)
		w.res.Committed, w.res.Version = true, out.Version
		if out.Snapshot == nil || out.Snapshot.Version != d.snap.Version+1 {
			// Others came before us: what they did is not in the index. The next merge follows it, and this commit with it.
			m.ready = false
			if m.loaded = m.keyed() && !m.history(); m.loaded {
				m.late = append(m.late, slices.Clone(w.dels)...)
			}
			return w.res, w.partial, nil
		}
		w.apply(out.Snapshot, d.parts, d.next, d.moved)
		m.shrink()
		w.res.Took.Index = m.now().Sub(start)
		m.cutOn(w)
		return w.res, w.partial, m.checkCount()
	case errors.Is(out.Err, delta.ErrProgress): // D2
		m.ready, m.loaded = false, false
		return w.res, false, fmt.Errorf("%w: %w", ErrFenced, out.Err)
	case errors.Is(out.Err, delta.ErrConflict):
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
	meta := m.described(m.cols.Schema)
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
	if m.full() {
		conf[delta.PropColumnMappingMode], conf[delta.PropMaxColumnID] = "name", strconv.Itoa(m.cols.MaxID())
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
	for attempt := 1; m.table != nil && m.ready && (!maps.Equal(m.durable, m.merged) || m.pending); attempt++ {
		out, stateM, err := m.putProgress(ctx)
		switch {
		case err != nil:
			return res, false, m.failed(err)
		case out.Kind == delta.Committed:
			m.durable, m.lazy, m.stateM, m.pending = maps.Clone(m.merged), 0, stateM, false
			res.Committed, res.Version = true, out.Version
			if out.Snapshot == nil || out.Snapshot.Version != m.snap.Version+1 {
				m.ready = false // others came before: catch up
				return res, false, nil
			}
			m.snap, m.idx.Version = out.Snapshot, out.Snapshot.Version
			return res, false, nil
		case errors.Is(out.Err, delta.ErrProgress): // D2
			m.ready, m.loaded = false, false
			return res, false, fmt.Errorf("%w: %w", ErrFenced, out.Err)
		case errors.Is(out.Err, delta.ErrConflict) && attempt < maxAttempts:
			// Others changed the table's columns, say: what is in memory holds, once it has followed them.
			m.ready = false
			if err := m.load(ctx); err != nil {
				return res, false, err
			}
		default:
			m.ready, m.loaded = false, false
			return res, false, out.Err
		}
	}
	return res, false, nil
}

// putProgress commits progress and state.
func (m *Merger) putProgress(ctx context.Context) (out delta.Outcome, stateM int64, err error) {
	c := m.table.NewCommit(m.snap)
	stateM = m.stateM
	if m.pending {
		if stateM, err = m.store.Save(ctx, m.stateM+1, m.state, m.keepTomb(nil), m.expiry()); err != nil {
			return out, stateM, err
		}
		c.Progress(m.stateID(), m.stateM, stateM)
	}
	for _, feed := range slices.Sorted(maps.Keys(m.merged)) {
		if v := m.merged[feed]; v > m.Durable(feed) {
			c.Progress(m.appID(feed), m.Durable(feed), v)
		}
	}
	c.Info(delta.CommitInfo{Operation: "STREAMING UPDATE", OperationParameters: map[string]string{"connector": m.opt.Connector}})
	return c.Do(ctx), stateM, nil
}
