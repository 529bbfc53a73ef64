package silver_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
)

// Truncates of a table without key have their place between its rows, whatever comes first: partitions may be behind each other.
func TestTruncatesOfKeylessInAnyOrder(t *testing.T) {
	t.Parallel()
	row := func(off int64) connectors.Change {
		c := rec(cOp, off, 1, "a", text("x"))
		c.Key = connectors.Row{}
		return c
	}
	for name, c := range map[string]struct {
		events   []connectors.Change
		versions []string
	}{
		"two truncates":              {[]connectors.Change{row(1), truncateAt(5), row(7), truncateAt(9), row(11)}, []string{"01-05", "07-09", "11-"}},
		"two truncates behind a row": {[]connectors.Change{row(1), truncateAt(5), truncateAt(9)}, []string{"01-05"}},
	} {
		for i := range c.events {
			c.events[i] = at(c.events[i], int32(i))
		}
		for _, scd := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, SCD %d", name, scd), func(t *testing.T) {
				t.Parallel()
				permutations(len(c.events), func(order []int) {
					set := func(c *config.Sink) { c.SilverSCDType = scd }
					x := newBench(t, set)
					for _, k := range order {
						x.merge(c.events[k])
						x.reopen(set)
					}
					var got []string
					if scd == 2 {
						for l := range strings.Lines(x.versions()) {
							_, span, _ := strings.Cut(strings.TrimSpace(l), " ")
							got = append(got, strings.ReplaceAll(span, "00:", ""))
						}
					} else {
						for range canonicalRows(t, x.b, "silver/t") {
							got = append(got, "row")
						}
					}
					var want []string
					for _, v := range c.versions {
						switch {
						case scd == 2:
							want = append(want, v)
						case strings.HasSuffix(v, "-"):
							want = append(want, "row")
						}
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("order %v: got %v, want %v", order, got, want)
					}
				})
			})
		}
	}
}

// permutations calls f with each order of n things.
func permutations(n int, f func([]int)) {
	var grow func(head, rest []int)
	grow = func(head, rest []int) {
		if len(rest) == 0 {
			f(head)
		}
		for i := range rest {
			tail := append(append([]int{}, rest[:i]...), rest[i+1:]...)
			grow(append(append([]int{}, head...), rest[i]), tail)
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	grow(nil, all)
}
