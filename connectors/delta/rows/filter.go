package rows

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// wanted tells for each of n rows whether a predicate holds. cols gives the columns of the table by their places in the schema.
func wanted(p Predicate, columns map[string]*boundColumn, cols func(int) arrow.Array, n int) ([]bool, error) {
	out := make([]truths, n)
	err := p.eval(out, func(t Term, out []truths) error { return t.rows(out, columns[t.Column], cols) })
	keep := make([]bool, n)
	for i, x := range out {
		keep[i] = x == yes
	}
	return keep, err
}

// rows puts into out what a term is for each row.
func (t Term) rows(out []truths, c *boundColumn, cols func(int) arrow.Array) error {
	a := cols(c.path[0])
	parents := make([]*array.Struct, 0, 2)
	for _, i := range c.path[1:] {
		st, ok := a.(*array.Struct)
		if !ok {
			return fmt.Errorf("column %q: Arrow's %s is no struct", t.Column, a.DataType())
		}
		parents = append(parents, st)
		a = st.Field(i)
	}
	if t.Op >= Like || t.Value.State != connectors.Present || !t.fast(out, a) {
		for i := range out {
			b := boundsOf(columnar.ValueAt(a, c.typ, i))
			out[i] = t.over(&b, c.typ)
		}
	}
	null := bounds{nulls: 1, rows: 1}
	ofNull := t.over(&null, c.typ)
	for _, p := range parents {
		for i := range out {
			if p.IsNull(i) {
				out[i] = ofNull
			}
		}
	}
	return nil
}

// fast compares the common types without making values.
func (t Term) fast(out []truths, a arrow.Array) bool {
	switch a := a.(type) {
	case *array.Int64:
		compareAll(out, a.Int64Values(), t.Value.Int, t.Op)
	case *array.Int32:
		compareAll(out, a.Int32Values(), int32(t.Value.Int), t.Op)
	case *array.Timestamp:
		compareAll(out, a.TimestampValues(), arrow.Timestamp(t.Value.Int), t.Op)
	case *array.Date32:
		compareAll(out, a.Date32Values(), arrow.Date32(t.Value.Int), t.Op)
	case *array.String:
		for i := range out {
			out[i] = sides[t.Op][strings.Compare(a.Value(i), t.Value.Str)+1]
		}
	default:
		return false
	}
	if a.NullN() > 0 {
		for i := range out {
			if a.IsNull(i) {
				out[i] = unknown
			}
		}
	}
	return true
}

func compareAll[T ~int32 | ~int64](out []truths, values []T, literal T, op Op) {
	for i, v := range values {
		out[i] = sides[op][order(v, literal)+1]
	}
}

// valueAt gives a value of a column or of a member of a struct.
func valueAt(a arrow.Array, path []int, t schema.Type, row int) connectors.Value {
	for _, i := range path {
		st, ok := a.(*array.Struct)
		if !ok || st.IsNull(row) {
			return connectors.NullValue()
		}
		a = st.Field(i)
	}
	return columnar.ValueAt(a, t, row)
}
