package silver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/testkit/streams"
	"sluice.io/sluice/worker/silver"
)

// decodeStream decodes the records of some topics, in the order of the file.
func decodeStream(t testing.TB, s *streams.Stream, topics []string) []connectors.Change {
	t.Helper()
	d, err := debezium.New(cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []connectors.Change
	for i := range s.Records {
		r := &s.Records[i]
		if !slices.Contains(topics, r.Topic) {
			continue
		}
		rec := &connectors.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, TimestampMs: r.TimestampMs, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, connectors.Header{Key: h.Name, Value: h.Value})
		}
		if out, err = d.Decode(out, rec); err != nil {
			t.Fatalf("%s: %v", rec.EventID(), err)
		}
	}
	return out
}

// interleave gives another order in which the partitions might have been read.
func interleave(rng *rand.Rand, all []connectors.Change) []connectors.Change {
	type key struct {
		topic string
		p     int32
	}
	parts := map[key][]connectors.Change{}
	var keys []key
	for _, c := range all {
		k := key{c.Record.Topic, c.Record.Partition}
		if parts[k] == nil {
			keys = append(keys, k)
		}
		parts[k] = append(parts[k], c)
	}
	out := make([]connectors.Change, 0, len(all))
	for len(keys) > 0 {
		i := rng.IntN(len(keys))
		n := min(len(parts[keys[i]]), 1+rng.IntN(40))
		out = append(out, parts[keys[i]][:n]...)
		if parts[keys[i]] = parts[keys[i]][n:]; len(parts[keys[i]]) == 0 {
			keys = slices.Delete(keys, i, i+1)
		}
	}
	return out
}

func sinkConfig() *config.Sink {
	return &config.Sink{Name: "c", Format: "debezium", SilverMergeMode: "deletion-vectors", SilverSCDType: 1, SilverDeleteMode: "hard",
		SilverTruncateMode: "apply", SilverSnapshotSweep: true, SilverCompatibility: "widest", SilverTombstoneRetention: 7 * 24 * 3600e9,
		EvolveAdd: "evolve", EvolveWiden: "evolve", EvolveDrop: "evolve", EvolveType: "evolve"}
}

func openSilver(t testing.TB, b store.Bucket, conf *config.Sink, path string) *silver.Merger {
	t.Helper()
	m, err := silver.Open(context.Background(), silver.Options{Bucket: b, Path: path, Connector: conf.Name, Config: conf,
		DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
			for _, x := range l {
				t.Errorf("dead letter %s: %s", x.Record.EventID(), x.Reason)
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fatal is what helpers need of a test.
type fatal interface {
	Helper()
	Fatal(...any)
}

// mergeEach merges batches into silver/t, one after the other. A dead letter fails the test.
func mergeEach(t fatal, b store.Bucket, conf *config.Sink, batches []silver.Batch) {
	t.Helper()
	ctx := context.Background()
	m, err := silver.Open(ctx, silver.Options{Bucket: b, Path: "silver/t", Connector: "c", Config: conf, DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
		t.Fatal("dead letter: " + l[0].Reason)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range batches {
		if _, err := m.Merge(ctx, []silver.Batch{x}); err != nil {
			t.Fatal(err)
		}
	}
	_ = m.Close(ctx)
}

// canonicalRows scans a table.
func canonicalRows(t fatal, b store.Bucket, path string) []string {
	t.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, b, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for batch, err := range rows.Scan(ctx, s, rows.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(batch.Record.NumRows()) {
			line, err := columnar.AppendCanonicalJSON(nil, batch.Record, s.Schema(), i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(line))
		}
	}
	sort.Strings(out)
	return out
}

// TestStreams merges the captured streams, cut into random batches, partitions in another order, with the Merger opened anew in
// between, and finds what the databases showed.
func TestStreams(t *testing.T) {
	t.Parallel()
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("SLUICE_TEST_SEEDS")); err == nil {
		seeds = n
	}
	for _, name := range streams.Names {
		if name == "pg-avro" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := streams.Load(t, name)
			for table, want := range s.Tables {
				changes := decodeStream(t, s, want.Topics)
				for seed := range seeds {
					t.Run(fmt.Sprintf("%s/history/%d", table, seed), func(t *testing.T) { historyOfStream(t, uint64(seed), changes, want) })
					t.Run(fmt.Sprintf("%s/%d", table, seed), func(t *testing.T) {
						rng := rand.New(rand.NewPCG(uint64(seed), 7))
						in := changes
						if seed > 0 {
							in = interleave(rng, changes)
						}
						b := mem.New("lake")
						conf := sinkConfig()
						if seed > 1 {
							conf.SilverMergeMode = []string{"copy-on-write", "deletion-vectors"}[seed%2]
							in = repeated(rng, in)
						}
						mergeAll(t, rng, b, conf, in, seed > 0)
						if d := want.Compare(canonicalRows(t, b, "silver/t")); len(d) > 0 {
							t.Errorf("%d differences:", len(d))
							for _, x := range d[:min(len(d), 8)] {
								t.Error("  " + x)
							}
						}
					})
				}
			}
		})
	}
}

// repeated sends a part of a stream once more, at later offsets, as a connector does that was killed before it had noted how far it was. Windows of
// incremental snapshots are left out: it would read their rows anew, as they are then. So are the snapshot's rows of a table without key: a connector
// that was killed during a snapshot takes it anew as a whole, at another position; rows that are equal in all, position too, are several rows.
func repeated(rng *rand.Rand, all []connectors.Change) []connectors.Change {
	at := rng.IntN(len(all) + 1)
	from := rng.IntN(at + 1)
	deleted := map[string]bool{} // a tombstone record is sent behind its delete only
	again := slices.DeleteFunc(slices.Clone(all[from:at]), func(c connectors.Change) bool {
		key := fmt.Sprint(c.Record.Topic, c.Key.Values)
		if c.Kind == connectors.RowChange {
			deleted[key] = c.Op == connectors.Delete
		}
		return c.Snapshot == connectors.SnapshotIncremental || c.Snapshot != connectors.NotSnapshot && c.Key.IsZero() || c.Kind == connectors.Tombstone && !deleted[key]
	})
	out := slices.Concat(all[:at], again, all[at:])
	next := map[string]int64{}
	for i := range out {
		r := *out[i].Record
		part := fmt.Sprint(r.Topic, r.Partition)
		r.Offset = max(r.Offset, next[part])
		next[part] = r.Offset + 1
		out[i].Record = &r
	}
	return out
}

// historyOfStream merges a stream as a history, in two orders and both modes, the second time with a part sent once more. The versions that have not
// ended are the rows that the database showed; each change of a row, repeats aside, made one version; both orders make the same ones.
func historyOfStream(t *testing.T, seed uint64, changes []connectors.Change, want *streams.Table) {
	var first []string
	for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
		rng := rand.New(rand.NewPCG(9+seed, 7))
		in := changes
		if mode == "copy-on-write" {
			in = interleave(rng, changes)
			if seed > 0 {
				in = repeated(rng, in)
			}
		}
		b := mem.New("lake")
		conf := sinkConfig()
		conf.SilverSCDType, conf.SilverMergeMode = 2, mode
		mergeAll(t, rng, b, conf, in, true)
		var now, all []string
		for _, l := range canonicalRows(t, b, "silver/t") {
			if strings.Contains(l, `"__END_AT":null`) {
				now = append(now, l)
			}
			all = append(all, eventOf.ReplaceAllString(l, ""))
		}
		if d := want.Compare(now); len(d) > 0 {
			t.Fatalf("%s: %d differences, the first: %s", mode, len(d), d[0])
		}
		if made := versionsOf(changes); made > 0 && len(all) != made {
			t.Errorf("%s: %d versions of %d changes", mode, len(all), made)
		}
		t.Logf("%s: %d versions, %d of them now; %d positioned changes", mode, len(all), len(now), versionsOf(changes))
		if first == nil {
			first = all
			continue
		}
		slices.Sort(first)
		slices.Sort(all)
		if !slices.Equal(first, all) {
			t.Errorf("another order made other versions:\n%s", diff(all, first))
		}
	}
}

// eventOf is what the first of several repeats of an event decides.
var eventOf = regexp.MustCompile(`"(_event_id|_cdc_sequence|_cdc_end_sequence|_cdc_carried)":("(\\.|[^"\\])*"|null),?`)

// versionsOf counts the changes that make a version, by position; 0 where a key shift may bring versions back, or there is no key.
func versionsOf(changes []connectors.Change) int {
	seen := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		if c.Kind == connectors.TruncateTable {
			continue
		}
		if c.Kind != connectors.RowChange || c.Op == connectors.Delete {
			continue
		}
		if c.Key.IsZero() || c.Position == "" || c.PosQuality != connectors.Exact {
			return 0
		}
		seen[string(c.Position)+fmt.Sprint(c.Key.Values)] = true
	}
	return len(seen)
}

// mergeAll merges changes cut into random batches.
func mergeAll(t testing.TB, rng *rand.Rand, b store.Bucket, conf *config.Sink, in []connectors.Change, restarts bool) {
	t.Helper()
	ctx := context.Background()
	m := openSilver(t, b, conf, "silver/t")
	var batches []silver.Batch
	for len(in) > 0 {
		n := min(len(in), 1+rng.IntN(1+rng.IntN(300)))
		batches = append(batches, silver.Batch{Feed: "bronze/t", Version: int64(len(batches)), Changes: in[:n]})
		in = in[n:]
	}
	for at := 0; at < len(batches); {
		k := min(len(batches)-at, 1+rng.IntN(3))
		if _, err := m.Merge(ctx, batches[at:at+k]); err != nil {
			t.Fatal(err)
		}
		at += k
		if restarts && rng.IntN(6) == 0 {
			if rng.IntN(2) == 0 {
				if err := m.Close(ctx); err != nil {
					t.Fatal(err)
				}
			}
			m = openSilver(t, b, conf, "silver/t")
			at = int(m.Progress("bronze/t")) + 1 // progress that was not durable is merged again
		}
	}
	if err := m.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
