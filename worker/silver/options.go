package silver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store"
)

// ErrFenced: the table's progress is not what this Merger continues; another one has merged the feed (D2).
var ErrFenced = errors.New("another writer has advanced this silver table")

// ErrReplaced: the table is not the one that this Merger opened: it was deleted, or made anew. Nothing is merged until a
// Merger is opened anew, which takes the table for what it finds then.
var ErrReplaced = errors.New("the silver table was deleted or made anew by somebody else")

// ErrConfig: the table was made with settings that it keeps, and the configuration has others.
var ErrConfig = errors.New("the configuration is not that of the silver table")

// Options say which table a Merger writes, and how.
type Options struct {
	Bucket store.Bucket
	// Path is the table's, with its variables resolved.
	Path string
	// Connector names the progress in the table (DESIGN §5).
	Connector string
	Config    *config.Sink
	// Epoch is the Raft index of the assignment; it makes file names differ between owners (D4).
	Epoch uint64
	// DataDir may hold caches; nothing in it is needed.
	DataDir string
	// IndexMemory gives the bytes that the key index may have in memory, now; what is more goes to a file in DataDir. nil: no bound.
	IndexMemory func() int64
	Logger      *slog.Logger
	// DeadLetters commits records that cannot be applied. It is called before the silver commit that passes them, and
	// again with the same ones when that commit is retried.
	DeadLetters func(context.Context, []connectors.DeadLetter) error
	// Now is the clock, for tests.
	Now func() time.Time
	// Spares is where memory for writing files comes from; nil: the Merger has its own.
	Spares *columnar.Spares
	// Upkeep tunes compaction and checkpoints; the zero value is the default.
	Upkeep Upkeep
	// Behind tells that more waits to be merged than the batches of the Merge under way: compaction that is not urgent waits for
	// Idle then, so that what is on its way to be superseded is not rewritten first. nil: never.
	Behind func() bool
}

// Batch is the changes of one version of a feeding bronze table, in the order of bronze.
type Batch struct {
	// Feed is the path of the bronze table.
	Feed string
	// Version is the bronze version that is merged when the batch is.
	Version int64
	// Changes must not be changed while Merge runs. Those of other tables are not to be in it.
	Changes []connectors.Change
}

// Result says what a Merge did.
type Result struct {
	// Committed tells that there is a new version of the table. A merge that changes no row moves its progress lazily.
	Committed bool
	Version   int64
	// Events counts row changes, tombstones and truncates; Upserted and Deleted rows.
	Events, Upserted, Deleted int
	// Duplicates and Stale count events that were merged before, or superseded.
	Duplicates, Stale int
	DeadLetters       int
	// Unfilled counts values that no image tells (an unavailable value of a row never seen): NULL was written.
	Unfilled int
	// Bytes is the size of the data file.
	Bytes int64
	// Complex counts the keys that needed more than a look into the index.
	Complex int
	// Attempts counts commits that were tried.
	Attempts int
	Took     Phases
}

// Phases say where the time of a merge went. Load, Letters and Again are seldom anything: following what others changed, keeping dead letters, and
// attempts that were void because others changed the table meanwhile. Rewrite is the writing of files without their deleted rows (copy-on-write).
// Read is the caller's: what it took to get the batches.
type Phases struct {
	Gather, Fold, Emit, Rewrite, Commit, Index, Upkeep time.Duration
	Load, Letters, Again                               time.Duration
	Read                                               time.Duration
}

func (p *Phases) add(o Phases) {
	p.Gather, p.Fold, p.Emit, p.Rewrite = p.Gather+o.Gather, p.Fold+o.Fold, p.Emit+o.Emit, p.Rewrite+o.Rewrite
	p.Commit, p.Index, p.Upkeep, p.Load = p.Commit+o.Commit, p.Index+o.Index, p.Upkeep+o.Upkeep, p.Load+o.Load
	p.Letters, p.Again, p.Read = p.Letters+o.Letters, p.Again+o.Again, p.Read+o.Read
}

// named gives the phases in words of an operator.
func (p Phases) named() []phase {
	return []phase{
		{"store latency", p.Commit}, {"deciding, and reading rows that the events do not tell whole", p.Fold}, {"encoding rows", p.Emit},
		{"sorting events by key", p.Gather}, {"upkeep", p.Upkeep}, {"the key index", p.Index}, {"writing files anew", p.Rewrite},
		{"reading what others changed in the table", p.Load}, {"keeping dead letters", p.Letters}, {"beginning again because others changed the table", p.Again},
		{"reading bronze files", p.Read},
	}
}

type phase struct {
	why  string
	took time.Duration
}

// Total is the time of the whole merge.
func (p Phases) Total() time.Duration {
	total := time.Duration(0)
	for _, x := range p.named() {
		total += x.took
	}
	return total
}

// Slowest says, in words of an operator, what took the most time, and how much.
func (p Phases) Slowest() (why string, took time.Duration) {
	for _, x := range p.named() {
		if x.took > took {
			why, took = x.why, x.took
		}
	}
	return why, took
}

// Stats describe a Merger.
type Stats struct {
	Rows, Tombstones int64
	Files            int
	IndexBytes       int64
	// IndexDisk is the part of the index that is in a file, in bytes.
	IndexDisk int64
	// Version is the table version that the index describes (D8).
	Version           int64
	Rebuilds, Foreign int
	Merges            int64
	Upserted, Deleted int64
	DeadLetters       int64
	Compactions       int64
	// Scrubs counts comparisons of the index with the table, Mismatches those that found a difference, Healed the keys that the
	// table had more than once.
	Scrubs, Mismatches, Healed int64
}

// Upkeep tunes what the owner does for the table between merges. Zero values mean the defaults.
type Upkeep struct {
	// SmallFiles is how many small files make a compaction: default 24. Negative: never.
	SmallFiles int
	// TargetRows bounds the rows of a compacted file: default 4 Mi.
	TargetRows int64
	// TargetBytes bounds the bytes of a compacted file: default 128 MiB.
	TargetBytes int64
	// StepBytes bounds the small files that one compaction joins: default 64 MiB.
	StepBytes int64
	// PieceBytes is how much of a compaction is done behind one commit, in bytes that are read, so that freshness does not suffer: default 16 MiB.
	PieceBytes int64
	// PieceTime ends a piece sooner where the machine is busy: default 300 ms.
	PieceTime time.Duration
	// DeadShare is the share of deleted rows from which a file is rewritten; from a quarter of it in all of the table on, the file that has the most:
	// default 0.3.
	DeadShare float64
	// Checkpoint is the number of commits between checkpoints: default 100.
	Checkpoint int64
	// Manual leaves upkeep to calls of Maintain; else each Merge does at most one step behind its commit.
	Manual bool
}

func (u Upkeep) withDefaults() Upkeep {
	if u.SmallFiles == 0 {
		u.SmallFiles = 24
	}
	if u.TargetRows <= 0 {
		u.TargetRows = 4 << 20
	}
	if u.TargetBytes <= 0 {
		u.TargetBytes = 128 << 20
	}
	if u.StepBytes <= 0 {
		u.StepBytes = 64 << 20
	}
	if u.PieceBytes <= 0 {
		u.PieceBytes = 16 << 20
	}
	if u.PieceTime <= 0 {
		u.PieceTime = 300 * time.Millisecond
	}
	if u.DeadShare <= 0 {
		u.DeadShare = 0.3
	}
	if u.Checkpoint <= 0 {
		u.Checkpoint = 100
	}
	return u
}
