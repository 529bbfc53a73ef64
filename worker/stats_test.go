package worker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
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

// A table is not behind whose topic is silent: neither after a restart nor where the last record is one that changes no row, such as a dead letter
// (formats.md §5.36).
func TestIdleTablesAreNotBehind(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.produce(0, 0, 10)
	w.b.Put(&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("{nonsense")})
	for _, round := range []uint64{5, 7} {
		w.start()
		w.c.set(func() {
			w.c.conns, w.c.mine = []ownership.Connector{connector("c")}, own(round, partitionTask(0, 0), tableTask())
		})
		until(t, "a table that is not behind", func() bool {
			st := w.rt.Stats()
			return len(st.Topics) == 1 && len(st.Topics[0].Partitions) == 1 && st.Topics[0].Partitions[0].End == 11 && len(st.Tables) == 1 && st.Tables[0].Lag == 0
		})
		w.end()
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
