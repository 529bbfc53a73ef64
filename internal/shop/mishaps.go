package shop

import "strconv"

// changeKey emits what Debezium makes of an update of a primary key: a delete of the old key, its tombstone, and a
// create of the new one, at one position, tied together by headers.
func (s *Shop) changeKey(table int8, oldKey, newKey, before, after string) {
	d := s.record(event{Table: table, Op: "d", Key: oldKey, Before: before, Header: "__debezium.newkey", HeaderVal: newKey})
	s.tombstone(d)
	lsn := s.lsn
	c := s.record(event{Table: table, Op: "c", Key: newKey, After: after, Header: "__debezium.oldkey", HeaderVal: oldKey})
	c.LSN, s.lsn = lsn, lsn
}

func (s *Shop) changeCustomerKey() {
	if len(s.customers.rows) == 0 {
		return
	}
	c := pick(s, s.customers.rows)
	old := c.ID
	s.customers.remove(old)
	s.nextCust++
	c.ID = s.nextCust
	s.customers.put(c)
	if len(s.graves) < 50 {
		s.graves = append(s.graves, old)
	}
	s.changeKey(tCustomers, customerKey(old), customerKey(c.ID), s.keyOnlyCustomer(old), s.customerImage(&c, !s.opts.Unavailable))
}

func (s *Shop) renumberLine() {
	if len(s.lines.rows) == 0 {
		return
	}
	l := pick(s, s.lines.rows)
	old := lineKey{l.Order, l.No}
	l.No = 1 + s.rand.Int32N(maxLineNo)
	if _, taken := s.lines.get(lineKey{l.Order, l.No}); taken {
		return
	}
	s.lines.remove(old)
	s.lines.put(l)
	s.changeKey(tLines, lineKeyText(old), lineKeyText(lineKey{l.Order, l.No}), s.keyOnlyLine(old), s.lineImage(&l))
}

// mishap does what goes wrong between transactions.
func (s *Shop) mishap(out []Record) []Record {
	if s.chance(s.opts.Mishaps.Truncate) {
		s.lines.clear()
		s.record(event{Table: tLines, Op: "t"})
		out = s.commit(out)
	}
	if s.chance(s.opts.Mishaps.Malformed) {
		out = s.malformed(out)
	}
	if s.chance(s.opts.Mishaps.Restart) {
		out = s.restart(out)
	}
	return out
}

// restart repeats the last transactions, as a connector does that was killed before its offsets were stored: the same
// positions and images, at later offsets, under another run id.
func (s *Shop) restart(out []Record) []Record {
	var starts []int
	for i := max(0, len(s.recent)-maxRecent); i < len(s.recent); i++ {
		if s.recent[i].Begins {
			starts = append(starts, i)
		}
	}
	if len(starts) == 0 {
		return out
	}
	s.runs++
	for i := pick(s, starts); i < len(s.recent); i++ {
		out = s.emit(out, &s.recent[i])
	}
	return out
}

// malformed emits a record that has no meaning. The key is that of a row, whose state it must not touch.
func (s *Shop) malformed(out []Record) []Record {
	if len(s.orders.rows) == 0 {
		return out
	}
	o := pick(s, s.orders.rows)
	e := event{Table: tOrders, Op: "u", Key: orderKey(o.ID), After: s.orderImage(&o),
		LSN: s.lsn + 8, LastCommit: s.lastCommit, TxID: s.tx, Micros: s.now}
	e.Partition = s.partition(&e)
	switch s.rand.IntN(4) {
	case 0: // cut off in the middle
		whole := s.encode(&e).Value
		e.Value = string(whole[:len(whole)-1-s.rand.IntN(len(whole)/2)])
	case 1: // no JSON at all
		e.Value = "connection reset by peer " + strconv.FormatInt(s.step, 10)
	case 2: // an operation that does not exist
		e.Op = "x"
		e.Value = string(s.encode(&e).Value)
	case 3: // a create of nothing
		e.Op, e.After = "c", ""
		e.Value = string(s.encode(&e).Value)
	}
	e.Op, e.Before, e.After = "!", "", ""
	return s.emit(out, &e)
}
