package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain makes the test binary the program: `make bench-merge` builds it with go test -c. Started by go test it runs the tests, whose
// steps are processes of the same binary.
func TestMain(m *testing.M) {
	if os.Getenv(programEnv) == "" {
		os.Exit(m.Run())
	}
	if err := Run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench-merge:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestMerge runs the whole program on small tables. Beside delta-rs, where READERS_HOME names it, the rows are compared.
func TestMerge(t *testing.T) {
	readers, sizes := os.Getenv("READERS_HOME"), []int{2000}
	if readers != "" {
		sizes = []int{10_000, 100_000}
	}
	o := Options{Rows: sizes, Updates: 1000, Rounds: 5, TheirRounds: 2, Work: t.TempDir(), Readers: readers}
	out, err := o.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if readers != "" && !strings.Contains(out, "100000 equal after 2 rounds") {
		t.Errorf("rows were not compared:\n%s", out)
	}
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		t.Log("FIGURE merge: " + l)
	}
}
