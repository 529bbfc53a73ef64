package state

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// Result is the answer to whoever proposed a command.
type Result struct {
	// Err is of the closed list that Code knows; the command then changed nothing.
	Err error
	// Index is that of the command that had the effect: an earlier one where this was a repetition.
	Index uint64
	// Created is true of a PutConnector that made a new connector.
	Created bool
	// Connector as a PutConnector has left it; nil of a repetition.
	Connector *ownership.Connector
	// What a restart has selected.
	RestartedConnector bool
	RestartedTasks     []ownership.TaskID
}

// Kind of an event.
type Kind uint8

// The kinds of events.
const (
	// ConnectorChanged: created, configured, targeted, restarted, deleted.
	ConnectorChanged Kind = iota + 1
	// TasksChanged: the set of tasks or of topics of a connector.
	TasksChanged
	// Assigned: Task has Epoch on Node.
	Assigned
	// Revoked: Node is to release Task.
	Revoked
	// Released: Node has Task no more.
	Released
	// MemberChanged: registered, marked, drained, removed.
	MemberChanged
	// StatusChanged: of a connector or task; Text is the new state.
	StatusChanged
	// TopicRecreated: Text is the topic's name.
	TopicRecreated
)

// Event says what a command has changed: for logs, metrics and for waking whoever waits.
type Event struct {
	Kind      Kind
	Connector string
	Task      ownership.TaskID
	Node      string
	Epoch     uint64
	Text      string
}

// applier is one Apply.
type applier struct {
	*State
	index  uint64
	events []Event
}

func (a *applier) emit(e Event) { a.events = append(a.events, e) }

// ApplyBytes decodes one entry of the log and applies it.
func (s *State) ApplyBytes(index uint64, data []byte) (Result, []Event, error) {
	cmd := new(raftv1.Command)
	if err := proto.Unmarshal(data, cmd); err != nil {
		return Result{}, nil, fmt.Errorf("decode command at raft index %d: %w", index, err)
	}
	return s.Apply(index, cmd)
}

// Apply applies one command. An error means that this node cannot know what the command does: it has changed nothing
// and must not go on (D10); everything else, errors for the proposer included, is in the result.
func (s *State) Apply(index uint64, cmd *raftv1.Command) (Result, []Event, error) {
	if cmd.GetMinVersion() > CommandVersion {
		return Result{}, nil, fmt.Errorf("command at raft index %d needs command version %d, this binary knows up to %d: %w",
			index, cmd.GetMinVersion(), CommandVersion, ownership.ErrTooNew)
	}
	if cmd.GetBody() == nil || len(cmd.ProtoReflect().GetUnknown()) > 0 {
		return Result{}, nil, fmt.Errorf("command at raft index %d is of a kind that this binary does not know: %w",
			index, ownership.ErrTooNew)
	}
	if v := cmd.GetRatchetVersion().GetVersion(); v > CommandVersion {
		return Result{}, nil, fmt.Errorf("the cluster goes to command version %d at raft index %d, this binary knows up to %d: %w",
			v, index, CommandVersion, ownership.ErrTooNew)
	}
	s.index = index
	if id := cmd.GetRequestId(); id != "" {
		if o, ok := s.requests[id]; ok {
			return o.result(), nil, nil
		}
	}
	a := &applier{State: s, index: index}
	res := a.dispatch(cmd)
	res.Index = index
	if id := cmd.GetRequestId(); id != "" {
		s.remember(id, res)
	}
	return res, a.events, nil
}

func (a *applier) dispatch(cmd *raftv1.Command) Result {
	switch b := cmd.GetBody().(type) {
	case *raftv1.Command_InitCluster:
		if a.clusterID == "" {
			a.clusterID = b.InitCluster.GetClusterId()
			a.feature = max(a.feature, 1)
			a.emit(Event{Kind: MemberChanged})
		}
		return Result{}
	case *raftv1.Command_RatchetVersion:
		a.feature = max(a.feature, b.RatchetVersion.GetVersion())
		return Result{}
	case *raftv1.Command_PutConnector:
		return a.putConnector(b.PutConnector)
	case *raftv1.Command_DeleteConnector:
		return a.deleteConnector(b.DeleteConnector)
	case *raftv1.Command_SetTarget:
		return a.setTarget(b.SetTarget)
	case *raftv1.Command_Restart:
		return a.restart(b.Restart)
	case *raftv1.Command_RestartTask:
		return a.restartTask(b.RestartTask)
	case *raftv1.Command_RegisterMember:
		return a.registerMember(b.RegisterMember)
	case *raftv1.Command_MarkMember:
		return a.markMember(b.MarkMember)
	case *raftv1.Command_DrainMember:
		return a.drainMember(b.DrainMember)
	case *raftv1.Command_RemoveMember:
		return a.removeMember(b.RemoveMember)
	case *raftv1.Command_SetTasks:
		return a.setTasks(b.SetTasks)
	case *raftv1.Command_SetConnectorStatus:
		return a.setConnectorStatus(b.SetConnectorStatus)
	case *raftv1.Command_Place:
		return a.place(b.Place)
	case *raftv1.Command_Release:
		return a.release(b.Release)
	case *raftv1.Command_ReportTasks:
		return a.reportTasks(b.ReportTasks)
	case *raftv1.Command_AddActiveTopics:
		return a.addActiveTopics(b.AddActiveTopics)
	case *raftv1.Command_ResetActiveTopics:
		return a.resetActiveTopics(b.ResetActiveTopics)
	default:
		// Apply has refused what has no body; a body that is missing here is a fault of this switch, which
		// TestEveryCommandIsHandled finds.
		return Result{Err: fmt.Errorf("command %T: %w", b, ownership.ErrTooNew)}
	}
}

func (s *State) remember(id string, r Result) {
	o := Outcome{Index: r.Index, Code: Code(r.Err), Created: r.Created}
	if r.Err != nil {
		o.Message = r.Err.Error()
	}
	s.requests[id] = o
	s.order = append(s.order, id)
	if len(s.order) > requestsKept {
		delete(s.requests, s.order[0])
		s.order = s.order[1:]
	}
}

func (o Outcome) result() Result {
	return Result{Err: FromCode(o.Code, o.Message), Index: o.Index, Created: o.Created}
}
