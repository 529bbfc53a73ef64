package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// ColumnWriter encodes one column of the row group that its FileWriter is at. It belongs to one goroutine; columns of one
// file may be written by different goroutines at the same time.
type ColumnWriter struct {
	leaf  *Node
	opts  *WriterOptions
	order Order

	levels Vector   // Defs and Reps of the page at work
	rows   int      // rows in it
	plain  []byte   // its values, encoded, where there is no dictionary
	bit    int      // booleans in plain
	idx    []uint32 // its values, where there is one
	dict   *dictionary
	spare  *dictionary // memory for the next one
	noDict bool

	pages       pageList // finished
	head        []byte   // of a page
	codec       Codec    // of the row group, once it has a page
	hasCodec    bool
	usedDict    bool
	usedPlain   bool
	usedPacked  bool
	prefixed    bool // strings of the row group that have no dictionary are DELTA_BYTE_ARRAY
	strings     splitStrings
	entries     int64
	uncomp      int64
	scratch     []byte
	packed      []byte
	chunk       Stats // of the row group
	dictPresent int64
}

func newColumnWriter(leaf *Node, opts *WriterOptions, mem buffers) *ColumnWriter {
	c := &ColumnWriter{leaf: leaf, opts: opts, order: orderOf(leaf)}
	c.plain, c.pages, c.scratch, c.packed, c.idx, c.strings, c.levels, c.spare = mem.plain, mem.pages, mem.scratch, mem.packed, mem.idx, mem.strings, mem.levels, mem.dict
	c.noDict = leaf.Type == Boolean || opts.NoDictionary
	c.chunk.Order = c.order
	return c
}

func orderOf(n *Node) Order {
	switch n.Type {
	case Int32, Int64:
		if n.Logical == LogicalInt && !n.Signed {
			return Unordered
		}
		return SignedInt
	case Float, Double:
		return FloatOrder
	case ByteArray:
		if n.Logical == LogicalString {
			return BytesOrder
		}
	case FixedLenByteArray:
		if n.Logical == LogicalDecimal {
			return DecimalOrder
		}
	}
	return Unordered
}

// Write appends what v holds: whole rows. v is only read.
func (c *ColumnWriter) Write(v *Vector) error {
	at, val := 0, 0
	for at < v.N {
		n, rows := c.fit(v, at)
		present := n
		if v.Defs != nil {
			var err error
			if present, err = countLevel(v.Defs[at:at+n], c.leaf.MaxDef); err != nil {
				return err
			}
		}
		c.addLevels(v, at, n)
		c.rows += rows
		c.entries += int64(n)
		c.chunk.Nulls += int64(n - present)
		c.chunk.Values += int64(present)
		if err := c.addValues(v, val, present); err != nil {
			return err
		}
		at, val = at+n, val+present
		if c.rows >= c.opts.PageRows || c.size() >= c.opts.PageBytes {
			if err := c.flushPage(); err != nil {
				return err
			}
		}
	}
	return nil
}

// fit says how many entries from at on go into the page at work, and how many rows they are.
func (c *ColumnWriter) fit(v *Vector, at int) (n, rows int) {
	room := max(c.opts.PageRows-c.rows, 1)
	left := v.N - at
	if c.leaf.Type == ByteArray && left > 0 {
		// Long values make short pages: by the mean length of this batch.
		if mean := len(v.Data) / max(v.Values, 1); mean > 0 {
			room = min(room, max((c.opts.PageBytes-c.size())/(mean+4), 1))
		}
	}
	if v.Reps == nil {
		n = min(left, room)
		return n, n
	}
	for n < left {
		if v.Reps[at+n] == 0 {
			if rows == room {
				break
			}
			rows++
		}
		n++
	}
	return n, rows
}

func (c *ColumnWriter) size() int { return len(c.plain) + 4*len(c.idx) }

func (c *ColumnWriter) addLevels(v *Vector, at, n int) {
	l := &c.levels
	if v.Reps != nil {
		l.Reps = append(l.Reps, v.Reps[at:at+n]...)
	}
	switch {
	case c.leaf.MaxDef == 0:
		l.N += n
	case v.Defs == nil:
		l.addFull(n, c.leaf.MaxDef)
	default:
		p := l.openDefs(n, c.leaf.MaxDef)
		copy(l.Defs[p:], v.Defs[at:at+n])
		l.N += n
	}
}

// addValues encodes n values of v from the at'th on.
func (c *ColumnWriter) addValues(v *Vector, at, n int) error {
	if n == 0 {
		return nil
	}
	if !c.noDict {
		if c.dict == nil {
			c.dict, c.spare = renewed(c.spare, c.leaf.Type, int(c.leaf.TypeLength)), nil
		}
		for n > 0 {
			k := min(n, dictTrial)
			c.addDict(v, at, k)
			at, n = at+k, n-k
			if c.dict.poor(c.dictPresent, c.opts.ExpectedRows) {
				c.dropDict()
				break
			}
		}
	}
	if n == 0 {
		return nil
	}
	return c.addPlain(v, at, n)
}

// poor tells that a dictionary does not pay: it grew too large, or most values are new and will be in all of the expected ones.
func (d *dictionary) poor(values, expected int64) bool {
	return len(d.plain) > maxDictBytes || d.mostlyNew(values) && values >= dictTrial && !d.promising(values, expected)
}

// promising tells that the values come from so few that each will be there many times among the expected ones, though most that came yet were new: by how
// many of them were not, as with birthdays. Values that come in their order show nothing of it.
func (d *dictionary) promising(values, expected int64) bool {
	repeats := values - int64(d.n)
	if repeats < enoughRepeats {
		return false
	}
	distinct := values * values / (2 * repeats)
	return expected >= promisingUses*distinct && distinct*int64(len(d.plain))/int64(d.n) <= maxDictBytes
}

// mostlyNew tells that more than half of the values were new.
func (d *dictionary) mostlyNew(values int64) bool { return int64(d.n)*2 > values }

func (c *ColumnWriter) addDict(v *Vector, at, n int) {
	d, s := c.dict, &c.chunk
	c.dictPresent += int64(n)
	switch c.leaf.Type {
	case Int32, Float:
		for _, x := range v.W4[at : at+n] {
			i, fresh := d.w4(x)
			if fresh {
				c.seen4(s, x)
			}
			c.idx = append(c.idx, i)
		}
	case Int64, Double:
		for _, x := range v.W8[at : at+n] {
			i, fresh := d.w8(x)
			if fresh {
				c.seen8(s, x)
			}
			c.idx = append(c.idx, i)
		}
	case ByteArray:
		for k := at; k < at+n; k++ {
			b := v.Data[v.Offs[k]:v.Offs[k+1]]
			i, fresh := d.bytes(b)
			if fresh && c.order == BytesOrder {
				s.addBytes(b)
			}
			c.idx = append(c.idx, i)
		}
	case FixedLenByteArray:
		l := int(c.leaf.TypeLength)
		for k := at; k < at+n; k++ {
			b := v.Data[k*l : (k+1)*l]
			i, fresh := d.bytes(b)
			if fresh && c.order == DecimalOrder {
				s.addBytes(b)
			}
			c.idx = append(c.idx, i)
		}
	}
}

func (c *ColumnWriter) seen4(s *Stats, x uint32) {
	if c.order == SignedInt {
		s.addInt(int64(int32(x)))
	} else if c.order == FloatOrder {
		s.addFloat(float64(math.Float32frombits(x)))
	}
}

func (c *ColumnWriter) seen8(s *Stats, x uint64) {
	if c.order == SignedInt {
		s.addInt(int64(x))
	} else if c.order == FloatOrder {
		s.addFloat(math.Float64frombits(x))
	}
}

// dropDict goes over to plain values. Pages that are finished keep their dictionary.
func (c *ColumnWriter) dropDict() {
	c.noDict = true
	for _, i := range c.idx {
		e := c.dict.entry(i)
		if c.leaf.Type == ByteArray {
			c.plain = binary.LittleEndian.AppendUint32(c.plain, uint32(len(e)))
		}
		c.plain = append(c.plain, e...)
	}
	c.idx = c.idx[:0]
	if !c.usedDict {
		c.dict, c.spare = nil, c.dict
	}
}

func (c *ColumnWriter) addPlain(v *Vector, at, n int) error {
	s := &c.chunk
	switch c.leaf.Type {
	case Boolean:
		for _, x := range v.W1[at : at+n] {
			if c.bit&7 == 0 {
				c.plain = append(c.plain, 0)
			}
			c.plain[c.bit>>3] |= x << (c.bit & 7)
			c.bit++
		}
	case Int32, Float:
		w := v.W4[at : at+n]
		if c.order == SignedInt {
			s.addInts4(w)
		} else if c.order == FloatOrder {
			for _, x := range w {
				s.addFloat(float64(math.Float32frombits(x)))
			}
		}
		c.plain = append(c.plain, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), 4*n)...)
	case Int64, Double:
		w := v.W8[at : at+n]
		if c.order == SignedInt {
			s.addInts8(w)
		} else if c.order == FloatOrder {
			for _, x := range w {
				s.addFloat(math.Float64frombits(x))
			}
		}
		c.plain = append(c.plain, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), 8*n)...)
	case ByteArray:
		p := c.plain
		from := v.Offs[at]
		if need := int(v.Offs[at+n]-from) + 4*n; cap(p)-len(p) < need {
			p = append(make([]byte, 0, 2*len(p)+need), p...)
		}
		for _, to := range v.Offs[at+1 : at+n+1] {
			p = binary.LittleEndian.AppendUint32(p, uint32(to-from))
			p = append(p, v.Data[from:to]...)
			from = to
		}
		c.plain = p
		if c.order == BytesOrder {
			for k := at; k < at+n; k++ {
				s.addBytes(v.Data[v.Offs[k]:v.Offs[k+1]])
			}
		}
	case FixedLenByteArray:
		l := int(c.leaf.TypeLength)
		c.plain = append(c.plain, v.Data[at*l:(at+n)*l]...)
		if c.order == DecimalOrder {
			for k := at; k < at+n; k++ {
				s.addBytes(v.Data[k*l : (k+1)*l])
			}
		}
	default:
		return fmt.Errorf("%w: %s is not written", ErrUnsupported, c.leaf.Type)
	}
	return nil
}

// buffered is about how many bytes the row group's column will take.
func (c *ColumnWriter) buffered() int64 { return c.pages.size + int64(c.size())/2 }

// finish ends the row group's column and gives its bytes, which are valid until reset, and its description.
func (c *ColumnWriter) finish() (dict, pages [][]byte, cc ColumnChunk, encodings []Encoding, err error) {
	few := c.dict != nil && !c.noDict && !c.usedDict && c.dict.mostlyNew(c.dictPresent)
	if few { // than dictTrial, and hardly any twice
		c.dropDict()
	}
	if err = c.flushPage(); err != nil {
		return
	}
	if few { // the next row group may be larger
		c.noDict = false
	}
	if c.usedDict {
		head, body, err := c.encodePage(c.dict.plain, pageDictionary, int(c.dict.n), PlainDictionary)
		if err != nil {
			return nil, nil, cc, nil, err
		}
		dict = [][]byte{head, body}
		encodings = append(encodings, PlainDictionary)
	}
	if c.usedPacked {
		encodings = append(encodings, DeltaBinaryPacked)
	}
	if c.prefixed {
		encodings = append(encodings, DeltaBytes)
	}
	if c.usedPlain || len(encodings) == 0 {
		encodings = append(encodings, Plain)
	}
	encodings = append(encodings, RLE)
	if !c.hasCodec { // no page
		c.codec = c.opts.Codec
	}
	cc = ColumnChunk{Codec: c.codec, NumValues: c.entries, Uncompressed: c.uncomp,
		Compressed: sizeOf(dict) + c.pages.size, NullCount: c.chunk.Nulls}
	cc.Min, cc.Max = c.chunk.encoded(c.leaf.Type)
	return dict, c.pages.used, cc, encodings, nil
}

// reset makes ready for the next row group.
func (c *ColumnWriter) reset() {
	c.pages.reset()
	if c.dict != nil {
		c.dict, c.spare = nil, c.dict
	}
	c.dictPresent = 0
	c.hasCodec, c.usedDict, c.usedPlain, c.usedPacked, c.prefixed, c.entries, c.uncomp = false, false, false, false, false, 0, 0
	c.chunk = Stats{Order: c.order}
}
