package e2e

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice.io/sluice/internal/testkit/engines"
)

// lakeTable is a table in a node's lake that other engines are to read.
type lakeTable struct {
	*node
	path string
	feed bool // it has a change data feed, from its first version on
}

// readers are engines that read tables beside us, each in one process: none without READERS_HOME, which the real-systems suite sets. Of those here
// Spark and the Java kernel replay the log by themselves, delta-rs and DuckDB with delta-kernel-rs.
type readers []*engines.Engine

// startReaders starts engines. They end with the test.
func startReaders(tb testing.TB, names ...string) readers {
	tb.Helper()
	if os.Getenv("READERS_HOME") == "" {
		return nil
	}
	var r readers
	for _, name := range names {
		r = append(r, engines.Start(tb, name))
	}
	return r
}

// but leaves out those engines that refuse what is to be read.
func (r readers) but(names ...string) readers {
	return slices.DeleteFunc(slices.Clone(r), func(e *engines.Engine) bool { return slices.Contains(names, e.Name) })
}

// sql lets Spark do a statement.
func (r readers) sql(tb testing.TB, text string) {
	tb.Helper()
	for _, e := range r.but("delta-rs", "duckdb", "kernel-java") {
		if _, err := e.Ask(engines.Request{Do: "sql", SQL: text}); err != nil {
			tb.Fatalf("Spark: %s: %v", text, err)
		}
	}
}

// commitTime is the column of a change data feed that engines do not print alike.
var commitTime = regexp.MustCompile(`,?"_commit_timestamp":"[^"]*"`)

// changeOf is what a line of a change data feed has beside the row.
var changeOf = regexp.MustCompile(`"_change_type":"([^"]*)","_commit_version":([0-9]+),?`)

// agree compares what the binary prints of tables and of their change data feeds with what each engine reads, row by row and change by change; and all
// changes together must give the rows.
func (r readers) agree(tb testing.TB, tables ...lakeTable) {
	tb.Helper()
	if len(r) == 0 || len(tables) == 0 {
		return
	}
	type reading struct {
		what string
		q    engines.Request
		want []string
	}
	var todo []reading
	for _, t := range tables {
		rows := t.cat(tb, t.path)
		todo = append(todo, reading{t.at(t.path), engines.Request{Do: "read", Path: t.at(t.path)}, rows})
		if !t.feed {
			continue
		}
		changes := t.cat(tb, t.path, "--cdf", "0:")
		all := [2]int64{}
		left := map[string]int{}
		for i, line := range changes {
			changes[i] = commitTime.ReplaceAllString(line, "")
			m := changeOf.FindStringSubmatch(changes[i])
			if m == nil {
				tb.Fatalf("no change: %s", line)
			}
			version, err := strconv.ParseInt(m[2], 10, 64)
			if err != nil {
				tb.Fatalf("change %s: %v", line, err)
			}
			all[1] = max(all[1], version)
			left[changeOf.ReplaceAllString(changes[i], "")] += map[string]int{"insert": 1, "update_postimage": 1, "delete": -1, "update_preimage": -1}[m[1]]
		}
		var sum []string
		for row, n := range left {
			if n < 0 {
				tb.Errorf("the change data feed of %s takes away what was not there: %s", t.at(t.path), row)
			}
			for range n {
				sum = append(sum, row)
			}
		}
		sameRows(tb, "what the change data feed of "+t.at(t.path)+" adds up to", sum, rows)
		todo = append(todo, reading{"the change data feed of " + t.at(t.path), engines.Request{Do: "read", Path: t.at(t.path), CDF: &all}, changes})
	}
	var wg sync.WaitGroup
	for _, e := range r {
		wg.Go(func() {
			var equal, rows, feeds, changes int
			for _, x := range todo {
				if x.q.CDF != nil && (e.Name == "duckdb" || e.Name == "kernel-java") || e.Name == "kernel-java" && strings.Contains(x.q.Path, "://") {
					continue // they have no reader of feeds, and the Java kernel's installation no file system of S3
				}
				got, err := e.Ask(x.q)
				switch {
				case err != nil:
					tb.Errorf("%s does not read %s: %v (asked again, %s)", e.Name, x.what, err, again(e, x.q, x.want))
				case !sameRows(tb, e.Name+" reading "+x.what, got, x.want):
					tb.Errorf("%s reading %s, asked again, %s", e.Name, x.what, again(e, x.q, x.want))
				case x.q.CDF != nil:
					feeds, changes = feeds+1, changes+len(got)
				default:
					equal, rows = equal+1, rows+len(got)
				}
			}
			tb.Logf("FIGURE foreign reader %s, from %s on: %d of %d tables equal to ours (%d rows), %d change data feeds (%d changes)",
				e.Name, tables[0].path, equal, len(tables), rows, feeds, changes)
		})
	}
	wg.Wait()
}

// again tells what a second asking gives: a fault of the table stays, one of the moment does not.
func again(e *engines.Engine, q engines.Request, want []string) string {
	got, err := e.Ask(q)
	switch {
	case err != nil:
		return "it fails: " + err.Error()
	case slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))):
		return "it agrees"
	}
	return "it differs still"
}
