package index

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"sluice.io/sluice/worker/silver/fold"
)

// Stage has the entries of an index that is being built and is far larger than memory. They wait in files, one for some neighbouring shards, and go into the index one
// file after the other, so that each run is written once. Moving them whenever memory is full would write all runs anew each time: the square of their number.
type Stage struct {
	mu    sync.Mutex
	parts []stagePart
	shift uint // of a shard to its part
}

type stagePart struct {
	f *os.File
	w *bufio.Writer
	n int
}

const (
	staged      = 32 // bytes of an entry
	stageBuffer = 1 << 14
	stageBatch  = 1 << 12 // entries
)

// Stage begins a Stage for n entries; nil where memory has room for half of them.
func (x *Index) Stage(n int) (*Stage, error) {
	room := x.Room(n)
	if n <= 2*room {
		return nil, nil
	}
	s := &Stage{shift: shardBits}
	for s.shift > 0 && n>>(shardBits-s.shift) > room/2 {
		s.shift--
	}
	s.parts = make([]stagePart, shards>>s.shift)
	for i := range s.parts {
		f, err := unnamed(x.spill.Dir)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("spill the key index: %w", err)
		}
		s.parts[i] = stagePart{f: f, w: bufio.NewWriterSize(f, stageBuffer)}
	}
	return s, nil
}

// Add adds entries. Several goroutines may.
func (s *Stage) Add(es []Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b [staged]byte
	for i := range es {
		e := &es[i]
		p := &s.parts[shardOf(e.Hash)>>s.shift]
		binary.BigEndian.PutUint64(b[:], e.Hash.Lo)
		binary.BigEndian.PutUint32(b[8:], e.Hash.Hi)
		binary.BigEndian.PutUint64(b[12:], e.Prefix)
		binary.BigEndian.PutUint32(b[20:], e.SeqHash)
		binary.BigEndian.PutUint32(b[24:], e.File)
		binary.BigEndian.PutUint32(b[28:], e.Row)
		if _, err := p.w.Write(b[:]); err != nil {
			return fmt.Errorf("spill the key index: %w", err)
		}
		p.n++
	}
	return nil
}

// Fill moves all into the index, which is empty, and to disk. It gives the hashes that were there twice.
func (s *Stage) Fill(ctx context.Context, x *Index) (twice []fold.Hash, err error) {
	f := &filling{m: mover{x: x}, bulk: x.Bulk(), buf: make([]Entry, 0, stageBatch), sorted: make([]Entry, stageBatch)}
	for i := range s.parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := &s.parts[i]
		if err := f.part(p, i<<s.shift, (i+1)<<s.shift); err != nil {
			return nil, err
		}
		_ = p.f.Close()
		p.f = nil
	}
	return append(f.twice, f.m.twice...), nil
}

// filling is one Fill.
type filling struct {
	m           mover
	bulk        *Bulk
	buf, sorted []Entry
	twice       []fold.Hash
}

// part moves the entries of some shards. They may be more than memory has room for: equal hashes are never parted.
func (f *filling) part(p *stagePart, begin, end int) error {
	err := p.w.Flush()
	if err == nil {
		_, err = p.f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("spill the key index: %w", err)
	}
	r := bufio.NewReaderSize(p.f, 1<<18)
	var b [staged]byte
	inMemory := 0
	for n := p.n; n > 0; {
		f.buf = f.buf[:min(n, stageBatch)]
		for i := range f.buf {
			if _, err := io.ReadFull(r, b[:]); err != nil {
				return fmt.Errorf("read what was spilled of the key index: %w", err)
			}
			f.buf[i] = Entry{Hash: fold.Hash{Lo: binary.BigEndian.Uint64(b[:]), Hi: binary.BigEndian.Uint32(b[8:])}, Prefix: binary.BigEndian.Uint64(b[12:]),
				SeqHash: binary.BigEndian.Uint32(b[20:]), File: binary.BigEndian.Uint32(b[24:]), Row: binary.BigEndian.Uint32(b[28:])}
		}
		n, inMemory = n-len(f.buf), inMemory+len(f.buf)
		f.twice = append(f.twice, f.bulk.Add(f.buf, f.sorted)...)
		if n == 0 || inMemory >= f.m.x.Room(inMemory+1) {
			f.bulk.Done()
			if err := f.m.parts(begin, end); err != nil {
				return err
			}
			inMemory = 0
		}
	}
	return nil
}

// Close gives the files back.
func (s *Stage) Close() {
	if s == nil {
		return
	}
	for i := range s.parts {
		if f := s.parts[i].f; f != nil {
			_ = f.Close()
		}
		s.parts[i].f = nil
	}
}
