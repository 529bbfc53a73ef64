package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Vector holds what was read of a column: levels, and the values that are present, without gaps. Which member holds the
// values depends on the physical type:
//
//	BOOLEAN                 W1, 0 or 1
//	INT32, FLOAT            W4 (bits)
//	INT64, DOUBLE           W8 (bits)
//	INT96                   W8: microseconds since the epoch
//	BYTE_ARRAY              Offs and Data: value i is Data[Offs[i]:Offs[i+1]]
//	FIXED_LEN_BYTE_ARRAY    Data
type Vector struct {
	// N is the number of level entries: rows of a column that does not repeat.
	N int
	// Defs and Reps are the entries' levels. Defs is nil where every entry has the highest level, Reps where the column
	// does not repeat.
	Defs, Reps []uint8
	// Values is the number of values that are present.
	Values int

	W1   []uint8
	W4   []uint32
	W8   []uint64
	Offs []int32
	Data []byte

	rows int    // how many entries are to be read in all, where that is known
	mem  *Lease // where memory comes from
}

// Reset empties v. The memory that it had is given up: an Arrow array may own it. What is read next goes to the memory of a lease, nil for new.
func (v *Vector) Reset(l *Lease) { *v = Vector{mem: l} }

// values decodes the values of one page, or holds a dictionary's.
type values struct {
	typ    Type
	length int // of FIXED_LEN_BYTE_ARRAY
	mode   valueMode
	left   int // values that can still be read
	b      []byte
	p      int
	bit    int
	hyb    hybrid
	// mat holds all values of a page whose encoding is decoded at once, and matAt the next one.
	mat    Vector
	matAt  int
	deltas packed // numbers, or lengths of strings, or of what follows their prefixes
	prefix prefixes
	dict   *Vector
	idx    []uint32
	// lent tells that a vector has been given a part of b: its memory must not be used again for a page.
	lent bool
}

type valueMode uint8

const (
	modePlain valueMode = iota
	modeDict
	modeHybridBool
	modeMaterialised
	modePacked
	modePackedLengths
	modePrefixed
)

// open begins a page of n values (nulls not counted where the count is known, else an upper bound) in the given encoding.
func (d *values) open(e Encoding, b []byte, n int, dict *Vector) error {
	d.b, d.p, d.bit, d.left, d.dict, d.lent = b, 0, 0, n, dict, false
	switch e {
	case Plain:
		d.mode = modePlain
		return nil
	case PlainDictionary, RLEDictionary:
		if dict == nil {
			return fmt.Errorf("%w: dictionary page is missing", ErrCorrupt)
		}
		d.mode = modeDict
		if len(b) == 0 { // a page of nulls only
			d.left = 0
			return nil
		}
		var err error
		d.hyb, err = newHybrid(b[1:], uint(b[0]))
		return err
	case RLE:
		if d.typ != Boolean {
			break
		}
		d.mode = modeHybridBool
		if len(b) < 4 {
			d.left = 0
			return nil
		}
		size := binary.LittleEndian.Uint32(b)
		if uint64(size) > uint64(len(b)-4) {
			return fmt.Errorf("%w: booleans of %d bytes in a page of %d", ErrCorrupt, size, len(b))
		}
		var err error
		d.hyb, err = newHybrid(b[4:4+size], 1)
		return err
	case DeltaBinaryPacked, DeltaLengthBytes:
		if e == DeltaLengthBytes && d.typ != ByteArray || e == DeltaBinaryPacked && d.typ != Int32 && d.typ != Int64 {
			break
		}
		d.mode = modePacked
		if e == DeltaLengthBytes {
			d.mode = modePackedLengths
		}
		if len(b) == 0 { // a page of nulls only
			d.left = 0
			return nil
		}
		var err error
		d.deltas, d.p, err = openPacked(b, n)
		d.left = d.deltas.left
		return err
	case DeltaBytes, ByteStreamSplit:
		if e == DeltaBytes && d.typ == ByteArray {
			return d.openPrefixed(b, n)
		}
		d.mode, d.matAt = modeMaterialised, 0
		d.mat = Vector{}
		if err := materialise(e, d.typ, d.length, b, n, &d.mat); err != nil {
			return err
		}
		d.left = d.mat.Values
		return nil
	}
	return fmt.Errorf("%w: encoding %d of %s values", ErrUnsupported, e, d.typ)
}

// read appends n values to v.
func (d *values) read(v *Vector, n int) error {
	if n > d.left {
		return fmt.Errorf("%w: page has fewer values than its levels say", ErrCorrupt)
	}
	d.left -= n
	v.Values += n
	switch d.mode {
	case modeDict:
		if cap(d.idx) < n {
			d.idx = make([]uint32, n)
		}
		idx := d.idx[:n]
		if err := d.hyb.u32s(idx); err != nil {
			return err
		}
		return v.gather(d.typ, d.length, d.dict, idx)
	case modeHybridBool:
		at := len(v.W1)
		v.W1 = room(v.W1, v, n)[:at+n]
		return d.hyb.u8s(v.W1[at:])
	case modeMaterialised:
		v.appendRange(d.typ, d.length, &d.mat, d.matAt, n)
		d.matAt += n
		return nil
	case modePacked:
		if d.typ == Int32 {
			at := len(v.W4)
			v.W4 = room(v.W4, v, n)[:at+n]
			return readPacked(&d.deltas, v.W4[at:])
		}
		at := len(v.W8)
		v.W8 = room(v.W8, v, n)[:at+n]
		return readPacked(&d.deltas, v.W8[at:])
	case modePackedLengths:
		return d.readPackedBytes(v, n)
	case modePrefixed:
		return d.readPrefixed(v, n)
	}
	return d.readPlain(v, n)
}

func (d *values) readPlain(v *Vector, n int) error {
	rest := d.b[d.p:]
	short := func() error { return fmt.Errorf("%w: page ends inside its values", ErrCorrupt) }
	switch d.typ {
	case Boolean:
		if d.bit+n > 8*len(d.b) {
			return short()
		}
		v.W1 = room(v.W1, v, n)
		for range n {
			v.W1 = append(v.W1, d.b[d.bit>>3]>>(d.bit&7)&1)
			d.bit++
		}
	case Int32, Float:
		if len(rest)/4 < n {
			return short()
		}
		if from := castTo[uint32](rest, n); d.lends(v, n) && aligned(rest, 4) {
			v.W4, d.lent = from[:n:n], true
		} else {
			v.W4 = append(room(v.W4, v, n), from...)
		}
		d.p += 4 * n
	case Int64, Double:
		if len(rest)/8 < n {
			return short()
		}
		if from := castTo[uint64](rest, n); d.lends(v, n) && aligned(rest, 8) {
			v.W8, d.lent = from[:n:n], true
		} else {
			v.W8 = append(room(v.W8, v, n), from...)
		}
		d.p += 8 * n
	case Int96:
		if len(rest)/12 < n {
			return short()
		}
		v.W8 = room(v.W8, v, n)
		for i := range n {
			v.W8 = append(v.W8, int96Micros(rest[12*i:]))
		}
		d.p += 12 * n
	case FixedLenByteArray:
		if len(rest)/d.length < n {
			return short()
		}
		if v.Data == nil && v.rows > n {
			v.Data = RawIn[uint8](v.mem, min(v.rows, maxReserve)*min(d.length, 16))
		}
		v.Data = append(v.Data, rest[:n*d.length]...)
		d.p += n * d.length
	case ByteArray:
		return d.readPlainBytes(v, n)
	}
	return nil
}

func (d *values) readPlainBytes(v *Vector, n int) error {
	b, p := d.b, d.p
	if n > (len(b)-p)/4 { // before memory is asked for
		return fmt.Errorf("%w: page ends inside its values", ErrCorrupt)
	}
	v.openOffs(n)
	at := len(v.Offs)
	v.Offs = room(v.Offs, v, n)[:at+n]
	offs := v.Offs[at:]
	dp := len(v.Data)
	// What is left of the page, less the lengths, bounds the data where all of it is read; else the mean does, nearly always.
	guess := len(b) - p - 4*n
	if d.left > 0 {
		guess = min(guess, (len(b)-p)/(n+d.left)*n)
	}
	v.growData(max(guess, 0), n)
	data := v.Data[:cap(v.Data)]
	for i := 0; i < len(offs); i++ {
		// Runs of short values need no looking at each.
		k, np, ndp := copyShort(offs[i:], data, dp, b[:cap(b)], p)
		if i, p, dp = i+k, np, ndp; i == len(offs) {
			break
		}
		if len(b)-p < 4 {
			return fmt.Errorf("%w: page ends inside its values", ErrCorrupt)
		}
		l := int(binary.LittleEndian.Uint32(b[p:]))
		p += 4
		if l > len(b)-p {
			return fmt.Errorf("%w: value of %d bytes, %d left in the page", ErrCorrupt, l, len(b)-p)
		}
		if dp+l+16 > len(data) {
			if int64(dp)+int64(l) > math.MaxInt32 {
				return errTooLong
			}
			v.Data = v.Data[:dp]
			v.growData(max(l, len(data)/4), 0)
			data = v.Data[:cap(v.Data)]
		}
		copy(data[dp:dp+l], b[p:])
		p += l
		dp += l
		offs[i] = int32(dp)
	}
	if p > len(b) {
		return fmt.Errorf("%w: page ends inside its values", ErrCorrupt)
	}
	if dp > math.MaxInt32 {
		return errTooLong
	}
	v.Data = data[:dp]
	d.p = p
	return nil
}

// readPackedBytes reads strings whose lengths are in front of the page, and whose bytes lie behind each other.
func (d *values) readPackedBytes(v *Vector, n int) error {
	v.openOffs(n)
	at := len(v.Offs)
	v.Offs = room(v.Offs, v, n)[:at+n]
	from, end, base := d.p, d.p, len(v.Data)
	var lengths [256]uint32
	for offs := v.Offs[at:]; len(offs) > 0; {
		part := lengths[:min(len(lengths), len(offs))]
		if err := readPacked(&d.deltas, part); err != nil {
			return err
		}
		for i, l := range part {
			if int64(l) > int64(len(d.b)-end) {
				return fmt.Errorf("%w: value of %d bytes, %d left in the page", ErrCorrupt, int32(l), len(d.b)-end)
			}
			end += int(l)
			offs[i] = int32(base + end - from)
		}
		offs = offs[len(part):]
	}
	if base+end-from > math.MaxInt32 {
		return errTooLong
	}
	d.p = end
	if d.lends(v, n) {
		v.Data, d.lent = d.b[from:end], true
		return nil
	}
	v.growData(end-from, n)
	copy(v.Data[base:], d.b[from:end])
	return nil
}

var errTooLong = fmt.Errorf("%w: more than 2 GiB of strings in one batch: read fewer rows at once", ErrUnsupported)

// openOffs begins the offsets, for n values more.
func (v *Vector) openOffs(n int) {
	if len(v.Offs) == 0 {
		v.Offs = append(RawIn[int32](v.mem, max(n, min(v.rows, maxReserve))+1), 0)
	}
}

// maxReserve bounds what is asked for by the number of rows alone, before they are seen.
const maxReserve = 1 << 20

// whole tells that the n values that are being read are all that v will hold, and so many that it may hold on to their page.
func (v *Vector) whole(n int) bool { return v.rows == n && v.Values == n && n >= 4096 }

// lends tells that v may hold on to the page for the n values that are being read. In leased memory only where they are its
// last: the page then goes the way of the batch.
func (d *values) lends(v *Vector, n int) bool { return v.whole(n) && (v.mem == nil || d.left == 0) }

// room gives s with room for n values more: at first for all rows of v.
func room[T uint32 | uint64 | int32 | uint8](s []T, v *Vector, n int) []T {
	at := len(s)
	if cap(s)-at >= n {
		return s
	}
	return append(RawIn[T](v.mem, max(2*at, at+n, min(v.rows, maxReserve))), s...)
}

// growData makes Data n bytes longer, for this many values. The first time it makes room for all rows, by the values' mean length.
func (v *Vector) growData(n, values int) {
	at := len(v.Data)
	if v.Data == nil && v.rows > values && values > 1000 {
		if all := n / values * v.rows; all < 8*n {
			v.Data = RawIn[uint8](v.mem, max(all+all/8, n)+16)
		}
	}
	if cap(v.Data)-at < n+16 {
		v.Data = append(RawIn[uint8](v.mem, max(at+at/2, at+n)+16), v.Data...)
	}
	v.Data = v.Data[:at+n]
}

// gather appends the dictionary's entries that idx names.
func (v *Vector) gather(t Type, length int, dict *Vector, idx []uint32) error {
	top := uint32(0)
	for _, i := range idx {
		top = max(top, i)
	}
	if len(idx) > 0 && top >= uint32(dict.Values) {
		return fmt.Errorf("%w: index %d into a dictionary of %d", ErrCorrupt, top, dict.Values)
	}
	switch t {
	case Boolean:
		for _, i := range idx {
			v.W1 = append(v.W1, dict.W1[i])
		}
	case Int32, Float:
		at := len(v.W4)
		v.W4 = room(v.W4, v, len(idx))[:at+len(idx)]
		out, from := v.W4[at:], dict.W4
		for k, i := range idx {
			out[k] = from[i]
		}
	case Int64, Double, Int96:
		at := len(v.W8)
		v.W8 = room(v.W8, v, len(idx))[:at+len(idx)]
		out, from := v.W8[at:], dict.W8
		for k, i := range idx {
			out[k] = from[i]
		}
	case FixedLenByteArray:
		for _, i := range idx {
			v.Data = append(v.Data, dict.Data[int(i)*length:(int(i)+1)*length]...)
		}
	case ByteArray:
		v.openOffs(len(idx))
		end := int64(len(v.Data))
		first := len(v.Offs)
		v.Offs = room(v.Offs, v, len(idx))[:first+len(idx)]
		offs, src := v.Offs[first:], dict.Offs
		for k, i := range idx {
			end += int64(src[i+1] - src[i])
			offs[k] = int32(end)
		}
		if end > math.MaxInt32 {
			return errTooLong
		}
		at := len(v.Data)
		v.growData(int(end)-at, len(idx))
		data, from := v.Data, dict.Data[:cap(dict.Data)]
		fast, safe := cap(data)-16, len(from)-16
		for _, i := range idx {
			lo, hi := int(dict.Offs[i]), int(dict.Offs[i+1])
			if hi-lo <= 16 && at <= fast && lo <= safe {
				copy16(data, at, from, lo)
				at += hi - lo
				continue
			}
			at += copy(data[at:], dict.Data[lo:hi])
		}
	}
	return nil
}

// appendRange appends n values of src from the at'th on.
func (v *Vector) appendRange(t Type, length int, src *Vector, at, n int) {
	switch t {
	case Boolean:
		v.W1 = append(v.W1, src.W1[at:at+n]...)
	case Int32, Float:
		v.W4 = append(room(v.W4, v, n), src.W4[at:at+n]...)
	case Int64, Double, Int96:
		v.W8 = append(room(v.W8, v, n), src.W8[at:at+n]...)
	case FixedLenByteArray:
		v.Data = append(v.Data, src.Data[at*length:(at+n)*length]...)
	case ByteArray:
		v.openOffs(n)
		from := src.Offs[at]
		base := int32(len(v.Data)) - from
		for _, o := range src.Offs[at+1 : at+n+1] {
			v.Offs = append(v.Offs, base+o)
		}
		v.Data = append(v.Data, src.Data[from:src.Offs[at+n]]...)
	}
}

// int96Micros reads nanoseconds of the day (8 bytes) and the Julian day (4 bytes) as microseconds since the epoch.
func int96Micros(b []byte) uint64 {
	nanos := int64(binary.LittleEndian.Uint64(b))
	day := int64(int32(binary.LittleEndian.Uint32(b[8:]))) - 2440588
	micros := nanos / 1000
	if nanos%1000 < 0 {
		micros--
	}
	return uint64(day*86_400_000_000 + micros)
}
