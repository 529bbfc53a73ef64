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
)

// chaos draws faults from a seed and does them to a cluster under load. Every fault heals after a while; several may be there at
// once, but never two that take a node out, so that a majority can go on.
type chaos struct {
	*cluster
	rnd    *rand.Rand
	faults []fault
	done   map[string]int
	step   int
}

// draw gives a fault of those that ok lets through, by their weights.
func (c *chaos) draw(ok func(fault) bool) fault {
	total := 0
	for _, f := range c.faults {
		if ok(f) {
			total += f.weight
		}
	}
	n := c.rnd.IntN(total)
	for _, f := range c.faults {
		if !ok(f) {
			continue
		}
		if n -= f.weight; n < 0 {
			return f
		}
	}
	return fault{}
}

// hold waits while a fault lasts: mostly less than the lease, sometimes longer than it takes to be given up.
func (c *chaos) hold() {
	d := time.Duration(c.rnd.IntN(800)) * time.Millisecond
	if c.rnd.IntN(4) == 0 {
		d += 1500 * time.Millisecond
	}
	time.Sleep(d)
}

// round does a fault to the end, now and then with a second one around it.
func (c *chaos) round(tb testing.TB) (names string) {
	tb.Helper()
	all := []fault{c.draw(func(fault) bool { return true })}
	if c.rnd.IntN(3) == 0 {
		first := all[0].name
		all = append(all, c.draw(func(f fault) bool { return f.around && f.name != first }))
	}
	var ends []func()
	for _, f := range slices.Backward(all) {
		names = strings.TrimSuffix(f.name+" in "+names, " in ")
		c.step++
		c.done[f.name]++
		ends = append(ends, f.begin(c, tb, c.rnd.IntN(len(c.nodes))))
	}
	c.hold()
	for _, end := range slices.Backward(ends) {
		end()
	}
	return names
}

// answering gives a node of the i-th on that the test has not stopped.
func (c *chaos) answering(i int) *node {
	for j := range c.nodes {
		if n := c.nodes[(i+j)%len(c.nodes)]; n.running() {
			return n
		}
	}
	return c.nodes[i%len(c.nodes)]
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
// model of the source, and what REST answered meanwhile with what clients of one register may see. The broker is kfake, the lake a folder; where the test may mount file systems, disks get full, too.
//
// SLUICE_CHAOS_FAULTS is how many (default 10; 40 in the real-systems suite; 1 000 by hand), SLUICE_CHAOS_SEED or SLUICE_SEED the seed.
func TestChaos(t *testing.T) {
	count := 10
	if os.Getenv("SLUICE_REAL") != "" {
		count = 40
	}
	runChaos(t, count, stack{peers: true, disks: true})
}

// TestChaosReal is TestChaos with a real Apache Kafka, which is restarted now and then, and with the lake on MinIO behind a proxy
// that slows, refuses and loses requests. Default: 200 faults.
func TestChaosReal(t *testing.T) {
	runChaos(t, 200, stack{peers: true, kafka: true, minio: true})
}

func runChaos(t *testing.T, count int, on stack) {
	seed := envSeed(t, "SLUICE_CHAOS_SEED", 1)
	count = envInt(t, "SLUICE_CHAOS_FAULTS", count)
	t.Logf("seed %d, %d faults (reproduce with SLUICE_CHAOS_SEED=%d SLUICE_CHAOS_FAULTS=%d)", seed, count, seed, count)
	c := &chaos{cluster: prepare(t, 3, on), rnd: rand.New(rand.NewPCG(seed, 23)), done: map[string]int{}}
	c.faults = faultsOf(c.cluster)
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, seed, nil)
	c.load.run(c.client, 60)
	c.spread(t, time.Minute, 0, 1, 2)
	c.whole(t)
	writes := c.watchRegisters(seed)
	began := time.Now()
	for c.step < count {
		at := time.Since(began)
		names := c.round(t)
		t.Logf("%6.1fs %s", at.Seconds(), names)
		for _, n := range c.nodes {
			select {
			case <-n.Done():
				t.Fatalf("%s ended by itself after %q:\n%s", n.id, names, n.Output())
			default:
			}
		}
		if c.rnd.IntN(4) == 0 {
			time.Sleep(time.Duration(c.rnd.IntN(1500)) * time.Millisecond) // a rest in which things go back to usual
		}
	}
	for _, n := range c.nodes {
		n.ready(t)
	}
	had, healed := c.load.sofar(), time.Now()
	took := c.fresh(t, healed, had, 2*time.Minute)
	c.whole(t)
	writes.end()
	writes.check(t)
	c.finish(t)
	violations := 0
	if t.Failed() {
		violations = 1
	}
	t.Logf("FIGURE chaos: seed %d, %d faults in %s (%s), fresh %s after the last, violations %d", seed, c.step,
		healed.Sub(began).Round(time.Second), counts(c.done), took.Round(10*time.Millisecond), violations)
	if c.store != nil {
		t.Logf("FIGURE chaos: requests to the store that suffered: %s", counts(c.store.Hit()))
	}
}

// counts lists what happened how often.
func counts(of map[string]int) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(out, ", ")
}
