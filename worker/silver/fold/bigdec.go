package fold

import (
	"encoding/binary"
	"math/big"
)

var ten = big.NewInt(10)

// appendBigDecimal is appendDecimal for unscaled values of more than eight bytes. It meets the same canonical form: trailing
// zeros removed, integers that fit an int64 as integers.
func appendBigDecimal(dst []byte, unscaled string, scale int) []byte {
	n := BigOf(unscaled)
	var q, r big.Int
	for scale > 0 && n.Sign() != 0 {
		q.QuoRem(n, ten, &r)
		if r.Sign() != 0 {
			break
		}
		n.Set(&q)
		scale--
	}
	if n.IsInt64() {
		i := n.Int64()
		if i == 0 || scale == 0 {
			return appendInt(dst, i)
		}
		if scale > 0 {
			dst = append(dst, tagDec)
			dst = binary.AppendVarint(dst, int64(scale))
			return binary.AppendVarint(dst, i)
		}
	}
	for scale < 0 {
		n.Mul(n, ten)
		scale++
	}
	text := n.String()
	dst = append(dst, tagDec, tagText)
	dst = binary.AppendVarint(dst, int64(scale))
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

// BigOf gives the number of a big-endian two's complement.
func BigOf(unscaled string) *big.Int {
	n := new(big.Int).SetBytes([]byte(unscaled))
	if len(unscaled) > 0 && unscaled[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(unscaled))*8))
	}
	return n
}

// BigBytes gives the shortest big-endian two's complement of a number.
func BigBytes(n *big.Int) string {
	if n.Sign() == 0 {
		return "\x00"
	}
	if n.Sign() > 0 {
		b := n.Bytes()
		if b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return string(b)
	}
	size := uint(n.BitLen()/8 + 1)
	m := new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), size*8))
	b := m.Bytes()
	for len(b) > 1 && b[0] == 0xff && b[1]&0x80 != 0 {
		b = b[1:]
	}
	return string(b)
}
