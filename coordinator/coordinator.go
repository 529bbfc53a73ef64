package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice.io/sluice/coordinator/peer"
	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// Coordinator is one node's part in the cluster. Its methods may be called by any goroutine, between New and Close.
type Coordinator struct {
	opts        Options
	timing      Timing
	log         *slog.Logger
	incarnation string

	m      *machine
	node   *raftnode.Node
	ln     *peer.Listener
	client *peer.Client

	ready     chan struct{}
	readyOnce sync.Once
	fatal     chan error // what ends Run; buffered, first one counts

	configs sync.Mutex // held by the leader while it judges and writes a configuration

	// Of the goroutine that beats alone: heartbeats in a row that the leader's port refused.
	refusals  int
	refusedBy string

	vote    ballot
	cluster identity
	joining joining
	empty   bool // it came without Raft state, or with what it got since then and before it was taken in

	mu struct {
		sync.Mutex
		lease    time.Time // until when this node may run its tasks
		forever  bool      // a cluster of one needs no lease
		lost     uint64    // leases that ran out
		lostAt   time.Time
		leaving  bool
		reported map[ownership.TaskID]ownership.TaskStatus
		loads    map[ownership.TaskID]int64
		lead     *leadership // nil while this node does not lead
		stage    string      // what forming waits for, for people
	}
	owned  signal // what Owned gives has changed by lease
	report signal // there are statuses to deliver
}

// New opens the port and the files. It contacts nobody: Run does.
func New(o Options) (*Coordinator, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Coordinator{
		opts: o, timing: o.Timing, log: o.Logger.With("node", o.NodeID), incarnation: randomID(),
		m: newMachine(o.Observe), ready: make(chan struct{}), fatal: make(chan error, 1),
	}
	c.mu.reported = map[ownership.TaskID]ownership.TaskStatus{}
	c.mu.loads = map[ownership.TaskID]int64{}
	c.mu.stage = "starting"

	var err error
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	if c.ln, err = peer.Listen(o.PeerListen, conf, c.log); err != nil {
		return nil, err
	}
	if err := c.opts.advertise(c.ln.Addr()); err != nil {
		return nil, errors.Join(err, c.ln.Close())
	}
	c.client = peer.NewClient(o.Dial, conf)
	dir := ""
	if o.DataDir != "" {
		dir = filepath.Join(o.DataDir, "raft")
	}
	c.empty, err = c.joining.open(dir)
	if err = errors.Join(err, c.vote.open(dir), c.cluster.open(dir)); err != nil {
		return nil, errors.Join(err, c.ln.Close())
	}
	c.node, err = raftnode.Open(raftnode.Options{
		ID: o.NodeID, Address: c.opts.PeerAdvertised, Dir: dir, Abstain: c.empty, Listener: c.ln.Raft(), Dial: c.client.DialRaft, Network: o.Network,
		Machine: c.m, Timing: o.Timing.Raft, SnapshotEvery: o.SnapshotEvery, Trailing: o.Trailing, Logger: c.log,
	})
	if err != nil {
		return nil, errors.Join(err, c.ln.Close())
	}
	if err := c.keepName(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.ln.Serve(c.serve)
	return c, nil
}

// Run takes part in the cluster until ctx ends or something makes that impossible: an error names it. It forms or
// joins the cluster first, as long as that takes. Call Leave before ctx ends for an orderly departure, and Close after.
func (c *Coordinator) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case err := <-c.node.Fatal():
			return fmt.Errorf("this node cannot follow its cluster: %w", err)
		case err := <-c.fatal:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return c.form(ctx) })
	g.Go(func() error { c.beat(ctx); return nil })
	g.Go(func() error { c.watchLease(ctx); return nil })
	g.Go(func() error { c.deliver(ctx); return nil })
	g.Go(func() error { c.campaign(ctx); return nil })
	return g.Wait()
}

// Ready is closed when this node belongs to a cluster that has a leader who knows it.
func (c *Coordinator) Ready() <-chan struct{} { return c.ready }

// Stage says, for people, what the node waits for before it is ready.
func (c *Coordinator) Stage() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.stage
}

func (c *Coordinator) setStage(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.stage = s
}

// Close ends Raft and closes port and files. Run must have returned, or returns soon with its context.
func (c *Coordinator) Close() error {
	err := c.node.Close()
	c.client.Close()
	return errors.Join(err, c.ln.Close())
}

// stop ends Run with an error.
func (c *Coordinator) stop(err error) {
	select {
	case c.fatal <- err:
	default:
	}
}

// NodeID is this node's name.
func (c *Coordinator) NodeID() string { return c.opts.NodeID }

// PeerAddress is where other nodes reach this one.
func (c *Coordinator) PeerAddress() string { return c.opts.PeerAdvertised }

// ClusterID names the cluster, empty before it is known.
func (c *Coordinator) ClusterID() string {
	if id := view(c.m, (*state.State).ClusterID); id != "" {
		return id
	}
	return c.cluster.get()
}

func (c *Coordinator) versions() *raftv1.Versions {
	return &raftv1.Versions{
		Command: state.CommandVersion, Peer: peer.Version, Snapshot: state.SnapshotFormat, Binary: c.opts.Version,
	}
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// sleep waits, and says whether the context still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
