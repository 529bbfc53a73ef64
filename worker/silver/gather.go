package silver

import (
	"fmt"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// event is one change that takes part in the merge.
type event struct {
	c    *connectors.Change
	st   fold.Stamp
	h    fold.Hash
	next int32 // of the same group, -1 at its end
	// op is Delete also for tombstone records.
	op connectors.Op
	// half of an update that a table without key splits: 1 removes Before, 2 adds After.
	half uint8
	drop bool
	// again is the offset before which this event, of a table without key, may have come already; 0: it can't.
	again int64
	// whole is what wholeRow said while the row was in the processor's cache. It holds while the columns are of generation
	// gen-1; gen is 0 where it was not asked.
	whole bool
	gen   int
}

// group is the events of one key.
type group struct {
	h          fold.Hash
	head, tail int32
	n          int32
	flags      uint8
	cx         int32 // index into work.complex, -1: none
}

const (
	hasInsert = 1 << iota
	hasHint   // a key change
	hasBare   // an event without position
	hasDelete
)

// work is one merge in the making. It is thrown away, or applied when the commit is made.
type work struct {
	m       *Merger
	res     Result
	state   *state.State
	feeds   map[string]int64
	events  []event
	groups  []group
	slots   []int32
	truncs  []truncate
	sweeps  []sweep
	letters []connectors.DeadLetter

	lastTopic string
	lastPart  int32
	part      *partition
	parts     map[fold.PartKey]*partition
	lastSrc   *connectors.Source
	src       *fold.SourceLineage
	tableSrc  *connectors.Source // whose name is table
	table     string
	noted     *connectors.Source // noteTable saw it last, in lastTopic
	mixed     bool               // changes are of source tables that their topic does not tell
	// toldSource's last answer.
	toldKey, toldText string

	complex  []complexGroup
	prefixes map[prefixKey]*fold.Output
	told     map[toldKey]bool
	// births are late changes that tell when a row that left was made; lateMoves are indices in state.Moves of key changes that this merge found, by the old key.
	births    map[birthKey]bool
	lateMoves map[fold.Hash][]int32
	winners   []winner
	dels      []deletion
	gone      map[uint32]*bitmap
	stateNew  bool // the durable state changed
	reached   bool // partitions are further than before
	keyBuf    []byte
	newTombs  []state.Tomb
	nowMs     int64
	flips     []string
	healed    int // keys taken along because the table had them twice
	// cutRows are the rows that truncates of this merge end, cutEntries their entries.
	cutRows    map[uint32]*bitmap
	cutEntries []index.Entry
	sets       map[fold.Hash]*rowSet
	replays    map[fold.Hash]bool // contents all of whose events are replayed
	// Of a history: the keys that are folded, the rows that go.
	hist         []histGroup
	histPrefixes map[prefixKey]*fold.HistoryOutput
	goneRefs     []rowRef
	cutSets      []cutRow
	// partial: only rows that a truncate ends are written, the rest waits for the next attempt.
	partial  bool
	cutRead  []string // files all of whose rows that a truncate ends are in this commit
	setOrder []fold.Hash
}

type truncate struct {
	c     *connectors.Change
	st    fold.Stamp
	after int // events before this index came earlier
}

// partition is what gathering keeps of one topic partition.
type partition struct {
	key fold.PartKey
	gen uint32
	// lin is the place in the log of the source that was seen last, linOf.
	lin   *fold.PartLineage
	linOf *fold.SourceLineage
	// maxMs is the highest Kafka time.
	maxMs int64
	ring  []state.Delete // deletes that may be followed by their tombstone record, oldest first
}

// ringSize is how many deletes of a partition are remembered for their tombstone records. Connectors send the record right
// behind the delete.
const ringSize = 16

func (w *work) partition(rec *connectors.Record) *partition {
	if w.part != nil && rec.Partition == w.lastPart && rec.Topic == w.lastTopic {
		return w.part
	}
	k := fold.PartKey{Topic: rec.Topic, Partition: rec.Partition}
	p := w.parts[k]
	if p == nil {
		p = &partition{key: k}
		for _, d := range w.state.Deletes {
			if d.Topic == k.Topic && d.Partition == k.Partition {
				p.ring = append(p.ring, d)
			}
		}
		w.parts[k] = p
	}
	p.gen = w.generation(rec)
	if rec.Topic != w.lastTopic {
		w.noted = nil
	}
	w.part, w.lastTopic, w.lastPart = p, rec.Topic, rec.Partition
	return p
}

// generation counts how often a topic was seen to have more partitions than before.
func (w *work) generation(rec *connectors.Record) uint32 {
	for i := range w.state.Topics {
		t := &w.state.Topics[i]
		if t.Name != rec.Topic {
			continue
		}
		if rec.Partition > t.MaxPartition {
			t.MaxPartition = rec.Partition
			t.Generation = min(t.Generation+1, fold.MaxGeneration)
			w.stateNew = true
			for _, p := range w.parts {
				if p.key.Topic == rec.Topic {
					p.gen = t.Generation
				}
			}
		}
		return t.Generation
	}
	w.state.Topics = append(w.state.Topics, state.Topic{Name: rec.Topic, Generation: 1, MaxPartition: rec.Partition})
	w.stateNew = true
	return 1
}

func (w *work) reject(c *connectors.Change, class, format string, args ...any) {
	w.letters = append(w.letters, connectors.DeadLetter{Record: c.Record, Connector: w.m.opt.Connector,
		Stage: connectors.StageApply, Class: class, Reason: fmt.Sprintf(format, args...)})
}

// gather makes events of the changes of a batch.
func (w *work) gather(b *Batch) {
	for i := range b.Changes {
		c := &b.Changes[i]
		if p := w.partition(c.Record); c.Record.TimestampMs > p.maxMs {
			p.maxMs = c.Record.TimestampMs
		}
		switch c.Kind {
		case connectors.Control:
			continue
		case connectors.Tombstone:
			w.tombstone(c)
		case connectors.TruncateTable:
			w.truncate(c)
		case connectors.RowChange:
			w.rowChange(c)
		}
	}
}

// stamp assigns epoch and sequence.
func (w *work) stamp(c *connectors.Change, p *partition) fold.Stamp {
	if len(w.m.opt.Config.SilverSequenceBy) > 0 {
		return w.sequence(c, p)
	}
	if c.Source != w.lastSrc || w.src == nil {
		w.src, w.lastSrc = w.state.Lineages.Source(logName(c)), c.Source
	}
	if p.linOf != w.src {
		p.lin, p.linOf = w.state.Lineages.Part(c.Record.Topic, c.Record.Partition, logName(c)), w.src
	}
	was := *p.lin
	epoch, flipped := w.src.Assign(p.lin, c)
	if flipped {
		w.flips = append(w.flips, fmt.Sprintf("epoch %d from %s on", epoch, c.Record.EventID()))
	}
	if p.lin.Epoch != was.Epoch || p.lin.Lineage != was.Lineage || p.lin.Again != was.Again && !w.m.keyed() {
		w.stateNew = true
	}
	w.reached = w.reached || p.lin.MaxPos != was.MaxPos
	return fold.StampOf(c, epoch, p.gen)
}

// logName names the source whose log a change's position is in.
func logName(c *connectors.Change) string {
	if c.Source == nil {
		return ""
	}
	return c.Source.Name
}

func (w *work) tombstone(c *connectors.Change) {
	if c.Key.IsZero() {
		return // the shadow of a delete in a table without key (formats.md §1.5)
	}
	w.res.Events++
	if !w.m.keyed() {
		return
	}
	p := w.partition(c.Record)
	h, why := w.keyHash(c, c.Key)
	if why != "" {
		// Under silver.keys the record's key may not tell the table's. The record right behind a delete is the shadow of that.
		if n := len(p.ring); len(w.m.opt.Config.SilverKeys) > 0 && n > 0 && p.ring[n-1].Offset == c.Record.Offset-1 {
			p.ring = p.ring[:n-1]
			w.res.Duplicates++
			return
		}
		w.reject(c, connectors.ClassApply, "%s", why)
		return
	}
	for i := range p.ring {
		if d := p.ring[i]; d.Hash == h && d.Offset < c.Record.Offset {
			// Its delete was merged, or found stale: the record has that position, and says nothing new.
			p.ring = append(p.ring[:i], p.ring[i+1:]...)
			w.res.Duplicates++
			return
		}
	}
	if w.m.opt.Config.SilverDeleteMode == "ignore" {
		return
	}
	// With no delete before it, it deletes by offset.
	st := fold.Stamp{Part: p.gen<<fold.PartitionBits | uint32(c.Record.Partition)&fold.PartitionMask, Off: c.Record.Offset,
		Epoch: max(fold.FirstEpoch, w.state.Lineages.Epoch(c.Record.Topic, c.Record.Partition))}
	w.add(event{c: c, st: st, h: h, op: connectors.Delete})
}

func (w *work) remember(p *partition, c *connectors.Change, h fold.Hash) {
	if len(p.ring) >= ringSize {
		p.ring = append(p.ring[:0], p.ring[1:]...)
	}
	p.ring = append(p.ring, state.Delete{Topic: p.key.Topic, Partition: p.key.Partition, Offset: c.Record.Offset, Hash: h})
}

func (w *work) rowChange(c *connectors.Change) {
	w.res.Events++
	p := w.partition(c.Record)
	w.noteTable(c)
	key := c.Key
	if len(w.m.opt.Config.SilverKeys) > 0 {
		key = c.After
		if key.IsZero() {
			key = c.Before
		}
		if key.IsZero() || c.After.IsZero() && c.BeforeQuality == connectors.BeforeKeyOnly { // formats.md §1.4: the rest is invented
			key = c.Key
		}
	}
	if !w.m.decided {
		w.m.decide(key, len(w.m.opt.Config.SilverKeys) > 0)
	}
	if !w.m.keyed() {
		w.keyless(c, p)
		return
	}
	if key.IsZero() {
		keys := strings.Join(w.m.keys, ",")
		w.reject(c, connectors.ClassIncomplete, "the event has no key, the table's is (%s): did the source table lose it? Set silver.keys=%s, then events are told apart by these columns of their rows; "+
			"sluice table rebuild brings those in that were dead letters before", strings.Join(w.m.keys, ", "), keys)
		return
	}
	if c.Op != connectors.Delete {
		if c.After.IsZero() {
			w.reject(c, connectors.ClassIncomplete, "the event has no image of the row")
			return
		}
		if _, why := w.m.cols.Observe(c.After, false); why != "" {
			w.reject(c, connectors.ClassApply, "%s", why)
			return
		}
	}
	h, why := w.keyHash(c, key)
	if why != "" {
		w.reject(c, connectors.ClassApply, "%s", why)
		return
	}
	w.m.compressed = w.m.compressed || w.unchanged(c)
	st := w.stamp(c, p)
	if c.Op == connectors.Delete && !c.Filtered {
		w.remember(p, c, h)
		if w.m.opt.Config.SilverDeleteMode == "ignore" {
			return
		}
	}
	if c.Snapshot != connectors.NotSnapshot {
		w.sawSnapshot(c, st)
	}
	if w.movesKey(c, h) {
		c = w.moved(c, st)
	}
	e := event{c: c, st: st, h: h, op: w.opOf(c)}
	if c.Op != connectors.Delete {
		e.whole, e.gen = w.wholeRow(&e), w.m.cols.Gen+1
	}
	w.add(e)
}

func (w *work) truncate(c *connectors.Change) {
	w.res.Events++
	switch w.m.opt.Config.SilverTruncateMode {
	case "ignore":
		return
	case "dead-letter":
		w.reject(c, connectors.ClassApply, "silver.truncate.mode is dead-letter")
		return
	}
	p := w.partition(c.Record)
	st := w.stamp(c, p)
	if st.Pos == "" && w.m.history() {
		w.reject(c, connectors.ClassApply, "a history (silver.scd.type=2) needs the position of a truncate, which the event does not tell")
		return
	}
	if t := w.topic(c.Record.Topic); t.Mixed {
		if !w.knownTruncate(c, st) {
			w.reject(c, connectors.ClassApply, "truncate of %s: rows of this and of other source tables came through topic %s before rows of the table told which are whose: "+
				"delete them by hand, or let sluice table rebuild find out", sourceName(c.Source), t.Name)
		}
		return
	}
	w.truncs = append(w.truncs, truncate{c: c, st: st, after: len(w.events)})
}

func (w *work) add(e event) { w.events = append(w.events, e) }

// keyPlan says where the key's columns are in a shape.
type keyPlan struct {
	at  []int32
	bad string
}

// keyHash hashes the key's columns of a row. A reason that is not empty says why it can't.
func (w *work) keyHash(c *connectors.Change, key connectors.Row) (fold.Hash, string) {
	m := w.m
	p := m.keyPlans[key.Shape]
	if p == nil {
		p = m.planKey(key)
		if len(m.keyPlans) > 4096 {
			clear(m.keyPlans)
		}
		m.keyPlans[key.Shape] = p
	}
	if p.bad != "" {
		return fold.Hash{}, p.bad
	}
	b := w.keyBuf[:0]
	for i, at := range p.at {
		v := &key.Values[at]
		if fold.Unknown(v) {
			return fold.Hash{}, fmt.Sprintf("key column %q has no value", m.keys[i])
		}
		if k := m.keyCol(i); k >= 0 && v.State == connectors.Present {
			col := &m.cols.Source[k]
			if v.Str == "" && v.Kind == schema.String && m.partitions(k) {
				return fold.Hash{}, fmt.Sprintf("key column %q, by which the table is partitioned, is the empty text, which no partition can hold", m.keys[i])
			}
			if !sameClass(v, col.Type.Kind) {
				conv, ok := keyConvert(*v, col.Type)
				if !ok {
					return fold.Hash{}, fmt.Sprintf("key column %q is %s, the event's value %s does not fit; a key that got such a type needs a new table: a new snapshot into topics and a silver.path of its own", col.Name, col.Type, evolve.AppendJSON(nil, *v))
				}
				b = fold.AppendCanonical(b, &conv)
				continue
			}
		}
		b = fold.AppendCanonical(b, v)
		for _, r := range key.Rescued() {
			if r.Column == int(at) {
				b = fold.AppendRescued(b, evolve.TextJSON(r.Text))
			}
		}
	}
	w.keyBuf = b
	return fold.Sum(b), ""
}

// find gives the group of a hash, made where it is new.
func (w *work) group(h fold.Hash) int32 {
	mask := uint64(len(w.slots) - 1)
	for i := h.Lo & mask; ; i = (i + 1) & mask {
		g := w.slots[i]
		if g == 0 {
			if (len(w.groups)+1)*2 > len(w.slots) {
				w.rehash()
				return w.group(h)
			}
			w.groups = append(w.groups, group{h: h, head: -1, tail: -1, cx: -1})
			w.slots[i] = int32(len(w.groups))
			return int32(len(w.groups)) - 1
		}
		if w.groups[g-1].h == h {
			return g - 1
		}
	}
}

func (w *work) rehash() {
	n := max(64, len(w.slots)*2)
	w.slots = make([]int32, n)
	mask := uint64(n - 1)
	for g := range w.groups {
		i := w.groups[g].h.Lo & mask
		for w.slots[i] != 0 {
			i = (i + 1) & mask
		}
		w.slots[i] = int32(g) + 1
	}
}

// collect groups the events by key, those aside that a truncate holds back.
func (w *work) collect() {
	n := 64
	for n < 2*len(w.events)+2 {
		n *= 2
	}
	if len(w.slots) < n || len(w.slots) > 4*n {
		w.slots = make([]int32, n)
	} else {
		clear(w.slots)
	}
	w.applyTruncates()
	for i := range w.events {
		e := &w.events[i]
		e.next = -1
		if e.drop {
			w.res.Stale++
			continue
		}
		gi := w.group(e.h)
		g := &w.groups[gi]
		if g.head < 0 {
			g.head = int32(i)
		} else {
			w.events[g.tail].next = int32(i)
		}
		g.tail = int32(i)
		g.n++
		if e.op == connectors.Insert {
			g.flags |= hasInsert
		} else if e.op == connectors.Delete {
			g.flags |= hasDelete
		}
		if e.c.HasHint() {
			g.flags |= hasHint
		}
		if e.st.Pos == "" {
			g.flags |= hasBare
		}
	}
}

// entry looks a key up, as it is after the truncates of this merge.
func (w *work) entry(h fold.Hash) (e index.Entry, ok, more bool) {
	e, ok, more = w.m.idx.Get(h)
	if ok && e.File != index.Dead && w.cutRows != nil && w.cut(e) {
		return index.Entry{}, false, false
	}
	return e, ok, more
}
