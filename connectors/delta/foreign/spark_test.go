package foreign

import (
	"testing"

	"sluice.io/sluice/internal/testkit/engines"
)

// TestSpark: Spark, in one session, reads every table that we write as we read it, and writes some of them.
func TestSpark(t *testing.T) {
	engines.Home(t)
	_, _, todo := lake(t)
	if t.Failed() {
		return
	}
	e := engines.Start(t, "spark")
	t.Run("reads", func(t *testing.T) { compare(t, e, forSpark(todo)) })
	t.Run("writes", func(t *testing.T) { writers(t, e) })
}

// forSpark takes the newest version of each table, one older version of those that have more, the change feeds, and some of the conditions that skip
// files: the rest is read by the Java kernel, whose reading of the log is Spark's.
func forSpark(todo []reading) []reading {
	count := func(r reading, of map[*table]int) int { of[r.table]++; return of[r.table] }
	versions := map[*table]int{}
	for _, r := range todo {
		if r.what == "version" {
			count(r, versions)
		}
	}
	var out []reading
	seen, conditions := map[*table]int{}, map[*table]int{}
	for _, r := range todo {
		switch r.what {
		case "version":
			if count(r, seen) != (versions[r.table]+1)/2 {
				continue
			}
		case "where":
			if n := count(r, conditions); n > 3 && n%3 != 0 {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}
