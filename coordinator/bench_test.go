package coordinator

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

func percentile(ds []time.Duration, p int) float64 {
	slices.Sort(ds)
	return float64(ds[min(len(ds)-1, len(ds)*p/100)].Microseconds()) / 1000
}

// BenchmarkKill prints how long the tasks of a killed node stand still with the default timing: leader and followers
// in turn.
func BenchmarkKill(b *testing.B) {
	for _, who := range []string{"follower", "leader"} {
		b.Run(who, func(b *testing.B) {
			br := &broker{}
			br.set(ownership.Topic{Name: "a", Partitions: 12})
			k := newCluster(b, 3, br, func(_ int, o *Options) { o.Timing = Timing{} })
			k.startAll()
			k.voters(3)
			if _, err := k.nodes[0].c.Create(context.Background(), "c", nil, ownership.TargetRunning); err != nil {
				b.Fatal(err)
			}
			k.settled(13)
			var took []time.Duration
			for b.Loop() {
				victim := k.leader()
				if who == "follower" {
					for _, n := range k.nodes {
						if n.c.leading() == nil {
							victim = n
						}
					}
				}
				eventually(b, "the victim to have tasks", func() bool { return len(victim.tasks()) > 0 })
				k.settled(13)
				began := time.Now()
				victim.kill()
				k.settled(13)
				took = append(took, time.Since(began))
				victim.start()
				victim.ready()
				k.voters(3)
			}
			b.ReportMetric(percentile(took, 50), "ms-p50")
			b.ReportMetric(percentile(took, 99), "ms-p99")
		})
	}
}

// BenchmarkHandOver prints how long a task that is moved stands still in the coordinator's part of it: from the
// release of its owner to its appearance at the next.
func BenchmarkHandOver(b *testing.B) {
	br := &broker{}
	br.set(ownership.Topic{Name: "a", Partitions: 12})
	k := newCluster(b, 3, br, func(_ int, o *Options) { o.Timing = Timing{} })
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[0].c.Create(context.Background(), "c", nil, ownership.TargetRunning); err != nil {
		b.Fatal(err)
	}
	k.settled(13)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		n := k.nodes[i%3]
		eventually(b, "the node to have tasks", func() bool { return len(n.tasks()) > 0 })
		k.settled(13)
		began := time.Now()
		if err := n.c.Drain(context.Background(), n.opts.NodeID, true); err != nil {
			b.Fatal(err)
		}
		k.settled(13)
		took = append(took, time.Since(began))
		if err := n.c.Undrain(context.Background(), n.opts.NodeID); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(percentile(took, 50), "ms-p50")
	b.ReportMetric(percentile(took, 99), "ms-p99")
}

// BenchmarkWrite prints what a write costs that has to be on the disks of a majority.
func BenchmarkWrite(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprint(nodes, "-nodes"), func(b *testing.B) {
			k := newCluster(b, nodes, nil, func(_ int, o *Options) { o.Timing = Timing{} })
			k.startAll()
			k.voters(nodes)
			n := k.leader()
			for i := 0; b.Loop(); i++ {
				if _, _, err := n.c.Put(context.Background(), "c", map[string]string{"i": fmt.Sprint(i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkState prints the apply rate and the size of a snapshot at 10 000 partitions and 1 000 tables on 50 nodes.
func BenchmarkState(b *testing.B) {
	s := state.New()
	index := uint64(0)
	apply := func(cmd *raftv1.Command) {
		index++
		data, err := proto.Marshal(cmd)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := s.ApplyBytes(index, data); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 50 {
		apply(&raftv1.Command{Body: &raftv1.Command_RegisterMember{RegisterMember: &raftv1.RegisterMember{Id: fmt.Sprintf("node-%02d", i)}}})
	}
	apply(&raftv1.Command{Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{Name: "c", Mode: raftv1.PutConnector_MODE_CREATE}}})
	set := &raftv1.SetTasks{Connector: "c", Version: index}
	for t := range 1000 {
		name := fmt.Sprintf("shop.public.table%04d", t)
		set.Topics = append(set.Topics, &raftv1.Topic{Name: name, Partitions: 10})
		for p := range int32(10) {
			set.Tasks = append(set.Tasks, &raftv1.Task{
				Id: &raftv1.TaskID{Kind: raftv1.TaskKind_TASK_KIND_PARTITION, Topic: name, Group: p}, Partitions: []int32{p},
			})
		}
		set.Tasks = append(set.Tasks, &raftv1.Task{Id: &raftv1.TaskID{Kind: raftv1.TaskKind_TASK_KIND_TABLE, Table: "silver/" + name}, Topics: []string{name}})
	}
	apply(&raftv1.Command{Body: &raftv1.Command_SetTasks{SetTasks: set}})
	place := &raftv1.Place{}
	for i, t := range s.Placeable() {
		place.Moves = append(place.Moves, &raftv1.Place_Move{Task: state.TaskIDToProto(t.ID), Node: fmt.Sprintf("node-%02d", i%50)})
	}
	apply(&raftv1.Command{Body: &raftv1.Command_Place{Place: place}})
	all := s.Assignments()
	b.Run("apply-report", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			a := all[i%len(all)]
			apply(&raftv1.Command{Body: &raftv1.Command_ReportTasks{ReportTasks: &raftv1.ReportTasks{Statuses: []*raftv1.TaskStatus{{
				Id: state.TaskIDToProto(a.Task.ID), Node: a.Node, Epoch: a.Epoch, State: raftv1.State(2 + i%2),
			}}}}})
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		var size countWriter
		for b.Loop() {
			size = 0
			if err := s.Save(&size); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(size)/1e6, "MB")
	})
}

type countWriter int

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}
