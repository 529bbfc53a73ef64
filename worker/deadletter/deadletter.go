// Package deadletter keeps the records that could not be decoded, transformed or applied: with their bytes and the reason, in
// a Delta table, and where asked for in a Kafka topic as well (D6).
//
// A letter is named by (connector, topic, partition, offset, stage) and is in the table once, however often it is written:
// progress per partition and stage is in the same commit (D2), and where a letter lies before that progress the table itself
// is asked. The Kafka topic gets a letter at least once.
//
// What it is not: it judges no record, and is never in the way of one that is good.
package deadletter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker/bronze"
	"sluice.io/sluice/worker/commit"

	"github.com/google/uuid"
)

// Path is where the table lies in a lake.
const Path = "bronze/_dead_letters"

// Producer writes records to Kafka.
type Producer interface {
	Produce(ctx context.Context, records []connectors.Record) error
}

// Options are what a Box needs.
type Options struct {
	Connector string
	// Scope tells writers of one stage apart that look at the same offsets (table tasks of one topic); may be empty.
	Scope  string
	Bucket store.Bucket
	Tables *commit.Tables
	// Topic is errors.deadletterqueue.topic.name, empty for none; Headers adds what went wrong to the record's headers.
	Topic    string
	Headers  bool
	Producer Producer
	// Log has a line of each letter written to the log (errors.log.enable), LogPlace with where its record is (errors.log.include.messages).
	Log, LogPlace bool
	Logger        *slog.Logger
	Now           func() time.Time
}

// Box takes the dead letters of one connector. It is safe for concurrent use.
type Box struct {
	o  Options
	mu sync.Mutex // one write at a time: the table's progress is read and moved
}

// New makes a Box. It writes nothing.
func New(o Options) *Box {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Box{o: o}
}

// Columns of the table, in order.
const (
	colTopic = iota
	colPartition
	colOffset
	colTimestamp
	colKey
	colValue
	colHeaders
	colConnector
	colStage
	colReason
	colClass
	colFailedAt
)

// Schema is the row type of the table.
func Schema() schema.Schema {
	str, bin, ts := schema.Of(schema.String), schema.Of(schema.Binary), schema.Of(schema.Timestamp)
	header := schema.StructOf(schema.Field{Name: "key", Type: str, Nullable: true}, schema.Field{Name: "value", Type: bin, Nullable: true})
	f := func(name string, t schema.Type) schema.Field {
		return schema.Field{Name: name, Type: t, Nullable: true}
	}
	return schema.Schema{Fields: []schema.Field{
		colTopic: f("topic", str), colPartition: f("partition", schema.Of(schema.Integer)), colOffset: f("offset", schema.Of(schema.Long)),
		colTimestamp: f("kafka_timestamp", ts), colKey: f("kafka_key", bin), colValue: f("kafka_value", bin),
		colHeaders: f("headers", schema.ArrayOf(header)), colConnector: f("connector", str), colStage: f("stage", str),
		colReason: f("reason", str), colClass: f("error_class", str), colFailedAt: f("failed_at", ts),
	}}
}

var tableSchema = Schema()

// name is what makes a letter itself.
type name struct {
	connector, topic string
	partition        int32
	offset           int64
	stage            connectors.Stage
}

func nameOf(l *connectors.DeadLetter) name {
	return name{l.Connector, l.Record.Topic, l.Record.Partition, l.Record.Offset, l.Stage}
}

// appID names the progress of a partition's letters of one stage.
func (b *Box) appID(topic string, partition int32, stage connectors.Stage) string {
	id := "sluice-dead/" + b.o.Connector + "/" + topic + "/" + strconv.Itoa(int(partition)) + "/" + string(stage)
	if b.o.Scope != "" {
		id += "/" + b.o.Scope
	}
	return id
}

// Write keeps letters: all of them are in the table, once, when it returns nil. ranges say which offsets were looked at; they
// may be nil.
func (b *Box) Write(ctx context.Context, letters []connectors.DeadLetter, ranges []bronze.Range) error {
	if len(letters) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	letters = slices.Clone(letters)
	slices.SortStableFunc(letters, func(x, y connectors.DeadLetter) int {
		return cmp.Or(cmp.Compare(x.Record.Topic, y.Record.Topic), cmp.Compare(x.Record.Partition, y.Record.Partition),
			cmp.Compare(x.Record.Offset, y.Record.Offset), cmp.Compare(x.Stage, y.Stage))
	})
	letters = slices.CompactFunc(letters, func(x, y connectors.DeadLetter) bool { return nameOf(&x) == nameOf(&y) })
	t, err := b.o.Tables.OpenOrCreate(ctx, b.o.Bucket, Path, createOptions())
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", err)
	}
	for {
		err := b.append(ctx, t, letters)
		if errors.Is(err, commit.ErrLost) {
			continue // somebody else wrote letters of these partitions: look again what is there
		}
		if err != nil {
			return fmt.Errorf("keep %d dead letters: %w", len(letters), err)
		}
		break
	}
	b.log(letters)
	return b.produce(ctx, letters)
}

// log writes the lines that errors.log.enable asks for.
func (b *Box) log(letters []connectors.DeadLetter) {
	if !b.o.Log {
		return
	}
	for i := range letters {
		l := &letters[i]
		args := []any{"connector", l.Connector, "stage", l.Stage, "class", l.Class, "reason", l.Reason}
		if b.o.LogPlace {
			args = append(args, "topic", l.Record.Topic, "partition", l.Record.Partition, "offset", l.Record.Offset, "timestamp", l.Record.TimestampMs)
		}
		b.o.Logger.Error("a record became a dead letter", args...)
	}
}

// append commits the letters that the table does not have.
func (b *Box) append(ctx context.Context, t *delta.Table, letters []connectors.DeadLetter) error {
	s, err := t.Snapshot(ctx)
	if err != nil {
		return err
	}
	steps := map[string]*commit.Step{}
	var doubtful bool
	for i := range letters {
		l := &letters[i]
		id := b.appID(l.Record.Topic, l.Record.Partition, l.Stage)
		st := steps[id]
		if st == nil {
			v, ok := s.Txn(id)
			if !ok {
				v = -1
			}
			st = &commit.Step{App: id, From: v, To: v + 1} // it always moves, so that of two writers one loses (D2)
			steps[id] = st
		}
		doubtful = doubtful || l.Record.Offset < st.From
		st.To = max(st.To, l.Record.Offset+1)
	}
	fresh := letters
	if doubtful {
		there, err := present(ctx, s, letters)
		if err != nil {
			return err
		}
		fresh = slices.DeleteFunc(slices.Clone(letters), func(l connectors.DeadLetter) bool { return there[nameOf(&l)] })
	}
	if len(fresh) == 0 {
		return nil
	}
	file, err := b.upload(ctx, t, fresh)
	if err != nil {
		return err
	}
	a := commit.Append{Files: []delta.Add{file}, Info: delta.CommitInfo{
		Operation: "STREAMING UPDATE", OperationParameters: map[string]string{"outputMode": "Append", "queryId": b.o.Connector},
		OperationMetrics: map[string]string{"numOutputRows": strconv.Itoa(len(fresh)), "numAddedFiles": "1"},
	}}
	for _, st := range steps {
		if st.To > st.From { // else all letters of the partition lie before its progress, and the table was asked
			a.Steps = append(a.Steps, *st)
		}
	}
	slices.SortFunc(a.Steps, func(x, y commit.Step) int { return cmp.Compare(x.App, y.App) })
	_, err = b.o.Tables.Append(ctx, t, a)
	return err
}

func createOptions() delta.CreateOptions {
	return delta.CreateOptions{
		Schema: tableSchema, Name: "dead_letters",
		Description: "Records that could not be decoded, transformed or applied, with the reason",
		Configuration: map[string]string{
			delta.PropAppendOnly: "true", delta.PropCheckpointInterval: strconv.Itoa(commit.CheckpointEvery),
			delta.PropStatsColumnNames: "topic,partition,offset,kafka_timestamp,connector,stage,error_class,failed_at",
		},
	}
}

// upload writes the letters to a file of a name that is used once.
func (b *Box) upload(ctx context.Context, t *delta.Table, letters []connectors.DeadLetter) (delta.Add, error) {
	rows := columnar.NewBuilder(tableSchema)
	defer rows.Release()
	now := b.o.Now()
	for i := range letters {
		if err := appendRow(rows, &letters[i], now); err != nil {
			return delta.Add{}, commit.Permanent(err)
		}
	}
	rec := rows.NewRecord()
	defer rec.Release()
	var buf bytes.Buffer
	w, err := columnar.NewWriter(&buf, tableSchema, columnar.WriterOptions{StatsColumns: 12})
	if err != nil {
		return delta.Add{}, commit.Permanent(err)
	}
	if err := w.Write(rec); err != nil {
		return delta.Add{}, commit.Permanent(err)
	}
	stats, err := w.Close()
	if err != nil {
		return delta.Add{}, commit.Permanent(err)
	}
	path := "dead-" + uuid.NewString() + ".parquet"
	if err := b.o.Bucket.Put(ctx, t.Path()+"/"+path, buf.Bytes()); err != nil {
		return delta.Add{}, err
	}
	return delta.Add{Path: path, Size: int64(buf.Len()), ModificationTime: now.UnixMilli(), DataChange: true, Stats: stats.JSON(false),
		Written: &delta.Written{Size: int64(buf.Len()), Rows: stats.NumRecords}}, nil
}

func appendRow(b *columnar.Builder, l *connectors.DeadLetter, now time.Time) error {
	r := l.Record
	timestamp := connectors.NullValue()
	if r.TimestampMs >= 0 {
		timestamp = connectors.Int(schema.Timestamp, r.TimestampMs*1000)
	}
	for col, v := range []connectors.Value{
		colTopic: connectors.Text(r.Topic), colPartition: connectors.Int(schema.Integer, int64(r.Partition)),
		colOffset: connectors.Int(schema.Long, r.Offset), colTimestamp: timestamp, colKey: bytesOf(r.Key), colValue: bytesOf(r.Value),
		colHeaders: headersOf(r.Headers), colConnector: connectors.Text(l.Connector), colStage: connectors.Text(string(l.Stage)),
		colReason: connectors.Text(l.Reason), colClass: connectors.Text(l.Class),
		colFailedAt: connectors.Int(schema.Timestamp, now.UnixMicro()),
	} {
		if err := b.Append(col, v); err != nil {
			return fmt.Errorf("column %s: %w", tableSchema.Fields[col].Name, err)
		}
	}
	return nil
}

func bytesOf(b []byte) connectors.Value {
	if b == nil {
		return connectors.NullValue()
	}
	return connectors.Bytes(string(b))
}

func headersOf(hs []connectors.Header) connectors.Value {
	if len(hs) == 0 {
		return connectors.NullValue()
	}
	out := make([]connectors.Value, len(hs))
	for i, h := range hs {
		out[i] = connectors.Nested(schema.Struct, []connectors.Value{connectors.Text(h.Key), bytesOf(h.Value)})
	}
	return connectors.Nested(schema.Array, out)
}

// present tells which of the letters are in the table.
func present(ctx context.Context, s *delta.Snapshot, letters []connectors.DeadLetter) (map[name]bool, error) {
	wanted := make(map[name]bool, len(letters))
	for i := range letters {
		wanted[nameOf(&letters[i])] = true
	}
	there := map[name]bool{}
	t := s.Table()
	for add := range s.Files() {
		key, err := t.ObjectKey(add.Path)
		if err != nil {
			return nil, err
		}
		data, err := t.Bucket().Get(ctx, key)
		if err != nil {
			return nil, err
		}
		f, err := columnar.OpenFile(ctx, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		cols := []string{"connector", "topic", "partition", "offset", "stage"}
		for batch, err := range f.Read(ctx, columnar.ReadOptions{Columns: cols, Target: &tableSchema}) {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			get := func(col, row int) connectors.Value {
				return columnar.ValueAt(batch.Record.Column(col), tableSchema.Fields[tableSchema.Index(cols[col])].Type, row)
			}
			for i := range int(batch.Record.NumRows()) {
				n := name{get(0, i).Str, get(1, i).Str, int32(get(2, i).Int), get(3, i).Int, connectors.Stage(get(4, i).Str)}
				if wanted[n] {
					n.connector, n.topic, n.stage = clone(n.connector), clone(n.topic), connectors.Stage(clone(string(n.stage)))
					there[n] = true
				}
			}
			batch.Record.Release()
		}
	}
	return there, nil
}

func clone(s string) string { return string([]byte(s)) }

// produce copies the letters to the Kafka topic, with Kafka Connect's headers.
func (b *Box) produce(ctx context.Context, letters []connectors.DeadLetter) error {
	if b.o.Topic == "" || b.o.Producer == nil {
		return nil
	}
	out := make([]connectors.Record, len(letters))
	for i := range letters {
		l := &letters[i]
		out[i] = connectors.Record{Topic: b.o.Topic, TimestampMs: l.Record.TimestampMs, Key: l.Record.Key, Value: l.Record.Value,
			Headers: slices.Clone(l.Record.Headers)}
		if b.o.Headers {
			out[i].Headers = append(out[i].Headers, connectHeaders(l)...)
		}
	}
	if err := b.o.Producer.Produce(ctx, out); err != nil {
		return fmt.Errorf("copy %d dead letters to topic %s: %w", len(letters), b.o.Topic, err)
	}
	return nil
}

// connectHeaders are those of Kafka Connect's DeadLetterQueueReporter.
func connectHeaders(l *connectors.DeadLetter) []connectors.Header {
	stage := map[connectors.Stage]string{
		connectors.StageDecode: "VALUE_CONVERTER", connectors.StageTransform: "TRANSFORMATION", connectors.StageApply: "TASK_PUT",
	}[l.Stage]
	h := func(k, v string) connectors.Header {
		return connectors.Header{Key: "__connect.errors." + k, Value: []byte(v)}
	}
	return []connectors.Header{
		h("topic", l.Record.Topic), h("partition", strconv.Itoa(int(l.Record.Partition))), h("offset", strconv.FormatInt(l.Record.Offset, 10)),
		h("connector.name", l.Connector), h("task.id", strconv.Itoa(int(l.Record.Partition))), h("stage", stage),
		h("class.name", "io.sluice.LakehouseSinkConnector"), h("exception.class.name", l.Class),
		h("exception.message", l.Reason), h("exception.stacktrace", l.Class+": "+l.Reason),
	}
}
