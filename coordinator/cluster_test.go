package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/ownership"
)

func TestFormingInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			k := newCluster(t, 3, nil, nil)
			for _, i := range rnd.Perm(3) {
				k.nodes[i].start()
				time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			}
			for _, n := range k.nodes {
				n.ready()
			}
			id := k.nodes[0].c.ClusterID()
			for _, n := range k.nodes {
				if n.c.ClusterID() != id {
					t.Fatalf("two clusters: %s and %s", id, n.c.ClusterID())
				}
			}
			k.voters(3)
			eventually(t, "every node to know all members", func() bool {
				for _, n := range k.nodes {
					if len(n.c.Members()) != 3 {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestLessThanAMajorityOfSeedsDoesNotForm(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.nodes[2].start()
	eventually(t, "the reason to be said", func() bool { return strings.Contains(k.nodes[2].c.Stage(), "majority of the seeds") })
	if !strings.Contains(k.nodes[2].c.Stage(), k.addrs[0]) || !strings.Contains(k.nodes[2].c.Stage(), "refused") {
		t.Fatal(k.nodes[2].c.Stage())
	}
	if k.nodes[2].c.ClusterID() != "" {
		t.Fatal("formed")
	}
	k.nodes[1].start()
	k.nodes[1].ready()
	k.nodes[2].ready()
	k.nodes[0].start()
	k.nodes[0].ready()
}

func TestAnyNodeWritesAndReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 3, nil, nil)
	k.startAll()
	for i := range 30 {
		n := k.nodes[i%3]
		name := fmt.Sprintf("c%d", i)
		if _, err := n.c.Create(t.Context(), name, map[string]string{"i": name}, ownership.TargetRunning); err != nil {
			t.Fatal(err)
		}
		if c, err := n.c.Connector(name); err != nil || c.Config["i"] != name {
			t.Fatalf("read after write on node %s: %+v, %v", n.opts.NodeID, c, err)
		}
		other := k.nodes[(i+1)%3]
		if _, err := other.c.Create(t.Context(), name, nil, ownership.TargetRunning); !errors.Is(err, ownership.ErrExists) {
			t.Fatalf("create of a taken name: %v", err)
		}
		if err := other.c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := other.c.Connector(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeaveDrainRemoveAndTransfer(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 9})
	k := newCluster(t, 3, b, nil)
	k.startAll()
	k.voters(3)
	ctx := t.Context()
	if _, err := k.nodes[0].c.Create(ctx, "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(10)
	if err := k.nodes[1].c.Drain(ctx, "n1", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 to run nothing", func() bool { return len(k.nodes[0].tasks()) == 0 })
	k.settled(10)
	if err := k.nodes[1].c.Drain(ctx, "nobody", true); !errors.Is(err, ownership.ErrNotFound) {
		t.Fatal(err)
	}
	if err := k.nodes[2].c.Undrain(ctx, "n1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 to have a share", func() bool { return len(k.nodes[0].tasks()) >= 2 })

	// An orderly departure, of the leader.
	leader := k.leader()
	if err := leader.c.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(leader.tasks()); n != 0 {
		t.Fatalf("%d tasks after leaving", n)
	}
	leader.kill()
	k.settled(10)
	for _, m := range k.leader().c.Members() {
		if m.ID == leader.opts.NodeID && m.Alive {
			t.Fatal("the node that left counts as alive")
		}
	}
	leader.start()
	leader.ready()
	eventually(t, "the node that is back to have a share", func() bool { return len(leader.tasks()) >= 2 })

	// Leadership goes where it is sent.
	k.voters(3)
	var to *testNode
	for _, n := range k.nodes {
		if n.c.leading() == nil {
			to = n
		}
	}
	if err := k.nodes[0].c.TransferLeader(ctx, to.opts.NodeID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other to lead", func() bool { return to.c.leading() != nil })
	if err := k.nodes[0].c.TransferLeader(ctx, "nobody"); !errors.Is(err, ownership.ErrNotFound) {
		t.Fatal(err)
	}

	// Removal, of the leader, too.
	if err := k.nodes[0].c.Remove(ctx, to.opts.NodeID); err != nil {
		t.Fatal(err)
	}
	if err := to.end(); err == nil || !strings.Contains(err.Error(), "was removed from its cluster") {
		t.Fatalf("removed node ended with: %v", err)
	}
	to.kill()
	k.settled(10)
	// Whoever starts it again, such as its supervisor, does not undo that.
	to.start()
	if err := to.end(); err == nil || !strings.Contains(err.Error(), "was removed from its cluster") {
		t.Fatalf("removed node came back with: %v", err)
	}
	to.kill()
	if err := os.RemoveAll(filepath.Join(to.opts.DataDir, "raft")); err != nil {
		t.Fatal(err)
	}
	to.start()
	to.ready()
	k.voters(3)
}

func TestScaleOutToNonvoters(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 14})
	k := newCluster(t, 7, b, nil)
	for i := range k.nodes {
		k.nodes[i].opts.Join = k.addrs[:3]
	}
	for _, n := range k.nodes[:3] {
		n.start()
	}
	for _, n := range k.nodes[:3] {
		n.ready()
	}
	if _, err := k.nodes[2].c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(15)
	for _, n := range k.nodes[3:] {
		n.start()
		n.ready()
	}
	k.voters(5)
	k.settled(15)
	eventually(t, "every node to have a share", func() bool {
		for _, n := range k.nodes {
			if len(n.tasks()) < 1 {
				return false
			}
		}
		return true
	})
	// Two voters die, one after the other: followers take their votes.
	killed := 0
	leader := k.leader()
	for _, s := range leader.c.node.Servers() {
		if s.Voter && s.ID != leader.opts.NodeID && killed < 2 {
			for _, n := range k.nodes {
				if n.opts.NodeID == s.ID {
					n.kill()
				}
			}
			killed++
			eventually(t, "a living node to have the vote", func() bool {
				voters, gone := 0, true
				for _, x := range k.leader().c.node.Servers() {
					if x.Voter {
						voters++
						gone = gone && x.ID != s.ID
					}
				}
				return voters == 5 && gone
			})
		}
	}
	k.settled(15)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	k := newCluster(t, 2, nil, nil)
	k.startAll()
	base := Options{Timing: quick(), Logger: testLogger(t), Join: k.addrs}
	run := func(change func(*Options)) error {
		o := base
		o.DataDir = t.TempDir()
		o.PeerListen = addresses(t, 1)[0]
		o.NodeID = "n9"
		change(&o)
		n := &testNode{t: t, opts: o, running: map[ownership.TaskID]uint64{}}
		n.start()
		defer n.kill()
		select {
		case err := <-n.done:
			return err
		case <-time.After(patience):
			return fmt.Errorf("still running: %s", n.c.Stage())
		}
	}
	if err := run(func(o *Options) { o.NodeID = "n1" }); err == nil || !strings.Contains(err.Error(), "node.id") {
		t.Errorf("duplicate node.id: %v", err)
	}
	for _, off := range []time.Duration{-time.Hour, 31 * time.Second} {
		err := run(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(off) } })
		if err == nil || !strings.Contains(err.Error(), "clock") || !strings.Contains(err.Error(), off.Abs().String()) || !strings.Contains(err.Error(), "NTP") {
			t.Errorf("a clock that is %s off: %v", off, err)
		}
	}
	other := single(t, nil)
	other.ready()
	other.kill()
	err := run(func(o *Options) {
		o.NodeID, o.DataDir, o.PeerListen = "n1", other.opts.DataDir, other.opts.PeerListen
	})
	if err == nil || !strings.Contains(err.Error(), "cluster") || !strings.Contains(err.Error(), "data.dir") {
		t.Errorf("data of another cluster: %v", err)
	}
	if _, err := New(Options{NodeID: "a b"}); err == nil {
		t.Error("node.id with a space was taken")
	}
	if _, err := New(Options{NodeID: "a", Join: []string{"nohost"}}); err == nil || !strings.Contains(err.Error(), "cluster.join") {
		t.Errorf("seed without port: %v", err)
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "a", Partitions: 3})
	k := newCluster(t, 3, b, nil)
	k.startAll()
	ctx := t.Context()
	if _, err := k.nodes[0].c.Create(ctx, "c", map[string]string{"v": "1"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	k.settled(4)
	var buf bytes.Buffer
	if err := k.nodes[1].c.Snapshot(ctx, &buf); err != nil {
		t.Fatal(err)
	}
	if err := k.nodes[0].c.Delete(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	k.settled(0)
	if err := k.nodes[2].c.Restore(ctx, bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connector to be back", func() bool {
		c, err := k.nodes[2].c.Connector("c")
		return err == nil && c.Config["v"] == "1"
	})
	k.settled(4)
	// A restore leaves an index without an entry in every log, which a restart must not take for damage.
	for _, n := range k.nodes {
		n.restart()
		n.ready()
	}
	if err := k.nodes[2].c.Restore(ctx, strings.NewReader("nonsense")); !errors.Is(err, ownership.ErrInvalid) {
		t.Fatal(err)
	}
}
