package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if _, err := Child(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestFigures measures in full where SLUICE_BENCH names figures, separated by commas.
func TestFigures(t *testing.T) {
	names := os.Getenv("SLUICE_BENCH")
	if names == "" {
		t.Skip("SKIPPED: SLUICE_BENCH names no figures; make bench measures them")
	}
	o := Options{Figures: strings.Split(names, ","), Out: os.Stdout, Profile: os.Getenv("SLUICE_BENCH_PROFILE"), Runs: 1}
	for name, to := range map[string]*int{"RUNS": &o.Runs, "BRONZE": &o.BronzeEvents, "BACKLOG": &o.BacklogEvents, "SECONDS": &o.FreshSeconds} {
		if v, err := strconv.Atoi(os.Getenv("SLUICE_BENCH_" + name)); err == nil {
			*to = v
		}
	}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestEventsHaveTheSizesThatAreTold(t *testing.T) {
	t.Parallel()
	for _, i := range []int64{0, 1, 999_999, 12_345_678} {
		if e := smallEvent(i); len(e) != 142 || !json.Valid(e) {
			t.Errorf("small event %d has %d bytes: %s", i, len(e), e)
		}
	}
	gen := newOrders(1000, 4, 1)
	ops := map[string]int{}
	for i := range 20_000 {
		r := gen.next()
		if len(r.Value) < 600 || len(r.Value) > 610 || !json.Valid(r.Value) {
			t.Fatalf("event %d has %d bytes: %s", i, len(r.Value), r.Value)
		}
		var e struct {
			Op            string
			Before, After *struct{ ID int }
		}
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		ops[e.Op]++
		if (e.Op == "d") != (e.After == nil) {
			t.Fatalf("%s", r.Value)
		}
	}
	if ops["u"] < 13_000 || ops["c"] < 2500 || ops["d"] < 1500 {
		t.Errorf("operations %v", ops)
	}
}

func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: a small measurement, not in -short")
	}
	var out bytes.Buffer
	err := Run(t.Context(), Options{Runs: 1, BronzeEvents: 20_000, BacklogEvents: 20_000, FreshSeconds: 2, Dir: t.TempDir(), Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"machine:", "median bronze", "median backlog", "median fresh", "p99", "per CPU second", "broker"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said:\n%s", want, out.String())
		}
	}
	t.Log("\n" + out.String())
}
