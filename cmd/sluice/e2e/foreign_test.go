package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice.io/sluice/internal/testkit"
)

// engines read tables beside us. Two of the three replay the log with delta-kernel-rs; kernel-java is independent of it.
var engines = []string{"delta-rs", "duckdb", "kernel-java"}

// foreignReaders compares what the binary prints of tables with what other engines read, row by row; two engines at a
// time. Without READERS_HOME (the real-systems suite sets it) it does nothing.
func (n *node) foreignReaders(tb testing.TB, paths ...string) {
	tb.Helper()
	n.read(tb, engines, paths...)
}

// readBy is foreignReaders with some engines only: of a table that the others refuse.
func (n *node) readBy(tb testing.TB, path string, engines ...string) {
	tb.Helper()
	n.read(tb, engines, path)
}

func (n *node) read(tb testing.TB, engines []string, paths ...string) {
	tb.Helper()
	if os.Getenv("READERS_HOME") == "" {
		return
	}
	tool := filepath.Join(testkit.Shared(tb, "tools"), "read-table")
	var wg sync.WaitGroup
	var mu sync.Mutex
	tables, total := map[string]int{}, 0 // what each engine read as we do
	free := make(chan struct{}, 2)
	for _, path := range paths {
		want := n.cat(tb, path)
		slices.Sort(want)
		for _, engine := range engines {
			if engine == "kernel-java" && strings.Contains(n.lake, "://") {
				continue // its installation has no file system of S3
			}
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				var stdout, stderr bytes.Buffer
				cmd := exec.Command(tool, engine, n.at(path))
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				if err := cmd.Run(); err != nil {
					tb.Errorf("%s does not read %s: %v\n%s", engine, path, err, stderr.String())
					return
				}
				var got []string
				if stdout.Len() > 0 {
					got = strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
				}
				if sameRows(tb, engine+" reading "+path, got, want) {
					mu.Lock()
					tables[engine]++
					total += len(got)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if len(paths) > 0 {
		tb.Logf("FIGURE foreign readers, of %d tables from %s on: equal to ours in %v, %d rows", len(paths), paths[0], tables, total)
	}
}

// commitTime is the column of a change data feed that engines do not print alike.
var commitTime = regexp.MustCompile(`,?"_commit_timestamp":"[^"]*"`)

// foreignFeed compares what the binary prints of a table's change data feed, from its first version on, with what delta-rs reads, change by
// change. Without READERS_HOME it looks at ours alone.
func (n *node) foreignFeed(tb testing.TB, path string) {
	tb.Helper()
	want := n.cat(tb, path, "--cdf", "0:")
	for i := range want {
		want[i] = commitTime.ReplaceAllString(want[i], "")
	}
	slices.Sort(want)
	if os.Getenv("READERS_HOME") == "" {
		return
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(testkit.Shared(tb, "tools"), "read-table"), "delta-rs", n.at(path), "--cdf", "0:")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Errorf("delta-rs does not read the change data feed of %s: %v\n%s", path, err, stderr.String())
		return
	}
	got := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	sameRows(tb, "delta-rs reading the change data feed of "+path, got, want)
	tb.Logf("FIGURE foreign reader delta-rs: change data feed of %s: %d changes equal", path, len(got))
}
