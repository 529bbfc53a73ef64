package dv

import (
	"encoding/binary"
	"fmt"
)

const z85Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

var z85Digits = func() (d [256]uint8) {
	for i := range d {
		d[i] = 0xff
	}
	for i := range len(z85Alphabet) {
		d[z85Alphabet[i]] = uint8(i)
	}
	return d
}()

// EncodeZ85 encodes bytes, padded with zeros to a multiple of four, as five characters for each four bytes.
func EncodeZ85(b []byte) string {
	out := make([]byte, 0, (len(b)+3)/4*5)
	for len(b) > 0 {
		var word [4]byte
		b = b[copy(word[:], b):]
		v := binary.BigEndian.Uint32(word[:])
		var five [5]byte
		for i := 4; i >= 0; i-- {
			five[i] = z85Alphabet[v%85]
			v /= 85
		}
		out = append(out, five[:]...)
	}
	return string(out)
}

// DecodeZ85 is the inverse of EncodeZ85, padding included. It also reads what the z85 crate of Rust writes where the bytes
// are no multiple of four (kernel-rs' cdf-table-with-dv has it): a last group that begins with one # for each byte that
// is missing, which no group of four bytes does.
func DecodeZ85(s string) ([]byte, error) {
	if len(s)%5 != 0 {
		return nil, fmt.Errorf("%w: Z85 text of %d characters, not a multiple of 5", ErrCorrupt, len(s))
	}
	out := make([]byte, 0, len(s)/5*4)
	for ; len(s) > 0; s = s[5:] {
		if len(s) == 5 && s[0] == '#' {
			tail, err := decodeTail(s)
			return append(out, tail...), err
		}
		var v uint64
		for i := range 5 {
			d := z85Digits[s[i]]
			if d == 0xff {
				return nil, fmt.Errorf("%w: %q is not of Z85's alphabet", ErrCorrupt, s[i])
			}
			v = v*85 + uint64(d)
		}
		if v > 0xffffffff {
			return nil, fmt.Errorf("%w: Z85 group %q is too large", ErrCorrupt, s[:5])
		}
		out = binary.BigEndian.AppendUint32(out, uint32(v))
	}
	return out, nil
}

func decodeTail(s string) ([]byte, error) {
	missing := 1
	for missing < 3 && s[missing] == '#' {
		missing++
	}
	var v uint64
	for i := missing; i < 5; i++ {
		d := z85Digits[s[i]]
		if d == 0xff {
			return nil, fmt.Errorf("%w: %q is not of Z85's alphabet", ErrCorrupt, s[i])
		}
		v = v*85 + uint64(d)
	}
	size := 4 - missing
	if v >= 1<<(8*size) {
		return nil, fmt.Errorf("%w: Z85 group %q is too large", ErrCorrupt, s)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(v))[missing:], nil
}
