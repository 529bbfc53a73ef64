package bronze

import (
	"iter"

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

// rows are the rows of one partition in one chunk: as columns in windows, or as records whose changes are kept in memory anyway, of
// which the columns are made window by window while the file is written.
type rows struct {
	n       int
	bytes   int64
	windows []arrow.Record // of the stored columns
	kept    []row
	sources []run[*connectors.Source]
	schemas []run[string]
}

// row is a record, its first change (nil where it could not be decoded), and whether the row's columns give the change back without
// the record's value.
type row struct {
	rec   *connectors.Record
	c     *connectors.Change
	whole bool
}

// rowBytes is what a row takes.
const rowBytes = 24

// run says that rows up to (not including) end have this value.
type run[T any] struct {
	end   int
	value T
}

// rowOverhead is about what a row takes beside its texts.
const rowOverhead = 120

// add buffers a row as columns in b, which belongs to these rows until seal.
func (r *rows) add(b *columnar.Builder, x row) {
	r.n++
	r.bytes += r.append(b, x, r.n)
	if b.Len() == windowRows {
		r.seal(b)
	}
}

// keep buffers the row of a record which stays in memory with its changes.
func (r *rows) keep(x row) {
	r.n++
	r.bytes += rowBytes
	if x.c == nil {
		r.bytes += int64(len(x.rec.Key)+len(x.rec.Value)) + recordBytes
	}
	r.kept = append(r.kept, x)
}

// stored gives the stored columns of all rows, window by window. What is made in b is valid until the next window.
func (r *rows) stored(b *columnar.Builder) iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		for _, w := range r.windows {
			if !yield(w) {
				return
			}
		}
		for n, left := 0, r.kept; len(left) > 0; {
			part := left[:min(windowRows, len(left))]
			left = left[len(part):]
			for i := range part {
				n++
				r.append(b, part[i], n)
				if c := part[i].c; c != nil {
					c.Raw = connectors.Raw{} // nobody asks for the texts again: less to look at for the garbage collector
				}
			}
			w := b.View()
			more := yield(w)
			w.Release()
			b.Reset()
			if !more {
				return
			}
		}
	}
}

// append appends the columns of a row, which is the end'th.
func (r *rows) append(b *columnar.Builder, x row, end int) int64 {
	rec, c := x.rec, x.c
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
		extend(&r.sources, end, nil)
		extend(&r.schemas, end, "")
		return n
	}
	op := c.OpText
	if rec.Value == nil {
		op = opTombstone
	}
	n += appendText(b, stOperation, op)
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
	if x.whole {
		b.AppendNull(stValue)
	} else {
		n += appendBytes(b, stValue, rec.Value)
	}
	extend(&r.sources, end, c.Source)
	if extend(&r.schemas, end, c.Raw.Schema) {
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
