package debezium

import (
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/cdc/internal/typed"
)

// Name is the format's name in cdc.format.
const Name = "debezium"

// KeyColumn is the column of a key that is a single value rather than an object.
const KeyColumn = "_key"

// Format is the entry for a registry.
func Format() cdc.Format {
	return cdc.Format{
		Name: Name,
		Doc:  "Debezium change events in JSON, with or without embedded schemas",
		New:  func(o cdc.Options) (connectors.Decoder, error) { return New(o) },
	}
}

// Decoder decodes Debezium's JSON. It is owned by one goroutine.
type Decoder struct {
	opts    cdc.Options
	signals []string
	r       js.Reader

	values schemaCache // of record values
	keys   schemaCache // of record keys and key headers

	env, src, tx        *js.Names
	e                   envelope
	s                   sourceBlock
	sources             map[string]*source
	lastSource          *source
	moved               bool         // the source block that was read may be of another source than lastSource
	last                []lastMember // of the source block before
	lineages            lineageCache
	txs                 []connectors.Tx // to carve from
	afterSlot, befSlot  js.Slot
	keySlot, headerSlot js.Slot
	docSlot, flatSlot   js.Slot
	scratch             []byte
}

var (
	_ connectors.Decoder   = (*Decoder)(nil)
	_ connectors.Rebuilder = (*Decoder)(nil)
)

// New makes a decoder. The error is about the options.
func New(o cdc.Options) (*Decoder, error) {
	p, err := js.NewPlaceholder(o.Placeholder)
	if err != nil {
		return nil, err
	}
	d := &Decoder{opts: o, signals: o.SignalTables}
	if d.signals == nil {
		d.signals = []string{"debezium_signal", "dbz_signal"}
	}
	d.r.Placeholder = p
	d.env = js.NewNames(envelopeNames...)
	d.src = js.NewNames(sourceNames...)
	d.tx = js.NewNames("id", "total_order", "data_collection_order")
	d.sources = make(map[string]*source)
	return d, nil
}

// Decode implements connectors.Decoder.
func (d *Decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	n := len(dst)
	if n < cap(dst) {
		dst = dst[:n+1]
		dst[n] = connectors.Change{}
	} else {
		dst = append(dst, connectors.Change{})
	}
	c := &dst[n]
	c.Record = rec
	d.r.Err = nil
	if err := d.decode(c, rec); err != nil {
		dst[n] = connectors.Change{}
		return dst[:n], err
	}
	return dst, nil
}

func (d *Decoder) decode(c *connectors.Change, rec *connectors.Record) error {
	s := js.Text(rec.Value)
	if len(s) == 0 {
		if rec.Value != nil && d.opts.EmptyValueIsPoison {
			return connectors.Poison(connectors.ClassMalformed, "the value is empty (not null)")
		}
		return d.tombstone(c, rec)
	}
	s = strings.TrimPrefix(s, "\uFEFF")
	i := js.Space(s, 0)
	if i >= len(s) || s[i] != '{' {
		if end := js.Null(s, i); end >= 0 && js.Space(s, end) == len(s) {
			return d.tombstone(c, rec)
		}
		if s[0] <= 1 {
			return connectors.Poison(connectors.ClassMalformed,
				"the value starts with byte 0x%02x: it was framed for a schema registry, and those are not asked; let the source write JSON (JsonConverter)", s[0])
		}
		return connectors.Poison(connectors.ClassMalformed, "the value is not a JSON object: %q", js.Excerpt(s, i))
	}
	d.e.reset()
	sch, payload, wrapped, err := d.unwrap(s, i)
	if err != nil {
		return err
	}
	if wrapped {
		i = payload
		if js.Null(s, i) >= 0 {
			return d.tombstone(c, rec)
		}
		if i >= len(s) || s[i] != '{' {
			return connectors.Poison(connectors.ClassMalformed, "payload is not an object: %q", js.Excerpt(s, i))
		}
	} else if !utf8.ValidString(s) {
		return connectors.Poison(connectors.ClassMalformed, "the value is not valid UTF-8")
	}
	d.r.Detect, d.r.Found = true, 0
	if i = d.envelope(s, i, sch); i < 0 {
		return d.r.Err
	}
	if wrapped {
		if i = js.Space(s, i); i >= len(s) || s[i] != '}' {
			return connectors.Poison(connectors.ClassMalformed, "beside schema and payload there is more: %q", js.Excerpt(s, i))
		}
		i++
	}
	if js.Space(s, i) != len(s) {
		return connectors.Poison(connectors.ClassMalformed, "there is text behind the value: %q", js.Excerpt(s, i))
	}
	if !wrapped && d.e.has(envPayload) && d.e.has(envSchema) && d.e.members == 2 {
		return d.payloadFirst(c, rec)
	}
	return d.meaning(c, rec, sch)
}

// payloadFirst reads {"payload":…,"schema":…}: the schema is needed before the payload, so it is read again in order.
func (d *Decoder) payloadFirst(c *connectors.Change, rec *connectors.Record) error {
	schemaText, payload := d.e.text[envSchema], d.e.text[envPayload]
	if payload == "null" {
		return d.tombstone(c, rec)
	}
	var sch *compiled
	if schemaText != "null" {
		var err error
		if sch, err = d.values.compile(schemaText, compileEnvelope); err != nil {
			return err
		}
	}
	d.e.reset()
	d.r.Detect, d.r.Found = true, 0
	if payload == "" || payload[0] != '{' {
		return connectors.Poison(connectors.ClassMalformed, "payload is not an object")
	}
	if d.envelope(payload, 0, sch) < 0 {
		return d.r.Err
	}
	return d.meaning(c, rec, sch)
}

// unwrap reads {"schema":…,"payload": of a value with embedded schema. It gives the compiled schema (nil for a null
// one) and the index of the payload; wrapped is false where the value does not begin so.
func (d *Decoder) unwrap(s string, i int) (sch *compiled, payload int, wrapped bool, err error) {
	i, more := js.Open(s, i, '}')
	if !more || !strings.HasPrefix(s[i:], `"schema"`) {
		return nil, 0, false, nil
	}
	_, _, i = js.Member(s, i)
	if i < 0 || i >= len(s) {
		return nil, 0, false, nil
	}
	start := i
	if s[i] == '{' {
		if sch, i = d.values.find(s, i); sch == nil {
			if i = js.Skip(s, start); i < 0 {
				return nil, 0, false, nil // the scanner of the envelope says where it breaks
			}
		}
	} else if i = js.Null(s, i); i < 0 {
		return nil, 0, false, nil
	}
	next, more := js.Next(s, i, '}')
	if !more || !strings.HasPrefix(s[next:], `"payload"`) {
		return nil, 0, false, nil
	}
	if _, _, payload = js.Member(s, next); payload < 0 {
		return nil, 0, false, nil
	}
	if sch == nil && s[start] == '{' {
		if !utf8.ValidString(s) {
			return nil, 0, false, nil
		}
		if sch, err = d.values.compile(s[start:i], compileEnvelope); err != nil {
			return nil, 0, false, err
		}
	}
	if !utf8.ValidString(s[i:]) {
		return nil, 0, false, connectors.Poison(connectors.ClassMalformed, "the value is not valid UTF-8")
	}
	return sch, payload, true, nil
}

// compiled is an embedded schema that was seen: its exact text and what it means.
type compiled struct {
	text          string
	root          *typed.Type
	before, after *typed.Type // row structs of an envelope; nil where they are none
}

// schemaCache keeps the last schemas, newest first.
type schemaCache struct {
	list  []*compiled
	bytes int
}

const (
	maxSchemas     = 64
	maxSchemaBytes = 16 << 20
)

// find compares the text at i with the schemas seen. A JSON object ends at its own closing brace, so a text that
// starts with a known schema is that schema.
func (c *schemaCache) find(s string, i int) (*compiled, int) {
	for k, x := range c.list {
		if len(s)-i > len(x.text) && s[i:i+len(x.text)] == x.text {
			if k > 0 {
				copy(c.list[1:k+1], c.list[:k])
				c.list[0] = x
			}
			return x, i + len(x.text)
		}
	}
	return nil, -1
}

func (c *schemaCache) compile(text string, more func(*compiled)) (*compiled, error) {
	root, err := typed.Compile(text)
	if err != nil {
		return nil, &connectors.DecodeError{Class: connectors.ClassMalformed, Reason: "the schema sent with the record cannot be read", Err: err}
	}
	x := &compiled{text: strings.Clone(text), root: root}
	if more != nil {
		more(x)
	}
	c.bytes += len(text)
	for len(c.list) >= maxSchemas || c.bytes > maxSchemaBytes && len(c.list) > 0 {
		last := c.list[len(c.list)-1]
		c.bytes -= len(last.text)
		c.list = c.list[:len(c.list)-1]
	}
	c.list = append(c.list, nil)
	copy(c.list[1:], c.list)
	c.list[0] = x
	return x, nil
}

func compileEnvelope(x *compiled) {
	if t := x.root.Field("before"); t.IsStruct() {
		x.before = t
	}
	if t := x.root.Field("after"); t.IsStruct() {
		x.after = t
	}
}
