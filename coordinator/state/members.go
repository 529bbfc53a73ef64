package state

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// registerMember enters a node or a new life of one. A restarted process is not its former self: what that held gets
// a new epoch, what it was asked to release counts as released.
func (a *applier) registerMember(r *raftv1.RegisterMember) Result {
	m, known := a.members[r.GetId()]
	if !known {
		m = &Member{Member: ownership.Member{ID: r.GetId()}}
		a.members[m.ID] = m
	}
	newLife := known && m.Incarnation != r.GetIncarnation()
	m.PeerAddress, m.RESTAddress = r.GetPeerAddress(), r.GetRestAddress()
	m.Incarnation = r.GetIncarnation()
	m.Versions = proto.CloneOf(r.GetVersions())
	if m.Versions == nil {
		m.Versions = &raftv1.Versions{}
	}
	m.Version = m.Versions.GetBinary()
	m.Alive = true
	if newLife {
		m.Leaving = false
		a.reincarnate(m.ID)
	}
	a.emit(Event{Kind: MemberChanged, Node: m.ID, Text: "registered"})
	return Result{}
}

func (a *applier) reincarnate(node string) {
	for _, held := range a.Owned(node) {
		as := a.assigned[held.Task.ID]
		t, ok := a.wanted(as.Task.ID)
		switch {
		case !ok || as.Revoked:
			a.handOn(as)
		default:
			a.renew(t, ownership.Unassigned)
		}
	}
}

func (a *applier) markMember(r *raftv1.MarkMember) Result {
	m, ok := a.members[r.GetId()]
	if !ok || m.Incarnation != r.GetIncarnation() || m.Alive == r.GetAlive() {
		return Result{}
	}
	m.Alive = r.GetAlive()
	text := "alive"
	if !m.Alive {
		text = "lost"
		a.bereave(m.ID)
	}
	a.emit(Event{Kind: MemberChanged, Node: m.ID, Text: text})
	return Result{}
}

// bereave takes everything from a node that is gone.
func (a *applier) bereave(node string) {
	for _, held := range a.Owned(node) {
		a.handOn(a.assigned[held.Task.ID])
	}
	for _, c := range sorted(a.connectors) {
		if c.node == node {
			c.node = ""
			if c.state == ownership.Running {
				c.state = ownership.Unassigned
			}
		}
	}
}

func (a *applier) drainMember(r *raftv1.DrainMember) Result {
	m, ok := a.members[r.GetId()]
	if !ok {
		return Result{Err: fmt.Errorf("member %s: %w", r.GetId(), ownership.ErrNotFound)}
	}
	if r.GetLeaving() {
		m.Leaving = r.GetDraining()
	} else {
		m.Draining = r.GetDraining()
		if !m.Draining {
			m.Leaving = false
		}
	}
	a.emit(Event{Kind: MemberChanged, Node: m.ID, Text: "draining"})
	return Result{}
}

func (a *applier) removeMember(r *raftv1.RemoveMember) Result {
	m, ok := a.members[r.GetId()]
	if !ok {
		return Result{Err: fmt.Errorf("member %s: %w", r.GetId(), ownership.ErrNotFound)}
	}
	m.Alive = false
	a.bereave(m.ID)
	delete(a.members, m.ID)
	a.emit(Event{Kind: MemberChanged, Node: m.ID, Text: "removed"})
	return Result{}
}
