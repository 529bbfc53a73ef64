package bronze

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/worker/commit"
)

// Partition is what one pump appends through. Add is for one goroutine.
type Partition struct {
	a     *Appender
	id    int32
	epoch uint64

	ctx    context.Context // ends when the pump must look at the table again, with the cause
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	dec       connectors.Decoder
	gen       uint64
	from      int64 // txn that the chunk at hand continues: -1 never read
	next      int64 // next offset wanted
	buf       *part
	committed int64         // rows of the newest commit end here
	cut       int64         // rows that were cut end here
	moved     chan struct{} // closed and replaced when committed changes
	scratch   []connectors.Change
	build     *columnar.Builder // of the window at hand; its rows belong to buf
	gone      bool
}

// part is one partition's share of a chunk.
type part struct {
	p        *Partition
	gen      uint64
	epoch    uint64
	from, to int64
	first    int64 // offset of the first row
	rows     *rows
	hot      bool // changes are kept
	slabs    [][]connectors.Change
	letters  []connectors.DeadLetter
	bytes    int64 // all that is held, hot changes included
	hotBytes int64
}

// Join adds a partition. The pump reads from Next on; where that is -1 the partition was never read, and Begin says where.
// Errors: ErrTopicChanged, ErrClosed, and those of the store.
func (a *Appender) Join(ctx context.Context, partition int32, epoch uint64) (*Partition, error) {
	dec, err := a.o.NewDecoder()
	if err != nil {
		return nil, err
	}
	next, err := a.progress(ctx, partition)
	if err != nil {
		return nil, err
	}
	p := &Partition{a: a, id: partition, epoch: epoch, dec: dec, build: columnar.NewBuilder(storedSchema), from: next, next: next, committed: next, cut: next, moved: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return nil, a.err
	}
	if old := a.parts[partition]; old != nil {
		return nil, fmt.Errorf("%s-%d is appended already, under epoch %d", a.o.Topic, partition, old.epoch)
	}
	p.gen = a.gen
	a.parts[partition] = p
	return p, nil
}

// progress reads a partition's next offset from the table, -1 if it has none (D1).
func (a *Appender) progress(ctx context.Context, partition int32) (int64, error) {
	t, err := a.o.Tables.Open(ctx, a.o.Bucket, a.o.Path)
	if errors.Is(err, delta.ErrNotTable) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	s, err := t.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	if id, ok := s.Txn(TopicAppID(a.o.Connector, a.o.Topic)); ok && a.o.TopicID != "" && id != topicNumber(a.o.TopicID) {
		return 0, fmt.Errorf("%w: %s holds records of a topic %s whose id was not %s, as it is now. "+
			"Point bronze.path at another table, or delete this one to begin anew", ErrTopicChanged, t.URL(), a.o.Topic, a.o.TopicID)
	}
	if v, ok := s.Txn(AppID(a.o.Connector, a.o.Topic, partition)); ok {
		return v, nil
	}
	return -1, nil
}

// Context ends when the pump must stop reading: with ErrReseek as its cause, or the error that ended the Appender.
func (p *Partition) Context() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx
}

// Next is the offset that Add wants next; -1 before Begin for a partition that was never read.
func (p *Partition) Next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// Committed is the offset up to which records are in the table, or the one that the table had at Join.
func (p *Partition) Committed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed
}

// Begin sets the first offset of a partition that was never read.
func (p *Partition) Begin(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next < 0 {
		p.next = offset
	}
}

// Reseek reads the partition's progress from the table after ErrReseek and forgets what was buffered.
func (p *Partition) Reseek(ctx context.Context) error {
	next, err := p.a.progress(ctx, p.id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return ErrClosed
	}
	p.a.mu.Lock() // under p.mu: a generation that ends from here on abandons the new context too
	gen := p.a.gen
	p.a.mu.Unlock()
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	p.gen, p.from, p.next, p.committed, p.cut = gen, next, next, next, next
	p.buf = nil
	p.build.Release()
	return nil
}

// Add decodes and buffers a batch. It blocks while the Appender's memory is full (D9).
func (p *Partition) Add(ctx context.Context, b kafka.Batch) error {
	records := b.Records
	for len(records) > 0 {
		if err := p.a.room(ctx, p); err != nil {
			return err
		}
		n, err := p.addSome(records)
		if err != nil {
			return p.keep(ctx, err)
		}
		records = records[n:]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	p.next = max(p.next, b.Next)
	if p.buf != nil {
		p.buf.to = p.next // offsets without records are jumped over by the txn
	}
	return nil
}

// intolerable is the error of a record that cannot be decoded where none may be (errors.tolerance=none).
type intolerable struct{ letter connectors.DeadLetter }

func (e *intolerable) Error() string {
	return fmt.Sprintf("record %s is a dead letter, and errors.tolerance is none: %s", e.letter.Record.EventID(), e.letter.Reason)
}

// keep writes the letter of a record that ends the partition, which is then the end of it.
func (p *Partition) keep(ctx context.Context, err error) error {
	var bad *intolerable
	if !errors.As(err, &bad) {
		return err
	}
	if p.a.o.DeadLetters != nil {
		if err := p.a.o.DeadLetters.Write(ctx, []connectors.DeadLetter{bad.letter}, nil); err != nil {
			return err
		}
	}
	return commit.Permanent(bad)
}

// addSome takes records until the chunk is full. It gives how many it took.
func (p *Partition) addSome(records []connectors.Record) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	if p.buf == nil {
		hot := p.a.o.Hot != nil && p.a.o.Hot.Wanted()
		p.buf = &part{p: p, gen: p.gen, epoch: p.epoch, from: p.from, to: p.next, first: -1, rows: &rows{}, hot: hot}
	}
	buf := p.buf
	before, taken := buf.bytes, 0
	var err error
	for i := range records {
		rec := &records[i]
		if rec.Offset < p.next {
			taken++
			continue // had already
		}
		if err = p.addOne(buf, rec); err != nil {
			break
		}
		taken++
		p.next = rec.Offset + 1
		buf.to = p.next
		if taken&63 == 0 && (p.a.filled.Load()+buf.bytes-before >= p.a.o.MaxBytes || p.a.o.Memory.Used() >= p.a.o.Memory.Limit()) {
			break
		}
	}
	grown := buf.bytes - before
	p.a.o.Memory.Add(grown)
	if p.a.filled.Add(grown) >= p.a.o.MaxBytes {
		p.a.poke()
	}
	if buf.rows.n > 0 && p.a.open.CompareAndSwap(0, p.a.o.Now().UnixNano()) {
		p.a.poke()
	}
	return taken, err
}

func (p *Partition) addOne(buf *part, rec *connectors.Record) error {
	dst := p.scratch[:0]
	if buf.hot {
		if k := len(buf.slabs); k == 0 || len(buf.slabs[k-1]) == cap(buf.slabs[k-1]) {
			buf.slabs = append(buf.slabs, p.a.o.Slabs.get())
		}
		dst = buf.slabs[len(buf.slabs)-1]
	}
	at := len(dst)
	changes, err := p.dec.Decode(dst, rec)
	if err != nil {
		poison, ok := connectors.IsPoison(err)
		if !ok {
			return commit.Retry(fmt.Errorf("decode %s: %w", rec.EventID(), err))
		}
		if p.a.o.FailOnPoison {
			return &intolerable{poison.Letter(rec, p.a.o.Connector)}
		}
		buf.letters = append(buf.letters, poison.Letter(rec, p.a.o.Connector))
		p.a.stats.poison.Add(1)
		if poison.Stage != connectors.StageTransform { // what only a transform refused has its row as it came
			changes = changes[:at]
		}
	}
	made := changes[at:]
	if buf.hot {
		buf.slabs[len(buf.slabs)-1] = changes
	} else {
		p.scratch = changes
	}
	size := buf.rows.bytes
	x := row{rec: rec}
	if len(made) > 0 {
		x.c, x.whole = &made[0], len(made) == 1 && (made[0].Raw.Complete || rec.Value == nil)
	}
	if buf.hot {
		buf.rows.keep(x)
	} else {
		buf.rows.add(p.build, x)
	}
	if buf.first < 0 {
		buf.first = rec.Offset
	}
	buf.bytes += buf.rows.bytes - size
	if buf.hot {
		for i := range made {
			n := HotBytes(&made[i])
			buf.hotBytes += n
			buf.bytes += n
		}
	}
	return nil
}

// HotBytes is about what keeping a change in memory takes, its record included.
func HotBytes(c *connectors.Change) int64 {
	n := changeBytes + valueBytes*int64(len(c.Key.Values)+len(c.Before.Values)+len(c.After.Values))
	if c.Record != nil && c.Sub == 0 {
		n += int64(len(c.Record.Key)+len(c.Record.Value)) + recordBytes
	}
	return n
}

const (
	changeBytes = int64(unsafe.Sizeof(connectors.Change{}))
	valueBytes  = int64(unsafe.Sizeof(connectors.Value{}))
	recordBytes = int64(unsafe.Sizeof(connectors.Record{}))
)

// room waits while the chunk at hand, or the memory of all Appenders, is full.
func (a *Appender) room(ctx context.Context, p *Partition) error {
	for {
		a.mu.Lock()
		cut := a.cutDone
		a.mu.Unlock()
		filled := a.filled.Load()
		if filled < a.o.MaxBytes && (filled == 0 || a.o.Memory.Used() < a.o.Memory.Limit()) {
			return nil
		}
		a.poke()
		select {
		case <-cut:
		case <-p.Context().Done():
			return context.Cause(p.Context())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leave commits what was added and takes the partition out. When ctx ends before the commit is done the rest is abandoned:
// whoever owns the partition next reads it again.
func (p *Partition) Leave(ctx context.Context) error {
	defer p.remove()
	for {
		p.mu.Lock()
		if p.ctx.Err() != nil {
			defer p.mu.Unlock()
			return context.Cause(p.ctx)
		}
		pending := p.buf != nil && p.buf.rows.n > 0 || p.cut > p.committed
		moved := p.moved
		p.mu.Unlock()
		if !pending {
			return nil
		}
		p.a.flush.Store(true)
		p.a.poke()
		select {
		case <-moved:
		case <-p.ctx.Done():
		case <-ctx.Done():
			return fmt.Errorf("leave %s-%d with records that are not committed: %w", p.a.o.Topic, p.id, ctx.Err())
		}
	}
}

// Drop takes the partition out at once; what was added and is not yet being committed is abandoned.
func (p *Partition) Drop() { p.remove() }

func (p *Partition) remove() {
	p.a.mu.Lock()
	if p.a.parts[p.id] == p {
		delete(p.a.parts, p.id)
	}
	p.a.mu.Unlock()
	p.abandon(ErrClosed)
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
}

// abandon drops what is buffered and ends the pump's context.
func (p *Partition) abandon(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf != nil {
		p.a.filled.Add(-p.buf.bytes)
		p.a.o.Memory.Add(-p.buf.bytes)
		p.buf = nil
	}
	p.build.Release()
	p.cancel(cause)
}
