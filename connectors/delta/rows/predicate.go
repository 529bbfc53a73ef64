package rows

import (
	"fmt"
	"iter"
	"math"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// Predicate is a condition on a row in SQL's three-valued logic: a tree of And, Or and Not over Terms. It holds for a row
// where it is true, not where it is false or unknown. Values of it are immutable; ParsePredicate makes them of text.
type Predicate interface {
	// terms gives the leaves of the tree.
	terms() iter.Seq[Term]
	// eval puts into out what the predicate may be for each of its places: rows, or one file or row group. leaf does so for
	// a term.
	eval(out []truths, leaf func(t Term, out []truths) error) error
}

// And is false where one of its members is, and true where all are: also where there is none.
type And []Predicate

// Or is true where one of its members is, and false where all are.
type Or []Predicate

// Not turns true and false over, and leaves unknown as it is.
type Not struct{ Of Predicate }

// Term compares a column, or a member of a struct by its path with dots, with a literal of the column's type. It is unknown
// where one of the two is null, but for IsNull, which looks at no literal and is never unknown.
type Term struct {
	Column string
	Op     Op
	Value  connectors.Value
}

// Op is a comparison.
type Op uint8

// The comparisons. NaN is equal to itself and above all numbers, texts are ordered by their bytes.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
	// Like matches a text with a pattern: % stands for any characters, _ for one, and \ takes the next one as it is.
	Like
	IsNull
)

// In holds for a row where the column has one of the values. With a null among them it is unknown elsewhere.
func In(column string, values ...connectors.Value) Predicate {
	out := make(Or, len(values))
	for i, v := range values {
		out[i] = Term{column, Eq, v}
	}
	return out
}

// truths is a set of outcomes: the one of a row, or all those that rows of a file may have.
type truths uint8

const (
	yes truths = 1 << iota
	no
	unknown
)

func (a truths) not() truths { return (a&yes)<<1 | (a&no)>>1 | a&unknown }

// and is every outcome that one of a and one of b give: unknown comes of unknown with unknown, and of unknown with yes.
func (a truths) and(b truths) truths {
	const up = 2 // from yes to unknown
	return a&b&yes | (a|b)&no | (a&b|a&(b<<up)|(a<<up)&b)&unknown
}

func (p And) eval(out []truths, leaf func(Term, []truths) error) error {
	fill(out, yes)
	member := make([]truths, len(out))
	for _, m := range p {
		if err := m.eval(member, leaf); err != nil {
			return err
		}
		for i, x := range member {
			out[i] = out[i].and(x)
		}
	}
	return nil
}

// eval of a or b is that of not (not a and not b).
func (p Or) eval(out []truths, leaf func(Term, []truths) error) error {
	fill(out, yes)
	member := make([]truths, len(out))
	for _, m := range p {
		if err := m.eval(member, leaf); err != nil {
			return err
		}
		for i, x := range member {
			out[i] = out[i].and(x.not())
		}
	}
	invert(out)
	return nil
}

func (p Not) eval(out []truths, leaf func(Term, []truths) error) error {
	err := p.Of.eval(out, leaf)
	invert(out)
	return err
}

func (t Term) eval(out []truths, leaf func(Term, []truths) error) error { return leaf(t, out) }

func fill(out []truths, x truths) {
	for i := range out {
		out[i] = x
	}
}

func invert(out []truths) {
	for i, x := range out {
		out[i] = x.not()
	}
}

func (p And) terms() iter.Seq[Term] { return termsOf(p) }
func (p Or) terms() iter.Seq[Term]  { return termsOf(p) }
func (p Not) terms() iter.Seq[Term] { return p.Of.terms() }
func (t Term) terms() iter.Seq[Term] {
	return func(yield func(Term) bool) { yield(t) }
}

func termsOf(ps []Predicate) iter.Seq[Term] {
	return func(yield func(Term) bool) {
		for _, p := range ps {
			for t := range p.terms() {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// sides are what comparisons say of a value that is less than the literal, equal to it, and greater.
var sides = [...][3]truths{Eq: {no, yes, no}, Ne: {yes, no, yes}, Lt: {yes, no, no}, Le: {yes, yes, no}, Gt: {no, no, yes}, Ge: {no, yes, yes}}

// bounds are what is known of the values of a column in a row group or file. What is known of a row's value is that it is both its bounds.
type bounds struct {
	lo, hi       connectors.Value
	hasLo, hasHi bool
	nan          bool  // NaN may be there, whatever the bounds
	nulls, rows  int64 // -1: unknown
}

// anything is nothing known.
var anything = bounds{nulls: -1, rows: -1}

// boundsOf are those of one row.
func boundsOf(v connectors.Value) bounds {
	if v.State != connectors.Present {
		return bounds{nulls: 1, rows: 1}
	}
	return bounds{lo: v, hi: v, hasLo: true, hasHi: true, rows: 1}
}

// over gives all that the term may be for values of a type within bounds.
func (t Term) over(b *bounds, ty schema.Type) truths {
	nulls := b.nulls != 0                     // there may be nulls
	values := b.rows < 0 || b.nulls != b.rows // and values
	var out truths
	switch {
	case t.Op == IsNull:
		if nulls {
			out |= yes
		}
		if values {
			out |= no
		}
		return out
	case t.Value.State != connectors.Present:
		return unknown
	}
	if nulls {
		out |= unknown
	}
	if !values {
		return out
	}
	if t.Op == Like {
		return out | likeWithin(t.Value.Str, b)
	}
	out |= t.within(b, ty)
	if b.nan {
		nan := boundsOf(connectors.Float(math.NaN()))
		out |= t.within(&nan, ty)
	}
	return out
}

// within is over for a comparison and values that are not null.
func (t Term) within(b *bounds, ty schema.Type) truths {
	atLo, atHi := -1, 1 // where the lowest and the highest value may lie, seen from the literal
	if b.hasLo {
		atLo = compare(b.lo, t.Value, ty)
	}
	if b.hasHi {
		atHi = compare(b.hi, t.Value, ty)
	}
	var out truths
	for side := atLo; side <= atHi; side++ {
		out |= sides[t.Op][side+1]
	}
	return out
}

// bind finds the columns of the terms, and judges the terms.
func bind(p Predicate, s schema.Schema) (map[string]*boundColumn, error) {
	out := map[string]*boundColumn{}
	if p == nil {
		return out, nil
	}
	for t := range p.terms() {
		c := out[t.Column]
		if c == nil {
			var err error
			if c, err = resolve(s, t.Column); err != nil {
				return nil, err
			}
			c.index = len(out)
			out[t.Column] = c
		}
		if err := t.suits(c.typ); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// suits tells why a term can't be asked of a column's type.
func (t Term) suits(ty schema.Type) error {
	switch {
	case t.Op > IsNull:
		return fmt.Errorf("column %s: there is no comparison %d", t.Column, t.Op)
	case t.Op == IsNull:
		return nil
	case ty.Kind == schema.Array || ty.Kind == schema.Map || ty.Kind == schema.Struct || ty.Kind == schema.Variant || ty.Kind == schema.Void:
		return fmt.Errorf("column %s of %s can't be compared", t.Column, ty)
	case t.Op == Like && ty.Kind != schema.String:
		return fmt.Errorf("column %s is %s, and LIKE is for strings", t.Column, ty)
	}
	return nil
}

// boundColumn is a column that terms ask for.
type boundColumn struct {
	index  int             // among those of the predicate
	path   []int           // in the schema
	fields []*schema.Field // along the path
	typ    schema.Type
}

// resolve finds a column by its path: exactly, else without regard to case. Names may have dots in them: the longest that is there counts.
func resolve(s schema.Schema, column string) (*boundColumn, error) {
	if i := indexAnyCase(s, column); i >= 0 {
		f := &s.Fields[i]
		return &boundColumn{path: []int{i}, fields: []*schema.Field{f}, typ: f.Type}, nil
	}
	for dot := strings.LastIndexByte(column, '.'); dot >= 0; dot = strings.LastIndexByte(column[:dot], '.') {
		i := indexAnyCase(s, column[:dot])
		if i < 0 {
			continue
		}
		f := &s.Fields[i]
		if f.Type.Kind != schema.Struct {
			return nil, fmt.Errorf("column %q: %s is no struct", column, column[:dot])
		}
		if c, err := resolve(schema.Schema{Fields: f.Type.Fields}, column[dot+1:]); err == nil {
			c.path = append([]int{i}, c.path...)
			c.fields = append([]*schema.Field{f}, c.fields...)
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no column %q", column)
}

func indexAnyCase(s schema.Schema, name string) int {
	if i := s.Index(name); i >= 0 {
		return i
	}
	return s.IndexFold(name)
}

// compare orders two present values of one type that has an order: floats with NaN above all and equal to itself.
func compare(a, b connectors.Value, t schema.Type) int {
	switch t.Kind {
	case schema.Float, schema.Double:
		x, y := a.Float64(), b.Float64()
		switch {
		case math.IsNaN(x) && math.IsNaN(y):
			return 0
		case math.IsNaN(x):
			return 1
		case math.IsNaN(y):
			return -1
		}
		return order(x, y)
	case schema.String, schema.Binary:
		return strings.Compare(a.Str, b.Str)
	case schema.Decimal:
		return columnar.CompareDecimals(a, b)
	}
	return order(a.Int, b.Int)
}

func order[T ~int32 | ~int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
