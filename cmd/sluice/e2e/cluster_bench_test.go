package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/internal/testkit/proc"
)

// wide is a load of simple Debezium events over some topics, for figures: rows are inserted first, then updated at random.
type wide struct {
	c      *cluster
	topics []string
	parts  int32
	rows   int // of each topic
	rnd    *rand.Rand

	mu   sync.Mutex
	next int64
	ends ends
}

func newWide(tb testing.TB, c *cluster, topics int, parts int32, rows int) *wide {
	tb.Helper()
	w := &wide{c: c, parts: parts, rows: rows, rnd: rand.New(rand.NewPCG(1, 2)), ends: ends{}}
	for i := range topics {
		name := fmt.Sprintf("bench.public.t%d", i+1)
		w.topics = append(w.topics, name)
		c.topic(name, parts)
		w.ends[name] = map[int32]int64{}
	}
	return w
}

func (w *wide) event(topic string, id int, op byte) *kgo.Record {
	w.next++
	p := int32(id) % w.parts
	w.ends[topic][p]++
	return &kgo.Record{Topic: topic, Partition: p, Key: fmt.Appendf(nil, `{"id":%d}`, id), Value: fmt.Appendf(nil,
		`{"before":null,"after":{"id":%d,"customer":%d,"status":"%s","total":%d.5,"note":"seen %d times"},"source":{"connector":"postgresql","name":"bench",`+
			`"ts_ms":%d,"db":"shop","schema":"public","table":"%s","lsn":%d,"txId":%d,"snapshot":"false"},"op":"%c","ts_ms":%d}`,
		id, id%5000, [...]string{"placed", "paid", "sent"}[w.next%3], w.next%1000, w.next, 1_790_000_000_000+w.next, topic[strings.LastIndexByte(topic, '.')+1:],
		1_000_000+w.next*100, w.next/5, op, 1_790_000_000_000+w.next)}
}

// fill inserts all rows.
func (w *wide) fill(tb testing.TB) {
	tb.Helper()
	for _, topic := range w.topics {
		for id := 0; id < w.rows; id += 10_000 {
			w.mu.Lock()
			var out []*kgo.Record
			for i := id; i < min(w.rows, id+10_000); i++ {
				out = append(out, w.event(topic, i, 'c'))
			}
			w.mu.Unlock()
			if err := w.c.client.ProduceSync(context.Background(), out...).FirstErr(); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// update changes rate rows a second, all partitions in turn, until stop is called.
func (w *wide) update(rate int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			var out []*kgo.Record
			w.mu.Lock()
			for i := range max(1, rate/50) {
				id := w.rnd.IntN(w.rows/int(w.parts))*int(w.parts) + i%int(w.parts)
				out = append(out, w.event(w.topics[(i/int(w.parts))%len(w.topics)], min(id, w.rows-1), 'u'))
			}
			w.mu.Unlock()
			if w.c.client.ProduceSync(context.Background(), out...).FirstErr() != nil {
				return
			}
			w.note()
		}
	}()
	return func() { close(quit); <-done }
}

// note remembers what is in the broker, for sofar.
func (w *wide) note() {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := ends{}
	for topic, parts := range w.ends {
		e[topic] = map[int32]int64{}
		for p, end := range parts {
			e[topic][p] = end
		}
	}
	w.c.load.mu.Lock()
	w.c.load.reached = e
	w.c.load.mu.Unlock()
}

// wideCluster starts nodes under a filled load of the connector "shop", which the helpers of the tests know by that name; without a
// configuration the connector is left to the caller.
func wideCluster(tb testing.TB, size, topics int, parts int32, rows int, config map[string]string) (*cluster, *wide) {
	tb.Helper()
	c := newCluster(tb, size)
	c.load = &shopLoad{}
	w := newWide(tb, c, topics, parts, rows)
	w.fill(tb)
	w.note()
	order := make([]int, size)
	for i := range order {
		order[i] = i
	}
	c.startAll(tb, order)
	c.whole(tb)
	if config == nil {
		return c, w
	}
	config["connector.class"], config["topics"] = "LakehouseSink", strings.Join(w.topics, ",")
	c.nodes[0].put(tb, "shop", config)
	return c, w
}

func (w *wide) feeds() feeds {
	out := feeds{}
	for _, t := range w.topics {
		out["silver/"+t] = []string{t}
	}
	return out
}

// BenchmarkClusterKill prints how long it takes until silver is fresh again after the SIGKILL of a node, every second time the leader,
// with tables of a million rows and default settings. SLUICE_CLUSTER_KILLS is how many (30), SLUICE_BENCH_ROWS how many rows.
func BenchmarkClusterKill(b *testing.B) {
	kills, rows := envInt(b, "SLUICE_CLUSTER_KILLS", 30), envInt(b, "SLUICE_BENCH_ROWS", 1_000_000)
	for b.Loop() {
		c, w := wideCluster(b, 3, 2, 3, rows, map[string]string{})
		n := c.nodes[0]
		n.caughtUp(b, "shop", w.ends, w.feeds(), 10*time.Minute)
		stop := w.update(600)
		var all, followers, leaders []time.Duration
		for i := range kills {
			c.whole(b)
			c.spread(b, time.Minute, 0, 1, 2)
			victim, lead := (i/2)%3, c.leader(b)
			if i%2 == 0 {
				victim = lead
			} else if victim == lead {
				victim = (lead + 1) % 3
			}
			time.Sleep(2 * time.Second) // of calm
			had, began := c.load.sofar(), time.Now()
			c.nodes[victim].Kill()
			took := c.fresh(b, began, had, 2*time.Minute)
			all = append(all, took)
			if victim == lead {
				leaders = append(leaders, took)
			} else {
				followers = append(followers, took)
			}
			b.Logf("kill %d of %s (leader: %t): fresh after %s (machine: %s)", i+1, c.nodes[victim].id, victim == lead, took.Round(time.Millisecond), loadAverage())
			c.nodes[victim].start(b)
			c.nodes[victim].ready(b)
		}
		stop()
		b.Logf("FIGURE kill→fresh p50/p99, tables of %d rows: %s / %s over %d kills (leader %s / %s, follower %s / %s)", rows, quantile(all, .5), quantile(all, .99),
			len(all), quantile(leaders, .5), quantile(leaders, .99), quantile(followers, .5), quantile(followers, .99))
		b.ReportMetric(quantile(all, .5).Seconds(), "s-p50")
		b.ReportMetric(quantile(all, .99).Seconds(), "s-p99")
	}
}

// taskNodes gives who runs which task.
func (c *cluster) taskNodes(tb testing.TB) map[string]string {
	tb.Helper()
	var tasks []struct{ Name, Node, State string }
	status, body := c.nodes[0].call(tb, "GET", "/sluice/v1/connectors/shop/tasks", nil)
	if status != 200 {
		tb.Fatal(body)
	}
	if err := json.Unmarshal([]byte(body), &tasks); err != nil {
		tb.Fatal(err)
	}
	out := map[string]string{}
	for _, t := range tasks {
		out[t.Name] = t.Node
	}
	return out
}

// pauses watches how long the progress of each task stands still while records keep coming for it.
type pauses struct {
	mu    sync.Mutex
	last  map[string]time.Time
	at    map[string]int64
	worst map[string]time.Duration
	quit  chan struct{}
	done  chan struct{}
}

// watchPauses looks at the logs of all tables of the load every few milliseconds.
func (c *cluster) watchPauses(tb testing.TB, w *wide) *pauses {
	p := &pauses{last: map[string]time.Time{}, at: map[string]int64{}, worst: map[string]time.Duration{}, quit: make(chan struct{}), done: make(chan struct{})}
	tables := map[string]*delta.Table{}
	for _, topic := range w.topics {
		for _, path := range []string{"bronze/" + topic, "silver/" + topic} {
			t, err := delta.Open(context.Background(), c.lake.bucket, path)
			if err != nil {
				tb.Fatal(err)
			}
			tables[path] = t
		}
	}
	see := func(task string, at int64, now time.Time) {
		if at == p.at[task] {
			return
		}
		if last, ok := p.last[task]; ok {
			if d := now.Sub(last); d > time.Second {
				tb.Logf("%s stood still for %s until %s (machine: %s)", task, d.Round(time.Millisecond), now.Format("15:04:05.000"), loadAverage())
			}
			p.worst[task] = max(p.worst[task], now.Sub(last))
		}
		p.at[task], p.last[task] = at, now
	}
	go func() {
		defer close(p.done)
		for {
			for path, t := range tables {
				s, err := t.Snapshot(context.Background())
				if err != nil {
					continue
				}
				now := time.Now()
				p.mu.Lock()
				topic, isBronze := strings.CutPrefix(path, "bronze/")
				if isBronze {
					for part := range w.parts {
						at, _ := s.Txn(fmt.Sprintf("sluice/shop/%s/%d", topic, part))
						see(fmt.Sprintf("shop/p/%s/%d", topic, part), at, now)
					}
				} else {
					at, _ := s.Txn("sluice/shop/bronze/" + strings.TrimPrefix(path, "silver/"))
					see("shop/t/"+path, at, now)
				}
				p.mu.Unlock()
			}
			select {
			case <-p.quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return p
}

// take gives the longest stand-still of each task since the last call.
func (p *pauses) take() map[string]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.worst
	p.worst = map[string]time.Duration{}
	return out
}

// BenchmarkClusterMove prints how long a task that is moved stands still, from its last commit at the old owner to its first at the new one,
// and how long the others do meanwhile; both hold the commit interval (50 ms here), so the same is printed of a time without moves.
func BenchmarkClusterMove(b *testing.B) {
	rounds := envInt(b, "SLUICE_BENCH_MOVES", 20)
	for b.Loop() {
		c, w := wideCluster(b, 3, 4, 3, envInt(b, "SLUICE_BENCH_ROWS", 1_000_000)/10, map[string]string{"commit.interval.ms": "50"})
		c.nodes[0].caughtUp(b, "shop", w.ends, w.feeds(), 10*time.Minute)
		defer w.update(2400)()
		c.spread(b, time.Minute, 0, 1, 2)
		p := c.watchPauses(b, w)
		var moved, others, calm []time.Duration
		for i := range rounds {
			time.Sleep(2 * time.Second)
			p.take()
			time.Sleep(2 * time.Second)
			for _, d := range p.take() {
				calm = append(calm, d)
			}
			before := c.taskNodes(b)
			path := "/sluice/v1/cluster/members/" + c.nodes[i%3].id + "/drain"
			c.nodes[0].call(b, "PUT", path, nil)
			proc.Eventually(b, time.Minute, "the node is drained", func() (bool, string) { return c.nodes[0].tasksOn(b, c.nodes[i%3].id) == 0, "" })
			time.Sleep(2 * time.Second)
			after := c.taskNodes(b)
			for task, d := range p.take() {
				if before[task] != after[task] {
					moved = append(moved, d)
				} else {
					others = append(others, d)
				}
			}
			c.nodes[0].call(b, "DELETE", path, nil)
			c.spread(b, time.Minute, 0, 1, 2)
		}
		close(p.quit)
		<-p.done
		b.Logf("FIGURE pause of a moved task p50/p99: %s / %s (%d moves); of others meanwhile: %s / %s (%d); without moves: %s / %s", quantile(moved, .5), quantile(moved, .99),
			len(moved), quantile(others, .5), quantile(others, .99), len(others), quantile(calm, .5), quantile(calm, .99))
		b.ReportMetric(quantile(moved, .99).Seconds()*1000, "ms-moved-p99")
		b.ReportMetric(quantile(others, .99).Seconds()*1000, "ms-others-p99")
	}
}

// cpu gives the CPU time that a process has used (Linux counts in hundredths of a second).
func (n *node) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid()))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	ticks := int64(0)
	for _, s := range f[11:13] {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkClusterScale prints what a backlog costs on one, two and three nodes: CPU per event of all nodes together, without what they take when
// there is nothing to do, which is printed apart; and how tasks are spread. SLUICE_BENCH_EVENTS is how many events there are (600 000).
func BenchmarkClusterScale(b *testing.B) {
	events := envInt(b, "SLUICE_BENCH_EVENTS", 600_000)
	const rest = 10 * time.Second
	for b.Loop() {
		for size := 1; size <= 3; size++ {
			c, w := wideCluster(b, size, 6, 4, events/6, nil)
			time.Sleep(rest / 2) // what forming a cluster costs is not counted
			used := func() (total time.Duration, each []time.Duration) {
				for _, n := range c.nodes {
					each = append(each, n.cpu(b))
					total += each[len(each)-1]
				}
				return total, each
			}
			idle, _ := used()
			time.Sleep(rest)
			start, starts := used()
			idle = start - idle
			began := time.Now()
			c.nodes[0].put(b, "shop", map[string]string{"connector.class": "LakehouseSink", "topics": strings.Join(w.topics, ",")})
			c.nodes[0].caughtUp(b, "shop", w.ends, w.feeds(), 10*time.Minute)
			took := time.Since(began)
			end, ends := used()
			net := end - start - time.Duration(float64(idle)*took.Seconds()/rest.Seconds())
			count := map[string]int{}
			for _, node := range c.taskNodes(b) {
				count[node]++
			}
			var each []string
			conflicts, cold := 0.0, 0.0
			for i, n := range c.nodes {
				each = append(each, fmt.Sprintf("%s %d tasks %.1f CPU s", n.id, count[n.id], (ends[i]-starts[i]).Seconds()))
				conflicts += max(0, n.metric(b, "sluice_commit_conflicts_total"))
				cold += max(0, n.metric(b, "sluice_silver_cold_versions_total"))
				_ = n.Stop(time.Minute)
			}
			perEvent := net / time.Duration(events)
			b.Logf("FIGURE scale, %d nodes: %d events in %.1f s, %.1f µs of CPU per event (%s), idle %.1f ms of CPU a second and node, %.0f commits met another, %.0f versions read from files (machine: %s)",
				size, events, took.Seconds(), float64(perEvent.Nanoseconds())/1000, strings.Join(each, ", "), float64(idle.Milliseconds())/rest.Seconds()/float64(size), conflicts, cold, loadAverage())
			b.ReportMetric(float64(perEvent.Nanoseconds()), fmt.Sprintf("ns-cpu/event-%d-nodes", size))
		}
	}
}

// BenchmarkClusterConflicts prints how many commits a minute met a version that another node had just written, of bronze tables that
// three nodes write at the default interval.
func BenchmarkClusterConflicts(b *testing.B) {
	for b.Loop() {
		c, w := wideCluster(b, 3, 1, 12, 12_000, map[string]string{"silver.enabled": "false"})
		defer w.update(600)()
		c.spread(b, time.Minute, 0, 1, 2)
		total := func(name string) float64 {
			sum := 0.0
			for _, n := range c.nodes {
				sum += max(0, n.metric(b, name))
			}
			return sum
		}
		time.Sleep(5 * time.Second)
		commits, conflicts, began := total("sluice_bronze_commits_total"), total("sluice_commit_conflicts_total"), time.Now()
		time.Sleep(time.Duration(envInt(b, "SLUICE_BENCH_SECONDS", 60)) * time.Second)
		minutes := time.Since(began).Minutes()
		commits, conflicts = (total("sluice_bronze_commits_total")-commits)/minutes, (total("sluice_commit_conflicts_total")-conflicts)/minutes
		b.Logf("FIGURE a bronze table written by three nodes: %.0f commits and %.1f conflicts a minute", commits, conflicts)
		b.ReportMetric(conflicts, "conflicts/min")
	}
}
