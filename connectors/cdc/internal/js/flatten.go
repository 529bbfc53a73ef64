package js

import "strings"

// flattenDepth is how deep documents become columns; what is below stays text.
const flattenDepth = 16

// Flatten writes a document anew so that the members of documents inside it are members of its own: {"a":{"b":1}} becomes {"a_b":1}. Arrays, scalars in
// extended JSON, empty documents and _id stay as they are, and so does a document whose members would take the names of others. It gives s where
// there is nothing to do, or s is no document.
func Flatten(s string) string {
	start := Space(s, 0)
	if start >= len(s) || s[start] != '{' {
		return s
	}
	taken, some := map[string]bool{}, false
	for name, value := range members(s, start) {
		taken[name] = true
		some = some || name != "_id" && isDocument(value)
	}
	if !some {
		return s
	}
	dst := append(make([]byte, 0, len(s)+64), '{')
	var given []string // of the document at hand
	for name, value := range members(s, start) {
		if name != "_id" && isDocument(value) {
			delete(taken, name)
			given = given[:0]
			if d, ok := appendFlat(dst, name, value, taken, &given, 1); ok {
				dst = d
				continue
			}
			for _, n := range given {
				delete(taken, n)
			}
			taken[name] = true
		}
		dst = appendMember(dst, name, value)
	}
	return string(append(dst, '}'))
}

// appendFlat appends the members of a document under names that begin with prefix; it adds the names to taken and given. It gives false where one of them is taken.
func appendFlat(dst []byte, prefix, s string, taken map[string]bool, given *[]string, depth int) ([]byte, bool) {
	for name, value := range members(s, 0) {
		name = prefix + "_" + name
		if depth < flattenDepth && isDocument(value) {
			var ok bool
			if dst, ok = appendFlat(dst, name, value, taken, given, depth+1); !ok {
				return dst, false
			}
			continue
		}
		if taken[name] {
			return dst, false
		}
		taken[name] = true
		*given = append(*given, name)
		dst = appendMember(dst, name, value)
	}
	return dst, true
}

func appendMember(dst []byte, name, value string) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	dst = append(append(dst, '"'), name...)
	return append(append(dst, '"', ':'), value...)
}

// isDocument tells a document with members from scalars in extended JSON, whose names begin with $.
func isDocument(s string) bool {
	if s == "" || s[0] != '{' {
		return false
	}
	for name := range members(s, 0) {
		return !strings.HasPrefix(name, "$")
	}
	return false
}

// members gives the members of the object at i: names as they are written, escapes and all, and the texts of their values. It ends where the text is no JSON.
func members(s string, i int) func(func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		i, more := Open(s, i, '}')
		for more {
			name, _, at := Member(s, i)
			if at < 0 {
				return
			}
			if i = Skip(s, at); i < 0 || !yield(name, s[at:i]) {
				return
			}
			if i, more = Next(s, i, '}'); i < 0 {
				return
			}
		}
	}
}
