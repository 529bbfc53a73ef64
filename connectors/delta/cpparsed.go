package delta

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/parquet"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"
	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// Checkpoints have statistics and partition values in columns of their own types, too (stats_parsed, partitionValues_parsed), where the
// table asks for them: delta.checkpoint.writeStatsAsStruct. A reader that skips files need not parse their JSON then.

// parsedStats holds the parsed statistics of the row at work: all columns of a row are made before the next row's.
type parsedStats struct {
	json fastjson.Parser
	of   *Add
	v    *fastjson.Value
}

// stats gives them, nil where there are none.
func (p *parsedStats) stats(a *Add) *fastjson.Value {
	if p.of == a {
		return p.v
	}
	p.of, p.v = a, nil
	if a.Stats == "" {
		return nil
	}
	if v, err := p.json.Parse(a.Stats); err == nil && v.Type() == fastjson.TypeObject {
		p.v = v
	}
	return p.v
}

// typedLeaf is how a column type lies in a checkpoint.
type typedLeaf struct {
	typ     parquet.Type
	logical pqschema.LogicalType
	length  int
	// fromJSON and fromText append the value that a bound or a partition value is; false where it is none of the type.
	fromJSON func(*colBuf, *fastjson.Value) bool
	fromText func(*colBuf, string) bool
}

// typedLeafOf gives the leaf of a type; false for types that have no bounds and no text form.
func typedLeafOf(t schema.Type) (typedLeaf, bool) {
	whole := func(bits int, typ parquet.Type, logical pqschema.LogicalType, put func(*colBuf, int64)) (typedLeaf, bool) {
		return typedLeaf{typ: typ, logical: logical,
			fromJSON: func(c *colBuf, v *fastjson.Value) bool {
				n, err := v.Int64()
				if err != nil || n>>(bits-1) != n>>63 { // no number of the type
					return false
				}
				put(c, n)
				return true
			},
			fromText: func(c *colBuf, s string) bool {
				n, err := strconv.ParseInt(s, 10, bits)
				if err == nil {
					put(c, n)
				}
				return err == nil
			}}, true
	}
	text := func(typ parquet.Type, logical pqschema.LogicalType, length int, put func(*colBuf, string) bool) (typedLeaf, bool) {
		return typedLeaf{typ: typ, logical: logical, length: length, fromText: put, fromJSON: func(c *colBuf, v *fastjson.Value) bool {
			if v.Type() == fastjson.TypeString {
				return put(c, string(v.GetStringBytes())) // a copy: the parser's memory is used again
			}
			return v.Type() == fastjson.TypeNumber && put(c, v.String())
		}}, true
	}
	put4 := func(c *colBuf, n int64) { c.i32 = append(c.i32, int32(n)) }
	put8 := func(c *colBuf, n int64) { c.i64 = append(c.i64, n) }
	switch t.Kind {
	case schema.Byte:
		return whole(8, parquet.Types.Int32, pqschema.NewIntLogicalType(8, true), put4)
	case schema.Short:
		return whole(16, parquet.Types.Int32, pqschema.NewIntLogicalType(16, true), put4)
	case schema.Integer:
		return whole(32, parquet.Types.Int32, noType, put4)
	case schema.Long:
		return whole(64, parquet.Types.Int64, noType, put8)
	case schema.Float:
		return text(parquet.Types.Float, noType, 0, func(c *colBuf, s string) bool {
			f, err := strconv.ParseFloat(s, 32)
			if err == nil {
				c.f32 = append(c.f32, float32(f))
			}
			return err == nil
		})
	case schema.Double:
		return text(parquet.Types.Double, noType, 0, func(c *colBuf, s string) bool {
			f, err := strconv.ParseFloat(s, 64)
			if err == nil {
				c.f64 = append(c.f64, f)
			}
			return err == nil
		})
	case schema.String:
		return text(parquet.Types.ByteArray, textType, 0, func(c *colBuf, s string) bool { c.str(s); return true })
	case schema.Date:
		return text(parquet.Types.Int32, pqschema.DateLogicalType{}, 0, func(c *colBuf, s string) bool {
			d, ok := columnar.ParseDate(s)
			if ok {
				put4(c, d)
			}
			return ok
		})
	case schema.Timestamp, schema.TimestampNTZ:
		utc := t.Kind == schema.Timestamp
		return text(parquet.Types.Int64, pqschema.NewTimestampLogicalType(utc, pqschema.TimeUnitMicros), 0, func(c *colBuf, s string) bool {
			us, ok := columnar.ParseTimestamp(s, utc)
			if ok {
				put8(c, us)
			}
			return ok
		})
	case schema.Decimal:
		return decimalLeaf(t, text)
	}
	return typedLeaf{}, false
}

func decimalLeaf(t schema.Type, text func(parquet.Type, pqschema.LogicalType, int, func(*colBuf, string) bool) (typedLeaf, bool)) (typedLeaf, bool) {
	logical := pqschema.NewDecimalLogicalType(int32(t.Precision), int32(t.Scale))
	size := 1 // bytes for the precision
	for limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil); limit.BitLen() >= 8*size; {
		size++
	}
	put := func(with func(*colBuf, *big.Int)) func(*colBuf, string) bool {
		return func(c *colBuf, s string) bool {
			r, ok := new(big.Rat).SetString(boundedNumber(s))
			if !ok {
				return false
			}
			r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
			if !r.IsInt() || r.Num().BitLen() >= 8*size {
				return false
			}
			with(c, r.Num())
			return true
		}
	}
	switch {
	case t.Precision <= 9:
		return text(parquet.Types.Int32, logical, 0, put(func(c *colBuf, n *big.Int) { c.i32 = append(c.i32, int32(n.Int64())) }))
	case t.Precision <= 18:
		return text(parquet.Types.Int64, logical, 0, put(func(c *colBuf, n *big.Int) { c.i64 = append(c.i64, n.Int64()) }))
	}
	return text(parquet.Types.FixedLenByteArray, logical, size, put(func(c *colBuf, n *big.Int) {
		if n.Sign() < 0 {
			n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
		}
		c.fixed = append(c.fixed, n.FillBytes(make([]byte, size)))
	}))
}

// statsColumn is a column with statistics, or a struct of some.
type statsColumn struct {
	name string // physical
	typ  schema.Type
	kids []statsColumn
}

// statsColumns gives the columns that have statistics, as columnar.Writer counts them: leaves in their order.
func statsColumns(m *Metadata, fields []schema.Field) []statsColumn {
	left := 32
	if n, err := strconv.Atoi(m.Configuration[PropStatsColumns]); err == nil {
		left = n
	}
	var names []string
	if v, ok := m.Configuration[PropStatsColumnNames]; ok {
		left = -1
		for _, n := range strings.Split(v, ",") {
			names = append(names, strings.Trim(strings.TrimSpace(n), "`"))
		}
	}
	mapped := m.Configuration[PropColumnMappingMode] != "" && m.Configuration[PropColumnMappingMode] != columnMappingNone
	var walk func(prefix string, fields []schema.Field) []statsColumn
	walk = func(prefix string, fields []schema.Field) []statsColumn {
		var out []statsColumn
		for i := range fields {
			f := &fields[i]
			if prefix == "" && slices.Contains(m.PartitionColumns, f.Name) {
				continue
			}
			c := statsColumn{name: f.Name, typ: f.Type}
			if mapped {
				c.name = PhysicalName(f)
			}
			path := prefix + f.Name
			if f.Type.Kind == schema.Struct {
				if c.kids = walk(path+".", f.Type.Fields); len(c.kids) > 0 {
					out = append(out, c)
				}
				continue
			}
			if names != nil && !slices.ContainsFunc(names, func(n string) bool { return n == path || strings.HasPrefix(path, n+".") }) {
				continue
			}
			if left == 0 {
				continue
			}
			left--
			out = append(out, c)
		}
		return out
	}
	return walk("", fields)
}

// parsedNodes are the members stats_parsed and, in a partitioned table, partitionValues_parsed of add.
func parsedNodes(b *cpBuilder, p *Protocol, m *Metadata, sc schema.Schema) []pqschema.Node {
	stats := &parsedStats{}
	// leaf is a leaf of the statistics below some keys; get appends its value.
	leaf := func(name string, l typedLeaf, keys []string) pqschema.Node {
		keys = append(slices.Clone(keys), name)
		return b.sized("add.stats_parsed."+strings.Join(keys, "."), name, l, func(c *colBuf, r *cpRow) {
			if r.add == nil {
				c.level(0, 0)
				return
			}
			v := stats.stats(r.add)
			def := int16(1)
			for i, k := range keys {
				if v == nil || v.Type() != fastjson.TypeObject {
					break
				}
				def++
				if v = v.Get(k); v != nil && i == len(keys)-1 && v.Type() != fastjson.TypeNull && l.fromJSON(c, v) {
					def++
				}
			}
			c.level(def, 0)
		})
	}
	count, _ := typedLeafOf(schema.Of(schema.Long))
	var group func(name string, cols []statsColumn, keys []string, of func(statsColumn) (typedLeaf, bool)) (pqschema.Node, bool)
	group = func(name string, cols []statsColumn, keys []string, of func(statsColumn) (typedLeaf, bool)) (pqschema.Node, bool) {
		keys = append(slices.Clone(keys), name)
		var kids []pqschema.Node
		for _, c := range cols {
			if c.kids != nil {
				if g, ok := group(c.name, c.kids, keys, of); ok {
					kids = append(kids, g)
				}
			} else if l, ok := of(c); ok {
				kids = append(kids, leaf(c.name, l, keys))
			}
		}
		if len(kids) == 0 {
			return nil, false
		}
		return b.group(name, optional, noType, kids...), true
	}
	cols := statsColumns(m, sc.Fields)
	kids := []pqschema.Node{leaf("numRecords", count, nil)}
	bound := func(c statsColumn) (typedLeaf, bool) { return typedLeafOf(c.typ) }
	for _, name := range []string{"minValues", "maxValues"} {
		if g, ok := group(name, cols, nil, bound); ok {
			kids = append(kids, g)
		}
	}
	if g, ok := group("nullCount", cols, nil, func(statsColumn) (typedLeaf, bool) { return count, true }); ok {
		kids = append(kids, g)
	}
	if p.Has(FeatureDeletionVectors) {
		kids = append(kids, leaf("tightBounds", typedLeaf{typ: parquet.Types.Boolean, logical: noType, fromJSON: func(c *colBuf, v *fastjson.Value) bool {
			is, err := v.Bool()
			if err == nil {
				c.bools = append(c.bools, is)
			}
			return err == nil
		}}, nil))
	}
	out := []pqschema.Node{b.group("stats_parsed", optional, noType, kids...)}
	if g := partitionNode(b, m, sc); g != nil {
		out = append(out, g)
	}
	return out
}

func partitionNode(b *cpBuilder, m *Metadata, sc schema.Schema) pqschema.Node {
	names, err := partitionNames(m, sc)
	if err != nil || len(names) == 0 {
		return nil
	}
	var kids []pqschema.Node
	for i, name := range names {
		t := sc.Fields[sc.IndexFold(m.PartitionColumns[i])].Type
		l, ok := typedLeafOf(t)
		switch {
		case ok:
		case t.Kind == schema.Boolean:
			l = typedLeaf{typ: parquet.Types.Boolean, logical: noType, fromText: func(c *colBuf, s string) bool {
				is, err := strconv.ParseBool(s)
				if err == nil {
					c.bools = append(c.bools, is)
				}
				return err == nil
			}}
		default:
			l = typedLeaf{typ: parquet.Types.ByteArray, logical: noType, fromText: func(c *colBuf, s string) bool { c.str(s); return true }}
		}
		kids = append(kids, b.sized("add.partitionValues_parsed."+name, name, l, func(c *colBuf, r *cpRow) {
			if r.add == nil {
				c.level(0, 0)
				return
			}
			text, null, ok := r.add.PartitionValues.Get(name)
			if ok && !null && l.fromText(c, text) {
				c.level(3, 0)
				return
			}
			c.level(2, 0)
		}))
	}
	return b.group("partitionValues_parsed", optional, noType, kids...)
}
