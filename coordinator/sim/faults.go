package sim

import (
	"fmt"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// disturb does one of the things that happen to clusters, now and then.
func (w *World) disturb() {
	if w.rnd.IntN(40) > 0 {
		return
	}
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(12) {
	case 0:
		if n.up {
			w.fault("kill", n)
			w.crash(n)
		}
	case 1, 2:
		if !n.up {
			w.fault("restart", n)
			w.boot(n)
		}
	case 3:
		if n.up {
			w.fault("stop", n)
			n.stalled = w.now + w.rnd.Int64N(6000)
		}
	case 4:
		w.fault("cut", n)
		n.cut = true
	case 5, 6:
		if n.cut {
			w.fault("heal", n)
			n.cut = false
		}
	case 7:
		n.lag = w.rnd.IntN(30)
		w.fault("lag", n)
	case 8:
		if n.up { // in the same instant, before anybody notices
			w.fault("kill and restart", n)
			w.crash(n)
			w.boot(n)
		}
	case 9:
		w.fault("drain", n)
		w.propose(&raftv1.Command{Body: &raftv1.Command_DrainMember{DrainMember: &raftv1.DrainMember{Id: n.id, Draining: w.rnd.IntN(2) == 0}}})
	case 10:
		w.partitions = int32(1 + w.rnd.IntN(10))
		w.faults["partitions"]++
		w.configure()
	default:
		w.operate()
	}
}

func (w *World) fault(what string, n *node) {
	w.faults[what]++
	w.say("%s %s", what, n.id)
}

func (w *World) crash(n *node) {
	for _, id := range ids(n.running) {
		w.abandon(n, id)
	}
	n.up = false
	n.lease = 0
}

// operate is an operator's command.
func (w *World) operate() {
	w.faults["operator"]++
	switch w.rnd.IntN(5) {
	case 0:
		w.propose(&raftv1.Command{Body: &raftv1.Command_DeleteConnector{DeleteConnector: &raftv1.DeleteConnector{Name: "c"}}})
	case 1:
		w.propose(&raftv1.Command{Body: &raftv1.Command_SetTarget{SetTarget: &raftv1.SetTarget{
			Name: "c", Target: raftv1.TargetState(1 + w.rnd.IntN(3)),
		}}})
	case 2:
		w.propose(&raftv1.Command{Body: &raftv1.Command_Restart{Restart: &raftv1.Restart{Name: "c", IncludeTasks: true}}})
	default:
		w.configure()
	}
}

// configure makes sure that there is a connector, under another configuration, and sets its tasks as discovery would.
func (w *World) configure() {
	w.propose(&raftv1.Command{Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
		Name: "c", Mode: raftv1.PutConnector_MODE_UPSERT, Config: []*raftv1.KeyValue{{Key: "v", Value: fmt.Sprint(w.rnd.IntN(3))}},
	}}})
	w.discover()
}

func (w *World) discover() {
	if w.leader < 0 {
		return
	}
	c, ok := w.nodes[w.leader].state.Connector("c")
	if !ok {
		return
	}
	group := int32(1 + w.rnd.IntN(3))
	cmd := &raftv1.SetTasks{Connector: "c", Version: c.Version, Topics: []*raftv1.Topic{{Name: "t", Partitions: w.partitions}}}
	for p := int32(0); p < w.partitions; p += group {
		t := ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.PartitionTask, Topic: "t", Group: p}}
		for q := p; q < min(p+group, w.partitions); q++ {
			t.Partitions = append(t.Partitions, q)
		}
		cmd.Tasks = append(cmd.Tasks, state.TaskToProto(t))
	}
	w.propose(&raftv1.Command{Body: &raftv1.Command_SetTasks{SetTasks: cmd}})
}

// Heal ends all faults and sees to it that there is a connector that should run.
func (w *World) Heal() {
	w.say("healed")
	for _, n := range w.nodes {
		n.cut, n.lag = false, 0
		n.stalled = min(n.stalled, w.now)
		if !n.up {
			w.boot(n)
		}
	}
}

// Settle asks for a running connector on undrained nodes; it says whether the cluster has taken that in.
func (w *World) Settle() bool {
	for _, n := range w.nodes {
		if !w.propose(&raftv1.Command{Body: &raftv1.Command_DrainMember{DrainMember: &raftv1.DrainMember{Id: n.id}}}) {
			return false
		}
	}
	w.configure()
	w.propose(&raftv1.Command{Body: &raftv1.Command_SetTarget{SetTarget: &raftv1.SetTarget{Name: "c", Target: raftv1.TargetState_TARGET_STATE_RUNNING}}})
	w.discover()
	return true
}

// Settled says whether every task runs exactly once.
func (w *World) Settled() bool {
	if w.leader < 0 {
		return false
	}
	tasks, ok := w.nodes[w.leader].state.Tasks("c")
	if !ok || len(tasks) == 0 {
		return false
	}
	for _, t := range tasks {
		n := 0
		for _, x := range w.nodes {
			if r := x.running[t.ID]; r != nil && w.claims(x, r) && !r.stopped {
				n++
			}
		}
		if n != 1 {
			return false
		}
	}
	return true
}

// check is what must hold at every moment.
func (w *World) check() error {
	running := map[ownership.TaskID]*node{}
	held := map[int32]*node{}
	for _, n := range w.nodes {
		if !w.holds(n) {
			continue
		}
		for _, id := range ids(n.running) {
			r := n.running[id]
			if !w.claims(n, r) {
				continue
			}
			if o := running[id]; o != nil && (!w.forced || o.running[id].epoch == r.epoch) {
				return fmt.Errorf("%s (epoch %d) and %s (epoch %d) both run %s on valid leases", o.id, o.running[id].epoch, n.id, r.epoch, id)
			}
			running[id] = n
			for _, p := range r.task.Partitions {
				if o := held[p]; o != nil && !w.forced {
					return fmt.Errorf("partition %d is read on %s and on %s, on valid leases", p, o.id, n.id)
				}
				held[p] = n
			}
		}
	}
	if w.leader >= 0 {
		seen := map[int32]ownership.TaskID{}
		for _, a := range w.nodes[w.leader].state.Assignments() {
			for _, p := range a.Task.Partitions {
				if by, ok := seen[p]; ok {
					return fmt.Errorf("partition %d is assigned through %s and %s", p, by, a.Task.ID)
				}
				seen[p] = a.Task.ID
			}
		}
	}
	return nil
}
