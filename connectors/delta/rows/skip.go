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
	where   Predicate
	columns map[string]*boundColumn
	layout  *layout
	parser  fastjson.Parser
	known   []*bounds // of the columns in the file that is looked at; nil: not read yet
	room    []bounds
}

func newSkipper(where Predicate, columns map[string]*boundColumn, l *layout) *skipper {
	return &skipper{where: where, columns: columns, layout: l, known: make([]*bounds, len(columns)), room: make([]bounds, len(columns))}
}

// keep tells whether the predicate may be true for a row, all that is known being bounds.
func (k *skipper) keep(read func(*boundColumn) bounds) bool {
	clear(k.known)
	var out [1]truths
	err := k.where.eval(out[:], func(t Term, out []truths) error {
		c := k.columns[t.Column]
		if k.known[c.index] == nil {
			b := read(c)
			if b.hasLo && b.hasHi && compare(b.lo, b.hi, c.typ) > 0 { // such bounds say nothing
				b.hasLo, b.hasHi = false, false
			}
			k.room[c.index], k.known[c.index] = b, &k.room[c.index]
		}
		out[0] = t.over(k.known[c.index], c.typ)
		return nil
	})
	return err != nil || out[0]&yes != 0
}

// keepFile tells whether a file may hold a row. parts are its partition values.
func (k *skipper) keepFile(a *delta.Add, parts map[int]connectors.Value) bool {
	if k.where == nil {
		return true
	}
	var stats *fastjson.Value
	parsed := false
	return k.keep(func(c *boundColumn) bounds {
		if k.layout.isPart[c.path[0]] {
			return boundsOf(parts[c.path[0]])
		}
		if !parsed {
			parsed = true
			if v, err := k.parser.Parse(a.Stats); err == nil {
				stats = v
			}
		}
		return k.statistics(c, stats)
	})
}

// statistics gives what the log knows of a column.
func (k *skipper) statistics(c *boundColumn, stats *fastjson.Value) bounds {
	b := anything
	if stats == nil {
		return b
	}
	keys := make([]string, 1, len(c.path)+1)
	for _, f := range c.fields {
		keys = append(keys, columnar.PhysicalName(f, k.layout.mapping))
	}
	get := func(root string) *fastjson.Value {
		keys[0] = root
		return stats.Get(keys...)
	}
	count := func(v *fastjson.Value) int64 {
		if v != nil {
			if n, err := v.Int64(); err == nil {
				return n
			}
		}
		return -1
	}
	b.rows, b.nulls = count(stats.Get("numRecords")), count(get("nullCount"))
	b.read(c.fields[len(c.fields)-1], get("minValues"), get("maxValues"))
	if c.typ.Kind == schema.Decimal && c.typ.Precision > exactFloatDigits {
		b.lo, b.hi = nudge(b.lo, -1), nudge(b.hi, 1)
	}
	switch c.typ.Kind {
	case schema.Array, schema.Map, schema.Struct, schema.Variant:
		if b.nulls != 0 { // some writers count nulls among the elements
			b.nulls = -1
		}
	}
	return b
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
	case schema.Float, schema.Double:
		b.nan = true // some writers leave NaN out of account
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

// keepGroups gives the row groups of a file that may hold a row; nil where all may.
func (k *skipper) keepGroups(f *columnar.File) []int {
	m := f.Meta()
	if k.where == nil || len(m.RowGroups) == 0 {
		return nil
	}
	out := []int{}
	for g := range m.RowGroups {
		if k.keep(func(c *boundColumn) bounds { return k.footer(c, m, g) }) {
			out = append(out, g)
		}
	}
	return out
}

// footer gives what a file's footer knows of a column in a row group.
func (k *skipper) footer(c *boundColumn, m *parquet.Meta, g int) bounds {
	if len(c.path) != 1 || k.layout.isPart[c.path[0]] || k.layout.mapping == columnar.MapID {
		return anything
	}
	name := columnar.PhysicalName(c.fields[0], k.layout.mapping)
	for i, n := range m.Leaves {
		if n.MaxRep > 0 || n.Path() != name || n.Name != name {
			continue
		}
		cc := &m.RowGroups[g].Columns[i]
		b := bounds{nulls: cc.NullCount, rows: m.RowGroups[g].NumRows, nan: c.typ.Kind == schema.Float || c.typ.Kind == schema.Double}
		b.lo, b.hasLo = footerValue(cc.Min, n, c.typ)
		b.hi, b.hasHi = footerValue(cc.Max, n, c.typ)
		return b
	}
	return anything
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
