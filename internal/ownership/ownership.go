// Package ownership is the vocabulary in which the three peers (coordinator, worker, api) speak of who owns what:
// connectors, tasks, assignments and their states. Values only: no I/O, no locks, no dependencies.
package ownership

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// TargetState is what an operator wants of a connector.
type TargetState string

// The target states of Kafka Connect.
const (
	TargetRunning TargetState = "RUNNING"
	TargetPaused  TargetState = "PAUSED"
	TargetStopped TargetState = "STOPPED"
)

// State is what a connector or task is doing, in Kafka Connect's closed list of names.
type State string

// The states that the REST API shows. Tasks are never STOPPED.
const (
	Unassigned State = "UNASSIGNED"
	Running    State = "RUNNING"
	Paused     State = "PAUSED"
	Stopped    State = "STOPPED"
	Failed     State = "FAILED"
	Restarting State = "RESTARTING"
)

// Connector is a named configuration, as the cluster has agreed on it.
type Connector struct {
	Name string
	// Config is the map as submitted: nothing resolved, nothing added but "name".
	Config map[string]string
	Target TargetState
	// Version is the Raft index of the last change of Config. Every such change also gives new epochs to the
	// connector's tasks: an epoch is one run of a task, under one configuration, in one life of one process.
	Version uint64
	// Generation is the Raft index of the last restart of the connector and all its tasks. Tasks that are to start
	// again get a new epoch, whatever the reason, so a worker needs to watch epochs only.
	Generation uint64
}

// Kind tells the two kinds of tasks apart.
type Kind uint8

const (
	// PartitionTask appends a group of partitions of one topic to bronze.
	PartitionTask Kind = iota + 1
	// TableTask merges one silver table (or, where a topic holds many tables, the tables of that topic) and looks
	// after it.
	TableTask
)

// TaskID names a task for as long as it exists. It is comparable.
type TaskID struct {
	Connector string
	Kind      Kind
	// Topic and Group belong to a PartitionTask: the group is the smallest partition in it.
	Topic string
	Group int32
	// Table belongs to a TableTask: the path of the table in the lake, or, where a path depends on more than the
	// topic, the path with those variables left in it.
	Table string
}

// String prints the task for logs and plans: orders/p/shop.orders/3, orders/t/silver/shop.orders.
func (t TaskID) String() string {
	if t.Kind == TableTask {
		return t.Connector + "/t/" + t.Table
	}
	return fmt.Sprintf("%s/p/%s/%d", t.Connector, t.Topic, t.Group)
}

// Compare orders tasks as REST numbers them: of a connector first the partition tasks by topic and group, then the
// table tasks by path.
func (t TaskID) Compare(o TaskID) int {
	return cmp.Or(
		strings.Compare(t.Connector, o.Connector),
		cmp.Compare(t.Kind, o.Kind),
		strings.Compare(t.Topic, o.Topic),
		cmp.Compare(t.Group, o.Group),
		strings.Compare(t.Table, o.Table),
	)
}

// Task is a unit of ownership.
type Task struct {
	ID TaskID
	// Partitions of ID.Topic, ascending; of a PartitionTask.
	Partitions []int32
	// Topics that feed the table, sorted; of a TableTask.
	Topics []string
}

// Assignment says that Raft has given a task to a node.
type Assignment struct {
	Task Task
	Node string
	// Epoch is the Raft index of the assignment. It only grows.
	Epoch uint64
	// Revoked tells the owner to finish or drop its batch and release the task; Next is who gets it then.
	Revoked bool
	Next    string
}

// TaskStatus is what an owner reports of a task.
type TaskStatus struct {
	ID    TaskID
	Node  string
	Epoch uint64
	State State
	// Trace says why a task has FAILED, or what a running one is waiting for.
	Trace string
	// Load is the work that the task does, in bytes per second or any unit that all tasks share; 0 where it is not
	// known. It steers placement, travels beside the log and is not part of the agreed state.
	Load int64
}

// Topic is what the broker knows of a topic that a connector reads.
type Topic struct {
	Name string
	// ID is Kafka's topic id as text, empty where the broker has none. Another id under the same name is another topic.
	ID         string
	Partitions int32
}

// Member is a node of the cluster.
type Member struct {
	ID          string
	PeerAddress string // host:port of Raft and peer RPC
	RESTAddress string // advertised host:port
	Voter       bool
	Alive       bool
	Draining    bool
	Leader      bool
	Version     string
}

// Condition is what a node says of itself when it is asked, beside what the cluster has agreed.
type Condition struct {
	Node string `json:"node"`
	// Problem says why nothing is known; empty: the rest is.
	Problem      string `json:"problem,omitempty"`
	AppliedIndex uint64 `json:"applied_index"`
	Term         uint64 `json:"term"`
	// HoldsLease says whether the node may run its tasks now; LeasesLost how often it has lost touch with the leader past its
	// lease since it started, LeaseLostMs when that was last (milliseconds since 1970, 0: never).
	HoldsLease  bool   `json:"holds_lease"`
	LeasesLost  uint64 `json:"leases_lost"`
	LeaseLostMs int64  `json:"lease_lost_ms"`
	// RefusedCommits are those that a table's log refused since another writer had moved the progress (D2).
	RefusedCommits uint64 `json:"refused_commits"`
	// ClockAheadMs is how far its clock is before that of the node that was asked, in milliseconds.
	ClockAheadMs int64 `json:"clock_ahead_ms"`
	// Versions of the binary and of what it knows.
	Binary         string `json:"binary"`
	CommandVersion uint32 `json:"command_version"`
	PeerVersion    uint32 `json:"peer_version"`
	SnapshotFormat uint32 `json:"snapshot_format"`
}

// SortAssignments orders assignments by task.
func SortAssignments(as []Assignment) {
	slices.SortFunc(as, func(a, b Assignment) int { return a.Task.ID.Compare(b.Task.ID) })
}
