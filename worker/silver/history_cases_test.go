package silver_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/worker/silver"
)

func asHistory(c *config.Sink) { c.SilverSCDType = 2 }

// versions are the rows of a history with the offsets of the seconds in which they began and ended.
func (x *bench) versions() string {
	x.t.Helper()
	var out []string
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		second := func(col string) string {
			_, v, _ := strings.Cut(l, `"`+col+`":`)
			if strings.HasPrefix(v, "null") {
				return ""
			}
			return v[15:20]
		}
		out = append(out, dataOnly(x.t, l)+" "+second("__START_AT")+"-"+second("__END_AT"))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (x *bench) wantVersions(rows ...string) {
	x.t.Helper()
	if got := x.versions(); got != strings.Join(rows, "\n") {
		x.t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(rows, "\n"))
	}
	if err := x.m.Scrub(context.Background(), math.MaxInt); err != nil { // D8
		x.t.Fatal(err)
	}
}

// A late event splits the version that it falls into, a late delete ends it, and a value that was carried over follows.
func TestLateEventsSplitVersions(t *testing.T) {
	t.Parallel()
	x := newBench(t, asHistory)
	x.merge(rec(cOp, 1, 1, "a", long(1), "b", text("x")))
	x.merge(rec(uOp, 9, 1, "a", long(9), "b", connectors.UnavailableValue()))
	x.wantVersions(`{"a":1,"b":"x","id":1} 00:01-00:09`, `{"a":9,"b":"x","id":1} 00:09-`)
	x.merge(rec(uOp, 5, 1, "a", long(5), "b", text("y")))
	x.wantVersions(`{"a":1,"b":"x","id":1} 00:01-00:05`, `{"a":5,"b":"y","id":1} 00:05-00:09`, `{"a":9,"b":"y","id":1} 00:09-`)
	x.merge(rec(dOp, 7, 1))
	x.wantVersions(`{"a":1,"b":"x","id":1} 00:01-00:05`, `{"a":5,"b":"y","id":1} 00:05-00:07`, `{"a":9,"b":null,"id":1} 00:09-`)
	x.reopen(asHistory)
	x.merge(rec(dOp, 3, 1), rec(dOp, 7, 1), rec(uOp, 5, 1, "a", long(5), "b", text("y")))
	x.wantVersions(`{"a":1,"b":"x","id":1} 00:01-00:03`, `{"a":5,"b":"y","id":1} 00:05-00:07`, `{"a":9,"b":null,"id":1} 00:09-`)
}

// E18: a truncate ends all versions that began before, in as many commits as it takes, and late events before it too.
func TestTruncateEndsVersions(t *testing.T) {
	defer silver.SetCutKeys(2)()
	for _, keyed := range []bool{true, false} {
		x := newBench(t, asHistory)
		ev := func(off, id int64) connectors.Change {
			c := rec(cOp, off, id, "a", long(off))
			if !keyed {
				c.Key = connectors.Row{}
			}
			return c
		}
		x.merge(ev(1, 1), ev(2, 2), ev(3, 3), ev(4, 4), ev(5, 5))
		x.merge(ev(12, 12))
		x.merge(truncateAt(10), ev(11, 1), ev(13, 13))
		x.merge(ev(6, 6))
		want := []string{`{"a":1,"id":1} 00:01-00:10`, `{"a":11,"id":1} 00:11-`, `{"a":12,"id":12} 00:12-`, `{"a":13,"id":13} 00:13-`, `{"a":2,"id":2} 00:02-00:10`,
			`{"a":3,"id":3} 00:03-00:10`, `{"a":4,"id":4} 00:04-00:10`, `{"a":5,"id":5} 00:05-00:10`, `{"a":6,"id":6} 00:06-00:10`}
		x.wantVersions(want...)
		x.reopen(asHistory)
		x.merge(truncateAt(10), ev(1, 1), ev(6, 6), ev(13, 13))
		x.wantVersions(want...)
	}
}

// Columns of a history follow the source as those of current rows do; versions that ended are widened with the others.
func TestHistoryColumnsFollow(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
		x := newBench(t, func(c *config.Sink) { c.SilverSCDType, c.SilverMergeMode = 2, mode })
		x.merge(rec(cOp, 1, 1, "a", long(1)), rec(cOp, 2, 2, "a", long(2)))
		x.merge(rec(uOp, 3, 1, "a", connectors.Float(1.5), "b", text("new")))
		x.merge(rec(uOp, 4, 2, "a", text("no number"), "b", text("q")))
		x.wantVersions(`{"a":1,"b":null,"id":1} 00:01-00:03`, `{"a":1.5,"b":"new","id":1} 00:03-`, `{"a":2,"b":null,"id":2} 00:02-00:04`, `{"a":null,"b":"q","id":2} 00:04-`)
	}
}

// silver.delete.mode=ignore leaves versions open; silver.ignore.null.updates carries over.
func TestHistoryModes(t *testing.T) {
	t.Parallel()
	x := newBench(t, func(c *config.Sink) { c.SilverSCDType, c.SilverDeleteMode = 2, "ignore" })
	x.merge(rec(cOp, 1, 1, "a", long(1)), rec(dOp, 2, 1))
	x.wantVersions(`{"a":1,"id":1} 00:01-`)
	y := newBench(t, func(c *config.Sink) { c.SilverSCDType, c.SilverIgnoreNullUpdates = 2, true })
	y.merge(rec(cOp, 1, 1, "a", long(1)))
	y.merge(rec(uOp, 3, 1, "a", connectors.NullValue()))
	y.wantVersions(`{"a":1,"id":1} 00:01-00:03`, `{"a":1,"id":1} 00:03-`)
	y.merge(rec(uOp, 2, 1, "a", long(2)))
	y.wantVersions(`{"a":1,"id":1} 00:01-00:02`, `{"a":2,"id":1} 00:02-00:03`, `{"a":2,"id":1} 00:03-`)
}

// A table cannot become a history, nor the other way.
func TestHistoryStaysOne(t *testing.T) {
	t.Parallel()
	for _, first := range []int{1, 2} {
		x := newBench(t, func(c *config.Sink) { c.SilverSCDType = first })
		x.merge(rec(cOp, 1, 1, "a", long(1)))
		conf := sinkConfig()
		conf.SilverSCDType = 3 - first
		if _, err := openErr(x.b, conf); err == nil || !strings.Contains(err.Error(), "silver.scd.type") {
			t.Fatalf("%v", err)
		}
	}
}
