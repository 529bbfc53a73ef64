package silver

import (
	"sync"

	"sluice.io/sluice/worker/silver/fold"
)

// maxima are the newest positioned sequences by partition.
type maxima struct {
	mu sync.Mutex
	at map[uint32]fold.Stamp
}

func (x *maxima) see(s fold.Stamp) {
	if s.Pos == "" {
		return
	}
	p := s.Part & fold.PartitionMask
	old, ok := x.at[p]
	if ok && (old.Epoch > s.Epoch || old.Epoch == s.Epoch && old.Pos >= s.Pos) {
		return
	}
	if x.at == nil {
		x.at = map[uint32]fold.Stamp{}
	}
	s.Pos = string(append([]byte(nil), s.Pos...)) // not to hold the file's memory
	x.at[p] = s
}

func (x *maxima) join(o *maxima) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range o.at {
		x.see(s)
	}
}

func (x *maxima) get(partition uint32) (fold.Stamp, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.at[partition]
	return s, ok
}
