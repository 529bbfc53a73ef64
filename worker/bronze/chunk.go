package bronze

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/commit"
)

// chunk is what becomes one file and one commit.
type chunk struct {
	gen   uint64
	parts []*part // by partition
	rows  int
	bytes int64
	file  delta.Add
	held  int64 // bytes of the memory budget that are not given back yet
	took  phases
}

// drop gives the memory of a chunk back that will not be committed.
func (c *chunk) drop(a *Appender) {
	a.o.Memory.Add(-c.held)
	c.held = 0
}

// cut takes what all partitions have buffered. nil: nothing.
func (a *Appender) cut() *chunk {
	a.mu.Lock()
	gen := a.gen
	parts := a.partitions()
	a.mu.Unlock()
	a.flush.Store(false)
	a.open.Store(0) // before the sweep: a row that comes meanwhile starts the clock again, at worst for nothing
	c := &chunk{gen: gen}
	for _, p := range parts {
		if b := p.take(gen); b != nil {
			c.parts = append(c.parts, b)
			c.rows += b.rows.n
			c.bytes += b.bytes
		}
	}
	a.filled.Add(-c.bytes)
	c.held = c.bytes
	a.mu.Lock()
	close(a.cutDone)
	a.cutDone = make(chan struct{})
	a.mu.Unlock()
	if len(c.parts) == 0 {
		return nil
	}
	return c
}

// take gives what the partition has buffered, sealed; nil: nothing.
func (p *Partition) take(gen uint64) *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buf
	if b == nil || b.rows.n == 0 || b.gen != gen {
		return nil
	}
	b.rows.seal(p.build)
	p.buf, p.from, p.cut = nil, b.to, b.to
	return b
}

// write encodes the chunk and uploads it.
func (a *Appender) write(ctx context.Context, c *chunk) error {
	file := a.o.Spares.File()
	start := a.o.Now()
	stats, err := a.encode(ctx, c, file)
	c.took.encode = a.o.Now().Sub(start)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("encode bronze rows of %s: %w", a.o.Topic, commit.Permanent(err))
	}
	data := file.Bytes()
	name := c.name(a.o.Connector, a.o.Topic)
	key := name
	if a.o.Path != "" {
		key = a.o.Path + "/" + name
	}
	a.o.Crash(PhaseBeforeUpload)
	// The name is this input's and this run's alone (D4: an epoch is one run of a task in one life of a process), so putting it
	// twice puts the same bytes.
	start = a.o.Now()
	if err := a.retry(ctx, "upload "+key, func() error { return a.o.Bucket.Put(ctx, key, data) }); err != nil {
		return err
	}
	c.took.store = a.o.Now().Sub(start)
	a.o.Crash(PhaseBeforeCommit)
	size := int64(len(data))
	a.o.Spares.GiveFile(file)
	c.file = delta.Add{Path: name, Size: size, ModificationTime: a.o.Now().UnixMilli(), DataChange: true, Stats: stats.JSON(false),
		Written: &delta.Written{Size: size, Rows: stats.NumRecords}}
	// Encoded rows are no longer needed; kept changes are.
	hot := int64(0)
	for _, p := range c.parts {
		p.rows = nil
		hot += p.hotBytes
	}
	a.o.Memory.Add(hot - c.held)
	c.held = hot
	return nil
}

var bronzeSchema = Schema()

// statsColumns have minima and maxima in the log. Texts would only make it longer.
var statsColumns = []string{"operation", "source_ts_ms", "topic", "partition", "offset", "kafka_timestamp", "processed_at"}

func (a *Appender) encode(ctx context.Context, c *chunk, file *bytes.Buffer) (columnar.FileStats, error) {
	select {
	case a.o.Encoders <- struct{}{}:
	case <-ctx.Done():
		return columnar.FileStats{}, ctx.Err()
	}
	defer func() { <-a.o.Encoders }()
	arrowSchema, err := columnar.ArrowSchema(bronzeSchema)
	if err != nil {
		return columnar.FileStats{}, err
	}
	pages := a.o.Spares.Pages()
	w, err := columnar.NewWriter(file, bronzeSchema, columnar.WriterOptions{StatsNames: statsColumns, Buffers: pages, NoPacking: a.plainIntegers()})
	if err != nil {
		return columnar.FileStats{}, err
	}
	made := newWindow(arrowSchema, a.o.Connector, a.o.Topic, a.o.Now().UnixMicro())
	for _, p := range c.parts {
		for rec := range made.records(p.rows, p.p.id, a.build) {
			if err := w.Write(rec); err != nil {
				return columnar.FileStats{}, err
			}
		}
	}
	stats, err := w.Close()
	a.o.Spares.GivePages(pages)
	return stats, err
}

// plainIntegers is delta.Snapshot.PlainIntegers of the table as this node last saw it.
func (a *Appender) plainIntegers() bool {
	t := a.o.Tables.Opened(a.o.Bucket, a.o.Path)
	return t != nil && t.Cached().PlainIntegers()
}

// name is a function of the input: connector, topic, epoch, and the offsets of each partition (D4).
func (c *chunk) name(connector, topic string) string {
	h := sha256.New()
	var epoch uint64
	fmt.Fprintf(h, "%q %q", connector, topic)
	for _, p := range c.parts {
		fmt.Fprintf(h, " %d:%d-%d@%d", p.p.id, p.first, p.to, p.epoch)
		epoch = max(epoch, p.epoch)
	}
	return fmt.Sprintf("bronze-%08x-%s.parquet", epoch, hex.EncodeToString(h.Sum(nil)[:12]))
}

// commit writes the chunk's dead letters, then commits file and progress together (D1, D6), then tells who wants to know.
func (a *Appender) commit(ctx context.Context, c *chunk) error {
	if !a.current(c.gen) {
		c.drop(a)
		return nil
	}
	start := a.o.Now()
	if err := a.deadLetters(ctx, c); err != nil {
		return err
	}
	c.took.letters = a.o.Now().Sub(start)
	start = a.o.Now()
	var version int64
	lost := false
	err := a.retry(ctx, "commit to "+a.o.Path, func() error {
		t, err := a.o.Tables.OpenOrCreate(ctx, a.o.Bucket, a.o.Path, a.createOptions())
		if err != nil {
			return err
		}
		s := t.Cached()
		if s == nil {
			if s, err = t.Snapshot(ctx); err != nil {
				return err
			}
		}
		version, err = a.o.Tables.Append(ctx, t, commit.Append{Files: []delta.Add{c.file}, Steps: a.steps(c, s), Info: a.info(c)})
		if !errors.Is(err, commit.ErrLost) {
			return err
		}
		// Only the topic's id may have been written by another node meanwhile; then the rows still fit.
		s, err = t.Snapshot(ctx)
		if err != nil {
			return err
		}
		if lost = !a.continues(c, s); lost {
			return nil
		}
		return commit.Retry(errors.New("another node wrote the topic's id; trying again"))
	})
	if err != nil {
		c.drop(a)
		return err
	}
	if lost {
		a.lost()
		c.drop(a)
		return nil
	}
	c.took.store += a.o.Now().Sub(start)
	a.o.Crash(PhaseBeforeMirror)
	start = a.o.Now()
	a.committed(c, version)
	c.took.hand = a.o.Now().Sub(start)
	a.explain(c)
	return nil
}

func (a *Appender) deadLetters(ctx context.Context, c *chunk) error {
	var letters []connectors.DeadLetter
	var ranges []Range
	for _, p := range c.parts {
		if len(p.letters) > 0 {
			letters = append(letters, p.letters...)
			ranges = append(ranges, Range{Topic: a.o.Topic, Partition: p.p.id, From: p.first, To: p.to})
		}
	}
	if len(letters) == 0 || a.o.DeadLetters == nil {
		return nil
	}
	return a.retry(ctx, "write dead letters", func() error { return a.o.DeadLetters.Write(ctx, letters, ranges) })
}

// steps are the progress that the chunk makes (D1, D2).
func (a *Appender) steps(c *chunk, s *delta.Snapshot) []commit.Step {
	steps := make([]commit.Step, 0, len(c.parts)+1)
	for _, p := range c.parts {
		steps = append(steps, commit.Step{App: AppID(a.o.Connector, a.o.Topic, p.p.id), From: p.from, To: p.to})
	}
	if a.o.TopicID != "" {
		if _, ok := s.Txn(TopicAppID(a.o.Connector, a.o.Topic)); !ok {
			steps = append(steps, commit.Step{App: TopicAppID(a.o.Connector, a.o.Topic), From: -1, To: topicNumber(a.o.TopicID)})
		}
	}
	return steps
}

// continues tells whether the table is still where the chunk begins.
func (a *Appender) continues(c *chunk, s *delta.Snapshot) bool {
	for _, p := range c.parts {
		v, ok := s.Txn(AppID(a.o.Connector, a.o.Topic, p.p.id))
		if !ok {
			v = -1
		}
		if v != p.from {
			return false
		}
	}
	return true
}

func (a *Appender) info(c *chunk) delta.CommitInfo {
	return delta.CommitInfo{
		Operation:           "STREAMING UPDATE",
		OperationParameters: map[string]string{"outputMode": "Append", "queryId": a.o.Connector},
		OperationMetrics: map[string]string{
			"numOutputRows": strconv.Itoa(c.rows), "numAddedFiles": "1", "numOutputBytes": strconv.FormatInt(c.file.Size, 10),
		},
	}
}

func (a *Appender) createOptions() delta.CreateOptions { return TableOptions(a.o.Topic) }

// TableOptions describe the bronze table of a topic as it is made.
func TableOptions(topic string) delta.CreateOptions {
	return delta.CreateOptions{
		Schema: bronzeSchema,
		Name:   topic,
		Configuration: map[string]string{
			delta.PropAppendOnly:         "true",
			delta.PropCheckpointInterval: strconv.Itoa(commit.CheckpointEvery),
			delta.PropStatsColumnNames:   joinNames(statsColumns),
		},
		Description: "Raw change events of the Kafka topic " + topic + ", one row per record",
	}
}

func joinNames(names []string) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ","
		}
		out += n
	}
	return out
}

func (a *Appender) current(gen uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gen == gen
}

// lost makes all partitions begin again from the table (D2).
func (a *Appender) lost() {
	a.mu.Lock()
	a.gen++
	parts := a.partitions()
	a.mu.Unlock()
	a.o.Refused()
	a.log.Warn("another writer moved this table's progress; reading on from the table")
	for _, p := range parts {
		p.abandon(ErrReseek)
	}
}

// committed tells everybody.
func (a *Appender) committed(c *chunk, version int64) {
	next := make(map[int32]int64, len(c.parts))
	hot := a.o.Hot != nil
	for _, p := range c.parts {
		next[p.p.id] = p.to
		hot = hot && p.hot
		p.p.mu.Lock()
		if p.p.gen == p.gen {
			p.p.committed = p.to
			close(p.p.moved)
			p.p.moved = make(chan struct{})
		}
		p.p.mu.Unlock()
	}
	a.stats.rows.Add(int64(c.rows))
	a.stats.bytes.Add(c.file.Size)
	a.stats.commits.Add(1)
	a.stats.lastVersion.Store(version)
	a.stats.lastCommit.Store(a.o.Now().UnixMilli())
	if hot {
		var slabs [][]connectors.Change
		for _, p := range c.parts {
			slabs = append(slabs, p.slabs...)
		}
		a.o.Hot.Offer(version, slabs, c.held, hotWait)
	} else if a.o.Hot != nil {
		a.o.Hot.Skip(version)
	}
	c.drop(a) // kept changes are the follower's now
	if a.o.Mirror != nil {
		a.o.Mirror(a.o.Topic, next)
	}
}

// topicNumber makes a txn version of Kafka's topic id.
func topicNumber(id string) int64 {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) < 8 {
		h := sha256.Sum256([]byte(id))
		raw = h[:]
	}
	return int64(binary.BigEndian.Uint64(raw) >> 1)
}
