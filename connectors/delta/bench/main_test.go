package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// TestMain makes the test binary the program: `make bench-delta` builds it with go test -c. Started by go test it measures nothing.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_BENCH_DELTA") == "" {
		os.Exit(m.Run())
	}
	if err := Run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench-delta:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// TestSteps runs every step of ours on small tables.
func TestSteps(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	if _, err := commits(ctx, dir+"/log", 20); err != nil {
		t.Fatal(err)
	}
	for _, vectors := range []bool{false, true} {
		table := fmt.Sprintf("%s/scan-%v", dir, vectors)
		if err := scanTable(ctx, table, 2000, vectors); err != nil {
			t.Fatal(err)
		}
		want := map[bool]int64{false: 2000, true: 1900}[vectors]
		if _, _, n, err := step(ctx, "scan", table, 0); err != nil || n != want {
			t.Errorf("%d rows, want %d: %v", n, want, err)
		}
	}
	for name, want := range map[string]int64{"open": 20, "checkpoint": 20} {
		if _, _, n, err := step(ctx, name, dir+"/log", 0); err != nil || n != want {
			t.Errorf("%s: %d, want %d: %v", name, n, want, err)
		}
	}
	if _, _, _, err := step(ctx, "append", dir+"/scan-false", 500); err != nil {
		t.Error(err)
	}
	if err := touch(ctx, dir+"/scan-true"); err != nil {
		t.Error(err)
	}
}
