package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// keep bounds the idle connections to one address.
const keep = 4

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Client sends requests. Its methods may be called by any goroutine.
type Client struct {
	dial DialFunc
	tls  *tls.Config

	mu struct {
		sync.Mutex
		idle   map[string][]net.Conn
		closed bool
	}
}

// NewClient makes a client; nil for dial means TCP, nil for conf no TLS.
func NewClient(dial DialFunc, conf *tls.Config) *Client {
	if dial == nil {
		d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
		dial = d.DialContext
	}
	c := &Client{dial: dial, tls: conf}
	c.mu.idle = map[string][]net.Conn{}
	return c
}

func (c *Client) connect(ctx context.Context, address string, kind byte) (net.Conn, error) {
	raw, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := raw
	if c.tls != nil {
		conf := c.tls.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(address)
		}
		tc := tls.Client(raw, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			if hungUp(err) {
				err = errNoTLS
			}
			return nil, fmt.Errorf("TLS with peer %s: %w", address, err)
		}
		conn = tc
	}
	if d, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(d)
	}
	if _, err := conn.Write([]byte{kind}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return conn, nil
}

// DialRaft opens a stream of Raft's own protocol.
func (c *Client) DialRaft(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // raft passes no context
	defer cancel()
	return c.connect(ctx, address, streamRaft)
}

// Call sends a request and waits for the answer, at most until ctx ends. An error means that no answer came; errors of
// the other side are in the answer.
func (c *Client) Call(ctx context.Context, address string, req *peerv1.Request) (*peerv1.Response, error) {
	req.Version = Version
	if d, ok := ctx.Deadline(); ok {
		req.TimeoutMs = uint32(max(1, time.Until(d).Milliseconds()))
	}
	if conn := c.take(address); conn != nil {
		resp, err := c.exchange(ctx, address, conn, req)
		if err == nil || ctx.Err() != nil {
			return resp, err
		}
		// The kept connection was dead, or died: once more over a new one.
	}
	conn, err := c.connect(ctx, address, streamRPC)
	if err != nil {
		return nil, fmt.Errorf("reach peer %s: %w", address, err)
	}
	resp, err := c.exchange(ctx, address, conn, req)
	if c.tls == nil && hungUp(err) {
		err = fmt.Errorf("ask peer %s: %w", address, errHungUp)
	}
	return resp, err
}

// Where one node has TLS and the other has not, both only see that the connection ends.
var (
	errNoTLS  = errors.New("it ended the connection before TLS was there; is peer.tls set on that node, too?")
	errHungUp = errors.New("it ended the connection without an answer; is peer.tls set on that node, and not on this one?")
)

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func (c *Client) exchange(ctx context.Context, address string, conn net.Conn, req *peerv1.Request) (*peerv1.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	resp := new(peerv1.Response)
	err := writeFrame(conn, req)
	if err == nil {
		err = readFrame(conn, resp)
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("ask peer %s: %w", address, err)
	}
	if stop() {
		c.put(address, conn)
	} else {
		_ = conn.Close() // its deadline has been spoilt
	}
	return resp, nil
}

func (c *Client) take(address string) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	conns := c.mu.idle[address]
	if len(conns) == 0 {
		return nil
	}
	conn := conns[len(conns)-1]
	c.mu.idle[address] = conns[:len(conns)-1]
	return conn
}

func (c *Client) put(address string, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed || len(c.mu.idle[address]) >= keep {
		_ = conn.Close()
		return
	}
	c.mu.idle[address] = append(c.mu.idle[address], conn)
}

// Close closes the idle connections; later ones are closed after their request.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	for _, conns := range c.mu.idle {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	clear(c.mu.idle)
}
