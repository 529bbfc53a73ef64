package columnar

import (
	"math/bits"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"sluice.io/sluice/connectors"
)

// parseUnscaled reads big-endian two's complement. ok is false where the number needs more than 128 bits.
func parseUnscaled(s string) (n decimal128.Num, ok bool) {
	if s == "" {
		return n, true
	}
	neg := s[0]&0x80 != 0
	ext := byte(0)
	if neg {
		ext = 0xff
	}
	for len(s) > 16 {
		if s[0] != ext || (s[1]^ext)&0x80 != 0 {
			return n, false
		}
		s = s[1:]
	}
	hi, lo := uint64(0), uint64(0)
	if neg {
		hi, lo = ^hi, ^lo
	}
	for i := range len(s) {
		hi = hi<<8 | lo>>56
		lo = lo<<8 | uint64(s[i])
	}
	return decimal128.New(int64(hi), lo), true
}

// appendUnscaled appends the shortest big-endian two's complement.
func appendUnscaled(dst []byte, n decimal128.Num) []byte {
	var b [16]byte
	putBE(b[:], n)
	i := 0
	for i < 15 && (b[i] == 0 && b[i+1]&0x80 == 0 || b[i] == 0xff && b[i+1]&0x80 != 0) {
		i++
	}
	return append(dst, b[i:]...)
}

// putBE writes n big endian into all of b (at most 16 bytes).
func putBE(b []byte, n decimal128.Num) {
	hi, lo := uint64(n.HighBits()), n.LowBits()
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(lo)
		lo = lo>>8 | hi<<56
		hi = uint64(int64(hi) >> 8)
	}
}

// numBE reads big-endian two's complement of at most 16 bytes.
func numBE(b []byte) decimal128.Num {
	var hi, lo uint64
	if len(b) > 0 && b[0]&0x80 != 0 {
		hi, lo = ^hi, ^lo
	}
	for _, c := range b {
		hi = hi<<8 | lo>>56
		lo = lo<<8 | uint64(c)
	}
	return decimal128.New(int64(hi), lo)
}

// pow10 has 10^0 to 10^38.
var pow10 = func() (p [39]decimal128.Num) {
	p[0] = decimal128.FromU64(1)
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1].Mul(decimal128.FromU64(10))
	}
	return p
}()

// fitsPrecision tells whether |n| < 10^precision.
func fitsPrecision(n decimal128.Num, precision int) bool {
	if n.Sign() < 0 {
		n = n.Negate()
		if n.Sign() < 0 { // -2^127
			return false
		}
	}
	return n.Less(pow10[precision])
}

// rescale changes the scale without loss. ok is false where digits would be lost or 128 bits do not hold the number.
func rescale(n decimal128.Num, from, to int) (decimal128.Num, bool) {
	switch {
	case from == to:
		return n, true
	case to > from:
		if n.Sign() == 0 {
			return n, true
		}
		if to-from > 38 || !fitsPrecision(n, 38-(to-from)) {
			return n, false
		}
		return n.Mul(pow10[to-from]), true
	case from-to > 38:
		return decimal128.Num{}, n.Sign() == 0
	}
	q, r := n.Div(pow10[from-to])
	return q, r.Sign() == 0
}

// appendDecimal prints n with exactly scale digits behind the point.
func appendDecimal(dst []byte, n decimal128.Num, scale int) []byte {
	hi, lo := uint64(n.HighBits()), n.LowBits()
	if n.Sign() < 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	var tmp [48]byte
	d := tmp[:0]
	if hi == 0 {
		d = strconv.AppendUint(d, lo, 10)
	} else {
		const e19 = 10_000_000_000_000_000_000
		h, r := hi/e19, hi%e19
		mid, low := bits.Div64(r, lo, e19)
		if h > 0 { // at most 10^38 / 10^38
			d = strconv.AppendUint(d, h, 10)
			d = pad19(d, mid)
		} else {
			d = strconv.AppendUint(d, mid, 10)
		}
		d = pad19(d, low)
	}
	if scale <= 0 {
		return append(dst, d...)
	}
	for len(d) <= scale {
		d = append(d, 0)
		copy(d[1:], d)
		d[0] = '0'
	}
	dst = append(dst, d[:len(d)-scale]...)
	dst = append(dst, '.')
	return append(dst, d[len(d)-scale:]...)
}

func pad19(d []byte, v uint64) []byte {
	var t [20]byte
	s := strconv.AppendUint(t[:0], v, 10)
	for i := len(s); i < 19; i++ {
		d = append(d, '0')
	}
	return append(d, s...)
}

// CompareDecimals orders two present decimals by value, whatever their scales. Numbers that need more than 38 digits on a
// common scale are compared as floats.
func CompareDecimals(a, b connectors.Value) int {
	x, ok1 := parseUnscaled(a.Str)
	y, ok2 := parseUnscaled(b.Str)
	scale := int(max(a.Int, b.Int))
	if ok1 && ok2 {
		p, ok3 := rescale(x, int(a.Int), scale)
		q, ok4 := rescale(y, int(b.Int), scale)
		if ok3 && ok4 {
			return p.Cmp(q)
		}
	}
	f, g := x.ToFloat64(int32(a.Int)), y.ToFloat64(int32(b.Int))
	switch {
	case f < g:
		return -1
	case f > g:
		return 1
	}
	return 0
}
