package pos

import (
	"bytes"
	"fmt"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestBinlog(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"binlog.000147": "binlog 147", "binlog.1000000": "binlog 1000000", "binlog-000002.ibb": "binlog 2",
		"mysql-bin-changelog.002171": "mysql-bin-changelog 2171"} {
		base, n, ok := Binlog(name)
		if got := fmt.Sprintf("%s %d", base, n); !ok || got != want {
			t.Errorf("%s: %s %t, want %s", name, got, ok, want)
		}
	}
	if _, _, ok := Binlog("binlog"); ok {
		t.Error("a name without number is taken")
	}
}

func TestPair(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`["34359839904","34359840112"]`: "34359839904 34359840112 true true true", `[\"1\",\"2\"]`: "1 2 true true true",
		`[null,\"7\"]`: "0 7 false true true", `["3"]`: "3 0 true false true", `["-5","6"]`: "18446744073709551611 6 true true true",
		`[]`: "0 0 false false true", `["1","2","3"]`: "0 0 false false false", `["x"]`: "0 0 false false false", `7`: "0 0 false false false"} {
		a, b, ok1, ok2, valid := Pair(text)
		if got := fmt.Sprint(a, b, ok1, ok2, valid); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestBytesOrderAsNumbers: the encodings order as their numbers do.
func TestBytesOrderAsNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Custom(func(t *rapid.T) *big.Int {
			return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "n"))
		})
		x, y := number.Draw(t, "x"), number.Draw(t, "y")
		a, ok1 := Big(nil, x.String())
		b, ok2 := Big(nil, y.String())
		if !ok1 || !ok2 || bytes.Compare(a, b) != x.Cmp(y) {
			t.Fatalf("%s %x, %s %x", x, a, y, b)
		}
		if x.IsUint64() && y.IsUint64() && bytes.Compare(U64(nil, x.Uint64()), U64(nil, y.Uint64())) != x.Cmp(y) {
			t.Fatalf("%s %s", x, y)
		}
	})
	lo, _ := LSN(nil, "0000004a:00001b38:0005")
	hi, ok := LSN(nil, "0000004A:00001c38:0001")
	if !ok || len(lo) != 10 || bytes.Compare(lo, hi) >= 0 {
		t.Errorf("%x %x", lo, hi)
	}
}
