package raftnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Timing tunes elections. Zero values mean the defaults.
type Timing struct {
	// Heartbeat is how long a follower hears nothing before it stands for election (up to twice that, at random).
	Heartbeat time.Duration
	// Election is how long a candidate waits before it tries again.
	Election time.Duration
	// LeaderLease is how long a leader without a majority goes on.
	LeaderLease time.Duration
}

func (t Timing) withDefaults() Timing {
	if t.Heartbeat == 0 {
		t.Heartbeat = 500 * time.Millisecond
	}
	if t.Election == 0 {
		t.Election = t.Heartbeat
	}
	if t.LeaderLease == 0 {
		t.LeaderLease = t.Heartbeat * 4 / 5
	}
	return t
}

// Options of a node.
type Options struct {
	// Abstain makes the node take no part in elections until Vote, as one does that has no Raft state: it may have had some and
	// lost it, with the votes that it gave and the entries that it acknowledged.
	Abstain bool
	// ID is the node's for all time; Address is where the others reach it.
	ID, Address string
	// Dir is data.dir/raft; empty keeps everything in memory, for tests.
	Dir string
	// Listener and Dial carry Raft's own streams.
	Listener net.Listener
	Dial     func(address string, timeout time.Duration) (net.Conn, error)
	// Network replaces both in tests.
	Network *Network
	Machine Machine
	Timing  Timing
	// SnapshotEvery is the number of entries after which a snapshot is taken and the log trimmed; Trailing entries
	// stay for followers that are behind. Zero values mean 8192 and 4096.
	SnapshotEvery, Trailing uint64
	Logger                  *slog.Logger
}

// Server is a member of Raft's own configuration.
type Server struct {
	ID, Address string
	Voter       bool
}

// Node is a running Raft node. Its methods may be called by any goroutine.
type Node struct {
	opts   Options
	raft   *raft.Raft
	fsm    *fsm
	stores *stores
	trans  *nudged
	config *raft.Config
	asked  futures
}

// Open starts a node with what is on disk: none of its own making, so a new node belongs to no cluster until it is
// bootstrapped or added by a leader.
func Open(o Options) (*Node, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 8192
	}
	if o.Trailing == 0 {
		o.Trailing = 4096
	}
	t := o.Timing.withDefaults()
	log := newLogger(o.Logger)
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(o.ID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = t.Heartbeat, t.Election, t.LeaderLease
	// A follower learns what is committed with the next message, so this is most of the time that a hand-over takes; it
	// costs some fifty small messages a second for each follower.
	conf.CommitTimeout = min(15*time.Millisecond, t.Heartbeat/8)
	conf.SnapshotThreshold, conf.TrailingLogs = o.SnapshotEvery, o.Trailing
	conf.SnapshotInterval = 30 * time.Second
	conf.MaxAppendEntries = 512
	conf.ShutdownOnRemove = false // the coordinator decides what a removed node does
	conf.NoLegacyTelemetry = true
	conf.Logger = log

	n := &Node{opts: o, fsm: newFSM(o.Machine), config: conf, asked: futures{none: make(chan struct{})}}
	var err error
	if o.Dir == "" {
		n.stores = memoryStores()
	} else if n.stores, err = openStores(o.Dir, o); err != nil {
		return nil, err
	}
	had, err := n.Formed()
	if err != nil {
		return nil, errors.Join(err, n.stores.close())
	}
	var tr transport
	if o.Network != nil {
		tr = o.Network.attach(o.Address, t.Heartbeat)
	} else {
		tr = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: streams{o.Listener, o.Dial}, MaxPool: 3, Timeout: 5 * time.Second, Logger: log, MsgpackUseNewTimeFormat: true,
		})
	}
	n.trans = newNudged(tr, o.Abstain || !had)
	n.raft, err = raft.NewRaft(conf, n.fsm, n.stores.log, n.stores.stable, n.stores.snaps, n.trans)
	if err != nil {
		if n.fsm.err != nil {
			err = n.fsm.err
		}
		return nil, errors.Join(fmt.Errorf("start raft from %s: %w", o.Dir, err), n.trans.Close(), n.stores.close())
	}
	if servers := n.Servers(); len(servers) == 1 && servers[0].ID == o.ID {
		n.elect()
	}
	return n, nil
}

// Elect makes this voter stand for election now, as if the leader had asked it to: for when the leader is known to be
// gone, and waiting out its silence would be a waste. Wrongly used it costs an election, never safety.
func (n *Node) Elect() { n.elect() }

// elect makes a cluster of one lead at once. It cannot fail in a way that the ordinary election would not mend.
func (n *Node) elect() {
	if err := n.trans.elect(n.opts.ID, n.opts.Address, n.config.HeartbeatTimeout); err != nil {
		n.opts.Logger.Debug("raft: early election", "error", err)
	}
}

// Formed says whether the node has Raft state: it was bootstrapped or added, now or in a former life.
func (n *Node) Formed() (bool, error) {
	ok, err := raft.HasExistingState(n.stores.log, n.stores.stable, n.stores.snaps)
	if err != nil {
		return false, fmt.Errorf("look for raft state: %w", err)
	}
	return ok, nil
}

// Vote ends the abstention: a leader has taken this node in, without a vote at first, so that none counts that it might have given
// before.
func (n *Node) Vote() { n.trans.abstains.Store(false) }

// Bootstrap makes this node a cluster of one.
func (n *Node) Bootstrap() error {
	err := n.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(n.opts.ID), Address: raft.ServerAddress(n.opts.Address),
	}}}).Error()
	if err != nil {
		return fmt.Errorf("bootstrap: %w", translate(err))
	}
	n.Vote()
	n.elect()
	return nil
}

// Apply proposes an entry and waits until this node's machine has applied it, whose answer it gives with the index.
func (n *Node) Apply(ctx context.Context, data []byte) (uint64, any, error) {
	timeout := 5 * time.Second
	if d, ok := ctx.Deadline(); ok {
		timeout = time.Until(d)
		if timeout <= 0 {
			return 0, nil, errors.Join(ErrNotLeader, context.DeadlineExceeded)
		}
	}
	f := n.raft.Apply(data, timeout)
	if err := n.wait(ctx, f); err != nil {
		return 0, nil, err
	}
	if err, ok := f.Response().(error); ok {
		return f.Index(), nil, err
	}
	return f.Index(), f.Response(), nil
}

// wait waits for a future or the context; a future that is given up has an unknown outcome.
func (n *Node) wait(ctx context.Context, f raft.Future) error {
	if !n.asked.begin() {
		return translate(raft.ErrRaftShutdown)
	}
	done := make(chan error, 1)
	go func() {
		defer n.asked.end()
		done <- f.Error()
	}()
	select {
	case err := <-done:
		return translate(err)
	case <-ctx.Done():
		return errors.Join(ErrUnknown, ctx.Err())
	}
}

// Barrier waits until all entries before it have been applied here; an error means that this node does not lead.
func (n *Node) Barrier(ctx context.Context) error { return n.wait(ctx, n.raft.Barrier(0)) }

// Verify makes sure that this node still leads, by asking a majority.
func (n *Node) Verify(ctx context.Context) error { return n.wait(ctx, n.raft.VerifyLeader()) }

// IsLeader says whether this node believes that it leads.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader gives the leader's id and address, empty while none is known.
func (n *Node) Leader() (id, address string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// LeaderCh tells of leadership won (true) and lost (false); only the newest value waits.
func (n *Node) LeaderCh() <-chan bool { return n.raft.LeaderCh() }

// Fatal gives the error that stopped the machine, once.
func (n *Node) Fatal() <-chan error { return n.fsm.fatal }

// Term is Raft's current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// CommitIndex is the highest index that this node knows to be committed.
func (n *Node) CommitIndex() uint64 { return n.raft.CommitIndex() }

// AppliedIndex is the highest index that the machine has applied or passed.
func (n *Node) AppliedIndex() uint64 { return n.raft.AppliedIndex() }

// LastContact is when a follower last heard the leader.
func (n *Node) LastContact() time.Time { return n.raft.LastContact() }

// Stats are raft's own figures, for status output.
func (n *Node) Stats() map[string]string { return n.raft.Stats() }

// Servers lists Raft's configuration.
func (n *Node) Servers() []Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	var out []Server
	for _, s := range f.Configuration().Servers {
		out = append(out, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return out
}

// configTimeout bounds the wait for a change of configuration to be accepted.
const configTimeout = 5 * time.Second

// AddNonvoter adds a server that follows without a vote, or changes its address.
func (n *Node) AddNonvoter(ctx context.Context, id, address string) error {
	return n.wait(ctx, n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, configTimeout))
}

// AddVoter adds a server with a vote, gives a follower one, or changes a voter's address.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	return n.wait(ctx, n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, configTimeout))
}

// Demote takes a server's vote.
func (n *Node) Demote(ctx context.Context, id string) error {
	return n.wait(ctx, n.raft.DemoteVoter(raft.ServerID(id), 0, configTimeout))
}

// Remove takes a server out of the configuration.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.wait(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, configTimeout))
}

// Transfer hands leadership to another voter, to the most current one where id is empty.
func (n *Node) Transfer(ctx context.Context, id, address string) error {
	if id == "" {
		return n.wait(ctx, n.raft.LeadershipTransfer())
	}
	return n.wait(ctx, n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(address)))
}

// Snapshot takes one now and trims the log.
func (n *Node) Snapshot(ctx context.Context) error {
	err := n.configured(ctx, func() error { return n.wait(ctx, n.raft.Snapshot()) })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// Restore replaces the state of the whole cluster by one that Machine.Snapshot has written. Leader only.
func (n *Node) Restore(ctx context.Context, data []byte) error {
	timeout := time.Minute
	if d, ok := ctx.Deadline(); ok {
		timeout = time.Until(d)
	}
	err := n.configured(ctx, func() error {
		meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: int64(len(data)), Index: n.raft.LastIndex(), Term: n.raft.CurrentTerm()}
		return n.raft.Restore(meta, io.NopCloser(bytes.NewReader(data)), timeout)
	})
	if err != nil {
		return fmt.Errorf("restore: %w", translate(err))
	}
	return nil
}

// configured does what raft refuses while a change of its configuration is under way, when that is done: a node may have joined a moment ago.
func (n *Node) configured(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	for {
		err := do()
		if err == nil || !strings.Contains(err.Error(), "wait until the configuration entry") { // raft has no name for it
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Close stops the node and closes its files. What raft was asked before is answered first, for which a leader without a majority needs its lease.
func (n *Node) Close() error {
	n.asked.close(4 * n.config.LeaderLeaseTimeout)
	return errors.Join(n.raft.Shutdown().Error(), n.trans.Close(), n.stores.close())
}

// Recover makes the node whose files are in o.Dir the only member of its cluster, with all that it knows: the way out
// after a majority is lost for good. The node must not be running.
func Recover(o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	st, err := openStores(o.Dir, o)
	if err != nil {
		return err
	}
	has, err := raft.HasExistingState(st.log, st.stable, st.snaps)
	if err != nil || !has {
		return errors.Join(fmt.Errorf("recover: %s holds no raft state of a cluster", o.Dir), err, st.close())
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(o.ID)
	conf.Logger = newLogger(o.Logger)
	f := newFSM(o.Machine)
	_, trans := raft.NewInmemTransport(raft.ServerAddress(o.Address))
	err = raft.RecoverCluster(conf, f, st.log, st.stable, st.snaps, trans, raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Address),
	}}})
	if f.err != nil {
		err = f.err
	}
	if err != nil {
		err = fmt.Errorf("recover from %s: %w", o.Dir, err)
	}
	return errors.Join(err, trans.Close(), st.close())
}
