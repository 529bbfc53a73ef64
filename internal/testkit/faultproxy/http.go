package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// RequestFault is what happens to requests of an HTTP client. The zero value is no fault.
type RequestFault struct {
	// Cut resets the connection before the request gets anywhere.
	Cut bool
	// HoldRequests keeps requests back until the fault ends, HoldAnswers the answers of requests that took effect. A client
	// that gives up meanwhile takes its request along.
	HoldRequests, HoldAnswers bool
	// Delay is waited before a request is passed on.
	Delay time.Duration
	// Status is answered by the proxy itself, with an error as S3 words it.
	Status int
	// Lose lets the request take effect and resets the connection in place of its answer: the outcome is unknown to the client.
	Lose bool
	// Writes spares requests that read (GET, HEAD).
	Writes bool
	// Every has only each n-th request suffer, by the count of those that could; 0 and 1: all.
	Every int
}

// s3Codes are the names that S3 gives to what a status means.
var s3Codes = map[int]string{http.StatusServiceUnavailable: "SlowDown", http.StatusInternalServerError: "InternalError", http.StatusInsufficientStorage: "XMinioStorageFull"}

// HTTP is a reverse proxy before one HTTP server, an object store for example. Faults are those of requests, which a proxy of TCP
// can't tell apart. Its methods may be called by any goroutine.
type HTTP struct {
	ln     net.Listener
	server *http.Server
	to     *httputil.ReverseProxy
	pool   *http.Transport
	served chan struct{}

	mu     sync.Mutex
	change chan struct{} // closed when a fault is set
	by     map[string]*rule
	hit    map[string]int
}

type rule struct {
	RequestFault
	seen int
}

type ownerKey struct{}

// ListenHTTP starts a proxy at address before target (host:port); who is as for Listen.
func ListenHTTP(address, target string, who func(local, remote net.Addr) string) (*HTTP, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for a fault proxy: %w", err)
	}
	if who == nil {
		who = func(net.Addr, net.Addr) string { return "" }
	}
	p := &HTTP{
		ln: ln, served: make(chan struct{}), change: make(chan struct{}), by: map[string]*rule{}, hit: map[string]int{},
		pool: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
	}
	quiet := log.New(io.Discard, "", 0)
	p.to = &httputil.ReverseProxy{
		Transport: p.pool, ErrorLog: quiet, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Host = r.In.Host // signatures cover it
		},
		// A server that is not there is one that resets connections, not a gateway that answers.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve), ErrorLog: quiet, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, ownerKey{}, sync.OnceValue(func() string { return who(c.LocalAddr(), c.RemoteAddr()) }))
	}}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(ln) // ends with Close
	}()
	return p, nil
}

// Addr is where the proxy listens.
func (p *HTTP) Addr() net.Addr { return p.ln.Addr() }

// SetFor puts a fault on the requests of one owner; RequestFault{} ends it.
func (p *HTTP) SetFor(who string, f RequestFault) {
	p.update(func() {
		if f == (RequestFault{}) {
			delete(p.by, who)
		} else {
			p.by[who] = &rule{RequestFault: f}
		}
	})
}

// Heal ends all faults.
func (p *HTTP) Heal() { p.update(func() { clear(p.by) }) }

func (p *HTTP) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.change)
	p.change = make(chan struct{})
}

// Hit says how many requests have suffered so far, by what they suffered.
func (p *HTTP) Hit() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]int{}
	for k, n := range p.hit {
		out[k] = n
	}
	return out
}

// Close ends the proxy and its connections.
func (p *HTTP) Close() error {
	p.Heal()
	err := p.server.Close()
	<-p.served
	p.pool.CloseIdleConnections()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// fault draws what a request suffers.
func (p *HTTP) fault(who, method string) RequestFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.by[who]
	if r == nil || r.Writes && (method == http.MethodGet || method == http.MethodHead) {
		return RequestFault{}
	}
	r.seen++
	if r.Every > 1 && r.seen%r.Every != 0 {
		return RequestFault{}
	}
	p.hit[r.name()]++
	return r.RequestFault
}

// name says what a fault is, for reports.
func (f RequestFault) name() string {
	switch {
	case f.Cut:
		return "reset"
	case f.Lose:
		return "answer lost"
	case f.Status != 0:
		return fmt.Sprint("status ", f.Status)
	case f.HoldRequests:
		return "request held"
	case f.HoldAnswers:
		return "answer held"
	}
	return "delayed"
}

func (p *HTTP) serve(w http.ResponseWriter, r *http.Request) {
	who := r.Context().Value(ownerKey{}).(func() string)()
	f := p.fault(who, r.Method)
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		t.Stop()
	}
	if f.HoldRequests && !p.wait(r.Context(), who, func(f RequestFault) bool { return f.HoldRequests }) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(f.Status)
		fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>a fault of the test</Message></Error>", s3Codes[f.Status])
	case f.Lose, f.HoldAnswers:
		kept := &answer{header: http.Header{}}
		// The client may give up, and the request takes effect all the same.
		p.to.ServeHTTP(kept, r.WithContext(context.WithoutCancel(r.Context())))
		if f.Lose || !p.wait(r.Context(), who, func(f RequestFault) bool { return f.HoldAnswers }) {
			panic(http.ErrAbortHandler)
		}
		for k, v := range kept.header {
			w.Header()[k] = v
		}
		w.WriteHeader(kept.status)
		_, _ = w.Write(kept.body.Bytes())
	default:
		p.to.ServeHTTP(w, r)
	}
}

// wait waits until held no longer holds of the owner's fault, and says whether the client is still there.
func (p *HTTP) wait(ctx context.Context, who string, held func(RequestFault) bool) bool {
	for {
		p.mu.Lock()
		r, change := p.by[who], p.change
		p.mu.Unlock()
		if r == nil || !held(r.RequestFault) {
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
			return false
		}
	}
}

// answer keeps an answer in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
