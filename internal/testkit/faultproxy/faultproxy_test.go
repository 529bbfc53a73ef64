package faultproxy

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// echo runs a server that gives back what it gets.
func echo(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hears sends a byte and says whether it comes back within the limit.
func hears(t *testing.T, c net.Conn, limit time.Duration) bool {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	return answers(c, limit)
}

func answers(c net.Conn, limit time.Duration) bool {
	_ = c.SetReadDeadline(time.Now().Add(limit))
	var b [1]byte
	_, err := io.ReadFull(c, b[:])
	return err == nil
}

func TestFaults(t *testing.T) {
	p, err := Listen("127.0.0.1:0", echo(t).Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := dial(t, p)
	if !hears(t, c, 5*time.Second) {
		t.Fatal("nothing comes back without a fault")
	}
	for _, f := range []Fault{BlackHole, {HoldRequests: true}, {HoldAnswers: true}} {
		p.Set(f)
		if hears(t, c, 50*time.Millisecond) {
			t.Fatalf("%s lets data through", f)
		}
		p.Heal()
		if !answers(c, 5*time.Second) {
			t.Fatalf("%s loses what it held", f)
		}
	}
	p.Set(Fault{Delay: 100 * time.Millisecond})
	if hears(t, c, 50*time.Millisecond) || !answers(c, 5*time.Second) {
		t.Fatal("a delay is not one")
	}
	p.SetFor("", Fault{Cut: true})
	if hears(t, c, time.Second) {
		t.Fatal("a cut connection goes on")
	}
	if d, err := net.Dial("tcp", p.Addr().String()); err == nil { // or it is reset before the call returns
		defer d.Close()
		if hears(t, d, time.Second) {
			t.Fatal("a cut link takes new connections")
		}
	}
	p.Heal()
	if !hears(t, dial(t, p), 5*time.Second) {
		t.Fatal("a healed link does not work")
	}
}

func TestPid(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says which process a connection belongs to")
	}
	found := make(chan int, 1)
	p, err := Listen("127.0.0.1:0", echo(t).Addr().String(), func(_, remote net.Addr) string {
		found <- Pid(remote, []int{1, os.Getpid()})
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial(t, p)
	if pid := <-found; pid != os.Getpid() {
		t.Fatalf("the connection is of process %d, and not of this one", pid)
	}
}
