package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Types of the compact protocol.
const (
	tTrue   = 1
	tFalse  = 2
	tByte   = 3
	tI16    = 4
	tI32    = 5
	tI64    = 6
	tDouble = 7
	tBinary = 8
	tList   = 9
	tSet    = 10
	tMap    = 11
	tStruct = 12
)

// maxThriftDepth bounds the nesting of structures that are skipped.
const maxThriftDepth = 64

// thriftReader reads Thrift's compact protocol. The first error sticks; after it all reads give zero.
type thriftReader struct {
	b   []byte
	p   int
	err error
}

func (t *thriftReader) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("%w: thrift at byte %d: %s", ErrCorrupt, t.p, fmt.Sprintf(format, args...))
	}
	t.p = len(t.b)
}

func (t *thriftReader) byte() byte {
	if t.p >= len(t.b) {
		t.fail("input ends")
		return 0
	}
	c := t.b[t.p]
	t.p++
	return c
}

func (t *thriftReader) varint() uint64 {
	v, n := binary.Uvarint(t.b[t.p:])
	if n <= 0 {
		t.fail("bad varint")
		return 0
	}
	t.p += n
	return v
}

func (t *thriftReader) i64() int64 {
	v := t.varint()
	return int64(v>>1) ^ -int64(v&1)
}

func (t *thriftReader) i32() int32 {
	v := t.i64()
	if v < math.MinInt32 || v > math.MaxInt32 {
		t.fail("number %d is not an i32", v)
		return 0
	}
	return int32(v)
}

// bytes gives a slice of the input.
func (t *thriftReader) bytes() []byte {
	n := t.varint()
	if n > uint64(len(t.b)-t.p) {
		t.fail("string of %d bytes, %d left", n, len(t.b)-t.p)
		return nil
	}
	b := t.b[t.p : t.p+int(n)]
	t.p += int(n)
	return b
}

func (t *thriftReader) string() string { return string(t.bytes()) }

// list reads a list's header. The size is at most the number of bytes left: each element takes at least one.
func (t *thriftReader) list() (size int, typ byte) {
	h := t.byte()
	n := uint64(h >> 4)
	if n == 15 {
		n = t.varint()
	}
	if n > uint64(len(t.b)-t.p) {
		t.fail("list of %d elements, %d bytes left", n, len(t.b)-t.p)
		return 0, 0
	}
	return int(n), h & 15
}

// fields calls fn for each field of a structure. fn reads the field or calls skip.
func (t *thriftReader) fields(fn func(id int16, typ byte)) {
	var id int16
	for t.err == nil {
		h := t.byte()
		if h == 0 || t.err != nil {
			return
		}
		if d := h >> 4; d != 0 {
			id += int16(d)
		} else {
			id = int16(t.i32())
		}
		fn(id, h&15)
	}
}

func (t *thriftReader) skip(typ byte) { t.skipDepth(typ, 0) }

func (t *thriftReader) skipDepth(typ byte, depth int) {
	if depth > maxThriftDepth {
		t.fail("nested deeper than %d", maxThriftDepth)
		return
	}
	switch typ {
	case tTrue, tFalse:
	case tByte:
		t.byte()
	case tI16, tI32, tI64:
		t.varint()
	case tDouble:
		if len(t.b)-t.p < 8 {
			t.fail("input ends")
			return
		}
		t.p += 8
	case tBinary:
		t.bytes()
	case tList, tSet:
		n, et := t.list()
		for i := 0; i < n && t.err == nil; i++ {
			t.skipElem(et, depth)
		}
	case tMap:
		n := t.varint()
		if n == 0 {
			return
		}
		if n > uint64(len(t.b)-t.p) {
			t.fail("map of %d entries", n)
			return
		}
		kv := t.byte()
		for i := uint64(0); i < n && t.err == nil; i++ {
			t.skipElem(kv>>4, depth)
			t.skipElem(kv&15, depth)
		}
	case tStruct:
		t.fields(func(_ int16, typ byte) { t.skipDepth(typ, depth+1) })
	default:
		t.fail("unknown type %d", typ)
	}
}

// skipElem skips an element of a list or map, where a boolean takes one byte.
func (t *thriftReader) skipElem(typ byte, depth int) {
	if typ == tTrue || typ == tFalse {
		t.byte()
		return
	}
	t.skipDepth(typ, depth+1)
}

// thriftWriter writes Thrift's compact protocol.
type thriftWriter struct {
	b     []byte
	last  int16
	stack []int16
}

func (t *thriftWriter) field(id int16, typ byte) {
	if d := id - t.last; d > 0 && d < 16 {
		t.b = append(t.b, byte(d)<<4|typ)
	} else {
		t.b = append(t.b, typ)
		t.b = binary.AppendVarint(t.b, int64(id))
	}
	t.last = id
}

func (t *thriftWriter) i32(id int16, v int32) {
	t.field(id, tI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}
func (t *thriftWriter) i64(id int16, v int64) { t.field(id, tI64); t.b = binary.AppendVarint(t.b, v) }

func (t *thriftWriter) bool(id int16, v bool) {
	if v {
		t.field(id, tTrue)
	} else {
		t.field(id, tFalse)
	}
}

func (t *thriftWriter) i8(id int16, v int8) { t.field(id, tByte); t.b = append(t.b, byte(v)) }

func (t *thriftWriter) bytes(id int16, v []byte) {
	t.field(id, tBinary)
	t.b = binary.AppendUvarint(t.b, uint64(len(v)))
	t.b = append(t.b, v...)
}

func (t *thriftWriter) string(id int16, v string) {
	t.field(id, tBinary)
	t.elemString(v)
}

func (t *thriftWriter) elemString(v string) {
	t.b = binary.AppendUvarint(t.b, uint64(len(v)))
	t.b = append(t.b, v...)
}

func (t *thriftWriter) list(id int16, typ byte, n int) {
	t.field(id, tList)
	if n < 15 {
		t.b = append(t.b, byte(n)<<4|typ)
		return
	}
	t.b = append(t.b, 0xf0|typ)
	t.b = binary.AppendUvarint(t.b, uint64(n))
}

// begin opens a structure: a field's (id > 0) or a list element's (id 0).
func (t *thriftWriter) begin(id int16) {
	if id > 0 {
		t.field(id, tStruct)
	}
	t.stack = append(t.stack, t.last)
	t.last = 0
}

func (t *thriftWriter) end() {
	t.b = append(t.b, 0)
	t.last = t.stack[len(t.stack)-1]
	t.stack = t.stack[:len(t.stack)-1]
}
