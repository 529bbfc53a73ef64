package peer

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	peerv1 "sluice.io/sluice/proto/peer/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) *Listener {
	t.Helper()
	l, err := Listen("127.0.0.1:0", nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func echo(_ context.Context, req *peerv1.Request) *peerv1.Response {
	return &peerv1.Response{Message: req.GetClusterId()}
}

func TestCallsAndStreamsShareAPort(t *testing.T) {
	t.Parallel()
	l := listen(t)
	c := NewClient(nil, nil)
	defer c.Close()
	addr := l.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if resp, err := c.Call(ctx, addr, &peerv1.Request{}); err != nil || resp.GetCode() != "starting" {
		t.Fatalf("before Serve: %v, %v", resp, err)
	}
	l.Serve(echo)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := strings.Repeat("x", i*1000)
			for range 20 {
				resp, err := c.Call(ctx, addr, &peerv1.Request{ClusterId: want})
				if err != nil || resp.GetMessage() != want {
					t.Errorf("call: %d bytes, %v", len(resp.GetMessage()), err)
				}
			}
		})
	}
	wg.Go(func() {
		conn, err := l.Raft().Accept()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	})
	conn, err := c.DialRaft(addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
	_ = conn.Close()
	wg.Wait()
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := listen(t)
	held := make(chan struct{})
	l.Serve(func(ctx context.Context, _ *peerv1.Request) *peerv1.Response {
		close(held)
		<-ctx.Done() // the caller's time travels with the request
		return &peerv1.Response{}
	})
	c := NewClient(nil, nil)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-held
		cancel()
	}()
	if _, err := c.Call(ctx, l.Addr().String(), &peerv1.Request{}); err == nil {
		t.Fatal("an answer to a call that was given up")
	}
}

func TestADeadConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	const addr = "node:8093"
	var at atomic.Value // where that is
	first, second := listen(t), listen(t)
	at.Store(first.Addr().String())
	first.Serve(echo)
	second.Serve(echo)
	c := NewClient(func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, at.Load().(string))
	}, nil)
	defer c.Close()
	if _, err := c.Call(t.Context(), addr, &peerv1.Request{}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), addr, &peerv1.Request{}); err == nil {
		t.Fatal("an answer from nobody")
	}
	at.Store(second.Addr().String())
	if resp, err := c.Call(t.Context(), addr, &peerv1.Request{ClusterId: "x"}); err != nil || resp.GetMessage() != "x" {
		t.Fatal(resp, err)
	}
}

// TestStrangers: what is not our protocol ends its own connection and nothing else.
func TestStrangers(t *testing.T) {
	t.Parallel()
	l := listen(t)
	l.Serve(echo)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 100 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, 1+rnd.IntN(200))
		for j := range junk {
			junk[j] = byte(rnd.Uint32())
		}
		switch i % 3 {
		case 0:
			junk[0] = streamRPC
		case 1:
			junk = []byte("GET / HTTP/1.1\r\n\r\n")
		}
		_, _ = conn.Write(junk)
		_ = conn.Close()
	}
	c := NewClient(nil, nil)
	defer c.Close()
	if resp, err := c.Call(t.Context(), l.Addr().String(), &peerv1.Request{ClusterId: "x"}); err != nil || resp.GetMessage() != "x" {
		t.Fatal(resp, err)
	}
}
