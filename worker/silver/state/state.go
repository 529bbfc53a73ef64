package state

import (
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver/fold"
)

// State is what the merge of one table remembers.
type State struct {
	Lineages *fold.Lineages
	// Topics has the generation of partitions of each topic without positions.
	Topics []Topic
	// Truncates hold back rows that are older than the newest truncate of their source.
	Truncates []Truncate
	// Deletes are those whose tombstone record has not been seen, the newest few of each partition.
	Deletes []Delete
	Opens   []Open
	Moves   []Move
	// Ends are deletes of a history that no row tells of; in a table of current rows without key, removals that wait again for a row, though words on them tell one.
	Ends []End
	// Watermarks are the highest Kafka times merged, in ms, by partition. They alone are no reason to write a state.
	Watermarks map[fold.PartKey]int64
	// Segments and Tombs, together, are the tombstones: in objects of their own, and inline.
	Segments []Segment
	Tombs    []Tomb
}

// New gives the state of a table that was not merged into.
func New() *State { return &State{Lineages: fold.NewLineages()} }

// Clone copies the state, so that a merge that fails leaves no trace. What is never changed in place is shared.
func (s *State) Clone() *State {
	c := *s
	c.Lineages = s.Lineages.Clone()
	c.Topics = slices.Clone(s.Topics)
	c.Truncates = slices.Clone(s.Truncates)
	c.Deletes = slices.Clone(s.Deletes)
	c.Opens = slices.Clone(s.Opens)
	c.Moves = slices.Clone(s.Moves)
	c.Ends = slices.Clone(s.Ends)
	c.Segments = slices.Clone(s.Segments)
	c.Tombs = slices.Clip(s.Tombs) // appended to, never changed
	return &c
}

// Topic is what is known of a topic's partitions and source tables.
type Topic struct {
	Name         string
	Generation   uint32
	MaxPartition int32
	// Table names the first source table of which rows came, "": none told one. Rows of others tell theirs themselves.
	Table string
	// Mixed tells that rows of several are in the table and do not tell which they are of: a release before rows could merged them.
	Mixed bool
	// Apart tells that rows of Table, in a table without key, are told apart from equal ones of other source tables. Releases before did not.
	Apart bool
}

// Truncate is the newest truncate of a source table.
type Truncate struct {
	// Topic is where it came from; Table names the source table.
	Topic, Table string
	Stamp        fold.Stamp
	AtMs         int64 // Kafka's time
	Us           int64 // the source's commit time in µs, kept for histories; else 0
}

// End is a delete of a history that no row tells of: see fold.End.
type End struct {
	Hash   fold.Hash
	Stamp  fold.Stamp
	Us     int64 // the source's commit time in µs
	AtMs   int64
	Before *Row
}

// Delete is a delete that a tombstone record may follow.
type Delete struct {
	Topic     string
	Partition int32
	Offset    int64
	Hash      fold.Hash
}

// Open is a key that was created while it was there: what the table said of it before, and all that came since. It is
// folded again with what comes.
type Open struct {
	Hash fold.Hash
	AtMs int64
	// Base is the row before, or with Dead the tombstone; without either the key was unknown.
	Base   *Row
	Dead   bool
	Stamp  fold.Stamp
	Events []Event
}

// Event is fold.Event.
type Event struct {
	Stamp    fold.Stamp
	Sub      int32
	Op       connectors.Op
	Tx       string
	From, To fold.Hash
	Image    *Row
	Before   *Row
}

// Move is the first half of a key change whose second half is to come, or may still get a late value.
type Move struct {
	From, To fold.Hash
	Stamp    fold.Stamp
	// Origin names the key change, Born the one by which the row had come to From, "" where it was inserted there.
	Origin, Born string
	AtMs         int64
	// Row is the row as it left, as far as its columns may be unavailable in the second half; nil when that was merged.
	Row *Row
}

// Row is an image by column name of the source.
type Row struct {
	Names  []string
	Values []connectors.Value
	Rescue []string // raw JSON by column, "" for none; may be nil
	// Stamp is when the row was told, From the exceptions by column; may be nil.
	Stamp fold.Stamp
	From  []*fold.Stamp
	Meta  fold.Meta
	// Table names the source table, "" where the topic tells it.
	Table string
	// Origin, Deleted and Guess are those of fold.Image.
	Origin         string
	Deleted, Guess bool
}

// Tomb says that a key was deleted, or, in a table without key, that a row was removed.
type Tomb struct {
	Hash fold.Hash
	// Seq is the delete's.
	Seq fold.Seq
	// Add is, in a table without key, the sequence of the insert that the delete took back; "" where that is to come.
	Add fold.Seq
	// AtMs is Kafka's time of the delete.
	AtMs int64
}

// Segment is an object of tombstones.
type Segment struct {
	Name  string // below the table's _sluice folder
	Count int64
	Size  int64
	// NewestMs is the highest AtMs in it.
	NewestMs int64
}
