package columnar

import (
	"bytes"
	"slices"
	"sync"
)

// Spares is memory that those who write files leave to each other, bounded for all of them together (D9): a writer of its own memory would
// keep what its largest file took, and there may be thousands of tables. It is safe for concurrent use; a nil Spares keeps nothing.
type Spares struct {
	mu    sync.Mutex
	free  []spare
	bytes int64
	limit int64
}

// spare is pages of a Writer, or the bytes of a file; the other one is nil.
type spare struct {
	pages *Buffers
	file  *bytes.Buffer
	size  int64
}

// alwaysKept is how many spares are kept whatever their size: the pages and the file of somebody who writes one large file after another.
const alwaysKept = 2

// NewSpares makes a store that keeps up to so many bytes for those who come.
func NewSpares(limit int64) *Spares { return &Spares{limit: limit} }

// Pages gives memory for WriterOptions.Buffers.
func (s *Spares) Pages() *Buffers {
	if x, ok := s.take(func(x spare) bool { return x.pages != nil }); ok {
		return x.pages
	}
	return &Buffers{}
}

// GivePages takes back the memory of a Writer that is closed.
func (s *Spares) GivePages(b *Buffers) { s.give(spare{pages: b, size: b.parquet.Size()}) }

// File gives an empty buffer for the bytes of a file.
func (s *Spares) File() *bytes.Buffer {
	if x, ok := s.take(func(x spare) bool { return x.file != nil }); ok {
		x.file.Reset()
		return x.file
	}
	return &bytes.Buffer{}
}

// GiveFile takes back a buffer at whose bytes nobody looks any more.
func (s *Spares) GiveFile(b *bytes.Buffer) { s.give(spare{file: b, size: int64(b.Cap())}) }

// take gives the spare of a kind that was given last.
func (s *Spares) take(kind func(spare) bool) (spare, bool) {
	if s == nil {
		return spare{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range slices.Backward(s.free) {
		if kind(x) {
			s.free = slices.Delete(s.free, i, i+1)
			s.bytes -= x.size
			return x, true
		}
	}
	return spare{}, false
}

func (s *Spares) give(x spare) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	same := 0
	for _, y := range s.free {
		if (y.pages != nil) == (x.pages != nil) {
			same++
		}
	}
	if same >= alwaysKept && s.bytes+x.size > s.limit {
		return
	}
	s.free = append(s.free, x)
	s.bytes += x.size
}
