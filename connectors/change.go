package connectors

// Kind says what an event is about.
type Kind uint8

const (
	// RowChange is a change of one row: Op is Insert, Update, Delete or Read.
	RowChange Kind = iota
	// Tombstone is a record with a key and a null value. Without a key it means nothing.
	Tombstone
	// TruncateTable empties Source's table of all rows with a lower position.
	TruncateTable
	// Control is an event that changes no row: schema change, transaction boundary, heartbeat, notification,
	// logical message, snapshot signal. ControlKind says which.
	Control
)

// Op is what happened to a row. It is never derived from which image is null.
type Op uint8

const (
	NoOp Op = iota
	Insert
	Update
	Delete
	Read // a row of a snapshot
	Truncate
	Message
)

// ControlKind names the event of a Control.
type ControlKind uint8

const (
	NotControl ControlKind = iota
	SchemaChange
	TxBegin
	TxEnd
	Heartbeat
	Notification
	LogicalMessage
	Signal
	OtherControl
)

// SnapshotKind says how an event relates to a snapshot of the source.
type SnapshotKind uint8

const (
	NotSnapshot SnapshotKind = iota
	SnapshotTrue
	SnapshotFirst
	SnapshotFirstInCollection
	SnapshotLastInCollection
	SnapshotLast
	SnapshotIncremental
)

// InitialSnapshot tells that the event is a row of an initial or blocking snapshot.
func (s SnapshotKind) InitialSnapshot() bool { return s != NotSnapshot && s != SnapshotIncremental }

// BeforeQuality says how much of Before is the truth. PostgreSQL under REPLICA IDENTITY DEFAULT invents values
// for NOT NULL columns of a deleted row: only its key columns are true.
type BeforeQuality uint8

const (
	BeforeNone BeforeQuality = iota
	BeforeKeyOnly
	BeforePartial
	BeforeFull
)

// PosQuality says how far a Position can be trusted.
type PosQuality uint8

const (
	// OffsetOnly: the event has no position; inside one partition the later offset wins.
	OffsetOnly PosQuality = iota
	// TieMayHappen: two different events of one key may share the position; the later offset wins then.
	TieMayHappen
	// Exact: equal position means the same event.
	Exact
)

// Source tells where a change comes from. One Source is shared by all changes of a table: compare by value
// (Table identity is DB, Schema, Table), key caches by address.
type Source struct {
	Connector string // mysql, mariadb, postgresql, sqlserver, oracle, mongodb, dms, …
	Version   string
	Name      string // logical name: Debezium's topic.prefix
	DB        string
	Schema    string
	Table     string
}

// Lineage identifies the log that positions belong to, as far as an event shows it: a MySQL server id with the
// binlog's base name, a MariaDB GTID domain, a SQL Server database. Positions of different lineages do not compare
// (D5); how a change of lineage is told from noise is decided by the table's owner.
type Lineage string

// Position is the place of an event in its source's log: fields of fixed width, big endian, so that
// bytes.Compare (and < on strings) orders events of one lineage. It ends with the order inside the transaction where
// that decides, and with the sub order of formats (delete before create at one position). It holds neither the
// epoch nor the Kafka offset: the table's owner puts them around it.
type Position string

// Tx is the transaction block of an event.
type Tx struct {
	// ID is the text of the event; Group is the part of it that is equal over the whole transaction
	// (PostgreSQL's id is txId:lsn and differs from row to row).
	ID, Group string
	// TotalOrder and CollectionOrder count from 1; 0 means unknown.
	TotalOrder, CollectionOrder int64
}

// Raw holds the exact texts that bronze keeps. All of them point into the record's value.
type Raw struct {
	Before, After, Source, Transaction string
	// Schema is the text of the envelope's schema member where the record carries one.
	Schema string
	// Complete tells that the members above, with op and capture time, are all that the value said: then bronze
	// need not keep the value itself, and Rebuild of the decoder gives back an equal change.
	Complete bool
}

// Change is what one event says: of one row, of one table, or of the stream. What every merge looks at comes first: changes are kept
// by the thousand, and are looked at when no cache has them any more.
type Change struct {
	Kind        Kind
	Op          Op
	ControlKind ControlKind
	Snapshot    SnapshotKind
	// Sub counts the changes that share one record (a Canal message, a key change of DMS) from 0.
	Sub int32
	// Record is where the change came from.
	Record *Record
	Source *Source

	Position      Position
	Lineage       Lineage
	PosQuality    PosQuality
	BeforeQuality BeforeQuality
	// AbsentIsNull: columns of the table that After does not mention are NULL (AWS DMS leaves NULLs out). Otherwise they
	// are unchanged.
	AbsentIsNull bool
	// Filtered tells that this Delete was made of a change to whose row silver.filter does not apply any more: After is
	// that row. It deletes whatever silver.delete.mode says.
	Filtered bool
	// SourceTsDigits are the digits of SourceTsNs below the second that the source really has: 0, 3, 6 or 9.
	SourceTsDigits int8
	// SourceTsNs is when the database changed, in nanoseconds since the epoch; 0: unknown. It is never an order.
	SourceTsNs int64

	// Key is the row's key, from the record's key where there is one. Zero: a table without key.
	Key    Row
	After  Row
	Before Row
	// What few changes have is kept apart, so that a change is small.
	rekey *rekey
	tx    *Tx

	// CaptureTsNs is the connector's clock when it made the event; 0: unknown.
	CaptureTsNs int64

	// Route is the topic's name that a transform gave the change, for paths; empty: Record.Topic.
	Route string

	// OpText is the operation as bronze shows it: c u d r t m, tombstone, control.
	OpText string
	Raw    Raw
}

// rekey are the hints of a key change.
type rekey struct{ old, new Row }

// OldKey is, on the create half of a key change, the key that the row had.
func (c *Change) OldKey() Row {
	if c.rekey == nil {
		return Row{}
	}
	return c.rekey.old
}

// NewKey is, on the delete half of a key change (and its tombstone), the key that the row gets.
func (c *Change) NewKey() Row {
	if c.rekey == nil {
		return Row{}
	}
	return c.rekey.new
}

// HasHint tells that OldKey or NewKey is known.
func (c *Change) HasHint() bool { return c.rekey != nil }

// SetKeyHints sets OldKey and NewKey; copies of c keep theirs.
func (c *Change) SetKeyHints(old, new Row) {
	c.rekey = nil
	if !old.IsZero() || !new.IsZero() {
		c.rekey = &rekey{old, new}
	}
}

// Tx is the transaction block, zero where there is none.
func (c *Change) Tx() Tx {
	if c.tx == nil {
		return Tx{}
	}
	return *c.tx
}

// SetTx sets the transaction block. t is not to be changed afterwards.
func (c *Change) SetTx(t *Tx) {
	if *t == (Tx{}) {
		t = nil
	}
	c.tx = t
}

// Topic is the name under which the change goes on: that of a routing transform, else that of its record.
func (c *Change) Topic() string {
	if c.Route != "" {
		return c.Route
	}
	return c.Record.Topic
}
