package bronze

import (
	"fmt"
	"time"
)

// phases say where the time of a commit went, from the cut of its chunk on.
type phases struct{ encode, store, letters, hand time.Duration }

// A commit that takes longer than slowCommit explains itself in the log, not more often than slowEvery.
const (
	slowCommit = time.Second
	slowEvery  = 10 * time.Second
)

// explain says why a commit was slow. It belongs to the goroutine that commits.
func (a *Appender) explain(c *chunk) {
	t := c.took
	total := t.encode + t.store + t.letters + t.hand
	if total < max(slowCommit, a.o.Interval) || a.o.Now().Sub(a.told) < slowEvery {
		return
	}
	a.told = a.o.Now()
	why, part := "store latency", t.store
	for _, x := range []struct {
		why  string
		took time.Duration
	}{{"encoding rows, and waiting for a turn to", t.encode}, {"keeping dead letters", t.letters}, {"silver has no room for the changes yet", t.hand}} {
		if x.took > part {
			why, part = x.why, x.took
		}
	}
	a.log.Info(fmt.Sprintf("bronze commit %.1f s: %s", total.Seconds(), why), "of it", part.Round(time.Millisecond), "records", c.rows, "bytes", c.file.Size)
}
