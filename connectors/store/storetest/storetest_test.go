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
