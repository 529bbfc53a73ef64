package shop

import (
	"cmp"
	"slices"
)

// The tables' names, in the order in which the snapshot reads them.
const (
	Customers  = "customers"
	Orders     = "orders"
	OrderLines = "order_lines"
)

// Tables lists the tables of the shop.
func Tables() []string { return []string{Customers, Orders, OrderLines} }

const numTables = 3

var tableNames = [numTables]string{Customers, Orders, OrderLines}

// customer, order and line are rows. Money is in cents, times in microseconds since the epoch.
type customer struct {
	ID     int64   `json:"id"`
	Name   string  `json:"n"`
	Email  *string `json:"e,omitempty"`
	Tier   string  `json:"t"`
	Credit int64   `json:"c"`
	Since  int64   `json:"s"`
	Notes  *string `json:"o,omitempty"`
}

type order struct {
	ID       int64  `json:"id"`
	Customer int64  `json:"c"`
	Status   string `json:"s"`
	Total    int64  `json:"t"`
	Placed   int64  `json:"p"`
	Shipped  *int32 `json:"d,omitempty"` // days since the epoch
	Express  bool   `json:"x,omitempty"`
}

type lineKey struct {
	Order int64
	No    int32
}

type line struct {
	Order    int64  `json:"o"`
	No       int32  `json:"n"`
	SKU      string `json:"k"`
	Quantity int32  `json:"q"`
	Price    int64  `json:"p"`
}

// table keeps rows in an order that only the life itself decides, so that picking the i-th is deterministic.
type table[K comparable, R any] struct {
	rows []R
	at   map[K]int
	key  func(*R) K
}

func newTable[K comparable, R any](key func(*R) K) table[K, R] {
	return table[K, R]{at: map[K]int{}, key: key}
}

func (t *table[K, R]) put(r R) {
	k := t.key(&r)
	if i, ok := t.at[k]; ok {
		t.rows[i] = r
		return
	}
	t.at[k] = len(t.rows)
	t.rows = append(t.rows, r)
}

func (t *table[K, R]) get(k K) (R, bool) {
	i, ok := t.at[k]
	if !ok {
		var zero R
		return zero, false
	}
	return t.rows[i], true
}

func (t *table[K, R]) remove(k K) {
	i, ok := t.at[k]
	if !ok {
		return
	}
	last := len(t.rows) - 1
	t.rows[i] = t.rows[last]
	t.at[t.key(&t.rows[i])] = i
	t.rows = t.rows[:last]
	delete(t.at, k)
}

func (t *table[K, R]) clear() {
	t.rows = nil
	t.at = map[K]int{}
}

func (t *table[K, R]) load(rows []R) {
	t.clear()
	for _, r := range rows {
		t.put(r)
	}
}

// Expected gives the rows that the table has now, as canonical JSON lines (keys sorted, no spaces, decimals as text with
// two digits, times as UTC with six digits), sorted by bytes: what `sluice table cat --output json` prints of the
// silver table, less the columns that begin with an underscore. Records that are held back (Drain) count as happened.
func (s *Shop) Expected(name string) []string {
	var out []string
	switch name {
	case Customers:
		for i := range s.customers.rows {
			out = append(out, string(s.customers.rows[i].canonical(nil)))
		}
	case Orders:
		for i := range s.orders.rows {
			out = append(out, string(s.orders.rows[i].canonical(nil, s.opts.Schemas)))
		}
	case OrderLines:
		for i := range s.lines.rows {
			out = append(out, string(s.lines.rows[i].canonical(nil)))
		}
	}
	slices.Sort(out)
	return out
}

// Rows gives the number of rows of a table now.
func (s *Shop) Rows(name string) int {
	switch name {
	case Customers:
		return len(s.customers.rows)
	case Orders:
		return len(s.orders.rows)
	case OrderLines:
		return len(s.lines.rows)
	}
	return 0
}

// linesOf gives the lines of an order by number.
func (s *Shop) linesOf(id int64) []line {
	var out []line
	for no := int32(1); no <= maxLineNo; no++ {
		if l, ok := s.lines.get(lineKey{id, no}); ok {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b line) int { return cmp.Compare(a.No, b.No) })
	return out
}

// maxLineNo is the highest number that a line ever has, also after it was renumbered.
const maxLineNo = 12
