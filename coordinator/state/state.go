package state

import (
	"cmp"
	"maps"
	"slices"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// CommandVersion is the newest version of commands that this binary applies. It is raised with every new command or
// field that an older binary must not meet.
const CommandVersion = 1

// SnapshotFormat is the newest snapshot format that this binary reads and the one that it writes.
const SnapshotFormat = 1

// requestsKept bounds the remembered outcomes of requests. A request is repeated within its time-out, so the number
// need only cover the writes of some seconds.
const requestsKept = 1024

// State is the replicated state. It is not safe for concurrent use.
type State struct {
	index      uint64
	feature    uint32
	clusterID  string
	members    map[string]*Member
	connectors map[string]*connector
	assigned   map[ownership.TaskID]*ownership.Assignment
	byNode     map[string]map[ownership.TaskID]*ownership.Assignment
	held       map[partition]ownership.TaskID
	requests   map[string]Outcome
	order      []string // request ids, oldest first
}

// Member is a node with what the coordinator needs beyond what is shown of it.
type Member struct {
	ownership.Member
	// Incarnation is the life of the process, random at each start.
	Incarnation string
	// Leaving is a drain that ends with this life.
	Leaving  bool
	Versions *raftv1.Versions
}

// Outcome is the remembered result of a request.
type Outcome struct {
	Index   uint64
	Code    string
	Message string
	Created bool
}

type connector struct {
	ownership.Connector
	run    uint64 // index of the last start of the connector itself
	state  ownership.State
	node   string
	trace  string
	topics map[string]ownership.Topic
	gone   map[string]string // ids of topics that the broker had once, by name
	tasks  map[ownership.TaskID]*task
	active map[string]struct{}
}

type task struct {
	ownership.Task
	status ownership.TaskStatus
	parked bool
}

// partition is what must not be in two hands.
type partition struct {
	connector, topic string
	number           int32
}

// New gives the state before the first command.
func New() *State {
	return &State{
		members:    map[string]*Member{},
		connectors: map[string]*connector{},
		assigned:   map[ownership.TaskID]*ownership.Assignment{},
		byNode:     map[string]map[ownership.TaskID]*ownership.Assignment{},
		held:       map[partition]ownership.TaskID{},
		requests:   map[string]Outcome{},
	}
}

// Index is the Raft index of the last command applied.
func (s *State) Index() uint64 { return s.index }

// FeatureVersion is the version of commands that may be in the log.
func (s *State) FeatureVersion() uint32 { return s.feature }

// ClusterID names the cluster, empty before it has been named.
func (s *State) ClusterID() string { return s.clusterID }

// Connectors lists all connectors by name.
func (s *State) Connectors() []ownership.Connector {
	out := make([]ownership.Connector, 0, len(s.connectors))
	for _, c := range sorted(s.connectors) {
		out = append(out, c.copy())
	}
	return out
}

// Connector gives one connector.
func (s *State) Connector(name string) (ownership.Connector, bool) {
	c, ok := s.connectors[name]
	if !ok {
		return ownership.Connector{}, false
	}
	return c.copy(), true
}

func (c *connector) copy() ownership.Connector {
	out := c.Connector
	out.Config = maps.Clone(c.Config)
	return out
}

// Run gives the index of the last start of the connector itself and its state.
func (s *State) Run(name string) (run uint64, state ownership.State, node, trace string, ok bool) {
	c, ok := s.connectors[name]
	if !ok {
		return 0, "", "", "", false
	}
	return c.run, c.state, c.node, c.trace, true
}

// Tasks lists a connector's tasks in the order in which REST numbers them.
func (s *State) Tasks(name string) ([]ownership.Task, bool) {
	c, ok := s.connectors[name]
	if !ok {
		return nil, false
	}
	out := make([]ownership.Task, 0, len(c.tasks))
	for _, t := range c.sortedTasks() {
		out = append(out, t.Task)
	}
	return out, true
}

// Status gives a connector's state and those of its tasks, in the order in which REST numbers them.
func (s *State) Status(name string) (ownership.ConnectorStatus, bool) {
	c, ok := s.connectors[name]
	if !ok {
		return ownership.ConnectorStatus{}, false
	}
	out := ownership.ConnectorStatus{
		Name: name, State: c.state, Node: c.node, Trace: c.trace,
		Tasks: make([]ownership.TaskStatus, 0, len(c.tasks)),
	}
	for _, t := range c.sortedTasks() {
		out.Tasks = append(out.Tasks, t.status)
	}
	return out, true
}

// Topics lists the topics that the connector reads, by name.
func (s *State) Topics(name string) []ownership.Topic {
	c, ok := s.connectors[name]
	if !ok {
		return nil
	}
	return sorted(c.topics)
}

// ActiveTopics lists the topics of which the connector has seen records, by name.
func (s *State) ActiveTopics(name string) []string {
	c, ok := s.connectors[name]
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(c.active))
}

// Members lists all nodes by id.
func (s *State) Members() []Member {
	out := make([]Member, 0, len(s.members))
	for _, m := range sorted(s.members) {
		out = append(out, *m)
	}
	return out
}

// Member gives one node.
func (s *State) Member(id string) (Member, bool) {
	m, ok := s.members[id]
	if !ok {
		return Member{}, false
	}
	return *m, true
}

// Owned lists the assignments of a node by task, revoked ones included.
func (s *State) Owned(node string) []ownership.Assignment {
	out := make([]ownership.Assignment, 0, len(s.byNode[node]))
	for _, a := range s.byNode[node] {
		out = append(out, *a)
	}
	ownership.SortAssignments(out)
	return out
}

// Assignment gives a task's assignment.
func (s *State) Assignment(id ownership.TaskID) (ownership.Assignment, bool) {
	a, ok := s.assigned[id]
	if !ok {
		return ownership.Assignment{}, false
	}
	return *a, true
}

// Assignments lists all assignments by task.
func (s *State) Assignments() []ownership.Assignment {
	out := make([]ownership.Assignment, 0, len(s.assigned))
	for _, a := range s.assigned {
		out = append(out, *a)
	}
	ownership.SortAssignments(out)
	return out
}

// Placeable lists the tasks that may have an owner, by task: all that are wanted, without those that are parked and
// those whose partitions somebody holds under another task (blocked until released).
func (s *State) Placeable() []ownership.Task {
	var out []ownership.Task
	for _, c := range sorted(s.connectors) {
		for _, t := range c.sortedTasks() {
			if !t.parked && (s.assigned[t.ID] != nil || s.free(t.Task)) {
				out = append(out, t.Task)
			}
		}
	}
	return out
}

// Request gives the remembered outcome of a request.
func (s *State) Request(id string) (Outcome, bool) {
	o, ok := s.requests[id]
	return o, ok
}

func (c *connector) sortedTasks() []*task {
	out := slices.Collect(maps.Values(c.tasks))
	slices.SortFunc(out, func(a, b *task) int { return a.ID.Compare(b.ID) })
	return out
}

// sorted gives the values of m in the order of its keys. D10: no map order.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// TaskStatus gives the status of a task that its connector wants.
func (s *State) TaskStatus(id ownership.TaskID) (ownership.TaskStatus, bool) {
	c, ok := s.connectors[id.Connector]
	if !ok {
		return ownership.TaskStatus{}, false
	}
	t, ok := c.tasks[id]
	if !ok {
		return ownership.TaskStatus{}, false
	}
	return t.status, true
}
