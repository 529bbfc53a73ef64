package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// Connectors lists all connectors by name, as this node knows them.
func (c *Coordinator) Connectors() []ownership.Connector {
	return view(c.m, (*state.State).Connectors)
}

// Connector gives one connector, or ErrNotFound.
func (c *Coordinator) Connector(name string) (ownership.Connector, error) {
	out, ok := view2(c.m, func(s *state.State) (ownership.Connector, bool) { return s.Connector(name) })
	if !ok {
		return out, fmt.Errorf("connector %s: %w", name, ownership.ErrNotFound)
	}
	return out, nil
}

// Status gives the state of a connector and of its tasks in REST's order, or ErrNotFound.
func (c *Coordinator) Status(name string) (ownership.ConnectorStatus, error) {
	out, ok := view2(c.m, func(s *state.State) (ownership.ConnectorStatus, bool) { return s.Status(name) })
	if !ok {
		return out, fmt.Errorf("connector %s: %w", name, ownership.ErrNotFound)
	}
	return out, nil
}

// Tasks lists a connector's tasks: a task's id in REST is its place in this list. ErrNotFound without the connector.
func (c *Coordinator) Tasks(name string) ([]ownership.Task, error) {
	out, ok := view2(c.m, func(s *state.State) ([]ownership.Task, bool) { return s.Tasks(name) })
	if !ok {
		return nil, fmt.Errorf("connector %s: %w", name, ownership.ErrNotFound)
	}
	return out, nil
}

// Topics lists the topics that a connector reads, as the broker shows them; none for an unknown connector.
func (c *Coordinator) Topics(name string) []ownership.Topic {
	return view(c.m, func(s *state.State) []ownership.Topic { return s.Topics(name) })
}

// ActiveTopics lists the topics of which a connector has seen records since the last reset; none for an unknown one.
func (c *Coordinator) ActiveTopics(name string) []string {
	return view(c.m, func(s *state.State) []string { return s.ActiveTopics(name) })
}

// Assignments lists all assignments by task.
func (c *Coordinator) Assignments() []ownership.Assignment {
	return view(c.m, (*state.State).Assignments)
}

// Idle says whether no node holds a task of the connector any more: it is stopped in fact, not only in name.
func (c *Coordinator) Idle(name string) bool {
	return !slices.ContainsFunc(c.Assignments(), func(a ownership.Assignment) bool { return a.Task.ID.Connector == name })
}

// Sync makes the reads that follow see everything that was agreed on before it was called, anywhere in the cluster.
func (c *Coordinator) Sync(ctx context.Context) error {
	_, err := c.write(ctx, &peerv1.ForwardRequest{Op: &peerv1.ForwardRequest_Read{Read: &peerv1.ReadConnector{}}})
	return err
}

// Create makes a connector; ErrExists where the name is taken, which the log decides.
func (c *Coordinator) Create(ctx context.Context, name string, config map[string]string, initial ownership.TargetState) (ownership.Connector, error) {
	resp, err := c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
		Name: name, Config: state.ConfigToProto(config), Mode: raftv1.PutConnector_MODE_CREATE, Initial: state.TargetToProto(initial),
	}}})
	if err != nil {
		return ownership.Connector{}, err
	}
	return c.written(name, resp, config), nil
}

// written gives the connector as a write has left it, whatever has become of it since. Where the answer was that to a
// repetition (the leader was lost in between), it is what the connector is now, or, if it is gone already, what was
// asked for: never "not found", since the write did take effect.
func (c *Coordinator) written(name string, resp *peerv1.ForwardResponse, asked map[string]string) ownership.Connector {
	if k := resp.GetConnector(); k != nil {
		return ownership.Connector{
			Name: k.GetName(), Config: state.ConfigFromProto(k.GetConfig()), Target: state.TargetFromProto(k.GetTarget()),
			Version: k.GetVersion(), Generation: k.GetGeneration(),
		}
	}
	if k, err := c.Connector(name); err == nil {
		return k
	}
	return ownership.Connector{
		Name: name, Config: maps.Clone(asked), Target: ownership.TargetRunning, Version: resp.GetIndex(), Generation: resp.GetIndex(),
	}
}

// Put creates a connector or replaces its configuration, and says which. The same configuration again restarts nothing.
func (c *Coordinator) Put(ctx context.Context, name string, config map[string]string) (conn ownership.Connector, created bool, err error) {
	resp, err := c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
		Name: name, Config: state.ConfigToProto(config), Mode: raftv1.PutConnector_MODE_UPSERT,
	}}})
	if err != nil {
		return ownership.Connector{}, false, err
	}
	return c.written(name, resp, config), resp.GetCreated(), nil
}

// Patch merges into a configuration on the leader: a nil value removes the key. ErrNotFound without the connector.
func (c *Coordinator) Patch(ctx context.Context, name string, patch map[string]*string) (ownership.Connector, error) {
	p := &peerv1.PatchConnector{Name: name, RequestId: randomID()}
	for _, k := range slices.Sorted(maps.Keys(patch)) {
		if v := patch[k]; v != nil {
			p.Set = append(p.Set, &raftv1.KeyValue{Key: k, Value: *v})
		} else {
			p.Remove = append(p.Remove, k)
		}
	}
	resp, err := c.write(ctx, &peerv1.ForwardRequest{Op: &peerv1.ForwardRequest_Patch{Patch: p}})
	if err != nil {
		return ownership.Connector{}, err
	}
	asked := map[string]string{"name": name}
	for _, kv := range p.GetSet() {
		asked[kv.GetKey()] = kv.GetValue()
	}
	return c.written(name, resp, asked), nil
}

// Delete removes a connector; its tables and their progress stay.
func (c *Coordinator) Delete(ctx context.Context, name string) error {
	_, err := c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_DeleteConnector{
		DeleteConnector: &raftv1.DeleteConnector{Name: name},
	}})
	return err
}

// SetTarget pauses, resumes (TargetRunning) or stops a connector; doing it again changes nothing.
func (c *Coordinator) SetTarget(ctx context.Context, name string, target ownership.TargetState) error {
	_, err := c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_SetTarget{
		SetTarget: &raftv1.SetTarget{Name: name, Target: state.TargetToProto(target)},
	}})
	return err
}

// Restart lets a connector, and with IncludeTasks its tasks, start again. The status shows everything that was selected
// as RESTARTING, whatever has become of it meanwhile.
func (c *Coordinator) Restart(ctx context.Context, name string, o ownership.RestartOptions) (ownership.ConnectorStatus, error) {
	resp, err := c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_Restart{
		Restart: &raftv1.Restart{Name: name, IncludeTasks: o.IncludeTasks, OnlyFailed: o.OnlyFailed},
	}})
	if err != nil {
		return ownership.ConnectorStatus{}, err
	}
	st, err := c.Status(name)
	if err != nil {
		return st, err
	}
	if resp.GetRestartedConnector() {
		st.State, st.Trace = ownership.Restarting, ""
	}
	selected := map[ownership.TaskID]bool{}
	for _, id := range resp.GetRestartedTasks() {
		selected[state.TaskIDFromProto(id)] = true
	}
	for i := range st.Tasks {
		if selected[st.Tasks[i].ID] {
			st.Tasks[i].State, st.Tasks[i].Trace = ownership.Restarting, ""
		}
	}
	return st, nil
}

// RestartTask lets the task with this place in Tasks start again; ErrNotFound without it.
func (c *Coordinator) RestartTask(ctx context.Context, name string, number int) error {
	tasks, err := c.Tasks(name)
	if err != nil {
		return err
	}
	if number < 0 || number >= len(tasks) {
		return fmt.Errorf("task %d of connector %s: %w", number, name, ownership.ErrNotFound)
	}
	_, err = c.command(ctx, &raftv1.Command{RequestId: randomID(), Body: &raftv1.Command_RestartTask{
		RestartTask: &raftv1.RestartTask{Task: state.TaskIDToProto(tasks[number].ID)},
	}})
	return err
}

// AddActiveTopics notes that a connector has seen records of topics. Known ones cost nothing.
func (c *Coordinator) AddActiveTopics(ctx context.Context, name string, topics ...string) error {
	have := c.ActiveTopics(name)
	topics = slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return slices.Contains(have, t) })
	if len(topics) == 0 {
		return nil
	}
	slices.Sort(topics)
	_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_AddActiveTopics{
		AddActiveTopics: &raftv1.AddActiveTopics{Connector: name, Topics: topics},
	}})
	return err
}

// ResetActiveTopics empties the list; of an unknown connector, too.
func (c *Coordinator) ResetActiveTopics(ctx context.Context, name string) error {
	_, err := c.command(ctx, &raftv1.Command{Body: &raftv1.Command_ResetActiveTopics{
		ResetActiveTopics: &raftv1.ResetActiveTopics{Connector: name},
	}})
	return err
}

// Members lists the nodes by id.
func (c *Coordinator) Members() []ownership.Member {
	voters := map[string]bool{}
	for _, s := range c.node.Servers() {
		voters[s.ID] = s.Voter
	}
	leader, _ := c.node.Leader()
	var out []ownership.Member
	for _, m := range view(c.m, (*state.State).Members) {
		m.Voter, m.Leader = voters[m.ID], m.ID == leader
		m.Draining = m.Draining || m.Leaving
		out = append(out, m.Member)
	}
	return out
}

// LeaderInfo says who leads, as far as this node knows.
func (c *Coordinator) LeaderInfo() ownership.LeaderInfo {
	id, addr := c.node.Leader()
	info := ownership.LeaderInfo{ID: id, PeerAddress: addr, Term: c.node.Term(), Self: c.leading() != nil}
	if m, ok := view2(c.m, func(s *state.State) (state.Member, bool) { return s.Member(id) }); ok {
		info.RESTAddress = m.RESTAddress
	}
	return info
}
