package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice.io/sluice/internal/ownership"
)

func TestWithoutLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run([]step{{do: "POST /connectors", body: create("a"), status: 201}})
	w.cluster.err = fmt.Errorf("forward: %w", ownership.ErrNoLeader)
	for _, s := range []struct{ method, path, body string }{
		{"POST", "/connectors", create("b", "topics", "payments")}, {"PUT", "/connectors/a/config", sinkConfig("tasks.max", "1")}, {"PATCH", "/connectors/a/config", `{"tasks.max":"1"}`},
		{"DELETE", "/connectors/a", ""}, {"PUT", "/connectors/a/pause", ""}, {"POST", "/connectors/a/restart", ""}, {"POST", "/connectors/a/tasks/0/restart", ""}, {"PUT", "/connectors/a/topics/reset", ""},
	} {
		w.cluster.settle()
		got := w.send(s.method, s.path, s.body, "")
		if got.Code != 503 || got.Header().Get("Retry-After") == "" || !strings.Contains(got.Body.String(), "rebalance") {
			t.Errorf("%s %s: %d %v %s", s.method, s.path, got.Code, got.Header(), got.Body)
		}
	}
	// What is known is read; that there is no such thing nobody can say: clients take a 404 for "deleted".
	w.run([]step{{do: "GET /connectors", status: 200}, {do: "GET /connectors/a/status", status: 200}, {do: "GET /connectors/none", status: 503}, {do: "GET /connectors/none/status", status: 503},
		{do: "GET /connectors/a/tasks/0/status", status: 200}, {do: "GET /connectors/a/tasks/9/status", status: 503}})
	w.cluster.err = fmt.Errorf("apply: %w", ownership.ErrTimeout)
	w.run([]step{{do: "PUT /connectors/a/pause", status: 500, want: "Request timed out. The worker is currently waiting for the cluster to agree that connector a is to be PAUSED, which began at "}})
	w.cluster.err = errors.New("disk on fire")
	w.run([]step{{do: "DELETE /connectors/a", status: 500, want: "disk on fire"}})
}

// TestWhileStarting: a node that is not yet part of its cluster knows nothing, or what was long ago, and does not say so as if it were so.
func TestWhileStarting(t *testing.T) {
	t.Parallel()
	starting := false
	w := newWorld(t, func(o *Options) {
		o.Health = func(context.Context) error {
			if starting {
				return fmt.Errorf("%w: waiting", ErrStarting)
			}
			return nil
		}
	})
	w.run([]step{{do: "POST /connectors", body: create("a"), status: 201}})
	starting = true
	reads := map[string]string{"/connectors": `["a"]`, "/connectors?expand=status": `{"a":`, "/connectors/a": `"name":"a"`, "/connectors/a/config": "topics", "/connectors/a/status": `"name":"a"`,
		"/connectors/a/tasks": "[", "/connectors/a/topics": `"topics"`}
	for path, want := range reads {
		w.cluster.hide()
		w.run([]step{{do: "GET " + path, status: 200, want: want}})
	}
	w.cluster.err = fmt.Errorf("forward: %w", ownership.ErrNoLeader)
	for path := range reads {
		w.run([]step{{do: "GET " + path, status: 503}})
	}
	if got := w.send("GET", "/health", "", ""); got.Code != 503 || !strings.Contains(got.Body.String(), "starting") {
		t.Errorf("health: %d %s", got.Code, got.Body)
	}
	w.run([]step{{do: "GET /", status: 200}, {do: "GET /connector-plugins", status: 200}, {do: "GET /sluice/v1/cluster", status: 200}})
}
