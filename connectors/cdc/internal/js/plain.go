package js

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// maxShapes bounds the shapes that a Reader remembers; with more it forgets all and starts again.
const maxShapes = 512

// maxColumns bounds the members of a row.
const maxColumns = 20000

// PlainShape is a Shape with the texts of its members as they were sent.
type PlainShape struct {
	Shape *connectors.Shape
	raw   []string // "name": for each column, as sent
}

// Slot remembers the last shape of one kind of row (before, after, key …), which the next one is compared with.
type Slot struct{ last *PlainShape }

type member struct {
	name, raw string
	at        int // of the value
}

// PlainRow reads the object at i as a row without declared types: integers are Long, numbers with fraction Double,
// objects and arrays the text as sent. Numbers that their type cannot hold: an integer beyond int64 or a number
// beyond float64 is a String with its digits; a fraction whose digits are lost in float64 is rescued as text.
// Of members with the same name the last one counts.
func (r *Reader) PlainRow(s string, i int, slot *Slot) (connectors.Row, int) {
	if p := slot.last; p != nil {
		if row, next := r.rowAs(s, i, p); next >= 0 || r.Err != nil {
			return row, next
		}
	}
	return r.rowSlow(s, i, slot)
}

// rowAs reads a row that has exactly the members of p, in their order and without white space. -1 without Err: it has
// not.
func (r *Reader) rowAs(s string, i int, p *PlainShape) (connectors.Row, int) {
	n := len(p.raw)
	i++
	if n == 0 {
		if i < len(s) && s[i] == '}' {
			return connectors.Row{Shape: p.Shape}, i + 1
		}
		return connectors.Row{}, -1
	}
	r.StartRow()
	vals := r.Values(n)
	for k := range vals {
		raw := p.raw[k]
		if len(s)-i <= len(raw) || s[i:i+len(raw)] != raw || s[i+len(raw)] <= ' ' {
			goto other
		}
		if i = r.PlainValue(s, i+len(raw), &vals[k], k); i < 0 {
			return connectors.Row{}, -1
		}
		if i >= len(s) {
			return connectors.Row{}, r.Malformed(s, i)
		}
		if k < n-1 {
			if s[i] != ',' {
				goto other
			}
		} else if s[i] != '}' {
			goto other
		}
		i++
	}
	return connectors.NewRow(p.Shape, vals, r.EndRow()), i
other: // give the values back
	r.unread(vals)
	return connectors.Row{}, -1
}

func (r *Reader) rowSlow(s string, i int, slot *Slot) (connectors.Row, int) {
	start := i
	ms := r.members[:0]
	i, more := Open(s, i, '}')
	for more {
		name, escaped, next := Member(s, i)
		if next < 0 {
			return connectors.Row{}, r.Malformed(s, i)
		}
		raw := s[i : i+len(name)+2]
		if escaped {
			name, _ = r.Unescape(name)
		}
		ms = append(ms, member{name: name, raw: raw, at: next})
		if len(ms) > maxColumns {
			return connectors.Row{}, r.Fail(connectors.ClassTooLarge, "a row with more than %d members", maxColumns)
		}
		if i = Skip(s, next); i < 0 {
			return connectors.Row{}, r.Malformed(s, next)
		}
		if i, more = Next(s, i, '}'); i < 0 {
			return connectors.Row{}, r.Malformed(s, next)
		}
	}
	r.members = ms
	ms = dedup(ms)
	p := r.shape(ms)
	slot.last = p
	if row, next := r.rowAs(s, start, p); next >= 0 || r.Err != nil { // no white space, no repeated member
		return row, next
	}
	r.StartRow()
	vals := r.Values(len(ms))
	for k := range ms {
		if r.PlainValue(s, ms[k].at, &vals[k], k) < 0 {
			return connectors.Row{}, -1
		}
	}
	return connectors.NewRow(p.Shape, vals, r.EndRow()), i
}

// dedup keeps the last of members with the same name.
func dedup(ms []member) []member {
	if len(ms) < 32 {
		for i := 0; i < len(ms); i++ {
			for j := i + 1; j < len(ms); j++ {
				if ms[i].name == ms[j].name {
					ms = append(ms[:i], ms[i+1:]...)
					i--
					break
				}
			}
		}
		return ms
	}
	last := make(map[string]int, len(ms))
	for i, m := range ms {
		last[m.name] = i
	}
	if len(last) == len(ms) {
		return ms
	}
	out := ms[:0]
	for i, m := range ms {
		if last[m.name] == i {
			out = append(out, m)
		}
	}
	return out
}

func (r *Reader) shape(ms []member) *PlainShape {
	key := r.scratch[:0]
	for _, m := range ms {
		key = binary.AppendUvarint(key, uint64(len(m.raw)))
		key = append(key, m.raw...)
	}
	r.scratch = key
	if p, ok := r.shapes[string(key)]; ok {
		return p
	}
	if r.shapes == nil || len(r.shapes) >= maxShapes {
		r.shapes = make(map[string]*PlainShape)
	}
	p := &PlainShape{Shape: &connectors.Shape{Names: make([]string, len(ms))}, raw: make([]string, len(ms))}
	for i, m := range ms {
		p.Shape.Names[i] = strings.Clone(m.name)
		p.raw[i] = m.raw + ":"
	}
	r.shapes[string(key)] = p
	return p
}

// ShapeOf gives the shape of columns without declared types; equal lists share one.
func (r *Reader) ShapeOf(names []string) *connectors.Shape {
	ms := r.members[:0]
	for _, n := range names {
		ms = append(ms, member{name: n, raw: strconv.Quote(n)})
	}
	r.members = ms
	return r.shape(ms).Shape
}

// PlainValue reads the value at i into v, which belongs to column col.
func (r *Reader) PlainValue(s string, i int, v *connectors.Value, col int) int {
	if i >= len(s) {
		return r.Malformed(s, i)
	}
	switch s[i] {
	case '"':
		end, escaped := String(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		text := s[i+1 : end-1]
		if escaped {
			var lossy bool
			if text, lossy = r.Unescape(text); lossy {
				r.Rescue(col, s[i:end])
			}
		}
		if r.Detect && r.Placeholder.IsText(text) {
			r.Found++
			v.State, v.Kind = connectors.Unavailable, schema.String // as what is there would be
			return end
		}
		v.State, v.Kind, v.Str = connectors.Present, schema.String, text
		return end
	case 'n':
		if i = literal(s, i, "null"); i < 0 {
			return r.Malformed(s, i)
		}
		v.State = connectors.Null
		return i
	case 't':
		if i = literal(s, i, "true"); i < 0 {
			return r.Malformed(s, i)
		}
		v.State, v.Kind, v.Int = connectors.Present, schema.Boolean, 1
		return i
	case 'f':
		if i = literal(s, i, "false"); i < 0 {
			return r.Malformed(s, i)
		}
		v.State, v.Kind, v.Int = connectors.Present, schema.Boolean, 0
		return i
	case '{', '[':
		end := Skip(s, i)
		if end < 0 {
			return r.Malformed(s, i)
		}
		text := s[i:end]
		if r.Detect && r.Placeholder.IsNested(text) {
			r.Found++
			v.State, v.Kind = connectors.Unavailable, schema.String // as what is there would be
			return end
		}
		v.State, v.Kind, v.Str = connectors.Present, schema.String, text
		if s[i] == '{' {
			if d, ok := r.VariableScale(text); ok {
				v.Str = d
			}
		}
		return end
	default:
		return r.plainNumber(s, i, v, col)
	}
}

func (r *Reader) plainNumber(s string, i int, v *connectors.Value, col int) int {
	j, neg := i, false
	if s[j] == '-' {
		neg = true
		j++
	}
	start := j
	var n uint64
	for j < len(s) {
		c := s[j] - '0'
		if c > 9 {
			break
		}
		n = n*10 + uint64(c)
		j++
	}
	digits := j - start
	if digits > 0 && digits <= 19 && (digits == 1 || s[start] != '0') && (j == len(s) || s[j] != '.' && s[j]|0x20 != 'e') {
		switch {
		case !neg && n <= math.MaxInt64:
			v.State, v.Kind, v.Int = connectors.Present, schema.Long, int64(n)
			return j
		case neg && n <= 1<<63:
			v.State, v.Kind, v.Int = connectors.Present, schema.Long, -int64(n)
			return j
		}
	}
	end, fraction := Number(s, i)
	if end < 0 {
		return r.Malformed(s, i)
	}
	text := s[i:end]
	v.State = connectors.Present
	if fraction {
		f, err := strconv.ParseFloat(text, 64)
		if err == nil {
			v.Kind, v.Int = schema.Double, int64(math.Float64bits(f))
			if !exactFloat(text, f) {
				r.Rescue(col, text)
			}
			return end
		}
	}
	v.Kind, v.Str = schema.String, text // an integer beyond int64, or beyond float64
	return end
}

// exactFloat tells whether f, printed with as many digits as text has, is text again.
func exactFloat(text string, f float64) bool {
	if len(text) <= 15 { // no number of up to 15 digits is changed by float64
		return true
	}
	var a, b [64]byte
	digits, _ := significant(a[:0], text)
	if len(digits) <= 15 {
		return true
	}
	if len(digits) > 60 {
		return false
	}
	printed := strconv.AppendFloat(b[:0], f, 'e', len(digits)-1, 64)
	var c [80]byte
	got, _ := significant(c[:0], Text(printed))
	return string(got) == string(digits)
}

// significant appends the digits of a number without leading and trailing zeros.
func significant(dst []byte, text string) ([]byte, bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c|0x20 == 'e' {
			break
		}
		if c < '0' || c > '9' || (c == '0' && len(dst) == 0) {
			continue
		}
		dst = append(dst, c)
	}
	for len(dst) > 0 && dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst, len(dst) > 0
}

// VariableScale reads the object text of Debezium's VariableScaleDecimal, {"scale":1,"value":"base64"}, which has this
// form also without schemas (Oracle NUMBER, PostgreSQL numeric), and gives the number's digits.
func (r *Reader) VariableScale(text string) (string, bool) {
	if len(text) > 512 {
		return "", false
	}
	i, more := Open(text, 0, '}')
	scale, value := "", ""
	for n := 0; more; n++ {
		name, _, next := Member(text, i)
		if next < 0 || n > 1 {
			return "", false
		}
		if i = Skip(text, next); i < 0 {
			return "", false
		}
		switch tok := text[next:i]; {
		case name == "scale" && tok[0] != '"':
			scale = tok
		case name == "value" && tok[0] == '"':
			value = tok[1 : len(tok)-1]
		default:
			return "", false
		}
		if i, more = Next(text, i, '}'); i < 0 {
			return "", false
		}
	}
	if scale == "" || value == "" {
		return "", false
	}
	n, err := strconv.ParseInt(scale, 10, 16)
	if err != nil {
		return "", false
	}
	unscaled, ok := r.Base64(value)
	if !ok || unscaled == "" {
		return "", false
	}
	r.VarDecimals++
	var buf [64]byte
	d := AppendDecimal(buf[:0], unscaled, int(n))
	if r.Canonical {
		return r.Keep([]byte(CanonicalDecimal(Text(d)))), true
	}
	return r.Keep(d), true
}
