package placement

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"sluice.io/sluice/internal/ownership"
)

// world is what the data files script.
type world struct {
	nodes   map[string]bool // draining
	tasks   []ownership.Task
	loads   map[ownership.TaskID]int64
	current map[ownership.TaskID]ownership.Assignment
	epoch   uint64
}

func (w *world) input(rebalance bool) Input {
	in := Input{Tasks: w.tasks, Loads: w.loads, Rebalance: rebalance}
	for id, draining := range w.nodes {
		in.Nodes = append(in.Nodes, Node{ID: id, Draining: draining})
	}
	in.Current = slices.Collect(maps.Values(w.current))
	return in
}

// carry executes moves as hand-over would.
func (w *world) carry(moves []Move) {
	w.epoch++
	byID := make(map[ownership.TaskID]ownership.Task, len(w.tasks))
	for _, t := range w.tasks {
		byID[t.ID] = t
	}
	for _, mv := range moves {
		w.current[mv.Task] = ownership.Assignment{Task: byID[mv.Task], Node: mv.To, Epoch: w.epoch}
	}
}

func (w *world) picture() string {
	byNode := map[string][]string{}
	for n := range w.nodes {
		byNode[n] = nil
	}
	sorted := slices.Collect(maps.Values(w.current))
	ownership.SortAssignments(sorted)
	for _, a := range sorted {
		s := a.Task.ID.String()
		if a.Revoked {
			s += ">" + a.Next
		}
		byNode[a.Node] = append(byNode[a.Node], s)
	}
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(byNode)) {
		fmt.Fprintf(&b, "%s (%d):", n, len(byNode[n]))
		// Groups of one topic are listed in one word.
		var prefix string
		for _, s := range byNode[n] {
			if i := strings.LastIndex(s, "/"); i > 0 && strings.Contains(s, "/p/") {
				if s[:i] == prefix {
					b.WriteString("," + s[i+1:])
					continue
				}
				prefix = s[:i]
			} else {
				prefix = ""
			}
			b.WriteString(" " + s)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata/plans", func(t *testing.T, path string) {
		w := &world{nodes: map[string]bool{}, loads: map[ownership.TaskID]int64{}, current: map[ownership.TaskID]ownership.Assignment{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "nodes": // nodes n1 n2 n3
				old := w.nodes
				w.nodes = map[string]bool{}
				for _, a := range d.CmdArgs {
					w.nodes[a.Key] = old[a.Key]
				}
				for id, a := range w.current {
					if _, ok := w.nodes[a.Node]; !ok {
						delete(w.current, id) // the state takes from the dead
					}
				}
				return ""
			case "drain":
				for _, a := range d.CmdArgs {
					w.nodes[a.Key] = true
				}
				return ""
			case "undrain":
				for _, a := range d.CmdArgs {
					w.nodes[a.Key] = false
				}
				return ""
			case "topic": // topic connector name partitions: with its table
				c, name := d.CmdArgs[0].Key, d.CmdArgs[1].Key
				n, err := strconv.Atoi(d.CmdArgs[2].Key)
				if err != nil {
					t.Fatal(err)
				}
				w.tasks = slices.DeleteFunc(w.tasks, func(t ownership.Task) bool {
					return t.ID.Connector == c && (t.ID.Topic == name || t.ID.Table == "silver/"+name)
				})
				for p := range int32(n) {
					w.tasks = append(w.tasks, ownership.Task{
						ID:         ownership.TaskID{Connector: c, Kind: ownership.PartitionTask, Topic: name, Group: p},
						Partitions: []int32{p},
					})
				}
				w.tasks = append(w.tasks, ownership.Task{
					ID: ownership.TaskID{Connector: c, Kind: ownership.TableTask, Table: "silver/" + name}, Topics: []string{name},
				})
				return ""
			case "load": // one task and its load per line
				for line := range strings.Lines(d.Input) {
					id, load, _ := strings.Cut(strings.TrimSpace(line), " ")
					for _, t := range w.tasks {
						if t.ID.String() == id {
							w.loads[t.ID], _ = strconv.ParseInt(load, 10, 64)
						}
					}
				}
				return ""
			case "revoke": // revoke task next
				for id, a := range w.current {
					if id.String() == d.CmdArgs[0].Key {
						a.Revoked, a.Next = true, d.CmdArgs[1].Key
						w.current[id] = a
					}
				}
				return ""
			case "place": // per line a node and tasks that it has
				w.epoch++
				for line := range strings.Lines(d.Input) {
					f := strings.Fields(line)
					for _, t := range w.tasks {
						if slices.Contains(f[1:], t.ID.String()) {
							w.current[t.ID] = ownership.Assignment{Task: t, Node: f[0], Epoch: w.epoch}
						}
					}
				}
				return ""
			case "plan", "rebalance":
				moves := Plan(w.input(d.Cmd == "rebalance"))
				var b strings.Builder
				count := map[string]int{}
				for _, mv := range moves {
					count[mv.Why]++
					if mv.From != "" {
						fmt.Fprintf(&b, "%s: %s -> %s (%s)\n", mv.Task, mv.From, mv.To, mv.Why)
					}
				}
				if count["new"] > 0 {
					fmt.Fprintf(&b, "%d new\n", count["new"])
				}
				w.carry(moves)
				return b.String() + w.picture()
			default:
				t.Fatalf("unknown command %s", d.Cmd)
				return ""
			}
		})
	})
}

// TestPlanProperties: whatever the world, a plan leaves nothing homeless, empties draining nodes, takes nothing from others unless it is to balance them, does not touch what
// is on its way, is the same twice, and settles: after it has been carried out there is nothing more to do.
func TestPlanProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{nodes: map[string]bool{}, loads: map[ownership.TaskID]int64{}, current: map[ownership.TaskID]ownership.Assignment{}}
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			w.nodes[fmt.Sprint("n", i)] = i > 0 && rapid.IntRange(0, 3).Draw(t, "draining") == 0
		}
		for topic := range rapid.IntRange(1, 5).Draw(t, "topics") {
			name := fmt.Sprint("t", topic)
			for p := range int32(rapid.IntRange(1, 12).Draw(t, "partitions")) {
				w.tasks = append(w.tasks, ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.PartitionTask, Topic: name, Group: p}})
			}
			w.tasks = append(w.tasks, ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: name}, Topics: []string{name}})
		}
		fixed := map[ownership.TaskID]bool{}
		for _, task := range w.tasks {
			if rapid.Bool().Draw(t, "measured") {
				w.loads[task.ID] = rapid.Int64Range(0, 1<<40).Draw(t, "load")
			}
			if rapid.Bool().Draw(t, "owned") {
				a := ownership.Assignment{Task: task, Node: fmt.Sprint("n", rapid.IntRange(0, 7).Draw(t, "owner")), Epoch: 1}
				if _, ok := w.nodes[a.Node]; !ok {
					continue
				}
				if rapid.IntRange(0, 5).Draw(t, "revoked") == 0 {
					a.Revoked, a.Next = true, "n0"
					fixed[task.ID] = true
				}
				w.current[task.ID] = a
			}
		}
		in := w.input(true)
		moves := Plan(in)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(in.Tasks), func(i, j int) { in.Tasks[i], in.Tasks[j] = in.Tasks[j], in.Tasks[i] })
		if again := Plan(in); !slices.Equal(moves, again) {
			t.Fatalf("two plans for one world:\n%v\n%v", moves, again)
		}
		for _, mv := range Plan(w.input(false)) { // as when a node has died: what the others do goes on
			if _, alive := w.nodes[mv.From]; alive && !w.nodes[mv.From] {
				t.Fatalf("task %s is taken from node %s, which is well", mv.Task, mv.From)
			}
		}
		seen := map[ownership.TaskID]bool{}
		for _, mv := range moves {
			if fixed[mv.Task] || seen[mv.Task] || w.nodes[mv.To] || w.current[mv.Task].Node != mv.From || w.current[mv.Task].Epoch != mv.Epoch {
				t.Fatalf("bad move %+v", mv)
			}
			seen[mv.Task] = true
		}
		for id, a := range w.current {
			if a.Revoked {
				a.Node, a.Revoked, a.Next = a.Next, false, ""
				w.current[id] = a
			}
		}
		w.carry(moves)
		for _, task := range w.tasks {
			a, ok := w.current[task.ID]
			if !ok {
				t.Fatalf("task %s has no home", task.ID)
			}
			if w.nodes[a.Node] {
				t.Fatalf("task %s is left on draining node %s", task.ID, a.Node)
			}
		}
		for range 20 {
			if moves = Plan(w.input(true)); len(moves) == 0 {
				return
			}
			w.carry(moves)
		}
		t.Fatalf("it does not settle: %v", moves)
	})
}

// large is the scale of the goal: 10 000 partitions, 1 000 tables, 50 nodes.
func large() *world {
	w := &world{nodes: map[string]bool{}, loads: map[ownership.TaskID]int64{}, current: map[ownership.TaskID]ownership.Assignment{}}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 50 {
		w.nodes[fmt.Sprintf("node-%02d", i)] = false
	}
	for topic := range 1000 {
		name := fmt.Sprintf("shop.table%04d", topic)
		for p := range int32(10) {
			w.tasks = append(w.tasks, ownership.Task{
				ID:         ownership.TaskID{Connector: fmt.Sprint("c", topic%7), Kind: ownership.PartitionTask, Topic: name, Group: p},
				Partitions: []int32{p},
			})
		}
		w.tasks = append(w.tasks, ownership.Task{
			ID:     ownership.TaskID{Connector: fmt.Sprint("c", topic%7), Kind: ownership.TableTask, Table: "silver/" + name},
			Topics: []string{name},
		})
	}
	for _, t := range w.tasks {
		w.loads[t.ID] = int64(rnd.ExpFloat64() * 1e6)
	}
	return w
}

func TestLargeWorldIsBalanced(t *testing.T) {
	t.Parallel()
	w := large()
	w.carry(Plan(w.input(true)))
	load := map[string]int64{}
	for id, a := range w.current {
		load[a.Node] += w.loads[id] + 250_000
	}
	ls := slices.Sorted(maps.Values(load))
	if len(ls) != 50 || float64(ls[49]) > 1.3*float64(ls[0]) {
		t.Fatalf("loads from %d to %d", ls[0], ls[49])
	}
}

// plans measures Plan by the clock and, since that says little on a busy machine, by CPU time.
func plans(b *testing.B, in Input) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	for b.Loop() {
		Plan(in)
	}
	b.ReportMetric((used()-began).Seconds()*1000/float64(b.N), "cpu-ms/op")
}

func BenchmarkPlan(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		in := large().input(true)
		plans(b, in)
	})
	w := large()
	w.carry(Plan(w.input(true)))
	b.Run("settled", func(b *testing.B) {
		in := w.input(true)
		plans(b, in)
	})
	b.Run("node-lost", func(b *testing.B) {
		delete(w.nodes, "node-07")
		lost := maps.Clone(w.current)
		for id, a := range w.current {
			if a.Node == "node-07" {
				delete(w.current, id)
			}
		}
		in := w.input(true)
		plans(b, in)
		w.current = lost
		w.nodes["node-07"] = false
	})
	b.Run("ten-nodes-more", func(b *testing.B) {
		for i := range 10 {
			w.nodes[fmt.Sprintf("fresh-%02d", i)] = false
		}
		in := w.input(true)
		plans(b, in)
	})
}

// A drain gives tables their new place at once: what evening out does a moment later must not move them again, since each move is a pause.
func TestDrainedTablesStay(t *testing.T) {
	t.Parallel()
	drained, again := 0, 0
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := &world{nodes: map[string]bool{"n1": false, "n2": false, "n3": false}, loads: map[ownership.TaskID]int64{}, current: map[ownership.TaskID]ownership.Assignment{}}
		for topic := range 4 {
			name := fmt.Sprint("t", topic)
			for p := range int32(3) {
				w.tasks = append(w.tasks, ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.PartitionTask, Topic: name, Group: p}})
			}
			w.tasks = append(w.tasks, ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: name}, Topics: []string{name}})
		}
		for _, task := range w.tasks {
			w.loads[task.ID] = 1000 + rnd.Int64N(400)
		}
		for range 10 {
			w.carry(Plan(w.input(true)))
		}
		w.nodes[fmt.Sprint("n", 1+seed%3)] = true
		moves := Plan(w.input(false))
		w.carry(moves)
		tables := map[ownership.TaskID]bool{}
		for _, mv := range moves {
			if mv.Task.Kind == ownership.TableTask {
				tables[mv.Task] = true
			}
		}
		drained += len(tables)
		for _, mv := range Plan(w.input(true)) {
			if tables[mv.Task] {
				again++
			}
		}
	}
	if drained < 200 || again > drained/50 {
		t.Errorf("%d of %d tables that were drained move again at once", again, drained)
	}
}
