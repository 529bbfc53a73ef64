package delta

import (
	"context"
	"testing"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
)

// FuzzCheckpoint reads Parquet files as checkpoints: an error or actions, never a panic. The seeds are a checkpoint of ours, whole, cut short and with
// a byte changed here and there.
func FuzzCheckpoint(f *testing.F) {
	ctx := context.Background()
	tab, err := Create(ctx, mem.New("lake"), "t", CreateOptions{Schema: testSchema(), Configuration: map[string]string{PropStatsAsStruct: "true"}})
	if err != nil {
		f.Fatal(err)
	}
	c := tab.NewCommit(tab.Cached())
	c.Append(testAdd("a", 10))
	c.Append(testAdd("b", 20))
	out := c.Do(ctx)
	if out.Err != nil {
		f.Fatal(out.Err)
	}
	info, err := tab.Checkpoint(ctx, out.Snapshot, CheckpointOptions{})
	if err != nil {
		f.Fatal(err)
	}
	whole, err := tab.Bucket().Get(ctx, info.Key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append([]byte(nil), whole[:len(whole)-4]...))
	for i := 3; i < len(whole); i += len(whole)/9 + 1 {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x41
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := mem.New("lake")
		if err := b.Put(ctx, "t/_delta_log/x.parquet", data); err != nil {
			t.Fatal(err)
		}
		tab := newTable(b, "t", nil)
		r := newReplay(tab, nil)
		_ = tab.readParquetActions(ctx, store.Info{Key: "t/_delta_log/x.parquet", Size: int64(len(data))}, func(a *Actions) error {
			r.apply(a)
			return nil
		})
	})
}
