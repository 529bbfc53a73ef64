package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/internal/testkit"
)

// engines read tables beside us. Two of the three replay the log with delta-kernel-rs; kernel-java is independent of it.
var engines = []string{"delta-rs", "duckdb", "kernel-java"}

// foreignReaders compares what the binary prints of a table with what other engines read, row by row. Without
// READERS_HOME (the real-systems suite sets it) it does nothing and says so.
func (n *node) foreignReaders(tb testing.TB, path string) {
	tb.Helper()
	if os.Getenv("READERS_HOME") == "" {
		return
	}
	tool := filepath.Join(testkit.Shared(tb, "tools"), "read-table")
	want := n.cat(tb, path)
	slices.Sort(want)
	for _, engine := range engines {
		cmd := exec.Command(tool, engine, filepath.Join(n.lake, path))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			tb.Errorf("%s does not read %s: %v\n%s", engine, path, err, stderr.String())
			continue
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(out) == 0 {
			got = nil
		}
		sameRows(tb, engine+" reading "+path, got, want)
		tb.Logf("FIGURE foreign reader %s: %s: %d rows equal", engine, path, len(got))
	}
}
