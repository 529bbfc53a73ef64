package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
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
