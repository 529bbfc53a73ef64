package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"sluice.io/sluice/api/loggers"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

// Cluster is what the cluster has agreed. Reads answer from this node's copy at once. Writes return when they are in
// force, and this node's reads show them from then on. Errors are the sentinels of package ownership: ErrNotFound,
// ErrExists, ErrConflict, ErrInvalid, ErrNoLeader, ErrTimeout, ErrStopped. All methods are safe for concurrent use.
type Cluster interface {
	// ClusterID names the cluster of these nodes.
	ClusterID() string
	// Connectors gives all connectors, sorted by name.
	Connectors() []ownership.Connector
	Connector(name string) (ownership.Connector, error)
	// Sync makes the reads that follow see all that was agreed on before, anywhere in the cluster. Without a leader it
	// gives ErrNoLeader after a bounded wait.
	Sync(ctx context.Context) error
	// Status gives the states of a connector and its tasks; the task ids of REST are places in Status.Tasks.
	Status(name string) (ownership.ConnectorStatus, error)
	// Tasks gives the tasks in the same order.
	Tasks(name string) ([]ownership.Task, error)
	// Idle tells that no node holds a task of the connector any more.
	Idle(name string) bool
	// ActiveTopics gives the topics of which records have passed since the last reset, sorted.
	ActiveTopics(name string) []string
	Members() []ownership.Member

	// Create enters a connector under a free name, or fails with ErrExists.
	Create(ctx context.Context, name string, config map[string]string, initial ownership.TargetState) (ownership.Connector, error)
	// Put creates a connector or replaces its configuration. The same configuration again restarts nothing.
	Put(ctx context.Context, name string, config map[string]string) (c ownership.Connector, created bool, err error)
	// Patch merges into the newest configuration, so that of two patches at once none is lost. A nil value removes
	// its key.
	Patch(ctx context.Context, name string, patch map[string]*string) (ownership.Connector, error)
	Delete(ctx context.Context, name string) error
	SetTarget(ctx context.Context, name string, target ownership.TargetState) error
	// Restart starts the connector, its tasks, or those that have failed, anew. The answer shows what was selected as
	// RESTARTING.
	Restart(ctx context.Context, name string, o ownership.RestartOptions) (ownership.ConnectorStatus, error)
	// RestartTask starts the task with this place in Tasks anew.
	RestartTask(ctx context.Context, name string, number int) error
	ResetActiveTopics(ctx context.Context, name string) error
}

// Offset is the progress of one topic partition: the next offset to be read. A negative Next asks that the progress
// be forgotten.
type Offset struct {
	Topic     string
	Partition int32
	Next      int64
}

// Lake answers what only the tables know (D1: progress is in the table). Methods honour ctx.
type Lake interface {
	// Offsets gives the progress of a connector, sorted by topic and partition; none where nothing is committed.
	Offsets(ctx context.Context, c ownership.Connector) ([]Offset, error)
	// Move sets progress, of all given partitions or of none. It refuses with a *BackwardError to go back behind
	// records that bronze holds, and with an error that wraps ownership.ErrInvalid what Kafka does not have.
	Move(ctx context.Context, c ownership.Connector, to []Offset) error
	// Tables lists the tables of the connectors' lakes.
	Tables(ctx context.Context) ([]Table, error)
}

// Table describes one table for GET /sluice/v1/tables.
type Table struct {
	Path      string `json:"path"`
	Lake      string `json:"lake"`
	Kind      string `json:"kind"` // bronze, silver, dead-letters
	Connector string `json:"connector"`
	Version   int64  `json:"version"`
	Files     int64  `json:"files"`
	Rows      int64  `json:"rows"`
	Bytes     int64  `json:"bytes"`
	// CommittedMs is the time of the newest commit in milliseconds since 1970, 0 when there is none.
	CommittedMs int64 `json:"committed_ms"`
}

// RaisedEpoch tells of one table of POST /sluice/v1/connectors/{connector}/epoch.
type RaisedEpoch struct {
	Table string `json:"table"`
	// Epochs are the new epochs by source.
	Epochs map[string]uint32 `json:"epochs"`
}

// BackwardError refuses to move progress back.
type BackwardError struct {
	Connector, Topic string
	Partition        int32
	From, To         int64 // To < 0: forget
}

// Error implements error. It names the way that there is.
func (e *BackwardError) Error() string {
	to := fmt.Sprintf("to %d", e.To)
	if e.To < 0 {
		to = "to the beginning"
	}
	return fmt.Sprintf("The offset of %s partition %d can only be moved forward: bronze holds the records below %d already, so reading them again (from %d %s) would double them. "+
		"To build silver anew from bronze, use `sluice table rebuild`; to read the topic anew, delete the connector and create it with another name and another bronze.path.",
		e.Topic, e.Partition, e.From, e.From, to)
}

// ErrStarting says that the node has not yet joined its cluster.
var ErrStarting = errors.New("starting")

// Options say what a Server works with.
type Options struct {
	Cluster  Cluster
	Lake     Lake
	Registry *config.Registry
	// Defaults are what the node's settings give to connectors.
	Defaults config.Defaults
	// Reach is asked by validate, and by writes that create a connector or point it elsewhere; nil: not.
	Reach config.Reach
	// KafkaClusterID names the Kafka cluster for GET /, as far as it is known; nil: it is not.
	KafkaClusterID func() string
	// Health tells whether the node's control loop answers: nil when it does, ErrStarting before it is up; nil
	// func: always healthy.
	Health func(context.Context) error
	// Loggers are the levels behind /admin/loggers; nil: a registry of its own.
	Loggers *loggers.Registry
	// BroadcastLevel sets a logger's level on the other nodes; nil: there are none.
	BroadcastLevel func(ctx context.Context, logger string, level slog.Level) error
	// Logger gets the request log (as logger "rest"); nil: none.
	Logger *slog.Logger

	// Node names this node; Version is the version of the binary.
	Node, Version, Commit string
	// Metrics serves /metrics; nil: 404.
	Metrics http.Handler
	// Conditions asks all nodes how they are; nil: there is nobody to ask.
	Conditions func(ctx context.Context) []ownership.Condition
	// Stats gives the value of GET /sluice/v1/stats; nil: 404.
	Stats func() any
	// Drain moves the tasks of a member away, or lets them come back; nil: 404.
	Drain func(ctx context.Context, member string, on bool) error
	// Leave is Drain until the member starts again; nil: Drain does.
	Leave func(ctx context.Context, member string) error
	// RaiseEpoch begins a new epoch for the sources (or one) of the silver tables (or one) of a connector; nil: 404. Errors that wrap
	// ownership.ErrInvalid or ownership.ErrNotFound are the caller's.
	RaiseEpoch func(ctx context.Context, c ownership.Connector, table, source string) ([]RaisedEpoch, error)
	// Admin has the verbs of operators on the cluster; nil: 404.
	Admin Admin

	// Timeout bounds a request (default 90 s), HealthTimeout a GET /health (default 10 s).
	Timeout, HealthTimeout time.Duration
	// NoTopicTracking and NoTopicReset switch the two topics endpoints off (403).
	NoTopicTracking, NoTopicReset bool
	// AllowOrigin and AllowMethods are access.control.allow.origin and .methods: CORS is off while empty.
	AllowOrigin, AllowMethods string
	// ResponseHeaders is response.http.headers.config: "set X-Frame-Options:DENY, add Cache-Control:no-cache".
	ResponseHeaders string
}
