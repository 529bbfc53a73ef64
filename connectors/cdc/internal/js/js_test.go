package js

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// TestSkipAgreesWithEncodingJSON: what one takes as JSON the other takes too, over texts that are almost JSON.
func TestSkipAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	pieces := []string{`{`, `}`, `[`, `]`, `,`, `:`, `"a"`, `"\u00e9\n"`, `"\x"`, `"`, `1`, `-0`, `01`, `1.5e-3`, `1.`, `.5`, `true`, `null`, `nul`, ` `, "\n", "\x01", `"é"`, `\`}
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "pieces"), "")
		i := Skip(s, Space(s, 0))
		got := i >= 0 && Space(s, i) == len(s)
		if want := json.Valid([]byte(s)); got != want {
			t.Fatalf("%q: %t, encoding/json says %t", s, got, want)
		}
	})
}

// TestStringsAgreeWithEncodingJSON: the text of every string is what encoding/json says.
func TestStringsAgreeWithEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := `"` + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "plain text of some length", "é", "漢", "🙂", `\n`, `\"`, `\\`, `\/`,
			`\u0041`, `\u00e9`, `\ud83d\ude42`, `\ud83d`, `\ude42`, `\u0000`}), 0, 20).Draw(t, "parts"), "") + `"`
		var want string
		if err := json.Unmarshal([]byte(raw), &want); err != nil {
			t.Fatal(err)
		}
		var r Reader
		got, _, end := r.Str(raw, 0)
		if got != want || end != len(raw) || !utf8.ValidString(got) {
			t.Fatalf("%s: %q up to %d, want %q", raw, got, end, want)
		}
	})
}

func plain(t *testing.T, text string) (connectors.Value, string) {
	t.Helper()
	var r Reader
	r.Placeholder, _ = NewPlaceholder("")
	row, end := r.PlainRow(`{"a":`+text+`}`, 0, &Slot{})
	if end < 0 {
		t.Fatalf("%s: %v", text, r.Err)
	}
	if len(row.Rescued()) > 0 {
		return row.Values[0], row.Rescued()[0].Text
	}
	return row.Values[0], ""
}

func TestNumbersStayExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		kind    schema.Kind
		rescued bool
	}{
		{"0", schema.Long, false}, {"-1", schema.Long, false}, {"9223372036854775807", schema.Long, false}, {"-9223372036854775808", schema.Long, false},
		{"9223372036854775808", schema.String, false}, {"-9223372036854775809", schema.String, false}, {"123456789012345678901234567890", schema.String, false},
		{"19.99", schema.Double, false}, {"1e3", schema.Double, false}, {"0.1000000000000000055511151231257827", schema.Double, false},
		{"0.12345678901234567890", schema.Double, true}, {"12345678901234.567", schema.Double, true}, {"1e400", schema.String, false}, {"4.9E-324", schema.Double, false},
	} {
		v, rescued := plain(t, c.text)
		if v.Kind != c.kind || (rescued != "") != c.rescued {
			t.Errorf("%s is a %s, rescued %q", c.text, v.Kind, rescued)
		}
		if v.Kind == schema.Long && strconv.FormatInt(v.Int, 10) != c.text || v.Kind == schema.String && v.Str != c.text {
			t.Errorf("%s became %d %q", c.text, v.Int, v.Str)
		}
	}
}

func TestRowsOfOneTableShareTheirShape(t *testing.T) {
	t.Parallel()
	var r Reader
	r.Placeholder, _ = NewPlaceholder("")
	var slot Slot
	a, _ := r.PlainRow(`{"id":1,"b":"x"}`, 0, &slot)
	b, _ := r.PlainRow(`{"id":2,"b":null}`, 0, &slot)
	c, _ := r.PlainRow(`{"id":2}`, 0, &slot)
	d, _ := r.PlainRow(`{ "id" : 3 , "b" : [ 1, 2 ] }`, 0, &slot)
	if a.Shape != b.Shape || a.Shape == c.Shape || a.Shape != d.Shape {
		t.Errorf("shapes: %v %v %v %v", a.Shape, b.Shape, c.Shape, d.Shape)
	}
	if d.Values[1].Str != "[ 1, 2 ]" {
		t.Errorf("an array is %q, want the text as sent", d.Values[1].Str)
	}
	e, _ := r.PlainRow(`{"id":1,"b":"first","id":7}`, 0, &slot)
	if len(e.Values) != 2 || e.Get("id").Int != 7 {
		t.Errorf("of repeated members the last counts: %+v", e)
	}
}

func TestLoneSurrogateIsRescued(t *testing.T) {
	t.Parallel()
	v, rescued := plain(t, `"a\u0000b\ud83d"`)
	if v.Str != "a\x00b\uFFFD" || rescued != `"a\u0000b\ud83d"` {
		t.Errorf("%q, rescued %q", v.Str, rescued)
	}
}

func TestDecimals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "unscaled")
		scale := rapid.IntRange(-5, 30).Draw(t, "scale")
		text := string(AppendDecimal(nil, string(b), scale))
		want := new(big.Rat).SetInt(connectors.Unscaled(string(b)))
		p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil)
		if scale > 0 {
			want.Quo(want, new(big.Rat).SetInt(p))
		} else {
			want.Mul(want, new(big.Rat).SetInt(p))
		}
		got, ok := new(big.Rat).SetString(text)
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("%x scale %d is %s, want %s", b, scale, text, want)
		}
		again := string(connectors.AppendUnscaled(nil, connectors.Unscaled(string(b))))
		if again != MinimalInt(string(b)) {
			t.Fatalf("%x comes back as %x, want %x", b, again, MinimalInt(string(b)))
		}
		n, s, ok := ParseDecimal(text)
		if back, same := Rescale(n, s, max(scale, 0)); !ok || !same || (scale >= 0 && back.Cmp(connectors.Unscaled(string(b))) != 0) {
			t.Fatalf("%s is read as %v scale %d", text, n, s)
		}
	})
}

func TestPlaceholderForms(t *testing.T) {
	t.Parallel()
	p, err := NewPlaceholder("")
	if err != nil {
		t.Fatal(err)
	}
	if p.UUID != "b68a35a7-17ad-35b3-af2a-ae46edb4545a" || p.Base64 != "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==" {
		t.Errorf("%+v", p)
	}
	if !p.IsNested(`[ "__debezium_unavailable_value" ]`) || p.IsNested(`["__debezium_unavailable_value","x"]`) || p.IsText("x__debezium_unavailable_value") {
		t.Error("the placeholder stands for whole values only")
	}
	h, err := NewPlaceholder("hex:f00d")
	if err != nil || !h.IsText("8A0=") || !h.IsText("f00d") {
		t.Errorf("%+v %v", h, err)
	}
	if _, err := NewPlaceholder("hex:xy"); err == nil {
		t.Error("a placeholder that is no hex is taken")
	}
}
