package delta

import (
	"math"
	"math/big"
	"strconv"
	"time"
	"unsafe"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar/parquet"
)

// unsafeString views bytes that nobody changes any more.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// statsTree turns the typed statistics of a checkpoint (add.stats_parsed) into the JSON that they came from.
type statsTree struct {
	root statsNode
	buf  []byte
}

type statsNode struct {
	name string
	leaf *cursor // nil: a struct
	kids []*statsNode
}

// newStatsTree gives nil where a row group has no typed statistics.
func newStatsTree(g *parquet.RowGroup, leaves []cpLeaf, open func(cpLeaf) *cursor) *statsTree {
	t := &statsTree{}
	for _, l := range leaves {
		p := l.path
		if len(p) < 3 || p[0] != "add" || p[1] != "stats_parsed" || l.node.MaxRep > 0 || l.node.Type == parquet.Int96 || allNull(g, l) {
			continue
		}
		if l.node.Logical == parquet.LogicalDecimal && (l.node.Scale < 0 || l.node.Scale > maxScale) {
			continue
		}
		n := &t.root
		for _, name := range p[2:] {
			n = n.kid(name)
		}
		n.leaf = open(l)
	}
	if len(t.root.kids) == 0 {
		return nil
	}
	// numRecords first: it is looked for most.
	for i, k := range t.root.kids {
		if k.name == "numRecords" {
			copy(t.root.kids[1:], t.root.kids[:i])
			t.root.kids[0] = k
		}
	}
	return t
}

// maxScale is the largest scale of a decimal of Delta.
const maxScale = 38

func (n *statsNode) kid(name string) *statsNode {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	k := &statsNode{name: name}
	n.kids = append(n.kids, k)
	return k
}

// row gives the statistics of the next row as JSON, empty where there are none. Every leaf moves on by one row.
func (t *statsTree) row() []byte {
	t.buf = t.buf[:0]
	var wrote bool
	t.buf, wrote = t.root.append(t.buf)
	if !wrote {
		return nil
	}
	return t.buf
}

func (n *statsNode) append(dst []byte) ([]byte, bool) {
	if n.leaf != nil {
		if !n.leaf.row() {
			return dst, false
		}
		return n.leaf.appendJSON(dst)
	}
	dst = append(dst, '{')
	any := false
	for _, k := range n.kids {
		mark := len(dst)
		if any {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, k.name)
		dst = append(dst, ':')
		var wrote bool
		if dst, wrote = k.append(dst); !wrote {
			dst = dst[:mark]
			continue
		}
		any = true
	}
	return append(dst, '}'), any
}

// appendJSON prints the current value as statistics print it (delta.md §1.6); false where they leave it out.
func (c *cursor) appendJSON(dst []byte) ([]byte, bool) {
	switch c.leaf.Type {
	case parquet.Boolean:
		return strconv.AppendBool(dst, c.bool()), true
	case parquet.Double:
		return appendFloat(dst, c.float(), 64)
	case parquet.Float:
		return appendFloat(dst, c.float(), 32)
	case parquet.Int32, parquet.Int64:
		switch c.leaf.Logical {
		case parquet.LogicalDate:
			return append(time.Unix(c.int()*86400, 0).UTC().AppendFormat(append(dst, '"'), "2006-01-02"), '"'), true
		case parquet.LogicalTimestamp:
			return appendStatsTime(dst, c.int(), c.leaf.Unit, c.leaf.UTC), true
		case parquet.LogicalDecimal:
			return appendDecimal(dst, big.NewInt(c.int()), int(c.leaf.Scale)), true
		}
		return strconv.AppendInt(dst, c.int(), 10), true
	}
	switch c.leaf.Logical {
	case parquet.LogicalString:
		return appendJSONString(dst, unsafeString(c.view())), true
	case parquet.LogicalDecimal:
		return appendDecimal(dst, connectors.Unscaled(string(c.view())), int(c.leaf.Scale)), true
	}
	return dst, false
}

func appendFloat(dst []byte, f float64, bits int) ([]byte, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, false
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits), true
}

func appendStatsTime(dst []byte, v int64, unit parquet.Unit, utc bool) []byte {
	var at time.Time
	switch unit {
	case parquet.Millis:
		at = time.UnixMilli(v)
	case parquet.Nanos:
		at = time.Unix(0, v)
	default:
		at = time.UnixMicro(v)
	}
	layout := "2006-01-02T15:04:05.000"
	if utc {
		layout += "Z"
	}
	return append(at.UTC().AppendFormat(append(dst, '"'), layout), '"')
}

func appendDecimal(dst []byte, unscaled *big.Int, scale int) []byte {
	digits := new(big.Int).Abs(unscaled).String()
	if unscaled.Sign() < 0 {
		dst = append(dst, '-')
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	if scale > 0 {
		dst = append(dst, '.')
		dst = append(dst, digits[len(digits)-scale:]...)
	}
	return dst
}
