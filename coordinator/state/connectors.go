package state

import (
	"fmt"
	"maps"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

func notFound(name string) error {
	return fmt.Errorf("connector %s: %w", name, ownership.ErrNotFound)
}

func (a *applier) putConnector(p *raftv1.PutConnector) Result {
	name := p.GetName()
	old, exists := a.connectors[name]
	switch p.GetMode() {
	case raftv1.PutConnector_MODE_CREATE:
		if exists {
			return Result{Err: fmt.Errorf("connector %s: %w", name, ownership.ErrExists)}
		}
	case raftv1.PutConnector_MODE_REPLACE:
		if !exists {
			return Result{Err: notFound(name)}
		}
		if old.Version != p.GetIfVersion() {
			return Result{Err: fmt.Errorf("connector %s was changed meanwhile: %w", name, ownership.ErrConflict)}
		}
	}
	config := ConfigFromProto(p.GetConfig())
	if !exists {
		c := &connector{
			Connector: ownership.Connector{
				Name: name, Config: config, Target: TargetFromProto(p.GetInitial()), Version: a.index, Generation: a.index,
			},
			run:    a.index,
			topics: map[string]ownership.Topic{},
			gone:   map[string]string{},
			tasks:  map[ownership.TaskID]*task{},
			active: map[string]struct{}{},
		}
		c.state = idle(c.Target)
		a.connectors[name] = c
		a.emit(Event{Kind: ConnectorChanged, Connector: name, Text: "created"})
		out := c.copy()
		return Result{Created: true, Connector: &out}
	}
	if maps.Equal(old.Config, config) {
		out := old.copy()
		return Result{Connector: &out}
	}
	old.Config = config
	old.Version = a.index
	old.start(a.index)
	for _, t := range old.sortedTasks() {
		a.renew(t, ownership.Unassigned)
	}
	a.emit(Event{Kind: ConnectorChanged, Connector: name, Text: "configured"})
	out := old.copy()
	return Result{Connector: &out}
}

// idle is the state of a connector that nobody has run yet.
func idle(t ownership.TargetState) ownership.State {
	switch t {
	case ownership.TargetPaused:
		return ownership.Paused
	case ownership.TargetStopped:
		return ownership.Stopped
	default:
		return ownership.Unassigned
	}
}

// start begins a new run of the connector itself: whoever leads looks at it anew.
func (c *connector) start(index uint64) {
	c.run = index
	c.state, c.trace = idle(c.Target), ""
}

func (a *applier) deleteConnector(d *raftv1.DeleteConnector) Result {
	c, ok := a.connectors[d.GetName()]
	if !ok {
		return Result{Err: notFound(d.GetName())}
	}
	for _, t := range c.sortedTasks() {
		a.revoke(t.ID, "")
	}
	delete(a.connectors, c.Name)
	a.emit(Event{Kind: ConnectorChanged, Connector: c.Name, Text: "deleted"})
	return Result{}
}

func (a *applier) setTarget(st *raftv1.SetTarget) Result {
	c, ok := a.connectors[st.GetName()]
	if !ok {
		return Result{Err: notFound(st.GetName())}
	}
	target := TargetFromProto(st.GetTarget())
	if c.Target == target {
		return Result{}
	}
	was := c.Target
	c.Target = target
	switch {
	case target == ownership.TargetStopped:
		for _, t := range c.sortedTasks() {
			a.revoke(t.ID, "")
		}
		clear(c.tasks)
		// Stopped, even from FAILED.
		c.start(a.index)
	case c.state == ownership.Failed:
		// FAILED is left by a restart or a new configuration, not by pause and resume.
	case was == ownership.TargetStopped, target == ownership.TargetPaused:
		c.start(a.index)
	default:
		c.start(a.index)
		if c.node != "" {
			c.state = ownership.Running
		}
	}
	a.emit(Event{Kind: ConnectorChanged, Connector: c.Name, Text: string(target)})
	return Result{}
}

func (a *applier) restart(r *raftv1.Restart) Result {
	c, ok := a.connectors[r.GetName()]
	if !ok {
		return Result{Err: notFound(r.GetName())}
	}
	var res Result
	if !r.GetOnlyFailed() || c.state == ownership.Failed {
		c.start(a.index)
		if c.Target == ownership.TargetRunning {
			c.state = ownership.Restarting
		}
		res.RestartedConnector = true
	}
	if r.GetIncludeTasks() {
		if !r.GetOnlyFailed() {
			c.Generation = a.index
		}
		for _, t := range c.sortedTasks() {
			if r.GetOnlyFailed() && t.status.State != ownership.Failed {
				continue
			}
			a.renew(t, ownership.Restarting)
			res.RestartedTasks = append(res.RestartedTasks, t.ID)
		}
	}
	if res.RestartedConnector || len(res.RestartedTasks) > 0 {
		a.emit(Event{Kind: ConnectorChanged, Connector: c.Name, Text: "restarted"})
	}
	return res
}

func (a *applier) restartTask(r *raftv1.RestartTask) Result {
	id := TaskIDFromProto(r.GetTask())
	c, ok := a.connectors[id.Connector]
	if !ok {
		return Result{Err: notFound(id.Connector)}
	}
	t, ok := c.tasks[id]
	if !ok {
		return Result{Err: fmt.Errorf("task %s: %w", id, ownership.ErrNotFound)}
	}
	a.renew(t, ownership.Restarting)
	return Result{RestartedTasks: []ownership.TaskID{id}}
}

// setConnectorStatus takes what the leader says of the connector itself, if it speaks of the present run.
func (a *applier) setConnectorStatus(r *raftv1.SetConnectorStatus) Result {
	c, ok := a.connectors[r.GetConnector()]
	if !ok || c.Version != r.GetVersion() || (r.GetRun() != 0 && c.run != r.GetRun()) || c.Target == ownership.TargetStopped {
		return Result{}
	}
	state := StateFromProto(r.GetState())
	if c.Target == ownership.TargetPaused && state != ownership.Failed {
		state = ownership.Paused
	}
	if c.state == state && c.node == r.GetNode() && c.trace == r.GetTrace() {
		return Result{}
	}
	c.state, c.node, c.trace = state, r.GetNode(), r.GetTrace()
	a.emit(Event{Kind: StatusChanged, Connector: c.Name, Node: c.node, Text: string(c.state)})
	return Result{}
}

func (a *applier) addActiveTopics(r *raftv1.AddActiveTopics) Result {
	c, ok := a.connectors[r.GetConnector()]
	if !ok {
		return Result{Err: notFound(r.GetConnector())}
	}
	for _, t := range r.GetTopics() {
		c.active[t] = struct{}{}
	}
	return Result{}
}

func (a *applier) resetActiveTopics(r *raftv1.ResetActiveTopics) Result {
	if c, ok := a.connectors[r.GetConnector()]; ok {
		clear(c.active)
	}
	return Result{}
}
