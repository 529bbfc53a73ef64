package foreign

import (
	"testing"
)

// TestSparkReads: Spark, in one session, reads every table that we write as we read it: the newest version of each, one older version of those
// that have more, the change feeds and the conditions that skip files.
func TestSparkReads(t *testing.T) {
	home(t)
	_, _, todo := lake(t)
	if t.Failed() {
		return
	}
	var some []reading
	versions := map[*table]int{}
	for _, r := range todo {
		if r.what == "version" {
			versions[r.table]++
		}
	}
	seen := map[*table]int{}
	for _, r := range todo {
		if r.what == "version" {
			// A version in the middle: others are read by the Java kernel, whose reading of the log is Spark's.
			if seen[r.table]++; seen[r.table] != (versions[r.table]+1)/2 {
				continue
			}
		}
		some = append(some, r)
	}
	compare(t, start(t, "spark"), some)
}
