package coordinator

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// TestNodeStopsAtACommandOfTheFuture: a newer binary has written what this one does not know. It says so and stops,
// and it says so again when it is started on the same data (D10).
func TestNodeStopsAtACommandOfTheFuture(t *testing.T) {
	t.Parallel()
	n := single(t, nil)
	n.ready()
	future := protowire.AppendTag(nil, 1, protowire.VarintType)
	future = protowire.AppendVarint(future, state.CommandVersion+1)
	future = protowire.AppendTag(future, 999, protowire.BytesType)
	future = protowire.AppendString(future, "news")
	if _, _, err := n.c.node.Apply(t.Context(), future); !errors.Is(err, ownership.ErrTooNew) {
		t.Fatal(err)
	}
	if err := n.end(); !errors.Is(err, ownership.ErrTooNew) || !strings.Contains(err.Error(), "command version") {
		t.Fatalf("the node ended with: %v", err)
	}
	if err := n.c.Compact(t.Context()); err == nil {
		t.Fatal("a node that has lost the thread took a snapshot")
	}
	n.restart()
	if err := n.end(); !errors.Is(err, ownership.ErrTooNew) {
		t.Fatalf("the node ended again with: %v", err)
	}
}

// TestNewCommandsWaitForOldNodes: a command of a newer version is proposed only when every member knows it.
func TestNewCommandsWaitForOldNodes(t *testing.T) {
	t.Parallel()
	n := single(t, nil)
	n.ready()
	_, err := n.c.apply(t.Context(), &raftv1.Command{MinVersion: 2, Body: &raftv1.Command_ResetActiveTopics{
		ResetActiveTopics: &raftv1.ResetActiveTopics{Connector: "c"},
	}})
	if !errors.Is(err, ownership.ErrConflict) || !strings.Contains(err.Error(), "not every node is new enough") {
		t.Fatal(err)
	}
}

func TestOnlyTheLeaderAccepts(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.startAll()
	leader := k.leader()
	for _, n := range k.nodes {
		if n != leader {
			_, err := n.c.apply(t.Context(), &raftv1.Command{Body: &raftv1.Command_InitCluster{InitCluster: &raftv1.InitCluster{}}})
			if !errors.Is(err, raftnode.ErrNotLeader) {
				t.Fatal(err)
			}
		}
	}
}
