package rows

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// skipper decides from statistics which files and row groups hold no row that a predicate wants. Where it knows too little it
// keeps.
type skipper struct {
	where  Predicate
	layout *layout
	parser fastjson.Parser
}

// keepFile tells whether a file may hold a row. parts are its partition values.
func (k *skipper) keepFile(a *delta.Add, parts map[int]connectors.Value) bool {
	var stats *fastjson.Value
	parsed := false
	for i := range k.where {
		t := &k.where[i]
		path, ty, err := resolve(k.layout.schema, t.Column)
		if err != nil {
			return true
		}
		if k.layout.isPart[path[0]] {
			if !t.holds(parts[path[0]], ty) {
				return false
			}
			continue
		}
		if !parsed {
			parsed = true
			if a.Stats != "" {
				if v, err := k.parser.Parse(a.Stats); err == nil {
					stats = v
				}
			}
		}
		if stats != nil && !k.mayHold(t, ty, path, stats) {
			return false
		}
	}
	return true
}

// mayHold compares a term with the statistics of the log.
func (k *skipper) mayHold(t *Term, ty schema.Type, path []int, stats *fastjson.Value) bool {
	keys := make([]string, 0, len(path)+1)
	keys = append(keys, "")
	fields := k.layout.schema.Fields
	var f *schema.Field
	for _, i := range path {
		f = &fields[i]
		keys = append(keys, columnar.PhysicalName(f, k.layout.mapping))
		fields = f.Type.Fields
	}
	get := func(root string) *fastjson.Value {
		keys[0] = root
		return stats.Get(keys...)
	}
	b := bounds{nulls: -1, rows: -1}
	if n := stats.Get("numRecords"); n != nil {
		if x, err := n.Int64(); err == nil {
			b.rows = x
		}
	}
	if n := get("nullCount"); n != nil {
		if x, err := n.Int64(); err == nil {
			b.nulls = x
		}
	}
	b.read(f, get("minValues"), get("maxValues"))
	if ty.Kind == schema.Decimal && ty.Precision > exactFloatDigits {
		b.lo, b.hi = nudge(b.lo, -1), nudge(b.hi, 1)
	}
	return b.mayHold(t, ty)
}

// exactFloatDigits is how many decimal digits a float64 keeps. delta-rs sends the bounds of decimals through one: those of more digits are off by a few
// units in its last place, to either side.
const exactFloatDigits = 15

// nudge moves a decimal bound outwards, down or up by its sign, by more than a float64 may have rounded it.
func nudge(v connectors.Value, sign int64) connectors.Value {
	if v.State != connectors.Present {
		return v
	}
	n := connectors.Unscaled(v.Str)
	slack := new(big.Int).Abs(n)
	slack.Rsh(slack, 50).Add(slack, big.NewInt(1))
	return connectors.Dec(string(connectors.AppendUnscaled(nil, n.Add(n, slack.Mul(slack, big.NewInt(sign))))), int(v.Int))
}

// keyTypeChanges is the metadata of a field that says which types it had.
const keyTypeChanges = "delta.typeChanges"

// read takes a column's bounds from the statistics of the log, as far as they may be off.
func (b *bounds) read(f *schema.Field, lo, hi *fastjson.Value) {
	b.lo, b.hasLo = statValue(lo, f.Type)
	b.hi, b.hasHi = statValue(hi, f.Type)
	switch f.Type.Kind {
	case schema.Timestamp, schema.TimestampNTZ:
		// Both bounds are cut to milliseconds: the last microsecond of this one still counts.
		if b.hasHi && b.hi.Int > math.MaxInt64-999 {
			b.hasHi = false
		} else if b.hasHi {
			b.hi.Int += 999
		}
	case schema.Double:
		// Written while the column was float, 3.4 stands for 3.4000000953674316.
		if bytes.Contains(f.Metadata[keyTypeChanges], []byte(`"float"`)) {
			if x := float64(float32(b.lo.Float64())); b.hasLo && x < b.lo.Float64() {
				b.lo = connectors.Float(x)
			}
			if x := float64(float32(b.hi.Float64())); b.hasHi && x > b.hi.Float64() {
				b.hi = connectors.Float(x)
			}
		}
	}
}

// statValue reads a bound as the log has it.
func statValue(v *fastjson.Value, t schema.Type) (connectors.Value, bool) {
	if v == nil {
		return connectors.Value{}, false
	}
	var text string
	switch v.Type() {
	case fastjson.TypeString:
		text = string(v.GetStringBytes())
		if t.Kind == schema.String {
			return connectors.Text(text), true
		}
		if t.Kind == schema.Float || t.Kind == schema.Double {
			return connectors.Value{}, false // "NaN" and its like
		}
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		text = v.String()
		if t.Kind == schema.String || t.Kind == schema.Binary {
			return connectors.Value{}, false
		}
	default:
		return connectors.Value{}, false
	}
	if t.Kind == schema.Binary {
		return connectors.Value{}, false
	}
	return parseLiteral(text, t)
}

// bounds are what is known of a column in a file or row group.
type bounds struct {
	lo, hi       connectors.Value
	hasLo, hasHi bool
	nulls, rows  int64 // -1: unknown
}

func (b *bounds) mayHold(t *Term, ty schema.Type) bool {
	switch t.Op {
	case IsNull:
		return b.nulls != 0
	case NotNull:
		return b.rows < 0 || b.nulls < b.rows
	}
	if b.rows >= 0 && b.nulls == b.rows {
		return false
	}
	if ty.Kind == schema.Float || ty.Kind == schema.Double {
		// Some writers leave NaN out of account: an upper bound then proves nothing.
		b.hasHi = b.hasHi && t.Op != Gt && t.Op != Ge && !hasNaN(t.Values)
	}
	for _, v := range t.Values {
		if v.State != connectors.Present {
			continue
		}
		below, above := false, false // v lies below the lowest, above the highest
		var atLo, atHi bool
		if b.hasLo {
			c, ok := compare(v, b.lo, ty)
			if !ok {
				return true
			}
			below, atLo = c < 0, c == 0
		}
		if b.hasHi {
			c, ok := compare(v, b.hi, ty)
			if !ok {
				return true
			}
			above, atHi = c > 0, c == 0
		}
		switch t.Op {
		case Eq, In:
			if !below && !above {
				return true
			}
		case Ne:
			return true
		case Lt: // some x < v: not if v <= lo
			return !below && !atLo
		case Le:
			return !below
		case Gt:
			return !above && !atHi
		case Ge:
			return !above
		}
	}
	return false
}

func hasNaN(vs []connectors.Value) bool {
	for _, v := range vs {
		if math.IsNaN(v.Float64()) {
			return true
		}
	}
	return false
}

// keepGroups gives the row groups of a file that may hold a row; nil where all may.
func (k *skipper) keepGroups(f *columnar.File) []int {
	m := f.Meta()
	if len(k.where) == 0 || len(m.RowGroups) == 0 {
		return nil
	}
	out := []int{}
	for g := range m.RowGroups {
		if k.keepGroup(m, g) {
			out = append(out, g)
		}
	}
	return out
}

func (k *skipper) keepGroup(m *parquet.Meta, g int) bool {
	for i := range k.where {
		t := &k.where[i]
		path, ty, err := resolve(k.layout.schema, t.Column)
		if err != nil || len(path) != 1 || k.layout.isPart[path[0]] || k.layout.mapping == columnar.MapID {
			continue
		}
		name := columnar.PhysicalName(&k.layout.schema.Fields[path[0]], k.layout.mapping)
		for c, n := range m.Leaves {
			if n.MaxRep > 0 || n.Path() != name || n.Name != name {
				continue
			}
			cc := &m.RowGroups[g].Columns[c]
			b := bounds{nulls: cc.NullCount, rows: m.RowGroups[g].NumRows}
			b.lo, b.hasLo = footerValue(cc.Min, n, ty)
			b.hi, b.hasHi = footerValue(cc.Max, n, ty)
			if !b.mayHold(t, ty) {
				return false
			}
		}
	}
	return true
}

// footerValue reads a bound of a footer, of the types whose bounds are beyond doubt.
func footerValue(b []byte, n *parquet.Node, t schema.Type) (connectors.Value, bool) {
	var x int64
	switch {
	case b == nil:
		return connectors.Value{}, false
	case n.Type == parquet.Int32 && len(b) == 4:
		x = int64(int32(binary.LittleEndian.Uint32(b)))
	case n.Type == parquet.Int64 && len(b) == 8:
		x = int64(binary.LittleEndian.Uint64(b))
	case n.Type == parquet.ByteArray && n.Logical == parquet.LogicalString && t.Kind == schema.String:
		return connectors.Text(string(b)), true
	default:
		return connectors.Value{}, false
	}
	if n.Logical == parquet.LogicalInt && !n.Signed {
		return connectors.Value{}, false
	}
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		if n.Logical == parquet.NoLogical || n.Logical == parquet.LogicalInt {
			return connectors.Int(t.Kind, x), true
		}
	case schema.Date:
		if n.Type == parquet.Int32 {
			return connectors.Int(t.Kind, x), true
		}
	case schema.Timestamp, schema.TimestampNTZ:
		if n.Type == parquet.Int64 && n.Logical == parquet.LogicalTimestamp && n.Unit == parquet.Micros {
			return connectors.Int(t.Kind, x), true
		}
	}
	return connectors.Value{}, false
}
