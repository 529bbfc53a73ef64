package state

import (
	"fmt"
	"slices"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// free says whether nobody holds a partition of t under another task. Tables are held by name alone.
func (s *State) free(t ownership.Task) bool {
	for _, p := range t.Partitions {
		if by, ok := s.held[partition{t.ID.Connector, t.ID.Topic, p}]; ok && by != t.ID {
			return false
		}
	}
	return true
}

func (a *applier) wanted(id ownership.TaskID) (*task, bool) {
	c, ok := a.connectors[id.Connector]
	if !ok {
		return nil, false
	}
	t, ok := c.tasks[id]
	return t, ok
}

// assign gives a task that nobody has to a node.
func (a *applier) assign(t *task, node string) {
	as := &ownership.Assignment{Task: t.Task, Node: node, Epoch: a.index}
	a.enter(as)
	t.status = ownership.TaskStatus{ID: t.ID, Node: node, Epoch: a.index, State: ownership.Unassigned}
	a.emit(Event{Kind: Assigned, Task: t.ID, Node: node, Epoch: a.index})
}

func (s *State) enter(as *ownership.Assignment) {
	id := as.Task.ID
	s.assigned[id] = as
	if s.byNode[as.Node] == nil {
		s.byNode[as.Node] = map[ownership.TaskID]*ownership.Assignment{}
	}
	s.byNode[as.Node][id] = as
	for _, p := range as.Task.Partitions {
		s.held[partition{id.Connector, id.Topic, p}] = id
	}
}

// drop ends an assignment: released, or its owner is gone.
func (a *applier) drop(as *ownership.Assignment) {
	id := as.Task.ID
	delete(a.assigned, id)
	delete(a.byNode[as.Node], id)
	if len(a.byNode[as.Node]) == 0 {
		delete(a.byNode, as.Node)
	}
	for _, p := range as.Task.Partitions {
		key := partition{id.Connector, id.Topic, p}
		if a.held[key] == id {
			delete(a.held, key)
		}
	}
	if t, ok := a.wanted(id); ok && t.status.Epoch == as.Epoch && !t.parked {
		t.status = ownership.TaskStatus{ID: id, State: ownership.Unassigned}
	}
	a.emit(Event{Kind: Released, Task: id, Node: as.Node, Epoch: as.Epoch})
}

// revoke asks the owner to release the task, which next is to have then.
func (a *applier) revoke(id ownership.TaskID, next string) {
	as, ok := a.assigned[id]
	if !ok || (as.Revoked && as.Next == next) {
		return
	}
	as.Revoked, as.Next = true, next
	a.emit(Event{Kind: Revoked, Task: id, Node: as.Node, Epoch: as.Epoch, Text: next})
}

// renew lets a task start again where it is: a new epoch on the same node. A task that is on its way elsewhere starts
// again there.
func (a *applier) renew(t *task, state ownership.State) {
	t.parked = false
	t.status.State, t.status.Trace = state, ""
	as, ok := a.assigned[t.ID]
	if !ok {
		t.status.Node, t.status.Epoch = "", 0
		return
	}
	if as.Revoked {
		return
	}
	as.Epoch = a.index
	t.status.Node, t.status.Epoch = as.Node, a.index
	a.emit(Event{Kind: Assigned, Task: t.ID, Node: as.Node, Epoch: a.index})
}

// setTasks takes over what the connector consists of. D10: what the broker says enters through the command.
func (a *applier) setTasks(st *raftv1.SetTasks) Result {
	c, ok := a.connectors[st.GetConnector()]
	if !ok {
		return Result{Err: notFound(st.GetConnector())}
	}
	if c.Version != st.GetVersion() || c.Target == ownership.TargetStopped {
		return Result{Err: fmt.Errorf("tasks of an older configuration of connector %s: %w", c.Name, ownership.ErrConflict)}
	}
	recreated := a.setTopics(c, st.GetTopics())
	want := make(map[ownership.TaskID]ownership.Task, len(st.GetTasks()))
	for _, p := range st.GetTasks() {
		t := TaskFromProto(p)
		t.ID.Connector = c.Name
		want[t.ID] = t
	}
	changed := false
	for _, t := range c.sortedTasks() {
		if _, ok := want[t.ID]; !ok {
			a.revoke(t.ID, "")
			delete(c.tasks, t.ID)
			changed = true
		}
	}
	ids := make([]ownership.TaskID, 0, len(want))
	for id := range want {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, ownership.TaskID.Compare)
	for _, id := range ids {
		if a.setTask(c, want[id]) {
			changed = true
		}
		if topic, ok := recreated[id.Topic]; ok && id.Kind == ownership.PartitionTask {
			a.park(c.tasks[id], topic)
		}
	}
	if changed || len(recreated) > 0 {
		a.emit(Event{Kind: TasksChanged, Connector: c.Name})
	}
	return Result{}
}

// setTopics notes the topics and gives the sentences about those that were deleted and created again, be it that the
// broker was seen without them in between.
func (a *applier) setTopics(c *connector, topics []*raftv1.Topic) map[string]string {
	recreated := map[string]string{}
	next := make(map[string]ownership.Topic, len(topics))
	for _, p := range topics {
		t := TopicFromProto(p)
		was := c.topics[t.Name].ID
		if was == "" {
			was = c.gone[t.Name]
		}
		switch {
		case was == "":
		case t.ID == "":
			t.ID = was
		case t.ID != was:
			recreated[t.Name] = fmt.Sprintf("topic %s was deleted and created again (its id was %s and is %s), so its offsets begin anew "+
				"and do not continue what the tables hold; point bronze.path and silver.path at other tables, or move these away, and restart the tasks", t.Name, was, t.ID)
			a.emit(Event{Kind: TopicRecreated, Connector: c.Name, Text: t.Name})
		}
		next[t.Name] = t
		delete(c.gone, t.Name)
	}
	for name, t := range c.topics { // the order does not matter: each entry goes to its own place
		if _, ok := next[name]; !ok && t.ID != "" {
			c.gone[name] = t.ID
		}
	}
	c.topics = next
	return recreated
}

// setTask takes over one task and says whether that changed anything.
func (a *applier) setTask(c *connector, def ownership.Task) bool {
	t, ok := c.tasks[def.ID]
	if !ok {
		c.tasks[def.ID] = &task{Task: def, status: ownership.TaskStatus{ID: def.ID, State: ownership.Unassigned}}
		// Its owner of before may still be on the way out; then the task waits for the release as any other.
		return true
	}
	if slices.Equal(t.Partitions, def.Partitions) && slices.Equal(t.Topics, def.Topics) {
		return false
	}
	lost := slices.ContainsFunc(t.Partitions, func(p int32) bool { return !slices.Contains(def.Partitions, p) })
	t.Task = def
	as, owned := a.assigned[def.ID]
	switch {
	case !owned || as.Revoked:
		// The next assignment has the new definition.
	case lost || !a.free(def):
		// A partition changes hands: the old owner lets go first.
		a.revoke(def.ID, "")
	default:
		as.Task = def
		a.enter(as)
		a.renew(t, ownership.Unassigned)
	}
	return true
}

// park takes a task away and keeps it from running until somebody restarts it.
func (a *applier) park(t *task, why string) {
	a.revoke(t.ID, "")
	t.parked = true
	t.status = ownership.TaskStatus{ID: t.ID, State: ownership.Failed, Trace: why}
	a.emit(Event{Kind: StatusChanged, Connector: t.ID.Connector, Task: t.ID, Text: string(ownership.Failed)})
}

// place executes moves. A move that no longer fits is left out: the planner will see why.
func (a *applier) place(p *raftv1.Place) Result {
	for _, mv := range p.GetMoves() {
		id := TaskIDFromProto(mv.GetTask())
		as := a.assigned[id]
		if as == nil {
			t, ok := a.wanted(id)
			if ok && mv.GetEpoch() == 0 && a.takes(mv.GetNode()) && !t.parked && a.free(t.Task) {
				a.assign(t, mv.GetNode())
			}
			continue
		}
		if as.Epoch != mv.GetEpoch() || as.Node == mv.GetNode() || (mv.GetNode() != "" && !a.takes(mv.GetNode())) {
			continue
		}
		if _, ok := a.wanted(id); !ok {
			continue // it is on its way out already
		}
		a.revoke(id, mv.GetNode())
	}
	return Result{}
}

// takes says whether a node may be given tasks.
func (a *applier) takes(node string) bool {
	m, ok := a.members[node]
	return ok && m.Alive && !m.Draining && !m.Leaving
}

// release ends assignments that their owner lets go of, and hands on what was revoked for somebody.
func (a *applier) release(r *raftv1.Release) Result {
	for _, it := range r.GetItems() {
		as, ok := a.assigned[TaskIDFromProto(it.GetTask())]
		if !ok || as.Epoch != it.GetEpoch() || (r.GetNode() != "" && as.Node != r.GetNode()) {
			continue
		}
		a.handOn(as)
	}
	return Result{}
}

// handOn drops an assignment and gives the task to Next, if it still may have it.
func (a *applier) handOn(as *ownership.Assignment) {
	next := as.Next
	a.drop(as)
	t, ok := a.wanted(as.Task.ID)
	if ok && as.Revoked && next != "" && a.takes(next) && !t.parked && a.free(t.Task) {
		a.assign(t, next)
	}
}

// reportTasks takes the statuses of owners; of an epoch that is over nothing is taken.
func (a *applier) reportTasks(r *raftv1.ReportTasks) Result {
	for _, p := range r.GetStatuses() {
		st := StatusFromProto(p)
		as, ok := a.assigned[st.ID]
		if !ok || as.Epoch != st.Epoch || as.Node != st.Node {
			continue
		}
		t, ok := a.wanted(st.ID)
		if !ok || t.parked || t.status.Epoch != st.Epoch {
			continue
		}
		if st.State == ownership.Stopped {
			st.State = ownership.Unassigned // tasks are never STOPPED
		}
		if t.status.State == ownership.Failed && st.State == ownership.Paused {
			continue // FAILED stays, with its trace
		}
		if t.status == st {
			continue
		}
		t.status = st
		a.emit(Event{Kind: StatusChanged, Connector: st.ID.Connector, Task: st.ID, Node: st.Node, Epoch: st.Epoch, Text: string(st.State)})
	}
	return Result{}
}
