package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/fold"
)

// ErrFormat tells that an object is no state, is damaged, or is of a release that is newer than this one.
var ErrFormat = errors.New("not a readable merge state")

const (
	magicState   = "SLUSTATE"
	magicSegment = "SLUTOMBS"
	// Version is that of the formats. A reader refuses higher ones.
	Version = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type enc struct {
	b []byte
	// sources has the rows that tell their source table, in one section of their own; nil where there is none.
	sources *rowSources
}

// rowSources are the source tables of rows, by the rows' number in the state.
type rowSources struct {
	rows   uint64
	at     []uint64
	tables []string
}

func (e *enc) u(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *enc) i(v int64)  { e.b = binary.AppendVarint(e.b, v) }
func (e *enc) str(s string) {
	e.u(uint64(len(s)))
	e.b = append(e.b, s...)
}
func (e *enc) hash(h fold.Hash) {
	e.b = binary.BigEndian.AppendUint64(e.b, h.Lo)
	e.b = binary.BigEndian.AppendUint32(e.b, h.Hi)
}

// What a stamp is, beside its sequence. Earlier releases take every number but stampExact for neither.
const (
	stampExact  = 1
	stampLifted = 2
)

// What a topic is, beside its first source table. Earlier releases take every number but topicMixed for neither.
const (
	topicMixed = 1
	topicApart = 2
)

func (e *enc) stamp(s fold.Stamp) {
	switch {
	case s.Lifted:
		e.u(stampLifted)
		s.Lifted = false // told before the sequence here
	default:
		e.flag(s.Exact)
	}
	e.str(string(s.Seq()))
}

type dec struct {
	b    string
	err  error
	rows *[]*Row // of the state so far
}

func (d *dec) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFormat, what)
	}
	d.b = ""
}

func (d *dec) u() uint64 {
	v, n := binary.Uvarint([]byte(d.b[:min(len(d.b), 10)]))
	if n <= 0 {
		d.fail("number cut off")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *dec) i() int64 {
	v, n := binary.Varint([]byte(d.b[:min(len(d.b), 10)]))
	if n <= 0 {
		d.fail("number cut off")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// n reads a count of things that need at least one byte each.
func (d *dec) n() int {
	v := d.u()
	if v > uint64(len(d.b)) {
		d.fail("count is beyond the end")
		return 0
	}
	return int(v)
}

func (d *dec) str() string {
	n := d.n()
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *dec) hash() fold.Hash {
	if len(d.b) < 12 {
		d.fail("hash cut off")
		return fold.Hash{}
	}
	b := []byte(d.b[:12])
	d.b = d.b[12:]
	return fold.Hash{Lo: binary.BigEndian.Uint64(b), Hi: binary.BigEndian.Uint32(b[8:])}
}

func (d *dec) stamp() fold.Stamp {
	is := d.u()
	s, err := fold.Parse(d.str())
	if err != nil && d.err == nil {
		d.fail(err.Error())
	}
	s.Exact, s.Lifted = is == stampExact, is == stampLifted
	return s
}

// Encode gives the bytes of a state object: magic, version, sections each with number and length (unknown ones are passed
// over), CRC-32C of all before it.
func (s *State) Encode() []byte {
	e := enc{b: append(make([]byte, 0, 1024), magicState...), sources: &rowSources{}}
	e.u(Version)
	section := func(id uint64, f func(*enc)) {
		in := enc{sources: e.sources}
		f(&in)
		if len(in.b) > 0 {
			e.u(id)
			e.str(string(in.b))
		}
	}
	section(1, func(e *enc) { encodeLineages(e, s.Lineages) })
	section(2, func(e *enc) {
		for _, t := range s.Topics {
			e.str(t.Name)
			e.u(uint64(t.Generation))
			e.i(int64(t.MaxPartition))
		}
	})
	section(3, func(e *enc) {
		for _, t := range s.Truncates {
			e.str(t.Topic)
			e.str(t.Table)
			e.stamp(t.Stamp)
			e.i(t.AtMs)
		}
	})
	section(4, func(e *enc) {
		for _, x := range s.Deletes {
			e.str(x.Topic)
			e.i(int64(x.Partition))
			e.i(x.Offset)
			e.hash(x.Hash)
		}
	})
	section(5, func(e *enc) {
		for _, o := range s.Opens {
			e.hash(o.Hash)
			e.i(o.AtMs)
			e.row(o.Base)
			e.flag(o.Dead)
			e.stamp(o.Stamp)
			e.u(uint64(len(o.Events)))
			for i := range o.Events {
				e.event(&o.Events[i])
			}
		}
	})
	section(6, func(e *enc) {
		for _, m := range s.Moves {
			e.hash(m.From)
			e.hash(m.To)
			e.stamp(m.Stamp)
			e.str(m.Origin)
			e.str(m.Born)
			e.i(m.AtMs)
			e.row(m.Row)
		}
	})
	section(7, func(e *enc) {
		for _, g := range s.Segments {
			e.str(g.Name)
			e.i(g.Count)
			e.i(g.Size)
			e.i(g.NewestMs)
		}
	})
	section(8, func(e *enc) {
		for i := range s.Tombs {
			e.tomb(&s.Tombs[i])
		}
	})
	section(9, func(e *enc) {
		for _, k := range sortedParts(s.Watermarks) {
			e.str(k.Topic)
			e.i(int64(k.Partition))
			e.i(s.Watermarks[k])
		}
	})
	section(10, func(e *enc) {
		for _, x := range s.Ends {
			e.hash(x.Hash)
			e.stamp(x.Stamp)
			e.i(x.Us)
			e.i(x.AtMs)
			e.row(x.Before)
		}
	})
	section(11, func(e *enc) {
		for i, t := range s.Truncates {
			if t.Us != 0 {
				e.u(uint64(i))
				e.i(t.Us)
			}
		}
	})
	section(12, func(e *enc) { encodeReached(e, s.Lineages) })
	section(13, func(e *enc) { encodeEpochs(e, s.Lineages) })
	section(14, func(e *enc) { encodeAgain(e, s.Lineages) })
	section(15, func(e *enc) {
		for i, t := range s.Topics {
			if t.Table != "" {
				e.u(uint64(i))
				e.str(t.Table)
				switch {
				case t.Apart:
					e.u(topicApart)
				default:
					e.flag(t.Mixed)
				}
			}
		}
	})
	section(16, func(in *enc) {
		for i, row := range e.sources.at {
			in.u(row)
			in.str(e.sources.tables[i])
		}
	})
	section(17, func(e *enc) { encodeOthers(e, s.Lineages) })
	return binary.BigEndian.AppendUint32(e.b, crc32.Checksum(e.b, castagnoli))
}

// Decode reads what Encode wrote.
func Decode(data []byte) (*State, error) {
	d, err := open(data, magicState)
	if err != nil {
		return nil, err
	}
	s := New()
	var rows []*Row
	for d.err == nil && d.b != "" {
		id, body := d.u(), d.str()
		in := &dec{b: body, err: d.err, rows: &rows}
		for in.err == nil && in.b != "" {
			s.item(in, id)
		}
		d.err = in.err
	}
	return s, d.err
}

func (s *State) item(in *dec, id uint64) {
	switch id {
	case 1:
		decodeLineages(in, s.Lineages)
	case 2:
		s.Topics = append(s.Topics, Topic{Name: in.str(), Generation: uint32(in.u()), MaxPartition: int32(in.i())})
	case 3:
		s.Truncates = append(s.Truncates, Truncate{Topic: in.str(), Table: in.str(), Stamp: in.stamp(), AtMs: in.i()})
	case 4:
		s.Deletes = append(s.Deletes, Delete{in.str(), int32(in.i()), in.i(), in.hash()})
	case 5:
		o := Open{Hash: in.hash(), AtMs: in.i(), Base: in.row(), Dead: in.u() == 1, Stamp: in.stamp()}
		for n := in.n(); n > 0 && in.err == nil; n-- {
			o.Events = append(o.Events, in.event())
		}
		s.Opens = append(s.Opens, o)
	case 6:
		s.Moves = append(s.Moves, Move{From: in.hash(), To: in.hash(), Stamp: in.stamp(), Origin: in.str(), Born: in.str(), AtMs: in.i(), Row: in.row()})
	case 7:
		s.Segments = append(s.Segments, Segment{in.str(), in.i(), in.i(), in.i()})
	case 8:
		s.Tombs = append(s.Tombs, in.tomb())
	case 9:
		if s.Watermarks == nil {
			s.Watermarks = map[fold.PartKey]int64{}
		}
		k := fold.PartKey{Topic: in.str(), Partition: int32(in.i())}
		s.Watermarks[k] = in.i()
	case 10:
		s.Ends = append(s.Ends, End{Hash: in.hash(), Stamp: in.stamp(), Us: in.i(), AtMs: in.i(), Before: in.row()})
	case 11:
		i, us := in.u(), in.i()
		if i < uint64(len(s.Truncates)) {
			s.Truncates[i].Us = us
		}
	case 12:
		p := s.Lineages.Place(fold.PartKey{Topic: in.str(), Partition: int32(in.i())})
		p.MaxPos, p.MaxTs = in.str(), in.i()
	case 13:
		decodeEpochs(in, s.Lineages)
	case 14:
		s.Lineages.Place(fold.PartKey{Topic: in.str(), Partition: int32(in.i())}).Again = fold.Again{Since: in.i(), Seen: in.i(), OnceMore: in.i()}
	case 15:
		i, table, is := in.u(), in.str(), in.u()
		if i < uint64(len(s.Topics)) {
			s.Topics[i].Table, s.Topics[i].Mixed, s.Topics[i].Apart = table, is == topicMixed, is == topicApart
		}
	case 16:
		i, table := in.u(), in.str()
		if i < uint64(len(*in.rows)) {
			(*in.rows)[i].Table = table
		}
	case 17:
		decodeOthers(in, s.Lineages)
	default:
		in.b = "" // of a later release that older ones may pass over
	}
}

func open(data []byte, magic string) (*dec, error) {
	if len(data) < len(magic)+5 || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrFormat, magic)
	}
	body := data[:len(data)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(data[len(data)-4:]) {
		return nil, fmt.Errorf("%w: checksum is wrong", ErrFormat)
	}
	d := &dec{b: string(body[len(magic):])}
	if v := d.u(); d.err == nil && v > Version {
		return nil, fmt.Errorf("%w: it is of format %d, this release knows %d", ErrFormat, v, Version)
	}
	return d, d.err
}

func sortedParts[V any](m map[fold.PartKey]V) []fold.PartKey {
	parts := make([]fold.PartKey, 0, len(m))
	for k := range m {
		parts = append(parts, k)
	}
	slices.SortFunc(parts, func(a, b fold.PartKey) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return cmp.Or(int(a.Partition)-int(b.Partition), strings.Compare(a.Source, b.Source))
	})
	return parts
}

func (e *enc) tomb(t *Tomb) {
	e.hash(t.Hash)
	e.str(string(t.Seq))
	e.str(string(t.Add))
	e.i(t.AtMs)
}

func (d *dec) tomb() Tomb {
	return Tomb{Hash: d.hash(), Seq: fold.Seq(d.str()), Add: fold.Seq(d.str()), AtMs: d.i()}
}

// EncodeTombs gives the bytes of a segment.
func EncodeTombs(tombs []Tomb) []byte {
	e := enc{b: append(make([]byte, 0, 32+72*len(tombs)), magicSegment...)}
	e.u(Version)
	for i := range tombs {
		e.tomb(&tombs[i])
	}
	return binary.BigEndian.AppendUint32(e.b, crc32.Checksum(e.b, castagnoli))
}

// DecodeTombs reads what EncodeTombs wrote.
func DecodeTombs(data []byte) ([]Tomb, error) {
	d, err := open(data, magicSegment)
	if err != nil {
		return nil, err
	}
	var out []Tomb
	for d.err == nil && d.b != "" {
		out = append(out, d.tomb())
	}
	return out, d.err
}

func (e *enc) flag(b bool) {
	if b {
		e.u(1)
	} else {
		e.u(0)
	}
}

func (e *enc) event(v *Event) {
	e.stamp(v.Stamp)
	e.i(int64(v.Sub))
	e.u(uint64(v.Op))
	e.str(v.Tx)
	e.hash(v.From)
	e.hash(v.To)
	e.row(v.Image)
	e.row(v.Before)
}

func (d *dec) event() Event {
	return Event{Stamp: d.stamp(), Sub: int32(d.i()), Op: connectors.Op(d.u()), Tx: d.str(), From: d.hash(), To: d.hash(),
		Image: d.row(), Before: d.row()}
}

func (e *enc) row(r *Row) {
	if r == nil {
		e.u(0)
		return
	}
	e.u(1)
	if r.Table != "" {
		e.sources.at, e.sources.tables = append(e.sources.at, e.sources.rows), append(e.sources.tables, r.Table)
	}
	e.sources.rows++
	e.stamp(r.Stamp)
	e.u(uint64(r.Meta.Op))
	e.i(r.Meta.TsUs)
	e.str(r.Meta.EventID)
	e.str(r.Origin)
	e.flag(r.Deleted)
	e.flag(r.Guess)
	e.u(uint64(len(r.Names)))
	for i, n := range r.Names {
		e.str(n)
		e.value(r.Values[i])
		if r.Rescue == nil {
			e.str("")
		} else {
			e.str(r.Rescue[i])
		}
		if r.From == nil || r.From[i] == nil {
			e.u(0)
		} else {
			e.u(1)
			e.stamp(*r.From[i])
		}
	}
}

func (d *dec) row() *Row {
	if d.u() == 0 {
		return nil
	}
	r := &Row{Stamp: d.stamp()}
	*d.rows = append(*d.rows, r)
	r.Meta = fold.Meta{Op: byte(d.u()), TsUs: d.i(), EventID: d.str()}
	r.Origin, r.Deleted, r.Guess = d.str(), d.u() == 1, d.u() == 1
	for n := d.n(); n > 0 && d.err == nil; n-- {
		r.Names = append(r.Names, d.str())
		r.Values = append(r.Values, d.value(0))
		r.Rescue = append(r.Rescue, d.str())
		var from *fold.Stamp
		if d.u() == 1 {
			s := d.stamp()
			from = &s
		}
		r.From = append(r.From, from)
	}
	return r
}

func (e *enc) value(v connectors.Value) {
	e.u(uint64(v.State))
	if v.State != connectors.Present {
		return
	}
	e.u(uint64(v.Kind))
	switch v.Kind {
	case schema.Array, schema.Map, schema.Struct:
		kids := v.Kids()
		e.u(uint64(len(kids)))
		for _, k := range kids {
			e.value(k)
		}
	case schema.String, schema.Binary, schema.Decimal:
		e.i(v.Int)
		e.str(v.Str)
	default:
		e.i(v.Int)
	}
}

func (d *dec) value(depth int) connectors.Value {
	v := connectors.Value{State: connectors.State(d.u())}
	if v.State != connectors.Present {
		return v
	}
	k := d.u()
	if k > math.MaxUint8 || depth > 200 {
		d.fail("value")
		return v
	}
	v.Kind = schema.Kind(k)
	switch v.Kind {
	case schema.Array, schema.Map, schema.Struct:
		kids := make([]connectors.Value, 0, 4)
		for n := d.n(); n > 0 && d.err == nil; n-- {
			kids = append(kids, d.value(depth+1))
		}
		return connectors.Nested(v.Kind, kids)
	case schema.String, schema.Binary, schema.Decimal:
		v.Int = d.i()
		v.Str = d.str()
	default:
		v.Int = d.i()
	}
	return v
}
