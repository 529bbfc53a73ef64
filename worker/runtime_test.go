package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/worker/bronze"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is an Ownership that the test sets by hand.
type cluster struct {
	mu       sync.Mutex
	conns    []ownership.Connector
	mine     []ownership.Assignment
	changed  chan struct{}
	statuses map[ownership.TaskID]ownership.TaskStatus
	released map[ownership.TaskID]uint64
	active   map[string]bool // connector/topic
	down     bool
}

func newCluster() *cluster {
	return &cluster{changed: make(chan struct{}), statuses: map[ownership.TaskID]ownership.TaskStatus{}, released: map[ownership.TaskID]uint64{}}
}

func (c *cluster) Owned() ([]ownership.Connector, []ownership.Assignment, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns, c.mine, c.changed
}

func (c *cluster) Release(_ context.Context, id ownership.TaskID, epoch uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return ownership.ErrNoLeader
	}
	c.released[id] = epoch
	return nil
}

func (c *cluster) Report(_ context.Context, ss []ownership.TaskStatus) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return ownership.ErrNoLeader
	}
	for _, s := range ss {
		c.statuses[s.ID] = s
	}
	return nil
}

func (c *cluster) AddActiveTopics(_ context.Context, connector string, topics ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return ownership.ErrNoLeader
	}
	for _, t := range topics {
		if c.active == nil {
			c.active = map[string]bool{}
		}
		c.active[connector+"/"+t] = true
	}
	return nil
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) status(id ownership.TaskID) ownership.TaskStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statuses[id]
}

// world is a runtime with its broker, its lake and its cluster.
type world struct {
	t    *testing.T
	b    *broker.Broker
	c    *cluster
	lake store.Bucket
	rt   *Runtime
	stop context.CancelFunc
	done chan error
	log  *slog.Logger // nil: none

	metrics *prometheus.Registry
}

func newWorld(t *testing.T, lake store.Bucket, opts ...kfake.Opt) *world {
	t.Helper()
	w := &world{t: t, b: broker.Start(t, opts...), c: newCluster(), lake: lake}
	return w
}

type unclosed struct{ store.Bucket }

func (unclosed) Close() error { return nil }

func (w *world) start() {
	w.t.Helper()
	log := w.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if os.Getenv("SLUICE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.metrics = prometheus.NewRegistry()
	rt, err := New(Options{
		Registerer: w.metrics,
		Node:       "n1", Ownership: w.c, Kafka: kafka.Properties{"bootstrap.servers": w.b.Servers()}, Formats: formats.Default(),
		OpenLake: func(context.Context, string) (store.Bucket, error) { return unclosed{w.lake}, nil },
		DataDir:  w.t.TempDir(), MemoryLimit: 64 << 20, Grace: 5 * time.Second, Logger: log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.rt, w.stop, w.done = rt, cancel, make(chan error, 1)
	go func() { w.done <- rt.Run(ctx) }()
	w.t.Cleanup(w.end)
}

func (w *world) end() {
	if w.done == nil {
		return
	}
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Error("run: ", err)
	}
	w.done = nil
}

func connector(name string, extra ...string) ownership.Connector {
	conf := map[string]string{
		"connector.class": "LakehouseSink", "topics": "shop.public.orders", "lake.url": "mem://lake", "commit.interval.ms": "50", "cdc.format": "debezium",
		"value.converter.schemas.enable": "false",
	}
	for i := 0; i+1 < len(extra); i += 2 {
		conf[extra[i]] = extra[i+1]
	}
	return ownership.Connector{Name: name, Config: conf, Target: ownership.TargetRunning, Version: 1}
}

const topic = "shop.public.orders"

func partitionTask(group int32, partitions ...int32) ownership.Task {
	return ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.PartitionTask, Topic: topic, Group: group}, Partitions: partitions}
}

func tableTask() ownership.Task {
	return ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: "silver/" + topic}, Topics: []string{topic}}
}

func own(epoch uint64, tasks ...ownership.Task) []ownership.Assignment {
	var out []ownership.Assignment
	for _, t := range tasks {
		out = append(out, ownership.Assignment{Task: t, Node: "n1", Epoch: epoch})
	}
	return out
}

// order is a Debezium PostgreSQL event.
func order(p int32, id, lsn int) *kgo.Record {
	v := fmt.Sprintf(`{"before":null,"after":{"id":%d,"total":"%d.50","note":"n%d"},"source":{"version":"3.0","connector":"postgresql","name":"shop",`+
		`"ts_ms":1790000000000,"snapshot":"false","db":"d","sequence":"[\"%d\",\"%d\"]","schema":"public","table":"orders","txId":%d,"lsn":%d,"xmin":null},`+
		`"transaction":null,"op":"c","ts_ms":1790000000123}`, id, id, id, lsn, lsn, lsn, lsn)
	return broker.Rec(topic, p, fmt.Sprintf(`{"id":%d}`, id), v)
}

func (w *world) produce(p int32, from, n int) {
	var recs []*kgo.Record
	for i := from; i < from+n; i++ {
		recs = append(recs, order(p, int(p)*1_000_000+i, 1000+i))
	}
	w.b.Put(recs...)
}

// progress gives a partition's txn in bronze.
func (w *world) progress(p int32) int64 {
	t, err := delta.Open(context.Background(), w.lake, "bronze/"+topic)
	if err != nil {
		return -1
	}
	s, err := t.Snapshot(context.Background())
	if err != nil {
		return -1
	}
	if v, ok := s.Txn(bronze.AppID("c", topic, p)); ok {
		return v
	}
	return -1
}

func (w *world) rows() int64 {
	t, err := delta.Open(context.Background(), w.lake, "bronze/"+topic)
	if err != nil {
		return 0
	}
	s, err := t.Snapshot(context.Background())
	if err != nil {
		return 0
	}
	n, _ := s.NumRecords()
	return n
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestBronzeFromBrokerToTable(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 3)
	for p := range int32(3) {
		w.produce(p, 0, 100)
	}
	w.start()
	tasks := []ownership.Task{partitionTask(0, 0, 2), partitionTask(1, 1), tableTask()}
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, tasks...) })
	until(t, "all rows in bronze", func() bool { return w.progress(0) == 100 && w.progress(1) == 100 && w.progress(2) == 100 })
	if n := w.rows(); n != 300 {
		t.Errorf("%d rows", n)
	}
	until(t, "all tasks RUNNING", func() bool {
		for _, k := range tasks {
			if w.c.status(k.ID).State != ownership.Running {
				return false
			}
		}
		return true
	})
	for p := range int32(3) {
		w.produce(p, 100, 50)
	}
	until(t, "the rest too", func() bool { return w.rows() == 450 })
	until(t, "silver follows", func() bool {
		st := w.rt.Stats()
		return len(st.Tables) == 1 && st.Tables[0].Events == 450 && st.Tables[0].Lag == 0 && st.Tables[0].P99 > 0
	})
	st := w.rt.Stats()
	if len(st.Topics) != 1 || st.Topics[0].Appended != 450 || st.Topics[0].Lag != 0 || st.Topics[0].Rows != 450 || len(st.Topics[0].Partitions) != 3 {
		t.Errorf("stats %+v", st.Topics)
	}
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			seen[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if seen["sluice_bronze_rows_total"] != 450 || seen["sluice_silver_freshness_seconds"] != 450 || seen["sluice_silver_lag_records"] != 0 || seen["sluice_tasks"] != 3 {
		t.Errorf("metrics %v", seen)
	}
	until(t, "the topic is told to be active", func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.active["c/"+topic]
	})
	until(t, "group offsets follow", func() bool { return w.groupOffset("connect-c", 1) == 150 })
}

func (w *world) groupOffset(group string, p int32) int64 {
	for topicName, ps := range w.b.GroupOffsets(group) {
		if topicName == topic {
			return ps[p]
		}
	}
	return -1
}

func TestPauseResumeRestartStop(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.produce(0, 0, 10)
	w.start()
	task := partitionTask(0, 0)
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, task) })
	until(t, "ten rows", func() bool { return w.rows() == 10 })
	w.c.set(func() { w.c.conns[0].Target = ownership.TargetPaused })
	until(t, "PAUSED", func() bool { return w.c.status(task.ID).State == ownership.Paused })
	until(t, "the topic is told to be active, however short it was", func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.active["c/"+topic]
	})
	w.produce(0, 10, 10)
	w.c.set(func() { w.c.conns[0].Target = ownership.TargetRunning })
	until(t, "twenty rows", func() bool { return w.rows() == 20 })
	w.c.set(func() { w.c.mine = own(6, task) })
	w.produce(0, 20, 10)
	until(t, "thirty rows", func() bool { return w.rows() == 30 && w.c.status(task.ID).Epoch == 6 })
	w.c.set(func() { w.c.down = true; w.c.mine = own(6, task); w.c.mine[0].Revoked = true })
	w.c.set(func() { w.c.down = false })
	until(t, "released, when there is a leader again", func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.released[task.ID] == 6
	})
	w.c.set(func() { w.c.mine = nil })
	until(t, "forgotten", func() bool { return len(w.rt.Stats().Tasks) == 0 })
}

func TestTopicThatDoesNotExistYet(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.start()
	task := partitionTask(0, 0)
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, task, tableTask()) })
	until(t, "a status that says so", func() bool {
		s := w.c.status(task.ID)
		return s.State == ownership.Running && strings.Contains(s.Trace, "does not exist yet")
	})
	w.b.Topic(topic, 1)
	w.produce(0, 0, 5)
	until(t, "rows", func() bool { return w.rows() == 5 && w.c.status(task.ID).Trace == "" })
}

func TestEndBelowTheTablesProgressFails(t *testing.T) {
	lake := mem.New("lake")
	w := newWorld(t, lake)
	w.b.Topic(topic, 1)
	w.produce(0, 0, 10)
	w.start()
	task := partitionTask(0, 0)
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, task) })
	until(t, "ten rows", func() bool { return w.rows() == 10 })
	w.end()

	other := newWorld(t, lake) // another broker, where the topic is new: other id, lower end
	other.b.Topic(topic, 1)
	other.produce(0, 0, 3)
	other.start()
	other.c.set(func() { other.c.conns = []ownership.Connector{connector("c")}; other.c.mine = own(7, task) })
	until(t, "FAILED", func() bool {
		s := other.c.status(task.ID)
		return s.State == ownership.Failed && strings.Contains(s.Trace, "deleted and created again")
	})
	if n := other.rows(); n != 10 {
		t.Errorf("%d rows", n)
	}
}

func TestDeadLettersOnceAndStreamGoesOn(t *testing.T) {
	lake := mem.New("lake")
	w := newWorld(t, lake)
	w.b.Topic(topic, 1)
	w.produce(0, 0, 3)
	w.b.Put(&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("{nonsense"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}})
	w.produce(0, 3, 3)
	w.start()
	task := partitionTask(0, 0)
	w.c.set(func() {
		w.c.conns = []ownership.Connector{connector("c", "errors.deadletterqueue.topic.name", "dlq", "errors.deadletterqueue.context.headers.enable", "true")}
		w.c.mine = own(5, task)
	})
	until(t, "seven rows", func() bool { return w.rows() == 7 })
	if st := w.rt.Stats(); st.Topics[0].Undecodable != 1 {
		t.Errorf("%d undecodable records are counted", st.Topics[0].Undecodable)
	}
	w.c.set(func() { w.c.mine = own(6, task) })
	w.produce(0, 6, 3)
	until(t, "ten rows", func() bool { return w.rows() == 10 })
	letters, err := delta.Open(context.Background(), lake, "bronze/_dead_letters")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := letters.Snapshot(context.Background())
	if n, _ := s.NumRecords(); n != 1 {
		t.Errorf("%d dead letters", n)
	}
	until(t, "a copy in the topic", func() bool { i := w.b.PartitionInfo("dlq", 0); return i != nil && i.HighWatermark == 1 })
}

// The dead-letter topic is made as admin.override.* says and written to as producer.override.* says: here in another cluster.
func TestDeadLettersGoWhereTheOverridesSay(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	other := broker.Start(t)
	w.b.Topic(topic, 1)
	w.b.Put(&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("{nonsense")})
	w.start()
	w.c.set(func() {
		w.c.conns = []ownership.Connector{connector("c", "errors.deadletterqueue.topic.name", "dlq", "admin.override.bootstrap.servers", other.Servers(),
			"producer.override.bootstrap.servers", other.Servers(), "producer.override.compression.type", "gzip", "consumer.override.client.id", "me")}
		w.c.mine = own(5, partitionTask(0, 0))
	})
	until(t, "a copy in the topic", func() bool { i := other.PartitionInfo("dlq", 0); return i != nil && i.HighWatermark == 1 })
	if w.b.PartitionInfo("dlq", 0) != nil {
		t.Error("the topic is in the worker's cluster, too")
	}
}

func TestWrongConfigurationFailsWithTheReason(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.start()
	task := partitionTask(0, 0)
	w.c.set(func() {
		w.c.conns = []ownership.Connector{connector("c", "commit.interval.ms", "soon")}
		w.c.mine = own(5, task)
	})
	until(t, "FAILED", func() bool {
		s := w.c.status(task.ID)
		return s.State == ownership.Failed && strings.Contains(s.Trace, "commit.interval.ms")
	})
}

// A column that no row has is nothing that passes: the table's task fails, and says what to do.
func TestPartitionColumnThatIsNotThereFails(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.produce(0, 0, 3)
	w.start()
	w.c.set(func() {
		w.c.conns = []ownership.Connector{connector("c", "silver.partition.by", "nope")}
		w.c.mine = own(5, partitionTask(0, 0), tableTask())
	})
	until(t, "FAILED", func() bool {
		s := w.c.status(tableTask().ID)
		return s.State == ownership.Failed && strings.Contains(s.Trace, `there is no column "nope"`) && strings.Contains(s.Trace, "change silver.partition.by")
	})
}

func TestBrokerDownIsRiddenOut(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.start()
	task := partitionTask(0, 0)
	c := connector("c", "consumer.override.bootstrap.servers", "127.0.0.1:1", "consumer.override.request.timeout.ms", "500")
	w.c.set(func() { w.c.conns = []ownership.Connector{c}; w.c.mine = own(5, task) })
	until(t, "a status that names the broker", func() bool {
		s := w.c.status(task.ID)
		return s.State == ownership.Running && strings.Contains(s.Trace, "127.0.0.1:1")
	})
}
