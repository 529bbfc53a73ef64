package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/internal/testkit/ports"
)

// patience bounds every wait of a test; no test asserts a time.
const patience = 30 * time.Second

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func quick() Timing {
	return Timing{
		Heartbeat: 50 * time.Millisecond, Lease: 300 * time.Millisecond, Dead: 400 * time.Millisecond,
		Raft:     raftnode.Timing{Heartbeat: 250 * time.Millisecond},
		Discover: 50 * time.Millisecond, Balance: 200 * time.Millisecond, Write: 10 * time.Second, Stable: 100 * time.Millisecond,
		DeadVoter: 500 * time.Millisecond,
	}
}

// broker is a Discovery that tests script.
type broker struct {
	mu     sync.Mutex
	topics []ownership.Topic
	err    error
	asked  int
}

func (b *broker) set(topics ...ownership.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics, b.err = topics, nil
}

func (b *broker) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *broker) Discover(_ context.Context, c ownership.Connector) ([]ownership.Topic, []ownership.Task, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.err != nil {
		return nil, nil, b.err
	}
	tasks := []ownership.Task{}
	for _, t := range b.topics {
		for p := range t.Partitions {
			tasks = append(tasks, ownership.Task{
				ID:         ownership.TaskID{Connector: c.Name, Kind: ownership.PartitionTask, Topic: t.Name, Group: p},
				Partitions: []int32{p},
			})
		}
		tasks = append(tasks, ownership.Task{
			ID:     ownership.TaskID{Connector: c.Name, Kind: ownership.TableTask, Table: "silver/" + t.Name},
			Topics: []string{t.Name},
		})
	}
	return slices.Clone(b.topics), tasks, nil
}

// testNode is a coordinator with a worker that does nothing but own.
type testNode struct {
	t      testing.TB
	opts   Options
	c      *Coordinator
	cancel context.CancelFunc
	done   chan error
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[ownership.TaskID]uint64
	hold    bool // does not release
	fails   map[ownership.TaskID]string
}

func start(t testing.TB, o Options) *testNode {
	t.Helper()
	n := &testNode{t: t, opts: o, running: map[ownership.TaskID]uint64{}, fails: map[ownership.TaskID]string{}}
	n.start()
	t.Cleanup(func() { n.kill() })
	return n
}

func (n *testNode) start() {
	n.t.Helper()
	c, err := New(n.opts)
	if err != nil {
		n.t.Fatalf("start node %s: %v", n.opts.NodeID, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.c, n.cancel, n.done = c, cancel, make(chan error, 1)
	n.wg.Go(func() { n.done <- c.Run(ctx) })
	n.wg.Go(func() { n.work(ctx, c) })
}

// end waits for Run to end by itself, and gives its error.
func (n *testNode) end() error {
	n.t.Helper()
	select {
	case err := <-n.done:
		return err
	case <-time.After(time.Minute):
		n.t.Fatalf("node %s goes on; it is at: %s", n.opts.NodeID, n.c.Stage())
		return nil
	}
}

// kill ends the node without a farewell; its files stay.
func (n *testNode) kill() {
	if n.cancel == nil {
		return
	}
	n.cancel()
	_ = n.c.ln.Close() // as a process that is gone: nothing is answered any more
	n.wg.Wait()
	if err := n.c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		n.t.Errorf("close node %s: %v", n.opts.NodeID, err)
	}
	n.cancel = nil
	n.mu.Lock()
	clear(n.running)
	n.mu.Unlock()
}

func (n *testNode) restart() {
	n.t.Helper()
	n.kill()
	n.start()
}

// work is the least that a worker does.
func (n *testNode) work(ctx context.Context, c *Coordinator) {
	for {
		conns, mine, changed := c.Owned()
		target := map[string]ownership.TargetState{}
		for _, k := range conns {
			target[k.Name] = k.Target
		}
		have := map[ownership.TaskID]bool{}
		var statuses []ownership.TaskStatus
		n.mu.Lock()
		for _, a := range mine {
			id := a.Task.ID
			have[id] = true
			if a.Revoked {
				if !n.hold {
					delete(n.running, id)
					n.wg.Go(func() { _ = c.Release(ctx, id, a.Epoch) })
				}
				continue
			}
			n.running[id] = a.Epoch
			st := ownership.TaskStatus{ID: id, Epoch: a.Epoch, State: ownership.Running}
			if target[id.Connector] == ownership.TargetPaused {
				st.State = ownership.Paused
			}
			if why, ok := n.fails[id]; ok {
				st.State, st.Trace = ownership.Failed, why
			}
			statuses = append(statuses, st)
		}
		for id := range n.running {
			if !have[id] {
				delete(n.running, id)
			}
		}
		n.mu.Unlock()
		_ = c.Report(ctx, statuses)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (n *testNode) tasks() map[ownership.TaskID]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[ownership.TaskID]uint64{}
	for k, v := range n.running {
		out[k] = v
	}
	return out
}

func (n *testNode) ready() {
	n.t.Helper()
	eventually(n.t, "node "+n.opts.NodeID+" to be ready", func() bool {
		select {
		case err := <-n.done:
			n.t.Fatalf("node %s ended: %v", n.opts.NodeID, err)
		case <-n.c.Ready():
			return true
		default:
		}
		return false
	})
}

func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("SLUICE_TEST_LOG") == "" {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	level := slog.LevelInfo
	if os.Getenv("SLUICE_TEST_LOG") == "debug" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// addresses gives some that nobody listens on.
func addresses(t testing.TB, n int) []string {
	t.Helper()
	out := make([]string, 0, n)
	for range n {
		out = append(out, ports.Address(t))
	}
	return out
}

func single(t testing.TB, b *broker) *testNode {
	t.Helper()
	o := Options{
		NodeID: "n1", DataDir: t.TempDir(), PeerListen: addresses(t, 1)[0], RESTAdvertised: "127.0.0.1:8083", Timing: quick(),
		Logger: testLogger(t), Version: "test",
	}
	if b != nil {
		o.Discovery = b
	}
	return start(t, o)
}

// network lets tests cut nodes off from one another.
type network struct {
	mu    sync.Mutex
	cut   map[[2]string]bool
	conns map[*cutConn]bool
}

type cutConn struct {
	net.Conn
	from, to string
	w        *network
}

func (c *cutConn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	return c.Conn.Close()
}

func newNetwork() *network {
	return &network{cut: map[[2]string]bool{}, conns: map[*cutConn]bool{}}
}

func (w *network) dial(from string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		cut := w.cut[[2]string{from, addr}]
		w.mu.Unlock()
		if cut {
			// As packets that get lost.
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			return nil, fmt.Errorf("dial %s: no route", addr)
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &cutConn{Conn: conn, from: from, to: addr, w: w}
		w.mu.Lock()
		w.conns[c] = true
		w.mu.Unlock()
		return c, nil
	}
}

// set cuts or heals the way between two addresses, in both directions.
func (w *network) set(a, b string, cut bool) {
	w.mu.Lock()
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
	var dead []*cutConn
	for c := range w.conns {
		if w.cut[[2]string{c.from, c.to}] {
			dead = append(dead, c)
		}
	}
	w.mu.Unlock()
	for _, c := range dead {
		_ = c.Close()
	}
}

type cluster struct {
	t     testing.TB
	addrs []string
	nodes []*testNode
	net   *network
}

// newCluster prepares n nodes with one seed list; none is started.
func newCluster(t testing.TB, n int, b *broker, adapt func(int, *Options)) *cluster {
	t.Helper()
	k := &cluster{t: t, addrs: addresses(t, n), net: newNetwork()}
	for i := range n {
		o := Options{
			NodeID: fmt.Sprintf("n%d", i+1), DataDir: t.TempDir(), PeerListen: k.addrs[i], PeerAdvertised: k.addrs[i], Join: k.addrs,
			RESTAdvertised: fmt.Sprintf("127.0.0.1:%d", 8083+i), Timing: quick(), Logger: testLogger(t), Version: "test",
			Dial: k.net.dial(k.addrs[i]),
		}
		if b != nil {
			o.Discovery = b
		}
		if adapt != nil {
			adapt(i, &o)
		}
		k.nodes = append(k.nodes, &testNode{t: t, opts: o, running: map[ownership.TaskID]uint64{}, fails: map[ownership.TaskID]string{}})
	}
	t.Cleanup(func() {
		for _, n := range k.nodes {
			n.kill()
		}
	})
	return k
}

func (k *cluster) startAll() {
	k.t.Helper()
	for _, n := range k.nodes {
		n.start()
	}
	for _, n := range k.nodes {
		n.ready()
	}
}

func (k *cluster) leader() *testNode {
	k.t.Helper()
	var out *testNode
	eventually(k.t, "a leader", func() bool {
		out = nil
		for _, n := range k.nodes {
			if n.cancel != nil && n.c.leading() != nil {
				out = n
			}
		}
		return out != nil
	})
	return out
}

func (k *cluster) voters(want int) {
	k.t.Helper()
	eventually(k.t, fmt.Sprintf("%d voters", want), func() bool {
		n := 0
		for _, s := range k.leader().c.node.Servers() {
			if s.Voter {
				n++
			}
		}
		return n == want
	})
}

// running counts on how many nodes each task runs.
func (k *cluster) running() map[ownership.TaskID]int {
	out := map[ownership.TaskID]int{}
	for _, n := range k.nodes {
		for id := range n.tasks() {
			out[id]++
		}
	}
	return out
}

// still waits until no task has moved for so long.
func (k *cluster) still(long time.Duration) {
	k.t.Helper()
	var was []map[ownership.TaskID]uint64
	since := time.Now()
	eventually(k.t, "tasks to stay where they are", func() bool {
		is := make([]map[ownership.TaskID]uint64, len(k.nodes))
		for i, n := range k.nodes {
			is[i] = n.tasks()
		}
		if !slices.EqualFunc(was, is, maps.Equal) {
			was, since = is, time.Now()
		}
		return time.Since(since) >= long
	})
}

// settled waits until want tasks run, each once.
func (k *cluster) settled(want int) {
	k.t.Helper()
	eventually(k.t, fmt.Sprintf("%d tasks to run once each", want), func() bool {
		r := k.running()
		if len(r) != want {
			return false
		}
		for _, n := range r {
			if n != 1 {
				return false
			}
		}
		return true
	})
}
