package sim

import (
	"fmt"
	"maps"
	"slices"

	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

func key(topic string, p int32) string { return fmt.Sprintf("%s/%d", topic, p) }

func (w *World) progress(topic string, p int32) *progress {
	k := key(topic, p)
	if w.table[k] == nil {
		w.table[k] = &progress{}
	}
	return w.table[k]
}

// owned is what the worker's port gives.
func (w *World) owned(n *node) []ownership.Assignment {
	m, ok := n.state.Member(n.id)
	if !ok || m.Incarnation != n.life || !w.holds(n) {
		return nil
	}
	return n.state.Owned(n.id)
}

// work is the worker: start, go on, finish, release.
func (w *World) work(n *node) {
	if w.rnd.IntN(2) == 0 {
		mine := map[ownership.TaskID]ownership.Assignment{}
		for _, a := range w.owned(n) {
			mine[a.Task.ID] = a
		}
		for _, id := range ids(n.running) {
			a, ok := mine[id]
			r := n.running[id]
			switch {
			case !ok || a.Epoch != r.epoch:
				// Not ours any more: dropped at once, without a release. A commit on its way may land yet.
				w.abandon(n, id)
			case a.Revoked:
				r.stopped, r.gap = true, n.gap
			default:
				r.gap = n.gap
			}
		}
		for id, a := range mine {
			if a.Revoked || n.running[id] != nil || n.release[id] == a.Epoch {
				if a.Revoked && n.running[id] == nil {
					n.release[id] = a.Epoch
				}
				continue
			}
			r := &run{epoch: a.Epoch, gap: n.gap, task: a.Task, next: map[int32]int64{}}
			for _, p := range a.Task.Partitions {
				r.next[p] = w.progress(id.Topic, p).next // D1: progress is in the table
			}
			n.running[id] = r
		}
	}
	for _, id := range ids(n.running) {
		r := n.running[id]
		switch {
		case r.flight != nil:
		case r.stopped:
			delete(n.running, id)
			n.release[id] = r.epoch
		case w.holds(n) && w.rnd.IntN(4) == 0:
			w.launch(r)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(n.release), ownership.TaskID.Compare) {
		if w.leader < 0 || !w.reaches(n, w.nodes[w.leader]) || w.rnd.IntN(3) == 0 {
			continue
		}
		if w.propose(&raftv1.Command{Body: &raftv1.Command_Release{Release: &raftv1.Release{
			Node: n.id, Items: []*raftv1.Release_Item{{Task: state.TaskIDToProto(id), Epoch: n.release[id]}},
		}}}) {
			delete(n.release, id)
		}
	}
}

// launch sends a commit of the next batch towards the table.
func (w *World) launch(r *run) {
	f := &flight{lands: w.now + 5 + w.rnd.Int64N(150), from: map[int32]int64{}, to: map[int32]int64{}, answered: w.rnd.IntN(10) > 0}
	for _, p := range r.task.Partitions {
		f.from[p], f.to[p] = r.next[p], r.next[p]+int64(1+w.rnd.IntN(5))
	}
	r.flight = f
}

func (w *World) abandon(n *node, id ownership.TaskID) {
	if f := n.running[id].flight; f != nil && w.rnd.IntN(2) == 0 {
		w.orphans = append(w.orphans, orphan{id.Topic, f})
	}
	delete(n.running, id)
}

// land lets commits reach the table, whose log decides (D2).
func (w *World) land() {
	rest := w.orphans[:0]
	for _, o := range w.orphans {
		if w.now >= o.f.lands {
			w.commit(o.topic, o.f)
		} else {
			rest = append(rest, o)
		}
	}
	w.orphans = rest
	for _, n := range w.nodes {
		for _, id := range ids(n.running) {
			r := n.running[id]
			if r.flight == nil || w.now < r.flight.lands {
				continue
			}
			// A stopped process has sent its request; only the answer waits.
			if !r.flight.answered {
				w.faults["unknown outcome"]++
				if w.rnd.IntN(2) == 0 { // it may not have arrived at all
					w.commit(id.Topic, r.flight)
				}
				for p := range r.next {
					r.next[p] = w.progress(id.Topic, p).next // D3: read back
				}
			} else if w.commit(id.Topic, r.flight) {
				r.next = r.flight.to
			} else {
				w.faults["refused commit"]++
				for p := range r.next {
					r.next[p] = w.progress(id.Topic, p).next
				}
			}
			r.flight = nil
		}
	}
}

// commit is the compare and set of the table's log, of all partitions or none.
func (w *World) commit(topic string, f *flight) bool {
	for p, from := range f.from {
		if w.progress(topic, p).next != from {
			return false
		}
	}
	for p, to := range f.to {
		w.progress(topic, p).next = to
		w.progress(topic, p).commits++
	}
	return true
}

func ids(m map[ownership.TaskID]*run) []ownership.TaskID {
	return slices.SortedFunc(maps.Keys(m), ownership.TaskID.Compare)
}
