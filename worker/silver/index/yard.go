package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice.io/sluice/worker/silver/fold"
)

// yard is the file of a run's tombstones, in the order of the run's entries. A tombstone begins at a multiple of yardUnit, which is what
// the Row of its entry counts, with onDisk. Like the run it has no name and is gone with the process.
type yard struct {
	f    *os.File
	size int64
	// window is what was read last, from at on: a scan of the run reads the yard once.
	window []byte
	at     int64
}

const (
	onDisk     = 1 << 31 // of the Row of a Dead entry: the tombstone is in the yard, not in graves
	yardUnit   = 16
	yardWindow = 1 << 20
	yardHead   = 4 // the length of what follows
	yardShort  = 128
)

// bytes of a tombstone: AtMs and both stamps. Add's is left out where it is zero.
func appendGrave(b []byte, g *Grave) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.AppendVarint(b, g.AtMs)
	b = appendStamp(b, &g.Stamp)
	if g.Add != (fold.Stamp{}) {
		b = appendStamp(b, &g.Add)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-yardHead))
	for len(b)%yardUnit != 0 {
		b = append(b, 0)
	}
	return b
}

func appendStamp(b []byte, s *fold.Stamp) []byte {
	var flags byte
	if s.Exact {
		flags |= 1
	}
	if s.Lifted {
		flags |= 2
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(s.Epoch))
	b = binary.AppendUvarint(b, uint64(s.Part))
	b = binary.AppendVarint(b, s.Off)
	b = binary.AppendUvarint(b, uint64(len(s.Pos)))
	return append(b, s.Pos...)
}

var errYard = errors.New("it is not what was written")

func decodeGrave(b []byte) (g Grave, err error) {
	var n int
	if g.AtMs, n = binary.Varint(b); n <= 0 {
		return g, errYard
	}
	if g.Stamp, b, err = decodeStamp(b[n:]); err == nil && len(b) > 0 {
		g.Add, b, err = decodeStamp(b)
	}
	if err == nil && len(b) > 0 {
		err = errYard
	}
	return g, err
}

func decodeStamp(b []byte) (s fold.Stamp, rest []byte, err error) {
	if len(b) == 0 {
		return s, nil, errYard
	}
	s.Exact, s.Lifted = b[0]&1 != 0, b[0]&2 != 0
	b = b[1:]
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err = errYard
			return 0
		}
		b = b[n:]
		return v
	}
	s.Epoch, s.Part = uint32(next()), uint32(next())
	off, n := binary.Varint(b)
	if n <= 0 {
		return s, nil, errYard
	}
	s.Off, b = off, b[n:]
	long := next()
	if err != nil || long > uint64(len(b)) {
		return s, nil, errYard
	}
	s.Pos = string(b[:long])
	return s, b[long:], nil
}

// grave reads the tombstone at a unit. With ahead the neighbours behind it are kept for the reads that follow.
func (y *yard) grave(row uint32, ahead bool) (Grave, error) {
	at := int64(row&^onDisk) * yardUnit
	need := int64(yardHead)
	for {
		b, err := y.read(at, need, ahead)
		if err != nil {
			return Grave{}, fmt.Errorf("read tombstones of the key index from %s: %w", y.f.Name(), err)
		}
		if long := yardHead + int64(binary.BigEndian.Uint32(b)); int64(len(b)) < long {
			need = long
			continue
		} else if g, err := decodeGrave(b[yardHead:long]); err != nil {
			return Grave{}, fmt.Errorf("read tombstones of the key index from %s at %d: %w", y.f.Name(), at, err)
		} else {
			return g, nil
		}
	}
}

// read gives at least need bytes from at on. They are valid until the next read.
func (y *yard) read(at, need int64, ahead bool) ([]byte, error) {
	if at >= y.at && at+need <= y.at+int64(len(y.window)) {
		return y.window[at-y.at:], nil
	}
	n := max(need, yardShort)
	if ahead {
		n = max(n, yardWindow)
	}
	if int64(cap(y.window)) < n {
		y.window = make([]byte, n)
	}
	k, err := y.f.ReadAt(y.window[:n], at)
	y.window, y.at = y.window[:k], at
	if int64(k) < need {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return y.window, nil
}

func (y *yard) bytes() int64 {
	if y == nil {
		return 0
	}
	return int64(cap(y.window))
}

func (y *yard) length() int64 {
	if y == nil {
		return 0
	}
	return y.size
}

func (y *yard) close() {
	if y != nil {
		_ = y.f.Close()
	}
}

// yardWriter writes a yard.
type yardWriter struct {
	y   *yard
	w   *bufio.Writer
	n   int64 // bytes
	buf []byte
}

// bury writes a tombstone and gives the Row of its entry.
func (w *yardWriter) bury(g *Grave) (uint32, error) {
	if w.n/yardUnit >= onDisk {
		return 0, errors.New("spill the key index: there are more tombstones than it can hold; a shorter silver.tombstone.retention.ms lets them expire sooner")
	}
	row := uint32(w.n/yardUnit) | onDisk
	w.buf = appendGrave(w.buf[:0], g)
	w.n += int64(len(w.buf))
	w.y.size = w.n
	_, err := w.w.Write(w.buf)
	return row, err
}
