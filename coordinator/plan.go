package coordinator

import (
	"context"
	"strings"
	"time"

	"sluice.io/sluice/coordinator/placement"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// movesAtOnce bounds the running tasks that are asked to move in one round.
const movesAtOnce = 500

// plan places what has no home and, now and then, evens out.
func (l *leadership) plan(ctx context.Context) error {
	now := time.Now()
	changes := l.c.m.changes.Load()
	due := now.Sub(l.balanced) >= l.c.timing.Balance && now.Sub(l.since) >= 2*l.c.timing.Heartbeat
	if l.planned == changes+1 && !due {
		return nil // nothing has changed since the last plan was carried out
	}
	in := placement.Input{MaxMoves: movesAtOnce}
	busy := false
	takers := []string{}
	view(l.c.m, func(s *state.State) bool {
		for _, m := range s.Members() {
			if m.Alive {
				out := m.Draining || m.Leaving
				in.Nodes = append(in.Nodes, placement.Node{ID: m.ID, Draining: out})
				if !out {
					takers = append(takers, m.ID)
				}
			}
		}
		in.Tasks = s.Placeable()
		in.Current = s.Assignments()
		for _, a := range in.Current {
			busy = busy || a.Revoked
		}
		return true
	})
	in.Loads = l.pulses.loads()
	// A node that has come or gone is evened out soon, but not in the same breath: the next one may be on its way.
	if names := strings.Join(takers, ","); names != l.takers {
		l.takers = names
		l.balanced = now.Add(-l.c.timing.Balance + 2*l.c.timing.Heartbeat)
	}
	in.Rebalance = !busy && due
	moves := placement.Plan(in)
	if in.Rebalance {
		l.balanced = now
	}
	if len(moves) == 0 {
		l.planned = changes + 1
		return nil
	}
	cmd := &raftv1.Place{}
	why := map[string]int{}
	for _, mv := range moves {
		why[mv.Why]++
		cmd.Moves = append(cmd.Moves, &raftv1.Place_Move{Task: state.TaskIDToProto(mv.Task), Epoch: mv.Epoch, Node: mv.To})
	}
	l.c.log.Info("places tasks", "moves", len(moves), "new", why["new"], "drain", why["drain"], "balance", why["balance"], "gravity", why["gravity"])
	err := l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_Place{Place: cmd}})
	if err == nil && l.c.m.changes.Load() == changes {
		l.planned = changes + 1 // no move fitted any more; there is nothing to do before something changes
	}
	return err
}

// overdue takes tasks away from owners that were asked to release them and have not. D2 makes what such an owner may
// still commit harmless.
func (l *leadership) overdue(ctx context.Context) error {
	now := time.Now()
	if now.Sub(l.looked) < l.c.timing.Revoke/20 {
		return nil
	}
	l.looked = now
	cmd := &raftv1.Release{}
	seen := map[ownership.TaskID]bool{}
	for _, a := range view(l.c.m, (*state.State).Assignments) {
		if !a.Revoked {
			continue
		}
		id := a.Task.ID
		seen[id] = true
		r, ok := l.revoked[id]
		if !ok || r.epoch != a.Epoch {
			l.revoked[id] = revocation{epoch: a.Epoch, since: now}
			continue
		}
		if now.Sub(r.since) >= l.c.timing.Revoke {
			l.c.log.Warn("an owner does not release a task, it is taken away", "task", id.String(), "member", a.Node, "epoch", a.Epoch)
			cmd.Items = append(cmd.Items, &raftv1.Release_Item{Task: state.TaskIDToProto(id), Epoch: a.Epoch})
		}
	}
	for id := range l.revoked {
		if !seen[id] {
			delete(l.revoked, id)
		}
	}
	if len(cmd.Items) == 0 {
		return nil
	}
	return l.propose(ctx, &raftv1.Command{Body: &raftv1.Command_Release{Release: cmd}})
}
