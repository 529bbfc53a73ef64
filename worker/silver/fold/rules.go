package fold

import (
	"encoding/binary"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
)

// twice tells whether b repeats a, the event before it in order.
func twice(a, b *Event) bool {
	if a.Stamp.Off == b.Stamp.Off && a.Stamp.Part == b.Stamp.Part && a.Sub != b.Sub {
		return false
	}
	if Compare(a.Stamp, b.Stamp) == 0 {
		return true
	}
	if b.Stamp.Pos == "" || a.Stamp.Pos != b.Stamp.Pos || a.Stamp.Epoch != b.Stamp.Epoch || a.Op != b.Op || a.Image == nil != (b.Image == nil) {
		return false
	}
	return a.Image == nil || a.Image.Meta.Op == b.Image.Meta.Op && len(a.Image.Vals) == len(b.Image.Vals) && sameStates(a.Image, b.Image)
}

func sameStates(a, b *Image) bool {
	for i := range a.Vals {
		if !a.Vals[i].Equal(b.Vals[i]) {
			return false
		}
	}
	return true
}

// equalKnown tells whether two images agree in all that the first one tells.
func equalKnown(e, row *Image) bool {
	for i := range e.Vals {
		v := &e.Vals[i]
		if Gaps(v) {
			continue
		}
		o := row.at(i)
		if v.State != connectors.Present && o.State != connectors.Present {
			continue
		}
		if !v.Equal(o) {
			return false
		}
	}
	return true
}

func carriedCols(m *Image) []int {
	cols := make([]int, 0, len(m.From))
	for c := range m.From {
		cols = append(cols, c)
	}
	slices.Sort(cols)
	return cols
}

// SinceBirth tells whether an event of a key is not older than the key change by which its row came: what is older told of
// another row. A position says nothing to that of another epoch (D5).
func SinceBirth(origin string, t Stamp) bool {
	epoch := uint32(FirstEpoch)
	if rest, ok := strings.CutPrefix(origin, otherEpoch); ok && len(rest) >= 4 {
		epoch, origin = be32(rest), rest[4:]
	}
	n := len(origin) - originHash
	if n <= 0 || len(t.Pos) < n {
		return true
	}
	if t.Epoch != epoch {
		return t.Epoch > epoch
	}
	return t.Pos[:n] >= origin[:n]
}

// TxKey names the transaction of a change, "" where nothing tells it: the transaction block, or the part of the position that
// is the same for all changes of a transaction.
func TxKey(c *connectors.Change) string {
	if g := c.Tx().Group; g != "" {
		return g
	}
	if c.Source == nil || c.Op == connectors.Read {
		return ""
	}
	n := TxLen(c.Source)
	if n == 0 || len(c.Position) < n {
		return ""
	}
	return string(c.Position[:n])
}

// TxLen is how many bytes of a source's positions are the same for all changes of a transaction, 0 where none tell it.
func TxLen(s *connectors.Source) int {
	if s == nil {
		return 0
	}
	switch strings.ToLower(s.Connector) {
	case "postgresql": // the commit before this transaction's
		return 8
	case "mariadb": // the GTID's sequence
		return 8
	case "sqlserver": // the commit
		return 10
	case "oracle":
		return 16
	}
	return 0
}

// ByHash orders by hash, for outputs that must not depend on the order of maps.
func ByHash(a, b Hash) int {
	if a.Lo != b.Lo {
		return cmp(a.Lo, b.Lo)
	}
	return cmp(a.Hi, b.Hi)
}

// Prefix gives the events that are older than a sequence.
func Prefix(ev []Event, before Stamp) []Event {
	var out []Event
	for i := range ev {
		if Compare(ev[i].Stamp, before) < 0 {
			out = append(out, ev[i])
		}
	}
	return out
}

// Same tells whether the outcome of a fold is what the table shows already.
func (o *Output) Same(base *Base) bool {
	switch {
	case base == nil:
		return !o.Dead && o.Image == nil
	case base.Image == nil:
		return o.Dead && Compare(o.Stamp, base.Stamp) == 0
	case o.Image == nil:
		return false
	}
	return sameImage(o.Image, base.Image)
}

// sameImage tells whether two images make the same row.
func sameImage(a, b *Image) bool {
	if a.Stamp.Seq() != b.Stamp.Seq() || a.Meta != b.Meta || a.Deleted != b.Deleted || a.Took.Seq() != b.Took.Seq() || a.Origin != b.Origin || a.Guess != b.Guess || len(a.From) != len(b.From) || len(a.Rescue) != len(b.Rescue) {
		return false
	}
	for c, s := range a.From {
		if t, ok := b.From[c]; !ok || s.Seq() != t.Seq() {
			return false
		}
	}
	for c, r := range a.Rescue {
		if b.Rescue[c] != r {
			return false
		}
	}
	for i := 0; i < max(len(a.Vals), len(b.Vals)); i++ {
		x, y := a.at(i), b.at(i)
		if x.State != connectors.Present && y.State != connectors.Present {
			continue
		}
		if !x.Equal(y) {
			return false
		}
	}
	return true
}

// otherEpoch begins the origins of an epoch that is not the first; the epoch follows. No position begins so, nor any text.
const otherEpoch = "\xff\xff\xff\xff"

// originHash is how many bytes an Origin has of the old key's hash, at its end.
const originHash = 12

// Origin names the key change that the event is a half of, from is the old key. The halves have one position but for its last
// fields, the order inside the transaction and the sub order.
func (e *Event) Origin(from Hash) string {
	var b []byte
	if e.Stamp.Epoch != FirstEpoch {
		b = binary.BigEndian.AppendUint32(append(b, otherEpoch...), e.Stamp.Epoch)
	}
	if n := len(e.Stamp.Pos) - 9; n > 0 {
		b = append(b, e.Stamp.Pos[:n]...)
	} else {
		b = append(b, e.Tx...)
	}
	b = binary.BigEndian.AppendUint64(b, from.Lo)
	return string(binary.BigEndian.AppendUint32(b, from.Hi))
}
