package vacuum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

func TestVacuum(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Now()
	clock := func() time.Time { return now }
	b := mem.New("x")
	b.SetClock(clock)
	put := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			if err := b.Put(ctx, k, []byte("data")); err != nil {
				t.Fatal(err)
			}
		}
	}
	sc := schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long), Nullable: true}}}
	tab, err := delta.Create(ctx, b, "lake/t", delta.CreateOptions{Schema: sc, Configuration: map[string]string{delta.PropEnableDVs: "true"}},
		delta.WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	commit := func(edit func(c *delta.Commit)) {
		t.Helper()
		c := tab.NewCommit(tab.Cached())
		edit(c)
		if out := c.Do(ctx); out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	live := func(name string) *delta.Add {
		a, ok := tab.Cached().File(name)
		if !ok {
			t.Fatal(name)
		}
		return a
	}
	vector := func(rows ...uint64) dv.Descriptor {
		ds, _, err := dv.Write(ctx, b, "lake/t", []*roaring64.Bitmap{roaring64.BitmapOf(rows...)})
		if err != nil {
			t.Fatal(err)
		}
		return ds[0]
	}
	commit(func(c *delta.Commit) {
		for _, n := range []string{"live.parquet", "k=a%20b/live.parquet", "old.parquet", "recent.parquet"} {
			c.Append(delta.Add{Path: n, Size: 4, Written: &delta.Written{Size: 4, Rows: 9}, Stats: `{"numRecords":9}`})
		}
	})
	put("lake/t/live.parquet", "lake/t/k=a b/live.parquet", "lake/t/old.parquet", "lake/t/recent.parquet", "lake/t/orphan.parquet",
		"lake/t/_k=1/orphan.parquet", "lake/t/_change_data/cdc-1.parquet", "lake/t/_our_index/x", "lake/t/.hidden", "lake/t/_SUCCESS",
		"lake/t/protected.parquet", "lake/t2/other.parquet", "lake/t/inner/_delta_log/00000000000000000000.json",
		"lake/t/inner/part.parquet", "lake/t/a/inner2/part.parquet", "lake/t/a/inner2/_delta_log/x")
	first := vector(1)
	commit(func(c *delta.Commit) { c.SetDV(live("live.parquet"), first) })
	commit(func(c *delta.Commit) { c.Remove(live("old.parquet")) })
	now = now.Add(5 * 24 * time.Hour)
	second := vector(1, 2)
	commit(func(c *delta.Commit) { c.SetDV(live("live.parquet"), second) })
	commit(func(c *delta.Commit) { c.Remove(live("recent.parquet")) })
	now = now.Add(3 * 24 * time.Hour)
	put("lake/t/young.parquet")

	o := Options{Now: clock, Protect: func(k string) bool { return k == "lake/t/protected.parquet" }}
	plan, err := Make(ctx, tab.Cached(), o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range plan.Files {
		got = append(got, f.Key)
	}
	// The first vector is needed by a tombstone of three days ago.
	want := []string{"lake/t/_change_data/cdc-1.parquet", "lake/t/_k=1/orphan.parquet", "lake/t/old.parquet", "lake/t/orphan.parquet"}
	if !slices.Equal(got, want) || plan.Young != 1 || plan.Bytes != 16 {
		t.Errorf("plan %q, %+v\nwant %q", got, plan, want)
	}
	if _, err := Make(ctx, tab.Cached(), Options{Now: clock, Retention: time.Hour}); !errors.Is(err, ErrRetention) {
		t.Errorf("short retention: %v", err)
	}
	// Someone restores a file between plan and execution.
	commit(func(c *delta.Commit) {
		c.Append(delta.Add{Path: "old.parquet", Size: 4, Written: &delta.Written{Size: 4, Rows: 9}, Stats: `{"numRecords":9}`})
	})
	res, err := Execute(ctx, tab, plan, o)
	if err != nil || res.Deleted != 3 || res.Kept != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	now = now.Add(8 * 24 * time.Hour)
	plan, err = Make(ctx, tab.Cached(), o)
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, f := range plan.Files {
		got = append(got, f.Key)
	}
	key, err := dv.Key(b.URL(), "lake/t", first)
	if err != nil {
		t.Fatal(err)
	}
	want = []string{key, "lake/t/recent.parquet", "lake/t/young.parquet"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("later: %q, want %q", got, want)
	}
	if s := fmt.Sprint(hidden("_delta_log/x"), hidden("a/_x/y"), hidden("_p=1/x"), hidden("a/.x=1/y")); s != "true true false true" {
		t.Error(s)
	}
}
