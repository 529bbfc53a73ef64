package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// hidden is what a PASSWORD value is shown as.
const hidden = "[hidden]"

// value is a configuration value after parsing, in the text form in which it is shown.
type value struct {
	null bool
	text string
	num  int64
	list []string
}

// invalid is the text of Kafka's ConfigException.
func invalid(v, key, reason string) string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", v, key, reason)
}

// parse reads the text of a value. problem is the reason why it cannot be read, "" when it can.
func (d *Definition) parse(s string) (v value, problem string) {
	switch d.Type {
	case Boolean:
		t := strings.ToLower(strings.TrimSpace(s))
		if t != "true" && t != "false" {
			return value{null: true}, "Expected value to be either true or false"
		}
		v.text = t
		if t == "true" {
			v.num = 1
		}
	case Int, Short, Long:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, map[Type]int{Short: 16, Int: 32, Long: 64}[d.Type])
		if err != nil {
			return value{null: true}, "Not a number of type " + string(d.Type)
		}
		v.num, v.text = n, strconv.FormatInt(n, 10)
	case Double:
		t := strings.TrimSpace(s)
		if _, err := strconv.ParseFloat(t, 64); err != nil {
			return value{null: true}, "Not a number of type DOUBLE"
		}
		v.text = t
	case List:
		v.list = splitList(s)
		v.text = strings.Join(v.list, ",")
	case Class:
		t := strings.TrimSpace(s)
		if d.resolve != nil && !d.resolve(t) {
			return value{null: true}, "Class " + t + " could not be found." + classHint(t)
		}
		v.text = t
	case Password:
		v.text = s
	default:
		v.text = strings.TrimSpace(s)
	}
	return v, ""
}

// shown gives the value as REST shows it: nil for a null, never a password.
func (d *Definition) shown(v value) *string {
	switch {
	case v.null:
		return nil
	case d != nil && d.Type == Password:
		return text(hidden)
	default:
		return text(v.text)
	}
}

// splitList reads a comma list; blanks around the members go, an empty text is an empty list.
func splitList(s string) []string {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// atLeast is Kafka's Range.atLeast.
func atLeast(low int64) check {
	return func(v value) string {
		switch {
		case v.null:
			return "Value must be non-null"
		case v.num < low:
			return "Value must be at least " + strconv.FormatInt(low, 10)
		}
		return ""
	}
}

// oneOf is Kafka's ValidString.in.
func oneOf(allowed ...string) check {
	return func(v value) string {
		for _, a := range allowed {
			if !v.null && v.text == a {
				return ""
			}
		}
		return "String must be one of: " + strings.Join(allowed, ", ")
	}
}

// oneOfAnyCase is Kafka's CaseInsensitiveValidString.
func oneOfAnyCase(allowed ...string) check {
	return func(v value) string {
		for _, a := range allowed {
			if !v.null && strings.EqualFold(v.text, a) {
				return ""
			}
		}
		return "String must be one of (case insensitive): " + strings.Join(allowed, ", ")
	}
}

// connectorName is Kafka's rule for names: something, and nothing that cannot be seen.
func connectorName(v value) string {
	if v.null {
		return "" // said already: a required key is missing
	}
	if v.text == "" {
		return "String may not be empty"
	}
	var bad []string
	for _, r := range v.text {
		if unicode.IsControl(r) {
			bad = append(bad, strconv.Itoa(int(r)))
		}
	}
	if len(bad) > 0 {
		return "String may not contain control sequences but had the following ASCII chars: " + strings.Join(bad, ", ")
	}
	return ""
}

// uniqueAliases is Kafka's rule for the lists of transforms and predicates.
func uniqueAliases(v value) string {
	seen := map[string]bool{}
	for _, a := range v.list {
		if seen[a] {
			return "Duplicate alias provided."
		}
		seen[a] = true
	}
	return ""
}

// noEmptyMembers refuses "a,,b".
func noEmptyMembers(v value) string {
	for _, a := range v.list {
		if a == "" {
			return "a list member is empty; remove the extra comma"
		}
	}
	return ""
}

// topicNames refuses what cannot be the name of a topic: a connector would wait for it for ever.
func topicNames(v value) string {
	if reason := noEmptyMembers(v); reason != "" {
		return reason
	}
	for _, t := range v.list {
		if t == "." || t == ".." || len(t) > 249 || strings.ContainsFunc(t, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
		}) {
			return fmt.Sprintf("%q cannot be the name of a Kafka topic: those are up to 249 letters, digits, '.', '_' and '-'; patterns go to topics.regex", t)
		}
	}
	return ""
}

// goRegex refuses what Go's regular expressions cannot read. They are linear in time and lack look-around and
// back-references, which java.util.regex has.
func goRegex(v value) string {
	if v.null || v.text == "" {
		return ""
	}
	if _, err := compileFull(v.text); err != nil {
		return fmt.Sprintf("Invalid regular expression (%v); look-around, back-references and possessive quantifiers are not supported", err)
	}
	return ""
}

// compileFull compiles an expression that must match the whole text, as Kafka Connect applies them.
func compileFull(expr string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + expr + `)$`)
}
