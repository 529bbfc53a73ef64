package devbroker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func produce(t *testing.T, addr string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 0, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cluster.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, b.Addr(), 3)
	b.Close()
	if b, err = Open(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	produce(t, b.Addr(), 1)
	if got := b.cluster.PartitionInfo("t", 0).HighWatermark; got != 4 {
		t.Fatalf("%d records, want 4", got)
	}
}

func TestCorruptFilesAreNamed(t *testing.T) {
	for _, file := range []string{"meta.json", "topics.json"} {
		dir := t.TempDir()
		b, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.cluster.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		b.Close()
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		var corrupt *CorruptError
		if _, err := Open(Options{Dir: dir}); !errors.As(err, &corrupt) || corrupt.File != path {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

func TestPortTaken(t *testing.T) {
	b, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := Open(Options{Listen: b.Addr()}); !errors.Is(err, ErrPortTaken) {
		t.Fatal(err)
	}
}
