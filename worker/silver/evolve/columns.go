package evolve

import (
	"encoding/json"
	"fmt"
	"slices"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// What schema.evolution.{add,widen,drop,type} may say.
const (
	Evolve = "evolve"
	Ignore = "ignore"
	Reject = "reject"
)

// MetaName is the key of a field's metadata under which the source's name of the column is kept where it differs.
const MetaName = "sluice.name"

// Policy says what becomes of each kind of change of a source's schema. Empty means Evolve.
type Policy struct {
	// Add: a column appears. Ignore leaves it out of silver.
	Add string
	// Widen: a column's type grows. Ignore keeps the type and rescues what does not fit.
	Widen string
	// Drop: an event does not mention a column of the table. Evolve writes NULL; Ignore carries the last value over.
	Drop string
	// Type: a value of a type that has nothing in common with the column's. Evolve and Ignore rescue it.
	Type string
	// Include and Exclude name source columns; an empty Include means all.
	Include, Exclude []string
	// Identity tells, where it is set, the columns by which rows are found. They are in the table in any case.
	Identity func(source string) bool
	// CarryAbsent tells that the source leaves out what did not change: a column that is not mentioned is carried over.
	CarryAbsent bool
	// MayWiden tells, where it is set, whether a column can have a wider type now: the table's files may have to be rewritten.
	MayWiden func(from, to schema.Type) bool
}

// Column is one column of the source in the table.
type Column struct {
	Source string // name at the source
	Name   string // name in the table
	Type   schema.Type
	At     int // index in the table's schema
}

// Columns is the picture of a table's columns. It belongs to one goroutine.
type Columns struct {
	// Schema is the whole schema of the table, source columns and ours, in the table's order.
	Schema schema.Schema
	// Source are the source's columns in the order in which they were added.
	Source []Column
	// Gen rises with every change.
	Gen int
	// Widened are the columns whose type grew so that files written before must be rewritten, with the old type.
	Widened map[string]schema.Type
	// Rescues counts the values of types that have no place in their column, by declaration.
	policy Policy
	by     map[string]int
	plans  map[*connectors.Shape]*Plan
	keys   map[*connectors.Shape]*Plan
	fresh  bool
}

// Plan says how the values of one Shape go into the table's source columns. It is valid for one Gen.
type Plan struct {
	// Src gives for each source column the index in the shape's values, or -1.
	Src []int32
	// Mask gives for each source column the kinds, as bits, that need no conversion.
	Mask []uint32
	// From are the declared types by source column, the zero type where none is.
	From []schema.Type
	// Whole tells that every column of the table is mentioned, or counts as NULL where it is not.
	Whole bool

	gen     int
	reasons string
	open    []int32 // indexes of the shape without a column, of shapes that declare no types
	untyped bool
}

// New makes the picture of a table with this schema. The zero schema is that of a table yet to be created.
func New(s schema.Schema, p Policy) *Columns {
	c := &Columns{policy: p, by: map[string]int{}, plans: map[*connectors.Shape]*Plan{}, keys: map[*connectors.Shape]*Plan{},
		fresh: len(s.Fields) == 0}
	c.Schema.Fields = slices.Clone(s.Fields)
	for i, f := range s.Fields {
		if Reserved(f.Name) {
			continue
		}
		name := UnescapeName(f.Name)
		if raw, ok := f.Metadata[MetaName]; ok {
			var n string
			if json.Unmarshal(raw, &n) == nil {
				name = n
			}
		}
		c.by[name] = len(c.Source)
		c.Source = append(c.Source, Column{Source: name, Name: f.Name, Type: f.Type, At: i})
	}
	return c
}

// Clone copies the picture: the copy can be thrown away when the commit fails.
func (c *Columns) Clone() *Columns {
	o := New(c.Schema, c.policy)
	o.Gen, o.fresh = c.Gen, c.fresh
	return o
}

// BySource gives the index in Source of a source's column, or -1.
func (c *Columns) BySource(name string) int {
	if i, ok := c.by[name]; ok {
		return i
	}
	return -1
}

// Sealed tells that the table exists: from now on Policy decides about new columns.
func (c *Columns) Sealed() { c.fresh = false }

// Ensure adds one of our own columns where it is missing.
func (c *Columns) Ensure(name string, t schema.Type) int {
	if i := c.Schema.Index(name); i >= 0 {
		return i
	}
	c.Schema.Fields = append(c.Schema.Fields, schema.Field{Name: name, Type: t, Nullable: true})
	c.Gen++
	return len(c.Schema.Fields) - 1
}

// wanted tells whether a source's column is to be in silver.
func (c *Columns) wanted(name string, key bool) bool {
	if key {
		return true
	}
	if len(c.policy.Include) > 0 && !slices.Contains(c.policy.Include, name) {
		return false
	}
	return !slices.Contains(c.policy.Exclude, name)
}

// need is one change that a row asks for.
type need struct {
	col  int // -1: a new column
	name string
	to   schema.Type
}

// Observe lets the schema follow a row, or a key when key is set, and gives the plan for its shape. A reason that is not
// empty says why the row must be rejected; nothing was changed then.
func (c *Columns) Observe(row connectors.Row, key bool) (*Plan, string) {
	plans := c.plans
	if key {
		plans = c.keys
	}
	p := plans[row.Shape]
	if p != nil && p.gen == c.Gen && !p.untyped {
		return p, p.reasons
	}
	if p != nil && p.gen == c.Gen && !c.surprises(p, row) {
		return p, p.reasons
	}
	needs, reason := c.needs(row, key)
	if reason == "" {
		c.apply(needs)
	}
	if p == nil || p.gen != c.Gen || reason != "" {
		p = c.plan(row.Shape, key)
		p.reasons = reason
		if reason != "" && p.untyped {
			// Only this row is bad, the next of the shape may be good.
			q := *p
			q.gen--
			plans[row.Shape] = &q
			return p, reason
		}
		if len(plans) > 4096 {
			clear(plans)
		}
		plans[row.Shape] = p
	}
	return p, reason
}

// Plan gives the plan for a row that was observed before.
func (c *Columns) Plan(row connectors.Row) *Plan {
	if p := c.plans[row.Shape]; p != nil && p.gen == c.Gen {
		return p
	}
	p, _ := c.Observe(row, false)
	return p
}

// surprises tells whether a row of a shape without types has a value that its column was not made for.
func (c *Columns) surprises(p *Plan, row connectors.Row) bool {
	for i, s := range p.Src {
		if s >= 0 && row.Values[s].State == connectors.Present && p.Mask[i]&(1<<row.Values[s].Kind) == 0 {
			return true
		}
	}
	for _, s := range p.open {
		if row.Values[s].State == connectors.Present {
			return true
		}
	}
	return false
}

func (c *Columns) needs(row connectors.Row, key bool) (out []need, reason string) {
	for i, name := range row.Shape.Names {
		if !c.wanted(name, key) {
			continue
		}
		t := schema.Of(schema.Void)
		if row.Shape.Types != nil {
			t = row.Shape.Types[i]
		} else {
			t = TypeOf(row.Values[i])
		}
		if t.Kind == schema.Void {
			continue
		}
		k, ok := c.by[name]
		if !ok {
			switch {
			case c.fresh || key || c.policy.Add == "" || c.policy.Add == Evolve:
				out = append(out, need{-1, name, t})
			case c.policy.Add == Reject:
				return nil, fmt.Sprintf("column %q is new and schema.evolution.add is reject", name)
			}
			continue
		}
		if key && row.Shape.Types == nil {
			continue // a key's text tells less than the row's
		}
		to, change := Unify(c.Source[k].Type, t)
		switch change {
		case Wider:
			switch {
			case c.policy.Widen == Reject:
				return nil, fmt.Sprintf("column %q grows from %s to %s and schema.evolution.widen is reject", name, c.Source[k].Type, to)
			case c.policy.Widen == Ignore:
			case c.fresh || Adds(c.Source[k].Type, to) || c.policy.MayWiden == nil || c.policy.MayWiden(c.Source[k].Type, to):
				out = append(out, need{k, name, to})
			}
		case Other:
			if c.policy.Type == Reject {
				return nil, fmt.Sprintf("column %q is %s, the event has %s, and schema.evolution.type is reject", name, c.Source[k].Type, t)
			}
		}
	}
	if c.policy.Drop == Reject && !key && !c.fresh {
		for i := range c.Source {
			if row.Shape.Index(c.Source[i].Source) < 0 {
				return nil, fmt.Sprintf("column %q is missing and schema.evolution.drop is reject", c.Source[i].Source)
			}
		}
	}
	return out, ""
}

func (c *Columns) apply(needs []need) {
	for _, n := range needs {
		c.Gen++
		if n.col < 0 {
			c.add(n.name, n.to)
			continue
		}
		col := &c.Source[n.col]
		if !c.fresh && !Adds(col.Type, n.to) { // a table yet to be created has no files
			if c.Widened == nil {
				c.Widened = map[string]schema.Type{}
			}
			if _, ok := c.Widened[col.Name]; !ok {
				c.Widened[col.Name] = col.Type
			}
		}
		col.Type = n.to
		c.Schema.Fields[col.At].Type = n.to
	}
}

func (c *Columns) add(source string, t schema.Type) {
	name := EscapeName(source)
	if c.Schema.IndexFold(name) >= 0 {
		name = caseName(name)
	}
	f := schema.Field{Name: name, Type: settle(t), Nullable: true}
	if name != source {
		raw, err := json.Marshal(source)
		if err == nil {
			f.Metadata = map[string]json.RawMessage{MetaName: raw}
		}
	}
	c.by[source] = len(c.Source)
	c.Source = append(c.Source, Column{Source: source, Name: name, Type: f.Type, At: len(c.Schema.Fields)})
	c.Schema.Fields = append(c.Schema.Fields, f)
}

// settle replaces what a Delta file cannot hold: void inside of arrays and maps becomes string.
func settle(t schema.Type) schema.Type {
	if t.Elem != nil {
		e := settle(*t.Elem)
		if e.Kind == schema.Void {
			e = schema.Of(schema.String)
		}
		t.Elem = &e
	}
	if len(t.Fields) > 0 {
		t.Fields = slices.Clone(t.Fields)
		for i := range t.Fields {
			t.Fields[i].Type = settle(t.Fields[i].Type)
			t.Fields[i].Nullable = true
		}
	}
	return t
}

func (c *Columns) plan(sh *connectors.Shape, key bool) *Plan {
	p := &Plan{gen: c.Gen, untyped: sh.Types == nil, Whole: true,
		Src: make([]int32, len(c.Source)), Mask: make([]uint32, len(c.Source)), From: make([]schema.Type, len(c.Source))}
	for i := range p.Src {
		p.Src[i] = -1
	}
	for i, name := range sh.Names {
		k, ok := c.by[name]
		if ok && !c.wanted(name, key) && (c.policy.Identity == nil || !c.policy.Identity(name)) {
			continue // it was wanted when the table got it
		}
		if !ok {
			if p.untyped && c.wanted(name, key) {
				p.open = append(p.open, int32(i))
			}
			continue
		}
		p.Src[k] = int32(i)
		p.Mask[k] = Direct(c.Source[k].Type)
		if sh.Types != nil {
			p.From[k] = sh.Types[i]
			if sh.Types[i].Kind == schema.Decimal && sh.Types[i].Equal(c.Source[k].Type) {
				p.Mask[k] = 1 << schema.Decimal
			}
		}
	}
	if c.policy.CarryAbsent || c.policy.Drop == Ignore {
		for _, s := range p.Src {
			p.Whole = p.Whole && s >= 0
		}
	}
	return p
}
