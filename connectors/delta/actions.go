package delta

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
)

// Protocol says what software must know to read and to write the table.
type Protocol struct {
	MinReaderVersion, MinWriterVersion int
	// ReaderFeatures are there exactly when MinReaderVersion is 3, WriterFeatures when MinWriterVersion is 7.
	ReaderFeatures, WriterFeatures []string
}

// HasReaderFeature tells whether readers must know the feature by name.
func (p *Protocol) HasReaderFeature(name string) bool { return slices.Contains(p.ReaderFeatures, name) }

// HasWriterFeature tells whether writers must know the feature by name.
func (p *Protocol) HasWriterFeature(name string) bool { return slices.Contains(p.WriterFeatures, name) }

// Format is the file format of a table: always parquet.
type Format struct {
	Provider string
	Options  map[string]string
}

// Metadata describes the table. A new Metadata replaces the old one whole.
type Metadata struct {
	ID                string // a GUID, never changed
	Name, Description string // "": absent
	Format            Format
	SchemaString      string
	PartitionColumns  []string // logical names
	Configuration     map[string]string
	CreatedTime       int64 // ms since the epoch; 0: absent
}

// Clone copies the metadata, so that it can be changed.
func (m *Metadata) Clone() *Metadata {
	c := *m
	c.PartitionColumns = slices.Clone(m.PartitionColumns)
	c.Configuration = make(map[string]string, len(m.Configuration))
	for k, v := range m.Configuration {
		c.Configuration[k] = v
	}
	return &c
}

// parse reads the schema. A metaData without one, which the protocol forbids and Spark takes for a table without columns, is
// that here too: its history and files can be looked at.
func (m *Metadata) parse() (schema.Schema, error) {
	if m.SchemaString == "" {
		return schema.Schema{}, nil
	}
	return schema.Parse(m.SchemaString)
}

// Add is a logical file of the table: a data file, less the rows of its deletion vector. Adds that a Snapshot gives out
// are shared: never change them, copy them.
type Add struct {
	// Path is a URI relative to the table's folder (percent-encoded once), or absolute.
	Path             string
	PartitionValues  Partition
	Size             int64 // bytes
	ModificationTime int64 // ms since the epoch
	// DataChange is false where the commit only rearranged rows.
	DataChange bool
	// Stats is the JSON of delta.md §1.6, "" where there is none.
	Stats                   string
	Tags                    map[string]string
	DeletionVector          *dv.Descriptor
	BaseRowID               *int64
	DefaultRowCommitVersion *int64
	ClusteringProvider      string
	// Written is what the writer of a new file vouches for; nil: the commit looks at the file in the store. Snapshots never have it.
	Written *Written
}

// DVID is the unique id of the deletion vector, "" without one. (path, DVID) names a logical file.
func (a *Add) DVID() string {
	if a.DeletionVector == nil {
		return ""
	}
	return a.DeletionVector.UniqueID()
}

// NumRecords gives the number of rows in the Parquet file, deleted ones included, where the statistics say so.
func (a *Add) NumRecords() (int64, bool) { return statsNumRecords(a.Stats) }

// LiveRecords is NumRecords less the rows that the deletion vector deletes.
func (a *Add) LiveRecords() (int64, bool) {
	n, ok := a.NumRecords()
	if ok && a.DeletionVector != nil {
		n -= a.DeletionVector.Cardinality
	}
	return n, ok
}

func statsNumRecords(stats string) (int64, bool) {
	if rest, ok := strings.CutPrefix(stats, `{"numRecords":`); ok { // nearly always first
		i := 0
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		if i > 0 && i < len(rest) && (rest[i] == ',' || rest[i] == '}') {
			n, err := strconv.ParseInt(rest[:i], 10, 64)
			return n, err == nil
		}
	}
	if stats == "" {
		return 0, false
	}
	var p fastjson.Parser
	v, err := p.Parse(stats)
	if err != nil {
		return 0, false
	}
	n := v.Get("numRecords")
	if n == nil {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil && i >= 0
}

// Remove takes a logical file out of the table; as a tombstone it keeps the file from being vacuumed for a while.
type Remove struct {
	Path                    string
	DeletionTimestamp       int64 // ms since the epoch; 0: absent
	DataChange              bool
	ExtendedFileMetadata    bool
	PartitionValues         Partition
	Size                    int64 // -1: absent
	Stats                   string
	Tags                    map[string]string
	DeletionVector          *dv.Descriptor
	BaseRowID               *int64
	DefaultRowCommitVersion *int64
}

// DVID is the unique id of the deletion vector that the removed file had.
func (r *Remove) DVID() string {
	if r.DeletionVector == nil {
		return ""
	}
	return r.DeletionVector.UniqueID()
}

// AddCDC is a file of change rows (change data feed).
type AddCDC struct {
	Path            string
	PartitionValues Partition
	Size            int64
	Tags            map[string]string
}

// Txn is the progress of one application, in the table itself (D1).
type Txn struct {
	AppID       string
	Version     int64
	LastUpdated int64 // ms since the epoch; 0: absent
}

// DomainMetadata is a named configuration that belongs to a feature or a user.
type DomainMetadata struct {
	Domain, Configuration string
	Removed               bool
}

// CommitInfo says who made a commit and why. Nothing depends on it except in-commit timestamps and TxnID.
type CommitInfo struct {
	// Timestamp is the writer's clock in ms.
	Timestamp int64
	Operation string
	// OperationParameters are shown by DESCRIBE HISTORY; values are text (Spark writes JSON texts in them).
	OperationParameters map[string]string
	// OperationMetrics hold numbers as text, as Spark's model wants.
	OperationMetrics  map[string]string
	ReadVersion       *int64
	IsolationLevel    string
	IsBlindAppend     *bool
	EngineInfo        string
	TxnID             string
	UserMetadata      string
	Tags              map[string]string
	InCommitTimestamp *int64
	// Raw is the whole JSON as it was read; "" in a commit of ours.
	Raw string
}

// CheckpointMetadata begins a V2 checkpoint.
type CheckpointMetadata struct {
	Version int64
	Tags    map[string]string
}

// Sidecar refers to a file of a V2 checkpoint.
type Sidecar struct {
	Path                          string
	SizeInBytes, ModificationTime int64
	Tags                          map[string]string
}

// Actions is what one commit (or one checkpoint file) says.
type Actions struct {
	CommitInfo *CommitInfo
	Protocol   *Protocol
	Metadata   *Metadata
	Txns       []*Txn
	Adds       []*Add
	Removes    []*Remove
	CDC        []*AddCDC
	Domains    []*DomainMetadata

	// Checkpoint and Sidecars are found in V2 checkpoints only.
	Checkpoint *CheckpointMetadata
	Sidecars   []*Sidecar
}

// CommitEntry is a commit of the log.
type CommitEntry struct {
	Version int64
	// Timestamp is the in-commit timestamp where there is one, else the time of the file as listed, else the writer's
	// clock.
	Timestamp time.Time
	*Actions
}

func timeOfMs(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
