package smt

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
)

const computedKey = "silver.columns.computed"

// computedVariables are what silver.columns.computed can name: what is the same for all events of a row, so that the image before a change has the values
// that the image after the change before it had.
var computedVariables = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("after", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("database", cel.StringType), cel.Variable("schema", cel.StringType), cel.Variable("table", cel.StringType), cel.Variable("topic", cel.StringType),
		ext.Strings(), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.ASTValidators(cel.ValidateRegexLiterals()),
	)
})

// columnTypes are the columns' types for those of CEL.
var columnTypes = []struct {
	cel *cel.Type
	is  schema.Type
}{
	{cel.StringType, schema.Of(schema.String)}, {cel.IntType, schema.Of(schema.Long)}, {cel.DoubleType, schema.Of(schema.Double)},
	{cel.BoolType, schema.Of(schema.Boolean)}, {cel.BytesType, schema.Of(schema.Binary)}, {cel.TimestampType, schema.Of(schema.Timestamp)},
}

// computed is a column of silver.columns.computed.
type computed struct {
	name string
	prg  cel.Program
	typ  schema.Type
	// needs are the columns of the row that the expression names.
	needs []string
}

// newComputed compiles a map of CEL from column to expression. hasKeys tells that silver.keys is given, so that columns of the image are the key.
func newComputed(text string, hasKeys bool) (func(*connectors.Change) error, error) {
	env, err := computedVariables()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, wrong(computedKey, "%s", mistakes(issues))
	}
	src := checked.NativeRep()
	if src.Expr().Kind() != celast.MapKind {
		return nil, wrong(computedKey, "line 1, column 1: it is to be a map from column to expression, such as {'total_eur': after.total * 0.92}")
	}
	var cols []computed
	for _, entry := range src.Expr().AsMap().Entries() {
		e := entry.AsMapEntry()
		name, ok := "", false
		if e.Key().Kind() == celast.LiteralKind {
			name, ok = e.Key().AsLiteral().Value().(string)
		}
		at := src.SourceInfo().GetStartLocation(e.Key().ID())
		if !ok || name == "" || slices.ContainsFunc(cols, func(c computed) bool { return c.name == name }) {
			return nil, wrong(computedKey, "line %d, column %d: the name of a column is to stand there, each one once", at.Line(), at.Column()+1)
		}
		c := computed{name: name}
		is := src.GetType(e.Value().ID())
		for _, t := range columnTypes {
			if is.IsExactType(t.cel) {
				c.typ = t.is
			}
		}
		if c.typ.Kind == schema.Void {
			return nil, wrong(computedKey, "line %d, column %d: the type of column %s is %s: say what it is to be with string(…), int(…), double(…), bool(…), bytes(…) or timestamp(…)",
				at.Line(), at.Column()+1, name, is)
		}
		alone := celast.NewCheckedAST(celast.NewAST(e.Value(), src.SourceInfo()), src.TypeMap(), src.ReferenceMap())
		if c.prg, err = env.PlanProgram(alone, cel.EvalOptions(cel.OptOptimize)); err != nil {
			return nil, wrong(computedKey, "%s: %w", name, err)
		}
		c.needs = named(e.Value())
		cols = append(cols, c)
	}
	if len(cols) == 0 {
		return nil, nil
	}
	return (&computer{cols: cols, hasKeys: hasKeys}).apply, nil
}

func mistakes(issues *cel.Issues) string {
	var all []string
	for _, e := range issues.Errors() {
		all = append(all, fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return strings.Join(all, "; ")
}

// named are the columns that an expression selects from after.
func named(e celast.Expr) []string {
	var out []string
	celast.PreOrderVisit(e, celast.NewExprVisitor(func(e celast.Expr) {
		var name string
		switch e.Kind() {
		case celast.SelectKind:
			if s := e.AsSelect(); s.Operand().Kind() == celast.IdentKind && s.Operand().AsIdent() == "after" {
				name = s.FieldName()
			}
		case celast.CallKind:
			args := e.AsCall().Args()
			if len(args) == 2 && args[0].Kind() == celast.IdentKind && args[0].AsIdent() == "after" && args[1].Kind() == celast.LiteralKind {
				name, _ = args[1].AsLiteral().Value().(string)
			}
		}
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}))
	return out
}

// computer puts computed columns into the images of a row. It belongs to one goroutine.
type computer struct {
	cols    []computed
	hasKeys bool
	known   plans[computedPlan]
	vars    filterVars
	image   connectors.Change // the change with the image that is computed from as After
}

// computedPlan is the shape with the computed columns, and where they are.
type computedPlan struct {
	shape *connectors.Shape
	at    []int
}

func (k *computer) derive(old *connectors.Shape) (computedPlan, error) {
	p := computedPlan{shape: &connectors.Shape{Names: slices.Clone(old.Names), Types: slices.Clone(old.Types)}}
	for i := range k.cols {
		c := &k.cols[i]
		at := slices.Index(p.shape.Names, c.name)
		if at < 0 {
			at = len(p.shape.Names)
			p.shape.Names = append(p.shape.Names, c.name)
			if old.Types != nil {
				p.shape.Types = append(p.shape.Types, c.typ)
			}
		} else if old.Types != nil {
			p.shape.Types[at] = c.typ
		}
		p.at = append(p.at, at)
	}
	return p, nil
}

func (k *computer) apply(c *connectors.Change) error {
	if c.Kind != connectors.RowChange {
		return nil
	}
	if !k.hasKeys && !c.Key.IsZero() {
		for i := range k.cols {
			if c.Key.Shape.Index(k.cols[i].name) >= 0 {
				return fmt.Errorf("column %q is one of the key, which cannot be computed; give it another name, or set silver.keys", k.cols[i].name)
			}
		}
	}
	for _, r := range [...]*connectors.Row{&c.After, &c.Before} {
		if r.IsZero() {
			continue
		}
		if err := k.row(c, r, r == &c.Before); err != nil {
			return err
		}
	}
	return nil
}

func (k *computer) row(c *connectors.Change, r *connectors.Row, before bool) error {
	p, err := k.known.get(r.Shape, k.derive)
	if err != nil {
		return err
	}
	out := connectors.Row{Shape: p.shape, Values: make([]connectors.Value, len(p.shape.Names))}
	copy(out.Values, r.Values)
	for _, x := range r.Rescued() {
		if !slices.Contains(p.at, x.Column) {
			out.Rescue(x)
		}
	}
	k.image = *c
	k.image.After = *r
	k.vars.c = &k.image
	defer func() { k.image = connectors.Change{} }()
	for i := range k.cols {
		v, err := k.cols[i].value(&k.vars, *r, c.AbsentIsNull && !before)
		if err != nil {
			if !before {
				return fmt.Errorf("column %q: %w", k.cols[i].name, err)
			}
			v = connectors.UnavailableValue() // the image is told in part only
		}
		out.Values[p.at[i]] = v
	}
	*r = out
	return nil
}

// value evaluates the expression for a row. Where it fails, and a column that it names is NULL, it gives NULL; where all that it names is not told by the
// event, the value is not told either, and the row keeps what it has.
func (c *computed) value(vars *filterVars, row connectors.Row, absentIsNull bool) (connectors.Value, error) {
	out, _, err := c.prg.Eval(vars)
	if err == nil {
		return c.convert(out)
	}
	untold := 0
	for _, n := range c.needs {
		switch v := row.Get(n); {
		case v.State == connectors.Null, v.State == connectors.Absent && absentIsNull:
			return connectors.NullValue(), nil
		case v.State == connectors.Unavailable, v.State == connectors.Absent:
			untold++
		}
	}
	if untold > 0 && untold == len(c.needs) {
		return connectors.UnavailableValue(), nil
	}
	return connectors.Value{}, err
}

func (c *computed) convert(v ref.Val) (connectors.Value, error) {
	switch x := v.(type) {
	case types.Null:
		return connectors.NullValue(), nil
	case types.String:
		return connectors.Text(string(x)), nil
	case types.Int:
		return connectors.Int(schema.Long, int64(x)), nil
	case types.Double:
		return connectors.Float(float64(x)), nil
	case types.Bool:
		return connectors.Bool(bool(x)), nil
	case types.Bytes:
		return connectors.Bytes(string(x)), nil
	case types.Timestamp:
		return connectors.Int(schema.Timestamp, x.UnixMicro()), nil
	}
	return connectors.Value{}, fmt.Errorf("the expression gives %s, which no column holds", v.Type().TypeName())
}
