package api

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/api/loggers"
	"sluice.io/sluice/connectors/config"

	"sluice.io/sluice/internal/ownership"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	var health error
	w := newWorld(t, func(o *Options) {
		o.HealthTimeout = 20 * time.Millisecond
		o.Health = func(ctx context.Context) error {
			if health == context.DeadlineExceeded {
				<-ctx.Done()
				return ctx.Err()
			}
			return health
		}
	})
	for _, c := range []struct {
		err    error
		status int
		want   string
		ready  int
	}{
		{nil, 200, `"healthy"`, 200},
		{fmt.Errorf("joining the cluster at b:8093: %w", ErrStarting), 503, "Worker is still starting up. joining the cluster at b:8093", 503},
		{context.DeadlineExceeded, 500, "may be unable to handle other requests. The worker is currently waiting for the control loop, which began at", 503},
	} {
		health = c.err
		if got := w.send("GET", "/health", "", ""); got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%v: %d %s", c.err, got.Code, got.Body)
		}
		if c.err == context.DeadlineExceeded {
			health = c.err
			continue
		}
		if got := w.send("GET", "/readyz", "", "Accept: text/html"); got.Code != c.ready {
			t.Errorf("%v: readyz %d %s", c.err, got.Code, got.Body)
		}
	}
	if got := w.send("GET", "/healthz", "", ""); got.Code != 200 {
		t.Errorf("healthz %d", got.Code)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Timeout = 20 * time.Millisecond })
	w.run([]step{
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "GET /connectors/a/offsets", status: 500, want: "Request timed out. The worker is currently reading the progress of connector a from its tables", before: func(w *world) { w.lake.block = true }},
		{do: "GET /connectors/a", status: 200},
	})
}

func TestReachIsAskedWhereItMatters(t *testing.T) {
	t.Parallel()
	asked, down := 0, ""
	w := newWorld(t, func(o *Options) {
		o.Reach = func(context.Context, *config.Sink) []config.Problem {
			asked++
			if down == "" {
				return nil
			}
			return []config.Problem{{Key: down, Reason: "no answer; check that it is up and that this node may reach it"}}
		}
	})
	w.run([]step{
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "PUT /connector-plugins/LakehouseSink/config/validate", body: sinkConfig("name", "a"), status: 200, want: "\"error_count\":1\nInvalid value file:///data/lake for configuration lake.url: no answer", before: func(*world) { down = "lake.url" }},
		{do: "PUT /connectors/a/config", body: sinkConfig("tasks.max", "1"), status: 200},
		{do: "PUT /connectors/a/config", body: sinkConfig("lake.url", "s3://gone"), status: 400, want: "Invalid value s3://gone for configuration lake.url: no answer"},
		{do: "POST /connectors", body: create("b", "topics", "payments"), status: 400, want: "kafka.bootstrap.servers: no answer", before: func(*world) { down = "kafka.bootstrap.servers" }},
	})
	if asked != 4 {
		t.Errorf("asked %d times", asked)
	}
}

func TestOwnEndpoints(t *testing.T) {
	t.Parallel()
	drained, left := "", ""
	w := newWorld(t, func(o *Options) {
		o.Stats = func() any { return map[string]int{"events": 7} }
		o.Leave = func(_ context.Context, m string) error { left = m; return nil }
		o.Drain = func(_ context.Context, m string, on bool) error {
			if m == "nobody" {
				return fmt.Errorf("member nobody: %w", ownership.ErrNotFound)
			}
			drained = fmt.Sprint(m, on)
			return nil
		}
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "sluice_up 1\n") })
		o.RaiseEpoch = func(_ context.Context, c ownership.Connector, table, source string) ([]RaisedEpoch, error) {
			if source == "none" {
				return nil, fmt.Errorf("%w: nothing of this source", ownership.ErrInvalid)
			}
			return []RaisedEpoch{{Table: table, Epochs: map[string]uint32{c.Name + source: 2}}}, nil
		}
	})
	w.run([]step{
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "GET /sluice/v1", status: 200, want: `"version":"1.0.0"`},
		{do: "GET /sluice/v1/cluster", status: 200, want: `"leader":"n1"`},
		{do: "GET /sluice/v1/cluster/members", status: 200, want: `"rest_address":"10.0.0.2:8083"`},
		{do: "GET /sluice/v1/connectors/a/tasks", status: 200, want: `{"id":1,"name":"a/p/orders/1","kind":"partitions","topic":"orders","partitions":[1],"node":"n2"`},
		{do: "POST /sluice/v1/connectors/a/epoch?table=silver/t&source=shop", status: 200, want: `=[{"table":"silver/t","epochs":{"ashop":2}}]`},
		{do: "POST /sluice/v1/connectors/a/epoch?source=none", status: 400},
		{do: "POST /sluice/v1/connectors/nobody/epoch", status: 404},
		{do: "GET /sluice/v1/tables", status: 200, want: `"path":"bronze/orders"`},
		{do: "GET /sluice/v1/stats", status: 200, want: `={"events":7}`},
		{do: "PUT /sluice/v1/cluster/members/n2/drain", status: 202},
		{do: "PUT /sluice/v1/cluster/members/nobody/drain", status: 404, want: "drain nobody: member nobody: not found"},
		{do: "DELETE /sluice/v1/cluster/members/nobody/drain", status: 404, want: "undrain nobody: member nobody: not found"},
		{do: "PUT /sluice/v1/cluster/members/n3/drain?until=restart", status: 202},
		{do: "PUT /sluice/v1/cluster/members/n3/drain?until=dawn", status: 400, want: "restart"},
		{do: "GET /metrics", status: 200, want: "sluice_up 1"},
	})
	if drained != "n2true" || left != "n3" {
		t.Error(drained, left)
	}
}

func TestRequestLogAndHeaders(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := newWorld(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&out, nil))
		o.ResponseHeaders = `set X-Frame-Options:DENY, "add Cache-Control: no-cache, no-store", setDate Expires:x`
		o.AllowOrigin, o.AllowMethods = "https://ui.example", "GET,PUT"
	})
	got := w.send("GET", "/", "", "User-Agent: curl/8\nOrigin: https://ui.example")
	h := got.Header()
	if h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-cache, no-store" || h.Get("Expires") == "" || h.Get("Access-Control-Allow-Origin") != "https://ui.example" {
		t.Errorf("%v", h)
	}
	if !regexp.MustCompile(`192\.0\.2\.1 - - \[[^]]+\] .*GET / HTTP/1\.1.* 200 93 .*-.* .*curl/8.* \d+`).MatchString(out.String()) {
		t.Error(out.String())
	}
	got = w.send("OPTIONS", "/connectors", "", "Origin: https://ui.example\nAccess-Control-Request-Method: PUT")
	if got.Code != 200 || got.Header().Get("Access-Control-Allow-Methods") != "GET,PUT" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	if got = w.send("GET", "/", "", "Origin: https://evil.example"); got.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a stranger's origin")
	}
	if _, err := New(Options{ResponseHeaders: "drop X:y"}); err == nil {
		t.Error("a bad rule")
	}
}

func TestTopicTrackingOff(t *testing.T) {
	t.Parallel()
	newWorld(t, func(o *Options) { o.NoTopicTracking = true }).run([]step{
		{do: "GET /connectors/a/topics", status: 403, want: errorOf(403, "Topic tracking is disabled.")},
		{do: "PUT /connectors/a/topics/reset", status: 403},
	})
	newWorld(t, func(o *Options) { o.NoTopicReset = true }).run([]step{
		{do: "PUT /connectors/a/topics/reset", status: 403, want: errorOf(403, "Topic tracking reset is disabled.")},
	})
}

// TestOverTheWire proves what httptest's recorder cannot: HEAD, Location, an Expect-free POST, encoded paths.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	s, _, _ := newTestServer(t, func(o *Options) { o.Loggers = loggers.New(nil) })
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := srv.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { t.Error("redirected"); return nil }
	resp, err := c.Post(srv.URL+"/connectors//", "application/json; charset=UTF-8", strings.NewReader(create("a/b %")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 201 || resp.Header.Get("Location") != srv.URL+"/connectors/a%2Fb%20%25" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	resp, err = c.Head(resp.Header.Get("Location") + "/config")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength <= 0 {
		t.Errorf("%d %d", resp.StatusCode, resp.ContentLength)
	}
}
