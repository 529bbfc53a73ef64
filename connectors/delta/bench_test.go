package delta

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/testkit"
)

// bigTable makes a table of n files with statistics, in one commit.
func bigTable(tb testing.TB, b store.Bucket, n int) *Table {
	tb.Helper()
	tab := newTestTable(tb, b, nil)
	const each = 50_000
	for at := 0; at < n; at += each {
		c := tab.NewCommit(tab.Cached())
		for i := at; i < min(at+each, n); i++ {
			a := testAdd(fmt.Sprintf("part-%05d-9f1c2b7e-6c1d-4e57-a1f0-%012d.parquet", i%1000, i), 1000)
			a.Stats = fmt.Sprintf(`{"numRecords":1000,"minValues":{"id":%d,"s":"abc%d"},"maxValues":{"id":%d,"s":"xyz%d"},"nullCount":{"id":0,"s":3}}`, i*1000, i, i*1000+999, i)
			c.Append(a)
		}
		if out := c.Do(context.Background()); out.Err != nil {
			tb.Fatal(out.Err)
		}
	}
	return tab
}

func fileBucket(tb testing.TB, dir string) store.Bucket {
	tb.Helper()
	b, err := file.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// heap gives the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCommitLocal is one append to a table on local disk, fsyncs included.
func BenchmarkCommitLocal(b *testing.B) {
	ctx := context.Background()
	tab := newTestTable(b, fileBucket(b, b.TempDir()), nil)
	for i := 0; b.Loop(); i++ {
		c := tab.NewCommit(tab.Cached())
		c.Append(testAdd(fmt.Sprintf("f%d", i), 10))
		c.Progress("app", int64(i)-1, int64(i))
		if out := c.Do(ctx); out.Err != nil {
			b.Fatal(out.Err)
		}
	}
}

// BenchmarkNewCommitOnBigTable is reading a table of 300 000 files again after one new commit.
func BenchmarkNewCommitOnBigTable(b *testing.B) {
	ctx := context.Background()
	bucket := mem.New("x")
	tab := bigTable(b, bucket, 300_000)
	reader, err := Open(ctx, bucket, "t")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		c := tab.NewCommit(tab.Cached())
		c.Append(testAdd(fmt.Sprintf("f%d", i), 10))
		if out := c.Do(ctx); out.Err != nil {
			b.Fatal(out.Err)
		}
		b.StartTimer()
		if s, err := reader.Snapshot(ctx); err != nil || s.Version != tab.Cached().Version {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenCheckpoint opens a table of 300 000 files from its checkpoint; heap-B is what the snapshot keeps.
func BenchmarkOpenCheckpoint(b *testing.B) {
	ctx := context.Background()
	bucket := fileBucket(b, b.TempDir())
	tab := bigTable(b, bucket, 300_000)
	if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{}); err != nil {
		b.Fatal(err)
	}
	tab = nil
	before := heap()
	var got *Table
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if got, err = Open(ctx, bucket, "t"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before), "heap-B")
	runtime.KeepAlive(got)
}

// BenchmarkWriteCheckpoint writes a checkpoint of 300 000 files.
func BenchmarkWriteCheckpoint(b *testing.B) {
	ctx := context.Background()
	bucket := fileBucket(b, b.TempDir())
	tab := bigTable(b, bucket, 300_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tab.Checkpoint(ctx, tab.Cached(), CheckpointOptions{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := bucket.Delete(ctx, "t/"+logDir+versionName(tab.Cached().Version)+".checkpoint.parquet"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkOpenLongLog opens a log of 10 000 commits without checkpoint.
func BenchmarkOpenLongLog(b *testing.B) {
	ctx := context.Background()
	bucket := mem.New("x")
	tab := newTestTable(b, bucket, nil)
	for i := range 10_000 {
		c := tab.NewCommit(tab.Cached())
		c.Append(testAdd(fmt.Sprintf("f%d", i), 10))
		if out := c.Do(ctx); out.Err != nil {
			b.Fatal(out.Err)
		}
	}
	for b.Loop() {
		if _, err := Open(ctx, bucket, "t"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen300k opens the foreign table of 300 000 files in JSON commits.
func BenchmarkOpen300k(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	unpack(b, testkit.Shared(b, "corpora/delta-kernel/300k-add-files-100-col-partitioned.tar.zst"), dir)
	bucket := fileBucket(b, filepath.Join(dir, "300k-add-files-100-col-partitioned"))
	before := heap()
	var got *Table
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if got, err = Open(ctx, bucket, ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before), "heap-B")
	runtime.KeepAlive(got)
}
