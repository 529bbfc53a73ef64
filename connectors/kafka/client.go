package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"sluice.io/sluice/internal/guard"
)

// Options are what a Client needs beside its properties.
type Options struct {
	Logger *slog.Logger
	// Budget bounds the bytes that are fetched and not yet handed out, over all Readers that share it (D9). nil: 64 MiB
	// of its own.
	Budget *Budget
	// DialTimeout is how long Dial tries to reach a broker; 0: 10 s.
	DialTimeout time.Duration
}

// Client talks to one Kafka cluster. All methods are safe for concurrent use.
type Client struct {
	s      *settings
	log    *slog.Logger
	budget *Budget
	dialer *dialer

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	clusterID string                    // empty where the brokers say none
	brokers   map[int32]string          // addresses by broker id, of the newest metadata
	conns     map[string]*sarama.Broker // control connections by address
	fetchers  map[lane]*fetcher
	readers   map[*Reader]struct{}
	parked    map[*Reader]struct{} // readers that wait for a leader
	kick      chan struct{}        // wakes the router
	groups    map[string]string    // coordinator's address by group
	producer  sarama.SyncProducer
}

var nilMetrics = sync.OnceFunc(func() { metrics.UseNilMetrics = true })

// Dial makes a Client and asks a broker for the cluster's members, so that wrong addresses and credentials show here.
// Errors: *ConfigError (all of them, joined), or ErrUnreachable and ErrAuthorization with the addresses that were tried.
func Dial(ctx context.Context, p Properties, o Options) (*Client, error) {
	s, err := p.parse()
	if err != nil {
		return nil, err
	}
	nilMetrics() // Sarama's meters cost a goroutine and nobody reads them
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Budget == nil {
		o.Budget = NewBudget(64 << 20)
	}
	timeout := o.DialTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	c := &Client{
		s: s, log: o.Logger, budget: o.Budget,
		brokers: map[int32]string{}, conns: map[string]*sarama.Broker{}, fetchers: map[lane]*fetcher{},
		readers: map[*Reader]struct{}{}, parked: map[*Reader]struct{}{}, groups: map[string]string{},
		kick: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.dialer = newDialer(c.ctx, s.conf.Net.DialTimeout)
	s.conf.Net.Proxy.Enable, s.conf.Net.Proxy.Dialer = true, c.dialer

	start := time.Now()
	dialCtx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	var last error
	for wait := 100 * time.Millisecond; ; wait = min(wait*2, 2*time.Second) {
		_, err := c.metadata(dialCtx, []string{})
		if err == nil {
			break
		}
		if last == nil || dialCtx.Err() == nil {
			last = err
		}
		if authorization(last) {
			c.Close()
			return nil, fmt.Errorf("%w: %s: %w (check sasl.mechanism, sasl.jaas.config and security.protocol)",
				ErrAuthorization, strings.Join(s.brokers, ", "), last)
		}
		if !sleep(dialCtx, wait) {
			c.Close()
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%w: bootstrap.servers is %q, tried for %s: %w%s", ErrUnreachable,
				strings.Join(s.brokers, ","), time.Since(start).Round(100*time.Millisecond), last, hint(last, s))
		}
	}
	c.wg.Add(1)
	go c.route()
	return c, nil
}

// hint says what usually lies behind an error of a connection.
func hint(err error, s *settings) string {
	t := err.Error()
	switch {
	case strings.Contains(t, "connection refused"):
		return "; is the broker up, and is this the port of a client listener?"
	case strings.Contains(t, "no such host"):
		return "; the host name does not resolve here"
	case strings.Contains(t, "tls:") || strings.Contains(t, "x509:"):
		return "; check security.protocol and ssl.*"
	case errors.Is(err, context.DeadlineExceeded) || strings.Contains(t, "i/o timeout"):
		return "; no answer in time: check the address, a firewall between, and that security.protocol is the one of this listener"
	case strings.Contains(t, "EOF") && !s.conf.Net.TLS.Enable:
		return "; the broker hung up: does this listener want TLS (security.protocol=SSL or SASL_SSL) or SASL?"
	}
	return ""
}

// Close ends all Readers and connections and waits for the Client's goroutines.
func (c *Client) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	readers := keys(c.readers)
	producer := c.producer
	c.producer = nil
	c.mu.Unlock()
	for _, r := range readers {
		r.Close()
	}
	if producer != nil {
		_ = producer.Close()
	}
	c.cancel()
	c.dialer.closeAll()
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.conns {
		_ = b.Close()
	}
	c.conns = map[string]*sarama.Broker{}
}

// do runs a call to a broker that cannot be cancelled, and returns early when ctx ends. Results must be handed over
// by values that only the caller's success path reads.
func do[T any](ctx context.Context, c *Client, call func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		var zero T
		return zero, ErrClosed
	}
	c.wg.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.wg.Done()
		var out result
		out.err = guard.Do(func() (err error) {
			out.v, err = call()
			return err
		})
		done <- out
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	case <-c.ctx.Done():
		var zero T
		return zero, ErrClosed
	}
}

// conn gives the control connection to an address.
func (c *Client) conn(addr string) (*sarama.Broker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if b := c.conns[addr]; b != nil {
		return b, nil
	}
	b := sarama.NewBroker(addr)
	if err := b.Open(c.s.conf); err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", addr, err)
	}
	c.conns[addr] = b
	return b, nil
}

// drop forgets a control connection that failed.
func (c *Client) drop(addr string, b *sarama.Broker) {
	c.mu.Lock()
	if c.conns[addr] == b {
		delete(c.conns, addr)
	}
	c.mu.Unlock()
	_ = b.Close()
}

// ask sends one request to the broker at addr.
func ask[T any](ctx context.Context, c *Client, addr string, call func(*sarama.Broker) (T, error)) (T, error) {
	return do(ctx, c, func() (T, error) {
		var zero T
		b, err := c.conn(addr)
		if err != nil {
			return zero, err
		}
		if _, err := b.Connected(); err != nil { // waits for the dial that Open began
			c.drop(addr, b)
			return zero, fmt.Errorf("connect to broker %s: %w", addr, err)
		}
		v, err := call(b)
		var k sarama.KError
		if err != nil && !errors.As(err, &k) {
			c.drop(addr, b)
			return zero, fmt.Errorf("broker %s: %w", addr, err)
		}
		return v, err
	})
}

// ClusterID is the id of the Kafka cluster, as the brokers say; empty where they say none.
func (c *Client) ClusterID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clusterID
}

// addresses gives all brokers that are known: those of the newest metadata, then the bootstrap ones.
func (c *Client) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := keys(c.brokers)
	slices.Sort(ids)
	var out []string
	for _, id := range ids {
		out = append(out, c.brokers[id])
	}
	for _, a := range c.s.brokers {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// metadata asks any broker. nil topics: all topics; an empty list: none, only the brokers.
func (c *Client) metadata(ctx context.Context, topics []string) (*sarama.MetadataResponse, error) {
	req := sarama.NewMetadataRequest(c.s.conf.Version, topics)
	if topics != nil && len(topics) == 0 {
		// The request has no form for "no topics" in Sarama; one name that cannot exist asks for brokers only.
		req.Topics = []string{"__sluice_no_such_topic"}
	}
	var errs []error
	for _, addr := range c.addresses() {
		resp, err := ask(ctx, c, addr, func(b *sarama.Broker) (*sarama.MetadataResponse, error) {
			r := *req
			return b.GetMetadata(&r)
		})
		if err == nil && len(resp.Brokers) == 0 {
			err = fmt.Errorf("broker %s knows no brokers yet", addr)
		}
		if err != nil {
			if ctx.Err() != nil && len(errs) > 0 {
				break
			}
			errs = append(errs, err)
			if authorization(err) {
				break
			}
			continue
		}
		c.mu.Lock()
		clear(c.brokers)
		for _, b := range resp.Brokers {
			c.brokers[b.ID()] = b.Addr()
		}
		if resp.ClusterID != nil {
			c.clusterID = *resp.ClusterID
		}
		c.mu.Unlock()
		return resp, nil
	}
	return nil, errors.Join(errs...)
}

// dialer opens connections that end with the Client, also while a request waits on them.
type dialer struct {
	ctx     context.Context
	timeout time.Duration
	mu      sync.Mutex
	open    map[net.Conn]struct{}
}

func newDialer(ctx context.Context, timeout time.Duration) *dialer {
	return &dialer{ctx: ctx, timeout: timeout, open: map[net.Conn]struct{}{}}
}

// Dial implements proxy.Dialer.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout, KeepAlive: 30 * time.Second}
	conn, err := nd.DialContext(d.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: conn, d: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		_ = conn.Close()
		return nil, d.ctx.Err()
	}
	d.open[t] = struct{}{}
	return t, nil
}

func (d *dialer) closeAll() {
	d.mu.Lock()
	conns := keys(d.open)
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

type trackedConn struct {
	net.Conn
	d *dialer
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	t.d.mu.Lock()
	delete(t.d.open, t)
	t.d.mu.Unlock()
	return t.Conn.Close()
}

func keys[K comparable, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// sleep waits for d, and tells whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
