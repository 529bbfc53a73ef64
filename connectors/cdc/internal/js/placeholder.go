package js

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// DefaultPlaceholder is Debezium's default of unavailable.value.placeholder.
const DefaultPlaceholder = "__debezium_unavailable_value"

// Placeholder knows all forms in which Debezium sends its placeholder (UnchangedToastedPlaceholder.java): text, bytes
// in any text form, array of one, array of its character codes, map, UUID of its name.
type Placeholder struct {
	// Text is the placeholder as text, Base64 its bytes as JSON sends them, UUID the name-based UUID of it.
	Text, Base64, UUID string
	texts              []string // forms that a JSON string may have
	nested             []string // forms that a JSON array or object may have, without white space
	minText, maxText   int
	minNested          int
	maxNested          int
}

// NewPlaceholder makes the forms of a configured placeholder: a text, or "hex:" and bytes.
func NewPlaceholder(configured string) (*Placeholder, error) {
	if configured == "" {
		configured = DefaultPlaceholder
	}
	raw := configured
	if h, ok := strings.CutPrefix(configured, "hex:"); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(h, " ", ""))
		if err != nil {
			return nil, fmt.Errorf("unavailable.value.placeholder %q: %w", configured, err)
		}
		raw = string(b)
	}
	if raw == "" {
		return nil, fmt.Errorf("unavailable.value.placeholder %q is empty", configured)
	}
	sum := md5.Sum([]byte(raw)) // java.util.UUID.nameUUIDFromBytes
	sum[6] = sum[6]&0x0f | 0x30
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:])
	p := &Placeholder{
		Text:   raw,
		Base64: base64.StdEncoding.EncodeToString([]byte(raw)),
		UUID:   h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:],
	}
	q, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("unavailable.value.placeholder: %w", err)
	}
	quoted := string(q)
	object := "{" + quoted + ":" + quoted + "}" // hstore as JSON text
	p.texts = []string{raw, p.Base64, base64.URLEncoding.EncodeToString([]byte(raw)), hex.EncodeToString([]byte(raw)), object}
	codes := make([]string, len(raw))
	for i := range len(raw) {
		codes[i] = strconv.Itoa(int(int8(raw[i])))
	}
	p.nested = []string{
		"[" + quoted + "]", `["` + p.Base64 + `"]`, `["` + p.UUID + `"]`,
		"[" + strings.Join(codes, ",") + "]", object,
		"[[" + quoted + "," + quoted + "]]", // a map whose key may be null is an array of pairs
	}
	p.minText, p.maxText = bounds(p.texts)
	p.minNested, p.maxNested = bounds(p.nested)
	return p, nil
}

func bounds(texts []string) (lo, hi int) {
	lo = len(texts[0])
	for _, t := range texts {
		lo, hi = min(lo, len(t)), max(hi, len(t))
	}
	return lo, hi
}

// IsText tells whether the text of a JSON string is, as a whole, a form of the placeholder.
func (p *Placeholder) IsText(s string) bool {
	if len(s) < p.minText || len(s) > p.maxText {
		return false
	}
	for _, t := range p.texts {
		if s == t {
			return true
		}
	}
	return false
}

// IsNested tells whether the text of a JSON array or object is a form of the placeholder.
func (p *Placeholder) IsNested(s string) bool {
	if len(s) < p.minNested || len(s) > 4*p.maxNested {
		return false
	}
	if strings.ContainsAny(s, " \t\r\n") {
		s = strings.Map(func(r rune) rune {
			if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
				return -1
			}
			return r
		}, s)
	}
	for _, t := range p.nested {
		if s == t {
			return true
		}
	}
	return false
}
