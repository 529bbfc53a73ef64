package shop

import (
	"encoding/base64"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"
)

// event is one change as the connector has read it from the log; encode gives its record. Events are kept for a while, so
// that a pretended restart can emit them again.
type event struct {
	Table      int8   `json:"t"`
	Op         string `json:"op"` // c u d r t, "" a tombstone, "!" malformed (Value holds it)
	Key        string `json:"k,omitempty"`
	Before     string `json:"b,omitempty"`
	After      string `json:"a,omitempty"`
	Header     string `json:"h,omitempty"` // name of the key-change header
	HeaderVal  string `json:"hv,omitempty"`
	Value      string `json:"v,omitempty"`
	Snapshot   string `json:"s,omitempty"` // "" while streaming
	Micros     int64  `json:"ts"`
	LSN        uint64 `json:"l"`
	LastCommit uint64 `json:"lc,omitempty"`
	TxID       int64  `json:"x"`
	Total      int64  `json:"to,omitempty"`
	Collection int64  `json:"co,omitempty"`
	Begins     bool   `json:"bg,omitempty"` // first of its transaction
	Partition  int32  `json:"p"`
}

// Header is a record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is what goes to the broker. A nil Key or Value is a null. Offset is the one that it must get there.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	// TimestampMs is the connector's clock, in milliseconds since the epoch.
	TimestampMs int64
	Key         []byte
	Value       []byte
	Headers     []Header
}

const placeholder = "__debezium_unavailable_value"

func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < 0x20:
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

func quoteOr(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return quote(b, *s)
}

func stamp(b []byte, micros int64) []byte {
	b = append(b, '"')
	b = time.UnixMicro(micros).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	return append(b, '"')
}

// decimal writes cents as the JSON converter writes a Connect Decimal: base64 of the shortest two's complement.
func decimal(b []byte, cents int64) []byte {
	n := big.NewInt(cents)
	var raw []byte
	if cents >= 0 {
		raw = n.Bytes()
		if len(raw) == 0 || raw[0] >= 0x80 {
			raw = append([]byte{0}, raw...)
		}
	} else {
		size := uint(8)
		for -cents > 1<<(size-1) {
			size += 8
		}
		raw = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), size)).Bytes()
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, raw)
	return append(b, '"')
}

// money writes cents as text with two digits.
func money(b []byte, cents int64) []byte {
	b = append(b, '"')
	if cents < 0 {
		b = append(b, '-')
		cents = -cents
	}
	b = strconv.AppendInt(b, cents/100, 10)
	b = append(b, '.', byte('0'+cents/10%10), byte('0'+cents%10))
	return append(b, '"')
}

// amount writes money as the connector does: with schemas as a Decimal, without them as text
// (decimal.handling.mode=string, for nobody could read the bytes).
func (s *Shop) amount(b []byte, cents int64) []byte {
	if s.opts.Schemas {
		return decimal(b, cents)
	}
	return money(b, cents)
}

func (s *Shop) customerImage(c *customer, keepNotes bool) string {
	b := append(s.buf[:0], `{"id":`...)
	b = strconv.AppendInt(b, c.ID, 10)
	b = quote(append(b, `,"name":`...), c.Name)
	b = quoteOr(append(b, `,"email":`...), c.Email)
	b = quote(append(b, `,"tier":`...), c.Tier)
	b = s.amount(append(b, `,"credit":`...), c.Credit)
	b = stamp(append(b, `,"since":`...), c.Since)
	b = append(b, `,"notes":`...)
	if !keepNotes && c.Notes != nil && len(*c.Notes) > longNotes {
		b = quote(b, placeholder) // an unchanged value that lies outside of the row is not in the log
	} else {
		b = quoteOr(b, c.Notes)
	}
	s.buf = append(b, '}')
	return string(s.buf)
}

func (s *Shop) orderImage(o *order) string {
	b := append(s.buf[:0], `{"id":`...)
	b = strconv.AppendInt(b, o.ID, 10)
	b = strconv.AppendInt(append(b, `,"customer_id":`...), o.Customer, 10)
	b = quote(append(b, `,"status":`...), o.Status)
	b = s.amount(append(b, `,"total":`...), o.Total)
	b = stamp(append(b, `,"placed_at":`...), o.Placed)
	b = append(b, `,"shipped_on":`...)
	if o.Shipped == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, int64(*o.Shipped), 10)
	}
	b = strconv.AppendBool(append(b, `,"express":`...), o.Express)
	s.buf = append(b, '}')
	return string(s.buf)
}

func (s *Shop) lineImage(l *line) string {
	b := append(s.buf[:0], `{"order_id":`...)
	b = strconv.AppendInt(b, l.Order, 10)
	b = strconv.AppendInt(append(b, `,"line_no":`...), int64(l.No), 10)
	b = quote(append(b, `,"sku":`...), l.SKU)
	b = strconv.AppendInt(append(b, `,"quantity":`...), int64(l.Quantity), 10)
	b = s.amount(append(b, `,"price":`...), l.Price)
	s.buf = append(b, '}')
	return string(s.buf)
}

// Keys as JSON objects: also the text of the key-change headers (SimpleHeaderConverter).
func customerKey(id int64) string { return `{"id":` + strconv.FormatInt(id, 10) + `}` }
func orderKey(id int64) string    { return `{"id":` + strconv.FormatInt(id, 10) + `}` }
func lineKeyText(k lineKey) string {
	return `{"order_id":` + strconv.FormatInt(k.Order, 10) + `,"line_no":` + strconv.Itoa(int(k.No)) + `}`
}

// keyOnly are the before images of deletes under REPLICA IDENTITY DEFAULT: nothing but the key is true, columns that
// may not be null are filled with invented values.
func (s *Shop) keyOnlyCustomer(id int64) string {
	return s.customerImage(&customer{ID: id}, true)
}

func (s *Shop) keyOnlyLine(k lineKey) string {
	return s.lineImage(&line{Order: k.Order, No: k.No})
}

func (c *customer) canonical(b []byte) []byte {
	b = money(append(b, `{"credit":`...), c.Credit)
	b = quoteOr(append(b, `,"email":`...), c.Email)
	b = strconv.AppendInt(append(b, `,"id":`...), c.ID, 10)
	b = quote(append(b, `,"name":`...), c.Name)
	b = quoteOr(append(b, `,"notes":`...), c.Notes)
	b = stamp(append(b, `,"since":`...), c.Since)
	b = quote(append(b, `,"tier":`...), c.Tier)
	return append(b, '}')
}

func (o *order) canonical(b []byte, schemas bool) []byte {
	b = strconv.AppendInt(append(b, `{"customer_id":`...), o.Customer, 10)
	b = strconv.AppendBool(append(b, `,"express":`...), o.Express)
	b = strconv.AppendInt(append(b, `,"id":`...), o.ID, 10)
	b = stamp(append(b, `,"placed_at":`...), o.Placed)
	b = append(b, `,"shipped_on":`...)
	switch {
	case o.Shipped == nil:
		b = append(b, "null"...)
	case schemas:
		b = append(b, '"')
		b = time.Unix(int64(*o.Shipped)*86400, 0).UTC().AppendFormat(b, "2006-01-02")
		b = append(b, '"')
	default:
		b = strconv.AppendInt(b, int64(*o.Shipped), 10)
	}
	b = quote(append(b, `,"status":`...), o.Status)
	b = money(append(b, `,"total":`...), o.Total)
	return append(b, '}')
}

func (l *line) canonical(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"line_no":`...), int64(l.No), 10)
	b = strconv.AppendInt(append(b, `,"order_id":`...), l.Order, 10)
	b = money(append(b, `,"price":`...), l.Price)
	b = strconv.AppendInt(append(b, `,"quantity":`...), int64(l.Quantity), 10)
	b = quote(append(b, `,"sku":`...), l.SKU)
	return append(b, '}')
}
