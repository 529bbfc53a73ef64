package silver_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// source is a simulated database with its connector and its Kafka topic: the judge of what the merge must end with. It keeps
// rows by itself and knows nothing of the merge.
type source struct {
	rng  *rand.Rand
	mode simMode

	rows map[int64]simRow
	lsn  uint64
	seq0 uint64 // commit of the transaction before
	tx   uint64
	txN  int64
	ts   int64
	name string

	parts   [][]connectors.Change // by partition, in the order of Kafka
	emitted []simEvent            // in the order of the connector
	src     *connectors.Source
	nextID  int64
	commits []simCommit // what the database showed after each transaction
	upserts int
	offsets []int64

	server   int // how many servers there were before
	takeover int // of emitted, the first that a server may tell
	failedAt int64
	base     int64 // keys are above it
}

// simMode says what kind of source it is.
type simMode struct {
	full      bool // REPLICA IDENTITY FULL: whole before images, no placeholders, deferrable keys
	txMeta    bool // transaction blocks
	bare      bool // no positions
	tombs     bool
	repeats   bool // connector restarts repeat events
	late      bool // events come late inside their partition
	truncates bool
	snapshots bool // incremental snapshots
	resnap    bool // the source's log is lost now and then: changes are never told, and a new snapshot of all rows follows
	keyChange bool
	gaps      bool // values may be unknown in the end
	noHints   bool // headers of key changes are lost
	failover  int  // another server takes over, whose log begins anew: so many times, far from each other
	named     bool // events name the log that they are from
	parts     int
	keys      int64
}

type simRow struct {
	id   int64
	a    int64
	body string // large: unchanged values are not sent
	tags []string
}

type simEvent struct {
	c    connectors.Change // without record
	part int
	tomb bool
}

var simShape = &connectors.Shape{Names: []string{"id", "a", "body", "tags"},
	Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.String), schema.ArrayOf(schema.Of(schema.String))}}
var simKey = &connectors.Shape{Names: []string{"id"}, Types: []schema.Type{schema.Of(schema.Long)}}

func newSource(rng *rand.Rand, mode simMode) *source {
	s := &source{rng: rng, mode: mode, rows: map[int64]simRow{}, lsn: 1 << 36, seq0: 1<<36 - 8, ts: 1_790_000_000_000_000_000,
		src: &connectors.Source{Connector: "postgresql", Name: "sim", DB: "d", Schema: "public", Table: "t"}, name: "sim.public.t"}
	if mode.resnap {
		s.src.Connector = "mariadb" // positions follow commits, and begin with the transaction, as those of this source do
	}
	s.offsets = make([]int64, mode.parts)
	s.parts = make([][]connectors.Change, mode.parts)
	return s
}

func keyRow(id int64) connectors.Row {
	return connectors.Row{Shape: simKey, Values: []connectors.Value{connectors.Int(schema.Long, id)}}
}

func (r simRow) values() connectors.Row {
	var tags []connectors.Value
	for _, t := range r.tags {
		tags = append(tags, connectors.Text(t))
	}
	body := connectors.Text(r.body)
	if r.body == "" {
		body = connectors.NullValue()
	}
	return connectors.Row{Shape: simShape, Values: []connectors.Value{connectors.Int(schema.Long, r.id), connectors.Int(schema.Long, r.a), body,
		connectors.Nested(schema.Array, tags)}}
}

func (s *source) partOf(id int64) int { return int(uint64(id*7919) % uint64(s.mode.parts)) }

// change makes an event of the current transaction.
func (s *source) change(op connectors.Op, id int64) connectors.Change {
	s.lsn += 8 + uint64(s.rng.IntN(3))*8
	s.txN++
	c := connectors.Change{Kind: connectors.RowChange, Op: op, Source: s.src, Key: keyRow(id), SourceTsNs: s.ts, PosQuality: connectors.Exact}
	s.position(&c, s.lsn)
	return c
}

// fail lets another server take over: its log begins anew, far below, and its clock goes on.
func (s *source) fail() {
	s.server++
	s.takeover = len(s.emitted) + 120
	s.failedAt = s.ts
	s.lsn = 1<<20 + uint64(s.rng.IntN(1000))*8
	s.seq0 = s.lsn - 8
}

// replayable gives the events that a connector can send once more: those of the log that there is. Where events name their logs, those of others are
// known again, too.
func (s *source) replayable(in []connectors.Change) []connectors.Change {
	if s.mode.named || s.server == 0 {
		return in
	}
	gone := map[int64]bool{} // keys whose last change was of an older log: their tombstone records are, too
	return slices.DeleteFunc(slices.Clone(in), func(c connectors.Change) bool {
		if c.Key.IsZero() {
			return c.SourceTsNs <= s.failedAt
		}
		key := c.Key.Values[0].Int
		if c.Kind == connectors.RowChange {
			gone[key] = c.SourceTsNs <= s.failedAt
		}
		return gone[key]
	})
}

func (s *source) position(c *connectors.Change, lsn uint64) {
	if s.mode.named {
		c.Lineage = connectors.Lineage(fmt.Sprintf("mysql/%d/binlog", s.server))
	}
	if s.mode.bare {
		c.PosQuality = connectors.OffsetOnly
		return
	}
	b := binary.BigEndian.AppendUint64(nil, s.seq0)
	b = binary.BigEndian.AppendUint64(b, lsn)
	order := int64(0)
	if s.mode.txMeta {
		c.SetTx(&connectors.Tx{ID: fmt.Sprintf("%d:%d", s.tx, lsn), Group: fmt.Sprint(s.tx), TotalOrder: s.txN})
		order = s.txN
	}
	b = binary.BigEndian.AppendUint64(b, uint64(order))
	sub := byte(2)
	switch c.Op {
	case connectors.Delete, connectors.Truncate:
		sub = 0
	case connectors.Read:
		sub = 1
	}
	c.Position = connectors.Position(append(b, sub))
}

// simCommit is the state of the database at a time.
type simCommit struct {
	ts   int64
	rows []string
}

func (s *source) emit(c connectors.Change, part int) {
	if c.Kind == connectors.RowChange && c.Op != connectors.Delete {
		s.upserts++
	}
	s.emitted = append(s.emitted, simEvent{c: c, part: part})
	if c.Op == connectors.Delete && s.mode.tombs {
		t := connectors.Change{Kind: connectors.Tombstone, Op: connectors.Delete, Key: c.Key}
		t.SetKeyHints(connectors.Row{}, c.NewKey())
		s.emitted = append(s.emitted, simEvent{c: t, part: part, tomb: true})
	}
}

// commit ends a transaction of fn's changes.
func (s *source) transaction(fn func()) {
	s.tx++
	s.txN = 0
	s.ts += 1_000_000 + int64(s.rng.IntN(50))*1_000_000
	fn()
	s.commits = append(s.commits, simCommit{s.ts, s.lines()})
	s.lsn += 40
	s.seq0 = s.lsn
}

func (s *source) insert(id int64) {
	r := simRow{id: id, a: s.rng.Int64N(1000), body: s.text(), tags: s.someTags()}
	s.rows[id] = r
	c := s.change(connectors.Insert, id)
	c.After = r.values()
	s.emit(c, s.partOf(id))
}

func (s *source) text() string {
	s.nextID++
	return fmt.Sprintf("text %d %s", s.nextID, strings.Repeat("x", s.rng.IntN(5)))
}

func (s *source) someTags() []string {
	s.nextID++
	return []string{fmt.Sprint("tag", s.nextID), "z"}[:1+s.rng.IntN(2)]
}

// hide replaces values that did not change by the placeholder.
func (s *source) hide(c *connectors.Change, bodySame, tagsSame bool) {
	if s.mode.full {
		return
	}
	v := append([]connectors.Value(nil), c.After.Values...)
	if bodySame && v[2].State == connectors.Present {
		v[2] = connectors.UnavailableValue()
	}
	if tagsSame {
		v[3] = connectors.UnavailableValue()
	}
	c.After.Values = v
}

func (s *source) update(id int64) {
	old := s.rows[id]
	r := old
	r.a = s.rng.Int64N(1000)
	switch s.rng.IntN(4) {
	case 0:
		r.body = s.text()
	case 1:
		r.tags = s.someTags()
	case 2:
		if s.rng.IntN(3) == 0 {
			r.body = ""
		}
	}
	s.rows[id] = r
	c := s.change(connectors.Update, id)
	c.After = r.values()
	s.hide(&c, r.body == old.body, strings.Join(r.tags, ",") == strings.Join(old.tags, ","))
	s.emit(c, s.partOf(id))
}

func (s *source) before(c *connectors.Change, r simRow) {
	if s.mode.full {
		c.Before, c.BeforeQuality = r.values(), connectors.BeforeFull
		return
	}
	c.Before, c.BeforeQuality = simRow{id: r.id}.values(), connectors.BeforeKeyOnly
}

func (s *source) delete(id int64) {
	r := s.rows[id]
	delete(s.rows, id)
	c := s.change(connectors.Delete, id)
	s.before(&c, r)
	s.emit(c, s.partOf(id))
}

// rekey emits the two halves of a key change of row r.
func (s *source) rekey(r simRow, to int64, touch bool) simRow {
	from := r.id
	old := r
	r.id = to
	if touch {
		r.a = s.rng.Int64N(1000)
		if s.rng.IntN(3) == 0 {
			r.body = s.text()
		}
	}
	d := s.change(connectors.Delete, from)
	lsn := s.lsn
	s.before(&d, old)
	if !s.mode.noHints {
		d.SetKeyHints(connectors.Row{}, keyRow(to))
	}
	s.emit(d, s.partOf(from))
	s.txN++
	c := connectors.Change{Kind: connectors.RowChange, Op: connectors.Insert, Source: s.src, Key: keyRow(to), SourceTsNs: s.ts, PosQuality: connectors.Exact}
	s.position(&c, lsn)
	c.After = r.values()
	if !s.mode.noHints {
		c.SetKeyHints(keyRow(from), connectors.Row{})
		s.hide(&c, r.body == old.body, true)
	}
	s.emit(c, s.partOf(to))
	return r
}

func (s *source) keyChange(from, to int64) {
	r := s.rows[from]
	delete(s.rows, from)
	s.rows[to] = s.rekey(r, to, s.rng.IntN(2) == 0)
}

// shift moves every key by one, row by row in any order, as a deferrable key allows.
func (s *source) shift(by int64) {
	ids := s.ids()
	s.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	was := s.rows
	s.rows = map[int64]simRow{}
	for _, id := range ids {
		s.rows[id+by] = s.rekey(was[id], id+by, false)
	}
}

func (s *source) ids() []int64 {
	var ids []int64
	for id := range s.rows {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

func (s *source) truncate() {
	s.rows = map[int64]simRow{}
	c := s.change(connectors.Truncate, 0)
	c.Kind, c.Key = connectors.TruncateTable, connectors.Row{}
	s.emit(c, s.rng.IntN(s.mode.parts))
}

// snapshot emits some rows as an incremental snapshot does: at the position of the last commit.
func (s *source) snapshot() {
	for _, id := range s.ids() {
		if s.rng.IntN(2) == 0 {
			continue
		}
		c := connectors.Change{Kind: connectors.RowChange, Op: connectors.Read, Snapshot: connectors.SnapshotIncremental, Source: s.src,
			Key: keyRow(id), SourceTsNs: s.ts, PosQuality: connectors.Exact, After: s.rows[id].values()}
		s.txN = 0
		meta := s.mode.txMeta
		s.mode.txMeta = false
		s.position(&c, s.seq0)
		s.mode.txMeta = meta
		s.emit(c, s.partOf(id))
	}
}

// resnapshot loses what a transaction did and emits all rows as a new snapshot does, the last one marked.
func (s *source) resnapshot() {
	n := len(s.emitted)
	s.transaction(func() {
		for range 1 + s.rng.IntN(6) {
			ids := s.ids()
			switch k := s.rng.IntN(3); {
			case len(ids) > 1 && k == 0:
				s.delete(ids[s.rng.IntN(len(ids))])
			case len(ids) > 0 && k == 1:
				s.update(ids[s.rng.IntN(len(ids))])
			default:
				if id := s.base + s.rng.Int64N(s.mode.keys*2) + 1; s.rows[id].id == 0 {
					s.insert(id)
				}
			}
		}
	})
	s.emitted = s.emitted[:n]
	ids := s.ids()
	for i, id := range ids {
		c := connectors.Change{Kind: connectors.RowChange, Op: connectors.Read, Snapshot: connectors.SnapshotTrue, Source: s.src,
			Key: keyRow(id), SourceTsNs: s.ts, PosQuality: connectors.Exact, After: s.rows[id].values()}
		if i == len(ids)-1 {
			c.Snapshot = connectors.SnapshotLastInCollection
		}
		s.position(&c, s.seq0)
		s.emit(c, s.partOf(id))
	}
}

func (s *source) step() {
	ids := s.ids()
	free := func() int64 {
		for {
			id := s.base + s.rng.Int64N(s.mode.keys*2) + 1
			if _, ok := s.rows[id]; !ok {
				return id
			}
		}
	}
	n := 1 + s.rng.IntN(4)
	if s.mode.resnap && len(s.rows) > 0 && s.rng.IntN(8) == 0 {
		s.resnapshot()
	}
	if s.mode.snapshots && s.rng.IntN(8) == 0 {
		s.snapshot()
	}
	if s.server < s.mode.failover && len(s.emitted) > s.takeover && s.rng.IntN(6) == 0 {
		s.fail()
	}
	s.transaction(func() {
		for range n {
			ids = s.ids()
			one := func() int64 { return ids[s.rng.IntN(len(ids))] }
			switch k := s.rng.IntN(20); {
			case len(ids) == 0 || k < 4 && int64(len(ids)) < s.mode.keys:
				s.insert(free())
			case k < 12:
				s.update(one())
			case k < 14:
				s.delete(one())
			case k < 17 && s.mode.keyChange:
				s.keyChange(one(), free())
			case k == 17 && s.mode.keyChange && s.mode.full && len(ids) < 12:
				s.shift(1 - 2*s.rng.Int64N(2))
			case k == 18 && s.mode.truncates && s.rng.IntN(3) == 0:
				s.truncate()
			case k == 19 && s.mode.keyChange: // a swap by way of a key that is free
				if len(ids) > 1 {
					a, b, tmp := ids[0], ids[len(ids)-1], free()
					s.keyChange(a, tmp)
					s.keyChange(b, a)
					s.keyChange(tmp, b)
				}
			default:
				s.update(one())
			}
		}
	})
}

// publish puts what was emitted into the topic: with repeats where the connector restarts, and events that come late.
func (s *source) publish() {
	last := int64(0)
	put := func(e simEvent) {
		c := e.c
		c.Record = &connectors.Record{Topic: s.name, Partition: int32(e.part), Offset: s.offsets[e.part], TimestampMs: s.ts/1_000_000 + s.offsets[e.part]}
		if s.mode.failover > 0 { // a clock is how a new log is told from a repeat: Kafka's is that of the source
			if c.SourceTsNs != 0 {
				last = c.SourceTsNs / 1_000_000
			}
			c.Record.TimestampMs = last
		}
		s.offsets[e.part] += 1 + s.rng.Int64N(2)
		s.parts[e.part] = append(s.parts[e.part], c)
	}
	type held struct {
		e     simEvent
		after int
	}
	var late []held
	for i := 0; i < len(s.emitted); i++ {
		e := s.emitted[i]
		if s.mode.late && !e.tomb && e.c.Snapshot == connectors.NotSnapshot && s.rng.IntN(15) == 0 {
			late = append(late, held{e, i + 1 + s.rng.IntN(12)})
			if i+1 < len(s.emitted) && s.emitted[i+1].tomb {
				i++
				late = append(late, held{s.emitted[i], late[len(late)-1].after})
			}
		} else {
			put(e)
		}
		for len(late) > 0 && late[0].after <= i {
			put(late[0].e)
			late = late[1:]
		}
		if s.mode.repeats && s.rng.IntN(40) == 0 {
			// Killed and started again: what was sent since the last flush of offsets is sent once more.
			for _, h := range late {
				put(h.e)
			}
			late = nil
			i = max(-1, i-s.rng.IntN(25))
			for i >= 0 && i+1 < len(s.emitted) && s.emitted[i+1].tomb {
				i--
			}
		}
	}
	for _, h := range late {
		put(h.e)
	}
	s.emitted = nil
}

// lines are the rows as canonical JSON of the source's columns.
func (s *source) lines() []string {
	var out []string
	for _, id := range s.ids() {
		r := s.rows[id]
		body := fmt.Sprintf("%q", r.body)
		if r.body == "" {
			body = "null"
		}
		out = append(out, fmt.Sprintf(`{"a":%d,"body":%s,"id":%d,"tags":["%s"]}`, r.a, body, r.id, strings.Join(r.tags, `","`)))
	}
	sort.Strings(out)
	return out
}
