package shop

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Options shape a shop. The same Options give the same records.
type Options struct {
	Seed uint64 `json:"seed"`
	// Prefix is Debezium's topic.prefix: topics are <prefix>.public.<table>. Default "shop".
	Prefix string `json:"prefix"`
	// Partitions of each topic. Default 4.
	Partitions int32 `json:"partitions"`
	// Schemas makes the JSON converter embed schemas, as its default is. Without, decimals are text and dates numbers.
	Schemas bool `json:"schemas"`
	// Customers and Orders are the rows that the snapshot finds. Defaults 200 and 300.
	Customers int `json:"customers"`
	Orders    int `json:"orders"`
	// MaxOrders is where old orders begin to be deleted faster than new ones come. Default 20 000.
	MaxOrders int `json:"maxOrders"`
	// Start is the time at which the life begins. Default 2026-01-05T08:00:00Z.
	Start time.Time `json:"start"`
	// Step is the time that one transaction takes. Default 10 ms.
	Step time.Duration `json:"step"`
	// Unavailable lets the log leave out long unchanged values of customers (TOAST), as PostgreSQL does.
	Unavailable bool `json:"unavailable"`
	// Mishaps is how often things go wrong, in parts of a million transactions.
	Mishaps Mishaps `json:"mishaps"`
}

// Mishaps are chances in parts of a million, for each transaction.
type Mishaps struct {
	Truncate  int `json:"truncate"`  // order_lines is truncated
	Restart   int `json:"restart"`   // the connector restarts and repeats its last transactions
	Late      int `json:"late"`      // an event comes late, over another partition
	Malformed int `json:"malformed"` // a record that nobody can decode
	KeyChange int `json:"keyChange"` // a primary key is changed
	Reborn    int `json:"reborn"`    // a deleted row is created again under its key
}

// Calm is a life without mishaps; Usual is what `sluice dev` shows; Rough is for tests that want to see all of it soon.
var (
	Calm  = Mishaps{}
	Usual = Mishaps{Truncate: 100, Restart: 400, Late: 4_000, Malformed: 2_000, KeyChange: 8_000, Reborn: 4_000}
	Rough = Mishaps{Truncate: 2_500, Restart: 5_000, Late: 25_000, Malformed: 8_000, KeyChange: 30_000, Reborn: 20_000}
)

func (o *Options) defaults() {
	if o.Prefix == "" {
		o.Prefix = "shop"
	}
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if o.Customers == 0 {
		o.Customers = 200
	}
	if o.Orders == 0 {
		o.Orders = 300
	}
	if o.MaxOrders == 0 {
		o.MaxOrders = 20_000
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	}
	if o.Step == 0 {
		o.Step = 10 * time.Millisecond
	}
}

// Coordinates name a record in the broker.
type Coordinates struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// held is an event that comes late.
type held struct {
	Due int64 `json:"due"` // the step from which it is emitted
	E   event `json:"e"`
}

// Shop is the database and its connector. Use New or Load.
type Shop struct {
	opts    Options
	topics  [numTables]string
	schemas [numTables]schemaTexts
	rng     *rand.PCG
	rand    *rand.Rand
	buf     []byte

	customers table[int64, customer]
	orders    table[int64, order]
	lines     table[lineKey, line]

	now        int64 // microseconds
	lsn        uint64
	lastCommit uint64
	tx         int64
	step       int64
	runs       int64
	nextCust   int64
	nextOrder  int64
	snapshot   bool    // the snapshot has been emitted
	recent     []event // what a restart may repeat
	late       []held
	ends       [numTables][]int64
	letters    []Coordinates
	graves     []int64 // ids of deleted customers that may be born again

	pending []event // of the transaction in progress
	total   int64
	perTab  [numTables]int64
}

// New makes a shop whose snapshot has not been taken yet.
func New(o Options) *Shop {
	o.defaults()
	s := &Shop{
		opts:      o,
		rng:       rand.NewPCG(o.Seed, 0x5107ce),
		customers: newTable(func(c *customer) int64 { return c.ID }),
		orders:    newTable(func(r *order) int64 { return r.ID }),
		lines:     newTable(func(l *line) lineKey { return lineKey{l.Order, l.No} }),
		now:       o.Start.UnixMicro(),
		lsn:       22_000_000_000,
		tx:        7_000,
	}
	s.rand = rand.New(s.rng)
	for i, name := range tableNames {
		s.topics[i] = o.Prefix + ".public." + name
		s.schemas[i] = schemasOf(s.topics[i], i)
		s.ends[i] = make([]int64, o.Partitions)
	}
	return s
}

// Topics lists the topics, in the order of Tables.
func (s *Shop) Topics() []string { return s.topics[:] }

// Partitions gives the number of partitions of each topic.
func (s *Shop) Partitions() int32 { return s.opts.Partitions }

// Ends gives for each topic the offset behind the last record of each partition, so far.
func (s *Shop) Ends() map[string][]int64 {
	out := make(map[string][]int64, numTables)
	for i, t := range s.topics {
		out[t] = append([]int64(nil), s.ends[i]...)
	}
	return out
}

// DeadLetters lists the records that no decoder can make sense of, so far.
func (s *Shop) DeadLetters() []Coordinates { return append([]Coordinates(nil), s.letters...) }

// Now is the shop's clock.
func (s *Shop) Now() time.Time { return time.UnixMicro(s.now).UTC() }

// AdvanceTo moves the clock forward to t; it never goes back.
func (s *Shop) AdvanceTo(t time.Time) { s.now = max(s.now, t.UnixMicro()) }

// SetStep changes how long a transaction takes on the shop's clock.
func (s *Shop) SetStep(d time.Duration) { s.opts.Step = max(d, 2*time.Microsecond) }

// Next lives through one step and gives its records, in the order of the log: first the whole snapshot, then one
// transaction (or mishap) a call. It may give none.
func (s *Shop) Next() []Record {
	if !s.snapshot {
		s.snapshot = true
		return s.takeSnapshot(nil)
	}
	s.step++
	s.now += s.opts.Step.Microseconds()/2 + s.rand.Int64N(s.opts.Step.Microseconds()+1)
	var out []Record
	s.transaction()
	out = s.commit(out)
	out = s.mishap(out)
	return s.release(out, s.step)
}

// Drain gives the records that are still held back, as if all that is late had come.
func (s *Shop) Drain() []Record { return s.release(nil, 1<<62) }

// emit makes the record of an event, and its offset.
func (s *Shop) emit(out []Record, e *event) []Record {
	r := s.encode(e)
	r.Offset = s.ends[e.Table][e.Partition]
	s.ends[e.Table][e.Partition]++
	if e.Op == "!" {
		s.letters = append(s.letters, Coordinates{r.Topic, r.Partition, r.Offset})
	}
	return append(out, r)
}

// release emits what was held back until step.
func (s *Shop) release(out []Record, step int64) []Record {
	rest := s.late[:0]
	for i := range s.late {
		if s.late[i].Due <= step {
			out = s.emit(out, &s.late[i].E)
		} else {
			rest = append(rest, s.late[i])
		}
	}
	s.late = rest
	return out
}

// chance is true in ppm of a million cases.
func (s *Shop) chance(ppm int) bool { return ppm > 0 && s.rand.IntN(1_000_000) < ppm }

func (s *Shop) runID() string {
	return fmt.Sprintf("01a20591-ed1a-78fa-9230-%012x", s.runs)
}

// state is what Save writes.
type state struct {
	Format     int                `json:"format"`
	Options    Options            `json:"options"`
	Random     []byte             `json:"random"`
	Customers  []customer         `json:"customers"`
	Orders     []order            `json:"orders"`
	Lines      []line             `json:"lines"`
	Now        int64              `json:"now"`
	LSN        uint64             `json:"lsn"`
	LastCommit uint64             `json:"lastCommit"`
	Tx         int64              `json:"tx"`
	Step       int64              `json:"step"`
	Runs       int64              `json:"runs"`
	NextCust   int64              `json:"nextCustomer"`
	NextOrder  int64              `json:"nextOrder"`
	Snapshot   bool               `json:"snapshot"`
	Recent     []event            `json:"recent"`
	Late       []held             `json:"late"`
	Ends       [numTables][]int64 `json:"ends"`
	Letters    []Coordinates      `json:"letters"`
	Graves     []int64            `json:"graves"`
}

// stateFormat is raised when a saved state of before can't be continued.
const stateFormat = 1

// Save writes all that is needed to go on from here.
func (s *Shop) Save(w io.Writer) error {
	random, err := s.rng.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save the shop: %w", err)
	}
	err = json.NewEncoder(w).Encode(state{
		Format: stateFormat, Options: s.opts, Random: random,
		Customers: s.customers.rows, Orders: s.orders.rows, Lines: s.lines.rows,
		Now: s.now, LSN: s.lsn, LastCommit: s.lastCommit, Tx: s.tx, Step: s.step, Runs: s.runs,
		NextCust: s.nextCust, NextOrder: s.nextOrder, Snapshot: s.snapshot,
		Recent: s.recent, Late: s.late, Ends: s.ends, Letters: s.letters, Graves: s.graves,
	})
	if err != nil {
		return fmt.Errorf("save the shop: %w", err)
	}
	return nil
}

// Load goes on from what Save wrote.
func Load(r io.Reader) (*Shop, error) {
	var st state
	if err := json.NewDecoder(r).Decode(&st); err != nil {
		return nil, fmt.Errorf("load the shop: %w", err)
	}
	if st.Format != stateFormat {
		return nil, fmt.Errorf("load the shop: format %d, and this binary reads %d", st.Format, stateFormat)
	}
	s := New(st.Options)
	if err := s.rng.UnmarshalBinary(st.Random); err != nil {
		return nil, fmt.Errorf("load the shop: %w", err)
	}
	for i := range st.Ends {
		if len(st.Ends[i]) != int(s.opts.Partitions) {
			return nil, fmt.Errorf("load the shop: %d partitions of %s, not %d", len(st.Ends[i]), s.topics[i], s.opts.Partitions)
		}
	}
	s.customers.load(st.Customers)
	s.orders.load(st.Orders)
	s.lines.load(st.Lines)
	s.now, s.lsn, s.lastCommit, s.tx = st.Now, st.LSN, st.LastCommit, st.Tx
	s.step, s.runs, s.nextCust, s.nextOrder, s.snapshot = st.Step, st.Runs, st.NextCust, st.NextOrder, st.Snapshot
	s.recent, s.late, s.ends, s.letters, s.graves = st.Recent, st.Late, st.Ends, st.Letters, st.Graves
	return s, nil
}
