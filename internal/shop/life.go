package shop

import (
	"strings"
)

// longNotes is the length from which a note lies outside of its row (TOAST).
const longNotes = 120

const (
	tCustomers = iota
	tOrders
	tLines
)

var (
	firstNames = []string{"Ada", "Björn", "Chidi", "Dana", "Émile", "Fatma", "Grace", "Hiro", "Inês", "Jun", "Katya", "Liam", "Mei", "Noor", "Olu", "Priya", "Quinn", "Rosa", "Søren", "Zoë"}
	lastNames  = []string{"Okafor", "Lindqvist", "Garcia", "Nguyen", "O'Brien", "Müller", "Tanaka", "Silva", "Novák", "Haddad", "Kowalski", "Iyer"}
	tiers      = []string{"basic", "basic", "basic", "plus", "pro"}
	statuses   = []string{"NEW", "PAID", "PACKED", "SHIPPED", "DELIVERED"}
	products   = []string{"TEA-GREEN", "TEA-BLACK", "CUP-BLUE", "CUP-\"XL\"", "POT-IRON", "HONEY-250", "SUGAR-1K", "LEMON", "SPOON\\6", "TRAY-木"}
)

func pick[T any](s *Shop, from []T) T { return from[s.rand.IntN(len(from))] }

// record notes a change of the transaction in progress. The partition follows from the key.
func (s *Shop) record(e event) *event {
	if s.total == 0 {
		s.tx++
		e.Begins = true
	}
	s.total++
	s.perTab[e.Table]++
	s.lsn += 56 + uint64(s.rand.IntN(340)) // halves of a key change share a position: see changeKey
	e.LSN, e.LastCommit, e.TxID, e.Micros = s.lsn, s.lastCommit, s.tx, s.now
	e.Total, e.Collection = s.total, s.perTab[e.Table]
	e.Partition = s.partition(&e)
	s.pending = append(s.pending, e)
	return &s.pending[len(s.pending)-1]
}

func (s *Shop) partition(e *event) int32 {
	if e.Key == "" {
		return s.rand.Int32N(s.opts.Partitions) // no key: any partition
	}
	return partitionOf(s.wrap(s.schemas[e.Table].key, e.Key), s.opts.Partitions)
}

// tombstone follows a delete: same key, same headers, no value.
func (s *Shop) tombstone(of *event) {
	t := *of
	t.Op, t.Before, t.After, t.Begins = "", "", "", false
	s.pending = append(s.pending, t)
}

// commit ends the transaction: its events are emitted, some of them held back.
func (s *Shop) commit(out []Record) []Record {
	if s.total > 0 {
		s.lsn += 48
		s.lastCommit = s.lsn
	}
	for i := range s.pending {
		e := &s.pending[i]
		s.remember(e)
		if (e.Op == "c" || e.Op == "u") && s.opts.Partitions > 1 && s.chance(s.opts.Mishaps.Late) {
			l := *e
			l.Partition = (l.Partition + 1 + s.rand.Int32N(s.opts.Partitions-1)) % s.opts.Partitions
			s.late = append(s.late, held{Due: s.step + 1 + s.rand.Int64N(60), E: l})
			continue
		}
		out = s.emit(out, e)
	}
	s.pending = s.pending[:0]
	s.total, s.perTab = 0, [numTables]int64{}
	return out
}

// maxRecent is how many events a restart may repeat.
const maxRecent = 300

func (s *Shop) remember(e *event) {
	if len(s.recent) >= 2*maxRecent {
		s.recent = append(s.recent[:0], s.recent[maxRecent:]...)
	}
	s.recent = append(s.recent, *e)
}

// takeSnapshot fills the tables and emits their rows.
func (s *Shop) takeSnapshot(out []Record) []Record {
	for range s.opts.Customers {
		s.customers.put(s.newCustomer())
	}
	for range s.opts.Orders {
		o, lines := s.newOrder()
		for _, l := range lines {
			s.lines.put(l)
		}
		s.orders.put(o)
	}
	s.tx++
	var all []event
	for i := range s.customers.rows {
		c := &s.customers.rows[i]
		all = append(all, event{Table: tCustomers, Key: customerKey(c.ID), After: s.customerImage(c, true)})
	}
	for i := range s.orders.rows {
		o := &s.orders.rows[i]
		all = append(all, event{Table: tOrders, Key: orderKey(o.ID), After: s.orderImage(o)})
	}
	for i := range s.lines.rows {
		l := &s.lines.rows[i]
		all = append(all, event{Table: tLines, Key: lineKeyText(lineKey{l.Order, l.No}), After: s.lineImage(l)})
	}
	for i := range all {
		e := &all[i]
		e.Op, e.Snapshot, e.LSN, e.TxID, e.Micros = "r", "true", s.lsn, s.tx, s.now
		e.Partition = s.partition(e)
		switch {
		case i == 0:
			e.Snapshot = "first"
		case i == len(all)-1:
			e.Snapshot = "last"
		case all[i-1].Table != e.Table:
			e.Snapshot = "first_in_data_collection"
		case all[i+1].Table != e.Table:
			e.Snapshot = "last_in_data_collection"
		}
		out = s.emit(out, e)
	}
	s.lsn += 1_000
	s.lastCommit = s.lsn
	return out
}

func (s *Shop) newCustomer() customer {
	s.nextCust++
	c := customer{ID: s.nextCust, Name: pick(s, firstNames) + " " + pick(s, lastNames), Tier: pick(s, tiers),
		Credit: s.rand.Int64N(200_000) - 50_000, Since: s.now}
	if s.rand.IntN(4) > 0 {
		c.Email = s.email(&c)
	}
	if s.rand.IntN(3) == 0 {
		c.Notes = s.note()
	}
	return c
}

func (s *Shop) email(c *customer) *string {
	e := strings.ToLower(strings.Fields(c.Name)[0]) + "@" + pick(s, []string{"example.org", "example.com", "münchen.example"})
	return &e
}

func (s *Shop) note() *string {
	words := []string{"likes", "tea", "at", "noon", "—", "no", "sugar,", "calls\nlate", "pays", "on", "time"}
	n := 3 + s.rand.IntN(8)
	if s.opts.Unavailable && s.rand.IntN(3) == 0 {
		n = 60
	}
	var b strings.Builder
	for range n {
		b.WriteString(pick(s, words))
		b.WriteByte(' ')
	}
	t := b.String()
	return &t
}

func (s *Shop) newOrder() (order, []line) {
	s.nextOrder++
	o := order{ID: s.nextOrder, Status: statuses[0], Placed: s.now, Express: s.rand.IntN(5) == 0}
	if n := len(s.customers.rows); n > 0 {
		o.Customer = s.customers.rows[s.rand.IntN(n)].ID
	}
	lines := make([]line, 1+s.rand.IntN(4))
	for i := range lines {
		lines[i] = line{Order: o.ID, No: int32(i + 1), SKU: pick(s, products), Quantity: 1 + s.rand.Int32N(5), Price: 99 + s.rand.Int64N(9_900)}
		o.Total += int64(lines[i].Quantity) * lines[i].Price
	}
	return o, lines
}

// transaction changes the database once.
func (s *Shop) transaction() {
	roll := s.rand.IntN(100)
	full := len(s.orders.rows) > s.opts.MaxOrders
	switch {
	case len(s.orders.rows) == 0 || roll < 30 && !full:
		s.placeOrder()
	case roll < 58:
		s.advanceOrder()
	case roll < 70:
		s.editLine()
	case roll < 74:
		s.removeLine()
	case roll < 79:
		s.addCustomer()
	case roll < 90:
		s.updateCustomer()
	case roll < 97 || full:
		s.cancelOrder()
	case roll < 98:
		s.deleteCustomer()
	default:
		s.hectic()
	}
	if s.chance(s.opts.Mishaps.KeyChange) {
		s.changeCustomerKey()
	}
	if s.chance(s.opts.Mishaps.KeyChange) {
		s.renumberLine()
	}
	if s.chance(s.opts.Mishaps.Reborn) {
		s.reborn()
	}
}

func (s *Shop) insertOrder(o order, lines []line) {
	s.orders.put(o)
	s.record(event{Table: tOrders, Op: "c", Key: orderKey(o.ID), After: s.orderImage(&o)})
	for _, l := range lines {
		s.lines.put(l)
		s.record(event{Table: tLines, Op: "c", Key: lineKeyText(lineKey{l.Order, l.No}), After: s.lineImage(&l)})
	}
}

func (s *Shop) placeOrder() {
	o, lines := s.newOrder()
	s.insertOrder(o, lines)
	if c, ok := s.customers.get(o.Customer); ok && s.rand.IntN(3) == 0 {
		c.Credit -= o.Total
		s.putCustomer(c, false)
	}
}

// putCustomer updates a row: REPLICA IDENTITY DEFAULT, so no before image, and long notes only when they changed.
func (s *Shop) putCustomer(c customer, notesChanged bool) {
	s.customers.put(c)
	s.record(event{Table: tCustomers, Op: "u", Key: customerKey(c.ID), After: s.customerImage(&c, notesChanged || !s.opts.Unavailable)})
}

// putOrder updates a row: REPLICA IDENTITY FULL, so with the before image.
func (s *Shop) putOrder(o order) {
	old, _ := s.orders.get(o.ID)
	s.orders.put(o)
	s.record(event{Table: tOrders, Op: "u", Key: orderKey(o.ID), Before: s.orderImage(&old), After: s.orderImage(&o)})
}

func (s *Shop) putLine(l line) {
	s.lines.put(l)
	s.record(event{Table: tLines, Op: "u", Key: lineKeyText(lineKey{l.Order, l.No}), After: s.lineImage(&l)})
}

func (s *Shop) dropOrder(o order) {
	s.orders.remove(o.ID)
	e := s.record(event{Table: tOrders, Op: "d", Key: orderKey(o.ID), Before: s.orderImage(&o)})
	s.tombstone(e)
}

func (s *Shop) dropLine(k lineKey) {
	s.lines.remove(k)
	e := s.record(event{Table: tLines, Op: "d", Key: lineKeyText(k), Before: s.keyOnlyLine(k)})
	s.tombstone(e)
}

func (s *Shop) advanceOrder() {
	o := pick(s, s.orders.rows)
	next := 0
	for i, st := range statuses {
		if o.Status == st {
			next = (i + 1) % len(statuses)
		}
	}
	o.Status = statuses[next]
	o.Shipped = nil
	if next >= 3 {
		day := int32(s.now / 86_400_000_000)
		o.Shipped = &day
	}
	s.putOrder(o)
}

func (s *Shop) editLine() {
	if len(s.lines.rows) == 0 {
		return
	}
	l := pick(s, s.lines.rows)
	was := int64(l.Quantity) * l.Price
	l.Quantity = 1 + s.rand.Int32N(9)
	if s.rand.IntN(3) == 0 {
		l.Price += s.rand.Int64N(500)
	}
	s.putLine(l)
	if o, ok := s.orders.get(l.Order); ok {
		o.Total += int64(l.Quantity)*l.Price - was
		s.putOrder(o)
	}
}

func (s *Shop) removeLine() {
	if len(s.lines.rows) == 0 {
		return
	}
	l := pick(s, s.lines.rows)
	s.dropLine(lineKey{l.Order, l.No})
}

func (s *Shop) addCustomer() {
	c := s.newCustomer()
	s.customers.put(c)
	s.record(event{Table: tCustomers, Op: "c", Key: customerKey(c.ID), After: s.customerImage(&c, true)})
}

func (s *Shop) updateCustomer() {
	if len(s.customers.rows) == 0 {
		return
	}
	c := pick(s, s.customers.rows)
	notes := false
	switch s.rand.IntN(5) {
	case 0:
		c.Email = nil
	case 1:
		c.Email = s.email(&c)
	case 2:
		c.Notes, notes = s.note(), true
	case 3:
		c.Tier = pick(s, tiers)
	case 4:
		c.Credit += s.rand.Int64N(20_000) - 8_000
	}
	s.putCustomer(c, notes)
}

func (s *Shop) cancelOrder() {
	o := pick(s, s.orders.rows)
	for _, l := range s.linesOf(o.ID) {
		s.dropLine(lineKey{l.Order, l.No})
	}
	s.dropOrder(o)
}

func (s *Shop) deleteCustomer() {
	if len(s.customers.rows) == 0 {
		return
	}
	c := pick(s, s.customers.rows)
	s.customers.remove(c.ID)
	if len(s.graves) < 50 {
		s.graves = append(s.graves, c.ID)
	}
	e := s.record(event{Table: tCustomers, Op: "d", Key: customerKey(c.ID), Before: s.keyOnlyCustomer(c.ID)})
	s.tombstone(e)
}

// hectic does several things to one row in one transaction.
func (s *Shop) hectic() {
	o, lines := s.newOrder()
	s.insertOrder(o, lines)
	for range 1 + s.rand.IntN(3) {
		o.Express = !o.Express
		s.putOrder(o)
	}
	if s.rand.IntN(2) == 0 {
		for _, l := range lines {
			s.dropLine(lineKey{l.Order, l.No})
		}
		s.dropOrder(o)
	}
}

// reborn creates a deleted customer again.
func (s *Shop) reborn() {
	if len(s.graves) == 0 {
		return
	}
	i := s.rand.IntN(len(s.graves))
	id := s.graves[i]
	s.graves = append(s.graves[:i], s.graves[i+1:]...)
	if _, alive := s.customers.get(id); alive {
		return
	}
	c := s.newCustomer()
	c.ID = id
	s.customers.put(c)
	s.record(event{Table: tCustomers, Op: "c", Key: customerKey(c.ID), After: s.customerImage(&c, true)})
}
