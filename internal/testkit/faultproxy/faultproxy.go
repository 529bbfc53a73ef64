// Package faultproxy is a TCP proxy that stands between processes of a test and does to their connections what networks do:
// it delays, cuts, goes silent, and goes silent in one direction only. Faults can be set for all connections or for those of
// one process alone, so that one proxy before a node can part it from one peer and not from another.
//
// Silence keeps bytes back rather than dropping them, as TCP does over a network that is gone for a while: what was held
// arrives when the fault ends, late. That is what turns a paused peer into a zombie.
package faultproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Fault is what happens to connections.
type Fault struct {
	// Cut refuses new connections and resets those that there are.
	Cut bool
	// HoldRequests keeps back what clients send, HoldAnswers what the server sends. Both: a black hole.
	HoldRequests, HoldAnswers bool
	// Delay holds every piece of data back for so long, each way.
	Delay time.Duration
}

// BlackHole takes everything and gives nothing back.
var BlackHole = Fault{HoldRequests: true, HoldAnswers: true}

// String names the fault for reports.
func (f Fault) String() string {
	switch {
	case f.Cut:
		return "cut"
	case f.HoldRequests && f.HoldAnswers:
		return "black hole"
	case f.HoldRequests:
		return "requests held"
	case f.HoldAnswers:
		return "answers held"
	case f.Delay > 0:
		return fmt.Sprintf("delay of %s", f.Delay)
	}
	return "none"
}

// Proxy forwards connections to a target. Its methods may be called by any goroutine.
type Proxy struct {
	ln     net.Listener
	target string
	who    func(local, remote net.Addr) string
	wg     sync.WaitGroup

	mu     sync.Mutex
	change chan struct{} // closed when a fault is set
	all    Fault
	by     map[string]Fault
	conns  map[*pair]bool
	closed bool
}

// pair is a client's connection and the one to the target that goes with it.
type pair struct {
	who            string
	client, server net.Conn
}

// Listen starts a proxy at address (127.0.0.1:0 takes any port) before target. who names the owner of a connection by its
// addresses as the proxy sees them; nil: all have the name "".
func Listen(address, target string, who func(local, remote net.Addr) string) (*Proxy, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for a fault proxy: %w", err)
	}
	if who == nil {
		who = func(net.Addr, net.Addr) string { return "" }
	}
	p := &Proxy{ln: ln, target: target, who: who, change: make(chan struct{}), by: map[string]Fault{}, conns: map[*pair]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.ln.Addr() }

// Set puts a fault on all connections that have none of their own; Fault{} ends it.
func (p *Proxy) Set(f Fault) { p.update(func() { p.all = f }) }

// SetFor puts a fault on the connections of one owner; Fault{} ends it.
func (p *Proxy) SetFor(who string, f Fault) {
	p.update(func() {
		if f == (Fault{}) {
			delete(p.by, who)
		} else {
			p.by[who] = f
		}
	})
}

// Heal ends all faults.
func (p *Proxy) Heal() { p.update(func() { p.all = Fault{}; clear(p.by) }) }

// Reset breaks the connections that there are, once.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
}

func (p *Proxy) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.change)
	p.change = make(chan struct{})
	for c := range p.conns {
		if p.faultOf(c.who).Cut {
			c.reset()
		}
	}
}

// faultOf is called with mu held.
func (p *Proxy) faultOf(who string) Fault {
	if f, ok := p.by[who]; ok {
		return f
	}
	return p.all
}

// look gives the present fault of an owner, and what is closed when it may have changed.
func (p *Proxy) look(who string) (Fault, <-chan struct{}, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faultOf(who), p.change, p.closed
}

// Close ends the proxy and its connections, and waits for its goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.change)
	p.change = make(chan struct{})
	for c := range p.conns {
		c.reset()
	}
	p.mu.Unlock()
	err := p.ln.Close()
	p.wg.Wait()
	return err
}

func (c *pair) reset() {
	for _, x := range []net.Conn{c.client, c.server} {
		if t, ok := x.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // an RST, as from a host that knows nothing of the connection
		}
		_ = x.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
			continue
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	c := &pair{who: p.who(client.LocalAddr(), client.RemoteAddr()), client: client}
	f, _, closed := p.look(c.who)
	if !f.Cut && !closed {
		var err error
		if c.server, err = net.DialTimeout("tcp", p.target, 5*time.Second); err != nil {
			f.Cut = true // as if nobody listened here
		}
	}
	if f.Cut || closed {
		c.server = client
		c.reset()
		return
	}
	p.mu.Lock()
	if p.closed || p.faultOf(c.who).Cut {
		p.mu.Unlock()
		c.reset()
		return
	}
	p.conns[c] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		_, _ = client.Close(), c.server.Close()
	}()
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, c.server, client, func(f Fault) bool { return f.HoldRequests }) })
	both.Go(func() { p.copy(c, client, c.server, func(f Fault) bool { return f.HoldAnswers }) })
	both.Wait()
}

// copy passes data on as the fault of the moment allows, until one side ends.
func (p *Proxy) copy(c *pair, dst, src net.Conn, held func(Fault) bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		began := time.Now()
		for {
			f, changed, closed := p.look(c.who)
			if closed {
				return
			}
			wait := f.Delay - time.Since(began)
			if !held(f) && wait <= 0 {
				break
			}
			if held(f) {
				<-changed
				continue
			}
			t := time.NewTimer(wait)
			select {
			case <-changed:
			case <-t.C:
			}
			t.Stop()
		}
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				_, _ = src.Close(), dst.Close()
				return
			}
		}
		if err != nil {
			if t, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
				_ = t.CloseWrite()
			} else {
				_ = dst.Close()
			}
			return
		}
	}
}

// Listener is a proxy's address over another listener: a server that is given it announces the proxy as its own
// address, as a Kafka broker does to its clients.
type Listener struct {
	net.Listener
	Proxy *Proxy
}

// Addr implements net.Listener.
func (l Listener) Addr() net.Addr { return l.Proxy.Addr() }

// Close implements net.Listener.
func (l Listener) Close() error { return errors.Join(l.Listener.Close(), l.Proxy.Close()) }

// Before puts a proxy before a new listener.
func Before(network, address string, who func(local, remote net.Addr) string) (*Listener, error) {
	ln, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen behind a fault proxy: %w", err)
	}
	p, err := Listen(address, ln.Addr().String(), who)
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &Listener{ln, p}, nil
}
