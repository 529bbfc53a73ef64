// Package pos builds positions: fields of fixed width, big endian, so that bytes.Compare orders the events of one
// lineage. Layouts per source are those of the decoder that calls it.
package pos

import (
	"encoding/binary"
	"math/big"
	"strconv"
)

// Sub orders of events at one position: a delete goes before the create that it makes room for.
const (
	SubDelete   = 0
	SubTruncate = 0
	SubRead     = 1
	SubUpsert   = 2
)

// U64 appends a field.
func U64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// U32 appends a field.
func U32(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

// Binlog splits a binlog's name into base and number: binlog.000147, binlog-000002.ibb. The number is the last run of
// digits; it may have any length, so names compare by number only.
func Binlog(file string) (base string, n uint64, ok bool) {
	end := len(file)
	for end > 0 && file[end-1]-'0' > 9 {
		end--
	}
	start := end
	for start > 0 && file[start-1]-'0' <= 9 {
		start--
	}
	if start == end || end-start > 19 {
		return "", 0, false
	}
	for i := start; i < end; i++ {
		n = n*10 + uint64(file[i]-'0')
	}
	base = file[:start]
	if base != "" && (base[len(base)-1] == '.' || base[len(base)-1] == '-') {
		base = base[:len(base)-1]
	}
	return base, n, true
}

// Unsigned reads a number that a Java long may have printed as negative although it has no sign.
func Unsigned(text string) (uint64, bool) {
	if text != "" && text[0] == '-' {
		n, err := strconv.ParseInt(text, 10, 64)
		return uint64(n), err == nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// Pair reads PostgreSQL's sequence, the text ["<last commit>","<lsn>"] of a JSON array whose quotes may be escaped
// once more because it was sent inside a JSON string. An element that is null or missing has ok false.
func Pair(text string) (first, second uint64, ok1, ok2, valid bool) {
	i := 0
	skip := func() {
		for i < len(text) && (text[i] == ' ' || text[i] == '\\' || text[i] == '"') {
			i++
		}
	}
	if skip(); i >= len(text) || text[i] != '[' {
		return
	}
	i++
	for n := 0; ; n++ {
		skip()
		start := i
		for i < len(text) && (text[i]-'0' <= 9 || text[i] == '-') {
			i++
		}
		switch {
		case i > start:
			v, ok := Unsigned(text[start:i])
			if !ok || n > 1 {
				return 0, 0, false, false, false
			}
			if n == 0 {
				first, ok1 = v, true
			} else {
				second, ok2 = v, true
			}
		case len(text)-i >= 4 && text[i:i+4] == "null":
			i += 4
		case n == 0 && i < len(text) && text[i] == ']':
			return 0, 0, false, false, true
		default:
			return 0, 0, false, false, false
		}
		if skip(); i >= len(text) {
			return 0, 0, false, false, false
		}
		switch text[i] {
		case ',':
			i++
		case ']':
			return first, second, ok1, ok2, true
		default:
			return 0, 0, false, false, false
		}
	}
}

// LSN appends SQL Server's log sequence number 0000004a:00001b38:0005 as 10 bytes.
func LSN(b []byte, text string) ([]byte, bool) {
	if len(text) != 22 || text[8] != ':' || text[17] != ':' {
		return b, false
	}
	for i := 0; i < len(text); i += 2 {
		if text[i] == ':' {
			i--
			continue
		}
		hi, lo := nibble(text[i]), nibble(text[i+1])
		if hi < 0 || lo < 0 {
			return b, false
		}
		b = append(b, byte(hi<<4|lo))
	}
	return b, true
}

func nibble(c byte) int {
	switch {
	case c-'0' <= 9:
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// Hex appends the bytes of a hexadecimal text of even length.
func Hex(b []byte, text string) ([]byte, bool) {
	if len(text) == 0 || len(text)%2 != 0 {
		return b, false
	}
	for i := 0; i < len(text); i += 2 {
		hi, lo := nibble(text[i]), nibble(text[i+1])
		if hi < 0 || lo < 0 {
			return b, false
		}
		b = append(b, byte(hi<<4|lo))
	}
	return b, true
}

// Big appends a decimal number as 16 bytes: Oracle's system change numbers exceed 64 bits.
func Big(b []byte, text string) ([]byte, bool) {
	if text == "" || len(text) > 39 {
		return b, false
	}
	for i := range len(text) {
		if text[i]-'0' > 9 {
			return b, false
		}
	}
	if len(text) <= 19 {
		n, _ := strconv.ParseUint(text, 10, 64)
		return U64(U64(b, 0), n), true
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.BitLen() > 128 {
		return b, false
	}
	var buf [16]byte
	return append(b, n.FillBytes(buf[:])...), true
}
