package bronze

import (
	"sync"

	"sluice.io/sluice/connectors"
)

// slab is how many changes are kept in one piece, so that growing does not copy.
const slab = 1024

// Slabs lends memory for changes that are kept. Whoever has it last gives it back, and must have forgotten it by then; memory
// that is not given back is the garbage collector's. It is safe for concurrent use.
type Slabs struct {
	mu   sync.Mutex
	free [][]connectors.Change
	most int
}

// NewSlabs makes a store that keeps up to so many bytes for those who come.
func NewSlabs(bytes int64) *Slabs { return &Slabs{most: int(bytes / (slab * changeBytes))} }

func (s *Slabs) get() []connectors.Change {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if k := len(s.free) - 1; k >= 0 {
			out := s.free[k]
			s.free = s.free[:k]
			return out
		}
	}
	return make([]connectors.Change, 0, slab)
}

// Give takes slabs back.
func (s *Slabs) Give(slabs [][]connectors.Change) {
	if s == nil {
		return
	}
	for _, x := range slabs {
		if cap(x) != slab {
			continue
		}
		clear(x)
		s.mu.Lock()
		if len(s.free) < s.most {
			s.free = append(s.free, x[:0])
		}
		s.mu.Unlock()
	}
}
