package coordinator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

func TestKillAnyNode(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 8}, ownership.Topic{Name: "b", Partitions: 4})
	// Long leases: what is seen is that the port refuses, and a busy machine does not make the living look dead. Evening out, which may move
	// tasks of the living, comes two heartbeats after the death.
	k := newCluster(t, 3, b, func(_ int, o *Options) {
		o.Timing.Lease, o.Timing.Dead, o.Timing.Raft.Heartbeat = 5*time.Second, 6*time.Second, time.Second
		o.Timing.Heartbeat = time.Second
	})
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[0].c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(14)
	eventually(t, "every node to have a share", func() bool {
		for _, n := range k.nodes {
			if len(n.tasks()) < 3 {
				return false
			}
		}
		return true
	})
	// The leader dies: the others take its tasks, and nobody else's tasks are touched.
	for round := range 2 {
		victim := k.leader()
		if round == 1 {
			for _, n := range k.nodes {
				if n != victim && n.c.leading() == nil {
					victim = n
					break
				}
			}
		}
		k.still(1500 * time.Millisecond)
		before := map[ownership.TaskID]uint64{}
		for _, n := range k.nodes {
			if n != victim {
				for id, e := range n.tasks() {
					before[id] = e
				}
			}
		}
		began := time.Now()
		victim.kill()
		k.settled(14)
		t.Logf("round %d: tasks of the dead node run elsewhere after %s", round, time.Since(began).Round(time.Millisecond))
		for _, n := range k.nodes {
			for id, e := range n.tasks() {
				if was, ok := before[id]; ok && was != e {
					t.Errorf("task %s of a living node got another epoch", id)
				}
			}
		}
		victim.start()
		victim.ready()
		k.settled(14)
		eventually(t, "the node that is back to have a share", func() bool { return len(victim.tasks()) >= 3 })
		k.settled(14)
	}
	st, err := k.nodes[1].c.Status("c")
	if err != nil || len(st.Tasks) != 14 {
		t.Fatalf("%+v, %v", st, err)
	}
	eventually(t, "all to be RUNNING", func() bool {
		st, _ := k.nodes[1].c.Status("c")
		for _, ts := range st.Tasks {
			if ts.State != ownership.Running {
				return false
			}
		}
		return st.State == ownership.Running
	})
}

func TestPartitionedNodeStopsWithinItsLease(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 9})
	k := newCluster(t, 3, b, nil)
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[0].c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(10)
	eventually(t, "every node to have a share", func() bool {
		for _, n := range k.nodes {
			if len(n.tasks()) < 2 {
				return false
			}
		}
		return true
	})
	for range 2 { // a leader, then whoever
		victim := k.leader()
		for _, n := range k.nodes {
			if n != victim {
				k.net.set(victim.opts.PeerAdvertised, n.opts.PeerAdvertised, true)
			}
		}
		eventually(t, "the cut-off node to stop its tasks", func() bool { return len(victim.tasks()) == 0 })
		k.settled(10)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, _, err := victim.c.Put(ctx, "c", map[string]string{"x": "y"})
		cancel()
		if !errors.Is(err, ownership.ErrNoLeader) {
			t.Fatalf("write on the minority's side: %v", err)
		}
		for _, n := range k.nodes {
			if n != victim {
				k.net.set(victim.opts.PeerAdvertised, n.opts.PeerAdvertised, false)
			}
		}
		eventually(t, "the node to be of use again", func() bool { return len(victim.tasks()) >= 2 })
		k.settled(10)
	}
}

func TestEmptyNodeRejoins(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[0].c.Create(t.Context(), "c", map[string]string{"a": "b"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	n := k.nodes[0]
	n.kill()
	if err := os.RemoveAll(filepath.Join(n.opts.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.ready()
	eventually(t, "the log to come back", func() bool { _, err := n.c.Connector("c"); return err == nil })
	k.voters(3)
}

func TestAllNodesRestart(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 5})
	k := newCluster(t, 3, b, nil)
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[2].c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(6)
	id := k.nodes[0].c.ClusterID()
	for _, n := range k.nodes {
		n.kill()
	}
	k.startAll()
	k.settled(6)
	if k.nodes[0].c.ClusterID() != id {
		t.Fatal("another cluster")
	}
}

func TestRecoverAfterLossOfTheMajority(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 3})
	k := newCluster(t, 3, b, nil)
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[0].c.Create(t.Context(), "c", map[string]string{"v": "1"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(4)
	for _, n := range k.nodes {
		n.kill()
	}
	n := k.nodes[1]
	if err := Recover(n.opts); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.ready()
	eventually(t, "the tasks to run on what is left", func() bool { return len(n.tasks()) == 4 })
	// The lost ones come back empty.
	for _, i := range []int{0, 2} {
		if err := os.RemoveAll(filepath.Join(k.nodes[i].opts.DataDir, "raft")); err != nil {
			t.Fatal(err)
		}
		k.nodes[i].start()
		k.nodes[i].ready()
	}
	k.voters(3)
	k.settled(4)
}

// A member that is being removed still sends heartbeats, and the leader remembers the last: neither enters it in the state again once it is
// gone from there.
func TestHeartbeatsDoNotEnterARemovedNode(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.startAll()
	k.voters(3)
	gone := k.nodes[0]
	if gone == k.leader() {
		gone = k.nodes[1]
	}
	id := gone.opts.NodeID
	// As in a removal, up to where the leader forgets the heartbeats.
	var lead *testNode
	var l *leadership
	eventually(t, "the node to be removed", func() bool {
		if lead = k.leader(); lead == gone {
			return false
		}
		if l = lead.c.leading(); l == nil || lead.c.node.Remove(t.Context(), id) != nil {
			return false
		}
		err := l.propose(t.Context(), &raftv1.Command{Body: &raftv1.Command_RemoveMember{RemoveMember: &raftv1.RemoveMember{Id: id}}})
		return err == nil || errors.Is(err, ownership.ErrNotFound)
	})
	if err := gone.end(); err == nil || !strings.Contains(err.Error(), "was removed from its cluster") {
		t.Fatalf("removed node ended with: %v", err)
	}
	for range 20 {
		l.pulses.wake()
		time.Sleep(lead.c.timing.Heartbeat / 4)
		if _, ok := view2(lead.c.m, func(s *state.State) (state.Member, bool) { return s.Member(id) }); ok {
			t.Fatal("the removed node is a member again")
		}
	}
}
