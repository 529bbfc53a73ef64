// Package event holds what the decoders of small JSON formats share: reading the value's members, rows of them, keys
// picked from rows, times.
package event

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/schema"
)

// Reader is the base of a decoder. It is owned by one goroutine.
type Reader struct {
	R       js.Reader
	Options cdc.Options
	// Keys are the columns of silver.keys, for formats whose events do not name their key.
	Keys    []string
	sources map[connectors.Source]*connectors.Source
	slots   map[string]*js.Slot
}

// New makes a Reader.
func New(o cdc.Options) (*Reader, error) {
	p, err := js.NewPlaceholder(o.Placeholder)
	if err != nil {
		return nil, err
	}
	e := &Reader{Options: o, sources: map[connectors.Source]*connectors.Source{}, slots: map[string]*js.Slot{}}
	e.R.Placeholder = p
	for k := range strings.SplitSeq(o.Config["silver.keys"], ",") {
		if k = strings.TrimSpace(k); k != "" {
			e.Keys = append(e.Keys, k)
		}
	}
	return e, nil
}

// Setting gives a key of the connector's configuration, or its default.
func (e *Reader) Setting(key, otherwise string) string {
	if v := e.Options.Config[key]; v != "" {
		return v
	}
	return otherwise
}

// Field is a member of an object: its text as sent.
type Field struct{ Name, Text string }

// Fields are the members of an object.
type Fields []Field

// Get gives the text of a member, "" where it is absent or null. The last one of a name counts.
func (f Fields) Get(name string) string {
	t, _ := f.Find(name)
	if t == "null" {
		return ""
	}
	return t
}

// Find gives the text of a member and whether it is there.
func (f Fields) Find(name string) (string, bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Name == name {
			return f[i].Text, true
		}
	}
	return "", false
}

// Object reads the record's value. none tells that there is no value: null, empty, or the text null.
func (e *Reader) Object(rec *connectors.Record) (f Fields, none bool, err error) {
	e.R.Err = nil
	s := strings.TrimPrefix(js.Text(rec.Value), "\uFEFF")
	if len(s) == 0 {
		if rec.Value != nil && e.Options.EmptyValueIsPoison {
			return nil, false, connectors.Poison(connectors.ClassMalformed, "the value is empty (not null)")
		}
		return nil, true, nil
	}
	if !utf8.ValidString(s) {
		return nil, false, connectors.Poison(connectors.ClassMalformed, "the value is not valid UTF-8")
	}
	i := js.Space(s, 0)
	if end := js.Null(s, i); end >= 0 && js.Space(s, end) == len(s) {
		return nil, true, nil
	}
	f, err = e.Split(s)
	if err != nil {
		return nil, false, err
	}
	if len(f) == 2 { // the Connect handler of GoldenGate and others may send a schema, which adds nothing here
		if _, ok := f.Find("schema"); ok {
			if p, ok := f.Find("payload"); ok {
				if p == "null" {
					return nil, true, nil
				}
				if p[0] == '{' {
					f, err = e.Split(p)
				}
			}
		}
	}
	return f, false, err
}

// Split reads the members of the object that s is.
func (e *Reader) Split(s string) (Fields, error) {
	i := js.Space(s, 0)
	if i >= len(s) || s[i] != '{' {
		return nil, connectors.Poison(connectors.ClassMalformed, "not a JSON object: %q", js.Excerpt(s, i))
	}
	var f Fields
	i, more := js.Open(s, i, '}')
	for more {
		name, escaped, at := js.Member(s, i)
		if at < 0 {
			return nil, malformed(s, i)
		}
		if escaped {
			name, _ = e.R.Unescape(name)
		}
		if i = js.Skip(s, at); i < 0 {
			return nil, malformed(s, at)
		}
		f = append(f, Field{Name: name, Text: s[at:i]})
		if i, more = js.Next(s, i, '}'); i < 0 {
			return nil, malformed(s, at)
		}
	}
	if js.Space(s, i) != len(s) {
		return nil, malformed(s, i)
	}
	return f, nil
}

func malformed(s string, i int) error {
	return connectors.Poison(connectors.ClassMalformed, "not JSON near %q", js.Excerpt(s, i))
}

// Items reads the elements of the array that s is.
func (e *Reader) Items(s string) ([]string, error) {
	if s == "" || s[0] != '[' {
		return nil, connectors.Poison(connectors.ClassMalformed, "not a JSON array: %q", js.Excerpt(s, 0))
	}
	var out []string
	i, more := js.Open(s, 0, ']')
	for more {
		at := i
		if i = js.Skip(s, at); i < 0 {
			return nil, malformed(s, at)
		}
		out = append(out, s[at:i])
		if i, more = js.Next(s, i, ']'); i < 0 {
			return nil, malformed(s, at)
		}
	}
	return out, nil
}

// Str gives the text of a JSON string, or any other value's text as it is.
func (e *Reader) Str(text string) string {
	if text == "" || text[0] != '"' {
		return text
	}
	t, _, _ := e.R.Str(text, 0)
	return t
}

// Texts gives the elements of an array of strings.
func (e *Reader) Texts(array string) ([]string, error) {
	if array == "" {
		return nil, nil
	}
	items, err := e.Items(array)
	for i := range items {
		items[i] = e.Str(items[i])
	}
	return items, err
}

// Row reads an object as a row. role keeps the shapes of different rows apart.
func (e *Reader) Row(text, role string) (connectors.Row, error) {
	if text == "" || text[0] != '{' {
		return connectors.Row{}, connectors.Poison(connectors.ClassMalformed, "%s is not an object: %q", role, js.Excerpt(text, 0))
	}
	s := e.slots[role]
	if s == nil {
		s = &js.Slot{}
		e.slots[role] = s
	}
	row, next := e.R.PlainRow(text, 0, s)
	if next < 0 {
		return connectors.Row{}, e.R.Err
	}
	return row, nil
}

// Pick makes a row of the named columns; zero where one of them is missing or has no value.
func (e *Reader) Pick(row connectors.Row, names []string) connectors.Row {
	if len(names) == 0 || row.IsZero() {
		return connectors.Row{}
	}
	vals := e.R.Values(len(names))
	for i, n := range names {
		if vals[i] = row.Get(n); vals[i].State != connectors.Present && vals[i].State != connectors.Null {
			return connectors.Row{}
		}
	}
	return connectors.Row{Shape: e.R.ShapeOf(names), Values: vals}
}

// KeyOf gives the key of a row, by the columns that the event names as its key, each of which has to be there; by
// silver.keys where it names none.
func (e *Reader) KeyOf(row connectors.Row, named []string) (connectors.Row, error) {
	if len(named) == 0 {
		return e.Pick(row, e.Keys), nil
	}
	for _, n := range named {
		if v := row.Get(n); v.State != connectors.Present && v.State != connectors.Null {
			return connectors.Row{}, connectors.Poison(connectors.ClassIncomplete, "column %s of the key is missing", n)
		}
	}
	return e.Pick(row, named), nil
}

// Overlay gives base with the columns that over mentions taken from over.
func (e *Reader) Overlay(base, over connectors.Row) connectors.Row {
	if over.IsZero() || len(over.Values) == 0 {
		return base
	}
	if base.IsZero() {
		return over
	}
	names := append([]string(nil), base.Shape.Names...)
	vals := append([]connectors.Value(nil), base.Values...)
	types := append([]schema.Type(nil), base.Shape.Types...)
	for i, n := range over.Shape.Names {
		if j := base.Shape.Index(n); j >= 0 {
			vals[j] = over.Values[i]
			continue
		}
		names, vals = append(names, n), append(vals, over.Values[i])
		if types != nil {
			types = append(types, over.Shape.Types[i])
		}
	}
	if types != nil {
		if len(names) == len(base.Shape.Names) {
			return connectors.Row{Shape: base.Shape, Values: vals}
		}
		return connectors.Row{Shape: &connectors.Shape{Names: names, Types: types}, Values: vals}
	}
	return connectors.Row{Shape: e.R.ShapeOf(names), Values: vals}
}

// Without gives row without the columns for which drop says so.
func (e *Reader) Without(row connectors.Row, drop func(string) bool) connectors.Row {
	n := 0
	for _, name := range row.Shape.Names {
		if drop(name) {
			n++
		}
	}
	if n == 0 {
		return row
	}
	names := make([]string, 0, len(row.Values)-n)
	vals := e.R.Values(len(row.Values) - n)
	out := connectors.Row{}
	for i, name := range row.Shape.Names {
		if drop(name) {
			continue
		}
		vals[len(names)] = row.Values[i]
		for _, x := range row.Rescued() {
			if x.Column == i {
				out.Rescue(connectors.Rescued{Column: len(names), Text: x.Text})
			}
		}
		names = append(names, name)
	}
	out.Shape, out.Values = e.R.ShapeOf(names), vals
	return out
}

// Same tells whether two keys have the same columns and values.
func Same(a, b connectors.Row) bool {
	if a.IsZero() || b.IsZero() || len(a.Values) != len(b.Values) {
		return a.IsZero() && b.IsZero()
	}
	for i, n := range a.Shape.Names {
		if !a.Values[i].Equal(b.Get(n)) {
			return false
		}
	}
	return true
}

// Source gives the shared Source equal to s.
func (e *Reader) Source(s connectors.Source) *connectors.Source {
	if x, ok := e.sources[s]; ok {
		return x
	}
	if len(e.sources) > 4096 {
		clear(e.sources)
	}
	x := &connectors.Source{Connector: strings.Clone(s.Connector), Version: strings.Clone(s.Version), Name: strings.Clone(s.Name),
		DB: strings.Clone(s.DB), Schema: strings.Clone(s.Schema), Table: strings.Clone(s.Table)}
	e.sources[*x] = x
	return x
}

// KeyChange splits a change of key: it appends, in front of the update c, the delete of the old key at the same
// position; both name the other's key.
func KeyChange(dst []connectors.Change, c connectors.Change, old connectors.Row, del, upsert connectors.Position) []connectors.Change {
	d := c
	d.Op, d.OpText = connectors.Delete, "d"
	d.Key, d.After = old, connectors.Row{}
	d.SetKeyHints(d.OldKey(), c.Key)
	d.Position = del
	c.Sub = d.Sub + 1
	c.SetKeyHints(old, c.NewKey())
	c.Position = upsert
	return append(dst, d, c)
}

// Int reads an integer that may be sent as text.
func (e *Reader) Int(text string) (int64, bool) {
	n, err := strconv.ParseInt(e.Str(text), 10, 64)
	return n, err == nil
}

// Time reads a timestamp text: ISO with T or blank, with offset or without (then it is UTC). 0: there is none.
func (e *Reader) Time(text string) (ns int64, digits int8) {
	t := e.Str(text)
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02:15:04:05.999999999"} {
		if x, err := time.Parse(layout, t); err == nil {
			if x.Year() < 1678 || x.Year() > 2261 {
				return 0, 0
			}
			digits = 0
			if _, frac, ok := strings.Cut(t, "."); ok {
				n := 0
				for n < len(frac) && frac[n]-'0' <= 9 {
					n++
				}
				digits = int8(min(9, (n+2)/3*3))
			}
			return x.UnixNano(), digits
		}
	}
	return 0, 0
}

// Tombstone makes c a record without value; key reads its key.
func Tombstone(c *connectors.Change) {
	c.Kind, c.OpText = connectors.Tombstone, "tombstone"
	c.Raw.Complete = true
}

// Control makes c an event that changes no row.
func Control(c *connectors.Change, k connectors.ControlKind) {
	c.Kind, c.ControlKind, c.OpText = connectors.Control, k, "control"
}

// OpText gives the letter of an operation.
func OpText(op connectors.Op) string {
	switch op {
	case connectors.Insert:
		return "c"
	case connectors.Update:
		return "u"
	case connectors.Delete:
		return "d"
	case connectors.Read:
		return "r"
	case connectors.Truncate:
		return "t"
	case connectors.Message:
		return "m"
	}
	return ""
}

// SubOrder gives the last byte of a position.
func SubOrder(op connectors.Op) byte {
	switch op {
	case connectors.Delete, connectors.Truncate:
		return 0
	case connectors.Read:
		return 1
	}
	return 2
}
