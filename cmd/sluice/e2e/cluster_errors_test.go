package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/faultproxy"
	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
)

// like prepares another process with the settings of n and others in the place of some; its folder is its own.
func (n *node) like(tb testing.TB, others map[string]string) *node {
	tb.Helper()
	conf, err := os.ReadFile(filepath.Join(n.dir, "sluice.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	o := &node{dir: tb.TempDir(), lake: n.lake}
	rest := ports.Address(tb)
	peer := ports.Address(tb)
	o.rest = "http://" + rest
	set := map[string]string{
		"data.dir": filepath.Join(o.dir, "data"), "rest.listen": rest, "rest.advertised": rest, "peer.listen": peer, "peer.advertised": peer,
	}
	for k, v := range others {
		set[k] = v
	}
	var lines []string
	for line := range strings.Lines(string(conf)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if s, ok := set[k]; ok {
			v = s
		}
		if k == "node.id" {
			o.id = v
		}
		if v != "" {
			lines = append(lines, k+": "+v)
		}
	}
	path := filepath.Join(o.dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	o.args = []string{"serve", "--config", path}
	return o
}

// refuses starts the node, which has to end by itself, with a last line that holds all of want.
func (n *node) refuses(tb testing.TB, want ...string) {
	tb.Helper()
	n.start(tb)
	select {
	case <-n.Done():
	case <-time.After(time.Minute):
		tb.Fatalf("%s goes on:\n%s", n.id, n.Output())
	}
	lines := strings.Split(strings.TrimSpace(n.Output()), "\n")
	last := lines[len(lines)-1]
	tb.Logf("exit %d: %s", n.ExitCode(), last)
	for _, w := range want {
		if !strings.Contains(last, w) {
			tb.Errorf("%q is not in: %s", w, last)
		}
	}
	if n.ExitCode() <= 0 || !strings.HasPrefix(last, "sluice: ") {
		tb.Errorf("exit code %d", n.ExitCode())
	}
}

// TestClusterRefuses shows what users get to see of a node that cannot be part of its cluster, or not yet.
func TestClusterRefuses(t *testing.T) {
	c := newCluster(t, 3)
	// One seed of three forms nothing, and says what it waits for.
	c.nodes[0].start(t)
	proc.Eventually(t, time.Minute, "a lonely seed says what it waits for", func() (bool, string) {
		status, body := c.nodes[0].call(t, "GET", "/health", nil)
		ok := status == 503 && strings.Contains(body, "a majority of the seeds (2 of 3)") && strings.Contains(body, "no answer from 127.0.0.1:") && strings.Contains(body, "connection refused")
		if ok {
			t.Logf("%s", body)
		}
		return ok, fmt.Sprint(status, body)
	})
	c.nodes[1].start(t)
	for _, n := range c.nodes[:2] {
		n.ready(t)
	}
	// Its name is taken.
	c.nodes[0].like(t, map[string]string{"node.id": "n2"}).refuses(t, "node.id", "n2", "same", "give each node its own")
	// Its data belong to another cluster.
	stranger := c.nodes[2].like(t, map[string]string{"cluster.join": "", "node.id": "n9"})
	stranger.start(t)
	stranger.ready(t)
	if err := stranger.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	stray := c.nodes[2].like(t, map[string]string{"node.id": "n9", "data.dir": filepath.Join(stranger.dir, "data")})
	stray.refuses(t, "data.dir", "belongs to cluster", "correct cluster.join")
	// A member comes back while the broker is away; a node that never was one does not start.
	c.kafka.SetFor("n2", faultproxy.Fault{Cut: true})
	c.nodes[1].Kill()
	c.nodes[1].start(t)
	c.nodes[1].ready(t)
	// What is set on one node holds on all.
	if status, body := c.nodes[0].call(t, "PUT", "/admin/loggers/worker?scope=cluster", map[string]string{"level": "DEBUG"}); status != 204 {
		t.Errorf("level of the cluster: %d %s", status, body)
	}
	for _, n := range c.nodes[:2] {
		if _, body := n.call(t, "GET", "/admin/loggers/worker", nil); !strings.Contains(body, `"DEBUG"`) {
			t.Errorf("%s: %s", n.id, body)
		}
	}
}
