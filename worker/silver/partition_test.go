package silver_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

func partitionedBy(cols ...string) func(*config.Sink) {
	return func(c *config.Sink) { c.SilverPartitionBy = cols }
}

// partitions are the partition values of the table's files with their numbers of rows, deleted ones left out.
func (x *bench) partitions() string {
	x.t.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, x.b, "silver/t")
	if err != nil {
		x.t.Fatal(err)
	}
	s, err := tab.Snapshot(ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	n := map[string]int64{}
	for a := range s.Files() {
		rows, _ := a.NumRecords()
		if a.DeletionVector != nil {
			rows -= a.DeletionVector.Cardinality
		}
		n[a.PartitionValues.String()] += rows
	}
	var out []string
	for p, n := range n {
		out = append(out, p+":"+string(rune('0'+n)))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// somePartition lays a table of the simulated source out in one of several ways, or in none.
func somePartition(rng *rand.Rand, c *config.Sink) {
	c.SilverPartitionBy = [][]string{{"a"}, {"body"}, {"id"}, {"body", "a"}, 11: nil}[rng.IntN(12)]
}

// A row whose partition column changes leaves its file and appears in another one, in one commit; values of all kinds, NULL and the empty
// text among them, come back as they were or are rescued.
func TestPartitions(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
		for _, feed := range []bool{false, true} {
			set := func(c *config.Sink) {
				c.SilverPartitionBy, c.SilverMergeMode, c.SilverCDF = []string{"p"}, mode, feed
			}
			x := newBench(t, set)
			x.merge(rec(cOp, 1, 1, "a", long(1), "p", text("x")), rec(cOp, 2, 2, "a", long(2), "p", text("y")), rec(cOp, 3, 3, "a", long(3), "p", text("x")))
			if got := x.partitions(); got != "p=x:2 p=y:1" {
				t.Fatalf("%s: %s", mode, got)
			}
			before := x.m.Stats().Version
			if res := x.merge(rec(uOp, 4, 1, "a", long(1), "p", text("y"))); res.Version != before+1 {
				t.Fatalf("%s: versions %d and %d", mode, before, res.Version)
			}
			if got := x.partitions(); got != "p=x:1 p=y:2" {
				t.Fatalf("%s: %s", mode, got)
			}
			x.reopen(set)
			odd := `a/b=c d%20"é` + "\n'"
			x.merge(rec(uOp, 5, 3, "a", long(3), "p", text(odd)), rec(cOp, 6, 4, "a", long(4), "p", connectors.NullValue()), rec(cOp, 7, 5, "a", long(5), "p", text("")), rec(dOp, 8, 2))
			x.want(`{"a":1,"id":1,"p":"y"}`, `{"a":3,"id":3,"p":"a/b=c d%20\"é\n'"}`, `{"a":4,"id":4,"p":null}`, `{"a":5,"id":5,"p":null}`)
			if !x.has(`"_rescued_data":"{\"p\":\"\"}"`) {
				t.Fatalf("the empty text is nowhere: %v", canonicalRows(t, x.b, "silver/t"))
			}
			// The value that was not told is that of the row's partition.
			x.merge(rec(uOp, 9, 3, "a", long(33), "p", connectors.UnavailableValue()), rec(uOp, 10, 4, "a", long(44), "p", connectors.UnavailableValue()))
			x.reopen(set)
			x.want(`{"a":1,"id":1,"p":"y"}`, `{"a":33,"id":3,"p":"a/b=c d%20\"é\n'"}`, `{"a":44,"id":4,"p":null}`, `{"a":5,"id":5,"p":null}`)
			if err := x.m.Scrub(context.Background(), math.MaxInt); err != nil { // D8
				t.Fatal(err)
			}
		}
	}
}

// Files are joined inside their partitions only, and a column that grows is rewritten in each.
func TestPartitionsUnderUpkeep(t *testing.T) {
	t.Parallel()
	x := newBench(t, partitionedBy("p"))
	for i := range int64(60) {
		x.merge(rec(cOp, i+1, i, "a", long(i), "p", long(i%3)))
	}
	files := x.m.Stats().Files
	maintain(t, x)
	if n := x.m.Stats().Files; n >= files && files > 30 {
		t.Fatalf("%d files of %d are left", n, files)
	}
	x.merge(rec(cOp, 100, 100, "a", long(1), "p", long(math.MaxInt64)), rec(cOp, 101, 101, "a", connectors.Float(1.5), "p", long(2)))
	if got := len(strings.Split(x.rows(), "\n")); got != 62 {
		t.Fatalf("%d rows", got)
	}
	if !x.has(`"a":1.5,"id":101,"p":2`) || !x.has(`"a":1,"id":100,"p":9223372036854775807`) {
		t.Fatal(x.rows())
	}
	x.reopen(partitionedBy("p"))
	if err := x.m.Scrub(context.Background(), math.MaxInt); err != nil { // D8
		t.Fatal(err)
	}
}

func TestPartitionsThatCannotBe(t *testing.T) {
	t.Parallel()
	try := func(cols []string, c ...connectors.Change) error {
		x := newBench(t, partitionedBy(cols...))
		_, err := x.mergeVersion(0, c...)
		return err
	}
	row := rec(cOp, 1, 1, "a", long(1), "tags", connectors.Nested(14, nil))
	for _, cols := range [][]string{{"none"}, {"a", "none"}} {
		if err := try(cols, row); !errors.Is(err, silver.ErrPartition) || !strings.Contains(err.Error(), `"none"`) {
			t.Errorf("%v: %v", cols, err)
		}
	}
	if err := try([]string{"bytes"}, rec(cOp, 1, 1, "bytes", connectors.Bytes("x"))); !errors.Is(err, silver.ErrPartition) {
		t.Errorf("binary: %v", err)
	}
	// A table keeps its partitioning.
	x := newBench(t, partitionedBy("a"))
	x.merge(rec(cOp, 1, 1, "a", long(1)))
	for _, cols := range [][]string{nil, {"b"}} {
		conf := sinkConfig()
		conf.SilverPartitionBy = cols
		if _, err := silver.Open(context.Background(), silver.Options{Bucket: x.b, Path: "silver/t", Connector: "c", Config: conf}); !errors.Is(err, silver.ErrPartition) {
			t.Errorf("%v: %v", cols, err)
		}
	}
	// A key that is the empty text has no partition.
	y := newBench(t, func(c *config.Sink) { c.SilverPartitionBy, c.SilverKeys = []string{"k"}, []string{"k"} })
	y.merge(rec(cOp, 1, 1, "k", text("x")), rec(cOp, 2, 2, "k", text("")))
	if y.want(`{"id":1,"k":"x"}`); len(y.letters) != 1 {
		t.Errorf("%d dead letters", len(y.letters))
	}
}

// Deletes that come before the first row wait for the row that tells the columns.
func TestPartitionsAfterDeletes(t *testing.T) {
	t.Parallel()
	x := newBench(t, partitionedBy("p"))
	x.merge(rec(dOp, 10, 1))
	if _, err := delta.Open(context.Background(), mem.New("other"), "silver/t"); !errors.Is(err, delta.ErrNotTable) {
		t.Fatal(err)
	}
	x.merge(rec(dOp, 12, 2))
	x.merge(rec(cOp, 5, 1, "p", long(1)), rec(cOp, 6, 3, "p", long(2)))
	x.want(`{"id":3,"p":2}`)
	x.reopen(partitionedBy("p"))
	x.merge(rec(cOp, 11, 2, "p", long(1)))
	x.want(`{"id":3,"p":2}`)
}
