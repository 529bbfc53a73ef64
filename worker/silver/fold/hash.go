package fold

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Hash stands for a key: 96 bits of XXH3 over the key's canonical bytes. Tombstones keep it in the lake, so neither the
// canonical bytes nor the function may change.
type Hash struct {
	Lo uint64
	Hi uint32
}

// Less orders hashes, for outputs that must not depend on chance.
func (h Hash) Less(o Hash) bool { return h.Lo < o.Lo || h.Lo == o.Lo && h.Hi < o.Hi }

// IsZero tells the hash that stands for no key.
func (h Hash) IsZero() bool { return h == Hash{} }

// Sum hashes canonical bytes.
func Sum(canonical []byte) Hash {
	x := xxh3.Hash128(canonical)
	h := Hash{Lo: x.Lo, Hi: uint32(x.Hi) ^ uint32(x.Hi>>32)}
	if h.IsZero() {
		h.Hi = 1
	}
	return h
}

// Tags of the canonical bytes.
const (
	tagNull   = 0
	tagInt    = 1
	tagFloat  = 2
	tagDec    = 3
	tagText   = 4
	tagBinary = 5
	tagDate   = 6
	tagTime   = 7
	tagList   = 8
	tagOther  = 9
	tagSaved  = 10
)

// AppendCanonical appends the canonical bytes of a value. Values that are equal as numbers have equal bytes, whatever the
// width, scale or kind of their column: a key's hash must not change when its column is widened.
func AppendCanonical(dst []byte, v *connectors.Value) []byte {
	if v.State != connectors.Present {
		return append(dst, tagNull)
	}
	switch v.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long:
		return appendInt(dst, v.Int)
	case schema.String, schema.Binary:
		tag := byte(tagText)
		if v.Kind == schema.Binary {
			tag = tagBinary
		}
		dst = append(dst, tag)
		dst = binary.AppendUvarint(dst, uint64(len(v.Str)))
		return append(dst, v.Str...)
	case schema.Float, schema.Double:
		f := v.Float64()
		if i := int64(f); float64(i) == f && i != math.MaxInt64 && math.Abs(f) < 1<<62 {
			return appendInt(dst, i)
		}
		if f != f {
			f = math.NaN()
		}
		dst = append(dst, tagFloat)
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	case schema.Decimal:
		return appendDecimal(dst, v.Str, int(v.Int))
	case schema.Date:
		dst = append(dst, tagDate)
		return binary.AppendVarint(dst, v.Int)
	case schema.Timestamp, schema.TimestampNTZ:
		dst = append(dst, tagTime)
		return binary.AppendVarint(dst, v.Int)
	case schema.Array, schema.Map, schema.Struct:
		kids := v.Kids()
		dst = append(dst, tagList)
		dst = binary.AppendUvarint(dst, uint64(len(kids)))
		for i := range kids {
			dst = AppendCanonical(dst, &kids[i])
		}
		return dst
	}
	dst = append(dst, tagOther, byte(v.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(v.Str)))
	return append(dst, v.Str...)
}

// AppendRescued appends what a column of the key, or of a row without one, could not hold, as the JSON in which a row keeps it, behind the column's value: rows whose keys
// differ in nothing else (infinity and -infinity) are two rows.
func AppendRescued(dst []byte, raw string) []byte {
	dst = append(dst, tagSaved)
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	return append(dst, raw...)
}

func appendInt(dst []byte, i int64) []byte {
	dst = append(dst, tagInt)
	return binary.LittleEndian.AppendUint64(dst, uint64(i))
}

// appendDecimal writes a decimal without trailing zeros: integral ones that fit as the integer.
func appendDecimal(dst []byte, unscaled string, scale int) []byte {
	if len(unscaled) <= 8 && scale >= 0 {
		var i int64
		if len(unscaled) > 0 && unscaled[0]&0x80 != 0 {
			i = -1
		}
		for k := 0; k < len(unscaled); k++ {
			i = i<<8 | int64(unscaled[k])
		}
		for scale > 0 && i%10 == 0 && i != 0 {
			i /= 10
			scale--
		}
		if i == 0 || scale == 0 {
			return appendInt(dst, i)
		}
		dst = append(dst, tagDec)
		dst = binary.AppendVarint(dst, int64(scale))
		return binary.AppendVarint(dst, i)
	}
	return appendBigDecimal(dst, unscaled, scale)
}
