package smt

import (
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"sluice.io/sluice/connectors"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

const filterKey = "silver.filter"

// filterVariables are what silver.filter can name (docs/transforms.md).
var filterVariables = sync.OnceValues(func() (*cel.Env, error) {
	row := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable("after", row), cel.Variable("before", row), cel.Variable("key", row), cel.Variable("headers", row),
		cel.Variable("op", cel.StringType), cel.Variable("snapshot", cel.BoolType),
		cel.Variable("database", cel.StringType), cel.Variable("schema", cel.StringType), cel.Variable("table", cel.StringType),
		cel.Variable("topic", cel.StringType), cel.Variable("partition", cel.IntType), cel.Variable("offset", cel.IntType),
		cel.Variable("source_time", cel.TimestampType), cel.Variable("kafka_time", cel.TimestampType),
		ext.Strings(), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.ASTValidators(cel.ValidateRegexLiterals()),
	)
})

// filter is a compiled silver.filter: an expression of CEL over the row as the transforms leave it. It belongs to one goroutine.
type filter struct {
	prg     cel.Program
	before  bool // the expression looks at before
	hasKeys bool // silver.keys is given
	vars    filterVars
}

// newFilter compiles an expression. Its error says the line and column of each mistake.
func newFilter(text string, hasKeys bool) (*filter, error) {
	env, err := filterVariables()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, wrong(filterKey, "%s", mistakes(issues))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, wrong(filterKey, "line 1, column 1: the expression gives %s, and is to give true or false", t)
	}
	prg, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, wrong(filterKey, "%w", err)
	}
	f := &filter{prg: prg, hasKeys: hasKeys}
	celast.PreOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		f.before = f.before || e.Kind() == celast.IdentKind && e.AsIdent() == "before"
	}))
	return f, nil
}

// apply judges a change of a row by its new image. A row to which the expression does not apply is not in silver: its change becomes
// a delete at the same position, so that order does not matter (D5): the row may have been in, and older changes may come later.
// Deletes, tombstones and truncates pass.
func (f *filter) apply(c *connectors.Change) (keep bool, err error) {
	if c.Kind != connectors.RowChange || c.Op == connectors.Delete || c.After.IsZero() {
		return true, nil
	}
	f.vars.c = c
	out, _, err := f.prg.Eval(&f.vars)
	f.vars.c = nil
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	switch {
	case !ok:
		return false, fmt.Errorf("the expression gives %s, and is to give true or false", out.Type().TypeName())
	case bool(b):
		return true, nil
	}
	if c.Key.IsZero() && !f.hasKeys {
		// A table without key: only an update names a row that may be in it.
		if c.Op != connectors.Update {
			return false, nil
		}
	} else {
		c.Before, c.BeforeQuality = connectors.Row{}, connectors.BeforeNone
	}
	c.Op, c.Filtered = connectors.Delete, true
	c.SetKeyHints(connectors.Row{}, connectors.Row{})
	return true, nil
}

// filterVars gives the variables of a change.
type filterVars struct{ c *connectors.Change }

// Parent implements cel.Activation.
func (*filterVars) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (v *filterVars) ResolveName(name string) (any, bool) {
	c := v.c
	switch name {
	case "after":
		return rowMap{row: c.After, absentIsNull: c.AbsentIsNull}, true
	case "before":
		return rowMap{row: c.Before}, true
	case "key":
		return rowMap{row: c.Key}, true
	case "headers":
		return headersOf(c.Record), true
	case "op":
		return types.String(c.OpText), true
	case "snapshot":
		return types.Bool(c.Snapshot != connectors.NotSnapshot), true
	case "topic":
		return types.String(c.Topic()), true
	case "partition":
		return types.Int(c.Record.Partition), true
	case "offset":
		return types.Int(c.Record.Offset), true
	case "source_time":
		if c.SourceTsNs == 0 {
			return types.NullValue, true
		}
		return types.Timestamp{Time: time.Unix(0, c.SourceTsNs).UTC()}, true
	case "kafka_time":
		if c.Record.TimestampMs < 0 {
			return types.NullValue, true
		}
		return types.Timestamp{Time: time.UnixMilli(c.Record.TimestampMs).UTC()}, true
	}
	src := c.Source
	if src == nil {
		src = &connectors.Source{}
	}
	switch name {
	case "database":
		return types.String(src.DB), true
	case "schema":
		return types.String(src.Schema), true
	case "table":
		return types.String(src.Table), true
	}
	return nil, false
}

// headersOf gives the headers of a record: texts, bytes where they are none, null; the first of each name.
func headersOf(r *connectors.Record) map[string]any {
	m := make(map[string]any, len(r.Headers))
	for _, h := range r.Headers {
		if _, ok := m[h.Key]; ok {
			continue
		}
		switch {
		case h.Value == nil:
			m[h.Key] = types.NullValue
		case utf8.Valid(h.Value):
			m[h.Key] = types.String(h.Value)
		default:
			m[h.Key] = types.Bytes(h.Value)
		}
	}
	return m
}
