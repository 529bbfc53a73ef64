package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

type raftServer = raftnode.Server

// Drain marks a node so that its tasks go to others and none come to it, until Undrain. It waits until the node has
// none left or ctx ends; with wait false it only marks.
func (c *Coordinator) Drain(ctx context.Context, node string, wait bool) error {
	if err := c.drain(ctx, node, true, false); err != nil || !wait {
		return err
	}
	err := c.m.until(ctx, func(s *state.State) bool { return len(s.Owned(node)) == 0 })
	if err != nil {
		return fmt.Errorf("drain node %s: %d tasks are still there: %w", node, len(view(c.m, func(s *state.State) []ownership.Assignment {
			return s.Owned(node)
		})), errors.Join(ownership.ErrTimeout, err))
	}
	return nil
}

// DrainUntilRestart marks a node as Drain does, until it starts again: for those who are about to stop it.
func (c *Coordinator) DrainUntilRestart(ctx context.Context, node string) error {
	return c.drain(ctx, node, true, true)
}

// Undrain lets a node have tasks again.
func (c *Coordinator) Undrain(ctx context.Context, node string) error {
	return c.drain(ctx, node, false, false)
}

func (c *Coordinator) drain(ctx context.Context, node string, on, leaving bool) error {
	_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_DrainMember{
		DrainMember: &raftv1.DrainMember{Id: node, Draining: on, Leaving: leaving},
	}})
	return err
}

// Leave takes this node out of work before it stops: its tasks go to others, then leadership, and the others know that
// it is gone without waiting for its silence. It stays a member and comes back by starting again. The worker has to go
// on until Leave returns, since it is the one that releases. On a cluster of one, or where nobody could take the
// tasks, it returns at once.
func (c *Coordinator) Leave(ctx context.Context) error {
	alone := func() bool {
		for _, m := range view(c.m, (*state.State).Members) {
			if m.ID != c.opts.NodeID && m.Alive && !m.Draining && !m.Leaving {
				return false
			}
		}
		return true
	}
	if alone() {
		return nil
	}
	if err := c.drain(ctx, c.opts.NodeID, true, true); err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	for len(view(c.m, func(s *state.State) []ownership.Assignment { return s.Owned(c.opts.NodeID) })) > 0 && !alone() {
		if !sleep(ctx, 10*time.Millisecond) {
			return fmt.Errorf("leave the cluster: some tasks have not been handed over: %w", errors.Join(ownership.ErrTimeout, ctx.Err()))
		}
	}
	c.mu.Lock()
	c.mu.leaving = true
	c.mu.Unlock()
	heirs := slices.ContainsFunc(c.node.Servers(), func(s raftServer) bool { return s.Voter && s.ID != c.opts.NodeID })
	if c.node.IsLeader() && heirs {
		if err := c.abdicate(ctx, "", ""); err != nil {
			return fmt.Errorf("leave the cluster: hand over leadership: %w", err)
		}
		for c.node.IsLeader() || c.leading() != nil {
			if !sleep(ctx, 5*time.Millisecond) {
				return fmt.Errorf("leave the cluster: hand over leadership: %w", ctx.Err())
			}
		}
	}
	_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_MarkMember{
		MarkMember: &raftv1.MarkMember{Id: c.opts.NodeID, Incarnation: c.incarnation},
	}})
	if err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}

// Remove takes a node out of the cluster for good. A living node is drained first by whoever wants that; one that is
// still running stops with an error that says why.
func (c *Coordinator) Remove(ctx context.Context, node string) error {
	return c.admin(ctx, &peerv1.AdminRequest{Op: &peerv1.AdminRequest_Remove{Remove: node}})
}

// TransferLeader hands leadership to a voter, to the most current one where node is empty.
func (c *Coordinator) TransferLeader(ctx context.Context, node string) error {
	return c.admin(ctx, &peerv1.AdminRequest{Op: &peerv1.AdminRequest_TransferLeader{TransferLeader: &peerv1.TransferLeader{NodeId: node}}})
}

// Snapshot writes the agreed state to w, as Restore reads it.
func (c *Coordinator) Snapshot(ctx context.Context, w io.Writer) error {
	if err := c.Sync(ctx); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	data, err := c.m.save()
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Compact makes this node take a Raft snapshot now and trim its log.
func (c *Coordinator) Compact(ctx context.Context) error { return c.node.Snapshot(ctx) }

// maxRestore bounds what is read of a snapshot to restore.
const maxRestore = 48 << 20

// Restore replaces the connectors, their configurations and targets by those of a snapshot. Members stay; every task
// starts again.
func (c *Coordinator) Restore(ctx context.Context, r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxRestore+1))
	if err != nil {
		return fmt.Errorf("read snapshot to restore: %w", err)
	}
	if len(data) > maxRestore {
		return ownership.Errorf(ownership.ErrInvalid, "the snapshot is larger than %d bytes", maxRestore)
	}
	if _, err := state.Load(bytes.NewReader(data)); err != nil {
		return ownership.Errorf(ownership.ErrInvalid, "read the snapshot: %w", err)
	}
	return c.admin(ctx, &peerv1.AdminRequest{Op: &peerv1.AdminRequest_Restore{Restore: data}})
}

func (c *Coordinator) admin(ctx context.Context, req *peerv1.AdminRequest) error {
	resp, err := c.toLeader(ctx, &peerv1.Request{Body: &peerv1.Request_Admin{Admin: req}}, func(ctx context.Context) *peerv1.Response {
		return c.serveAdmin(ctx, req)
	})
	if err != nil {
		return err
	}
	if req.GetRemove() == c.opts.NodeID {
		return nil // it hears no more of the log
	}
	wctx, cancel := context.WithTimeout(ctx, c.timing.Write)
	defer cancel()
	if err := c.m.waitIndex(wctx, resp.GetAdmin().GetIndex()); err != nil {
		return fmt.Errorf("agreed on, but this node has not followed in time: %w", errors.Join(ownership.ErrTimeout, err))
	}
	return nil
}

func (c *Coordinator) serveAdmin(ctx context.Context, req *peerv1.AdminRequest) *peerv1.Response {
	l := c.leading()
	if l == nil {
		return c.notLeader()
	}
	var err error
	switch op := req.GetOp().(type) {
	case *peerv1.AdminRequest_Remove:
		err = l.remove(ctx, op.Remove)
	case *peerv1.AdminRequest_TransferLeader:
		err = l.transfer(ctx, op.TransferLeader.GetNodeId())
	case *peerv1.AdminRequest_Snapshot:
		err = c.node.Snapshot(ctx)
	case *peerv1.AdminRequest_Restore:
		err = l.restore(ctx, op.Restore)
	default:
		return refuse("unimplemented", errors.New("the leader does not know this request; upgrade it"))
	}
	if err != nil {
		return c.failure(err)
	}
	return &peerv1.Response{Body: &peerv1.Response_Admin{Admin: &peerv1.AdminResponse{Index: view(c.m, (*state.State).Index)}}}
}

func (l *leadership) remove(ctx context.Context, node string) error {
	c := l.c
	if _, ok := view2(c.m, func(s *state.State) (state.Member, bool) { return s.Member(node) }); !ok {
		return fmt.Errorf("node %s: %w", node, ownership.ErrNotFound)
	}
	if node == c.opts.NodeID {
		// The next leader does it: the caller asks again.
		if len(c.node.Servers()) == 1 {
			return ownership.Errorf(ownership.ErrConflict, "node %s is the only one of its cluster", node)
		}
		if err := c.abdicate(ctx, "", ""); err != nil {
			return err
		}
		return raftnode.ErrNotLeader
	}
	// Nobody is registered between the two: the heartbeats of a node that still runs would enter it again.
	l.entering.Lock()
	defer l.entering.Unlock()
	if err := c.node.Remove(ctx, node); err != nil {
		return err
	}
	if err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_RemoveMember{RemoveMember: &raftv1.RemoveMember{Id: node}}}); err != nil {
		return err
	}
	l.pulses.forget(node)
	return nil
}

// abdicate hands leadership over, again while the other side is too slow to take it in one election time-out.
func (c *Coordinator) abdicate(ctx context.Context, id, address string) error {
	for {
		err := c.node.Transfer(ctx, id, address)
		if err == nil || !c.node.IsLeader() {
			return nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return err
		}
	}
}

func (l *leadership) transfer(ctx context.Context, node string) error {
	c := l.c
	if node == c.opts.NodeID {
		return nil
	}
	if node == "" {
		if !slices.ContainsFunc(c.node.Servers(), func(s raftServer) bool { return s.Voter && s.ID != c.opts.NodeID }) {
			return ownership.Errorf(ownership.ErrConflict, "node %s is the only one with a vote, so no other can lead", c.opts.NodeID)
		}
		return c.abdicate(ctx, "", "")
	}
	for _, s := range c.node.Servers() {
		if s.ID == node {
			if !s.Voter {
				return ownership.Errorf(ownership.ErrConflict, "node %s has no vote, so it cannot lead", node)
			}
			return c.abdicate(ctx, s.ID, s.Address)
		}
	}
	return fmt.Errorf("node %s: %w", node, ownership.ErrNotFound)
}

func (l *leadership) restore(ctx context.Context, data []byte) error {
	c := l.c
	from, err := state.Load(bytes.NewReader(data))
	if err != nil {
		return ownership.Errorf(ownership.ErrInvalid, "read the snapshot: %w", err)
	}
	var buf bytes.Buffer
	c.m.mu.RLock()
	from.Adopt(c.m.st)
	c.m.mu.RUnlock()
	if err := from.Save(&buf); err != nil {
		return err
	}
	return c.node.Restore(ctx, buf.Bytes())
}

// Recover makes the node whose files are in dataDir the only member of its cluster: the way out when a majority is
// lost for good. The node must be stopped. Writes that only the lost nodes had are lost; the tables are not affected.
func Recover(o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if o.PeerAdvertised == "" {
		return ownership.Errorf(ownership.ErrInvalid, "recovery needs peer.advertised, the address under which this node will be reached")
	}
	dir := filepath.Join(o.DataDir, "raft")
	if was, err := folderOf(dir); err != nil {
		return err
	} else if was != "" && was != o.NodeID {
		return &FolderError{Dir: dir, Was: was, Node: o.NodeID}
	}
	return raftnode.Recover(raftnode.Options{
		ID: o.NodeID, Address: o.PeerAdvertised, Dir: dir, Machine: newMachine(nil), Logger: o.Logger,
	})
}
