package e2e

import (
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/faultproxy"
)

// fault is one kind of fault. It begins at node i, a random one, and what it gives back ends it.
type fault struct {
	name   string
	weight int
	// around says that it takes no node out of the cluster, so it may be there together with one that does.
	around bool
	begin  func(c *chaos, tb testing.TB, i int) (end func())
}

// faultsOf lists what can be done to a cluster.
func faultsOf(c *cluster) []fault {
	all := nodeFaults
	if c.store != nil {
		all = append(all[:len(all):len(all)], storeFaults...)
	}
	if c.real != nil {
		all = append(all[:len(all):len(all)], fault{"broker restart", 1, true, (*chaos).restartBroker})
	}
	if c.disks != nil {
		all = append(all[:len(all):len(all)], diskFaults...)
	}
	return all
}

// nodeFaults are those of processes, of the network between them and to the broker, and what operators do meanwhile.
var nodeFaults = []fault{
	{"kill", 5, false, (*chaos).kill},
	{"kill the leader", 3, false, atLeader((*chaos).kill)},
	{"stop", 4, false, (*chaos).stop},
	{"stop the leader", 2, false, atLeader((*chaos).stop)},
	{"node cut off", 3, false, (*chaos).cutOff},
	{"node and leader parted", 3, false, (*chaos).partFromLeader},
	{"one way", 3, false, func(c *chaos, _ testing.TB, i int) func() {
		return c.link(i, one(c, faultproxy.Fault{HoldRequests: true}, faultproxy.Fault{HoldAnswers: true}))
	}},
	{"slow link", 2, false, func(c *chaos, _ testing.TB, i int) func() {
		return c.link(i, faultproxy.Fault{Delay: time.Duration(20+c.rnd.IntN(300)) * time.Millisecond})
	}},
	{"node and broker parted", 3, true, func(c *chaos, _ testing.TB, i int) func() {
		c.kafka.SetFor(c.nodes[i].id, one(c, faultproxy.BlackHole, faultproxy.Fault{Cut: true}, faultproxy.Fault{HoldAnswers: true}))
		return c.kafka.Heal
	}},
	{"broker paused", 2, true, func(c *chaos, _ testing.TB, _ int) func() { return c.broker(faultproxy.BlackHole) }},
	{"broker connections reset", 2, true, func(c *chaos, _ testing.TB, _ int) func() {
		c.broker(faultproxy.Fault{Cut: true})()
		return func() {}
	}},
	{"pause and resume", 2, true, func(c *chaos, tb testing.TB, i int) func() {
		c.ask(tb, c.answering(i), "PUT", "/connectors/shop/pause", nil, 202)
		return func() { c.ask(tb, c.answering(i+1), "PUT", "/connectors/shop/resume", nil, 202) }
	}},
	{"config update", 3, true, func(c *chaos, tb testing.TB, i int) func() {
		c.ask(tb, c.answering(i), "PUT", "/connectors/shop/config", c.config(map[string]string{"commit.interval.ms": one(c, "100", "200", "500")}), 200)
		return func() {}
	}},
	{"drain and undrain", 1, false, func(c *chaos, tb testing.TB, i int) func() {
		path := "/sluice/v1/cluster/members/" + c.nodes[i].id + "/drain"
		c.ask(tb, c.answering(i+1), "PUT", path, nil, 200, 202, 204)
		return func() { c.ask(tb, c.answering(i+1), "DELETE", path, nil, 200, 202, 204) }
	}},
	{"task restart", 2, true, func(c *chaos, tb testing.TB, i int) func() {
		c.ask(tb, c.answering(i), "POST", "/connectors/shop/restart?includeTasks=true", nil, 202, 204)
		return func() {}
	}},
}

// storeFaults are those of an object store and of the network to it.
var storeFaults = []fault{
	{"store slow", 3, true, func(c *chaos, _ testing.TB, i int) func() {
		return c.at(i, faultproxy.RequestFault{Delay: time.Duration(20+c.rnd.IntN(400)) * time.Millisecond})
	}},
	{"store answers 503", 4, true, func(c *chaos, _ testing.TB, i int) func() {
		return c.at(i, faultproxy.RequestFault{Status: one(c, 503, 503, 500), Every: 1 + c.rnd.IntN(3)})
	}},
	{"outcome of writes unknown", 6, true, func(c *chaos, _ testing.TB, i int) func() {
		return c.at(i, faultproxy.RequestFault{Lose: true, Writes: true, Every: 1 + c.rnd.IntN(3)})
	}},
	{"writes reset", 3, true, func(c *chaos, _ testing.TB, i int) func() {
		return c.at(i, faultproxy.RequestFault{Cut: true, Writes: true, Every: 1 + c.rnd.IntN(3)})
	}},
	{"node and store parted", 5, true, func(c *chaos, _ testing.TB, i int) func() {
		return c.at(i, one(c, faultproxy.RequestFault{HoldRequests: true}, faultproxy.RequestFault{HoldAnswers: true}, faultproxy.RequestFault{Cut: true}))
	}},
	{"store full", 2, true, func(c *chaos, _ testing.TB, _ int) func() {
		return c.at(-1, faultproxy.RequestFault{Status: 507, Writes: true})
	}},
}

// diskFaults are those of file systems.
var diskFaults = []fault{
	{"lake's disk full", 3, true, func(c *chaos, tb testing.TB, _ int) func() { return c.full(tb, "lake") }},
	{"node's disk full", 3, false, func(c *chaos, tb testing.TB, i int) func() { return c.full(tb, c.nodes[i].id) }},
}

// one draws one of several.
func one[T any](c *chaos, of ...T) T { return of[c.rnd.IntN(len(of))] }

// atLeader does a fault to the node that leads, where that is known.
func atLeader(begin func(*chaos, testing.TB, int) func()) func(*chaos, testing.TB, int) func() {
	return func(c *chaos, tb testing.TB, i int) func() {
		if lead := c.leader(tb); lead >= 0 {
			i = lead
		}
		return begin(c, tb, i)
	}
}

func (c *chaos) kill(tb testing.TB, i int) func() {
	c.nodes[i].Kill()
	return func() { c.nodes[i].start(tb) }
}

func (c *chaos) stop(tb testing.TB, i int) func() {
	c.nodes[i].freeze(tb)
	return func() { c.nodes[i].thaw(tb) }
}

func (c *chaos) cutOff(_ testing.TB, i int) func() {
	for j, p := range c.peers {
		if j == i {
			p.Set(faultproxy.BlackHole)
		} else {
			p.SetFor(c.nodes[i].id, faultproxy.BlackHole)
		}
	}
	return c.heal
}

func (c *chaos) partFromLeader(tb testing.TB, i int) func() {
	lead := c.leader(tb)
	if lead < 0 || lead == i {
		lead = (i + 1) % len(c.nodes)
	}
	f := one(c, faultproxy.BlackHole, faultproxy.Fault{Cut: true})
	c.peers[lead].SetFor(c.nodes[i].id, f)
	c.peers[i].SetFor(c.nodes[lead].id, f)
	return c.heal
}

func (c *chaos) link(i int, f faultproxy.Fault) func() {
	c.peers[i].Set(f)
	return c.heal
}

func (c *chaos) heal() {
	for _, p := range c.peers {
		p.Heal()
	}
}

// broker puts a fault between all nodes and the broker.
func (c *chaos) broker(f faultproxy.Fault) func() {
	for _, n := range c.nodes {
		c.kafka.SetFor(n.id, f)
	}
	return c.kafka.Heal
}

// at puts a fault between the store and node i, sometimes all nodes; i < 0: all.
func (c *chaos) at(i int, f faultproxy.RequestFault) func() {
	if i >= 0 && c.rnd.IntN(3) > 0 {
		c.store.SetFor(c.nodes[i].id, f)
		return c.store.Heal
	}
	for _, n := range c.nodes {
		c.store.SetFor(n.id, f)
	}
	return c.store.Heal
}

func (c *chaos) restartBroker(tb testing.TB, _ int) func() {
	c.load.gate.Lock()
	if c.rnd.IntN(2) == 0 {
		c.real.Kill()
	} else if err := c.real.Stop(time.Minute); err != nil && c.real.ExitCode() != 143 { // what Java says of SIGTERM
		tb.Fatal(err)
	}
	return func() {
		c.real.Restart(tb)
		c.load.gate.Unlock()
	}
}

func (c *chaos) full(tb testing.TB, disk string) func() {
	c.disks.fill(tb, disk)
	return func() { c.disks.drain(tb, disk) }
}
