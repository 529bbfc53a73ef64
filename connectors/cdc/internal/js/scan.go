// Package js scans JSON text in place. It is the one scanner of all JSON change formats: single pass, no tree, no
// copies of strings without escapes, exact numbers, bounded depth. Texts are strings that share memory with the
// record they came from.
//
// What it is not: a general JSON library. Members are found by comparing with the members of the record before
// (change events repeat their shape), and values become connectors.Value at once.
//
// Functions take the text and the index of the next byte and give the index behind what they read, or -1 where the
// text is not JSON. A Reader is used by one goroutine.
package js

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// MaxDepth bounds the nesting of objects and arrays. MongoDB allows 100 levels; Connect structs rarely have 5.
const MaxDepth = 256

// Space gives the index of the next byte that is not white space.
func Space(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks (0x80) the bytes of x that end a run of plain string bytes: quote, backslash, control. Only the
// lowest mark is exact.
func special(x uint64) uint64 {
	q := x ^ (ones * '"')
	b := x ^ (ones * '\\')
	return ((q-ones)&^q | (b-ones)&^b | (x-ones*0x20)&^x) & highs
}

// String reads the string whose opening quote is at i. It gives the index behind the closing quote, and whether there
// are escapes inside.
func String(s string, i int) (end int, escaped bool) {
	if i >= len(s) || s[i] != '"' {
		return -1, false
	}
	i++
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for {
		for i+8 <= len(b) {
			if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				goto found
			}
			i += 8
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
			i++
		}
		if i >= len(b) {
			return -1, false
		}
	found:
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i+1 >= len(b) {
				return -1, false
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(b) || hex4(s[i+2:i+6]) < 0 {
					return -1, false
				}
				i += 6
			default:
				return -1, false
			}
		default: // a control character must be escaped
			return -1, false
		}
	}
}

func hex4(s string) rune {
	var r rune
	for i := 0; i < 4; i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}

// Number reads the number at i. It gives the index behind it, and whether it has a fraction or an exponent.
func Number(s string, i int) (end int, fraction bool) {
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == start || (s[start] == '0' && i > start+1) {
		return -1, false
	}
	if i < len(s) && s[i] == '.' {
		fraction = true
		i++
		start = i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		if i == start {
			return -1, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		fraction = true
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start = i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		if i == start {
			return -1, false
		}
	}
	return i, fraction
}

func literal(s string, i int, word string) int {
	if len(s)-i >= len(word) && s[i:i+len(word)] == word {
		return i + len(word)
	}
	return -1
}

// Null reads null at i.
func Null(s string, i int) int { return literal(s, i, "null") }

// Skip reads the value at i, whatever it is, and checks that it is JSON.
func Skip(s string, i int) int { return skip(s, i, 0) }

func skip(s string, i, depth int) int {
	if i >= len(s) {
		return -1
	}
	switch c := s[i]; c {
	case '"':
		i, _ = String(s, i)
		return i
	case '{':
		return skipObject(s, i, depth)
	case '[':
		return skipArray(s, i, depth)
	case 't':
		return literal(s, i, "true")
	case 'f':
		return literal(s, i, "false")
	case 'n':
		return literal(s, i, "null")
	default:
		i, _ = Number(s, i)
		return i
	}
}

func skipObject(s string, i, depth int) int {
	if depth >= MaxDepth {
		return -1
	}
	i = Space(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for {
		if i, _ = String(s, i); i < 0 {
			return -1
		}
		if i < len(s) && s[i] == ':' {
			i++
		} else if i = colon(s, i); i < 0 {
			return -1
		}
		if i < len(s) && s[i] <= ' ' {
			i = Space(s, i)
		}
		if i = skip(s, i, depth+1); i < 0 {
			return -1
		}
		if i < len(s) && s[i] <= ' ' {
			i = Space(s, i)
		}
		if i >= len(s) {
			return -1
		}
		switch s[i] {
		case ',':
			i++
			if i < len(s) && s[i] <= ' ' {
				i = Space(s, i)
			}
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

func skipArray(s string, i, depth int) int {
	if depth >= MaxDepth {
		return -1
	}
	i = Space(s, i+1)
	if i < len(s) && s[i] == ']' {
		return i + 1
	}
	for {
		if i = skip(s, i, depth+1); i < 0 {
			return -1
		}
		i = Space(s, i)
		if i >= len(s) {
			return -1
		}
		switch s[i] {
		case ',':
			i = Space(s, i+1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

// colon reads white space, a colon and white space.
func colon(s string, i int) int {
	i = Space(s, i)
	if i >= len(s) || s[i] != ':' {
		return -1
	}
	return Space(s, i+1)
}

// Member reads the name of a member at i and the colon behind it: name is the text between the quotes.
func Member(s string, i int) (name string, escaped bool, next int) {
	end, escaped := String(s, i)
	if end < 0 {
		return "", false, -1
	}
	return s[i+1 : end-1], escaped, colon(s, end)
}

// Next reads what follows a value inside an object or array closed by close: it gives the index of the next value or
// member name and true, or the index behind the closing bracket and false.
func Next(s string, i int, close byte) (next int, more bool) {
	if i < len(s) && s[i] <= ' ' {
		i = Space(s, i)
	}
	if i >= len(s) {
		return -1, false
	}
	if s[i] == ',' {
		i++
		if i < len(s) && s[i] <= ' ' {
			i = Space(s, i)
		}
		return i, true
	}
	if s[i] == close {
		return i + 1, false
	}
	return -1, false
}

// Open reads the opening bracket at i and tells whether anything is inside.
func Open(s string, i int, close byte) (next int, more bool) {
	i = Space(s, i+1)
	if i < len(s) && s[i] == close {
		return i + 1, false
	}
	return i, true
}

// Text gives the bytes as a string without copying. The bytes must not change while the string is used.
func Text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// View gives the string's bytes without copying. They must not be written to.
func View(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
