package storetest_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/blob"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/connectors/store/retry"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/connectors/store/storetest"
)

func TestFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Bucket {
		b, err := file.Open(t.TempDir() + "/made/by/the/first/write")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}, storetest.Options{})
}

func TestMem(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Bucket { return mem.New("t") }, storetest.Options{Large: 1 << 20})
}

func TestCDK(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Bucket {
		return retry.Wrap(blob.New(memblob.OpenBucket(nil), "mem://x", "a/prefix"), retry.Options{})
	}, storetest.Options{Large: 1 << 20})
}

// TestRemote runs the suite on the store that SLUICE_TEST_STORE names (s3://bucket/prefix?endpoint=…).
func TestRemote(t *testing.T) {
	t.Parallel()
	at := os.Getenv("SLUICE_TEST_STORE")
	if at == "" {
		t.Skip("SKIPPED: SLUICE_TEST_STORE names no store (s3://bucket/prefix?endpoint=…)")
	}
	storetest.Run(t, func(t *testing.T) store.Bucket {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = strings.TrimSuffix(u.Path, "/") + "/" + uuid.NewString()
		b, err := stores.Open(context.Background(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := blob.Probe(context.Background(), b, "probe"); err != nil {
			t.Fatal(err)
		}
		return b
	}, storetest.Options{})
}

// careless takes the condition of a write and ignores it, as some stores do that speak S3.
type careless struct{ store.Bucket }

func (c careless) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	return c.Put(ctx, key, data)
}

// TestProbe: a store that would lose commits is found out, and nothing is left behind.
func TestProbe(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("t")
	if err := blob.Probe(ctx, b, "probe"); err != nil {
		t.Error(err)
	}
	if err := blob.Probe(ctx, careless{b}, "probe"); err == nil || !strings.Contains(err.Error(), "overwrites objects although If-None-Match was sent") {
		t.Errorf("a careless store: %v", err)
	}
	for info, err := range b.List(ctx, "", "") {
		t.Errorf("left behind: %v %v", info.Key, err)
	}
}
