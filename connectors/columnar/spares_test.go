package columnar

import (
	"bytes"
	"testing"
)

// Memory goes from one writer to the next; what all of them leave is bounded (D9).
func TestSparesAreBounded(t *testing.T) {
	s := NewSpares(10_000)
	give := func(n int) *bytes.Buffer {
		b := &bytes.Buffer{}
		b.Grow(n)
		s.GiveFile(b)
		return b
	}
	give(50_000)
	large := give(50_000) // the first two are kept, however large
	for range 10 {
		give(4_000)
	}
	if len(s.free) != 2 {
		t.Errorf("%d buffers are kept", len(s.free))
	}
	if got := s.File(); got != large || got.Len() != 0 {
		t.Error("the last one is not lent first, or not empty")
	}
	s.GivePages(s.Pages())
	if len(s.free) != 2 || s.bytes < 50_000 {
		t.Errorf("%d spares of %d bytes", len(s.free), s.bytes)
	}
	var none *Spares
	none.GiveFile(none.File())
	none.GivePages(none.Pages())
}
