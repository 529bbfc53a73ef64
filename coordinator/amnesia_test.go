package coordinator

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice.io/sluice/internal/ownership"
)

// TestNodeWithoutItsVotesDoesNotVote: of three nodes two have a write, one of these loses its folder, and the other one is away for a
// while. The third, which lacks the write, must not be elected by one that has forgotten it.
func TestNodeWithoutItsVotesDoesNotVote(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.startAll()
	k.voters(3)
	lead := k.leader()
	var forgets, lags *testNode
	for _, n := range k.nodes {
		switch {
		case n == lead:
		case forgets == nil:
			forgets = n
		default:
			lags = n
		}
	}
	lags.kill()
	if _, err := lead.c.Create(t.Context(), "c", map[string]string{"a": "b"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	lead.kill()
	forgets.kill()
	if err := os.RemoveAll(filepath.Join(forgets.opts.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	forgets.start()
	lags.start()
	for range 2 { // also not after another start
		for until := time.Now().Add(10 * quick().Raft.Heartbeat); time.Now().Before(until); time.Sleep(quick().Raft.Heartbeat / 10) {
			for _, n := range []*testNode{forgets, lags} {
				if n.c.node.IsLeader() {
					t.Fatalf("%s leads without the write", n.opts.NodeID)
				}
			}
		}
		forgets.restart()
	}
	lead.start()
	for _, n := range k.nodes {
		n.ready()
		eventually(t, "the write on "+n.opts.NodeID, func() bool { _, err := n.c.Connector("c"); return err == nil })
	}
	k.voters(3)
}
