package worker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/worker/silver"
)

// A source whose clock is ahead makes no negative freshness, and a table whose topic is silent is not behind however long ago
// its last commit was (formats.md §5.36, §5.40).
func TestFreshnessOfOddClocksAndIdleTables(t *testing.T) {
	s := newStatistics(nil)
	tab := s.table("c", "silver/t", []string{"t"})
	s.partition("c", "t", 0).follow(func() int64 { return 5 }, func() int64 { return 5 })
	at := time.UnixMilli(1_000_000)
	tab.merged(silver.Stats{}, silver.Result{Committed: true}, []silver.Batch{{Changes: []connectors.Change{
		{Record: &connectors.Record{Topic: "t", Offset: 3, TimestampMs: 1_000_900}},
		{Record: &connectors.Record{Topic: "t", Offset: 4, TimestampMs: 1_003_000}},
	}}}, at)
	if p := tab.total.quantile(0.99); p != 0 || tab.total.sum != 0 || tab.total.n != 2 {
		t.Errorf("p99 %v, sum %d ms of %d records, want 0", p, tab.total.sum, tab.total.n)
	}
	end, committed := s.partition("c", "t", 0).get()
	if merged := s.partition("c", "t", 0).merged.Load(); merged != end || committed != end {
		t.Errorf("an idle table is %d offsets behind", end-merged)
	}
}

// A slow batch says what it waited for, once in a while.
func TestSlowBatchesExplainThemselves(t *testing.T) {
	var text bytes.Buffer
	o := &oneTable{t: &tableRun{cfg: &config.Sink{}, u: &run{log: slog.New(slog.NewTextHandler(&text, nil))}}}
	o.explain(silver.Result{Took: silver.Phases{Commit: 100 * time.Millisecond}}, 1)
	if text.Len() > 0 {
		t.Fatal(text.String())
	}
	slow := silver.Result{Events: 7, Took: silver.Phases{Fold: 300 * time.Millisecond, Commit: 2100 * time.Millisecond}}
	o.explain(slow, 3)
	o.explain(slow, 3)
	if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="batch 2.4 s: store latency"`) || !strings.Contains(got, "events=7") {
		t.Fatal(got)
	}
}
