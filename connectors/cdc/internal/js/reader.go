package js

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
)

// Sizes of the slabs that values and bytes are carved from. A slab lives as long as anything carved from it.
const (
	slabValues = 1024
	slabBytes  = 32 << 10
)

// Reader holds what reading needs from record to record: memory to carve from, the shapes seen, the placeholder to
// look for. It is used by one goroutine. What it gives out is never reused.
type Reader struct {
	// Placeholder is what a source sends for a value that it did not send. nil: none is looked for.
	Placeholder *Placeholder
	// Detect switches the search for placeholders; Found counts those found since it was last set to 0.
	Detect bool
	Found  int
	// Canonical asks for decimals of variable scale without zeros behind the fraction (keys); VarDecimals counts those
	// read since it was last set to 0.
	Canonical   bool
	VarDecimals int
	// Err is why the last call gave -1.
	Err error

	slab    []connectors.Value
	used    int // of slab
	bytes   []byte
	rescued []connectors.Rescued

	shapes  map[string]*PlainShape
	scratch []byte
	members []member
}

// Values carves n absent values.
func (r *Reader) Values(n int) []connectors.Value {
	if n > len(r.slab)-r.used {
		r.slab, r.used = make([]connectors.Value, max(n, slabValues)), 0
	}
	v := r.slab[r.used : r.used+n : r.used+n]
	r.used += n
	return v
}

// unread gives back what the last call of Values gave.
func (r *Reader) unread(vals []connectors.Value) {
	clear(vals)
	r.used -= len(vals)
}

// Bytes carves n bytes.
func (r *Reader) Bytes(n int) []byte {
	if n > len(r.bytes) {
		if n > slabBytes/4 {
			return make([]byte, n)
		}
		r.bytes = make([]byte, slabBytes)
	}
	b := r.bytes[:n:n]
	r.bytes = r.bytes[n:]
	return b
}

// Keep gives a copy of b that lives as long as it is used.
func (r *Reader) Keep(b []byte) string {
	d := r.Bytes(len(b))
	copy(d, b)
	return Text(d)
}

// Fail keeps the reason for a -1.
func (r *Reader) Fail(class, format string, args ...any) int {
	r.Err = connectors.Poison(class, format, args...)
	return -1
}

// Malformed keeps the place where the text stops being JSON.
func (r *Reader) Malformed(s string, i int) int {
	if r.Err == nil {
		r.Err = connectors.Poison(connectors.ClassMalformed, "not JSON near %q", Excerpt(s, i))
	}
	return -1
}

// Excerpt gives some text around i for a person to find the place.
func Excerpt(s string, i int) string {
	if i < 0 || i > len(s) {
		i = len(s)
	}
	from, to := max(0, i-12), min(len(s), i+24)
	return strings.ToValidUTF8(s[from:to], "\uFFFD")
}

// Rescue keeps the text of a value that its column cannot hold.
func (r *Reader) Rescue(col int, text string) {
	r.rescued = append(r.rescued, connectors.Rescued{Column: col, Text: text})
}

// StartRow forgets texts that were kept for a row that was given up.
func (r *Reader) StartRow() { r.rescued = r.rescued[:0] }

// EndRow gives the texts kept since StartRow. Of several for a column the last one counts.
func (r *Reader) EndRow() []connectors.Rescued {
	if len(r.rescued) == 0 {
		return nil
	}
	out := make([]connectors.Rescued, 0, len(r.rescued))
next:
	for i, x := range r.rescued {
		for _, y := range r.rescued[i+1:] {
			if y.Column == x.Column {
				continue next
			}
		}
		out = append(out, x)
	}
	r.rescued = r.rescued[:0]
	return out
}

// Unescape gives the text that the inside of a JSON string stands for. A lone surrogate has no text: it becomes
// U+FFFD, and lossy is true.
func (r *Reader) Unescape(raw string) (text string, lossy bool) {
	d := r.Bytes(len(raw))[:0]
	for i := 0; i < len(raw); {
		j := strings.IndexByte(raw[i:], '\\')
		if j < 0 {
			d = append(d, raw[i:]...)
			break
		}
		d = append(d, raw[i:i+j]...)
		i += j
		switch raw[i+1] {
		case 'b':
			d = append(d, '\b')
		case 'f':
			d = append(d, '\f')
		case 'n':
			d = append(d, '\n')
		case 'r':
			d = append(d, '\r')
		case 't':
			d = append(d, '\t')
		case 'u':
			u := hex4(raw[i+2 : i+6])
			i += 6
			if utf16.IsSurrogate(u) {
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					if p := utf16.DecodeRune(u, hex4(raw[i+2:i+6])); p != utf8.RuneError {
						d = utf8.AppendRune(d, p)
						i += 6
						continue
					}
				}
				lossy = true
				u = utf8.RuneError
			}
			d = utf8.AppendRune(d, u)
			continue
		default:
			d = append(d, raw[i+1])
		}
		i += 2
	}
	return Text(d), lossy
}

// Str reads the string at i and gives its text. lossy: see Unescape.
func (r *Reader) Str(s string, i int) (text string, lossy bool, next int) {
	end, escaped := String(s, i)
	if end < 0 {
		return "", false, r.Malformed(s, i)
	}
	text = s[i+1 : end-1]
	if escaped {
		text, lossy = r.Unescape(text)
	}
	return text, lossy, end
}

// Base64 decodes standard base64 into memory of the reader.
func (r *Reader) Base64(text string) (string, bool) {
	d := r.Bytes(base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(d, View(text))
	if err != nil {
		return "", false
	}
	return Text(d[:n]), true
}
