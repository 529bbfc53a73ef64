package rows

import (
	"fmt"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// ParsePredicate reads terms joined by AND: column op literal with op = == != <> < <= > >=, column IN (literal, …), column IS
// [NOT] NULL. A column whose name is no plain word is written in backticks; strings, dates and timestamps in single
// quotes, a quote doubled. Literals are read as the column's type.
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
	kind byte // 'w' word or number, 's' string, 'q' quoted name, 'o' operator or punctuation
	text string
}

func lex(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'' || c == '`':
			var b strings.Builder
			j := i + 1
			for ; ; j++ {
				if j >= len(s) {
					return nil, fmt.Errorf("predicate %q: %c is not closed", s, c)
				}
				if s[j] == c {
					if j+1 < len(s) && s[j+1] == c {
						j++
					} else {
						break
					}
				}
				b.WriteByte(s[j])
			}
			kind := byte('s')
			if c == '`' {
				kind = 'q'
			}
			out = append(out, token{kind, b.String()})
			i = j + 1
		case strings.IndexByte("=<>!(),", c) >= 0:
			n := 1
			if i+1 < len(s) && (s[i+1] == '=' || c == '<' && s[i+1] == '>') && c != '(' && c != ')' && c != ',' {
				n = 2
			}
			out = append(out, token{'o', s[i : i+n]})
			i += n
		default:
			j := i
			for j < len(s) && strings.IndexByte(" \t\r\n'`=<>!(),", s[j]) < 0 {
				j++
			}
			out = append(out, token{'w', s[i:j]})
			i = j
		}
	}
	return out, nil
}

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
	quoted := l.kind == 's'
	if l.kind == 'o' || l.kind == 'q' || ty.Kind == schema.String && !quoted {
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
