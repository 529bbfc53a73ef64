package delta

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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
	f.Fuzz(func(t *testing.T, data []byte) { _ = readCheckpointBytes(t, data) })
}

func readCheckpointBytes(t *testing.T, data []byte) error {
	t.Helper()
	ctx := context.Background()
	b := mem.New("lake")
	if err := b.Put(ctx, "t/_delta_log/x.parquet", data); err != nil {
		t.Fatal(err)
	}
	tab := newTable(b, "t", nil)
	r := newReplay(tab, nil)
	return tab.readParquetActions(ctx, store.Info{Key: "t/_delta_log/x.parquet", Size: int64(len(data))}, func(a *Actions) error {
		r.apply(a)
		return nil
	})
}

// TestDamagedCheckpointsAreBounded: what a damaged header claims is not believed before the bytes are there. It doesn't run beside other tests, for
// it counts memory.
func TestDamagedCheckpointsAreBounded(t *testing.T) {
	const most = 64 << 20
	files, err := filepath.Glob("testdata/fuzz/FuzzCheckpoint/claimed_*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		quoted := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "go test fuzz v1\n[]byte("), ")")
		data, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = readCheckpointBytes(t, []byte(data))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s: %d bytes of memory for a file of %d (%v)", name, n, len(data), err)
		}
	}
}
