package faultproxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestRequestFaults(t *testing.T) {
	var puts atomic.Int64
	var host atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		if r.Method == http.MethodPut {
			puts.Add(1)
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer server.Close()
	p, err := ListenHTTP("127.0.0.1:0", strings.TrimPrefix(server.URL, "http://"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	// do sends a request and gives its status, 0 without an answer.
	do := func(method string, limit time.Duration) int {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Addr().String()+"/x", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode == 200 && string(b) != "body" {
			t.Errorf("the answer is %q", b)
		}
		return resp.StatusCode
	}
	if do("PUT", time.Minute) != 200 || puts.Load() != 1 || host.Load() != p.Addr().String() {
		t.Fatalf("without a fault: %d puts, host %v", puts.Load(), host.Load())
	}
	p.SetFor("", RequestFault{Lose: true, Writes: true})
	if do("PUT", time.Minute) != 0 || puts.Load() != 2 {
		t.Fatalf("a lost answer: %d puts", puts.Load())
	}
	if do("GET", time.Minute) != 200 {
		t.Fatal("a read suffers from a fault of writes")
	}
	p.SetFor("", RequestFault{Status: 503, Every: 2})
	if a, b := do("PUT", time.Minute), do("PUT", time.Minute); a != 200 || b != 503 {
		t.Fatalf("every second one: %d, %d", a, b)
	}
	p.SetFor("", RequestFault{Cut: true})
	if do("PUT", time.Minute) != 0 || puts.Load() != 3 {
		t.Fatalf("a cut line: %d puts", puts.Load())
	}
	for _, f := range []RequestFault{{HoldRequests: true}, {HoldAnswers: true}} {
		p.SetFor("", f)
		if do("PUT", 50*time.Millisecond) != 0 {
			t.Fatal("a held request is answered")
		}
		held := make(chan int)
		before := puts.Load()
		go func() { held <- do("PUT", time.Minute) }()
		for f.HoldAnswers && puts.Load() == before {
			time.Sleep(time.Millisecond)
		}
		p.Heal()
		if got := <-held; got != 200 {
			t.Fatalf("a held request ends with %d", got)
		}
	}
	if hit := p.Hit(); hit["answer lost"] != 1 || hit["status 503"] != 1 || hit["reset"] != 1 {
		t.Errorf("%v", hit)
	}
}
