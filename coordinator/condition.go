package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice.io/sluice/coordinator/peer"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// conditionTimeout bounds how long one node is waited for.
const conditionTimeout = 2 * time.Second

// Condition is this node's own. It asks nobody.
func (c *Coordinator) Condition() ownership.Condition {
	out := ownership.Condition{
		Node: c.opts.NodeID, AppliedIndex: c.node.AppliedIndex(), Term: c.node.Term(), HoldsLease: c.holdsLease(),
		Binary: c.opts.Version, CommandVersion: state.CommandVersion, PeerVersion: peer.Version, SnapshotFormat: state.SnapshotFormat,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out.LeasesLost = c.mu.lost
	if !c.mu.lostAt.IsZero() {
		out.LeaseLostMs = c.mu.lostAt.UnixMilli()
	}
	if c.opts.Refused != nil {
		out.RefusedCommits = uint64(c.opts.Refused())
	}
	return out
}

// Conditions asks every member how it is, at once; one that does not answer has that as its Problem. Sorted by node.
func (c *Coordinator) Conditions(ctx context.Context) []ownership.Condition {
	members := view(c.m, (*state.State).Members)
	out := make([]ownership.Condition, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if m.ID == c.opts.NodeID {
			out[i] = c.Condition()
			continue
		}
		wg.Go(func() { out[i] = c.conditionOf(ctx, m) })
	}
	wg.Wait()
	return out
}

func (c *Coordinator) conditionOf(ctx context.Context, m state.Member) ownership.Condition {
	ctx, cancel := context.WithTimeout(ctx, conditionTimeout)
	defer cancel()
	sent := c.opts.Now()
	resp, err := c.call(ctx, m.PeerAddress, &peerv1.Request{Body: &peerv1.Request_Status{Status: &peerv1.StatusRequest{}}})
	st := resp.GetStatus()
	switch {
	case err != nil:
		return ownership.Condition{Node: m.ID, Problem: rootCause(err).Error()}
	case st == nil:
		return ownership.Condition{Node: m.ID, Problem: resp.GetMessage()}
	case st.GetNodeId() != m.ID:
		return ownership.Condition{Node: m.ID, Problem: fmt.Sprintf("node %s answers at %s", st.GetNodeId(), m.PeerAddress)}
	}
	half := sent.Add(c.opts.Now().Sub(sent) / 2) // when it looked at its clock, about
	return ownership.Condition{
		Node: m.ID, AppliedIndex: st.GetAppliedIndex(), Term: st.GetTerm(), HoldsLease: st.GetHoldsLease(), LeasesLost: st.GetLeasesLost(),
		LeaseLostMs: st.GetLeaseLostUnixMs(), RefusedCommits: st.GetRefusedCommits(), ClockAheadMs: st.GetUnixMs() - half.UnixMilli(),
		Binary: st.GetVersions().GetBinary(), CommandVersion: st.GetVersions().GetCommand(), PeerVersion: st.GetVersions().GetPeer(),
		SnapshotFormat: st.GetVersions().GetSnapshot(),
	}
}

// SetLevels sets the level of a logger on all other living nodes. The error names those that could not be told.
func (c *Coordinator) SetLevels(ctx context.Context, logger string, level slog.Level) error {
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, m := range view(c.m, (*state.State).Members) {
		if m.ID == c.opts.NodeID || !m.Alive {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, conditionTimeout)
			defer cancel()
			resp, err := c.call(ctx, m.PeerAddress, &peerv1.Request{Body: &peerv1.Request_Level{
				Level: &peerv1.LevelRequest{Logger: logger, Level: int32(level)},
			}})
			if err == nil && resp.GetCode() != "" {
				err = errors.New(resp.GetMessage())
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("node %s: %w", m.ID, err))
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("set the level of logger %s: %w", logger, errors.Join(errs...))
	}
	return nil
}
