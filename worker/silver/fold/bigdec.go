package fold

import (
	"encoding/binary"
	"math/big"

	"sluice.io/sluice/connectors"
)

var ten = big.NewInt(10)

// appendBigDecimal is appendDecimal for unscaled values of more than eight bytes. It meets the same canonical form: trailing
// zeros removed, integers that fit an int64 as integers.
func appendBigDecimal(dst []byte, unscaled string, scale int) []byte {
	n := connectors.Unscaled(unscaled)
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
