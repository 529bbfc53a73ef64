package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// quantile gives the q-th part of the sorted times; of few it is the nearest above.
func quantile(times []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(times))
	if len(s) == 0 {
		return 0
	}
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// TestClusterKill kills nodes of a cluster under load, every second time the leader, and measures how long it takes until
// silver holds what came after the kill; the tasks of the other nodes go on. In the end the lake equals the model: nothing lost, nothing doubled.
//
// SLUICE_CLUSTER_KILLS is the number of kills (default 4; 30 in the real-systems suite), SLUICE_KILL_SEED or SLUICE_SEED the seed.
func TestClusterKill(t *testing.T) {
	seed := envSeed(t, "SLUICE_KILL_SEED", 1)
	kills := 4
	if os.Getenv("SLUICE_REAL") != "" {
		kills = 30
	}
	kills = envInt(t, "SLUICE_CLUSTER_KILLS", kills)
	t.Logf("seed %d, %d kills (reproduce with SLUICE_KILL_SEED=%d SLUICE_CLUSTER_KILLS=%d)", seed, kills, seed, kills)
	rnd := rand.New(rand.NewPCG(seed, 11))
	c := newCluster(t, 3)
	c.startAll(t, []int{0, 1, 2})
	c.shop(t, seed, map[string]string{"commit.interval.ms": "1000"}) // the default
	c.load.run(c.client, 100)
	c.spread(t, time.Minute, 0, 1, 2)

	var all, followers, leaders []time.Duration
	of, on := 0, 0 // tasks that other nodes had, and those of them that were not interrupted
	for i := range kills {
		c.whole(t)
		victim, lead := rnd.IntN(3), c.leader(t)
		if i%2 == 0 {
			victim = lead
		} else if victim == lead {
			victim = (lead + 1) % 3
		}
		witness := c.nodes[(victim+1)%3]
		before, problem := witness.tasks(t)
		if problem != "" {
			t.Fatal(problem)
		}
		had, began := c.load.sofar(), time.Now()
		c.nodes[victim].Kill()
		took := c.fresh(t, began, had, 2*time.Minute)
		after, problem := witness.tasks(t)
		if problem != "" {
			t.Fatal(problem)
		}
		others, went := goneOn(before, after, c.nodes[victim].id)
		if went <= others/2 {
			t.Errorf("kill %d: of %d tasks that other nodes had, only %d went on where they were; before and after:\n%v\n%v", i+1, others, went, before, after)
		}
		of, on = of+others, on+went
		all = append(all, took)
		role := "follower"
		if victim == lead {
			role = "leader"
			leaders = append(leaders, took)
		} else {
			followers = append(followers, took)
		}
		t.Logf("kill %d: %s %s: fresh after %s (machine: %s)", i+1, role, c.nodes[victim].id, took.Round(time.Millisecond), loadAverage())
		c.nodes[victim].start(t)
		c.nodes[victim].ready(t)
		c.spread(t, time.Minute, 0, 1, 2)
	}
	c.finish(t)
	ms := time.Millisecond
	t.Logf("FIGURE kill→fresh p50/p99: %s / %s over %d kills (leader %s / %s, follower %s / %s)",
		quantile(all, .5).Round(ms), quantile(all, .99).Round(ms), len(all), quantile(leaders, .5).Round(ms), quantile(leaders, .99).Round(ms),
		quantile(followers, .5).Round(ms), quantile(followers, .99).Round(ms))
	t.Logf("FIGURE tasks of other nodes that a kill did not interrupt: %d of %d", on, of)
}

// goneOn counts the tasks that other nodes than the victim had, and those of them that they have gone on with: the epoch is that of before. A
// few may have moved since, so that the nodes left have even loads.
func goneOn(before, after []ownedTask, victim string) (others, went int) {
	for _, b := range before {
		if b.Node == victim {
			continue
		}
		others++
		if slices.ContainsFunc(after, func(a ownedTask) bool { return a.Name == b.Name && a.Node == b.Node && a.Epoch == b.Epoch }) {
			went++
		}
	}
	return others, went
}

// loadAverage says how busy the machine is, for reading figures.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	var one string
	_, _ = fmt.Sscan(string(b), &one)
	return "load " + one
}
