package silver_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/schema"
)

// What becomes of a key whose columns get other types, another order, or nulls: a row is created with the old key, updated and deleted with the new one, whichever way
// that is cut. It is one row throughout where the values are the same; where they can't be, each event is a dead letter that names the way out, and the row stays.
func TestKeyTypesChange(t *testing.T) {
	t.Parallel()
	typed := func(names []string, types []schema.Type, values ...connectors.Value) connectors.Row {
		return connectors.Row{Shape: &connectors.Shape{Names: names, Types: types}, Values: values}
	}
	id := func(to schema.Type, v connectors.Value) connectors.Row {
		return typed([]string{"id"}, []schema.Type{to}, v)
	}
	integer, short, long8, str := schema.Of(schema.Integer), schema.Of(schema.Short), schema.Of(schema.Long), schema.Of(schema.String)
	decimal := func(p, s int, unscaled int64) connectors.Row {
		return id(schema.DecimalOf(p, s), connectors.Dec(string(big.NewInt(unscaled).Bytes()), s))
	}
	both := func(swap bool) connectors.Row {
		if swap {
			return typed([]string{"b", "a"}, []schema.Type{str, integer}, text("x"), connectors.Int(schema.Integer, 5))
		}
		return typed([]string{"a", "b"}, []schema.Type{integer, str}, connectors.Int(schema.Integer, 5), text("x"))
	}
	for name, c := range map[string]struct {
		before, after connectors.Row
		letters       string // in each dead letter; "": one row
	}{
		"int to bigint":               {id(integer, connectors.Int(schema.Integer, 5)), id(long8, connectors.Int(schema.Long, 5)), ""},
		"bigint to int":               {id(long8, connectors.Int(schema.Long, 5)), id(integer, connectors.Int(schema.Integer, 5)), ""},
		"smallint to int":             {id(short, connectors.Int(schema.Short, 5)), id(integer, connectors.Int(schema.Integer, 5)), ""},
		"decimal precision grows":     {decimal(5, 1, 50), decimal(9, 1, 50), ""},
		"decimal scale grows":         {decimal(5, 1, 50), decimal(9, 3, 5000), ""},
		"int to decimal":              {id(integer, connectors.Int(schema.Integer, 5)), decimal(9, 0, 5), ""},
		"another order of columns":    {both(false), both(true), ""},
		"null":                        {id(integer, connectors.NullValue()), id(integer, connectors.NullValue()), ""},
		"int to text":                 {id(integer, connectors.Int(schema.Integer, 5)), id(str, text("5")), "a new snapshot into topics and a silver.path of its own"},
		"text to int":                 {id(str, text("5")), id(integer, connectors.Int(schema.Integer, 5)), ""},
		"a column is renamed":         {id(integer, connectors.Int(schema.Integer, 5)), typed([]string{"uid"}, []schema.Type{integer}, connectors.Int(schema.Integer, 5)), "set silver.keys=uid"},
		"a column more":               {typed([]string{"a"}, []schema.Type{integer}, connectors.Int(schema.Integer, 5)), both(false), "set silver.keys=a,b"},
		"a column less":               {both(false), typed([]string{"a"}, []schema.Type{integer}, connectors.Int(schema.Integer, 5)), "set silver.keys=a"},
		"a name in other case letter": {id(integer, connectors.Int(schema.Integer, 5)), typed([]string{"ID"}, []schema.Type{integer}, connectors.Int(schema.Integer, 5)), "set silver.keys=ID"},
	} {
		change := func(op connectors.Op, off int64, key connectors.Row, v string) connectors.Change {
			ch := rec(op, off, 1)
			ch.Key, ch.After = key, connectors.Row{}
			if op != dOp {
				sh := &connectors.Shape{Names: append(append([]string{}, key.Shape.Names...), "v"), Types: append(append([]schema.Type{}, key.Shape.Types...), str)}
				ch.After = connectors.Row{Shape: sh, Values: append(append([]connectors.Value{}, key.Values...), text(v))}
			}
			return ch
		}
		for _, scd := range []int{1, 2} {
			for _, compat := range []string{"widest", "full"} {
				t.Run(fmt.Sprintf("%s, SCD %d, %s", name, scd, compat), func(t *testing.T) {
					t.Parallel()
					set := func(s *config.Sink) { s.SilverSCDType, s.SilverCompatibility = scd, compat }
					for cut := range 8 {
						x := newBench(t, set)
						var pending []connectors.Change
						for i, e := range []connectors.Change{change(cOp, 1, c.before, "one"), change(uOp, 2, c.after, "two"), change(uOp, 3, c.after, "three"), change(dOp, 4, c.after, "")} {
							if pending = append(pending, e); cut>>i&1 == 1 {
								x.merge(pending...)
								x.reopen(set)
								pending = nil
							}
						}
						x.merge(pending...)
						rows := canonicalRows(t, x.b, "silver/t")
						var live int
						for _, l := range rows {
							if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
								live++
							}
						}
						switch want := map[int]int{1: 0, 2: 3}[scd]; {
						case c.letters != "":
							if len(x.letters) != 3 || len(rows) != 1 || live != 1 {
								t.Fatalf("cut %b: letters %v, rows %v", cut, x.letters, rows)
							}
							for _, l := range x.letters {
								if !strings.Contains(l.Reason, c.letters) {
									t.Fatalf("cut %b: %s", cut, l.Reason)
								}
							}
						case len(x.letters) > 0 || live > 0 || len(rows) != want:
							t.Fatalf("cut %b: letters %v, rows %v", cut, x.letters, rows)
						}
					}
				})
			}
		}
	}
}
