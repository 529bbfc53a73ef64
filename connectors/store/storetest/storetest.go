// Package storetest is the contract of store.Bucket as a test suite. Every store passes it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store"
)

// Options fit the suite to a store.
type Options struct {
	// Large is the size of the large object in bytes; default 24 MiB, which is several parts of a multi-part upload.
	Large int
	// Racers race for each of Rounds keys; default 8 and 20.
	Racers, Rounds int
}

// Run runs the suite. open gives an empty bucket for each call.
func Run(t *testing.T, open func(t *testing.T) store.Bucket, o Options) {
	if o.Large == 0 {
		o.Large = 24 << 20
	}
	if o.Racers == 0 {
		o.Racers = 8
	}
	if o.Rounds == 0 {
		o.Rounds = 20
	}
	for name, f := range map[string]func(*testing.T, store.Bucket, Options){
		"PutGet": putGet, "NotFound": notFound, "PutIfAbsentRace": race, "ListOrder": listOrder, "Ranges": ranges,
		"Create": create, "CreateAbandoned": abandoned, "Large": large, "Cancel": cancelled, "Keys": keys,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, b, o)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func putGet(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	before := time.Now().Add(-time.Minute)
	for _, data := range [][]byte{[]byte("one"), []byte("a longer two"), {}} {
		must(t, b.Put(ctx, "a/b/c", data))
		got, err := b.Get(ctx, "a/b/c")
		must(t, err)
		if !bytes.Equal(got, data) {
			t.Errorf("got %q, put %q", got, data)
		}
		info, err := b.Stat(ctx, "a/b/c")
		must(t, err)
		if info.Key != "a/b/c" || info.Size != int64(len(data)) || info.ModTime.Before(before) {
			t.Errorf("%+v", info)
		}
	}
	must(t, b.PutIfAbsent(ctx, "x", []byte("first")))
	for _, key := range []string{"x", "a/b/c"} {
		if err := b.PutIfAbsent(ctx, key, []byte("second")); !errors.Is(err, store.ErrExists) {
			t.Errorf("put of the taken key %s: %v", key, err)
		}
	}
	if got, err := b.Get(ctx, "x"); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, b.Delete(ctx, "x"))
	must(t, b.Delete(ctx, "x"))
	must(t, b.PutIfAbsent(ctx, "x", []byte("third")))
}

func notFound(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	must(t, b.Put(ctx, "folder/object", []byte("x")))
	for _, key := range []string{"none", "no/such/object", "folder"} {
		_, errGet := b.Get(ctx, key)
		_, errRange := b.ReadRange(ctx, key, 0, 1)
		_, errStat := b.Stat(ctx, key)
		for _, err := range []error{errGet, errRange, errStat} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	must(t, b.Delete(ctx, "none"))
	must(t, b.Delete(ctx, "no/such/object"))
	for info, err := range b.List(ctx, "no/such/", "") {
		t.Errorf("listed %v, %v", info, err)
	}
}

// race: of any number of racing writers one wins each key, and what is read is what the winner wrote.
func race(t *testing.T, b store.Bucket, o Options) {
	ctx := t.Context()
	for round := range o.Rounds {
		key := fmt.Sprintf("log/%020d.json", round)
		var mu sync.Mutex
		var winners []string
		var wg sync.WaitGroup
		for r := range o.Racers {
			wg.Go(func() {
				data := bytes.Repeat([]byte{byte('a' + r)}, 1000+r)
				// A store may answer that it can't decide now.
				for {
					err := b.PutIfAbsent(ctx, key, data)
					if err != nil && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrUnknownOutcome) && ctx.Err() == nil {
						continue
					}
					if err != nil && !errors.Is(err, store.ErrExists) {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						winners = append(winners, string(data))
						mu.Unlock()
					}
					return
				}
			})
		}
		wg.Wait()
		got, err := b.Get(ctx, key)
		must(t, err)
		if len(winners) != 1 || string(got) != winners[0] {
			t.Fatalf("%s: %d winners", key, len(winners))
		}
	}
}

func listOrder(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	want := []string{"a", "a-b", "a-b/c", "a.txt", "a/b", "a/b/c", "a/c", "a0", "b/00", "b/1", "ä/é", "log/00000000000000000001.json",
		"log/00000000000000000001.checkpoint.parquet", "log/00000000000000000010.json", "log/_last_checkpoint", "log/_side/x"}
	// "a" and "a/b" can't both be on a file system.
	want = want[1:]
	slices.Sort(want)
	want = slices.DeleteFunc(want, func(k string) bool { return k == "a-b" || k == "a/b" })
	for _, k := range slices.Backward(want) {
		must(t, b.Put(ctx, k, []byte(k)))
	}
	list := func(prefix, after string) []string {
		t.Helper()
		var out []string
		for info, err := range b.List(ctx, prefix, after) {
			must(t, err)
			if info.Size != int64(len(info.Key)) {
				t.Errorf("%+v", info)
			}
			out = append(out, info.Key)
		}
		return out
	}
	expect := func(prefix, after string) []string {
		var out []string
		for _, k := range want {
			if len(k) >= len(prefix) && k[:len(prefix)] == prefix && k > after {
				out = append(out, k)
			}
		}
		return out
	}
	for _, prefix := range []string{"", "a", "a/", "a-", "log/", "log/0", "log/00000000000000000001", "b/0", "ä", "zzz"} {
		for _, after := range append([]string{"", "a/", "a-b/c", "a/b", "log/00000000000000000001", "log/00000000000000000001.json",
			"log/_", "zzz", "b"}, want...) {
			if got, want := list(prefix, after), expect(prefix, after); !slices.Equal(got, want) {
				t.Errorf("List(%q, %q) = %q, want %q", prefix, after, got, want)
			}
		}
	}
	for range b.List(ctx, "", "") { // a consumer may stop
		break
	}
	// What was written is listed at once.
	for i := range 5 {
		k := fmt.Sprintf("log/%020d.json", 20+i)
		must(t, b.PutIfAbsent(ctx, k, []byte(k)))
		if got := list("log/", fmt.Sprintf("log/%020d", 20+i)); len(got) == 0 || got[0] != k {
			t.Errorf("%s is not listed: %q", k, got)
		}
	}
	must(t, b.Delete(ctx, "log/_side/x"))
	if got := list("log/_side/", ""); len(got) != 0 {
		t.Errorf("a deleted object is listed: %q", got)
	}
}

func ranges(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	must(t, b.Put(ctx, "k", data))
	for _, r := range [][2]int64{{0, 5000}, {0, 1}, {4999, 1}, {100, 2000}, {0, -1}, {4000, -1}, {5000, -1}, {10, 0}, {5000, 0}} {
		got, err := b.ReadRange(ctx, "k", r[0], r[1])
		end := r[0] + r[1]
		if r[1] < 0 {
			end = 5000
		}
		if err != nil || !bytes.Equal(got, data[r[0]:end]) {
			t.Errorf("range %v: %d bytes, %v", r, len(got), err)
		}
	}
	for _, r := range [][2]int64{{0, 5001}, {4999, 2}, {5000, 1}, {5001, -1}, {6000, 10}, {-1, 1}} {
		if got, err := b.ReadRange(ctx, "k", r[0], r[1]); err == nil {
			t.Errorf("range %v gives %d bytes and no error", r, len(got))
		}
	}
}

func create(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	for i := range 2 { // the second replaces the first
		w, err := b.Create(ctx, "s/k")
		must(t, err)
		for range 10 {
			if n, err := fmt.Fprintf(w, "piece %d;", i); n != 8 || err != nil {
				t.Fatal(n, err)
			}
		}
		must(t, w.Close())
		got, err := b.Get(ctx, "s/k")
		must(t, err)
		if want := bytes.Repeat(fmt.Appendf(nil, "piece %d;", i), 10); !bytes.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	w, err := b.Create(ctx, "s/empty")
	must(t, err)
	must(t, w.Close())
	if info, err := b.Stat(ctx, "s/empty"); err != nil || info.Size != 0 {
		t.Error(info, err)
	}
}

// abandoned: an object whose writer was cancelled is not there, nor is anything else.
func abandoned(t *testing.T, b store.Bucket, _ Options) {
	ctx, cancel := context.WithCancel(t.Context())
	w, err := b.Create(ctx, "s/k")
	must(t, err)
	_, _ = w.Write([]byte("half"))
	for info, err := range b.List(t.Context(), "", "") {
		t.Errorf("listed while it is written: %v, %v", info, err)
	}
	cancel()
	_, _ = w.Write([]byte("other half"))
	if err := w.Close(); err == nil {
		t.Error("Close after cancel gives no error")
	}
	if _, err := b.Stat(t.Context(), "s/k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the abandoned object: %v", err)
	}
	for info, err := range b.List(t.Context(), "", "") {
		t.Errorf("listed: %v, %v", info, err)
	}
}

func large(t *testing.T, b store.Bucket, o Options) {
	ctx := t.Context()
	data := make([]byte, o.Large)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	w, err := b.Create(ctx, "large")
	must(t, err)
	_, err = io.Copy(w, bytes.NewReader(data))
	must(t, err)
	must(t, w.Close())
	got, err := b.Get(ctx, "large")
	must(t, err)
	if !bytes.Equal(got, data) {
		t.Error("the large object differs")
	}
	at := int64(o.Large) - 1000
	got, err = b.ReadRange(ctx, "large", at, 1000)
	if err != nil || !bytes.Equal(got, data[at:]) {
		t.Errorf("its end: %v", err)
	}
	must(t, b.PutIfAbsent(ctx, "large2", data))
	if info, err := b.Stat(ctx, "large2"); err != nil || info.Size != int64(o.Large) {
		t.Error(info, err)
	}
	// A server that refuses before it has read all (MinIO) may reset the connection, so that its answer is not seen.
	if err := b.PutIfAbsent(ctx, "large2", data[:len(data)-1]); !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrUnknownOutcome) {
		t.Error(err)
	}
	if info, err := b.Stat(ctx, "large2"); err != nil || info.Size != int64(o.Large) {
		t.Error("a refused write took effect: ", info, err)
	}
}

func cancelled(t *testing.T, b store.Bucket, _ Options) {
	must(t, b.Put(t.Context(), "k", []byte("x")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, errGet := b.Get(ctx, "k")
	_, errStat := b.Stat(ctx, "k")
	var errList error
	for _, err := range b.List(ctx, "", "") {
		errList = err
	}
	for name, err := range map[string]error{"Get": errGet, "Stat": errStat, "List": errList, "Put": b.Put(ctx, "n", nil),
		"PutIfAbsent": b.PutIfAbsent(ctx, "n", nil), "Delete": b.Delete(ctx, "k")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s after cancel: %v", name, err)
		}
	}
	if _, err := b.Get(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func keys(t *testing.T, b store.Bucket, _ Options) {
	ctx := t.Context()
	for _, key := range []string{"a b/c=d+e", "p=%2F%2520/x", "ümlaut/日本", "-._~!$&'()*,;=:@", "deep/a/b/c/d/e/f/g"} {
		must(t, b.PutIfAbsent(ctx, key, []byte(key)))
		got, err := b.Get(ctx, key)
		if err != nil || string(got) != key {
			t.Errorf("%q: %q, %v", key, got, err)
		}
		found := false
		for info, err := range b.List(ctx, key, "") {
			found = found || err == nil && info.Key == key
		}
		if !found {
			t.Errorf("%q is not listed", key)
		}
		must(t, b.Delete(ctx, key))
	}
}
