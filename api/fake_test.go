package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

// fakeCluster is a Cluster in memory that behaves as the real one does: writes are in force when they return, tasks
// are found a little later (at settle).
type fakeCluster struct {
	mu         sync.Mutex
	registry   *config.Registry
	partitions map[string]int32 // of the topics that there are
	connectors map[string]*fakeConnector
	members    []ownership.Member
	version    uint64
	err        error                     // of all writes
	elsewhere  map[string]*fakeConnector // agreed on, and not seen on this node before Sync
	busy       bool                      // a node still holds tasks
}

type fakeConnector struct {
	ownership.Connector
	state  ownership.ConnectorStatus
	tasks  []ownership.Task
	topics []string
	dirty  bool
}

func newFakeCluster(r *config.Registry) *fakeCluster {
	return &fakeCluster{
		registry: r, connectors: map[string]*fakeConnector{},
		partitions: map[string]int32{"orders": 2, "payments": 1, "poisoned": 1},
		members: []ownership.Member{
			{ID: "n1", PeerAddress: "10.0.0.1:8093", RESTAddress: "10.0.0.1:8083", Voter: true, Alive: true, Leader: true, Version: "1.0.0"},
			{ID: "n2", PeerAddress: "10.0.0.2:8093", RESTAddress: "10.0.0.2:8083", Voter: true, Alive: true, Version: "1.0.0"},
		},
	}
}

// settle does what the leader and the workers do between requests.
func (f *fakeCluster) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.connectors {
		f.settleOne(c)
	}
}

func (f *fakeCluster) settleOne(c *fakeConnector) {
	for i, t := range c.state.Tasks {
		if t.State == ownership.Restarting {
			c.state.Tasks[i].State = ownership.Running
			if t.Trace != "" {
				c.state.Tasks[i].State = ownership.Failed
			}
		}
	}
	if c.state.State == ownership.Restarting {
		c.state.State = ownership.Running
		if c.Target != ownership.TargetRunning {
			c.state.State = ownership.State(c.Target)
		}
	}
	if !c.dirty {
		return
	}
	c.dirty = false
	c.state.Node = "n1"
	c.state.State = ownership.State(c.Target)
	c.tasks, c.state.Tasks = nil, nil
	if strings.Contains(c.Config["mock_mode"], "connector-failure") {
		c.state.State, c.state.Trace = ownership.Failed, "java.lang.RuntimeException\n\tat here"
	}
	if c.Target == ownership.TargetStopped || c.Target == ownership.TargetPaused && len(c.state.Tasks) == 0 && c.Generation == c.Version {
		return
	}
	groups := 1
	if n, err := strconv.Atoi(c.Config["tasks.max"]); err == nil {
		groups = n
	}
	for _, topic := range strings.Split(c.Config["topics"], ",") {
		for g := range min(int32(groups), f.partitions[topic]) {
			t := ownership.Task{ID: ownership.TaskID{Connector: c.Name, Kind: ownership.PartitionTask, Topic: topic, Group: g}}
			for p := g; p < f.partitions[topic]; p += int32(groups) {
				t.Partitions = append(t.Partitions, p)
			}
			st := ownership.TaskStatus{ID: t.ID, Node: f.members[int(g)%2].ID, Epoch: c.Version, State: ownership.State(c.Target)}
			if topic == "poisoned" {
				st.State, st.Trace = ownership.Failed, "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler\n\tat here"
			}
			c.tasks = append(c.tasks, t)
			c.state.Tasks = append(c.state.Tasks, st)
		}
		if topic == "orders" {
			c.topics = []string{topic}
		}
	}
}

// find is for writes, read for reads: they go on without a leader.
func (f *fakeCluster) find(name string) (*fakeConnector, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.read(name)
}

func (f *fakeCluster) read(name string) (*fakeConnector, error) {
	c, ok := f.connectors[name]
	if !ok {
		return nil, fmt.Errorf("connector %s: %w", name, ownership.ErrNotFound)
	}
	return c, nil
}

func (f *fakeCluster) ClusterID() string { return "the-cluster-of-these-nodes" }

func (f *fakeCluster) Connectors() []ownership.Connector {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []ownership.Connector
	for _, n := range slices.Sorted(maps.Keys(f.connectors)) {
		out = append(out, f.connectors[n].Connector)
	}
	return out
}

// hide makes this node one that has not heard of any connector yet.
func (f *fakeCluster) hide() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.elsewhere, f.connectors = f.connectors, map[string]*fakeConnector{}
}

// Sync lets what another node has written be seen here.
func (f *fakeCluster) Sync(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	maps.Copy(f.connectors, f.elsewhere)
	f.elsewhere = nil
	return nil
}

func (f *fakeCluster) Connector(name string) (ownership.Connector, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.read(name)
	if err != nil {
		return ownership.Connector{}, err
	}
	return c.Connector, nil
}

func (f *fakeCluster) Status(name string) (ownership.ConnectorStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.read(name)
	if err != nil {
		return ownership.ConnectorStatus{}, err
	}
	st := c.state
	st.Tasks = slices.Clone(st.Tasks)
	return st, nil
}

func (f *fakeCluster) Tasks(name string) ([]ownership.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.read(name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.tasks), nil
}

func (f *fakeCluster) Idle(string) bool { return !f.busy }

func (f *fakeCluster) ActiveTopics(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.connectors[name]; ok {
		return c.topics
	}
	return nil
}

func (f *fakeCluster) Members() []ownership.Member { return f.members }

func (f *fakeCluster) Create(_ context.Context, name string, cfg map[string]string, initial ownership.TargetState) (ownership.Connector, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return ownership.Connector{}, f.err
	}
	if _, ok := f.connectors[name]; ok {
		return ownership.Connector{}, fmt.Errorf("connector %s: %w", name, ownership.ErrExists)
	}
	return f.enter(name, cfg, initial).Connector, nil
}

func (f *fakeCluster) enter(name string, cfg map[string]string, initial ownership.TargetState) *fakeConnector {
	f.version++
	c := &fakeConnector{
		Connector: ownership.Connector{Name: name, Config: cfg, Target: initial, Version: f.version, Generation: f.version},
		state:     ownership.ConnectorStatus{Name: name, State: ownership.Unassigned}, dirty: true,
	}
	if initial != ownership.TargetRunning {
		c.state.State = ownership.State(initial)
	}
	f.connectors[name] = c
	return c
}

func (f *fakeCluster) Put(_ context.Context, name string, cfg map[string]string) (ownership.Connector, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return ownership.Connector{}, false, f.err
	}
	c, ok := f.connectors[name]
	if !ok {
		return f.enter(name, cfg, ownership.TargetRunning).Connector, true, nil
	}
	f.change(c, cfg)
	return c.Connector, false, nil
}

func (f *fakeCluster) change(c *fakeConnector, cfg map[string]string) {
	if maps.Equal(c.Config, cfg) {
		return
	}
	f.version++
	c.Config, c.Version, c.dirty = cfg, f.version, true
}

func (f *fakeCluster) Patch(_ context.Context, name string, patch map[string]*string) (ownership.Connector, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return ownership.Connector{}, err
	}
	cfg := maps.Clone(c.Config)
	for k, v := range patch {
		if v == nil {
			delete(cfg, k)
		} else {
			cfg[k] = *v
		}
	}
	f.change(c, cfg)
	return c.Connector, nil
}

func (f *fakeCluster) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.find(name); err != nil {
		return err
	}
	delete(f.connectors, name)
	return nil
}

func (f *fakeCluster) SetTarget(_ context.Context, name string, target ownership.TargetState) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return err
	}
	f.version++
	if c.Target != target {
		c.Target, c.Generation, c.dirty = target, f.version, true
		if target == ownership.TargetStopped {
			c.tasks, c.state.Tasks, c.state.State = nil, nil, ownership.Stopped
		}
	}
	return nil
}

func (f *fakeCluster) Restart(_ context.Context, name string, o ownership.RestartOptions) (ownership.ConnectorStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return ownership.ConnectorStatus{}, err
	}
	if !o.OnlyFailed || c.state.State == ownership.Failed {
		c.state.State = ownership.Restarting
	}
	for i, t := range c.state.Tasks {
		if o.IncludeTasks && (!o.OnlyFailed || t.State == ownership.Failed) {
			c.state.Tasks[i].State = ownership.Restarting
		}
	}
	st := c.state
	st.Tasks = slices.Clone(st.Tasks)
	return st, nil
}

func (f *fakeCluster) RestartTask(_ context.Context, name string, number int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.find(name)
	if err != nil {
		return err
	}
	if number >= len(c.state.Tasks) {
		return fmt.Errorf("task %d: %w", number, ownership.ErrNotFound)
	}
	c.state.Tasks[number].State = ownership.Restarting
	return nil
}

func (f *fakeCluster) ResetActiveTopics(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.connectors[name]; ok {
		c.topics = nil
	}
	return f.err
}

// fakeLake is a Lake in memory: progress, and how far bronze holds records.
type fakeLake struct {
	mu      sync.Mutex
	cluster *fakeCluster
	next    map[string]map[string]Offset // connector → topic/partition → progress
	held    map[string]int64             // connector/topic/partition → first offset above what bronze holds
	block   bool
}

func newFakeLake(c *fakeCluster) *fakeLake {
	return &fakeLake{cluster: c, next: map[string]map[string]Offset{}, held: map[string]int64{}}
}

// fill puts records into bronze.
func (l *fakeLake) fill(connector, topic string, partition int32, next int64) {
	if l.next[connector] == nil {
		l.next[connector] = map[string]Offset{}
	}
	k := fmt.Sprintf("%s/%d", topic, partition)
	l.next[connector][k] = Offset{topic, partition, next}
	l.held[connector+"/"+k] = next
}

func (l *fakeLake) Offsets(ctx context.Context, c ownership.Connector) ([]Offset, error) {
	if l.block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Offset
	for _, k := range slices.Sorted(maps.Keys(l.next[c.Name])) {
		out = append(out, l.next[c.Name][k])
	}
	return out, nil
}

func (l *fakeLake) Move(_ context.Context, c ownership.Connector, to []Offset) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range to {
		if o.Partition >= l.cluster.partitions[o.Topic] {
			return fmt.Errorf("topic %s has no partition %d: %w", o.Topic, o.Partition, ownership.ErrInvalid)
		}
		if held := l.held[fmt.Sprintf("%s/%s/%d", c.Name, o.Topic, o.Partition)]; max(o.Next, 0) < held {
			return &BackwardError{Connector: c.Name, Topic: o.Topic, Partition: o.Partition, From: held, To: o.Next}
		}
	}
	for _, o := range to {
		k := fmt.Sprintf("%s/%d", o.Topic, o.Partition)
		if o.Next < 0 {
			delete(l.next[c.Name], k)
			continue
		}
		if l.next[c.Name] == nil {
			l.next[c.Name] = map[string]Offset{}
		}
		l.next[c.Name][k] = o
	}
	return nil
}

func (l *fakeLake) Tables(context.Context) ([]Table, error) {
	return []Table{{Path: "bronze/orders", Kind: "bronze", Connector: "a", Version: 3}}, nil
}

// connectRegistry has the connectors that were installed where the transcripts were recorded.
func connectRegistry() *config.Registry {
	r := config.NewRegistry("1.0.0")
	file := []config.Definition{{Name: "file", Type: config.String, Importance: config.High, Doc: "Destination filename."}}
	for _, n := range []string{"file.FileStream", "tools.Mock", "tools.Verifiable"} {
		p := config.Plugin{Class: "org.apache.kafka.connect." + n + "SinkConnector", Kind: config.KindSink, TaskClass: "org.apache.kafka.connect." + n + "SinkTask"}
		if strings.HasPrefix(n, "file") {
			p.Definitions = file
		}
		r.Add(p)
		p.Class, p.Kind = "org.apache.kafka.connect."+n+"SourceConnector", config.KindSource
		r.Add(p)
	}
	r.Add(config.Plugin{Class: "org.apache.kafka.connect.tools.SchemaSourceConnector", Kind: config.KindSource})
	return r
}

// newTestServer gives a server over a fake cluster and lake.
func newTestServer(t *testing.T, change func(*Options)) (*Server, *fakeCluster, *fakeLake) {
	t.Helper()
	r := connectRegistry()
	c := newFakeCluster(r)
	l := newFakeLake(c)
	o := Options{Cluster: c, Lake: l, Registry: r, Node: "n1", Version: "1.0.0", Commit: "26b251a451ce941d", KafkaClusterID: func() string { return "Kafka-Cluster-Id-22chars" }, Timeout: 5 * time.Second,
		Defaults: config.Defaults{
			LakeURL:      "file:///data/lake",
			KeyConverter: config.Converter{Class: config.StringConverter}, ValueConverter: config.Converter{Class: config.StringConverter},
		}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, l
}
