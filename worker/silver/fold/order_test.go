package fold

import (
	"bytes"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Ordered bytes sort as the values do, whatever the types of two numbers.
func TestAppendOrdered(t *testing.T) {
	t.Parallel()
	number := rapid.Custom(func(t *rapid.T) connectors.Value {
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return connectors.Int(schema.Long, rapid.OneOf(rapid.Int64(), rapid.Int64Range(-20, 20)).Draw(t, "long"))
		case 1:
			n := big.NewInt(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-200, 200)).Draw(t, "unscaled"))
			return connectors.Dec(string(connectors.AppendUnscaled(nil, n)), rapid.IntRange(0, 6).Draw(t, "scale"))
		}
		return connectors.Float(float64(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "double")) / 1024)
	})
	exact := func(v connectors.Value) *big.Rat {
		switch v.Kind {
		case schema.Long:
			return new(big.Rat).SetInt64(v.Int)
		case schema.Decimal:
			return new(big.Rat).SetFrac(connectors.Unscaled(v.Str), new(big.Int).Exp(big.NewInt(10), big.NewInt(v.Int), nil))
		}
		return new(big.Rat).SetFloat64(v.Float64())
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		if got, want := bytes.Compare(AppendOrdered(nil, &a), AppendOrdered(nil, &b)), exact(a).Cmp(exact(b)); got != want {
			t.Fatalf("%v and %v: %d, want %d", exact(a), exact(b), got, want)
		}
		x, y := rapid.String().Draw(t, "x"), rapid.String().Draw(t, "y")
		p, q := connectors.Text(x), connectors.Text(y)
		if got, want := bytes.Compare(AppendOrdered(AppendOrdered(nil, &p), &a), AppendOrdered(AppendOrdered(nil, &q), &b)), bytes.Compare([]byte(x), []byte(y)); x != y && got != want {
			t.Fatalf("%q and %q: %d, want %d", x, y, got, want)
		}
	})
	null := connectors.NullValue()
	ascending := []connectors.Value{null, connectors.Float(math.Inf(-1)), connectors.Int(schema.Long, math.MinInt64), connectors.Float(-1e-300), connectors.Int(schema.Byte, 0),
		connectors.Float(5e-324), connectors.Int(schema.Long, math.MaxInt64), connectors.Float(math.MaxFloat64), connectors.Float(math.Inf(1)), connectors.Float(math.NaN()),
		connectors.Text(""), connectors.Text("\x00"), connectors.Text("\x00\x00"), connectors.Text("a"), connectors.Text("ab")}
	for i := 1; i < len(ascending); i++ {
		if bytes.Compare(AppendOrdered(nil, &ascending[i-1]), AppendOrdered(nil, &ascending[i])) >= 0 {
			t.Errorf("%v does not sort before %v", ascending[i-1], ascending[i])
		}
	}
}
