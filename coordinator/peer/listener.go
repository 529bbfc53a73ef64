package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// Handler answers a request. It never returns nil.
type Handler func(ctx context.Context, req *peerv1.Request) *peerv1.Response

// handshake bounds how long a new connection may take to say what it is.
const handshake = 10 * time.Second

// idle is how long a connection may wait for its next request.
const idle = 2 * time.Minute

// Listener is the one port.
type Listener struct {
	ln     net.Listener
	tls    *tls.Config
	log    *slog.Logger
	raft   *queue
	ctx    context.Context // ends with Close; the owner's own cancel
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		conns   map[net.Conn]struct{}
		handler Handler
	}
}

// Listen opens the port. Raft's streams wait in Raft until somebody accepts them, requests are refused before Serve.
func Listen(address string, conf *tls.Config, log *slog.Logger) (*Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for peers on %s (peer.listen): %w", address, err)
	}
	l := &Listener{ln: ln, tls: conf, log: log}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.mu.conns = map[net.Conn]struct{}{}
	l.raft = &queue{addr: ln.Addr(), conns: make(chan net.Conn), done: l.ctx.Done()}
	l.wg.Go(l.accept)
	return l, nil
}

// Addr is the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Raft gives the listener of Raft's own streams.
func (l *Listener) Raft() net.Listener { return l.raft }

// Serve sets who answers requests.
func (l *Listener) Serve(h Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.handler = h
}

// Close ends all connections and waits for their goroutines.
func (l *Listener) Close() error {
	l.cancel()
	err := l.ln.Close()
	l.mu.Lock()
	for c := range l.mu.conns {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	l.mu.Unlock()
	l.wg.Wait()
	return ignoreClosed(err)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *Listener) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			if l.ctx.Err() != nil {
				return
			}
			// Out of descriptors, most likely: it passes.
			l.log.Warn("accept peer connection", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-l.ctx.Done():
				return
			}
			continue
		}
		if !l.enter(c) {
			return
		}
		l.wg.Go(func() { l.serve(c) })
	}
}

func (l *Listener) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		_ = c.Close()
		return false
	}
	l.mu.conns[c] = struct{}{}
	return true
}

func (l *Listener) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.conns, c)
}

func (l *Listener) serve(raw net.Conn) {
	conn := raw
	if l.tls != nil {
		conn = tls.Server(raw, l.tls)
	}
	_ = conn.SetDeadline(time.Now().Add(handshake))
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil {
		if l.tls != nil {
			l.log.Warn("refused peer connection", "from", raw.RemoteAddr().String(), "error", err)
		}
		l.leave(raw)
		_ = raw.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	switch first[0] {
	case streamRaft:
		// It stays entered, so that Close closes it whoever reads it.
		select {
		case l.raft.conns <- &left{Conn: conn, leave: func() { l.leave(raw) }}:
			return
		case <-l.ctx.Done():
		}
	case streamRPC:
		l.requests(conn)
	default:
		l.log.Warn("refused peer connection that speaks another protocol", "from", raw.RemoteAddr().String(), "first_byte", first[0])
	}
	l.leave(raw)
	_ = conn.Close()
}

func (l *Listener) requests(conn net.Conn) {
	for l.ctx.Err() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(idle))
		req := new(peerv1.Request)
		if err := readFrame(conn, req); err != nil {
			return // the other side has had enough, or is not one of us
		}
		_ = conn.SetReadDeadline(time.Time{})
		l.mu.Lock()
		h := l.mu.handler
		l.mu.Unlock()
		resp := &peerv1.Response{Code: "starting", Message: "this node is starting"}
		if h != nil {
			timeout := time.Duration(req.GetTimeoutMs()) * time.Millisecond
			if timeout <= 0 {
				timeout = 10 * time.Second
			}
			ctx, cancel := context.WithTimeout(l.ctx, timeout)
			resp = h(ctx, req)
			cancel()
		}
		resp.Version = Version
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if err := writeFrame(conn, resp); err != nil {
			return
		}
	}
}

// left tells the listener when a Raft stream is closed.
type left struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *left) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}

// queue is a net.Listener that hands on connections which somebody else has accepted.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  <-chan struct{}
	once  sync.Once
	ended chan struct{}
	mu    sync.Mutex
}

func (q *queue) end() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended == nil {
		q.ended = make(chan struct{})
	}
	return q.ended
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
	case <-q.end():
	}
	return nil, net.ErrClosed
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.end()) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
