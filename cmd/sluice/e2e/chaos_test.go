package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/faultproxy"
)

// chaos draws faults from a seed and does them to a cluster under load. Every fault heals after a while; several may be there at
// once, but never for two nodes, so that a majority can go on.
type chaos struct {
	*cluster
	rnd  *rand.Rand
	done map[string]int
	step int
}

// faults by name, with their weight in the draw.
var faults = []struct {
	name   string
	weight int
}{
	{"kill", 5}, {"kill the leader", 3}, {"stop", 4}, {"stop the leader", 2},
	{"node cut off", 3}, {"node and leader parted", 3}, {"one way", 3}, {"slow link", 2},
	{"node and broker parted", 3}, {"broker paused", 2}, {"broker connections reset", 2},
	{"pause and resume", 2}, {"config update", 3}, {"drain and undrain", 1}, {"task restart", 2},
}

func (c *chaos) draw() string {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	n := c.rnd.IntN(total)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			return f.name
		}
	}
	return ""
}

// hold waits while a fault lasts: mostly less than the lease, sometimes longer than it takes to be given up.
func (c *chaos) hold() {
	d := time.Duration(c.rnd.IntN(900)) * time.Millisecond
	if c.rnd.IntN(3) == 0 {
		d += 1500 * time.Millisecond
	}
	time.Sleep(d)
}

// fault does one fault to the end.
func (c *chaos) fault(tb testing.TB, name string) {
	tb.Helper()
	c.step++
	c.done[name]++
	i := c.rnd.IntN(len(c.nodes))
	lead := c.leader(tb)
	if strings.HasSuffix(name, "the leader") && lead >= 0 {
		i = lead
	}
	n := c.nodes[i]
	other := c.nodes[(i+1+c.rnd.IntN(len(c.nodes)-1))%len(c.nodes)]
	switch name {
	case "kill", "kill the leader":
		n.Kill()
		c.hold()
		n.start(tb)
	case "stop", "stop the leader":
		n.freeze(tb)
		c.hold()
		n.thaw(tb)
	case "node cut off":
		c.part(n, func(p *faultproxy.Proxy, who string) { p.SetFor(who, faultproxy.BlackHole) }, faultproxy.BlackHole)
		c.hold()
		c.heal()
	case "node and leader parted":
		if lead < 0 || lead == i {
			lead = (i + 1) % len(c.nodes)
		}
		f := faultproxy.BlackHole
		if c.rnd.IntN(2) == 0 {
			f = faultproxy.Fault{Cut: true}
		}
		c.peers[lead].SetFor(n.id, f)
		c.peers[i].SetFor(c.nodes[lead].id, f)
		c.hold()
		c.heal()
	case "one way":
		f := faultproxy.Fault{HoldRequests: true}
		if c.rnd.IntN(2) == 0 {
			f = faultproxy.Fault{HoldAnswers: true}
		}
		c.peers[i].Set(f)
		c.hold()
		c.heal()
	case "slow link":
		c.peers[i].Set(faultproxy.Fault{Delay: time.Duration(20+c.rnd.IntN(300)) * time.Millisecond})
		c.hold()
		c.heal()
	case "node and broker parted":
		f := faultproxy.BlackHole
		if c.rnd.IntN(2) == 0 {
			f = faultproxy.Fault{Cut: true}
		}
		c.kafka.SetFor(n.id, f)
		c.hold()
		c.kafka.Heal()
	case "broker paused":
		for _, n := range c.nodes {
			c.kafka.SetFor(n.id, faultproxy.BlackHole)
		}
		c.hold()
		c.kafka.Heal()
	case "broker connections reset":
		for _, n := range c.nodes {
			c.kafka.SetFor(n.id, faultproxy.Fault{Cut: true})
		}
		c.kafka.Heal()
	case "pause and resume":
		c.ask(tb, n, "PUT", "/connectors/shop/pause", nil, 202)
		c.hold()
		c.ask(tb, other, "PUT", "/connectors/shop/resume", nil, 202)
	case "config update":
		interval := []string{"100", "200", "500"}[c.rnd.IntN(3)]
		c.ask(tb, n, "PUT", "/connectors/shop/config", c.config(map[string]string{"commit.interval.ms": interval}), 200)
	case "drain and undrain":
		path := "/sluice/v1/cluster/members/" + n.id + "/drain"
		c.ask(tb, other, "PUT", path, nil, 200, 202, 204)
		c.hold()
		c.ask(tb, other, "DELETE", path, nil, 200, 202, 204)
	case "task restart":
		c.ask(tb, n, "POST", "/connectors/shop/restart?includeTasks=true", nil, 202, 204)
	}
}

// part does f at every other node for what comes from n, and to n for everything.
func (c *chaos) part(n *node, f func(*faultproxy.Proxy, string), own faultproxy.Fault) {
	for j, p := range c.peers {
		if c.nodes[j] == n {
			p.Set(own)
		} else {
			f(p, n.id)
		}
	}
}

func (c *chaos) heal() {
	for _, p := range c.peers {
		p.Heal()
	}
}

// ask makes a request that has to succeed in the end: 503 says to come again, and so does a node that is not there.
func (c *chaos) ask(tb testing.TB, n *node, method, path string, body any, good ...int) {
	tb.Helper()
	last := ""
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(200 * time.Millisecond) {
		status, text := n.call(tb, method, path, body)
		if slices.Contains(good, status) {
			return
		}
		last = fmt.Sprintf("%d %s", status, text)
		if status != 0 && status != 503 && status != 409 && status != 500 {
			break
		}
	}
	tb.Fatalf("%s %s on %s: %s", method, path, n.id, last)
}

// TestChaos does faults drawn from a seed to three nodes under load, and then compares bronze, silver and dead letters with the
// model of the source.
//
// SLUICE_CHAOS_FAULTS is how many (default 10; 200 in the real-systems suite, which ends after eight minutes at the latest; 1 000
// by hand), SLUICE_CHAOS_SEED the seed.
func TestChaos(t *testing.T) {
	seed := uint64(envInt(t, "SLUICE_CHAOS_SEED", 1))
	count, limit := 10, 40*time.Second
	if os.Getenv("SLUICE_REAL") != "" {
		count, limit = 200, 8*time.Minute
	}
	if n := envInt(t, "SLUICE_CHAOS_FAULTS", 0); n > 0 {
		count, limit = n, time.Duration(n)*10*time.Second
	}
	t.Logf("seed %d, %d faults (reproduce with SLUICE_CHAOS_SEED=%d SLUICE_CHAOS_FAULTS=%d)", seed, count, seed, count)
	c := &chaos{cluster: newFaultyCluster(t, 3), rnd: rand.New(rand.NewPCG(seed, 23)), done: map[string]int{}}
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, seed, nil)
	c.load.run(c.broker.Client(), 60)
	c.spread(t, time.Minute, 0, 1, 2)
	c.whole(t)
	began := time.Now()
	for c.step < count && time.Since(began) < limit {
		name := c.draw()
		t.Logf("%6.1fs %s", time.Since(began).Seconds(), name)
		c.fault(t, name)
		for _, n := range c.nodes {
			select {
			case <-n.Done():
				t.Fatalf("%s ended by itself after %q:\n%s", n.id, name, n.Output())
			default:
			}
		}
		if c.rnd.IntN(3) == 0 {
			time.Sleep(time.Duration(c.rnd.IntN(1500)) * time.Millisecond) // a rest in which things go back to usual
		}
	}
	c.heal()
	c.kafka.Heal()
	for _, n := range c.nodes {
		n.ready(t)
	}
	had, healed := c.load.sofar(), time.Now()
	took := c.fresh(t, healed, had, 2*time.Minute)
	c.whole(t)
	c.finish(t)
	violations := 0
	if t.Failed() {
		violations = 1
	}
	var kinds []string
	for _, name := range slices.Sorted(maps.Keys(c.done)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", name, c.done[name]))
	}
	t.Logf("FIGURE chaos: seed %d, %d faults in %s (%s), fresh %s after the last, violations %d", seed, c.step,
		time.Since(began).Round(time.Second), strings.Join(kinds, ", "), took.Round(10*time.Millisecond), violations)
}
