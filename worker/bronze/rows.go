package bronze

import (
	"sluice.io/sluice/connectors"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Operations that are no row change.
const (
	opTombstone = "tombstone"
	opControl   = "control"
)

// rows buffers the rows of one partition. Columns that are the same for runs of rows (the source, the schema text) or
// follow from others (topic, event id) are not stored by row; window makes them when the file is written.
type rows struct {
	n     int
	bytes int64

	key, value                 *array.BinaryBuilder
	before, after, source, txn *array.StringBuilder
	operation                  []string // from a small closed set: no bytes of their own
	sourceTs, captureTs        *array.Int64Builder
	offsets, timestamps        []int64
	headers                    *array.ListBuilder

	sources []run[*connectors.Source]
	schemas []run[string]
}

// run says that rows up to (not including) end have this value.
type run[T any] struct {
	end   int
	value T
}

var headerType = arrow.StructOf(
	arrow.Field{Name: "key", Type: arrow.BinaryTypes.String, Nullable: true},
	arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary, Nullable: true},
)

func newRows(expect int) *rows {
	m := memory.DefaultAllocator
	r := &rows{
		key: array.NewBinaryBuilder(m, arrow.BinaryTypes.Binary), value: array.NewBinaryBuilder(m, arrow.BinaryTypes.Binary),
		before: array.NewStringBuilder(m), after: array.NewStringBuilder(m),
		source: array.NewStringBuilder(m), txn: array.NewStringBuilder(m),
		sourceTs: array.NewInt64Builder(m), captureTs: array.NewInt64Builder(m),
		headers: array.NewListBuilder(m, headerType),
	}
	if expect > 0 {
		for _, b := range []array.Builder{r.key, r.before, r.after, r.source, r.sourceTs, r.captureTs} {
			b.Reserve(expect)
		}
		r.operation = make([]string, 0, expect)
		r.offsets = make([]int64, 0, expect)
		r.timestamps = make([]int64, 0, expect)
	}
	return r
}

// rowOverhead is about what a row takes beside its texts.
const rowOverhead = 120

// add buffers the row of a record. c is its first change, nil where it could not be decoded; whole says that the row's
// columns give the change back without the record's value.
func (r *rows) add(rec *connectors.Record, c *connectors.Change, whole bool) {
	r.n++
	n := int64(rowOverhead)
	n += appendBytes(r.key, rec.Key)
	r.offsets = append(r.offsets, rec.Offset)
	r.timestamps = append(r.timestamps, rec.TimestampMs)
	n += r.addHeaders(rec.Headers)
	if c == nil {
		r.operation = append(r.operation, "")
		r.before.AppendNull()
		r.after.AppendNull()
		r.source.AppendNull()
		r.txn.AppendNull()
		r.sourceTs.AppendNull()
		r.captureTs.AppendNull()
		n += appendBytes(r.value, rec.Value)
		extend(&r.sources, r.n, nil)
		extend(&r.schemas, r.n, "")
		r.bytes += n
		return
	}
	op := c.OpText
	if rec.Value == nil {
		op = opTombstone
	}
	r.operation = append(r.operation, op)
	n += appendText(r.before, c.Raw.Before)
	n += appendText(r.after, c.Raw.After)
	n += appendText(r.source, c.Raw.Source)
	n += appendText(r.txn, c.Raw.Transaction)
	if c.SourceTsNs != 0 {
		r.sourceTs.Append(floorDiv(c.SourceTsNs, 1e6))
	} else {
		r.sourceTs.AppendNull()
	}
	if c.CaptureTsNs != 0 {
		r.captureTs.Append(c.CaptureTsNs)
	} else {
		r.captureTs.AppendNull()
	}
	if whole {
		r.value.AppendNull()
	} else {
		n += appendBytes(r.value, rec.Value)
	}
	extend(&r.sources, r.n, c.Source)
	if extend(&r.schemas, r.n, c.Raw.Schema) {
		n += int64(len(c.Raw.Schema))
	}
	r.bytes += n
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

func appendText(b *array.StringBuilder, s string) int64 {
	if s == "" {
		b.AppendNull()
		return 0
	}
	b.Append(s)
	return int64(len(s))
}

func appendBytes(b *array.BinaryBuilder, v []byte) int64 {
	if v == nil {
		b.AppendNull()
		return 0
	}
	b.Append(v)
	return int64(len(v))
}

func (r *rows) addHeaders(hs []connectors.Header) int64 {
	if len(hs) == 0 {
		r.headers.AppendNull()
		return 0
	}
	r.headers.Append(true)
	st := r.headers.ValueBuilder().(*array.StructBuilder)
	keys := st.FieldBuilder(0).(*array.StringBuilder)
	values := st.FieldBuilder(1).(*array.BinaryBuilder)
	n := int64(0)
	for _, h := range hs {
		st.Append(true)
		keys.Append(h.Key)
		n += appendBytes(values, h.Value) + int64(len(h.Key)) + 16
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
