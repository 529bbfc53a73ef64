package evolve

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
)

// What schema.evolution.{add,widen,drop,type} may say.
const (
	Evolve = "evolve"
	Ignore = "ignore"
	Reject = "reject"
)

// MetaName is the key of a field's metadata under which the source's name of the column is kept: where it differs, and in a table with
// column mapping, whose columns anybody may rename.
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
	// Mapped tells that the table has column mapping: columns keep the names of the source, have an id and a name of their own in files.
	Mapped bool
	// MaxID is the highest id that was given to a column, which may be gone.
	MaxID int
	// Seed tells the table from others, for the names in files.
	Seed string
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
	maxID  int
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
		fresh: len(s.Fields) == 0, maxID: p.MaxID}
	c.Schema.Fields = slices.Clone(s.Fields)
	for i, f := range s.Fields {
		if Reserved(f.Name) {
			continue
		}
		name := SourceName(&f)
		// Of two columns of one name, which others made, the one that we named is the source's.
		if k, ok := c.by[name]; !ok || c.Schema.Fields[c.Source[k].At].Metadata[MetaName] == nil {
			c.by[name] = len(c.Source)
		}
		c.Source = append(c.Source, Column{Source: name, Name: f.Name, Type: f.Type, At: i})
	}
	return c
}

// Mapped gives the schema of a table that gets column mapping: every column keeps the name that it has in the files, and remembers that of the source.
// maxID is the highest id given.
func Mapped(s schema.Schema) (out schema.Schema, maxID int) {
	out.Fields = slices.Clone(s.Fields)
	for i := range out.Fields {
		if f := &out.Fields[i]; !Reserved(f.Name) {
			remember(f, SourceName(f))
		}
	}
	return rows.MapColumns(out, 0, rows.OwnName)
}

// MaxID is the highest id that was given to a column of a table with column mapping.
func (c *Columns) MaxID() int { return c.maxID }

// mapColumns gives columns of a table with column mapping that have none an id and a name in files. A name is a function of the table and the id (D4), which
// no other column ever has: what a dropped column of the same name left in files does not come back.
func (c *Columns) mapColumns() {
	if !c.policy.Mapped {
		return
	}
	c.Schema, c.maxID = rows.MapColumns(c.Schema, c.maxID, func(_ *schema.Field, id int) string {
		return physicalPrefix + uuid.NewSHA1(uuid.Nil, []byte(c.policy.Seed+"/"+strconv.Itoa(id))).String()
	})
	for i := range c.Source {
		c.Source[i].Type = c.Schema.Fields[c.Source[i].At].Type
	}
}

// Clone copies the picture: the copy can be thrown away when the commit fails.
func (c *Columns) Clone() *Columns {
	o := New(c.Schema, c.policy)
	o.Gen, o.fresh, o.maxID = c.Gen, c.fresh, c.maxID
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
	c.mapColumns()
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
		if v := &row.Values[s]; v.State == connectors.Present || unavailableText(v) {
			return true
		}
	}
	return false
}

// unavailableText tells a value that the event leaves out, in a format without types that would tell it as text.
func unavailableText(v *connectors.Value) bool {
	return v.State == connectors.Unavailable && v.Kind == schema.String
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
			if _, known := c.by[name]; !known && unavailableText(&row.Values[i]) {
				t = schema.Of(schema.String) // what comes late for the row needs the column, to be told from one that nobody knows
			}
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
		col.Type = c.settle(&col.Type, n.to)
		c.Schema.Fields[col.At].Type = col.Type
	}
	c.mapColumns()
}

func (c *Columns) add(source string, t schema.Type) {
	f := schema.Field{Name: c.name(c.Schema.Fields, source), Type: c.settle(nil, t), Nullable: true}
	if f.Name != source || c.policy.Mapped {
		remember(&f, source)
	}
	c.by[source] = len(c.Source)
	c.Source = append(c.Source, Column{Source: source, Name: f.Name, Type: f.Type, At: len(c.Schema.Fields)})
	c.Schema.Fields = append(c.Schema.Fields, f)
}

// name gives the name of a new column, or member of a struct, beside others.
func (c *Columns) name(others []schema.Field, source string) string {
	name := EscapeName(source)
	if c.policy.Mapped && source != "" && !Reserved(source) {
		name = source
	}
	if (schema.Schema{Fields: others}).IndexFold(name) >= 0 { // Delta forbids it, with column mapping too
		name = caseName(name)
	}
	return name
}

// settle makes of a type of the source that of a column: the members of structs get names that a table can have, and void inside of arrays and maps becomes
// string. have is what the column is now, whose members come first; nil: a new one.
func (c *Columns) settle(have *schema.Type, t schema.Type) schema.Type {
	if have != nil && have.Kind != t.Kind {
		have = nil
	}
	inner := func(have *schema.Type, t schema.Type) *schema.Type {
		if t = c.settle(have, t); t.Kind == schema.Void {
			t = schema.Of(schema.String)
		}
		return &t
	}
	var elem *schema.Type
	if have != nil {
		elem = have.Elem
	}
	if t.Elem != nil {
		t.Elem = inner(elem, *t.Elem)
	}
	if t.Key != nil && have == nil {
		t.Key = inner(nil, *t.Key)
	}
	if len(t.Fields) > 0 {
		fields := make([]schema.Field, 0, len(t.Fields))
		for i, f := range t.Fields {
			f.Nullable = true
			if have != nil && i < len(have.Fields) {
				f.Type = c.settle(&have.Fields[i].Type, f.Type)
			} else {
				source := f.Name
				f.Name, f.Type = c.name(fields, source), c.settle(nil, f.Type)
				if f.Name != source || c.policy.Mapped {
					remember(&f, source)
				}
			}
			fields = append(fields, f)
		}
		t.Fields = fields
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
