package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

	pages       []byte // finished pages
	usedDict    bool
	usedPlain   bool
	entries     int64
	uncomp      int64
	scratch     []byte
	packed      []byte
	chunk       Stats // of the row group
	dictPresent int64
}

func newColumnWriter(leaf *Node, opts *WriterOptions, mem buffers) *ColumnWriter {
	c := &ColumnWriter{leaf: leaf, opts: opts, order: orderOf(leaf)}
	c.plain, c.pages, c.scratch, c.packed, c.idx, c.levels, c.spare = mem.plain, mem.pages, mem.scratch, mem.packed, mem.idx, mem.levels, mem.dict
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
	return len(d.plain) > maxDictBytes || int64(d.n)*2 > values && values >= dictTrial && !d.promising(values, expected)
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

// flushPage encodes the page at work.
func (c *ColumnWriter) flushPage() error {
	if c.levels.N == 0 {
		return nil
	}
	b := c.scratch[:0]
	if c.leaf.MaxRep > 0 {
		b = appendLevels(b, c.levels.Reps, c.levels.N, c.leaf.MaxRep)
	}
	if c.leaf.MaxDef > 0 {
		b = appendLevels(b, c.levels.Defs, c.levels.N, c.leaf.MaxDef)
	}
	enc := Plain
	if c.dict != nil && !c.noDict {
		enc = PlainDictionary
		width := widthOf(max(c.dict.n, 1) - 1)
		b = append(b, byte(width))
		b = appendHybrid(b, c.idx, width)
		c.usedDict = true
	} else {
		b = append(b, c.plain...)
		c.usedPlain = true
	}
	c.scratch = b
	var err error
	c.pages, err = c.appendPage(c.pages, b, pageData, c.levels.N, enc)
	n := &c.levels
	n.N, n.Reps = 0, n.Reps[:0]
	if n.Defs != nil {
		c.levels = Vector{Reps: n.Reps}
	}
	c.rows, c.plain, c.bit, c.idx = 0, c.plain[:0], 0, c.idx[:0]
	return err
}

// appendLevels appends levels of data page v1; nil levels are all the highest.
func appendLevels(b []byte, levels []uint8, n int, top uint8) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	if levels == nil {
		b = binary.AppendUvarint(b, uint64(n)<<1)
		b = append(b, top)
	} else {
		b = appendHybrid(b, levels, widthOf(uint32(top)))
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendPage appends a page with its header.
func (c *ColumnWriter) appendPage(dst, body []byte, kind int32, n int, enc Encoding) ([]byte, error) {
	if len(body) > math.MaxInt32 {
		return dst, fmt.Errorf("%w: column %s: a page of %d bytes", ErrUnsupported, c.leaf.Path(), len(body))
	}
	packed, err := compress(c.opts.Codec, c.packed[:0], body)
	if err != nil {
		return dst, err
	}
	c.packed = packed
	t := thriftWriter{b: dst}
	t.i32(1, kind)
	t.i32(2, int32(len(body)))
	t.i32(3, int32(len(packed)))
	t.i32(4, int32(crc32.ChecksumIEEE(packed)))
	if kind == pageDictionary {
		t.begin(7)
		t.i32(1, int32(n))
		t.i32(2, int32(enc))
		t.end()
	} else {
		t.begin(5)
		t.i32(1, int32(n))
		t.i32(2, int32(enc))
		t.i32(3, int32(RLE))
		t.i32(4, int32(RLE))
		t.end()
	}
	t.b = append(t.b, 0)
	c.uncomp += int64(len(t.b)-len(dst)) + int64(len(body))
	return append(t.b, packed...), nil
}

// buffered is about how many bytes the row group's column will take.
func (c *ColumnWriter) buffered() int64 { return int64(len(c.pages)) + int64(c.size())/2 }

// finish ends the row group's column and gives its bytes, which are valid until reset, and its description.
func (c *ColumnWriter) finish() (dict, pages []byte, cc ColumnChunk, encodings []Encoding, err error) {
	if err = c.flushPage(); err != nil {
		return
	}
	if c.usedDict {
		if dict, err = c.appendPage(nil, c.dict.plain, pageDictionary, int(c.dict.n), PlainDictionary); err != nil {
			return
		}
		encodings = append(encodings, PlainDictionary)
	}
	if c.usedPlain || !c.usedDict {
		encodings = append(encodings, Plain)
	}
	encodings = append(encodings, RLE)
	cc = ColumnChunk{Codec: c.opts.Codec, NumValues: c.entries, Uncompressed: c.uncomp,
		Compressed: int64(len(dict) + len(c.pages)), NullCount: c.chunk.Nulls}
	cc.Min, cc.Max = c.chunk.encoded(c.leaf.Type)
	return dict, c.pages, cc, encodings, nil
}

// reset makes ready for the next row group.
func (c *ColumnWriter) reset() {
	c.pages = c.pages[:0]
	if c.dict != nil {
		c.dict, c.spare = nil, c.dict
	}
	c.dictPresent = 0
	c.usedDict, c.usedPlain, c.entries, c.uncomp = false, false, 0, 0
	c.chunk = Stats{Order: c.order}
}
