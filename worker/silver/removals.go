package silver

import (
	"fmt"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
	"sluice.io/sluice/worker/silver/state"
)

// removals are those of a table without key on their way from the state into the index. The state has a word on each merge that had to do with one, in no order:
// a removal that had no insert when it was written may be told once more, with the insert that it took back since.
type removals struct {
	x *index.Index
	// waiting are those that had no insert when they were written, with their times. They are most at the most: more of them go into the index, which
	// spills, and leave it when their insert comes up.
	waiting map[removalKey]int64
	most    int
	entered bool // some went into the index
	// released wait although a word names a row that they took: it was given back.
	released map[removalKey]bool
}

// releasedOf gives the removals that the state says wait.
func releasedOf(st *state.State) map[removalKey]bool {
	out := map[removalKey]bool{}
	for i := range st.Ends {
		out[removalKey{st.Ends[i].Hash, st.Ends[i].Stamp.Seq()}] = true
	}
	return out
}

// waitingMost bounds removals.waiting, to some 10 MB. Mostly a removal's two words are nearer to each other.
const waitingMost = 1 << 16

type removalKey struct {
	h   fold.Hash
	seq fold.Seq
}

// load takes a word on a removal.
func (l *removals) load(t *state.Tomb, g index.Grave) error {
	k := removalKey{t.Hash, t.Seq}
	if t.Add != "" && (l.released[k] || removalKnown(l.x, t.Hash, index.Dead, t.Seq)) {
		l.x.Insert(l.x.BuryAs(index.Undone, t.Hash, index.Grave{Stamp: g.Add, AtMs: g.AtMs}))
		if !l.released[k] {
			return nil // a word on a row that it took before, or instead
		}
	}
	if t.Add == "" || l.released[k] {
		if l.waiting == nil {
			l.waiting = map[removalKey]int64{}
		}
		l.waiting[k] = t.AtMs
		if len(l.waiting) > l.most {
			return l.enter()
		}
		return nil
	}
	delete(l.waiting, k)
	if l.entered {
		if e, ok := findRemoval(l.x, t.Hash, index.Waiting, t.Seq); ok {
			l.x.Raise(e)
			l.x.Remove(e)
		}
	}
	l.x.Insert(buryRemoval(l.x, t.Hash, g))
	return nil
}

// enter lets the index have those that wait still.
func (l *removals) enter() error {
	for k, ms := range l.waiting {
		st, err := fold.Parse(string(k.seq))
		if err != nil {
			return fmt.Errorf("tombstone: %w", err)
		}
		if _, ok := findRemoval(l.x, k.h, index.Dead, k.seq); ok {
			continue
		}
		g := index.Grave{Stamp: st, AtMs: ms}
		if l.entered {
			if e, ok := findRemoval(l.x, k.h, index.Waiting, k.seq); ok {
				l.x.Rebury(e, g)
				continue
			}
		}
		l.x.Insert(buryRemoval(l.x, k.h, g))
	}
	l.entered = l.entered || len(l.waiting) > 0
	clear(l.waiting)
	return nil
}
