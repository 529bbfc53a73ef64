package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/proc"
)

// freeze stops the node with SIGSTOP; thaw lets it go on.
func (n *node) freeze(tb testing.TB) {
	tb.Helper()
	n.frozen = true
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		tb.Fatalf("SIGSTOP of %s: %v", n.id, err)
	}
}

func (n *node) thaw(tb testing.TB) {
	tb.Helper()
	n.frozen = false
	if err := n.Signal(syscall.SIGCONT); err != nil {
		tb.Fatalf("SIGCONT of %s: %v", n.id, err)
	}
}

// stopped says whether the process is stopped by a signal (Linux).
func (n *node) stopped() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid()))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "T")
}

// metric gives the sum of a metric over its labels that hold all of has.
func (n *node) metric(tb testing.TB, name string, has ...string) float64 {
	tb.Helper()
	status, body := n.call(tb, "GET", "/metrics", nil)
	if status != 200 {
		return -1
	}
	total := 0.0
	sc := bufio.NewScanner(strings.NewReader(body))
lines:
	for sc.Scan() {
		line := sc.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, h := range has {
			if !strings.Contains(line, h) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			tb.Fatalf("metric %q: %v", line, err)
		}
		total += v
	}
	return total
}

// sawZombie wants a refused commit of a node in its metrics and in the status that any node gives.
func (c *cluster) sawZombie(tb testing.TB, n *node) {
	tb.Helper()
	proc.Eventually(tb, time.Minute, "the refused commit of "+n.id+" is counted", func() (bool, string) {
		v := n.metric(tb, "sluice_refused_commits_total")
		return v > 0, fmt.Sprint(v)
	})
	if v := n.metric(tb, "sluice_cluster_leases_lost_total"); v < 1 {
		tb.Errorf("%s counts %v lost leases", n.id, v)
	}
	for _, asked := range c.nodes {
		out, err := exec.Command(proc.Sluice(tb), "cluster", "status", "--url", asked.rest).CombinedOutput()
		for _, want := range []string{"commits were refused by tables' logs", "has lost touch with the leader"} {
			if !regexp.MustCompile("node " + n.id + " .*" + want).Match(out) {
				tb.Errorf("%s does not say that %s %s: %v\n%s", asked.id, n.id, want, err, out)
			}
		}
	}
}

// TestClusterZombie stops a node in the middle of a commit, lets the others take its tasks over and go on, and wakes it: what it
// was about to commit is refused by the table's log (D2), it notices, drops its work and is a member like any other again.
//
// SLUICE_ZOMBIE_SECONDS is how long it sleeps: 4 by default, 20 in the real-systems suite, 60 in the long one.
func TestClusterZombie(t *testing.T) {
	sleep := 4
	switch {
	case os.Getenv("SLUICE_TEST_LONG") != "":
		sleep = 60
	case os.Getenv("SLUICE_REAL") != "":
		sleep = 20
	}
	sleep = envInt(t, "SLUICE_ZOMBIE_SECONDS", sleep)
	c := newCluster(t, 3)
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, 5, nil)
	c.load.run(c.client, 100)
	c.spread(t, time.Minute, 0, 1, 2)
	for i, phase := range []string{"bronze-in-flight", "silver-in-flight"} {
		c.whole(t)
		// The node that leads is the harder case, so it is the first one.
		n := c.nodes[c.leader(t)]
		layer, _, _ := strings.Cut(phase, "-")
		had := ends{}
		for try := 1; ; try++ {
			if err := n.Stop(time.Minute); err != nil {
				t.Fatalf("SIGTERM of %s: %v", n.id, err)
			}
			n.env = []string{"SLUICE_STOP_AT=" + phase + ":10"}
			n.start(t)
			proc.Eventually(t, 2*time.Minute, n.id+" stops itself at "+phase, func() (bool, string) {
				had = c.load.sofar()
				return n.stopped(), ""
			})
			n.env = nil
			n.frozen = true
			began := time.Now()
			took := c.fresh(t, began, had, 2*time.Minute)
			t.Logf("round %d: %s stopped at %s; fresh again after %s", i+1, n.id, phase, took.Round(time.Millisecond))
			if rest := time.Duration(sleep)*time.Second - time.Since(began); rest > 0 {
				time.Sleep(rest) // the length of the sleep is what is tried
			}
			n.thaw(t)
			n.ready(t)
			c.spread(t, time.Minute, 0, 1, 2)
			refused := strings.Contains(n.Output(), "refused=true")
			t.Logf("round %d: %s woke after %d s; the table's log refused its %s commit: %v (%v counted since)", i+1, n.id, sleep, layer, refused,
				n.metric(t, "sluice_refused_commits_total", layer))
			// In rare cases nobody has written that version meanwhile: then the commit was right.
			if refused {
				c.sawZombie(t, n)
				break
			}
			if try == 3 {
				// Whether the race came about is up to the machine; what must hold either way is told by finish: nothing doubled.
				t.Logf("FIGURE zombie: no commit met a refusal in %d rounds at %s", try, phase)
				break
			}
		}
	}
	c.whole(t)
	c.finish(t)
}
