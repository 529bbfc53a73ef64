package bronze

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"

	"github.com/apache/arrow/go/v17/arrow"
)

// Operations that are no row change.
const opTombstone = "tombstone"

// windowRows is how many rows make a window: what is copied or made at once stays in the cache, and no buffer has to grow
// by copying all that it holds.
const windowRows = 4096

// Columns that are stored by row while a chunk fills. The others are the same for runs of rows, or follow from these: window
// makes them when the file is written.
const (
	stKey = iota
	stBefore
	stAfter
	stOperation
	stSourceTs
	stSource
	stTransaction
	stCaptureTs
	stOffset
	stTimestamp
	stHeaders
	stValue
)

// storedColumns are where the stored columns go in the table.
var storedColumns = []int{
	stKey: colKafkaKey, stBefore: colBefore, stAfter: colAfter, stOperation: colOperation, stSourceTs: colSourceTs, stSource: colSource,
	stTransaction: colTransaction, stCaptureTs: colCaptureTs, stOffset: colOffset, stTimestamp: colKafkaTimestamp,
	stHeaders: colHeaders, stValue: colKafkaValue,
}

var storedSchema = func() schema.Schema {
	var s schema.Schema
	for _, col := range storedColumns {
		s.Fields = append(s.Fields, bronzeSchema.Fields[col])
	}
	return s
}()

// rows are the rows of one partition in one chunk.
type rows struct {
	n       int
	bytes   int64
	windows []arrow.Record // of the stored columns
	sources []run[*connectors.Source]
	schemas []run[string]
}

// run says that rows up to (not including) end have this value.
type run[T any] struct {
	end   int
	value T
}

// rowOverhead is about what a row takes beside its texts.
const rowOverhead = 120

// add buffers the row of a record in b, which belongs to these rows until seal. c is the record's first change, nil where it could
// not be decoded; whole says that the row's columns give the change back without the record's value.
func (r *rows) add(b *columnar.Builder, rec *connectors.Record, c *connectors.Change, whole bool) {
	r.n++
	n := int64(rowOverhead)
	n += appendBytes(b, stKey, rec.Key)
	b.AppendInt(stOffset, rec.Offset)
	if rec.TimestampMs >= 0 {
		b.AppendInt(stTimestamp, rec.TimestampMs*1000)
	} else {
		b.AppendNull(stTimestamp)
	}
	n += addHeaders(b, rec.Headers)
	if c == nil {
		for _, col := range [...]int{stBefore, stAfter, stOperation, stSourceTs, stSource, stTransaction, stCaptureTs} {
			b.AppendNull(col)
		}
		n += appendBytes(b, stValue, rec.Value)
		extend(&r.sources, r.n, nil)
		extend(&r.schemas, r.n, "")
	} else {
		n += r.addChange(b, rec, c, whole)
	}
	r.bytes += n
	if b.Len() == windowRows {
		r.seal(b)
	}
}

func (r *rows) addChange(b *columnar.Builder, rec *connectors.Record, c *connectors.Change, whole bool) int64 {
	op := c.OpText
	if rec.Value == nil {
		op = opTombstone
	}
	n := appendText(b, stOperation, op)
	n += appendText(b, stBefore, c.Raw.Before)
	n += appendText(b, stAfter, c.Raw.After)
	n += appendText(b, stSource, c.Raw.Source)
	n += appendText(b, stTransaction, c.Raw.Transaction)
	if c.SourceTsNs != 0 {
		b.AppendInt(stSourceTs, floorDiv(c.SourceTsNs, 1e6))
	} else {
		b.AppendNull(stSourceTs)
	}
	if c.CaptureTsNs != 0 {
		b.AppendInt(stCaptureTs, c.CaptureTsNs)
	} else {
		b.AppendNull(stCaptureTs)
	}
	if whole {
		b.AppendNull(stValue)
	} else {
		n += appendBytes(b, stValue, rec.Value)
	}
	extend(&r.sources, r.n, c.Source)
	if extend(&r.schemas, r.n, c.Raw.Schema) {
		n += int64(len(c.Raw.Schema))
	}
	return n
}

// seal takes what b holds.
func (r *rows) seal(b *columnar.Builder) {
	if b.Len() > 0 {
		r.windows = append(r.windows, b.NewRecord())
	}
}

// extend makes the last run reach to end if it has this value, else begins one. It tells whether it began one.
func extend[T comparable](runs *[]run[T], end int, v T) bool {
	if k := len(*runs); k > 0 && (*runs)[k-1].value == v {
		(*runs)[k-1].end = end
		return false
	}
	*runs = append(*runs, run[T]{end, v})
	return true
}

func appendText(b *columnar.Builder, col int, s string) int64 {
	if s == "" {
		b.AppendNull(col)
		return 0
	}
	b.AppendString(col, s)
	return int64(len(s))
}

func appendBytes(b *columnar.Builder, col int, v []byte) int64 {
	if v == nil {
		b.AppendNull(col)
		return 0
	}
	b.AppendBytes(col, v)
	return int64(len(v))
}

func addHeaders(b *columnar.Builder, hs []connectors.Header) int64 {
	if len(hs) == 0 {
		b.AppendNull(stHeaders)
		return 0
	}
	n := int64(0)
	list := make([]connectors.Value, len(hs))
	for i, h := range hs {
		value := connectors.NullValue()
		if h.Value != nil {
			value = connectors.Bytes(string(h.Value))
		}
		list[i] = connectors.Nested(schema.Struct, []connectors.Value{connectors.Text(h.Key), value})
		n += int64(len(h.Key)+len(h.Value)) + 32
	}
	if err := b.Append(stHeaders, connectors.Nested(schema.Array, list)); err != nil {
		b.AppendNull(stHeaders) // the value is of the column's type by construction
	}
	return n
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
