package bronze

import (
	"iter"
	"strconv"

	"sluice.io/sluice/connectors"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// windowRows is how many rows are handed to the file writer at once: columns that are made for the purpose then stay in
// the cache.
const windowRows = 4096

// place is what all rows of a partition's buffer share.
type place struct {
	connector, topic string
	partition        int32
	processedAtUs    int64
}

// records gives the buffered rows as Arrow records, in windows. The buffer is empty afterwards. A record is valid until the
// next one.
func (r *rows) records(s *arrow.Schema, p place) iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		stored := map[int]arrow.Array{
			colKafkaKey: r.key.NewBinaryArray(), colBefore: r.before.NewStringArray(), colAfter: r.after.NewStringArray(),
			colSourceTs: r.sourceTs.NewInt64Array(), colSource: r.source.NewStringArray(), colTransaction: r.txn.NewStringArray(),
			colCaptureTs: r.captureTs.NewInt64Array(), colHeaders: r.headers.NewListArray(), colKafkaValue: r.value.NewBinaryArray(),
		}
		defer func() {
			for _, a := range stored {
				a.Release()
			}
		}()
		w := newWindow(p)
		for from := 0; from < r.n; from += windowRows {
			to := min(from+windowRows, r.n)
			cols := make([]arrow.Array, numColumns)
			for i, a := range stored {
				cols[i] = array.NewSlice(a, int64(from), int64(to))
			}
			w.fill(r, from, to, cols)
			rec := array.NewRecord(s, cols, int64(to-from))
			for _, c := range cols {
				c.Release()
			}
			more := yield(rec)
			rec.Release()
			if !more {
				return
			}
		}
	}
}

// window makes the columns that are not stored.
type window struct {
	p                                   place
	text                                *array.StringBuilder
	ints                                *array.Int32Builder
	longs                               *array.Int64Builder
	stamps                              *array.TimestampBuilder
	scratch                             []byte
	nextSource, nextSchema              int
	sourceDB, sourceSchema, sourceTable *array.StringBuilder
}

var utcMicros = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

func newWindow(p place) *window {
	m := memory.DefaultAllocator
	return &window{
		p: p, text: array.NewStringBuilder(m), ints: array.NewInt32Builder(m), longs: array.NewInt64Builder(m),
		stamps: array.NewTimestampBuilder(m, utcMicros), sourceDB: array.NewStringBuilder(m),
		sourceSchema: array.NewStringBuilder(m), sourceTable: array.NewStringBuilder(m),
	}
}

func (w *window) fill(r *rows, from, to int, cols []arrow.Array) {
	n := to - from
	cols[colConnector] = w.repeat(w.p.connector, n)
	cols[colTopic] = w.repeat(w.p.topic, n)
	w.ints.Reserve(n)
	w.stamps.Reserve(n)
	for range n {
		w.ints.UnsafeAppend(w.p.partition)
		w.stamps.UnsafeAppend(arrow.Timestamp(w.p.processedAtUs))
	}
	cols[colPartition] = w.ints.NewInt32Array()
	cols[colProcessedAt] = w.stamps.NewTimestampArray()
	w.longs.AppendValues(r.offsets[from:to], nil)
	cols[colOffset] = w.longs.NewInt64Array()
	w.stamps.Reserve(n)
	for _, ms := range r.timestamps[from:to] {
		if ms < 0 {
			w.stamps.UnsafeAppendBoolToBitmap(false)
			continue
		}
		w.stamps.UnsafeAppend(arrow.Timestamp(ms * 1000))
	}
	cols[colKafkaTimestamp] = w.stamps.NewTimestampArray()
	cols[colEventID] = w.eventIDs(r.offsets[from:to])
	w.text.Reserve(n)
	for _, op := range r.operation[from:to] {
		appendText(w.text, op)
	}
	cols[colOperation] = w.text.NewStringArray()
	w.sources(r, from, to)
	cols[colSourceDB] = w.sourceDB.NewStringArray()
	cols[colSourceSchema] = w.sourceSchema.NewStringArray()
	cols[colSourceTable] = w.sourceTable.NewStringArray()
	for i := from; i < to; {
		for r.schemas[w.nextSchema].end <= i {
			w.nextSchema++
		}
		end := min(r.schemas[w.nextSchema].end, to)
		for ; i < end; i++ {
			appendText(w.text, r.schemas[w.nextSchema].value)
		}
	}
	cols[colValueSchema] = w.text.NewStringArray()
}

func (w *window) sources(r *rows, from, to int) {
	var none connectors.Source
	for i := from; i < to; {
		for r.sources[w.nextSource].end <= i {
			w.nextSource++
		}
		src := r.sources[w.nextSource].value
		if src == nil {
			src = &none
		}
		end := min(r.sources[w.nextSource].end, to)
		for ; i < end; i++ {
			appendText(w.sourceDB, src.DB)
			appendText(w.sourceSchema, src.Schema)
			appendText(w.sourceTable, src.Table)
		}
	}
}

func (w *window) repeat(s string, n int) arrow.Array {
	w.text.Reserve(n)
	w.text.ReserveData(n * len(s))
	for range n {
		w.text.Append(s)
	}
	return w.text.NewStringArray()
}

func (w *window) eventIDs(offsets []int64) arrow.Array {
	w.scratch = append(w.scratch[:0], w.p.topic...)
	w.scratch = append(w.scratch, '-')
	w.scratch = strconv.AppendInt(w.scratch, int64(w.p.partition), 10)
	w.scratch = append(w.scratch, '-')
	k := len(w.scratch)
	w.text.Reserve(len(offsets))
	w.text.ReserveData(len(offsets) * (k + 10))
	for _, o := range offsets {
		w.scratch = strconv.AppendInt(w.scratch[:k], o, 10)
		w.text.BinaryBuilder.Append(w.scratch)
	}
	return w.text.NewStringArray()
}
