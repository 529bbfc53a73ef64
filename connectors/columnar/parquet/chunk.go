package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// DefaultBlock is how many bytes a Chunk reads from its file at once: most column chunks whole, so that an object store is asked once.
const DefaultBlock = 16 << 20

// Chunk reads the column of one row group, in order. It belongs to one goroutine.
type Chunk struct {
	leaf  *Node
	codec Codec
	w     window
	// entries of level data that the chunk still has, by its metadata
	left int64

	dict    *Vector
	vals    values
	pageBuf []byte
	pool    *Pool
	life    *Lease // memory that the chunk needs as long as it is read

	// the open page
	entries  int // level entries that are left in it
	flatDefs hybrid
	allDef   bool    // the column is required
	defs     []uint8 // of a repeating column, the page's rest
	reps     []uint8
	scratch  []uint8
}

// NewChunk opens a column chunk. block bounds what is read at once (0: DefaultBlock); a larger page is read whole. pool, which may be nil,
// is where memory comes from, and goes to with Close.
func NewChunk(r io.ReaderAt, leaf *Node, cc *ColumnChunk, block int, pool *Pool) *Chunk {
	if block <= 0 {
		block = DefaultBlock
	}
	life := pool.Lease()
	return &Chunk{leaf: leaf, codec: cc.Codec, left: cc.NumValues, pool: pool, life: life,
		w:    window{r: r, pos: cc.Offset, end: cc.Offset + cc.Compressed, block: block, mem: life},
		vals: values{typ: leaf.Type, length: int(leaf.TypeLength)}}
}

// Close gives memory back to the pool. What was read stays.
func (c *Chunk) Close() {
	c.life.Done()
	if c.vals.lent {
		c.pageBuf = nil
	}
	c.pool.put(c.pageBuf)
	*c = Chunk{leaf: c.leaf}
}

// fail adds the place to an error.
func (c *Chunk) fail(err error) error {
	return &placeError{c.leaf.Path(), c.w.pos, err}
}

// placeError is an error at a byte of the file.
type placeError struct {
	column string
	at     int64
	err    error
}

func (e *placeError) Error() string {
	return fmt.Sprintf("column %s at byte %d: %v", e.column, e.at, e.err)
}
func (e *placeError) Unwrap() error { return e.err }

// Place gives the byte of the file at which an error of this package was found, where it knows.
func Place(err error) (int64, bool) {
	var p *placeError
	if errors.As(err, &p) {
		return p.at, true
	}
	return 0, false
}

// Read appends the next rows to v. Fewer rows than asked for are an error.
func (c *Chunk) Read(v *Vector, rows int) error {
	if c.leaf.MaxRep > 0 {
		return c.readNested(v, rows)
	}
	if v.N == 0 {
		v.rows = rows
	}
	for rows > 0 {
		if c.entries == 0 {
			if err := c.nextPage(false, 0); err != nil {
				return c.fail(err)
			}
		}
		n := min(rows, c.entries)
		if err := c.readFlat(v, n); err != nil {
			return c.fail(err)
		}
		c.entries -= n
		rows -= n
	}
	return nil
}

func (c *Chunk) readFlat(v *Vector, n int) error {
	if c.allDef {
		v.addFull(n, c.leaf.MaxDef)
		return c.readValues(v, n)
	}
	for n > 0 {
		// Runs of present values are the rule: they need no levels.
		k, level, err := c.flatDefs.same(n)
		if err != nil {
			return err
		}
		if k > 0 && level == c.leaf.MaxDef {
			c.flatDefs.run -= k
			v.addFull(k, c.leaf.MaxDef)
			if err := c.readValues(v, k); err != nil {
				return err
			}
			n -= k
			continue
		}
		if k == 0 {
			k = min(c.flatDefs.packed, n)
		}
		at := v.openDefs(k, c.leaf.MaxDef)
		if err := c.flatDefs.u8s(v.Defs[at:]); err != nil {
			return err
		}
		v.N += k
		present, err := countLevel(v.Defs[at:], c.leaf.MaxDef)
		if err != nil {
			return err
		}
		if present > 0 {
			if err := c.vals.read(v, present); err != nil {
				return err
			}
		}
		n -= k
	}
	return nil
}

// readValues reads values that are there. A page that they hold on to goes the way of their memory.
func (c *Chunk) readValues(v *Vector, n int) error {
	err := c.vals.read(v, n)
	if c.vals.lent && v.mem != nil {
		v.mem.adopt(c.pageBuf)
		c.pageBuf, c.vals.lent = nil, false
	}
	return err
}

// addFull adds n entries of the highest level.
func (v *Vector) addFull(n int, level uint8) {
	if v.Defs != nil {
		at := v.openDefs(n, level)
		fill(v.Defs[at:], level)
	}
	v.N += n
}

// openDefs makes room for n more levels and gives the place of the first. Those before it that had been left out are filled in.
func (v *Vector) openDefs(n int, level uint8) int {
	if v.Defs == nil {
		v.Defs = RawIn[uint8](v.mem, max(2*v.N, v.N+n, min(v.rows, maxReserve), 64))[:v.N]
		fill(v.Defs, level)
	}
	at := len(v.Defs)
	if cap(v.Defs)-at < n {
		v.Defs = append(RawIn[uint8](v.mem, 2*at+n), v.Defs...)
	}
	v.Defs = v.Defs[:at+n]
	return at
}

// readNested reads whole rows of a repeating column: up to the entry that begins the row after them.
func (c *Chunk) readNested(v *Vector, rows int) error {
	began := 0
	for {
		if c.entries == 0 {
			if c.left == 0 {
				if began == rows {
					return nil
				}
				return c.fail(fmt.Errorf("%w: the column has fewer rows than its row group", ErrCorrupt))
			}
			if err := c.nextPage(false, 0); err != nil {
				return c.fail(err)
			}
			continue
		}
		n := 0
		for n < len(c.reps) {
			if c.reps[n] == 0 {
				if began == rows {
					break
				}
				began++
			} else if began == 0 {
				return c.fail(fmt.Errorf("%w: the column begins inside a row", ErrCorrupt))
			}
			n++
		}
		if n > 0 {
			present, err := countLevel(c.defs[:n], c.leaf.MaxDef)
			if err != nil {
				return c.fail(err)
			}
			v.Defs = append(v.Defs, c.defs[:n]...)
			v.Reps = append(v.Reps, c.reps[:n]...)
			v.N += n
			if err := c.vals.read(v, present); err != nil {
				return c.fail(err)
			}
			c.defs, c.reps = c.defs[n:], c.reps[n:]
			c.entries -= n
		}
		if len(c.reps) > 0 {
			return nil
		}
	}
}

// Skip passes over rows. Pages of a column that does not repeat are passed over without being read where they lie
// wholly in what is skipped.
func (c *Chunk) Skip(rows int) error {
	var waste Vector
	if c.leaf.MaxRep > 0 {
		for rows > 0 {
			n := min(rows, 4096)
			waste.Reset(nil)
			if err := c.readNested(&waste, n); err != nil {
				return err
			}
			rows -= n
		}
		return nil
	}
	for rows > 0 {
		if c.entries == 0 {
			if err := c.nextPage(true, rows); err != nil {
				return c.fail(err)
			}
			if c.entries < 0 { // passed over
				rows += c.entries
				c.entries = 0
				continue
			}
		}
		n := min(rows, c.entries, 4096)
		waste.Reset(nil)
		if err := c.readFlat(&waste, n); err != nil {
			return c.fail(err)
		}
		c.entries -= n
		rows -= n
	}
	return nil
}

// nextPage opens the next data page. With skip, a page of at most rows entries is passed over: entries is then minus their number.
func (c *Chunk) nextPage(skip bool, rows int) error {
	for {
		if c.left <= 0 {
			return fmt.Errorf("%w: the column has fewer values than its row group has rows", ErrCorrupt)
		}
		h, ok, err := c.w.header()
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: the column's pages end %d values too soon", ErrCorrupt, c.left)
		}
		switch h.kind {
		case pageDictionary:
			if err := c.readDictionary(h); err != nil {
				return err
			}
			c.w.skip(h.compressed)
			continue
		case pageData, pageDataV2:
		default: // index pages, and what may come
			c.w.skip(h.compressed)
			continue
		}
		if int64(h.values) > c.left {
			return fmt.Errorf("%w: pages hold more values than the chunk", ErrCorrupt)
		}
		if h.values == 0 {
			c.w.skip(h.compressed)
			continue
		}
		c.left -= int64(h.values)
		if skip && h.values <= rows {
			c.entries = -h.values
			c.w.skip(h.compressed)
			return nil
		}
		b, err := c.w.body(h)
		if err != nil {
			return err
		}
		if h.kind == pageData {
			err = c.openV1(h, b)
		} else {
			err = c.openV2(h, b)
		}
		if err != nil {
			return err
		}
		c.w.skip(h.compressed)
		c.entries = h.values
		return nil
	}
}

func (c *Chunk) readDictionary(h pageHeader) error {
	if c.dict != nil {
		return fmt.Errorf("%w: second dictionary", ErrCorrupt)
	}
	if h.encoding != Plain && h.encoding != PlainDictionary {
		return fmt.Errorf("%w: dictionary in encoding %d", ErrUnsupported, h.encoding)
	}
	b, err := c.w.body(h)
	if err != nil {
		return err
	}
	var room []byte
	if c.life != nil && c.codec != Uncompressed && h.uncompressed <= maxPageRoom {
		room = RawIn[byte](c.life, h.uncompressed+slack)
	}
	if b, err = decompress(c.codec, room, b, h.uncompressed); err != nil {
		return err
	}
	if h.values > 8*len(b) { // a value takes a bit at least
		return fmt.Errorf("%w: dictionary of %d values in %d bytes", ErrCorrupt, h.values, len(b))
	}
	d := values{typ: c.vals.typ, length: c.vals.length}
	if err := d.open(Plain, b, h.values, nil); err != nil {
		return err
	}
	dict := &Vector{mem: c.life}
	if d.typ == ByteArray {
		dict.openOffs(0)
	}
	if err := d.read(dict, h.values); err != nil {
		return err
	}
	c.dict = dict
	return nil
}

// maxPageRoom is up to which size a page's header is believed before the page is seen: pages of all writers are smaller.
const maxPageRoom = 4 << 20

// keep gives page bytes that stay valid while the page is read: the window's memory moves.
func (c *Chunk) keep(codec Codec, b []byte, size int) ([]byte, error) {
	if c.vals.lent {
		c.pageBuf = nil
	}
	if c.pool != nil && size <= maxPageRoom && cap(c.pageBuf) < size+slack {
		c.pool.put(c.pageBuf)
		c.pageBuf = c.pool.take(size + slack)
	}
	if codec == Uncompressed {
		if len(b) != size {
			return nil, fmt.Errorf("%w: page of %d bytes, its header says %d", ErrCorrupt, len(b), size)
		}
		c.pageBuf = grown(c.pageBuf, size)
		copy(c.pageBuf, b)
		return c.pageBuf, nil
	}
	out, err := decompress(codec, c.pageBuf, b, size)
	if err == nil {
		c.pageBuf = out
	}
	return out, err
}

func (c *Chunk) openV1(h pageHeader, b []byte) error {
	b, err := c.keep(c.codec, b, h.uncompressed)
	if err != nil {
		return err
	}
	var reps, defs hybrid
	if c.leaf.MaxRep > 0 {
		if reps, b, err = levelsV1(h.repEncoding, b, c.leaf.MaxRep); err != nil {
			return err
		}
	}
	if c.leaf.MaxDef > 0 {
		if defs, b, err = levelsV1(h.defEncoding, b, c.leaf.MaxDef); err != nil {
			return err
		}
	}
	return c.openValues(h, b, reps, defs)
}

func levelsV1(e Encoding, b []byte, top uint8) (hybrid, []byte, error) {
	if e != RLE {
		return hybrid{}, nil, fmt.Errorf("%w: levels in encoding %d", ErrUnsupported, e)
	}
	if len(b) < 4 {
		return hybrid{}, nil, fmt.Errorf("%w: page ends inside its levels", ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return hybrid{}, nil, fmt.Errorf("%w: levels of %d bytes in a page of %d", ErrCorrupt, n, len(b))
	}
	h, err := newHybrid(b[4:4+n], widthOf(uint32(top)))
	return h, b[4+n:], err
}

func (c *Chunk) openV2(h pageHeader, b []byte) error {
	levels := h.repBytes + h.defBytes
	codec := c.codec
	if h.plainV2 {
		codec = Uncompressed
	}
	var reps, defs hybrid
	// The window's memory is reused, so levels are copied with the values.
	head := append([]byte(nil), b[:levels]...)
	reps, err := newHybrid(head[:h.repBytes], widthOf(uint32(c.leaf.MaxRep)))
	if err != nil {
		return err
	}
	if defs, err = newHybrid(head[h.repBytes:], widthOf(uint32(c.leaf.MaxDef))); err != nil {
		return err
	}
	rest := b[levels:]
	if len(rest) == 0 && h.uncompressed == levels {
		codec = Uncompressed
	}
	if rest, err = c.keep(codec, rest, h.uncompressed-levels); err != nil {
		return err
	}
	return c.openValues(h, rest, reps, defs)
}

func (c *Chunk) openValues(h pageHeader, b []byte, reps, defs hybrid) error {
	c.allDef = c.leaf.MaxDef == 0
	c.flatDefs = defs
	if c.leaf.MaxRep > 0 {
		if h.values > maxNestedValues {
			return fmt.Errorf("%w: a page of %d values of a repeating column", ErrUnsupported, h.values)
		}
		if cap(c.scratch) < 2*h.values {
			c.scratch = make([]uint8, 2*h.values)
		}
		c.reps, c.defs = c.scratch[:h.values], c.scratch[h.values:2*h.values]
		if err := reps.u8s(c.reps); err != nil {
			return err
		}
		for _, r := range c.reps {
			if r > c.leaf.MaxRep {
				return fmt.Errorf("%w: repetition level %d above %d", ErrCorrupt, r, c.leaf.MaxRep)
			}
		}
		if err := defs.u8s(c.defs); err != nil {
			return err
		}
	}
	return c.vals.open(h.encoding, b, h.values, c.dict)
}
