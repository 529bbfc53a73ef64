package bronze

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/commit"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// readColumns are what a record and its change are made of again.
var readColumns = []string{
	"kafka_key", "before", "after", "operation", "topic", "partition", "offset", "kafka_timestamp", "source", "transaction",
	"capture_ts_ns", "value_schema", "headers", "kafka_value",
}

// Positions in readColumns.
const (
	inKey = iota
	inBefore
	inAfter
	inOperation
	inTopic
	inPartition
	inOffset
	inTimestamp
	inSource
	inTransaction
	inCapture
	inSchema
	inHeaders
	inValue
)

// ReadOptions narrow what ReadVersion reads. The zero value reads everything at once.
type ReadOptions struct {
	// Topics says of which topics rows are wanted; nil: of all.
	Topics func(string) bool
	// Admit is called before anything is fetched, with the bytes of the version's files (D9); not at all for a version without
	// files. Its error is given as it is.
	Admit func(bytes int64) error
}

// ReadVersion gives the changes that a version of a bronze table appended, as decoding their records gave them, in the
// order of (partition, offset) within each file, in pieces. Rows that could not be decoded are left out: they are dead letters. A version
// that appended nothing gives none.
//
// Records that the transforms refuse are given as letters, without the connector's name: the transforms may not be those of the time
// when the rows were appended.
func ReadVersion(ctx context.Context, t *delta.Table, version int64, dec connectors.Decoder, o ReadOptions) (_ [][]connectors.Change, letters []connectors.DeadLetter, _ error) {
	files, err := commit.Appended(ctx, t, version)
	if err != nil {
		return nil, nil, fmt.Errorf("read version %d of %s: %w", version, t.URL(), err)
	}
	size := int64(0)
	for _, f := range files {
		size += f.Size
	}
	if o.Admit != nil && len(files) > 0 {
		if err := o.Admit(size); err != nil {
			return nil, nil, err
		}
	}
	r := reader{dec: dec, topics: o.Topics}
	for _, f := range files {
		if err = r.file(ctx, t, f.Path); err != nil {
			return nil, nil, fmt.Errorf("read %s of %s: %w", f.Path, t.URL(), err)
		}
	}
	return r.out, r.letters, nil
}

// reader gathers what the files of a version hold.
type reader struct {
	dec     connectors.Decoder
	topics  func(string) bool
	out     [][]connectors.Change
	letters []connectors.DeadLetter
}

func (r *reader) file(ctx context.Context, t *delta.Table, path string) error {
	key, err := t.ObjectKey(path)
	if err != nil {
		return err
	}
	data, err := t.Bucket().Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) { // trying again would not bring it back
		return commit.Permanent(fmt.Errorf("%w; it was deleted, by a vacuum after the table was optimized perhaps, before silver had merged this version. "+
			"Bring the file back, then restart the task", err))
	}
	if err != nil {
		return err
	}
	f, err := columnar.OpenFile(ctx, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	target := bronzeSchema
	for b, err := range f.Read(ctx, columnar.ReadOptions{Columns: readColumns, Target: &target, BatchRows: windowRows}) {
		if err != nil {
			return err
		}
		// The record is not released: values point into its memory, which the garbage collector looks after.
		changes, err := r.decode(b.Record)
		if err != nil {
			return err
		}
		r.out = append(r.out, changes)
	}
	return nil
}

// columns are the arrays of a record, by their types.
type columns struct {
	key, value                                        *array.Binary
	before, after, op, topic, source, txn, embeddedSc *array.String
	partition                                         *array.Int32
	offset, capture                                   *array.Int64
	timestamp                                         *array.Timestamp
	headers                                           *array.List
}

func columnsOf(rec arrow.Record) (c columns, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("its columns have other types than those of a bronze table")
		}
	}()
	c.key, c.value = rec.Column(inKey).(*array.Binary), rec.Column(inValue).(*array.Binary)
	text := func(i int) *array.String { return rec.Column(i).(*array.String) }
	c.before, c.after, c.op, c.topic = text(inBefore), text(inAfter), text(inOperation), text(inTopic)
	c.source, c.txn, c.embeddedSc = text(inSource), text(inTransaction), text(inSchema)
	c.partition = rec.Column(inPartition).(*array.Int32)
	c.offset, c.capture = rec.Column(inOffset).(*array.Int64), rec.Column(inCapture).(*array.Int64)
	c.timestamp = rec.Column(inTimestamp).(*array.Timestamp)
	c.headers = rec.Column(inHeaders).(*array.List)
	return c, nil
}

func (d *reader) decode(rec arrow.Record) ([]connectors.Change, error) {
	c, err := columnsOf(rec)
	if err != nil {
		return nil, err
	}
	n := int(rec.NumRows())
	out := make([]connectors.Change, 0, n)
	records := make([]connectors.Record, n)
	var slab []byte
	for i := range n {
		op := orEmpty(c.op, i)
		if op == "" || d.topics != nil && !d.topics(c.topic.Value(i)) {
			continue
		}
		r := &records[i]
		slab, err = c.record(r, i, op, d.dec, slab)
		if err != nil {
			return nil, err
		}
		if out, err = d.dec.Decode(out, r); err != nil {
			if poison, ok := connectors.IsPoison(err); ok && poison.Stage == connectors.StageTransform {
				d.letters = append(d.letters, poison.Letter(r, ""))
				continue
			}
			return nil, fmt.Errorf("row %s was decoded before, and now: %w", r.EventID(), err)
		}
	}
	return out, nil
}

// record makes row i a Kafka record again. slab holds the values that are rebuilt.
func (c *columns) record(r *connectors.Record, i int, op string, dec connectors.Decoder, slab []byte) ([]byte, error) {
	*r = connectors.Record{Topic: c.topic.Value(i), Partition: c.partition.Value(i), Offset: c.offset.Value(i), TimestampMs: -1}
	if c.timestamp.IsValid(i) {
		r.TimestampMs = floorDiv(int64(c.timestamp.Value(i)), 1000)
	}
	if c.key.IsValid(i) {
		r.Key = notNil(c.key.Value(i))
	}
	r.Headers = c.headersOf(i)
	switch {
	case c.value.IsValid(i):
		r.Value = notNil(c.value.Value(i))
	case op != opTombstone:
		rebuilder, ok := dec.(connectors.Rebuilder)
		if !ok {
			return nil, fmt.Errorf("row %s has no kafka_value, and the format cannot make it again; is cdc.format another one than when it was written?", r.EventID())
		}
		raw := connectors.Raw{
			Before: orEmpty(c.before, i), After: orEmpty(c.after, i), Source: orEmpty(c.source, i),
			Transaction: orEmpty(c.txn, i), Schema: orEmpty(c.embeddedSc, i), Complete: true,
		}
		capture := int64(0)
		if c.capture.IsValid(i) {
			capture = c.capture.Value(i)
		}
		const piece = 1 << 18
		if need := len(raw.Before) + len(raw.After) + len(raw.Source) + len(raw.Transaction) + len(raw.Schema) + 256; cap(slab)-len(slab) < need {
			slab = make([]byte, 0, max(piece, need))
		}
		at := len(slab)
		slab = rebuilder.Rebuild(slab, op, capture, raw)
		r.Value = slab[at:len(slab):len(slab)]
	}
	return slab, nil
}

func (c *columns) headersOf(i int) []connectors.Header {
	if c.headers.IsNull(i) {
		return nil
	}
	from, to := c.headers.ValueOffsets(i)
	st := c.headers.ListValues().(*array.Struct)
	names, values := st.Field(0).(*array.String), st.Field(1).(*array.Binary)
	out := make([]connectors.Header, 0, to-from)
	for k := int(from); k < int(to); k++ {
		h := connectors.Header{Key: names.Value(k)}
		if values.IsValid(k) {
			h.Value = notNil(values.Value(k))
		}
		out = append(out, h)
	}
	return out
}

func orEmpty(a *array.String, i int) string {
	if a.IsNull(i) {
		return ""
	}
	return a.Value(i)
}

// notNil keeps empty and null apart.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
