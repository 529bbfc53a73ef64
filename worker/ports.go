package worker

import (
	"context"
	"log/slog"
	"time"

	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/ownership"

	"github.com/prometheus/client_golang/prometheus"
)

// Ownership is what the Runtime needs of the cluster.
type Ownership interface {
	// Owned gives the connectors, the tasks that this node owns, and a channel that is closed when either changes.
	Owned() (connectors []ownership.Connector, mine []ownership.Assignment, changed <-chan struct{})
	// Release gives a revoked task back. It may wait for a leader.
	Release(ctx context.Context, id ownership.TaskID, epoch uint64) error
	// Report tells how tasks are. It may wait for a leader.
	Report(ctx context.Context, statuses []ownership.TaskStatus) error
	// AddActiveTopics tells of which topics a connector has passed records. It is asked again and again; what is known costs nothing.
	AddActiveTopics(ctx context.Context, connector string, topics ...string) error
}

// Options are what a Runtime needs.
type Options struct {
	// Node is this node's id.
	Node      string
	Ownership Ownership
	// Kafka are the worker's client properties; connectors override them by consumer.override.*.
	Kafka kafka.Properties
	// OpenLake opens a lake by URL. The Runtime opens each URL once and closes it at the end.
	OpenLake func(ctx context.Context, url string) (store.Bucket, error)
	// Formats are the change formats that this node can decode.
	Formats *cdc.Registry
	// Defaults are what connectors inherit from the worker's settings.
	Defaults config.Defaults
	// DataDir is where table tasks may keep what speeds them up.
	DataDir string
	// MemoryLimit is what the process may use, in bytes; 0: 1 GiB. The Runtime takes shares of it for fetched records, rows
	// on their way to bronze, and changes on their way to silver (D9).
	MemoryLimit int64
	// Grace is how long a stopped task may take to finish its batch; 0: 15 s.
	Grace  time.Duration
	Logger *slog.Logger
	// Registerer gets the Runtime's metrics; nil: none are kept.
	Registerer prometheus.Registerer
	// Crash is called at the phases of commits, for the kill test; nil otherwise.
	Crash func(phase string)
}

// shares of Options.MemoryLimit. What is left is for uploads and the garbage collector's slack.
const (
	fetchShare = 0.05
	chunkShare = 0.24
	hotShare   = 0.10
	spareShare = 0.05 // memory for changes that waits for its next use
	pagesShare = 0.05 // and memory for files
	indexShare = 0.25 // key indexes of all tables together; what is more goes to files
)

// minIndex is what each table's key index may have in memory, however many tables there are.
const minIndex = 16 << 20

// indexMemory is what the key index of one table may have in memory, now.
func (r *Runtime) indexMemory() int64 {
	return max(r.o.share(indexShare)/max(r.merging.Load(), 1), minIndex)
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = 1 << 30
	}
	if o.Grace <= 0 {
		o.Grace = 15 * time.Second
	}
	if o.Crash == nil {
		o.Crash = func(string) {}
	}
}

func (o *Options) share(of float64) int64 { return int64(float64(o.MemoryLimit) * of) }
