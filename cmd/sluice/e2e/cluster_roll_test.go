package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/proc"
)

// tasksOn gives the number of tasks that the node asked believes to be on a node.
func (n *node) tasksOn(tb testing.TB, id string) int {
	tb.Helper()
	for _, m := range n.members(tb) {
		if m.ID == id {
			return m.Tasks
		}
	}
	return -1
}

// TestClusterScale starts with two of three nodes, lets the third join under load, which takes its share, drains it, which gives it
// back, and undrains it; then a node leaves by SIGTERM and comes back.
func TestClusterScale(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(t, []int{1, 0})
	c.shop(t, 9, nil)
	c.load.run(c.client, 100)
	c.spread(t, time.Minute, 0, 1)

	began := time.Now()
	c.nodes[2].start(t)
	c.nodes[2].ready(t)
	ready := time.Since(began)
	c.spread(t, time.Minute, 0, 1, 2)
	t.Logf("FIGURE scale-out: a third node is ready after %s and has its share after %s", ready.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	c.whole(t)

	began = time.Now()
	if status, body := c.nodes[0].call(t, "PUT", "/sluice/v1/cluster/members/n3/drain", nil); status >= 300 {
		t.Fatalf("drain: %d %s", status, body)
	}
	proc.Eventually(t, time.Minute, "the drained node has no task", func() (bool, string) {
		n := c.nodes[0].tasksOn(t, "n3")
		return n == 0, fmt.Sprintf("%d tasks", n)
	})
	t.Logf("FIGURE drain: a node is free of tasks after %s", time.Since(began).Round(10*time.Millisecond))
	c.spread(t, time.Minute, 0, 1)
	if status, body := c.nodes[1].call(t, "DELETE", "/sluice/v1/cluster/members/n3/drain", nil); status >= 300 {
		t.Fatalf("undrain: %d %s", status, body)
	}
	c.spread(t, time.Minute, 0, 1, 2)

	had, began := c.load.sofar(), time.Now()
	if err := c.nodes[1].Stop(time.Minute); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	left := time.Since(began)
	t.Logf("FIGURE SIGTERM: gone after %s, all fresh after %s", left.Round(10*time.Millisecond), c.fresh(t, began, had, time.Minute).Round(10*time.Millisecond))
	c.nodes[1].start(t)
	c.nodes[1].ready(t)
	c.spread(t, time.Minute, 0, 1, 2)
	c.finish(t)
}

// earlier builds the binary of an earlier commit: SLUICE_EARLIER names it, else it is one that has
// commands and formats as released. Without git or that commit the test does without.
func earlier(tb testing.TB) string {
	tb.Helper()
	commit := os.Getenv("SLUICE_EARLIER")
	root := proc.Root(tb)
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if commit == "" {
		commit = firstCluster
	}
	if _, err := git("cat-file", "-e", commit+"^{commit}"); err != nil {
		tb.Logf("the earlier commit %s is not in this clone: the current binary takes its part", commit)
		return proc.Sluice(tb)
	}
	dir := filepath.Join(tb.TempDir(), "earlier")
	if out, err := git("worktree", "add", "--detach", dir, commit); err != nil {
		tb.Fatalf("git worktree add: %v\n%s", err, out)
	}
	tb.Cleanup(func() { _, _ = git("worktree", "remove", "--force", dir) })
	bin := filepath.Join(tb.TempDir(), "sluice-earlier")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/sluice")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build commit %s: %v\n%s", commit, err, out)
	}
	tb.Logf("the earlier binary is that of commit %s", commit)
	return bin
}

// firstCluster is the first commit whose binary forms clusters and whose formats have golden bytes, the merge's state included; before the first
// release it stands for the version before.
const firstCluster = "3341dd2"

// TestClusterRoll rolls a cluster under load from the binary of an earlier commit to the present one, back, and forth again, with
// deploy/roll. Nothing is lost or doubled. SLUICE_ROLL_SEED or SLUICE_SEED is the seed of the load. It belongs to the real-systems suite, since it builds another binary.
func TestClusterRoll(t *testing.T) {
	if os.Getenv("SLUICE_REAL") == "" && os.Getenv("SLUICE_EARLIER") == "" {
		t.Skip("rolls belong to the real-systems suite (SLUICE_REAL=1)")
	}
	old := earlier(t)
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		n.bin = old
	}
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, envSeed(t, "SLUICE_ROLL_SEED", 13), nil)
	c.load.run(c.client, 100)
	c.spread(t, time.Minute, 0, 1, 2)
	present := struct{ what, bin string }{"the present binary", proc.Sluice(t)}
	// Forth again: what the earlier binary wrote on top of the present one's is read, too.
	for _, to := range []struct{ what, bin string }{present, {"the earlier binary", old}, present} {
		c.whole(t)
		watch := c.watchFreshness(t)
		began := time.Now()
		c.roll(t, to.bin)
		c.spread(t, time.Minute, 0, 1, 2)
		worst, p99 := watch()
		t.Logf("FIGURE roll to %s: three nodes in %s, freshness p99 %s, worst %s (machine: %s)", to.what, time.Since(began).Round(100*time.Millisecond),
			p99.Round(10*time.Millisecond), worst.Round(10*time.Millisecond), loadAverage())
	}
	c.finish(t)
}

// roll runs deploy/roll, whose command to replace a node writes its id to a pipe and waits for a line back.
func (c *cluster) roll(tb testing.TB, bin string) {
	tb.Helper()
	dir := tb.TempDir()
	ask, done := filepath.Join(dir, "ask"), filepath.Join(dir, "done")
	replace := filepath.Join(dir, "replace")
	script := fmt.Sprintf("#!/bin/sh\nrm -f %[2]s\necho \"$1\" > %[1]s.new && mv %[1]s.new %[1]s\nwhile [ ! -e %[2]s ]; do sleep 0.05; done\n", ask, done)
	if err := os.WriteFile(replace, []byte(script), 0o755); err != nil {
		tb.Fatal(err)
	}
	args := []string{filepath.Join(proc.Root(tb), "deploy", "roll", "roll"), "--replace", replace, "--wait", "60"}
	for _, n := range c.nodes {
		args = append(args, n.id+"="+n.rest)
	}
	p := proc.Start(tb, "roll", nil, "bash", args...)
	for {
		select {
		case <-p.Done():
			if p.ExitCode() != 0 {
				tb.Fatalf("deploy/roll: %s", p.Output())
			}
			tb.Logf("deploy/roll:\n%s", p.Output())
			return
		case <-time.After(20 * time.Millisecond):
		}
		id, err := os.ReadFile(ask)
		if err != nil {
			continue
		}
		_ = os.Remove(ask)
		for _, n := range c.nodes {
			if n.id != strings.TrimSpace(string(id)) {
				continue
			}
			if err := n.Stop(time.Minute); err != nil {
				tb.Errorf("SIGTERM of %s: %v", n.id, err)
			}
			n.bin = bin
			n.start(tb)
		}
		if err := os.WriteFile(done, nil, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// watchFreshness measures again and again how long it takes until silver holds what the broker has just taken, until the
// function that it gives is called.
func (c *cluster) watchFreshness(tb testing.TB) func() (worst, p99 time.Duration) {
	tb.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	var times []time.Duration
	watch := &lakeWatch{bucket: c.lake.bucket, tables: c.lake.tables}
	go func() {
		defer close(ended)
		for {
			want, reached, began := c.load.sofar(), map[string]int64{}, time.Now()
			for {
				if ok, _ := watch.covered(want, reached); ok {
					break
				}
				select {
				case <-stop:
					times = append(times, time.Since(began))
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
			times = append(times, time.Since(began))
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() (time.Duration, time.Duration) {
		close(stop)
		<-ended
		return quantile(times, 1), quantile(times, .99)
	}
}
