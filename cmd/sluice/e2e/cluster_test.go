package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/shop"
	"sluice.io/sluice/internal/testkit/faultproxy"
	"sluice.io/sluice/internal/testkit/proc"
)

// cluster is some `sluice serve` processes with one seed list and one lake, and a broker behind a fault proxy.
type cluster struct {
	nodes  []*node
	peers  []*faultproxy.Proxy // before the peer port of each node; none where the test needs none
	kafka  *faultproxy.Proxy
	store  *faultproxy.HTTP // before MinIO; nil where the lake is a folder
	real   *proc.Kafka      // nil where the broker is kfake
	client *kgo.Client
	topic  func(name string, partitions int32)
	disks  *disks // nil where the nodes' folders are on no file system of their own
	lake   *lakeWatch
	load   *shopLoad
}

// owner names the node whose process a connection comes from; "" is the test itself.
func (c *cluster) owner(_, remote net.Addr) string {
	var pids []int
	byPid := map[int]string{}
	for _, n := range c.nodes {
		if pid := int(n.pid.Load()); pid != 0 {
			pids = append(pids, pid)
			byPid[pid] = n.id
		}
	}
	return byPid[faultproxy.Pid(remote, pids)]
}

// startAll starts the nodes in any order and waits until all of them are ready.
func (c *cluster) startAll(tb testing.TB, order []int) {
	tb.Helper()
	for _, i := range order {
		c.nodes[i].start(tb)
	}
	for _, i := range order {
		c.nodes[i].ready(tb)
	}
}

// shop makes the topics of a shop, and the connector that reads them.
func (c *cluster) shop(tb testing.TB, seed uint64, extra map[string]string) {
	tb.Helper()
	c.load = &shopLoad{Shop: shop.New(shop.Options{Seed: seed, Mishaps: shop.Rough, Unavailable: true, Partitions: 3, Customers: 50, Orders: 80, MaxOrders: 400})}
	for _, topic := range c.load.Topics() {
		c.topic(topic, c.load.Partitions())
	}
	c.nodes[0].put(tb, "shop", c.config(extra))
}

func (c *cluster) config(extra map[string]string) map[string]string {
	conf := shopConfig(c.load.Shop)
	conf["commit.interval.ms"] = "200"
	for k, v := range extra {
		conf[k] = v
	}
	return conf
}

type memberStatus struct {
	ID                             string
	Voter, Alive, Draining, Leader bool
	Tasks                          int
}

// members asks a node for its view of the cluster.
func (n *node) members(tb testing.TB) []memberStatus {
	tb.Helper()
	status, body := n.call(tb, "GET", "/sluice/v1/cluster/members", nil)
	var out []memberStatus
	if status == 200 {
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// leader gives the node that leads, as another or itself says; -1 when nobody knows one.
func (c *cluster) leader(tb testing.TB) int {
	tb.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		for _, m := range n.members(tb) {
			if !m.Leader {
				continue
			}
			return slices.IndexFunc(c.nodes, func(n *node) bool { return n.id == m.ID && n.running() })
		}
	}
	return -1
}

// whole waits until every node knows all nodes as living voters and one of them as leader.
func (c *cluster) whole(tb testing.TB) {
	tb.Helper()
	proc.Eventually(tb, 2*time.Minute, "every node knows all voters and one leader", func() (bool, string) {
		for _, n := range c.nodes {
			voters, leaders := 0, 0
			members := n.members(tb)
			for _, m := range members {
				if m.Voter && m.Alive {
					voters++
				}
				if m.Leader {
					leaders++
				}
			}
			if voters != len(c.nodes) || leaders != 1 {
				return false, fmt.Sprintf("%s sees %+v", n.id, members)
			}
		}
		return true, ""
	})
}

// running says whether the node's process is there and not stopped by the test.
func (n *node) running() bool {
	if n.Process == nil || n.frozen {
		return false
	}
	select {
	case <-n.Done():
		return false
	default:
		return true
	}
}

// ownedTask is a task of the shop's connector, as a node knows it.
type ownedTask struct {
	Name, Node, State, Trace string
	Epoch                    uint64
}

// tasks gives them all, or what stood in the way.
func (n *node) tasks(tb testing.TB) ([]ownedTask, string) {
	tb.Helper()
	status, body := n.call(tb, "GET", "/sluice/v1/connectors/shop/tasks", nil)
	if status != 200 {
		return nil, body
	}
	var tasks []ownedTask
	if err := json.Unmarshal([]byte(body), &tasks); err != nil {
		tb.Fatal(err)
	}
	return tasks, ""
}

// spread waits until every task of the connector runs and each of the nodes in on has its share.
func (c *cluster) spread(tb testing.TB, limit time.Duration, on ...int) {
	tb.Helper()
	proc.Eventually(tb, limit, "the tasks run and are spread over the nodes", func() (bool, string) {
		tasks, problem := c.nodes[on[0]].tasks(tb)
		if problem != "" {
			return false, problem
		}
		count := map[string]int{}
		for _, t := range tasks {
			if t.State != "RUNNING" {
				return false, fmt.Sprintf("%s on %s is %s %s", t.Name, t.Node, t.State, t.Trace)
			}
			count[t.Node]++
		}
		for _, i := range on {
			if share := len(tasks) / len(on); count[c.nodes[i].id] < max(1, share/2) {
				return false, fmt.Sprintf("%d tasks are on %v", len(tasks), count)
			}
		}
		return len(tasks) > 0, "there are no tasks"
	})
}

// finish ends the load, waits until the lake holds all of it, and compares it with the model.
func (c *cluster) finish(tb testing.TB) {
	tb.Helper()
	// A column of which no value has come yet has no type, so none is in silver: the load is to have lived for a while.
	proc.Eventually(tb, time.Minute, "the load has written enough", func() (bool, string) {
		total := int64(0)
		for _, parts := range c.load.sofar() {
			for _, end := range parts {
				total += end
			}
		}
		return total > 2500, fmt.Sprintf("%d records", total)
	})
	c.load.end(tb)
	n := c.nodes[slices.IndexFunc(c.nodes, (*node).running)]
	n.ready(tb)
	n.caughtUp(tb, "shop", c.load.ends(), shopFeeds(c.load.Shop), 3*time.Minute)
	for _, n := range c.nodes {
		if n.running() {
			if err := n.Stop(time.Minute); err != nil {
				tb.Errorf("SIGTERM of %s: %v", n.id, err)
			}
		}
	}
	n.checkShop(tb, c.load)
}

// lakeWatch reads the logs of the tables of a lake as they grow.
type lakeWatch struct {
	bucket store.Bucket
	tables map[string]*delta.Table
}

func (w *lakeWatch) snapshot(path string) (*delta.Snapshot, error) {
	ctx := context.Background()
	t := w.tables[path]
	if t == nil {
		var err error
		if t, err = delta.Open(ctx, w.bucket, path); err != nil {
			return nil, err
		}
		w.tables[path] = t
	}
	return t.Snapshot(ctx)
}

// covered says whether silver holds everything below want. reached remembers between calls with the same want at which
// version each bronze table held it: while the load goes on, the newest version is never merged for long.
func (w *lakeWatch) covered(want ends, reached map[string]int64) (bool, string) {
	for topic, parts := range want {
		if _, ok := reached[topic]; !ok {
			s, err := w.snapshot("bronze/" + topic)
			if err != nil {
				return false, err.Error()
			}
			for p, end := range parts {
				if at, _ := s.Txn(fmt.Sprintf("sluice/shop/%s/%d", topic, p)); at < end {
					return false, fmt.Sprintf("bronze/%s partition %d is at %d of %d", topic, p, at, end)
				}
			}
			reached[topic] = s.Version
		}
		s, err := w.snapshot("silver/" + topic)
		if err != nil {
			return false, err.Error()
		}
		if at, ok := s.Txn("sluice/shop/bronze/" + topic); !ok || at < reached[topic] {
			return false, fmt.Sprintf("silver/%s has merged version %d of %d", topic, at, reached[topic])
		}
	}
	return true, ""
}

// fresh waits until silver holds a record of every partition that came after had, and gives how long that took since
// began.
func (c *cluster) fresh(tb testing.TB, began time.Time, had ends, limit time.Duration) time.Duration {
	tb.Helper()
	want, reached := ends{}, map[string]int64{}
	proc.Eventually(tb, limit, "every partition gets another record", func() (bool, string) {
		for topic, parts := range c.load.sofar() {
			if want[topic] == nil {
				want[topic] = map[int32]int64{}
			}
			for p, end := range parts {
				if want[topic][p] <= had[topic][p] {
					want[topic][p] = end
				}
				if end <= had[topic][p] {
					return false, fmt.Sprintf("%s-%d is still at %d", topic, p, end)
				}
			}
		}
		return true, ""
	})
	proc.Eventually(tb, limit, "silver is fresh again", func() (bool, string) { return c.lake.covered(want, reached) })
	return time.Since(began)
}

// TestClusterForms starts three nodes in a random order: they form one cluster, share the tasks, and any of them answers REST.
func TestClusterForms(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(t, rand.Perm(3))
	c.whole(t)
	lead := c.leader(t)
	// A connector made on a follower is there for whoever asked, at once, and for the others soon.
	for i := range 6 {
		n := c.nodes[(lead+1+i%2)%3]
		name := fmt.Sprintf("made-%d", i)
		n.put(t, name, map[string]string{"connector.class": "LakehouseSink", "topics": "nothing-" + name, "name": name})
		if status, body := n.call(t, "GET", "/connectors/"+name, nil); status != 200 || !strings.Contains(body, "nothing-"+name) {
			t.Errorf("%s made %s and does not show it: %d %s", n.id, name, status, body)
		}
		if status, body := n.call(t, "PUT", "/connectors/"+name+"/pause", nil); status != 202 {
			t.Errorf("pause on %s: %d %s", n.id, status, body)
		}
		for _, o := range c.nodes {
			proc.Eventually(t, 30*time.Second, "every node shows it", func() (bool, string) {
				status, body := o.call(t, "GET", "/connectors/"+name+"/status", nil)
				return status == 200 && strings.Contains(body, "PAUSED"), fmt.Sprintf("%s: %d %s", o.id, status, body)
			})
		}
		if status, body := n.call(t, "DELETE", "/connectors/"+name, nil); status != 204 {
			t.Errorf("delete on %s: %d %s", n.id, status, body)
		}
	}
	c.shop(t, 3, nil)
	c.load.run(c.client, 200)
	c.spread(t, time.Minute, 0, 1, 2)
	c.finish(t)
}
