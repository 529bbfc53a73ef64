package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
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
	figures(t, "merge", out)
}

// TestLineitem runs mixed upserts into a small lineitem, and compares the sums of its rows.
func TestLineitem(t *testing.T) {
	o := LineOptions{Rows: 20_000, Changes: 1000, Rounds: 3, Work: t.TempDir(), Readers: os.Getenv("READERS_HOME"), Theirs: true}
	if o.Readers != "" {
		o.Rows, o.Changes = 600_000, 6000
	}
	out, err := o.Measure(t.Context())
	figures(t, "lineitem", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestSustained streams changes into a small table: 20 seconds where there are readers, else two.
func TestSustained(t *testing.T) {
	o := SustainedOptions{Keys: 20_000, Rate: 2000, Seconds: 2, Interval: 500 * time.Millisecond, Work: t.TempDir(), Readers: os.Getenv("READERS_HOME")}
	if o.Readers != "" {
		o.Keys, o.Rate, o.Seconds, o.Interval = 100_000, 20_000, 20, time.Second
	}
	out, err := o.Measure(t.Context())
	figures(t, "sustained", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestSkew runs all skewed loads, small.
func TestSkew(t *testing.T) {
	o := SkewOptions{Rows: []int{2000}, Truncated: []int{2000}, Spilled: 1 << 14, Work: t.TempDir()}
	if os.Getenv("READERS_HOME") != "" {
		o.Rows, o.Truncated, o.Spilled = []int{10_000}, []int{100_000}, 1<<17
	}
	out, err := o.Measure(t.Context(), "")
	figures(t, "skew", out)
	if err != nil {
		t.Fatal(err)
	}
}

// figures prints a report as the gate collects it.
func figures(t *testing.T, what, report string) {
	t.Helper()
	for l := range strings.Lines(strings.TrimSpace(report)) {
		if l = strings.TrimSpace(l); l != "" {
			t.Log("FIGURE " + what + ": " + l)
		}
	}
}
