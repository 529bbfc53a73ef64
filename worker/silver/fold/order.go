package fold

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Classes of ordered bytes, in their order.
const (
	orderNull   = 0
	orderNumber = 1
	orderText   = 2
	orderOther  = 3
)

// AppendOrdered appends bytes that sort as the value does: numbers of all types by their value, texts and binaries by their bytes,
// dates and times by age, NULL first, NaN last among numbers. No value's bytes begin those of another one, so that bytes of several
// columns sort by the first that differs. They are kept in _cdc_sequence and must not change.
func AppendOrdered(dst []byte, v *connectors.Value) []byte {
	if v.State != connectors.Present {
		return append(dst, orderNull)
	}
	switch v.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		text := strconv.FormatInt(v.Int, 10)
		digits, negative := strings.CutPrefix(text, "-")
		return appendNumber(dst, negative, digits, len(digits))
	case schema.Decimal:
		digits, negative := strings.CutPrefix(connectors.Unscaled(v.Str).String(), "-")
		return appendNumber(dst, negative, digits, len(digits)-int(v.Int))
	case schema.Float, schema.Double:
		f := v.Float64()
		if math.IsNaN(f) {
			return append(dst, orderNumber, 2, 0xff, 0xff, 0)
		}
		if math.IsInf(f, 0) {
			return appendNumber(dst, f < 0, "9", math.MaxInt16-1)
		}
		text := strconv.FormatFloat(math.Abs(f), 'e', -1, 64)
		digits, exp, _ := strings.Cut(text, "e")
		n, err := strconv.Atoi(exp)
		if err != nil {
			n = 0
		}
		return appendNumber(dst, f < 0, strings.Replace(digits, ".", "", 1), n+1)
	case schema.String, schema.Binary:
		dst = append(dst, orderText)
		for i := range len(v.Str) {
			if dst = append(dst, v.Str[i]); v.Str[i] == 0 {
				dst = append(dst, 0xff)
			}
		}
		return append(dst, 0, 0)
	}
	return AppendCanonical(append(dst, orderOther), v)
}

// appendNumber appends sign, exponent and digits of 0.digits · 10^exp. All of a negative number but its sign is turned round.
func appendNumber(dst []byte, negative bool, digits string, exp int) []byte {
	dst = append(dst, orderNumber)
	n := len(digits)
	digits = strings.TrimLeft(digits, "0")
	exp -= n - len(digits)
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return append(dst, 1)
	}
	if negative {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 2)
	}
	from := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, uint16(max(-math.MaxInt16, min(math.MaxInt16-1, exp))+math.MaxInt16+1))
	dst = append(append(dst, digits...), 0)
	if negative {
		for i := from; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}
