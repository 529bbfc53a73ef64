package state

import (
	"maps"
	"slices"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// ConfigToProto gives a configuration sorted by key, so that equal maps have equal bytes.
func ConfigToProto(config map[string]string) []*raftv1.KeyValue {
	out := make([]*raftv1.KeyValue, 0, len(config))
	for _, k := range slices.Sorted(maps.Keys(config)) {
		out = append(out, &raftv1.KeyValue{Key: k, Value: config[k]})
	}
	return out
}

// ConfigFromProto is the inverse of ConfigToProto.
func ConfigFromProto(kvs []*raftv1.KeyValue) map[string]string {
	out := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		out[kv.GetKey()] = kv.GetValue()
	}
	return out
}

// TaskIDToProto converts a task's name.
func TaskIDToProto(id ownership.TaskID) *raftv1.TaskID {
	return &raftv1.TaskID{
		Connector: id.Connector, Kind: raftv1.TaskKind(id.Kind), Topic: id.Topic, Group: id.Group, Table: id.Table,
	}
}

// TaskIDFromProto is the inverse of TaskIDToProto.
func TaskIDFromProto(id *raftv1.TaskID) ownership.TaskID {
	return ownership.TaskID{
		Connector: id.GetConnector(), Kind: ownership.Kind(id.GetKind()), Topic: id.GetTopic(), Group: id.GetGroup(),
		Table: id.GetTable(),
	}
}

// TaskToProto converts a task.
func TaskToProto(t ownership.Task) *raftv1.Task {
	return &raftv1.Task{Id: TaskIDToProto(t.ID), Partitions: t.Partitions, Topics: t.Topics}
}

// TaskFromProto is the inverse of TaskToProto.
func TaskFromProto(t *raftv1.Task) ownership.Task {
	return ownership.Task{ID: TaskIDFromProto(t.GetId()), Partitions: t.GetPartitions(), Topics: t.GetTopics()}
}

// TopicToProto converts a topic.
func TopicToProto(t ownership.Topic) *raftv1.Topic {
	return &raftv1.Topic{Name: t.Name, Id: t.ID, Partitions: t.Partitions}
}

// TopicFromProto is the inverse of TopicToProto.
func TopicFromProto(t *raftv1.Topic) ownership.Topic {
	return ownership.Topic{Name: t.GetName(), ID: t.GetId(), Partitions: t.GetPartitions()}
}

// StatusToProto converts a task's status; the load stays behind.
func StatusToProto(s ownership.TaskStatus) *raftv1.TaskStatus {
	return &raftv1.TaskStatus{
		Id: TaskIDToProto(s.ID), Node: s.Node, Epoch: s.Epoch, State: StateToProto(s.State), Trace: s.Trace,
	}
}

// StatusFromProto is the inverse of StatusToProto.
func StatusFromProto(s *raftv1.TaskStatus) ownership.TaskStatus {
	return ownership.TaskStatus{
		ID: TaskIDFromProto(s.GetId()), Node: s.GetNode(), Epoch: s.GetEpoch(), State: StateFromProto(s.GetState()),
		Trace: s.GetTrace(),
	}
}

var states = map[ownership.State]raftv1.State{
	ownership.Unassigned: raftv1.State_STATE_UNASSIGNED,
	ownership.Running:    raftv1.State_STATE_RUNNING,
	ownership.Paused:     raftv1.State_STATE_PAUSED,
	ownership.Stopped:    raftv1.State_STATE_STOPPED,
	ownership.Failed:     raftv1.State_STATE_FAILED,
	ownership.Restarting: raftv1.State_STATE_RESTARTING,
}

// StateToProto converts a state; unspecified where it is none of the closed list.
func StateToProto(s ownership.State) raftv1.State { return states[s] }

// StateFromProto is the inverse of StateToProto; UNASSIGNED for what is unknown, since the list is closed.
func StateFromProto(s raftv1.State) ownership.State {
	switch s {
	case raftv1.State_STATE_RUNNING:
		return ownership.Running
	case raftv1.State_STATE_PAUSED:
		return ownership.Paused
	case raftv1.State_STATE_STOPPED:
		return ownership.Stopped
	case raftv1.State_STATE_FAILED:
		return ownership.Failed
	case raftv1.State_STATE_RESTARTING:
		return ownership.Restarting
	default:
		return ownership.Unassigned
	}
}

// TargetToProto converts a target state.
func TargetToProto(t ownership.TargetState) raftv1.TargetState {
	switch t {
	case ownership.TargetRunning:
		return raftv1.TargetState_TARGET_STATE_RUNNING
	case ownership.TargetPaused:
		return raftv1.TargetState_TARGET_STATE_PAUSED
	case ownership.TargetStopped:
		return raftv1.TargetState_TARGET_STATE_STOPPED
	default:
		return raftv1.TargetState_TARGET_STATE_UNSPECIFIED
	}
}

// TargetFromProto is the inverse of TargetToProto; RUNNING where unspecified.
func TargetFromProto(t raftv1.TargetState) ownership.TargetState {
	switch t {
	case raftv1.TargetState_TARGET_STATE_PAUSED:
		return ownership.TargetPaused
	case raftv1.TargetState_TARGET_STATE_STOPPED:
		return ownership.TargetStopped
	default:
		return ownership.TargetRunning
	}
}
