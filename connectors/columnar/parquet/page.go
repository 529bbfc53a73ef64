package parquet

import (
	"fmt"
	"hash/crc32"
	"io"
)

const (
	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3

	// maxPage bounds a page, compressed or not. Writers keep them near 1 MiB; one with a huge value may be larger.
	maxPage = 1 << 30
	// maxPageValues bounds the number of values of a page.
	maxPageValues = 1 << 28
	// maxNestedValues bounds it where all levels of a page are decoded at once.
	maxNestedValues = 1 << 25
	// maxPageHeader bounds a page's header: statistics in it may hold long strings.
	maxPageHeader = 16 << 20
	firstHeader   = 256
)

// pageHeader is what a reader needs of a PageHeader.
type pageHeader struct {
	kind                     int32
	uncompressed, compressed int
	crc                      uint32
	hasCRC                   bool
	values                   int
	encoding                 Encoding
	defEncoding, repEncoding Encoding
	// Of version 2.
	rows, defBytes, repBytes int
	plainV2                  bool
}

func readPageHeader(b []byte) (h pageHeader, n int, err error) {
	t := &thriftReader{b: b}
	h.kind = -1
	h.defEncoding, h.repEncoding = RLE, RLE
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			h.kind = t.i32()
		case id == 2 && typ == tI32:
			h.uncompressed = int(t.i32())
		case id == 3 && typ == tI32:
			h.compressed = int(t.i32())
		case id == 4 && typ == tI32:
			h.crc, h.hasCRC = uint32(t.i32()), true
		case (id == 5 || id == 7) && typ == tStruct:
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tI32:
					h.values = int(t.i32())
				case id == 2 && typ == tI32:
					h.encoding = Encoding(t.i32())
				case id == 3 && typ == tI32:
					h.defEncoding = Encoding(t.i32())
				case id == 4 && typ == tI32:
					h.repEncoding = Encoding(t.i32())
				default:
					t.skip(typ)
				}
			})
		case id == 8 && typ == tStruct:
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tI32:
					h.values = int(t.i32())
				case id == 3 && typ == tI32:
					h.rows = int(t.i32())
				case id == 4 && typ == tI32:
					h.encoding = Encoding(t.i32())
				case id == 5 && typ == tI32:
					h.defBytes = int(t.i32())
				case id == 6 && typ == tI32:
					h.repBytes = int(t.i32())
				case id == 7 && (typ == tTrue || typ == tFalse):
					h.plainV2 = typ == tFalse
				default:
					t.skip(typ)
				}
			})
		default:
			t.skip(typ)
		}
	})
	if t.err != nil {
		return h, 0, t.err
	}
	if h.uncompressed < 0 || h.compressed < 0 || h.values < 0 || h.rows < 0 || h.defBytes < 0 || h.repBytes < 0 ||
		h.uncompressed > maxPage || h.compressed > maxPage || h.values > maxPageValues ||
		h.defBytes+h.repBytes > h.uncompressed || h.kind == pageDataV2 && h.defBytes+h.repBytes > h.compressed {
		return h, 0, fmt.Errorf("%w: page header with impossible sizes", ErrCorrupt)
	}
	return h, t.p, nil
}

// RangeReader is an io.ReaderAt that gives memory of its own: what it reads need not be copied. ReadRange gives n bytes or
// an error; they are the caller's.
type RangeReader interface {
	io.ReaderAt
	ReadRange(off, n int64) ([]byte, error)
}

// window reads the bytes of a column chunk in order, a block at a time.
type window struct {
	r     io.ReaderAt
	pos   int64 // in the file, of buf[at]
	end   int64 // of the chunk
	block int
	buf   []byte
	at    int
	mem   *Lease
}

// peek gives at least n bytes (fewer only where the chunk ends), without moving on. They are valid until the next call.
func (w *window) peek(n int) ([]byte, error) {
	if have := len(w.buf) - w.at; have >= n || int64(have) >= w.end-w.pos {
		return w.buf[w.at:], nil
	}
	want := int(min(int64(max(n, w.block)), w.end-w.pos))
	if rr, ok := w.r.(RangeReader); ok && w.at >= len(w.buf) {
		b, err := rr.ReadRange(w.pos, int64(want))
		if err != nil {
			return nil, err
		}
		if len(b) != want {
			return nil, io.ErrUnexpectedEOF
		}
		w.buf, w.at = b, 0
		return b, nil
	}
	have := copy(w.buf, w.buf[w.at:])
	if cap(w.buf) < want+slack {
		w.buf = append(RawIn[byte](w.mem, want+slack), w.buf[:have]...)
	}
	w.buf, w.at = w.buf[:want], 0
	got, err := w.r.ReadAt(w.buf[have:], w.pos+int64(have))
	if have+got < want {
		w.buf = w.buf[:have+got]
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.buf, nil
}

// skip moves on by n bytes, read or not.
func (w *window) skip(n int) {
	w.pos += int64(n)
	if w.at += n; w.at > len(w.buf) {
		w.buf, w.at = w.buf[:0], 0
	}
}

// header reads the next page's header; ok is false at the end of the chunk.
func (w *window) header() (h pageHeader, ok bool, err error) {
	for n := firstHeader; ; n *= 4 {
		b, err := w.peek(n)
		if err != nil {
			return h, false, err
		}
		if len(b) == 0 {
			return h, false, nil
		}
		h, size, err := readPageHeader(b)
		if err == nil {
			w.skip(size)
			return h, true, nil
		}
		if len(b) < n || n >= maxPageHeader {
			return h, false, err
		}
	}
}

// body reads a page's bytes. They are valid until the next call.
func (w *window) body(h pageHeader) ([]byte, error) {
	b, err := w.peek(h.compressed)
	if err != nil {
		return nil, err
	}
	if len(b) < h.compressed {
		return nil, fmt.Errorf("%w: a page of %d bytes is cut off after %d", ErrCorrupt, h.compressed, len(b))
	}
	b = b[:h.compressed]
	if h.hasCRC && crc32.ChecksumIEEE(b) != h.crc {
		return nil, fmt.Errorf("%w: page checksum", ErrCorrupt)
	}
	return b, nil
}
