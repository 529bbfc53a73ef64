package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/internal/ownership"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClusterOfOne(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "shop.orders", ID: "a", Partitions: 4})
	n := single(t, b)
	n.ready()
	ctx := t.Context()
	c := n.c

	conn, err := c.Create(ctx, "orders", map[string]string{"topics": "shop.orders"}, ownership.TargetRunning)
	if err != nil {
		t.Fatal(err)
	}
	if conn.Target != ownership.TargetRunning || conn.Version == 0 {
		t.Fatalf("created %+v", conn)
	}
	if _, err := c.Create(ctx, "orders", nil, ownership.TargetRunning); !errors.Is(err, ownership.ErrExists) {
		t.Fatalf("second create: %v", err)
	}
	runs := func() bool {
		st, err := c.Status("orders")
		if err != nil || st.State != ownership.Running || len(st.Tasks) != 5 {
			return false
		}
		for _, ts := range st.Tasks {
			if ts.State != ownership.Running || ts.Node != "n1" {
				return false
			}
		}
		return true
	}
	eventually(t, "all tasks to be RUNNING", runs)

	if err := c.TransferLeader(ctx, ""); !errors.Is(err, ownership.ErrConflict) {
		t.Errorf("there is nobody to hand leadership to: %v", err)
	}

	// The same configuration again restarts nothing, another one everything.
	before := n.tasks()
	if _, created, err := c.Put(ctx, "orders", map[string]string{"topics": "shop.orders"}); err != nil || created {
		t.Fatalf("put: created %v, %v", created, err)
	}
	if d := cmp.Diff(before, n.tasks()); d != "" {
		t.Fatal(d)
	}
	v := "5"
	conn, err = c.Patch(ctx, "orders", map[string]*string{"tasks.max": &v})
	if err != nil || conn.Config["tasks.max"] != "5" || conn.Config["topics"] != "shop.orders" {
		t.Fatalf("patch: %+v, %v", conn, err)
	}
	eventually(t, "new epochs", func() bool {
		for id, e := range n.tasks() {
			if e <= before[id] {
				return false
			}
		}
		return len(n.tasks()) == 5
	})
	eventually(t, "all tasks to be RUNNING", runs)

	// Restarts.
	st, err := c.Restart(ctx, "orders", ownership.RestartOptions{IncludeTasks: true})
	if err != nil || st.State != ownership.Restarting {
		t.Fatalf("restart: %+v, %v", st, err)
	}
	for _, ts := range st.Tasks {
		if ts.State != ownership.Restarting {
			t.Fatalf("restart: %+v", ts)
		}
	}
	eventually(t, "all tasks to be RUNNING", runs)
	if st, err = c.Restart(ctx, "orders", ownership.RestartOptions{OnlyFailed: true, IncludeTasks: true}); err != nil || st.State != ownership.Running {
		t.Fatalf("restart of what has failed: %+v, %v", st, err)
	}
	if err := c.RestartTask(ctx, "orders", 9); !errors.Is(err, ownership.ErrNotFound) {
		t.Fatalf("restart of a task that is not: %v", err)
	}
	if err := c.RestartTask(ctx, "orders", 4); err != nil {
		t.Fatal(err)
	}

	// Pause, stop, resume, delete.
	if err := c.SetTarget(ctx, "orders", ownership.TargetPaused); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all to be PAUSED", func() bool {
		st, _ := c.Status("orders")
		for _, ts := range st.Tasks {
			if ts.State != ownership.Paused {
				return false
			}
		}
		return st.State == ownership.Paused && len(st.Tasks) == 5
	})
	if err := c.SetTarget(ctx, "orders", ownership.TargetStopped); err != nil {
		t.Fatal(err)
	}
	if st, _ := c.Status("orders"); st.State != ownership.Stopped || len(st.Tasks) != 0 {
		t.Fatalf("stopped: %+v", st)
	}
	eventually(t, "nobody to hold a task", func() bool { return c.Idle("orders") })
	if err := c.SetTarget(ctx, "orders", ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all tasks to be RUNNING", runs)
	if err := c.Delete(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, "orders"); !errors.Is(err, ownership.ErrNotFound) {
		t.Fatalf("second delete: %v", err)
	}
	eventually(t, "nobody to hold a task", func() bool { return len(n.tasks()) == 0 })
}

func TestFailedTaskAndConnector(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "t", Partitions: 1})
	n := single(t, b)
	id := ownership.TaskID{Connector: "c", Kind: ownership.PartitionTask, Topic: "t"}
	n.mu.Lock()
	n.fails[id] = "disk full"
	n.mu.Unlock()
	n.ready()
	ctx := t.Context()
	if _, err := n.c.Create(ctx, "c", map[string]string{"a": "b"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task to be FAILED", func() bool {
		st, _ := n.c.Status("c")
		return len(st.Tasks) == 2 && st.Tasks[0].State == ownership.Failed && st.Tasks[0].Trace == "disk full" && st.State == ownership.Running
	})
	n.mu.Lock()
	delete(n.fails, id)
	n.mu.Unlock()
	st, err := n.c.Restart(ctx, "c", ownership.RestartOptions{OnlyFailed: true, IncludeTasks: true})
	if err != nil || st.State == ownership.Restarting || st.Tasks[0].State != ownership.Restarting || st.Tasks[1].State == ownership.Restarting {
		t.Fatalf("restart: %+v, %v", st, err)
	}
	eventually(t, "the task to be RUNNING", func() bool {
		st, _ := n.c.Status("c")
		return st.Tasks[0].State == ownership.Running
	})

	b.fail(fmt.Errorf("topics.regex: %w", ownership.ErrInvalid))
	eventually(t, "the connector to be FAILED", func() bool {
		st, _ := n.c.Status("c")
		return st.State == ownership.Failed && strings.Contains(st.Trace, "topics.regex")
	})
	b.set(ownership.Topic{Name: "t", Partitions: 1})
	if _, err := n.c.Restart(ctx, "c", ownership.RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connector to be RUNNING", func() bool {
		st, _ := n.c.Status("c")
		return st.State == ownership.Running && st.Trace == ""
	})
	// A broker that does not answer is no failure, but is said.
	b.fail(errors.New("no broker"))
	eventually(t, "the reason to be shown", func() bool {
		st, _ := n.c.Status("c")
		return st.State == ownership.Running && st.Trace == "no broker" && len(st.Tasks) == 2
	})
}

func TestRecreatedTopicStopsItsTasks(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "t", ID: "one", Partitions: 2})
	n := single(t, b)
	n.ready()
	ctx := t.Context()
	if _, err := n.c.Create(ctx, "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks", func() bool { return len(n.tasks()) == 3 })
	b.set(ownership.Topic{Name: "t", ID: "two", Partitions: 2})
	eventually(t, "FAILED", func() bool {
		st, _ := n.c.Status("c")
		return st.Tasks[0].State == ownership.Failed && strings.Contains(st.Tasks[0].Trace, "created again") && len(n.tasks()) == 1
	})
	if _, err := n.c.Restart(ctx, "c", ownership.RestartOptions{OnlyFailed: true, IncludeTasks: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks", func() bool { return len(n.tasks()) == 3 })
}

func TestRecreatedTopicIsNoticedAfterAGap(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "t", ID: "one", Partitions: 2})
	n := single(t, b)
	n.ready()
	if _, err := n.c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks", func() bool { return len(n.tasks()) == 3 })
	b.set()
	eventually(t, "no tasks", func() bool { return len(n.tasks()) == 0 })
	if err := n.c.Compact(t.Context()); err != nil { // what is gone is in the snapshot
		t.Fatal(err)
	}
	n.restart()
	n.ready()
	b.set(ownership.Topic{Name: "t", ID: "two", Partitions: 2})
	eventually(t, "FAILED", func() bool {
		st, _ := n.c.Status("c")
		return len(st.Tasks) == 3 && st.Tasks[0].State == ownership.Failed && strings.Contains(st.Tasks[0].Trace, "its id was one")
	})
}

func TestRestartKeepsEverythingUnderNewEpochs(t *testing.T) {
	t.Parallel()
	b := &broker{}
	b.set(ownership.Topic{Name: "t", Partitions: 3})
	n := single(t, b)
	n.ready()
	if _, err := n.c.Create(t.Context(), "c", map[string]string{"k": "v"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks", func() bool { return len(n.tasks()) == 4 })
	before, id := n.tasks(), n.c.ClusterID()
	for range 3 {
		n.restart()
		n.ready()
		eventually(t, "tasks with higher epochs", func() bool {
			now := n.tasks()
			for id, e := range now {
				if e <= before[id] {
					return false
				}
			}
			return len(now) == 4
		})
		before = n.tasks()
		if n.c.ClusterID() != id {
			t.Fatal("the cluster has another name")
		}
		if c, err := n.c.Connector("c"); err != nil || c.Config["k"] != "v" {
			t.Fatalf("after restart: %+v, %v", c, err)
		}
	}
	if err := n.c.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.ready()
	if c, err := n.c.Connector("c"); err != nil || c.Config["k"] != "v" {
		t.Fatalf("after restart from a snapshot: %+v, %v", c, err)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	n := single(t, nil)
	n.ready()
	file := filepath.Join(n.opts.DataDir, "raft", "raft.db")
	if _, err := New(Options{NodeID: "n1", DataDir: n.opts.DataDir, PeerListen: "127.0.0.1:0", PeerAdvertised: "127.0.0.1:1"}); !errors.Is(err, raftnode.ErrInUse) {
		t.Fatalf("second process on one data.dir: %v", err)
	}
	n.kill()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"truncated": func(d []byte) []byte { return d[:len(d)/3] },
		"zeroed":    func(d []byte) []byte { clear(d); return d },
		"garbage": func(d []byte) []byte {
			for i := 8192; i < len(d); i++ {
				d[i] = byte(i * 7)
			}
			return d
		},
		"text": func([]byte) []byte { return []byte("hello") },
	} {
		if err := os.Remove(file); err != nil { // another inode: what bolt has locked stays locked
			t.Fatal(err)
		}
		if err := os.WriteFile(file, spoil(append([]byte{}, data...)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(n.opts)
		if !errors.Is(err, raftnode.ErrDamaged) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "move the folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	n := single(t, nil)
	n.ready()
	_, err := New(Options{NodeID: "n2", PeerListen: n.opts.PeerListen})
	if err == nil || !strings.Contains(err.Error(), "peer.listen") {
		t.Fatal(err)
	}
}

func TestValidateDecidesOnTheLeader(t *testing.T) {
	t.Parallel()
	o := Options{NodeID: "n1", DataDir: t.TempDir(), PeerListen: addresses(t, 1)[0], Timing: quick(), Logger: testLogger(t)}
	o.Validate = func(_ context.Context, c ownership.Connector, others []ownership.Connector) error {
		for _, other := range others {
			if other.Config["table"] == c.Config["table"] {
				return fmt.Errorf("table %s is written by connector %s: %w", c.Config["table"], other.Name, ownership.ErrInvalid)
			}
		}
		return nil
	}
	n := start(t, o)
	n.ready()
	if _, err := n.c.Create(t.Context(), "a", map[string]string{"table": "x"}, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	_, _, err := n.c.Put(t.Context(), "b", map[string]string{"table": "x"})
	if !errors.Is(err, ownership.ErrInvalid) || !strings.Contains(err.Error(), "connector a") {
		t.Fatal(err)
	}
	if _, err := n.c.Connector("b"); !errors.Is(err, ownership.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestFolderOfAnotherNode: the folder of a member is refused under another name; one that no cluster has made use of is not.
func TestFolderOfAnotherNode(t *testing.T) {
	t.Parallel()
	n := single(t, nil)
	n.ready()
	n.kill()
	o := n.opts
	o.NodeID = "n2"
	_, err := New(o)
	another, ok := errors.AsType[*FolderError](err)
	if !ok || another.Was != "n1" || another.Node != "n2" || !strings.Contains(err.Error(), "set node.id to n1") {
		t.Errorf("another name: %v", err)
	}
	o.PeerAdvertised = o.PeerListen
	if err := Recover(o); !strings.Contains(fmt.Sprint(err), "set node.id to n1") {
		t.Errorf("recovery under another name: %v", err)
	}
	n = start(t, n.opts)
	n.ready()

	// It has stood for election, as its consent says, but was never part of a cluster.
	o = Options{NodeID: "typo", DataDir: t.TempDir(), PeerListen: addresses(t, 1)[0], Timing: quick(), Logger: testLogger(t)}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := c.vote.grant("typo"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.NodeID = "right"
	n = start(t, o)
	n.ready()
	if ok, has, err := n.c.vote.grant("right"); !ok || err != nil {
		t.Error("the consent is still that of", has, err)
	}
}
