package config

import (
	"fmt"
	"strings"
	"unicode"

	"sluice.io/sluice/connectors"
)

// pathVariables are what may stand in ${…} in paths.
var pathVariables = []string{"topic", "database", "schema", "table", "connector"}

// templatePart is a piece of a path template: text between variables, or the name of a variable.
type templatePart struct {
	text     string
	variable bool
}

func splitTemplate(t string) []templatePart {
	var out []templatePart
	for t != "" {
		i := strings.Index(t, "${")
		j := strings.IndexByte(t[max(i, 0):], '}') + max(i, 0)
		if i < 0 || j < i {
			return append(out, templatePart{text: t})
		}
		if i > 0 {
			out = append(out, templatePart{text: t[:i]})
		}
		out = append(out, templatePart{text: t[i+2 : j], variable: true})
		t = t[j+1:]
	}
	return out
}

// PathNeedsRow tells whether a path depends on more than topic and connector: then only an event says to which table
// it belongs.
func PathNeedsRow(template string) bool {
	for _, v := range []string{"${database}", "${schema}", "${table}"} {
		if strings.Contains(template, v) {
			return true
		}
	}
	return false
}

// ResolvePath gives the path of a table from its template. A variable that is empty takes the separator behind it
// away (the one before it where it is the last). Without src the variables ${database} ${schema} ${table} are left
// in the path. Characters that have a meaning in paths and URLs are escaped, see escapePath.
func ResolvePath(template, topic string, src *connectors.Source, connector string) string {
	var b strings.Builder
	swallow := false
	for _, part := range splitTemplate(template) {
		if !part.variable {
			t := part.text
			if swallow && t != "" && strings.IndexByte(separators, t[0]) >= 0 {
				t = t[1:]
				swallow = false
			}
			if t != "" {
				swallow = false
			}
			b.WriteString(t)
			continue
		}
		v, known := "", true
		switch part.text {
		case "topic":
			v = topic
		case "connector":
			v = connector
		case "database", "schema", "table":
			if src == nil {
				known = false
				break
			}
			v = map[string]string{"database": src.DB, "schema": src.Schema, "table": src.Table}[part.text]
		default:
			known = false
		}
		switch {
		case !known:
			b.WriteString("${" + part.text + "}")
			swallow = false
		case v == "":
			swallow = true
		default:
			b.WriteString(escapePath(v))
			swallow = false
		}
	}
	out := b.String()
	if swallow && out != "" && strings.IndexByte(separators, out[len(out)-1]) >= 0 {
		out = out[:len(out)-1]
	}
	return out
}

// separators are what an empty variable takes away with it.
const separators = "/._-"

// escapePath writes a name so that it is one part of a path in every store and every reader's URL: letters, digits,
// dot, underscore and minus stay, each byte of anything else becomes ~XX. Names of dots only are escaped too. The
// writing is reversible: ~ itself is escaped.
func escapePath(s string) string {
	if strings.Trim(s, ".") == "" {
		return strings.Repeat("~2E", len(s))
	}
	plain := true
	for _, r := range s {
		plain = plain && pathRune(r)
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if pathRune(r) {
			b.WriteRune(r)
			continue
		}
		n := len(string(r))
		if r == unicode.ReplacementChar {
			n = 1
			if strings.HasPrefix(s[i:], "\uFFFD") {
				n = 3
			}
		}
		for _, c := range []byte(s[i : i+n]) {
			fmt.Fprintf(&b, "~%02X", c)
		}
	}
	return b.String()
}

func pathRune(r rune) bool {
	return r == '.' || r == '_' || r == '-' || r != unicode.ReplacementChar && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
