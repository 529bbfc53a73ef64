package rows

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// ParsePredicate reads a condition: comparisons joined by AND, OR, NOT and brackets. A comparison is column op literal with op = ==
// != <> < <= > >=, column [NOT] IN (literal, …), column [NOT] BETWEEN literal AND literal, column [NOT] LIKE 'pattern' [ESCAPE
// 'character'], column IS [NOT] NULL, or a boolean column alone. A column is a name, or a path to a member of a struct with dots
// between the names; a name that is no plain word is written in backticks. Strings, dates and timestamps are in single quotes, a
// quote doubled; bytes are X'00ff', or text in quotes. Literals are read as the column's type, or are NULL.
func ParsePredicate(text string, s schema.Schema) (Predicate, error) {
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &predicateParser{toks: toks, schema: s}
	out, err := p.or()
	if err == nil && !p.done() {
		err = fmt.Errorf("AND or OR expected at %q", p.toks[p.at].text)
	}
	if err != nil {
		return nil, fmt.Errorf("predicate %q: %w", text, err)
	}
	return out, nil
}

type token struct {
	kind byte // 'w' word or number, 's' string, 'x' bytes, 'q' column with a quoted name, 'o' operator or punctuation
	text string
}

func lex(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'':
			text, n, err := quoted(s, i)
			if err != nil {
				return nil, err
			}
			out = append(out, token{'s', text})
			i = n
		case c == '`':
			text, n, err := column(s, i)
			if err != nil {
				return nil, err
			}
			out = append(out, token{'q', text})
			i = n
		case strings.IndexByte("=<>!(),", c) >= 0:
			n := 1
			if i+1 < len(s) && (s[i+1] == '=' || c == '<' && s[i+1] == '>') && c != '(' && c != ')' && c != ',' {
				n = 2
			}
			out = append(out, token{'o', s[i : i+n]})
			i += n
		default:
			j := i
			for j < len(s) && strings.IndexByte(breaks, s[j]) < 0 {
				j++
			}
			switch word := s[i:j]; {
			case j < len(s) && s[j] == '\'' && strings.EqualFold(word, "x"):
				text, n, err := quoted(s, j)
				if err != nil {
					return nil, err
				}
				b, err := hex.DecodeString(text)
				if err != nil {
					return nil, fmt.Errorf("predicate %q: X'%s' is not in hexadecimal", s, text)
				}
				out = append(out, token{'x', string(b)})
				j = n
			case j < len(s) && s[j] == '`' && strings.HasSuffix(word, "."):
				text, n, err := column(s, i)
				if err != nil {
					return nil, err
				}
				out = append(out, token{'q', text})
				j = n
			default:
				out = append(out, token{'w', word})
			}
			i = j
		}
	}
	return out, nil
}

// quoted reads what lies between quotes of the kind at s[i], a doubled one standing for itself, and gives the place behind.
func quoted(s string, i int) (text string, end int, err error) {
	var b strings.Builder
	for j := i + 1; j < len(s); j++ {
		if s[j] == s[i] {
			if j+1 == len(s) || s[j+1] != s[i] {
				return b.String(), j + 1, nil
			}
			j++
		}
		b.WriteByte(s[j])
	}
	return "", 0, fmt.Errorf("predicate %q: %c is not closed", s, s[i])
}

// column reads a path of names, some of them in backticks, from s[i] on.
func column(s string, i int) (path string, end int, err error) {
	var b strings.Builder
	for i < len(s) {
		if s[i] == '`' {
			var name string
			if name, i, err = quoted(s, i); err != nil {
				return "", 0, err
			}
			b.WriteString(name)
			if i == len(s) || s[i] != '.' {
				break
			}
		}
		j := i
		for j < len(s) && strings.IndexByte(breaks, s[j]) < 0 {
			j++
		}
		b.WriteString(s[i:j])
		if i = j; j == len(s) || s[j] != '`' || s[j-1] != '.' {
			break
		}
	}
	return b.String(), i, nil
}

// breaks are the characters that end a word.
const breaks = " \t\r\n'`=<>!(),"

type predicateParser struct {
	toks   []token
	at     int
	schema schema.Schema
}

func (p *predicateParser) done() bool { return p.at >= len(p.toks) }

func (p *predicateParser) next() (token, error) {
	if p.done() {
		return token{}, fmt.Errorf("it ends too soon")
	}
	p.at++
	return p.toks[p.at-1], nil
}

// take takes a token if it is the next one.
func (p *predicateParser) take(kind byte, text string) bool {
	if !p.done() && p.toks[p.at].kind == kind && strings.EqualFold(p.toks[p.at].text, text) {
		p.at++
		return true
	}
	return false
}

func (p *predicateParser) word(w string) bool { return p.take('w', w) }

// want takes the token that must come next.
func (p *predicateParser) want(kind byte, text, behind string) error {
	if p.take(kind, text) {
		return nil
	}
	return fmt.Errorf("%s wants %s", behind, text)
}

// or reads conditions joined by OR, which binds least.
func (p *predicateParser) or() (Predicate, error) {
	all, err := p.joined("OR", p.and)
	if len(all) == 1 {
		return all[0], err
	}
	return Or(all), err
}

func (p *predicateParser) and() (Predicate, error) {
	all, err := p.joined("AND", p.not)
	if len(all) == 1 {
		return all[0], err
	}
	return And(all), err
}

func (p *predicateParser) joined(by string, member func() (Predicate, error)) ([]Predicate, error) {
	var out []Predicate
	for {
		m, err := member()
		if err != nil {
			return nil, err
		}
		if out = append(out, m); !p.word(by) {
			return out, nil
		}
	}
}

func (p *predicateParser) not() (Predicate, error) {
	if p.word("NOT") {
		of, err := p.not()
		return Not{of}, err
	}
	if p.take('o', "(") {
		in, err := p.or()
		if err == nil {
			err = p.want('o', ")", "(")
		}
		return in, err
	}
	return p.comparison()
}

var comparisons = map[string]Op{"=": Eq, "==": Eq, "!=": Ne, "<>": Ne, "<": Lt, "<=": Le, ">": Gt, ">=": Ge}

// comparison reads what is said of one column.
func (p *predicateParser) comparison() (Predicate, error) {
	name, err := p.next()
	if err != nil {
		return nil, err
	}
	if name.kind != 'w' && name.kind != 'q' {
		return nil, fmt.Errorf("a column expected at %q", name.text)
	}
	c, err := resolve(p.schema, name.text)
	if err != nil {
		return nil, err
	}
	t := Term{Column: name.text}
	if p.word("IS") {
		t.Op = IsNull
		not := p.word("NOT")
		return negated(t, not), p.want('w', "NULL", "IS")
	}
	if ends := p.done() || p.toks[p.at].text == ")" || p.toks[p.at].kind == 'w' && isJoin(p.toks[p.at].text); ends && c.typ.Kind == schema.Boolean {
		t.Value = connectors.Bool(true)
		return t, nil
	}
	not := p.word("NOT")
	switch {
	case p.word("IN"):
		list, err := p.list(c.typ, name.text)
		return negated(In(name.text, list...), not), err
	case p.word("BETWEEN"):
		from, err := p.literal(c.typ, name.text)
		if err == nil {
			err = p.want('w', "AND", "BETWEEN")
		}
		if err != nil {
			return nil, err
		}
		to, err := p.literal(c.typ, name.text)
		return negated(And{Term{name.text, Ge, from}, Term{name.text, Le, to}}, not), err
	case p.word("LIKE"):
		t.Op = Like
		if err := t.suits(c.typ); err != nil {
			return nil, err
		}
		t.Value, err = p.pattern(c.typ, name.text)
		return negated(t, not), err
	}
	o, err := p.next()
	if err != nil {
		return nil, fmt.Errorf("a comparison, IN, BETWEEN, LIKE or IS expected behind %s", name.text)
	}
	op, ok := comparisons[o.text]
	if !ok || o.kind != 'o' || not {
		return nil, fmt.Errorf("a comparison, IN, BETWEEN, LIKE or IS expected behind %s, not %q", name.text, o.text)
	}
	t.Op = op
	t.Value, err = p.literal(c.typ, name.text)
	return t, err
}

func isJoin(word string) bool { return strings.EqualFold(word, "AND") || strings.EqualFold(word, "OR") }

func negated(p Predicate, not bool) Predicate {
	if not {
		return Not{p}
	}
	return p
}

// list reads literals in brackets.
func (p *predicateParser) list(ty schema.Type, column string) ([]connectors.Value, error) {
	if err := p.want('o', "(", "IN"); err != nil {
		return nil, err
	}
	var out []connectors.Value
	for {
		v, err := p.literal(ty, column)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if p.take('o', ")") {
			return out, nil
		}
		if !p.take('o', ",") {
			return nil, fmt.Errorf("the list behind IN wants a comma or )")
		}
	}
}

// pattern reads what stands behind LIKE, and gives it with \ as the escape character. SQL has none unless ESCAPE names one.
func (p *predicateParser) pattern(ty schema.Type, column string) (connectors.Value, error) {
	v, err := p.literal(ty, column)
	if err != nil {
		return v, err
	}
	escape := ""
	if p.word("ESCAPE") {
		e, err := p.next()
		if err != nil {
			return v, err
		}
		if escape = e.text; e.kind != 's' || utf8.RuneCountInString(escape) != 1 {
			return v, fmt.Errorf("ESCAPE wants one character in quotes")
		}
	}
	if v.State != connectors.Present {
		return v, nil
	}
	var b strings.Builder
	for rest := v.Str; rest != ""; {
		_, n := utf8.DecodeRuneInString(rest)
		c := rest[:n]
		rest = rest[n:]
		switch {
		case c == escape:
			if _, n = utf8.DecodeRuneInString(rest); n == 0 {
				return v, fmt.Errorf("nothing is behind the escape character of the pattern %q", v.Str)
			}
			b.WriteString(`\` + rest[:n])
			rest = rest[n:]
		case c == `\`:
			b.WriteString(`\\`)
		default:
			b.WriteString(c)
		}
	}
	return connectors.Text(b.String()), nil
}

func (p *predicateParser) literal(ty schema.Type, column string) (connectors.Value, error) {
	l, err := p.next()
	if err != nil {
		return connectors.Value{}, err
	}
	if err := (Term{Column: column}).suits(ty); err != nil {
		return connectors.Value{}, err
	}
	if l.kind == 'w' && strings.EqualFold(l.text, "NULL") {
		return connectors.NullValue(), nil
	}
	if l.kind == 'x' && ty.Kind == schema.Binary {
		return connectors.Bytes(l.text), nil
	}
	quoted := l.kind == 's'
	if l.kind == 'x' || l.kind == 'o' || l.kind == 'q' || ty.Kind == schema.String && !quoted {
		return connectors.Value{}, fmt.Errorf("a literal of %s expected at %q", ty, l.text)
	}
	if l.text == "" { // an empty string is a value here
		if ty.Kind == schema.String {
			return connectors.Text(""), nil
		}
		if ty.Kind == schema.Binary {
			return connectors.Bytes(""), nil
		}
	}
	v, ok := parseLiteral(l.text, ty)
	if !ok {
		return v, fmt.Errorf("%q is no %s, the type of column %s", l.text, ty, column)
	}
	return v, nil
}
