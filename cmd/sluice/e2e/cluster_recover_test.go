package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/proc"
)

// TestClusterRecover follows the runbook of a lost majority: two of three nodes are gone for good, the third is made the only
// member of its cluster, and an empty one joins anew. Nothing is lost or doubled.
func TestClusterRecover(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, 17, nil)
	c.load.run(c.client, 100)
	c.spread(t, time.Minute, 0, 1, 2)
	c.whole(t)
	for _, n := range c.nodes {
		n.Kill()
	}
	recoverNode := func(args ...string) string {
		out, err := exec.Command(proc.Sluice(t), append([]string{"cluster", "recover", "--config", filepath.Join(c.nodes[0].dir, "sluice.yaml")}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("sluice cluster recover %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, args := range [][]string{{"--dry-run"}, nil} {
		if out := recoverNode(args...); !strings.Contains(out, "n1: the log ends at term") {
			t.Errorf("sluice cluster recover %v: %s", args, out)
		}
	}
	c.nodes[0].start(t)
	c.nodes[0].ready(t)
	if status, body := c.nodes[0].call(t, "GET", "/connectors/shop", nil); status != 200 {
		t.Fatalf("the connector is not known any more: %d %s", status, body)
	}
	for _, n := range c.nodes[1:] {
		if err := os.RemoveAll(filepath.Join(n.dir, "data", "raft")); err != nil {
			t.Fatal(err)
		}
		n.start(t)
		n.ready(t)
	}
	c.whole(t)
	c.spread(t, time.Minute, 0, 1, 2)
	c.finish(t)
}
