package delta

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors/delta/dv"
)

// parser reads the lines of commits, JSON checkpoints, hints and checksums. It keeps memory between lines: one parser
// for one load, used by one goroutine. What it returns does not point into its memory.
type parser struct {
	json  fastjson.Parser
	parts interner
	adds  []Add // slab
}

// commit reads a whole NDJSON file. Unknown actions and members are ignored (PROTOCOL.md, "Protocol Evolution").
func (p *parser) commit(data []byte) (*Actions, error) {
	a := &Actions{}
	var offset int64
	for line := 1; len(data) > 0; line++ {
		text, rest, found := bytes.Cut(data, []byte{'\n'})
		if err := p.line(a, text); err != nil {
			return nil, &lineError{line: line, offset: offset, err: err}
		}
		offset += int64(len(text))
		if found {
			offset++
		}
		data = rest
	}
	return a, nil
}

func (p *parser) line(a *Actions, text []byte) error {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil
	}
	v, err := p.json.ParseBytes(text)
	if err != nil {
		return fmt.Errorf("not JSON: %w", shorten(err))
	}
	obj, err := v.Object()
	if err != nil {
		return fmt.Errorf("an action must be an object, this is %s", v.Type())
	}
	obj.Visit(func(key []byte, v *fastjson.Value) {
		if err != nil || v.Type() == fastjson.TypeNull {
			return
		}
		switch string(key) {
		case "add", "remove", "cdc", "txn", "metaData", "protocol", "commitInfo", "domainMetadata", "sidecar",
			"checkpointMetadata":
			if v.Type() != fastjson.TypeObject {
				err = fmt.Errorf("%s must be an object, this is %s", key, v.Type())
				return
			}
			if e := p.action(a, string(key), v, text); e != nil {
				err = fmt.Errorf("%s: %w", key, e)
			}
		}
	})
	return err
}

// shorten keeps errors of the JSON parser, which quote all that is left of the input, at a size to be read.
func shorten(err error) error {
	const most = 300
	if s := err.Error(); len(s) > most {
		return errors.New(strings.ToValidUTF8(s[:most], "") + "…")
	}
	return err
}

func (p *parser) action(a *Actions, kind string, v *fastjson.Value, text []byte) error {
	f := fields{v: v}
	switch kind {
	case "add":
		add := p.newAdd()
		p.readAdd(&f, add)
		if f.err == nil {
			a.Adds = append(a.Adds, add)
		}
	case "remove":
		r := &Remove{
			Path: f.need("path"), DeletionTimestamp: f.int("deletionTimestamp"), DataChange: f.bool("dataChange"),
			ExtendedFileMetadata: f.bool("extendedFileMetadata"), PartitionValues: p.partition(&f), Size: -1,
			Stats: f.str("stats"), Tags: f.strings("tags"), DeletionVector: f.dv(), BaseRowID: f.intPtr("baseRowId"),
			DefaultRowCommitVersion: f.intPtr("defaultRowCommitVersion"),
		}
		if s := f.intPtr("size"); s != nil {
			r.Size = *s
		}
		a.Removes = append(a.Removes, r)
	case "cdc":
		a.CDC = append(a.CDC, &AddCDC{Path: f.need("path"), PartitionValues: p.partition(&f), Size: f.int("size"),
			Tags: f.strings("tags")})
	case "txn":
		a.Txns = append(a.Txns, &Txn{AppID: f.need("appId"), Version: f.int("version"), LastUpdated: f.int("lastUpdated")})
	case "domainMetadata":
		a.Domains = append(a.Domains, &DomainMetadata{Domain: f.need("domain"), Configuration: f.str("configuration"),
			Removed: f.bool("removed")})
	case "protocol":
		if a.Protocol != nil {
			return errors.New("a second protocol in one commit")
		}
		a.Protocol = readProtocol(&f)
	case "metaData":
		if a.Metadata != nil {
			return errors.New("a second metaData in one commit")
		}
		a.Metadata = readMetadata(&f)
	case "commitInfo":
		a.CommitInfo = readCommitInfo(v, text)
	case "sidecar":
		a.Sidecars = append(a.Sidecars, &Sidecar{Path: f.need("path"), SizeInBytes: f.int("sizeInBytes"),
			ModificationTime: f.int("modificationTime"), Tags: f.strings("tags")})
	case "checkpointMetadata":
		a.Checkpoint = &CheckpointMetadata{Version: f.int("version"), Tags: f.strings("tags")}
	}
	return f.err
}

// newAdd gives memory from a slab: a load makes hundreds of thousands.
func (p *parser) newAdd() *Add {
	if len(p.adds) == 0 {
		p.adds = make([]Add, 32)
	}
	a := &p.adds[0]
	p.adds = p.adds[1:]
	return a
}

func (p *parser) readAdd(f *fields, a *Add) {
	*a = Add{
		Path: f.need("path"), PartitionValues: p.partition(f), Size: f.int("size"),
		ModificationTime: f.int("modificationTime"), DataChange: f.bool("dataChange"), Stats: f.str("stats"),
		Tags: f.strings("tags"), DeletionVector: f.dv(), BaseRowID: f.intPtr("baseRowId"),
		DefaultRowCommitVersion: f.intPtr("defaultRowCommitVersion"), ClusteringProvider: f.str("clusteringProvider"),
	}
}

func readProtocol(f *fields) *Protocol {
	p := &Protocol{
		MinReaderVersion: int(min(f.int("minReaderVersion"), math.MaxInt32)),
		MinWriterVersion: int(min(f.int("minWriterVersion"), math.MaxInt32)),
		ReaderFeatures:   f.list("readerFeatures"), WriterFeatures: f.list("writerFeatures"),
	}
	if f.err == nil && (p.MinReaderVersion < 1 || p.MinWriterVersion < 1) {
		f.err = errors.New("minReaderVersion and minWriterVersion must be there and at least 1")
	}
	return p
}

func readMetadata(f *fields) *Metadata {
	m := &Metadata{
		ID: f.str("id"), Name: f.str("name"), Description: f.str("description"), SchemaString: f.str("schemaString"),
		PartitionColumns: f.list("partitionColumns"), Configuration: f.strings("configuration"),
		CreatedTime: f.int("createdTime"), Format: Format{Provider: "parquet"},
	}
	if v := f.v.Get("format"); v != nil && v.Type() == fastjson.TypeObject {
		g := fields{v: v}
		if s := g.str("provider"); s != "" {
			m.Format.Provider = s
		}
		m.Format.Options = g.strings("options")
	}
	return m
}

// readCommitInfo takes what it understands: the action is free-form, and never a reason to refuse a commit.
func readCommitInfo(v *fastjson.Value, text []byte) *CommitInfo {
	lenient := func(name string) string {
		m := v.Get(name)
		switch {
		case m == nil || m.Type() == fastjson.TypeNull:
			return ""
		case m.Type() == fastjson.TypeString:
			return string(m.GetStringBytes())
		}
		return string(m.MarshalTo(nil))
	}
	number := func(name string) *int64 {
		m := v.Get(name)
		if m == nil {
			return nil
		}
		i, err := m.Int64()
		if err != nil {
			return nil
		}
		return &i
	}
	object := func(name string) map[string]string {
		m := v.Get(name)
		if m == nil || m.Type() != fastjson.TypeObject {
			return nil
		}
		out := map[string]string{}
		m.GetObject().Visit(func(k []byte, v *fastjson.Value) {
			if v.Type() == fastjson.TypeString {
				out[string(k)] = string(v.GetStringBytes())
			} else {
				out[string(k)] = string(v.MarshalTo(nil))
			}
		})
		return out
	}
	ci := &CommitInfo{
		Operation: lenient("operation"), OperationParameters: object("operationParameters"),
		OperationMetrics: object("operationMetrics"), ReadVersion: number("readVersion"),
		IsolationLevel: lenient("isolationLevel"), EngineInfo: lenient("engineInfo"), TxnID: lenient("txnId"),
		UserMetadata: lenient("userMetadata"), Tags: object("tags"), InCommitTimestamp: number("inCommitTimestamp"),
	}
	if t := number("timestamp"); t != nil {
		ci.Timestamp = *t
	}
	if b := v.Get("isBlindAppend"); b != nil {
		if x, err := b.Bool(); err == nil {
			ci.IsBlindAppend = &x
		}
	}
	// Only this action's object, not a whole line that holds something else too.
	var buf []byte
	if raw, ok := bytes.CutPrefix(text, []byte(`{"commitInfo":`)); ok && bytes.HasSuffix(raw, []byte("}")) && fastjson.ValidateBytes(raw[:len(raw)-1]) == nil {
		buf = raw[:len(raw)-1]
	} else {
		buf = v.MarshalTo(nil)
	}
	ci.Raw = string(buf)
	return ci
}

func (p *parser) partition(f *fields) Partition {
	v := f.v.Get("partitionValues")
	if v == nil || v.Type() == fastjson.TypeNull {
		return Partition{}
	}
	obj, err := v.Object()
	if err != nil {
		f.fail("partitionValues", "an object", v)
		return Partition{}
	}
	in := &p.parts
	in.vals = in.vals[:0]
	obj.Visit(func(k []byte, v *fastjson.Value) {
		switch v.Type() {
		case fastjson.TypeNull:
			in.vals = append(in.vals, PartitionValue{Name: string(k), Null: true})
		case fastjson.TypeString:
			s, _ := v.StringBytes()
			in.vals = append(in.vals, PartitionValue{Name: string(k), Value: string(s)})
		case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse: // as Spark takes them
			in.vals = append(in.vals, PartitionValue{Name: string(k), Value: v.String()})
		default:
			f.fail("partitionValues."+string(k), "a string or null", v)
		}
	})
	return in.make()
}

// fields reads the members of an action and remembers the first that is of the wrong type.
type fields struct {
	v   *fastjson.Value
	err error
}

func (f *fields) fail(name, want string, v *fastjson.Value) {
	if f.err == nil {
		f.err = fmt.Errorf("%s must be %s, this is %s", name, want, v.Type())
	}
}

// get gives a member, nil where it is absent or null.
func (f *fields) get(name string) *fastjson.Value {
	v := f.v.Get(name)
	if v == nil || v.Type() == fastjson.TypeNull {
		return nil
	}
	return v
}

func (f *fields) str(name string) string {
	v := f.get(name)
	if v == nil {
		return ""
	}
	b, err := v.StringBytes()
	if err != nil {
		f.fail(name, "a string", v)
		return ""
	}
	return string(b)
}

func (f *fields) need(name string) string {
	v := f.get(name)
	if v == nil {
		if f.err == nil {
			f.err = fmt.Errorf("%s is missing", name)
		}
		return ""
	}
	s := f.str(name)
	if s == "" && f.err == nil {
		f.err = fmt.Errorf("%s is empty", name)
	}
	return s
}

func (f *fields) intPtr(name string) *int64 {
	v := f.get(name)
	if v == nil {
		return nil
	}
	i, err := v.Int64()
	if x, ferr := v.Float64(); err != nil && ferr == nil && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		i, err = int64(x), nil // 1.7e12 is whole too
	}
	if err != nil {
		if f.err == nil {
			f.err = fmt.Errorf("%s must be an integer of 64 bits: %w", name, shorten(err))
		}
		return nil
	}
	return &i
}

func (f *fields) int(name string) int64 {
	if p := f.intPtr(name); p != nil {
		return *p
	}
	return 0
}

func (f *fields) bool(name string) bool {
	v := f.get(name)
	if v == nil {
		return false
	}
	b, err := v.Bool()
	if err != nil {
		f.fail(name, "true or false", v)
	}
	return b
}

// list gives a list of strings: nil where it is absent, not nil where it is empty.
func (f *fields) list(name string) []string {
	v := f.get(name)
	if v == nil {
		return nil
	}
	items, err := v.Array()
	if err != nil {
		f.fail(name, "a list", v)
		return nil
	}
	out := make([]string, 0, len(items))
	for _, it := range items {
		b, err := it.StringBytes()
		if err != nil {
			f.fail(name, "a list of strings", it)
			return nil
		}
		out = append(out, string(b))
	}
	return out
}

// strings gives a map of strings, nil where it is absent or empty. Nulls are left out.
func (f *fields) strings(name string) map[string]string {
	v := f.get(name)
	if v == nil {
		return nil
	}
	obj, err := v.Object()
	if err != nil {
		f.fail(name, "an object", v)
		return nil
	}
	var out map[string]string
	obj.Visit(func(k []byte, v *fastjson.Value) {
		if v.Type() == fastjson.TypeNull {
			return
		}
		var text string
		switch v.Type() {
		case fastjson.TypeString:
			text = string(v.GetStringBytes())
		case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse: // as Spark takes them
			text = v.String()
		default:
			f.fail(name+"."+string(k), "a string", v)
			return
		}
		if out == nil {
			out = make(map[string]string, obj.Len())
		}
		out[string(k)] = text
	})
	return out
}

func (f *fields) dv() *dv.Descriptor {
	v := f.get("deletionVector")
	if v == nil {
		return nil
	}
	if v.Type() != fastjson.TypeObject {
		f.fail("deletionVector", "an object", v)
		return nil
	}
	g := fields{v: v}
	d := &dv.Descriptor{StorageType: g.need("storageType"), PathOrInlineDv: g.need("pathOrInlineDv"),
		Cardinality: g.int("cardinality")}
	if o := g.intPtr("offset"); o != nil {
		o32 := int32(*o)
		if *o < 0 || *o > math.MaxInt32 {
			g.err = fmt.Errorf("offset %d is out of range", *o)
		}
		d.Offset = &o32
	}
	size := g.int("sizeInBytes")
	if size < 0 || size > math.MaxInt32 {
		g.err = fmt.Errorf("sizeInBytes %d is out of range", size)
	}
	d.SizeInBytes = int32(size)
	if g.err != nil && f.err == nil {
		f.err = fmt.Errorf("deletionVector: %w", g.err)
	}
	return d
}
