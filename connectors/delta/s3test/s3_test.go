package s3test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/blob"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/connectors/store/storetest"
	"sluice.io/sluice/internal/testkit/cloud"
	"sluice.io/sluice/internal/testkit/s3"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_WRITER") != "" {
		if err := writerProcess(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// kinds are the servers: those that speak S3, and emulators of the other clouds.
var kinds = slices.Concat(s3.Kinds, cloud.Kinds)

// remote is a running server.
type remote interface {
	Env() map[string]string
	URL(prefix string) string
}

// server starts a server and lets this process and its children find it.
func server(t *testing.T, kind string) remote {
	t.Helper()
	var s remote
	if slices.Contains(s3.Kinds, kind) {
		s = s3.Start(t, kind)
	} else {
		s = cloud.Start(t, kind)
	}
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
	return s
}

func open(t *testing.T, url string) store.Bucket {
	t.Helper()
	b, err := stores.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestContract: the servers keep what store.Bucket promises, put-if-absent before all.
func TestContract(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := server(t, kind)
			storetest.Run(t, func(t *testing.T) store.Bucket {
				b := open(t, s.URL(uuid.NewString()))
				if err := blob.Probe(context.Background(), b, "probe"); err != nil {
					t.Fatal(err)
				}
				return b
			}, storetest.Options{})
		})
	}
}

// TestManyProcessesCommit: eight processes that share nothing but a store write one table; no commit is lost, none is there twice.
func TestManyProcessesCommit(t *testing.T) {
	each := 20
	if os.Getenv("SLUICE_REAL") != "" {
		each = 500
	}
	if text := os.Getenv("SLUICE_TEST_COMMITS"); text != "" {
		var err error
		if each, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("disk", func(t *testing.T) { manyProcesses(t, "disk", "file://"+t.TempDir(), each) })
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { manyProcesses(t, kind, server(t, kind).URL("commits"), each) })
	}
}

// TestWrongCredentials: a server that does not let us in is said to, whatever is asked of it.
func TestWrongCredentials(t *testing.T) {
	for _, kind := range s3.Kinds {
		t.Run(kind, func(t *testing.T) {
			s := server(t, kind)
			ctx := context.Background()
			sc := schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long)}}}
			url := s.URL("locked")
			b := open(t, url)
			defer b.Close()
			tab, err := delta.Create(ctx, b, "t", delta.CreateOptions{Schema: sc})
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"AWS_SECRET_ACCESS_KEY": "wrong", "AWS_ACCESS_KEY_ID": "nobody"} {
				t.Setenv(name, value)
				locked := open(t, url)
				defer locked.Close()
				_, err := delta.Open(ctx, locked, "t")
				if !errors.Is(err, store.ErrPermission) {
					t.Errorf("with a wrong %s the table opens with %v", name, err)
				}
				if err := locked.PutIfAbsent(ctx, "t/_delta_log/00000000000000000001.json", []byte("{}")); !errors.Is(err, store.ErrPermission) {
					t.Errorf("with a wrong %s a commit is put with %v", name, err)
				}
			}
			if s, err := tab.Snapshot(ctx); err != nil || s.Version != 0 {
				t.Errorf("the table is touched: %v", err)
			}
		})
	}
}

const writers = 8

func manyProcesses(t *testing.T, kind, url string, each int) {
	t.Helper()
	ctx := context.Background()
	b := open(t, url)
	defer b.Close()
	sc := schema.Schema{Fields: []schema.Field{{Name: "id", Type: schema.Of(schema.Long)}}}
	if _, err := delta.Create(ctx, b, "t", delta.CreateOptions{Schema: sc}); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), "SLUICE_TEST_WRITER="+strconv.Itoa(w), "SLUICE_TEST_URL="+url, fmt.Sprintf("SLUICE_TEST_N=%d", each))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v\n%s", w, err, out)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	check(t, b, each)
	t.Logf("FIGURE %d processes commit to one table on %s: %d commits in %.1f s, none lost, none doubled", writers, kind, writers*each, took.Seconds())
}

// writerProcess makes its commits as a worker would: each moves its txn by one and adds one file; after Conflict or Unknown it reads the
// table and goes on from its txn.
func writerProcess() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	w := os.Getenv("SLUICE_TEST_WRITER")
	n, err := strconv.ParseInt(os.Getenv("SLUICE_TEST_N"), 10, 64)
	if err != nil {
		return err
	}
	b, err := stores.Open(ctx, os.Getenv("SLUICE_TEST_URL"))
	if err != nil {
		return err
	}
	defer b.Close()
	tab, err := delta.Open(ctx, b, "t")
	if err != nil {
		return err
	}
	for {
		s, err := tab.Snapshot(ctx)
		if err != nil {
			return err
		}
		at, ok := s.Txn("app" + w)
		if !ok {
			at = -1
		}
		if at == n-1 {
			return nil
		}
		c := tab.NewCommit(s)
		c.Append(delta.Add{Path: name(w, at+1), Size: 10, Written: &delta.Written{Size: 10, Rows: 1}, Stats: `{"numRecords":1}`})
		c.Progress("app"+w, at, at+1)
		out := c.Do(ctx)
		if ctx.Err() != nil || errors.Is(out.Err, delta.ErrInvalidCommit) {
			return out.Err
		}
		if out.Kind == delta.Committed && at%25 == 24 {
			if _, err := tab.Checkpoint(ctx, out.Snapshot, delta.CheckpointOptions{}); err != nil {
				return err
			}
		}
	}
}

func name(w string, i int64) string { return fmt.Sprintf("%s-%d.parquet", w, i) }

// check reads the log from its first commit.
func check(t *testing.T, b store.Bucket, each int) {
	t.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	s := tab.Cached()
	if want := writers * each; s.Version != int64(want) || s.NumFiles() != want {
		t.Errorf("version %d with %d files, want %d", s.Version, s.NumFiles(), want)
	}
	next := map[string]int64{}
	for e, err := range tab.Commits(ctx, 1, -1) {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Txns) != 1 || len(e.Adds) != 1 {
			t.Fatalf("version %d: %d txns, %d adds", e.Version, len(e.Txns), len(e.Adds))
		}
		x := e.Txns[0]
		if want := name(strings.TrimPrefix(x.AppID, "app"), next[x.AppID]); x.Version != next[x.AppID] || e.Adds[0].Path != want {
			t.Fatalf("version %d: %s goes to %d with %s, want %d with %s", e.Version, x.AppID, x.Version, e.Adds[0].Path, next[x.AppID], want)
		}
		next[x.AppID]++
	}
	if len(next) != writers {
		t.Errorf("%d writers", len(next))
	}
}
