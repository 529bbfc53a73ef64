package silver

import (
	"cmp"
	"time"

	"sluice.io/sluice/worker/silver/index"
)

// spill says where the key index goes on when it grows too large for memory. Tables without key, and histories, need all of each
// entry; a history has two halves.
func (m *Merger) spill() index.Spill {
	if m.opt.DataDir == "" || m.opt.IndexMemory == nil {
		return index.Spill{}
	}
	s := index.Spill{Dir: m.opt.DataDir, Limit: m.opt.IndexMemory, Whole: !m.keyed() || m.history()}
	if m.history() {
		s.Limit = func() int64 { return m.opt.IndexMemory() / 2 }
	}
	return s
}

// shrink moves the index to disk where it has grown too large for memory. An index that could not be read or written is built
// anew by the next merge.
func (m *Merger) shrink() {
	if m.idx.Spilled() == 0 {
		m.idx.WithSpill(m.spill())
	}
	if m.past.Spilled() == 0 {
		m.past.WithSpill(m.spill())
	}
	over := cmp.Or(m.idx.Err(), m.past.Err()) == nil && (m.idx.Over() || m.past.Over())
	if over {
		start, before := m.now(), m.idx.MemoryBytes()+m.past.MemoryBytes()
		_, err := m.idx.Shrink()
		if err == nil {
			err = m.past.Shrink()
		}
		if err != nil {
			m.log.Warn("the key index stays in memory, beyond its share", "memory", before, "error", err)
		} else {
			m.log.Info("moved the key index from memory to disk", "memory", before, "now", m.idx.MemoryBytes()+m.past.MemoryBytes(),
				"disk", m.idx.Spilled()+m.past.Spilled(), "took", m.now().Sub(start).Round(time.Millisecond))
		}
	}
	if err := cmp.Or(m.idx.Err(), m.past.Err()); err != nil {
		m.log.Error("the key index could not be kept on disk; it is built anew", "error", err)
		m.ready, m.loaded = false, false
	}
}
