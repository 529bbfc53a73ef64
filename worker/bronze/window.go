package bronze

import (
	"iter"
	"strconv"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// window makes the columns that are not stored by row, for all partitions of a chunk.
type window struct {
	schema    *arrow.Schema
	connector arrow.Array // windowRows times the same, to be cut to size
	topic     arrow.Array
	none      arrow.Array // nulls
	processed arrow.Array
	topicName string

	text    *array.StringBuilder
	scratch []byte
	// names of the last source, windowRows times
	source                      *connectors.Source
	sourceDB, sourceSc, sourceT arrow.Array
}

var utcMicros = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}

func newWindow(s *arrow.Schema, connector, topic string, processedAtUs int64) *window {
	w := &window{schema: s, topicName: topic, text: array.NewStringBuilder(memory.DefaultAllocator)}
	w.connector, w.topic, w.none = w.same(connector), w.same(topic), w.same("")
	stamps := array.NewTimestampBuilder(memory.DefaultAllocator, utcMicros)
	stamps.Reserve(windowRows)
	for range windowRows {
		stamps.UnsafeAppend(arrow.Timestamp(processedAtUs))
	}
	w.processed = stamps.NewTimestampArray()
	return w
}

// same makes a text column of windowRows times s; nulls where s is empty.
func (w *window) same(s string) arrow.Array {
	w.text.Reserve(windowRows)
	w.text.ReserveData(windowRows * len(s))
	for range windowRows {
		if s == "" {
			w.text.AppendNull()
		} else {
			w.text.Append(s)
		}
	}
	return w.text.NewStringArray()
}

// records gives the rows of a partition as records of the table. A record is valid until the next one.
func (w *window) records(r *rows, partition int32, b *columnar.Builder) iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		ints := array.NewInt32Builder(memory.DefaultAllocator)
		ints.Reserve(windowRows)
		for range windowRows {
			ints.UnsafeAppend(partition)
		}
		partitions := arrow.Array(ints.NewInt32Array())
		defer partitions.Release()
		sources, schemas := cursor[*connectors.Source]{runs: &r.sources}, cursor[string]{runs: &r.schemas}
		from := 0
		for stored := range r.stored(b) {
			n := int(stored.NumRows())
			cols := make([]arrow.Array, numColumns)
			for i, to := range storedColumns {
				cols[to] = stored.Column(i)
				cols[to].Retain()
			}
			cut := func(a arrow.Array) arrow.Array { return array.NewSlice(a, 0, int64(n)) }
			cols[colConnector], cols[colTopic], cols[colPartition] = cut(w.connector), cut(w.topic), cut(partitions)
			cols[colProcessedAt] = cut(w.processed)
			cols[colEventID] = w.eventIDs(stored.Column(stOffset).(*array.Int64).Int64Values(), partition)
			w.sources(&sources, from, n, cols)
			cols[colValueSchema] = w.texts(&schemas, from, n)
			rec := array.NewRecord(w.schema, cols, int64(n))
			for _, c := range cols {
				c.Release()
			}
			more := yield(rec)
			rec.Release()
			from += n
			if !more {
				return
			}
		}
	}
}

// cursor walks over runs, which may grow meanwhile.
type cursor[T any] struct {
	runs *[]run[T]
	at   int
}

// until gives the value of row i and the row, at most to, where its run ends.
func (c *cursor[T]) until(i, to int) (T, int) {
	runs := *c.runs
	for runs[c.at].end <= i {
		c.at++
	}
	return runs[c.at].value, min(runs[c.at].end, to)
}

func (w *window) sources(c *cursor[*connectors.Source], from, n int, cols []arrow.Array) {
	src, end := c.until(from, from+n)
	if end == from+n { // the usual case: one table
		if src == nil {
			src = &connectors.Source{}
		}
		if w.source != src {
			w.sourceDB, w.sourceSc, w.sourceT = w.same(src.DB), w.same(src.Schema), w.same(src.Table)
			w.source = src
		}
		for col, a := range map[int]arrow.Array{colSourceDB: w.sourceDB, colSourceSchema: w.sourceSc, colSourceTable: w.sourceT} {
			cols[col] = array.NewSlice(a, 0, int64(n))
		}
		return
	}
	for col, name := range map[int]func(*connectors.Source) string{
		colSourceDB:     func(s *connectors.Source) string { return s.DB },
		colSourceSchema: func(s *connectors.Source) string { return s.Schema },
		colSourceTable:  func(s *connectors.Source) string { return s.Table },
	} {
		again := cursor[*connectors.Source]{runs: c.runs}
		for i := from; i < from+n; {
			src, end := again.until(i, from+n)
			text := ""
			if src != nil {
				text = name(src)
			}
			i = w.fill(text, i, end)
		}
		cols[col] = w.text.NewStringArray()
	}
}

// fill appends s for rows i to end.
func (w *window) fill(s string, i, end int) int {
	for ; i < end; i++ {
		if s == "" {
			w.text.AppendNull()
		} else {
			w.text.Append(s)
		}
	}
	return end
}

func (w *window) texts(c *cursor[string], from, n int) arrow.Array {
	if s, end := c.until(from, from+n); s == "" && end == from+n {
		return array.NewSlice(w.none, 0, int64(n))
	}
	for i := from; i < from+n; {
		s, end := c.until(i, from+n)
		i = w.fill(s, i, end)
	}
	return w.text.NewStringArray()
}

func (w *window) eventIDs(offsets []int64, partition int32) arrow.Array {
	w.scratch = append(w.scratch[:0], w.topicName...)
	w.scratch = append(w.scratch, '-')
	w.scratch = strconv.AppendInt(w.scratch, int64(partition), 10)
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
