package delta

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/go-cmp/cmp"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
)

// state renders a snapshot as text, so that two can be compared.
func state(s *Snapshot) []string {
	var out []string
	e := enc{}
	flush := func() { out = append(out, string(e.b)); e.b = nil }
	for a := range s.Files() {
		c := *a
		c.DataChange = false
		e.add(&c)
		flush()
	}
	for r := range s.Tombstones() {
		c := *r
		c.DataChange = false
		e.remove(&c, false)
		flush()
	}
	for t := range s.Txns() {
		e.txn(t)
		flush()
	}
	for _, d := range slices.Sorted(maps.Keys(s.domains)) {
		e.domain(&DomainMetadata{Domain: d, Configuration: s.domains[d]})
		flush()
	}
	e.protocol(s.Protocol)
	flush()
	e.metadata(s.Metadata)
	flush()
	out = append(out, fmt.Sprintf("%d %+v", s.Version, s.sums))
	slices.Sort(out)
	return out
}

// busyTable makes a table with all that a checkpoint can hold.
func busyTable(t *testing.T, b store.Bucket, features ...string) *Table {
	t.Helper()
	ctx := context.Background()
	sc := schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long)}, {Name: "p", Type: schema.Of(schema.String), Nullable: true},
		{Name: "q", Type: schema.Of(schema.Date), Nullable: true}}}
	tab, err := Create(ctx, b, "t", CreateOptions{Schema: sc, PartitionColumns: []string{"p", "q"}, Name: "näme", Description: `de"sc`,
		Configuration: map[string]string{PropEnableDVs: "true", "k <&>": "v\u2028"}, Features: append(features, FeatureDomainMetadata)})
	if err != nil {
		t.Fatal(err)
	}
	part := func(p string, null bool) Partition {
		return NewPartition(PartitionValue{Name: "q", Null: null, Value: "2024-01-01"}, PartitionValue{Name: "p", Value: p})
	}
	must := func(c *Commit) *Snapshot {
		t.Helper()
		out := c.Do(ctx)
		if out.Kind != Committed {
			t.Fatalf("%+v", out)
		}
		return out.Snapshot
	}
	for i := range 8 {
		c := tab.NewCommit(tab.Cached())
		for j := range 3 {
			a := testAdd(fmt.Sprintf("f-%d-%d.parquet", i, j), 10+i)
			a.PartitionValues = part([]string{"", "a b", "ü/=%"}[j], j == 1)
			if j == 1 {
				a.Tags = map[string]string{"x": "1", "a": ""}
				a.Stats = ""
			}
			c.Append(a)
		}
		c.Progress(fmt.Sprintf("app%d", i%3), int64(i/3)-1, int64(i/3))
		c.SetDomain(fmt.Sprintf("d%d", i%2), fmt.Sprintf(`{"i":%d}`, i))
		must(c)
	}
	s := tab.Cached()
	c := tab.NewCommit(s)
	a, _ := s.File("f-0-0.parquet")
	c.Remove(a)
	for i := 1; i < 4; i++ {
		a, _ := s.File(fmt.Sprintf("f-%d-0.parquet", i))
		off := int32(1 + i*40)
		v := roaring64.New()
		v.AddRange(0, uint64(i))
		c.SetVector(a, dv.Descriptor{StorageType: "u", PathOrInlineDv: "vBn[lx{q8@P<9BNH/isA", Offset: &off, SizeInBytes: 36, Cardinality: int64(i)}, nil, v)
	}
	c.RemoveDomain("d0")
	must(c)
	return tab
}

func TestCheckpointRoundTrip(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	fb, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []store.Bucket{mem.New("cp"), fb} {
		for _, o := range []CheckpointOptions{{}, {Format: CheckpointV2JSON, SidecarActions: 10}, {Format: CheckpointV2Parquet, SidecarActions: 7}, {Format: CheckpointV1}} {
			var features []string
			if o.Format != CheckpointAuto {
				features = []string{FeatureV2Checkpoint}
			}
			tab := busyTable(t, b, features...)
			s := tab.Cached()
			info, err := tab.Checkpoint(ctx, s, o)
			if err != nil {
				t.Fatal(err)
			}
			// The commits before it are not needed any more.
			for v := range s.Version {
				if err := b.Delete(ctx, tab.key(logDir+versionName(v)+".json")); err != nil {
					t.Fatal(err)
				}
			}
			again, err := Open(ctx, b, "t")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(state(s), state(again.Cached())); diff != "" {
				t.Errorf("format %d:\n%s", o.Format, diff)
			}
			if again.Cached().checkpoint != s.Version || info.Adds != int64(s.NumFiles()) {
				t.Errorf("checkpoint %d, info %+v", again.Cached().checkpoint, info)
			}
			h, err := tab.readHint(ctx)
			if err != nil || h.Version != s.Version || h.NumOfAddFiles != info.Adds || h.Size != info.Actions {
				t.Errorf("hint %+v, %v", h, err)
			}
			for info, err := range b.List(ctx, "t/", "") {
				if err != nil {
					t.Fatal(err)
				}
				if err := b.Delete(ctx, info.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestCheckpointDropsExpiredTombstones(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	b := mem.New("cp")
	tab := newTable(b, "t", []Option{WithClock(func() time.Time { return now })})
	busyTable(t, b)
	if _, err := tab.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if n := tab.Cached().NumTombstones(); n != 4 {
		t.Fatalf("%d tombstones", n)
	}
	now = now.Add(8 * 24 * time.Hour)
	if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := tab.Cached().NumTombstones(); n != 0 {
		t.Errorf("%d tombstones are cached", n)
	}
	again, err := Open(ctx, b, "t")
	if err != nil || again.Cached().NumTombstones() != 0 {
		t.Errorf("%v, %d tombstones", err, again.Cached().NumTombstones())
	}
}

func TestCorruptCheckpointIsWorkedAround(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("cp")
	tab := busyTable(t, b)
	s := tab.Cached()
	info, err := tab.Checkpoint(ctx, s, CheckpointOptions{})
	if err != nil {
		t.Fatal(err)
	}
	good, err := b.Get(ctx, info.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"empty": {}, "short": good[:len(good)/2], "text": []byte("hello"), "footer only": good[len(good)-2000:],
		"middle": append(append(slices.Clone(good[:200]), make([]byte, 300)...), good[500:]...)} {
		if err := b.Put(ctx, info.Key, bad); err != nil {
			t.Fatal(err)
		}
		again, err := Open(ctx, b, "t")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(state(s), state(again.Cached())); diff != "" && name != "middle" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	// Without the commits there is nothing to work around with.
	if err := b.Put(ctx, info.Key, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, tab.key(logDir+versionName(0)+".json")); err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, b, "t")
	if err == nil || !strings.Contains(err.Error(), "checkpoint.parquet is corrupt") {
		t.Errorf("error: %v", err)
	}
}
