package state

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// randomCommand draws a command that has a fair chance of meaning something.
func randomCommand(t *rapid.T, s *State, n int) *raftv1.Command {
	nodes := []string{"n1", "n2", "n3", "n4"}
	conns := []string{"a", "b"}
	node := rapid.SampledFrom(nodes).Draw(t, "node")
	conn := rapid.SampledFrom(conns).Draw(t, "connector")
	cmd := &raftv1.Command{MinVersion: 1}
	if rapid.IntRange(0, 3).Draw(t, "with id") == 0 {
		cmd.RequestId = fmt.Sprint("r", rapid.IntRange(0, 20).Draw(t, "request"))
	}
	assigned := func() *ownership.Assignment {
		as := s.Assignments()
		if len(as) == 0 {
			return nil
		}
		return &as[rapid.IntRange(0, len(as)-1).Draw(t, "assignment")]
	}
	switch rapid.IntRange(0, 15).Draw(t, "kind") {
	case 0:
		cmd.Body = &raftv1.Command_InitCluster{InitCluster: &raftv1.InitCluster{ClusterId: fmt.Sprint("c", n)}}
	case 1, 2:
		v, _ := s.Connector(conn)
		cmd.Body = &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
			Name: conn, Mode: raftv1.PutConnector_Mode(rapid.IntRange(1, 3).Draw(t, "mode")), IfVersion: v.Version,
			Config:  []*raftv1.KeyValue{{Key: "k", Value: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "value"))}},
			Initial: raftv1.TargetState(rapid.IntRange(0, 3).Draw(t, "initial")),
		}}
	case 3:
		cmd.Body = &raftv1.Command_DeleteConnector{DeleteConnector: &raftv1.DeleteConnector{Name: conn}}
	case 4:
		cmd.Body = &raftv1.Command_SetTarget{SetTarget: &raftv1.SetTarget{Name: conn, Target: raftv1.TargetState(rapid.IntRange(1, 3).Draw(t, "target"))}}
	case 5:
		cmd.Body = &raftv1.Command_Restart{Restart: &raftv1.Restart{
			Name: conn, IncludeTasks: rapid.Bool().Draw(t, "tasks"), OnlyFailed: rapid.Bool().Draw(t, "failed"),
		}}
	case 6, 7:
		cmd.Body = &raftv1.Command_RegisterMember{RegisterMember: &raftv1.RegisterMember{
			Id: node, Incarnation: fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "life")), Versions: &raftv1.Versions{Command: 1},
		}}
	case 8:
		m, _ := s.Member(node)
		cmd.Body = &raftv1.Command_MarkMember{MarkMember: &raftv1.MarkMember{Id: node, Incarnation: m.Incarnation, Alive: rapid.Bool().Draw(t, "alive")}}
	case 9:
		cmd.Body = &raftv1.Command_DrainMember{DrainMember: &raftv1.DrainMember{
			Id: node, Draining: rapid.Bool().Draw(t, "on"), Leaving: rapid.Bool().Draw(t, "leaving"),
		}}
	case 10:
		cmd.Body = &raftv1.Command_RemoveMember{RemoveMember: &raftv1.RemoveMember{Id: node}}
	case 11, 12:
		v, _ := s.Connector(conn)
		st := &raftv1.SetTasks{Connector: conn, Version: v.Version}
		parts := rapid.IntRange(0, 5).Draw(t, "partitions")
		group := rapid.IntRange(1, 3).Draw(t, "group")
		st.Topics = []*raftv1.Topic{{Name: "t", Id: rapid.SampledFrom([]string{"x", "x", "x", "y", ""}).Draw(t, "topic id"), Partitions: int32(parts)}}
		if parts == 0 {
			st.Topics = nil
		}
		for p := 0; p < parts; p += group {
			task := &raftv1.Task{Id: &raftv1.TaskID{Kind: raftv1.TaskKind_TASK_KIND_PARTITION, Topic: "t", Group: int32(p)}}
			for q := p; q < min(p+group, parts); q++ {
				task.Partitions = append(task.Partitions, int32(q))
			}
			st.Tasks = append(st.Tasks, task)
		}
		st.Tasks = append(st.Tasks, &raftv1.Task{Id: &raftv1.TaskID{Kind: raftv1.TaskKind_TASK_KIND_TABLE, Table: "silver/t"}, Topics: []string{"t"}})
		cmd.Body = &raftv1.Command_SetTasks{SetTasks: st}
	case 13:
		place := &raftv1.Place{}
		for _, task := range s.Placeable() {
			a, _ := s.Assignment(task.ID)
			place.Moves = append(place.Moves, &raftv1.Place_Move{
				Task: TaskIDToProto(task.ID), Epoch: a.Epoch, Node: rapid.SampledFrom(nodes).Draw(t, "to"),
			})
		}
		cmd.Body = &raftv1.Command_Place{Place: place}
	case 14:
		rel := &raftv1.Release{}
		if a := assigned(); a != nil {
			rel.Items = []*raftv1.Release_Item{{Task: TaskIDToProto(a.Task.ID), Epoch: a.Epoch}}
			rel.Node = rapid.SampledFrom([]string{a.Node, "", node}).Draw(t, "by")
		}
		cmd.Body = &raftv1.Command_Release{Release: rel}
	default:
		rep := &raftv1.ReportTasks{}
		if a := assigned(); a != nil {
			rep.Statuses = []*raftv1.TaskStatus{{
				Id: TaskIDToProto(a.Task.ID), Node: a.Node, Epoch: a.Epoch, State: raftv1.State(rapid.IntRange(0, 6).Draw(t, "state")),
			}}
		}
		cmd.Body = &raftv1.Command_ReportTasks{ReportTasks: rep}
	}
	return cmd
}

// check fails where an invariant of doc.go does not hold.
func check(t *rapid.T, s *State, epochs map[ownership.TaskID]uint64) {
	held := map[partition]ownership.TaskID{}
	for _, a := range s.Assignments() {
		id := a.Task.ID
		for _, p := range a.Task.Partitions {
			key := partition{id.Connector, id.Topic, p}
			if by, ok := held[key]; ok {
				t.Fatalf("partition %v is held by %s and %s", key, by, id)
			}
			held[key] = id
		}
		m, ok := s.Member(a.Node)
		if !ok || !m.Alive {
			t.Fatalf("task %s belongs to %s, which is not alive", id, a.Node)
		}
		if a.Revoked && a.Next == a.Node {
			t.Fatalf("task %s is revoked from %s for itself", id, a.Node)
		}
		if a.Epoch < epochs[id] || a.Epoch > s.Index() {
			t.Fatalf("task %s has epoch %d after %d at index %d", id, a.Epoch, epochs[id], s.Index())
		}
		epochs[id] = a.Epoch
	}
	if len(held) != len(s.held) {
		t.Fatalf("%d partitions are held, %d are noted", len(held), len(s.held))
	}
	for _, c := range s.Connectors() {
		st, _ := s.Status(c.Name)
		if c.Target == ownership.TargetStopped && (st.State != ownership.Stopped || len(st.Tasks) != 0) {
			t.Fatalf("stopped connector %s is %+v", c.Name, st)
		}
		for _, ts := range st.Tasks {
			if ts.State == ownership.Stopped || ts.State == "" {
				t.Fatalf("task %s is %q", ts.ID, ts.State)
			}
			if ts.Epoch != 0 {
				a, ok := s.Assignment(ts.ID)
				if !ok || a.Epoch != ts.Epoch || a.Node != ts.Node {
					t.Fatalf("status %+v is not about the assignment %+v", ts, a)
				}
			}
		}
	}
}

func save(t interface{ Fatal(...any) }, s *State) []byte {
	var buf bytes.Buffer
	if err := s.Save(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestLogAndSnapshotAgree: applying a log gives the same bytes on every node, also on one that has restored a snapshot
// from anywhere in the log and applied the rest; and invariants hold after every command.
func TestLogAndSnapshotAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, twin := New(), New()
		epochs := map[ownership.TaskID]uint64{}
		n := rapid.IntRange(1, 120).Draw(t, "commands")
		cut := rapid.IntRange(0, n).Draw(t, "snapshot after")
		var restored *State
		for i := range n {
			if i == cut {
				var err error
				if restored, err = Load(bytes.NewReader(save(t, s))); err != nil {
					t.Fatal(err)
				}
			}
			data, err := proto.Marshal(randomCommand(t, s, i))
			if err != nil {
				t.Fatal(err)
			}
			index := uint64(i*2 + 3)
			for _, x := range []*State{s, twin, restored} {
				if x == nil {
					continue
				}
				if _, _, err := x.ApplyBytes(index, data); err != nil {
					t.Fatal(err)
				}
			}
			check(t, s, epochs)
		}
		want := save(t, s)
		if !bytes.Equal(want, save(t, twin)) {
			t.Fatal("two nodes with the same log hold different states")
		}
		if restored != nil && !bytes.Equal(want, save(t, restored)) {
			t.Fatal("a node that restored a snapshot holds another state")
		}
	})
}

func TestUnknownCommandsStopTheNode(t *testing.T) {
	t.Parallel()
	s := New()
	for name, data := range map[string][]byte{
		"a command of a number that is not known": {0x08, 1, 0x92, 0x3f, 0x00}, // field 1010
		"a newer version":                         {0x08, CommandVersion + 1, 0x92, 0x01, 0x00},
		"no body":                                 {0x08, 1},
	} {
		if _, _, err := s.ApplyBytes(7, data); !errors.Is(err, ownership.ErrTooNew) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := s.ApplyBytes(7, []byte{0xff}); err == nil {
		t.Error("garbage was applied")
	}
	data, _ := proto.Marshal(&raftv1.Command{Body: &raftv1.Command_RatchetVersion{RatchetVersion: &raftv1.RatchetVersion{Version: CommandVersion + 1}}})
	if _, _, err := s.ApplyBytes(7, data); !errors.Is(err, ownership.ErrTooNew) {
		t.Errorf("ratchet beyond what is known: %v", err)
	}
	if s.Index() != 0 {
		t.Error("a refused command moved the state")
	}
}

func TestEveryCommandIsHandled(t *testing.T) {
	t.Parallel()
	oneof := (&raftv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("body")
	for i := range oneof.Fields().Len() {
		f := oneof.Fields().Get(i)
		cmd := &raftv1.Command{}
		m := cmd.ProtoReflect()
		m.Set(f, protoreflect.ValueOfMessage(m.NewField(f).Message()))
		if res, _, err := New().Apply(1, cmd); err != nil || errors.Is(res.Err, ownership.ErrTooNew) {
			t.Errorf("%s: %v, %v", f.Name(), res.Err, err)
		}
	}
}

func TestRequestsActOnce(t *testing.T) {
	t.Parallel()
	s := New()
	put := func(index uint64, id string) Result {
		res, _, err := s.Apply(index, &raftv1.Command{RequestId: id, Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
			Name: "a", Mode: raftv1.PutConnector_MODE_CREATE,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	first := put(1, "x")
	again := put(2, "x")
	if first.Err != nil || again.Err != nil || !again.Created || again.Index != 1 {
		t.Fatalf("%+v, then %+v", first, again)
	}
	for i := range 3 {
		if res := put(uint64(3+i), "y"); !errors.Is(res.Err, ownership.ErrExists) || res.Index != 3 {
			t.Fatalf("%+v", res)
		}
	}
	for i := range 2 * requestsKept {
		put(uint64(100+i), fmt.Sprint(i))
	}
	if len(s.requests) != requestsKept || len(s.order) != requestsKept {
		t.Fatalf("%d requests are remembered", len(s.requests))
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	s := New()
	for i := range 30 {
		if _, _, err := s.Apply(uint64(i+1), &raftv1.Command{Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
			Name: fmt.Sprint("c", i), Mode: raftv1.PutConnector_MODE_UPSERT, Config: []*raftv1.KeyValue{{Key: "k", Value: "v"}},
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	good := save(t, s)
	if _, err := Load(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x55
		if x, err := Load(bytes.NewReader(bad)); err == nil && !bytes.Equal(save(t, x), good) {
			t.Fatalf("byte %d of %d was changed and nobody noticed", i, len(good))
		}
		if _, err := Load(bytes.NewReader(good[:i])); err == nil {
			t.Fatalf("a snapshot of %d of %d bytes was accepted", i, len(good))
		}
	}
}

// TestNoClockNoChance: D10, by the imports.
func TestNoClockNoChance(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range parsed.Imports {
			for _, no := range []string{`"time"`, `"math/rand`, `"crypto/rand"`, `"os"`, `"net`, `"sync`, `"context"`, `"runtime`} {
				if strings.HasPrefix(imp.Path.Value, no) {
					t.Errorf("%s imports %s: the replicated state may depend on its commands only (D10)", f.Name(), imp.Path.Value)
				}
			}
		}
	}
}
