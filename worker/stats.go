package worker

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/silver"
)

// Stats is a snapshot of what a node does.
type Stats struct {
	Node   string
	Topics []TopicStats // by connector and topic
	Tables []TableStats // by connector and table
	Tasks  []TaskStats  // by task
	Memory MemoryStats
}

// TopicStats is about one topic that this node reads, and its bronze table.
type TopicStats struct {
	Connector, Topic string
	// Bronze is the table's path, Rows the rows that it has in all.
	Bronze string
	Rows   int64
	// Appended, Bytes (of files) and Commits count since the start.
	Appended, Bytes, Commits int64
	// Undecodable counts records that went to the dead letters at decoding.
	Undecodable int64
	// Lag is how many offsets of the partitions of this node are not in bronze yet.
	Lag        int64
	LastCommit time.Time
	Trouble    string
	Partitions []PartitionStats
}

// PartitionStats is about one partition.
type PartitionStats struct {
	Partition int32
	// End is the partition's end in Kafka as last seen, Committed the offset up to which it is in bronze, Merged up to which
	// it is in silver; -1 where not known.
	End, Committed, Merged int64
}

// TableStats is about one silver table.
type TableStats struct {
	Connector, Table string
	Topics           []string
	// Rows that the table has, Version of the table.
	Rows, Version int64
	// Events, Upserted, Deleted, DeadLetters and Merges count since the start.
	Events, Upserted, Deleted, DeadLetters, Merges int64
	// IndexBytes is the memory of the key index, IndexDisk what of it is in a file, IndexMismatches how often it did not agree with the
	// table since the start.
	IndexBytes, IndexDisk, IndexMismatches int64
	// Lag is how many offsets in Kafka, of partitions that this node has seen, the table does not show yet.
	Lag        int64
	LastCommit time.Time
	// P50 and P99 are the freshness of the last minute: from the record's time in Kafka to the commit that shows it. 0: nothing
	// was merged.
	P50, P99 time.Duration
	Trouble  string
}

// TaskStats is about one task.
type TaskStats struct {
	Task  ownership.TaskID
	State ownership.State
	Trace string
}

// MemoryStats are the bytes that the budgets have given out: records as fetched, rows on their way to bronze, changes kept in memory on
// their way to silver, and changes that were read from bronze files.
type MemoryStats struct{ Fetched, Rows, Hot, Cold int64 }

// statistics collects the figures. All methods are safe for concurrent use.
type statistics struct {
	rt   *Runtime
	cold atomic.Int64 // versions that were read from files
	// Commits that the tables' logs refused, since another writer has moved the progress (D2).
	refusedBronze, refusedSilver atomic.Int64
	conflicts                    atomic.Int64 // commits that met a version that another node had written

	mu         sync.Mutex
	topics     map[topicKey]*topicFigures
	tables     map[topicKey]*tableFigures
	partitions map[topicPartition]*partitionFigures
	tasks      map[ownership.TaskID]TaskStats
}

// RefusedCommits counts the commits that tables' logs have refused since the start, since another writer had moved the progress (D2).
func (r *Runtime) RefusedCommits() int64 {
	return r.stats.refusedBronze.Load() + r.stats.refusedSilver.Load()
}

// topicKey is connector and topic, or connector and table.
type topicKey struct{ connector, name string }

type topicPartition struct {
	connector, topic string
	partition        int32
}

type topicFigures struct {
	path     string
	appender *bronze.Appender
}

// partitionFigures are those of one partition: asked of its pump, or, after the pump has ended, as they were last.
type partitionFigures struct {
	merged atomic.Int64

	mu              sync.Mutex
	end, committed  int64
	readEnd, commit func() int64
}

func newStatistics(rt *Runtime) *statistics {
	return &statistics{
		rt: rt, topics: map[topicKey]*topicFigures{}, tables: map[topicKey]*tableFigures{},
		partitions: map[topicPartition]*partitionFigures{}, tasks: map[ownership.TaskID]TaskStats{},
	}
}

func (s *statistics) appender(connector, topic, path string, a *bronze.Appender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[topicKey{connector, topic}] = &topicFigures{path: path, appender: a}
}

func (s *statistics) partition(connector, topic string, partition int32) *partitionFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := topicPartition{connector, topic, partition}
	p := s.partitions[k]
	if p == nil {
		p = &partitionFigures{end: -1, committed: -1}
		p.merged.Store(-1)
		s.partitions[k] = p
	}
	return p
}

// follow makes the figures those of a pump.
func (p *partitionFigures) follow(committed, end func() int64) {
	p.mu.Lock()
	p.commit, p.readEnd = committed, end
	p.mu.Unlock()
}

func (p *partitionFigures) get() (end, committed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.commit != nil {
		p.committed, p.end = max(p.committed, p.commit()), max(p.end, p.readEnd())
	}
	return p.end, p.committed
}

// progress is how far partitions were in bronze at some time.
type progress map[*partitionFigures]int64

// committed gives the progress of the partitions that are in a bronze table.
func (s *statistics) committed(connector, bronze string) progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := progress{}
	for k, p := range s.partitions {
		if t := s.topics[topicKey{connector, k.topic}]; k.connector == connector && t != nil && t.path == bronze {
			_, out[p] = p.get()
		}
	}
	return out
}

// merged says that silver shows all of it, also what changed no row: dead letters, markers of transactions, and what was merged before this
// process began.
func (ps progress) merged() {
	for p, next := range ps {
		p.show(next)
	}
}

// show moves up to where the partition is merged.
func (p *partitionFigures) show(next int64) {
	for {
		now := p.merged.Load()
		if next <= now || p.merged.CompareAndSwap(now, next) {
			return
		}
	}
}

func (s *statistics) table(connector, path string, topics []string) *tableFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := topicKey{connector, path}
	t := s.tables[k]
	if t == nil {
		t = &tableFigures{s: s, connector: connector, topics: slices.Clone(topics)}
		s.tables[k] = t
	}
	return t
}

func (s *statistics) state(id ownership.TaskID, state ownership.State, trace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[id] = TaskStats{Task: id, State: state, Trace: trace}
}

// forget drops the figures of a task that is no longer here.
func (s *statistics) forget(id ownership.TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, id)
	if id.Kind == ownership.TableTask {
		delete(s.tables, topicKey{id.Connector, id.Table})
		return
	}
	for other := range s.tasks {
		if other.Kind == ownership.PartitionTask && other.Connector == id.Connector && other.Topic == id.Topic {
			return // the topic has other partitions here
		}
	}
	delete(s.topics, topicKey{id.Connector, id.Topic})
	for k := range s.partitions {
		if k.connector == id.Connector && k.topic == id.Topic {
			delete(s.partitions, k)
		}
	}
}

// tableFigures are those of one silver table.
type tableFigures struct {
	s         *statistics
	connector string
	topics    []string

	mu     sync.Mutex
	last   time.Time
	stats  silver.Stats
	events int64
	bad    int64
	merges int64
	now    freshness
	total  freshness
	before freshness
	turned time.Time
}

// merged takes in what a merge did. at is when it was committed; the zero time: nothing was merged, only the table opened.
func (t *tableFigures) merged(stats silver.Stats, res silver.Result, batches []silver.Batch, at time.Time) {
	var fresh freshness
	type end struct {
		key  topicPartition
		next int64
	}
	var ends []end
	ms := at.UnixMilli()
	for _, b := range batches {
		for i := range b.Changes {
			r := b.Changes[i].Record
			if r.TimestampMs > 0 {
				fresh.add(ms - r.TimestampMs)
			}
			if k := len(ends); k > 0 && ends[k-1].key.partition == r.Partition && ends[k-1].key.topic == r.Topic {
				ends[k-1].next = r.Offset + 1
			} else {
				ends = append(ends, end{topicPartition{t.connector, r.Topic, r.Partition}, r.Offset + 1})
			}
		}
	}
	for _, e := range ends {
		t.s.partition(e.key.connector, e.key.topic, e.key.partition).show(e.next)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats = stats
	if at.IsZero() {
		return
	}
	t.merges++
	t.events += int64(res.Events)
	t.bad += int64(res.DeadLetters)
	if res.Committed {
		t.last = at
	}
	if at.Sub(t.turned) > 30*time.Second {
		t.before, t.now, t.turned = t.now, freshness{}, at
	}
	t.now.merge(&fresh)
	t.total.merge(&fresh)
}

// freshness counts records by how long they took, in buckets that are 1/8 of a power of two wide: quantiles are right to
// within 12 %.
type freshness struct {
	buckets [256]int64
	n       int64
	sum     int64 // ms
}

func (f *freshness) add(ms int64) {
	f.buckets[bucketOf(ms)]++
	f.n++
	f.sum += max(ms, 0)
}

func (f *freshness) merge(o *freshness) {
	for i, n := range o.buckets {
		f.buckets[i] += n
	}
	f.n += o.n
	f.sum += o.sum
}

// bucketOf: 0..15 exactly, then 8 buckets for each doubling.
func bucketOf(ms int64) int {
	if ms < 16 {
		return int(max(ms, 0))
	}
	shift := 0
	for v := ms; v >= 16; v >>= 1 {
		shift++
	}
	return min(16+(shift-1)*8+int(ms>>shift)-8, 255)
}

// upper is the largest value of a bucket, in ms.
func upper(bucket int) int64 {
	if bucket < 16 {
		return int64(bucket)
	}
	shift := (bucket-16)/8 + 1
	return (int64((bucket-16)%8+8)+1)<<shift - 1
}

func (f *freshness) quantile(q float64) time.Duration {
	if f.n == 0 {
		return 0
	}
	rank, seen := int64(q*float64(f.n)+0.5), int64(0)
	for i, n := range f.buckets {
		if seen += n; seen >= rank && n > 0 {
			return time.Duration(upper(i)) * time.Millisecond
		}
	}
	return 0
}

// Stats gives a snapshot of what the node does. It asks no store and no broker.
func (r *Runtime) Stats() Stats {
	s := r.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Node: r.o.Node, Memory: MemoryStats{Fetched: r.clients.budget.Used(), Rows: r.memory.Used(), Hot: r.feeds.bytes(), Cold: r.coldRoom.budget.Used()}}
	for _, t := range s.tasks {
		out.Tasks = append(out.Tasks, t)
	}
	slices.SortFunc(out.Tasks, func(a, b TaskStats) int { return a.Task.Compare(b.Task) })
	lag := func(connector, topic string, of func(PartitionStats) int64) (n int64, ps []PartitionStats) {
		for k, p := range s.partitions {
			if k.connector != connector || k.topic != topic {
				continue
			}
			x := PartitionStats{Partition: k.partition, Merged: p.merged.Load()}
			x.End, x.Committed = p.get()
			ps = append(ps, x)
			if at := of(x); x.End > at {
				n += x.End - max(at, 0)
			}
		}
		slices.SortFunc(ps, func(a, b PartitionStats) int { return cmp.Compare(a.Partition, b.Partition) })
		return n, ps
	}
	for k, t := range s.topics {
		a := t.appender.Stats()
		x := TopicStats{
			Connector: k.connector, Topic: k.name, Bronze: t.path, Rows: t.appender.TableRows(), Appended: a.Rows, Bytes: a.Bytes,
			Commits: a.Commits, Undecodable: a.Undecodable, LastCommit: a.LastCommit, Trouble: a.Trouble,
		}
		x.Lag, x.Partitions = lag(k.connector, k.name, func(p PartitionStats) int64 { return p.Committed })
		out.Topics = append(out.Topics, x)
	}
	slices.SortFunc(out.Topics, func(a, b TopicStats) int {
		return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Topic, b.Topic))
	})
	for k, t := range s.tables {
		x := t.snapshot(k)
		for _, topic := range t.topics {
			n, _ := lag(k.connector, topic, func(p PartitionStats) int64 { return p.Merged })
			x.Lag += n
		}
		x.Trouble = s.tasks[ownership.TaskID{Connector: k.connector, Kind: ownership.TableTask, Table: k.name}].Trace
		out.Tables = append(out.Tables, x)
	}
	slices.SortFunc(out.Tables, func(a, b TableStats) int {
		return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Table, b.Table))
	})
	return out
}

func (t *tableFigures) snapshot(k topicKey) TableStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	recent := t.now
	recent.merge(&t.before)
	return TableStats{
		Connector: k.connector, Table: k.name, Topics: t.topics, Rows: t.stats.Rows, Version: t.stats.Version,
		Events: t.events, Upserted: t.stats.Upserted, Deleted: t.stats.Deleted, DeadLetters: t.bad, Merges: t.merges,
		IndexBytes: t.stats.IndexBytes, IndexDisk: t.stats.IndexDisk, IndexMismatches: t.stats.Mismatches,
		LastCommit: t.last, P50: recent.quantile(0.5), P99: recent.quantile(0.99),
	}
}

// Freshness gives the quantile q of how long records took from Kafka to a commit of the table, over all that this node has merged.
func (r *Runtime) Freshness(connector, table string, q float64) time.Duration {
	r.stats.mu.Lock()
	t := r.stats.tables[topicKey{connector, table}]
	r.stats.mu.Unlock()
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total.quantile(q)
}

// ResetFreshness begins the counting of Freshness anew, for measurements.
func (r *Runtime) ResetFreshness() {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	for _, t := range r.stats.tables {
		t.mu.Lock()
		t.now, t.total, t.before = freshness{}, freshness{}, freshness{}
		t.mu.Unlock()
	}
}
