package rows

import (
	"strings"
	"unicode/utf8"
)

// like matches a text with a pattern of Like.
func like(text, pattern string) bool {
	i, j := 0, 0
	from, star := 0, -1 // where the last % stands, and what it took reaches to
	for i < len(text) {
		if j < len(pattern) {
			switch literal, next := patternByte(pattern, j); {
			case literal && pattern[next-1] == text[i]:
				i, j = i+1, next
				continue
			case !literal && pattern[j] == '%':
				from, star = i, j
				j++
				continue
			case !literal: // _
				_, n := utf8.DecodeRuneInString(text[i:])
				i, j = i+n, next
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(text[from:])
		from += n
		i, j = from, star+1
	}
	return strings.Trim(pattern[j:], "%") == ""
}

// patternByte tells whether what stands at place j of a pattern is for itself: the byte before next is meant then.
func patternByte(pattern string, j int) (literal bool, next int) {
	switch pattern[j] {
	case '%', '_':
		return false, j + 1
	case '\\':
		return true, min(j+2, len(pattern))
	}
	return true, j + 1
}

// likePrefix gives what all texts that match begin with, and what of the pattern comes behind it.
func likePrefix(pattern string) (prefix, rest string) {
	var b strings.Builder
	j := 0
	for j < len(pattern) {
		literal, next := patternByte(pattern, j)
		if !literal {
			break
		}
		b.WriteByte(pattern[next-1])
		j = next
	}
	return b.String(), pattern[j:]
}

// likeWithin gives all that matching a pattern may give for texts within bounds.
func likeWithin(pattern string, b *bounds) truths {
	if b.hasLo && b.hasHi && b.lo.Str == b.hi.Str {
		if like(b.lo.Str, pattern) {
			return yes
		}
		return no
	}
	prefix, rest := likePrefix(pattern)
	// Texts with the prefix lie side by side.
	loHas, hiHas := b.hasLo && strings.HasPrefix(b.lo.Str, prefix), b.hasHi && strings.HasPrefix(b.hi.Str, prefix)
	switch {
	case b.hasHi && b.hi.Str < prefix, b.hasLo && b.lo.Str > prefix && !loHas:
		return no
	case rest == "%" && loHas && hiHas, rest == "%" && prefix == "":
		return yes
	}
	return yes | no
}
