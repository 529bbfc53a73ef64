package rows

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
)

// Op is a comparison of a column with literals.
type Op uint8

// The comparisons. None but IsNull holds for a null.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
	In
	IsNull
	NotNull
)

// String gives the operator as ParsePredicate reads it.
func (o Op) String() string {
	return [...]string{"=", "!=", "<", "<=", ">", ">=", "IN", "IS NULL", "IS NOT NULL"}[o]
}

// Term compares one column, a member of a struct by its path with dots, with literals of the column's type: one, or for In
// any number.
type Term struct {
	Column string
	Op     Op
	Values []connectors.Value
}

// Predicate holds for a row where all its terms do. nil holds for every row.
type Predicate []Term

// columns gives the top-level columns that the terms need.
func (p Predicate) columns(s schema.Schema) ([]int, error) {
	var out []int
	for _, t := range p {
		path, _, err := resolve(s, t.Column)
		if err != nil {
			return nil, err
		}
		out = append(out, path[0])
	}
	return out, nil
}

// resolve finds a column by its path: exactly, else without regard to case. Names may have dots in them: the longest that is there counts.
func resolve(s schema.Schema, column string) (path []int, t schema.Type, err error) {
	if i := indexAnyCase(s, column); i >= 0 {
		return []int{i}, s.Fields[i].Type, nil
	}
	for dot := strings.LastIndexByte(column, '.'); dot >= 0; dot = strings.LastIndexByte(column[:dot], '.') {
		i := indexAnyCase(s, column[:dot])
		if i < 0 {
			continue
		}
		if t = s.Fields[i].Type; t.Kind != schema.Struct {
			return nil, t, fmt.Errorf("column %q: %s is no struct", column, column[:dot])
		}
		if path, t, err = resolve(schema.Schema{Fields: t.Fields}, column[dot+1:]); err == nil {
			return append([]int{i}, path...), t, nil
		}
	}
	return nil, t, fmt.Errorf("there is no column %q", column)
}

func indexAnyCase(s schema.Schema, name string) int {
	if i := s.Index(name); i >= 0 {
		return i
	}
	return s.IndexFold(name)
}

// compare orders two present values of one type: floats with NaN above all and equal to itself. ok is false where the type has
// no order.
func compare(a, b connectors.Value, t schema.Type) (c int, ok bool) {
	switch t.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return cmp(a.Int, b.Int), true
	case schema.Float, schema.Double:
		x, y := a.Float64(), b.Float64()
		switch {
		case math.IsNaN(x) && math.IsNaN(y):
			return 0, true
		case math.IsNaN(x):
			return 1, true
		case math.IsNaN(y):
			return -1, true
		}
		return cmp(x, y), true
	case schema.String, schema.Binary:
		return strings.Compare(a.Str, b.Str), true
	case schema.Decimal:
		return columnar.CompareDecimals(a, b), true
	}
	return 0, false
}

func cmp[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// holds evaluates a term for one value.
func (t *Term) holds(v connectors.Value, ty schema.Type) bool {
	switch t.Op {
	case IsNull:
		return v.State != connectors.Present
	case NotNull:
		return v.State == connectors.Present
	}
	if v.State != connectors.Present {
		return false
	}
	for _, w := range t.Values {
		if w.State != connectors.Present {
			continue
		}
		c, ok := compare(v, w, ty)
		if !ok {
			return false
		}
		switch t.Op {
		case Eq, In:
			if c == 0 {
				return true
			}
			continue
		case Ne:
			return c != 0
		case Lt:
			return c < 0
		case Le:
			return c <= 0
		case Gt:
			return c > 0
		case Ge:
			return c >= 0
		}
	}
	return false
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

// filter clears the places of keep where the term does not hold. cols are the columns of the schema s.
func (t *Term) filter(keep []bool, cols func(int) arrow.Array, s schema.Schema) error {
	path, ty, err := resolve(s, t.Column)
	if err != nil {
		return err
	}
	a := cols(path[0])
	parents := make([]arrow.Array, 0, 2)
	for _, i := range path[1:] {
		st, ok := a.(*array.Struct)
		if !ok {
			return fmt.Errorf("column %q: Arrow's %s is no struct", t.Column, a.DataType())
		}
		parents = append(parents, a)
		a = st.Field(i)
	}
	if len(parents) == 0 && len(t.Values) == 1 && t.Values[0].State == connectors.Present && t.fast(keep, a, t.Values[0]) {
		return nil
	}
rows:
	for i := range keep {
		if !keep[i] {
			continue
		}
		for _, p := range parents {
			if p.IsNull(i) {
				keep[i] = t.Op == IsNull
				continue rows
			}
		}
		keep[i] = t.holds(columnar.ValueAt(a, ty, i), ty)
	}
	return nil
}

// fast filters the common types without making values.
func (t *Term) fast(keep []bool, a arrow.Array, v connectors.Value) bool {
	switch a := a.(type) {
	case *array.Int64:
		filterInts(keep, a, a.Int64Values(), v.Int, t.Op)
	case *array.Int32:
		filterInts(keep, a, a.Int32Values(), int32(v.Int), t.Op)
	case *array.Timestamp:
		filterInts(keep, a, a.TimestampValues(), arrow.Timestamp(v.Int), t.Op)
	case *array.Date32:
		filterInts(keep, a, a.Date32Values(), arrow.Date32(v.Int), t.Op)
	case *array.String:
		want := []byte(v.Str)
		for i := range keep {
			if keep[i] {
				keep[i] = a.IsValid(i) && accepts(t.Op, bytes.Compare([]byte(a.Value(i)), want))
			}
		}
	default:
		return false
	}
	return true
}

func filterInts[T ~int32 | ~int64](keep []bool, a arrow.Array, vals []T, v T, op Op) {
	nulls := a.NullN() > 0
	for i, x := range vals {
		if !keep[i] {
			continue
		}
		c := 0
		if x < v {
			c = -1
		} else if x > v {
			c = 1
		}
		keep[i] = accepts(op, c) && !(nulls && a.IsNull(i))
	}
}

func accepts(op Op, c int) bool {
	switch op {
	case Eq, In:
		return c == 0
	case Ne:
		return c != 0
	case Lt:
		return c < 0
	case Le:
		return c <= 0
	case Gt:
		return c > 0
	case Ge:
		return c >= 0
	}
	return false
}
