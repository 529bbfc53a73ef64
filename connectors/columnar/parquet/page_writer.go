package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

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
		b, enc = c.appendValues(b)
	}
	c.scratch = b
	head, body, err := c.encodePage(b, pageData, c.levels.N, enc)
	c.pages.add(head, body)
	n := &c.levels
	n.N, n.Reps = 0, n.Reps[:0]
	if n.Defs != nil {
		c.levels = Vector{Reps: n.Reps}
	}
	c.rows, c.plain, c.bit, c.idx = 0, c.plain[:0], 0, c.idx[:0]
	return err
}

// appendValues appends the values of the page at work, which have no dictionary, in the encoding that takes less.
func (c *ColumnWriter) appendValues(b []byte) ([]byte, Encoding) {
	ok := false
	if !c.opts.NoPacking {
		switch c.leaf.Type {
		case Int32:
			b, ok = appendPacked(b, castTo[uint32](c.plain, len(c.plain)/4), 4)
		case Int64:
			b, ok = appendPacked(b, castTo[uint64](c.plain, len(c.plain)/8), 8)
		case ByteArray:
			if c.leaf.Logical == LogicalString {
				if b, ok = c.appendPrefixed(b); ok {
					return b, DeltaBytes
				}
			}
		}
	}
	if ok {
		c.usedPacked = true
		return b, DeltaBinaryPacked
	}
	c.usedPlain = true
	return append(b, c.plain...), Plain
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

// encodePage gives a page's header and its compressed bytes. Both are valid until the next call.
func (c *ColumnWriter) encodePage(body []byte, kind int32, n int, enc Encoding) (head, packed []byte, err error) {
	if len(body) > math.MaxInt32 {
		return nil, nil, fmt.Errorf("%w: column %s: a page of %d bytes", ErrUnsupported, c.leaf.Path(), len(body))
	}
	if packed, err = c.compress(body, enc); err != nil {
		return nil, nil, err
	}
	t := thriftWriter{b: c.head[:0]}
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
	c.head = append(t.b, 0)
	c.uncomp += int64(len(c.head) + len(body))
	return c.head, packed, nil
}

// compress gives a page's bytes as the row group's codec has them, valid until the next call. A column whose first page hardly becomes
// smaller stays as it is: everybody who reads it is spared the work. Dictionaries are compressed always, and so are their columns.
func (c *ColumnWriter) compress(body []byte, enc Encoding) ([]byte, error) {
	trial := !c.hasCodec && enc != PlainDictionary
	if !c.hasCodec {
		c.codec, c.hasCodec = c.opts.Codec, true
	}
	if c.codec == Uncompressed {
		return body, nil
	}
	out, err := compress(c.codec, c.packed[:0], body)
	if err != nil {
		return nil, err
	}
	c.packed = out
	if trial && len(body) >= minTrial && len(out) > len(body)-len(body)/8 {
		c.codec = Uncompressed
		return body, nil
	}
	return out, nil
}

// minTrial is how large a page is that tells whether compression pays.
const minTrial = 4 << 10

// pageList holds pages in blocks, so that none is copied when there are more.
type pageList struct {
	used, free [][]byte
	size       int64 // of what is in used
}

// pageBlock is how large a block is, but for a page that is larger, and the first ones of a short column.
const pageBlock = 256 << 10

// add copies the parts of a page to the end of the list.
func (l *pageList) add(parts ...[]byte) {
	n := sizeOf(parts)
	last := len(l.used) - 1
	if last < 0 || int64(cap(l.used[last])-len(l.used[last])) < n {
		var b []byte
		if k := len(l.free) - 1; k >= 0 && int64(cap(l.free[k])) >= n {
			b, l.free = l.free[k], l.free[:k]
		} else {
			b = Raw[byte](int(max(n, min(l.size, pageBlock))))
		}
		l.used, last = append(l.used, b), last+1
	}
	for _, p := range parts {
		l.used[last] = append(l.used[last], p...)
	}
	l.size += n
}

// reset empties the list and keeps its memory.
func (l *pageList) reset() {
	for i, b := range l.used {
		l.free = append(l.free, b[:0])
		l.used[i] = nil
	}
	l.used, l.size = l.used[:0], 0
}

// kept gives an empty list with at most limit bytes of the memory.
func (l *pageList) kept(limit int) pageList {
	l.reset()
	n := 0
	for i, b := range l.free {
		if n += cap(b); n > limit {
			return pageList{free: l.free[:i]}
		}
	}
	return pageList{free: l.free}
}

func sizeOf(parts [][]byte) int64 {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return int64(n)
}
