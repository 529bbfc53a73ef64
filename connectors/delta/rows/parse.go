package rows

import (
	"encoding/hex"
	"fmt"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// ParsePredicate reads terms joined by AND: column op literal with op = == != <> < <= > >=, column IN (literal, …), column IS
// [NOT] NULL. A column is a name, or a path to a member of a struct with dots between the names; a name that is no plain word is
// written in backticks. Strings, dates and timestamps are in single quotes, a quote doubled; bytes are X'00ff', or text in quotes.
// Literals are read as the column's type.
func ParsePredicate(text string, s schema.Schema) (Predicate, error) {
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &predicateParser{toks: toks, schema: s, text: text}
	var out Predicate
	for {
		t, err := p.term()
		if err != nil {
			return nil, fmt.Errorf("predicate %q: %w", text, err)
		}
		out = append(out, t)
		if p.done() {
			return out, nil
		}
		if !p.word("AND") {
			return nil, fmt.Errorf("predicate %q: AND expected at %q", text, p.toks[p.at].text)
		}
	}
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
	text   string
}

func (p *predicateParser) done() bool { return p.at >= len(p.toks) }

func (p *predicateParser) next() (token, error) {
	if p.done() {
		return token{}, fmt.Errorf("it ends too soon")
	}
	p.at++
	return p.toks[p.at-1], nil
}

func (p *predicateParser) word(w string) bool {
	if !p.done() && p.toks[p.at].kind == 'w' && strings.EqualFold(p.toks[p.at].text, w) {
		p.at++
		return true
	}
	return false
}

func (p *predicateParser) term() (Term, error) {
	c, err := p.next()
	if err != nil {
		return Term{}, err
	}
	if c.kind != 'w' && c.kind != 'q' {
		return Term{}, fmt.Errorf("a column expected at %q", c.text)
	}
	_, ty, err := resolve(p.schema, c.text)
	if err != nil {
		return Term{}, err
	}
	t := Term{Column: c.text}
	if p.word("IS") {
		t.Op = IsNull
		if p.word("NOT") {
			t.Op = NotNull
		}
		if !p.word("NULL") {
			return t, fmt.Errorf("IS wants NULL or NOT NULL behind it")
		}
		return t, nil
	}
	if p.word("IN") {
		t.Op = In
		if o, err := p.next(); err != nil || o.text != "(" {
			return t, fmt.Errorf("IN wants a list in brackets")
		}
		for {
			v, err := p.literal(ty, c.text)
			if err != nil {
				return t, err
			}
			t.Values = append(t.Values, v)
			o, err := p.next()
			if err != nil {
				return t, err
			}
			if o.text == ")" {
				return t, nil
			}
			if o.text != "," {
				return t, fmt.Errorf("comma or bracket expected at %q", o.text)
			}
		}
	}
	o, err := p.next()
	if err != nil {
		return t, err
	}
	ops := map[string]Op{"=": Eq, "==": Eq, "!=": Ne, "<>": Ne, "<": Lt, "<=": Le, ">": Gt, ">=": Ge}
	op, ok := ops[o.text]
	if !ok || o.kind != 'o' {
		return t, fmt.Errorf("a comparison expected at %q", o.text)
	}
	t.Op = op
	v, err := p.literal(ty, c.text)
	t.Values = []connectors.Value{v}
	return t, err
}

func (p *predicateParser) literal(ty schema.Type, column string) (connectors.Value, error) {
	l, err := p.next()
	if err != nil {
		return connectors.Value{}, err
	}
	switch ty.Kind {
	case schema.Array, schema.Map, schema.Struct, schema.Variant, schema.Void:
		return connectors.Value{}, fmt.Errorf("column %s of %s can't be compared", column, ty)
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
