package silver

import (
	"strings"
	"sync"

	"sluice.io/sluice/worker/silver/fold"
)

// maxima are the newest positioned sequences by partition.
type maxima struct {
	mu sync.Mutex
	at map[uint32]*fold.Stamp
	// last is the one of the partition seen last.
	last     *fold.Stamp
	lastPart uint32
}

// see notes a sequence. Its text may belong to a file's memory: settle copies it.
func (x *maxima) see(s fold.Stamp) {
	if s.Pos == "" {
		return
	}
	p := s.Part & fold.PartitionMask
	old := x.last
	if old == nil || x.lastPart != p {
		if old = x.at[p]; old == nil {
			if x.at == nil {
				x.at = map[uint32]*fold.Stamp{}
			}
			n := s // only here: else each call would take memory
			x.at[p] = &n
			x.last, x.lastPart = &n, p
			return
		}
		x.last, x.lastPart = old, p
	}
	if old.Epoch > s.Epoch || old.Epoch == s.Epoch && old.Pos >= s.Pos {
		return
	}
	*old = s
}

// settle lets go of the memory of files.
func (x *maxima) settle() {
	for _, s := range x.at {
		s.Pos = strings.Clone(s.Pos)
	}
}

func (x *maxima) join(o *maxima) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o.settle()
	for _, s := range o.at {
		x.see(*s)
	}
}

func (x *maxima) get(partition uint32) (fold.Stamp, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.at[partition]
	if !ok {
		return fold.Stamp{}, false
	}
	return *s, true
}
