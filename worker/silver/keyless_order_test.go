package silver_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store/mem"
)

// story is what happened to a table without key all of whose rows are equal: A adds one, R removes the newest, T truncates.
type story string

// events gives the changes of the story, each from a partition of its own: at 1, 3, 5 …
func (s story) events() []connectors.Change {
	var out []connectors.Change
	for i, k := range s {
		c := rec(cOp, int64(2*i+1), 1, "a", text("x"))
		c.Key = connectors.Row{}
		switch k {
		case 'R':
			c.Op, c.Before, c.After, c.BeforeQuality = dOp, c.After, connectors.Row{}, connectors.BeforeFull
		case 'T':
			c = truncateAt(int64(2*i + 1))
		}
		out = append(out, at(c, int32(i)))
	}
	return out
}

// rows gives the lifetimes of the story's rows or, of current rows, one word for each that is there.
func (s story) rows(scd int) []string {
	var open []int
	out := []string{}
	end := func(from, to int) {
		if scd == 2 {
			out = append(out, fmt.Sprintf("%02d-%02d", from, to))
		}
	}
	for i, k := range s {
		at := 2*i + 1
		switch k {
		case 'A':
			open = append(open, at)
		case 'R':
			end(open[len(open)-1], at)
			open = open[:len(open)-1]
		case 'T':
			for _, from := range open {
				end(from, at)
			}
			open = nil
		}
	}
	for _, from := range open {
		if out = append(out, "row"); scd == 2 {
			out[len(out)-1] = fmt.Sprintf("%02d-", from)
		}
	}
	slices.Sort(out)
	return out
}

// lifetimes gives what a table has, as rows does.
func (x *bench) lifetimes(scd int) []string {
	out := []string{}
	if scd == 2 {
		for l := range strings.Lines(x.versions()) {
			_, span, _ := strings.Cut(strings.TrimSpace(l), " ")
			out = append(out, strings.ReplaceAll(span, "00:", ""))
		}
	} else {
		for range canonicalRows(x.t, x.b, "silver/t") {
			out = append(out, "row")
		}
	}
	slices.Sort(out)
	return out
}

// D7: the rows of a table without key are those that its events give, in whatever order they come: partitions may be behind each other. Was: a removal that had
// taken an older row, since its own came later, or a truncate before it, never took another.
func TestRowsWithoutKeyInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, s := range []story{"ARAR", "AARR", "ARTA", "ATAR", "ATT", "AARAR", "ARARA", "ARTAR", "AATAR", "ATATA"} {
		for _, scd := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, SCD %d", s, scd), func(t *testing.T) {
				t.Parallel()
				events, want := s.events(), fmt.Sprint(s.rows(scd))
				permutations(len(events), func(order []int) {
					set := func(c *config.Sink) { c.SilverSCDType = scd }
					x := newBench(t, set)
					for _, k := range order {
						x.merge(events[k])
						x.reopen(set)
					}
					if got := fmt.Sprint(x.lifetimes(scd)); got != want {
						t.Errorf("order %v: got %s, want %s", order, got, want)
					}
				})
			})
		}
	}
}

// TestKeylessOrderLaws: the same of long stories, in batches, with repeats, in both modes, opened anew here and there.
func TestKeylessOrderLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var s story
		n := 0
		for range rapid.IntRange(2, 24).Draw(r, "events") {
			switch k := rapid.IntRange(0, 15).Draw(r, "event"); {
			case k == 0:
				s, n = s+"T", 0
			case n > 0 && k < 8:
				s, n = s+"R", n-1
			default:
				s, n = s+"A", n+1
			}
		}
		scd := rapid.SampledFrom([]int{1, 2}).Draw(r, "scd")
		set := func(c *config.Sink) { c.SilverSCDType = scd }
		if rapid.Bool().Draw(r, "copy on write") {
			set = func(c *config.Sink) { c.SilverSCDType, c.SilverMergeMode = scd, "copy-on-write" }
		}
		events := s.events()
		order := rapid.Permutation(indices(len(events))).Draw(r, "order")
		for range rapid.IntRange(0, 3).Draw(r, "repeats") {
			order = append(order, rapid.IntRange(0, len(events)-1).Draw(r, "again"))
		}
		x := newBench(t, set)
		for len(order) > 0 {
			k := rapid.IntRange(1, len(order)).Draw(r, "batch")
			var batch []connectors.Change
			for _, i := range order[:k] {
				batch = append(batch, events[i])
			}
			x.merge(batch...)
			order = order[k:]
			if rapid.Bool().Draw(r, "open anew") {
				x.reopen(set)
			}
		}
		if got, want := fmt.Sprint(x.lifetimes(scd)), fmt.Sprint(s.rows(scd)); got != want {
			r.Fatalf("%s, SCD %d: got %s, want %s", s, scd, got, want)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
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
	grow(nil, indices(n))
}

// TestKeylessLaws: the same of rows that change: an update takes a row of one content away and adds one of another. Three partitions, positions that several events may share or not,
// repeats, commits of others, an index on disk.
func TestKeylessLaws(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		exact := rapid.Bool().Draw(r, "exact positions")
		row := func(v int) connectors.Row { return rec(cOp, 1, 1, "a", long(int64(v))).After }
		var events []connectors.Change
		open := map[int][]int{}
		var want []string
		scd := rapid.SampledFrom([]int{1, 2}).Draw(r, "scd")
		end := func(v, to int) {
			l := open[v]
			if scd == 2 {
				want = append(want, fmt.Sprintf(`{"a":%d,"id":1} %02d:%02d-%02d:%02d`, v, l[len(l)-1]/60, l[len(l)-1]%60, to/60, to%60))
			}
			open[v] = l[:len(l)-1]
		}
		for i := range rapid.IntRange(2, 30).Draw(r, "events") {
			at := 2*i + 1
			v, to := rapid.IntRange(1, 3).Draw(r, "v"), rapid.IntRange(1, 3).Draw(r, "to")
			c := rec(uOp, int64(at), 1, "a", long(int64(v)))
			c.Key, c.Before, c.BeforeQuality = connectors.Row{}, row(v), connectors.BeforeFull
			switch k := rapid.IntRange(0, 19).Draw(r, "event"); {
			case k == 0:
				c = truncateAt(int64(at))
				for v := range open {
					for len(open[v]) > 0 {
						end(v, at)
					}
				}
			case k < 6 && len(open[v]) > 0:
				c.Op, c.After = dOp, connectors.Row{}
				end(v, at)
			case k < 12 && len(open[v]) > 0 && v != to:
				c.After = row(to)
				end(v, at)
				open[to] = append(open[to], at)
			default:
				c.Op, c.Before, c.BeforeQuality = cOp, connectors.Row{}, connectors.BeforeNone
				open[v] = append(open[v], at)
			}
			if !exact {
				c.PosQuality = connectors.TieMayHappen
			}
			c.Record.Partition = int32(rapid.IntRange(0, 2).Draw(r, "partition"))
			events = append(events, c)
		}
		for v, l := range open {
			for _, from := range l {
				want = append(want, fmt.Sprintf(`{"a":%d,"id":1} %02d:%02d-`, v, from/60, from%60))
			}
		}
		conf := sinkConfig()
		conf.SilverSCDType = scd
		conf.SilverMergeMode = rapid.SampledFrom([]string{"deletion-vectors", "copy-on-write"}).Draw(r, "mode")
		b := mem.New("lake")
		run := &simRun{t: r, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)), conf: conf, b: b, restarts: true, foreign: true}
		if rapid.Bool().Draw(r, "on disk") {
			run.spill = dir
		}
		in := rapid.Permutation(events).Draw(r, "order")
		if exact {
			for range rapid.IntRange(0, 3).Draw(r, "repeats") {
				in = append(in, events[rapid.IntRange(0, len(events)-1).Draw(r, "again")])
			}
		}
		run.merge("bronze/t", in)
		x := &bench{t: t, b: b}
		got := ""
		if scd == 2 {
			got = x.versions()
		} else {
			for i := range want {
				want[i], _, _ = strings.Cut(want[i], " ")
			}
			var l []string
			for _, line := range canonicalRows(fataler{r}, b, "silver/t") {
				l = append(l, dataOnly(r, line))
			}
			slices.Sort(l)
			got = strings.Join(l, "\n")
		}
		slices.Sort(want)
		if w := strings.Join(want, "\n"); got != w {
			r.Fatalf("SCD %d: got\n%s\nwant\n%s", scd, got, w)
		}
	})
}

// TestKeylessSourcesLaws: the same of rows of several source tables, of one log or of two, that come through one topic or each through its own. In a table of current rows truncates
// come in order with the removals behind them: of words on removals the index does not know which table they are of (docs/formats.md).
func TestKeylessSourcesLaws(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		row := func(v int) connectors.Row { return rec(cOp, 1, 1, "a", long(int64(v))).After }
		scd := rapid.SampledFrom([]int{1, 2}).Draw(r, "scd")
		shared, logs := rapid.Bool().Draw(r, "one topic"), rapid.IntRange(1, 2).Draw(r, "logs")
		cuts := rapid.Bool().Draw(r, "truncates")
		var events []connectors.Change
		type place struct{ table, v int }
		open := map[place][]int{}
		var want []string
		end := func(p place, to int) {
			l := open[p]
			if scd == 2 {
				from := l[len(l)-1]
				want = append(want, fmt.Sprintf(`{"a":%d,"id":1} %02d:%02d-%02d:%02d`, p.v, from/60, from%60, to/60, to%60))
			}
			open[p] = l[:len(l)-1]
		}
		sources := make([]*connectors.Source, 3)
		for k := range sources {
			s := *benchSource
			s.Table, s.Name = fmt.Sprint("t", k), fmt.Sprint("log", k%logs)
			sources[k] = &s
		}
		for i := range rapid.IntRange(2, 30).Draw(r, "events") {
			at := 2*i + 1
			table := rapid.IntRange(0, 2).Draw(r, "table")
			p, to := place{table, rapid.IntRange(1, 2).Draw(r, "v")}, rapid.IntRange(1, 2).Draw(r, "to")
			c := rec(uOp, int64(at), 1, "a", long(int64(p.v)))
			c.Key, c.Before, c.BeforeQuality = connectors.Row{}, row(p.v), connectors.BeforeFull
			switch k := rapid.IntRange(0, 19).Draw(r, "event"); {
			case k < 2 && cuts:
				c = truncateAt(int64(at))
				for v := 1; v <= 2; v++ {
					for p := (place{table, v}); len(open[p]) > 0; {
						end(p, at)
					}
				}
			case k < 7 && len(open[p]) > 0:
				c.Op, c.After = dOp, connectors.Row{}
				end(p, at)
			case k < 12 && len(open[p]) > 0 && p.v != to:
				c.After = row(to)
				end(p, at)
				to := place{table, to}
				open[to] = append(open[to], at)
			default:
				c.Op, c.Before, c.BeforeQuality = cOp, connectors.Row{}, connectors.BeforeNone
				open[p] = append(open[p], at)
			}
			c.Source = sources[table]
			if table%logs == 1 { // this log is far behind the other
				c.Position = c.Position[:3] + "\x01" + c.Position[4:]
			}
			record := *c.Record
			record.Topic = "all"
			if !shared {
				record.Topic = c.Source.Table
			}
			if scd == 2 || !cuts {
				record.Partition = int32(rapid.IntRange(0, 2).Draw(r, "partition"))
			}
			c.Record = &record
			events = append(events, c)
		}
		for p, l := range open {
			for _, from := range l {
				want = append(want, fmt.Sprintf(`{"a":%d,"id":1} %02d:%02d-`, p.v, from/60, from%60))
			}
		}
		conf := sinkConfig()
		conf.SilverSCDType = scd
		conf.SilverMergeMode = rapid.SampledFrom([]string{"deletion-vectors", "copy-on-write"}).Draw(r, "mode")
		b := mem.New("lake")
		run := &simRun{t: r, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)), conf: conf, b: b, restarts: true, foreign: true}
		if rapid.Bool().Draw(r, "on disk") {
			run.spill = dir
		}
		in := events
		if scd == 2 || !cuts {
			in = rapid.Permutation(events).Draw(r, "order")
		}
		for range rapid.IntRange(0, 3).Draw(r, "repeats") {
			in = append(in[:len(in):len(in)], events[rapid.IntRange(0, len(events)-1).Draw(r, "again")])
		}
		run.merge("bronze/t", in)
		x := &bench{t: t, b: b}
		got := ""
		if scd == 2 {
			got = x.versions()
		} else {
			for i := range want {
				want[i], _, _ = strings.Cut(want[i], " ")
			}
			got = strings.Join(tableLines(r, b), "\n")
		}
		slices.Sort(want)
		if w := strings.Join(want, "\n"); got != w {
			r.Fatalf("SCD %d: got\n%s\nwant\n%s", scd, got, w)
		}
	})
}
