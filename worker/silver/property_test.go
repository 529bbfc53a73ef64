package silver_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// The laws, each checked against the simulated database over the kinds of sources below:
//
//	end state     the table ends with the database's rows; where a source leaves large values out, changes keys and is late inside its
//	              partitions, all at once, a value may be unknown in the end (docs/exactly-once.md): never a wrong one, never a row too few or too many
//	D7            any cut into batches, any interleaving of partitions, restarts of the merger at any time: the same rows
//	replay        merging everything once more changes nothing, _event_id included; it may tell values that were unknown. After a fail-over it is of what
//	              the new server can send, or what names its log, and the epoch of a row may be seen anew
//	lateness      an event that comes late inside its partition changes nothing in the end
//	memory        an index that may have none, and lives in a file, gives the same rows
//	layout        a table that is partitioned, by whatever column, has the same rows
//	columns       TestColumnLaws: names, features and types of columns, and who changes them, change nothing
//	no key        TestKeylessLaws, TestKeylessOrderLaws, TestKeylessSourcesLaws: equal rows, rows that change, and truncates, in any order of events at all
//	sources       TestSourcesLaws: several databases feed one table, through one topic or each through its own
//	maintenance   compactions, by the merger or by another writer, in between change nothing

// dataOnly leaves the source's columns of a canonical row.
func dataOnly(t interface{ Fatalf(string, ...any) }, line string) string {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%v", err)
	}
	var parts []string
	for k, v := range m {
		if !strings.HasPrefix(k, "_") {
			parts = append(parts, fmt.Sprintf("%q:%s", k, v))
		}
	}
	sort.Strings(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

type simRun struct {
	t    *rapid.T
	rng  *rand.Rand
	b    store.Bucket
	conf *config.Sink
	// foreign lets another Merger rearrange the table now and then.
	restarts, foreign bool
	// spill is a folder into which the index goes after each commit, "" for memory.
	spill string
	// hand does something to the table now and then.
	hand func()
}

func (r *simRun) open() *silver.Merger {
	m, err := silver.Open(context.Background(), silver.Options{Bucket: r.b, Path: "silver/t", Connector: r.conf.Name, Config: r.conf,
		DataDir: r.spill, IndexMemory: func() int64 { return 0 },
		Upkeep: silver.Upkeep{SmallFiles: 6, StepBytes: 1 << 20, PieceBytes: 1, Checkpoint: 7}, // compactions of many steps
		DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
			r.t.Fatalf("dead letter %s: %s", l[0].Record.EventID(), l[0].Reason)
			return nil
		}})
	if err != nil {
		r.t.Fatalf("%v", err)
	}
	return m
}

// merge merges everything, cut anyhow.
func (r *simRun) merge(feed string, in []connectors.Change) {
	ctx := context.Background()
	var batches []silver.Batch
	for i := 0; i < len(in); {
		n := min(len(in)-i, 1+r.rng.IntN(1+r.rng.IntN(60)))
		batches = append(batches, silver.Batch{Feed: feed, Version: int64(len(batches)), Changes: in[i : i+n]})
		i += n
	}
	m := r.open()
	for at := 0; at < len(batches); {
		k := min(len(batches)-at, 1+r.rng.IntN(2))
		if _, err := m.Merge(ctx, batches[at:at+k]); err != nil {
			r.t.Fatalf("%v", err)
		}
		at += k
		if r.hand != nil {
			r.hand()
		}
		if r.foreign && r.rng.IntN(5) == 0 {
			other := r.open()
			for {
				did, err := other.Maintain(ctx)
				if err != nil {
					r.t.Fatalf("%v", err)
				}
				if !did {
					break
				}
			}
		}
		if r.restarts && r.rng.IntN(5) == 0 {
			m = r.open()
			at = int(m.Progress(feed)) + 1
		}
	}
	if err := m.Close(ctx); err != nil {
		r.t.Fatalf("%v", err)
	}
}

func interleaveParts(rng *rand.Rand, parts [][]connectors.Change) []connectors.Change {
	at := make([]int, len(parts))
	var out []connectors.Change
	for {
		var open []int
		for i := range parts {
			if at[i] < len(parts[i]) {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return out
		}
		p := open[rng.IntN(len(open))]
		n := min(len(parts[p])-at[p], 1+rng.IntN(20))
		out = append(out, parts[p][at[p]:at[p]+n]...)
		at[p] += n
	}
}

func diff(got, want []string) string {
	var b strings.Builder
	for _, g := range got {
		if !slices.Contains(want, g) {
			fmt.Fprintf(&b, "  too much %s\n", g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			fmt.Fprintf(&b, "  missing  %s\n", w)
		}
	}
	return b.String()
}

// TestMain sets how many histories each property looks at: few, and with SLUICE_TEST_LONG=1 many; make histories, a step of the gate, says how many itself (60 laws of 300).
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rapid.checks"] {
		n := "10"
		if os.Getenv("SLUICE_TEST_LONG") != "" {
			n = "700"
		}
		if err := flag.Set("rapid.checks", n); err != nil {
			panic(err)
		}
	}
	if !set["rapid.seed"] && os.Getenv("SLUICE_TEST_LONG") == "" {
		// The short run looks at the same histories each time; the long one at new ones.
		if err := flag.Set("rapid.seed", "20261123"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// historyModes are those of histories: they have no exception but lost changes, whose versions nobody can tell.
func historyModes() map[string]simMode {
	m := modes()
	maps.DeleteFunc(m, func(_ string, x simMode) bool { return x.resnap })
	delete(m, "late placeholders")
	delete(m, "late one")
	m["placeholders late"] = simMode{tombs: true, keyChange: true, parts: 3, keys: 8, late: true, repeats: true}
	m["placeholders late one"] = simMode{tombs: true, keyChange: true, parts: 1, keys: 5, late: true, txMeta: true}
	return m
}

// modes are the kinds of sources. gaps marks those in which a value may be unknown in the end: docs/exactly-once.md.
func modes() map[string]simMode {
	return map[string]simMode{
		"placeholders":       {tombs: true, keyChange: true, parts: 3, keys: 8},
		"placeholders one":   {tombs: true, keyChange: true, parts: 1, keys: 5, txMeta: true},
		"repeats":            {tombs: true, keyChange: true, parts: 3, keys: 8, repeats: true, snapshots: true},
		"late":               {tombs: true, parts: 3, keys: 8, late: true, txMeta: true, repeats: true, snapshots: true},
		"late full":          {tombs: true, full: true, parts: 3, keys: 8, late: true, repeats: true},
		"shift":              {tombs: true, keyChange: true, full: true, parts: 3, keys: 8, repeats: true},
		"shift blocks":       {tombs: true, keyChange: true, full: true, parts: 2, keys: 6, txMeta: true},
		"truncate":           {tombs: true, keyChange: true, full: true, parts: 3, keys: 8, truncates: true, repeats: true},
		"truncate toast":     {tombs: true, parts: 3, keys: 8, truncates: true, late: true},
		"no tombstones":      {keyChange: true, full: true, parts: 3, keys: 8, repeats: true, late: true},
		"no positions":       {tombs: true, bare: true, full: true, parts: 3, keys: 8},
		"no hints":           {tombs: true, noHints: true, keyChange: true, full: true, parts: 3, keys: 8},
		"new snapshots":      {tombs: true, full: true, parts: 3, keys: 8, resnap: true},
		"new snapshots late": {tombs: true, full: true, keyChange: true, parts: 3, keys: 8, resnap: true, repeats: true, late: true},
		"late placeholders":  {tombs: true, keyChange: true, parts: 3, keys: 8, late: true, repeats: true, gaps: true},
		"late one":           {tombs: true, keyChange: true, parts: 1, keys: 5, late: true, txMeta: true, gaps: true},
		"new lineage one":    {tombs: true, keyChange: true, full: true, parts: 1, keys: 8, failover: 2, repeats: true},
		"new lineage named":  {tombs: true, keyChange: true, full: true, parts: 3, keys: 8, failover: 2, named: true, late: true, repeats: true, truncates: true},
		"new lineage toast":  {tombs: true, keyChange: true, parts: 3, keys: 8, failover: 2, named: true},
		"all at once":        {tombs: true, keyChange: true, full: true, parts: 3, keys: 10, repeats: true, late: true, truncates: true, snapshots: true, txMeta: true},
	}
}

func TestLaws(t *testing.T) {
	for name, mode := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rapid.Check(t, func(t *rapid.T) {
				seed := rapid.Uint64().Draw(t, "seed")
				steps := rapid.IntRange(1, 40).Draw(t, "steps")
				rng := rand.New(rand.NewPCG(seed, 1))
				s := newSource(rng, mode)
				for range steps {
					s.step()
				}
				want := s.lines()
				s.publish()
				conf := sinkConfig()
				if rng.IntN(3) == 0 {
					conf.SilverMergeMode = "copy-on-write"
				}
				r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake"), restarts: true, foreign: true}
				if rng.IntN(3) == 0 {
					r.spill = dir
				}
				in := interleaveParts(rng, s.parts)
				conf.SilverCDF = rng.IntN(3) == 0
				if rng.IntN(3) == 0 {
					conf.SilverDeleteMode = "soft"
				}
				somePartition(rng, conf)
				r.merge("bronze/t", in)
				checkFeed(t, r)
				got := tableLines(t, r.b)
				if d := diff(got, want); d != "" && !(mode.gaps && sameButUnknown(t, got, want)) {
					t.Fatalf("%d rows, want %d:\n%s%s", len(got), len(want), d, history(in, d))
				}
				// Replay: everything once more, as another feed would bring it.
				if !tableThere(r.b) {
					return // no row has come that would tell the columns to partition by
				}
				all := liveRows(t, r.b)
				r.merge("bronze/again", again(s.replayable(in)))
				if again := tableLines(t, r.b); mode.failover > 0 {
					// Of which epoch an event is may only be seen the second time.
					if d := diff(again, got); d != "" {
						t.Fatalf("a replay changed rows:\n%s%s", d, history(in, d))
					}
				} else if mode.gaps {
					if !sameButUnknown(t, again, want) || !sameButUnknown(t, got, again) {
						t.Fatalf("a replay changed more than what was unknown:\n%s", diff(again, got))
					}
				} else if d := diff(liveRows(t, r.b), all); d != "" && !mode.bare {
					t.Fatalf("a replay changed rows:\n%s%s", d, history(in, d))
				}
			})
		})
	}
}

// sameButUnknown tells that the rows are the same but for large values that are NULL because nobody knows them any more.
func sameButUnknown(t *rapid.T, got, want []string, large ...string) bool {
	if large == nil {
		large = []string{"body", "tags"}
	}
	byID := map[float64]map[string]any{}
	parse := func(line string) map[string]any {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v", err)
		}
		return m
	}
	for _, l := range want {
		m := parse(l)
		byID[m["id"].(float64)] = m
	}
	for _, l := range got {
		m := parse(l)
		w := byID[m["id"].(float64)]
		for k, v := range m {
			if unknown := v == nil && slices.Contains(large, k); !unknown && fmt.Sprint(w[k]) != fmt.Sprint(v) {
				return false
			}
		}
	}
	return len(got) == len(want)
}

// again gives the same events at later offsets of the same partitions, as a connector that starts from the beginning sends them.
func again(in []connectors.Change) []connectors.Change {
	out := slices.Clone(in)
	last := map[int32]int64{}
	for _, c := range in {
		last[c.Record.Partition] = max(last[c.Record.Partition], c.Record.Offset)
	}
	for i := range out {
		r := *out[i].Record
		r.Offset += last[r.Partition] + 1
		out[i].Record = &r
	}
	return out
}

func tableLines(t *rapid.T, b store.Bucket) []string {
	if _, err := b.Get(context.Background(), "silver/t/_delta_log/00000000000000000000.json"); err != nil {
		return nil
	}
	var out []string
	for _, l := range liveRows(t, b) {
		out = append(out, dataOnly(t, l))
	}
	sort.Strings(out)
	return out
}

// liveRows are the rows of the table but the last images of deleted ones.
func liveRows(t *rapid.T, b store.Bucket) []string {
	return slices.DeleteFunc(canonicalRows(fataler{t}, b, "silver/t"), func(l string) bool { return strings.Contains(l, `"_cdc_deleted":true`) })
}

// fataler lets helpers for tests serve rapid's checks.
type fataler struct{ *rapid.T }

func (fataler) Helper() {}

// history prints the events of the keys that a difference names, and of those that their rows had before.
func history(in []connectors.Change, d string) string {
	var b strings.Builder
	ids := map[int64]bool{}
	for _, c := range in {
		if !c.Key.IsZero() && strings.Contains(d, fmt.Sprintf(`"id":%d,`, c.Key.Values[0].Int)) {
			ids[c.Key.Values[0].Int] = true
		}
	}
	for range 3 {
		for _, c := range in {
			if !c.OldKey().IsZero() && ids[c.Key.Values[0].Int] {
				ids[c.OldKey().Values[0].Int] = true
			}
		}
	}
	for _, c := range in {
		id := int64(-1)
		if !c.Key.IsZero() {
			id = c.Key.Values[0].Int
		}
		if id >= 0 && !ids[id] {
			continue
		}
		fmt.Fprintf(&b, "    %s %d %s", strings.TrimPrefix(c.Record.EventID(), "sim.public.t-"), id, []string{"-", "c", "u", "d", "r", "t", "m"}[c.Op])
		if c.Kind == connectors.Tombstone {
			b.WriteString(" tombstone")
		} else if len(c.Position) > 16 {
			fmt.Fprintf(&b, " %x.%x.%d", c.Position[5:8], c.Position[13:16], c.Position[len(c.Position)-1])
		}
		if !c.OldKey().IsZero() {
			fmt.Fprintf(&b, " old %d", c.OldKey().Values[0].Int)
		}
		if !c.NewKey().IsZero() {
			fmt.Fprintf(&b, " new %d", c.NewKey().Values[0].Int)
		}
		if !c.After.IsZero() {
			v := c.After.Values
			fmt.Fprintf(&b, " a=%d body=%d%q tags=%d", v[1].Int, v[2].State, v[2].Str, v[3].State)
			if len(v[3].Kids()) > 0 {
				b.WriteString(v[3].Kids()[0].Str)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
