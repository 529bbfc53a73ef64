package connectors

import (
	"math/big"
	"testing"
)

func TestUnscaled(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"0": "\x00", "1": "\x01", "127": "\x7f", "128": "\x00\x80", "-1": "\xff", "-128": "\x80", "-129": "\xff\x7f", "255": "\x00\xff", "-256": "\xff\x00",
		"170141183460469231731687303715884105728": "\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		n, _ := new(big.Int).SetString(text, 10)
		if got := string(AppendUnscaled([]byte("x"), n)); got != "x"+want {
			t.Errorf("%s: % x", text, got)
		}
		if got := Unscaled(want); got.Cmp(n) != 0 {
			t.Errorf("% x: %s, want %s", want, got, text)
		}
	}
	if got := Unscaled("\xff\xff\x80"); got.Int64() != -128 {
		t.Errorf("not the shortest form: %s", got)
	}
	if got := Unscaled(""); got.Sign() != 0 {
		t.Errorf("empty: %s", got)
	}
}
