package js

import (
	"math/big"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
)

// maxScale bounds the zeros that a scale may add to a number's text.
const maxScale = 1000

// MinimalInt removes the bytes of a big-endian two's complement number that only repeat its sign.
func MinimalInt(b string) string {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

// SmallInt gives the number of a minimal two's complement text of up to 8 bytes.
func SmallInt(b string) (int64, bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	n := int64(int8(b[0]))
	for i := 1; i < len(b); i++ {
		n = n<<8 | int64(b[i])
	}
	return n, true
}

// AppendDecimal appends the digits of a decimal, without exponent.
func AppendDecimal(dst []byte, unscaled string, scale int) []byte {
	var digits string
	neg := false
	if n, ok := SmallInt(MinimalInt(unscaled)); ok && n > -1<<63 {
		if n < 0 {
			neg, n = true, -n
		}
		var buf [20]byte
		digits = string(strconv.AppendInt(buf[:0], n, 10))
	} else {
		n := connectors.Unscaled(unscaled)
		neg = n.Sign() < 0
		digits = new(big.Int).Abs(n).String()
	}
	if scale < -maxScale || scale > maxScale {
		if neg {
			dst = append(dst, '-')
		}
		dst = append(dst, digits...)
		dst = append(dst, 'E')
		return strconv.AppendInt(dst, -int64(scale), 10)
	}
	if neg {
		dst = append(dst, '-')
	}
	switch {
	case scale <= 0:
		dst = append(dst, digits...)
		if digits != "0" {
			for ; scale < 0; scale++ {
				dst = append(dst, '0')
			}
		}
	case len(digits) > scale:
		dst = append(dst, digits[:len(digits)-scale]...)
		dst = append(dst, '.')
		dst = append(dst, digits[len(digits)-scale:]...)
	default:
		dst = append(dst, '0', '.')
		for n := scale - len(digits); n > 0; n-- {
			dst = append(dst, '0')
		}
		dst = append(dst, digits...)
	}
	return dst
}

// ParseDecimal reads a number's text (JSON syntax, or Java's BigDecimal.toString) exactly.
func ParseDecimal(text string) (unscaled *big.Int, scale int, ok bool) {
	mantissa, exp, hasExp := strings.Cut(strings.ToLower(text), "e")
	if hasExp {
		e, err := strconv.ParseInt(exp, 10, 32)
		if err != nil || e > maxScale || e < -maxScale {
			return nil, 0, false
		}
		scale = -int(e)
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	if len(whole)+len(frac) > 2*maxScale {
		return nil, 0, false
	}
	unscaled, ok = new(big.Int).SetString(whole+frac, 10)
	return unscaled, scale + len(frac), ok
}

// Rescale gives unscaled for another scale, or false where digits would be lost.
func Rescale(unscaled *big.Int, from, to int) (*big.Int, bool) {
	if from == to {
		return unscaled, true
	}
	if to > from {
		p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(to-from)), nil)
		return p.Mul(p, unscaled), true
	}
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(from-to)), nil)
	q, m := new(big.Int).QuoRem(unscaled, p, new(big.Int))
	return q, m.Sign() == 0
}

// CanonicalDecimal gives the text of a number without zeros behind its fraction: equal numbers have equal texts.
func CanonicalDecimal(text string) string {
	if strings.IndexByte(text, '.') < 0 || strings.ContainsAny(text, "eE") {
		return text
	}
	text = strings.TrimRight(text, "0")
	text = strings.TrimSuffix(text, ".")
	if text == "-0" {
		return "0"
	}
	return text
}
