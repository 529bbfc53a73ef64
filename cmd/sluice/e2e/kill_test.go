package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/internal/shop"
	"sluice.io/sluice/internal/testkit/broker"
)

// shopLoad writes the life of a shop to a broker until it is told to stop, and knows what must come out.
type shopLoad struct {
	*shop.Shop
	stop chan struct{}
	done sync.WaitGroup
	err  error
	// gate is held while records are on their way to the broker. Who holds it may restart the broker: a producer that has to guess
	// whether a batch is there may write it twice, and then the model knows less than the log.
	gate sync.Mutex

	mu      sync.Mutex
	reached ends // what the broker has acknowledged
}

// run produces rate transactions per second.
func (l *shopLoad) run(cl *kgo.Client, rate int) {
	l.stop = make(chan struct{})
	l.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				l.err = produce(cl, l.Drain())
				l.note()
				return
			case <-tick.C:
				var out []shop.Record
				for range max(1, rate/100) {
					out = append(out, l.Next()...)
				}
				l.gate.Lock()
				l.err = produce(cl, out)
				l.gate.Unlock()
				if l.err != nil {
					return
				}
				l.note()
			}
		}
	})
}

func (l *shopLoad) note() {
	e := l.ends()
	l.mu.Lock()
	l.reached = e
	l.mu.Unlock()
}

// sofar gives the end offsets while the load goes on.
func (l *shopLoad) sofar() ends {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reached
}

// end stops the load and waits until all of it is in the broker.
func (l *shopLoad) end(tb testing.TB) {
	tb.Helper()
	close(l.stop)
	l.done.Wait()
	if l.err != nil {
		tb.Fatal("produce: ", l.err)
	}
}

func produce(cl *kgo.Client, records []shop.Record) error {
	if len(records) == 0 {
		return nil
	}
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		k := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.TimestampMs)}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		out[i] = k
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return cl.ProduceSync(ctx, out...).FirstErr()
}

// ends gives the shop's end offsets.
func (l *shopLoad) ends() ends {
	out := ends{}
	for topic, parts := range l.Ends() {
		out[topic] = map[int32]int64{}
		for p, end := range parts {
			out[topic][int32(p)] = end
		}
	}
	return out
}

func shopFeeds(s *shop.Shop) feeds {
	out := feeds{}
	for _, topic := range s.Topics() {
		out["silver/"+topic] = []string{topic}
	}
	return out
}

func shopConfig(s *shop.Shop) map[string]string {
	return map[string]string{
		"connector.class": "LakehouseSink", "topics": fmt.Sprintf("%s,%s,%s", s.Topics()[0], s.Topics()[1], s.Topics()[2]),
		"commit.interval.ms": "50",
	}
}

// checkShop compares the lake with the model of the source.
func (n *node) checkShop(tb testing.TB, l *shopLoad) {
	tb.Helper()
	n.everyOffsetOnce(tb, l.ends())
	for i, table := range shop.Tables() {
		sameRows(tb, "silver of "+table, source(tb, n.cat(tb, "silver/"+l.Topics()[i])), l.Expected(table))
	}
	var got, want []string
	if len(l.DeadLetters()) > 0 {
		for _, row := range n.cat(tb, "bronze/_dead_letters", "--columns", "topic,partition,offset,stage") {
			var r struct {
				Topic             string
				Partition, Offset int64
				Stage             string
			}
			if err := json.Unmarshal([]byte(row), &r); err != nil {
				tb.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s-%d-%d %s", r.Topic, r.Partition, r.Offset, r.Stage))
		}
	}
	for _, c := range l.DeadLetters() {
		want = append(want, fmt.Sprintf("%s-%d-%d decode", c.Topic, c.Partition, c.Offset))
	}
	sameRows(tb, "dead letters", got, want)
}

// envSeed gives the seed that the environment sets for one test, or for all (SLUICE_SEED).
func envSeed(tb testing.TB, name string, otherwise int) uint64 {
	tb.Helper()
	return uint64(envInt(tb, name, envInt(tb, "SLUICE_SEED", otherwise)))
}

// envInt reads a number from the environment.
func envInt(tb testing.TB, name string, otherwise int) int {
	tb.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// crashPhases are the instants of a commit at which SLUICE_CRASH_AT can end the process.
var crashPhases = []string{
	"bronze-before-upload", "bronze-before-commit", "bronze-before-mirror",
	"silver-before-upload", "silver-before-commit", "silver-after-commit",
}

// TestKill kills the process under load, again and again, at random moments and at each phase of a commit, and compares what
// is in the lake at the end with the model of the source: nothing lost, nothing doubled, dead letters once (D1–D4, D6, D7).
//
// SLUICE_KILLS is the number of random kills (default 8; 50 in the real-systems suite), SLUICE_KILL_SEED or SLUICE_SEED the seed.
func TestKill(t *testing.T) {
	seed := envSeed(t, "SLUICE_KILL_SEED", 1)
	kills := envInt(t, "SLUICE_KILLS", 8)
	if os.Getenv("SLUICE_REAL") != "" {
		kills = max(kills, 50)
	}
	t.Logf("seed %d, %d random kills (reproduce with SLUICE_KILL_SEED=%d SLUICE_KILLS=%d)", seed, kills, seed, kills)
	rnd := rand.New(rand.NewPCG(seed, 7))

	br := broker.Start(t)
	load := &shopLoad{Shop: shop.New(shop.Options{Seed: seed, Mishaps: shop.Rough, Unavailable: true, Customers: 50, Orders: 80, MaxOrders: 400})}
	for _, topic := range load.Topics() {
		br.Topic(topic, load.Partitions())
	}
	n := newNode(t, br.Servers())
	n.start(t)
	n.ready(t)
	n.put(t, "shop", shopConfig(load.Shop))
	load.run(br.Client(), 400)

	phases := slices.Clone(crashPhases)
	for i := range kills + len(phases) {
		if i < len(phases) {
			// A phase: the process ends itself with SIGKILL at the third time that it gets there.
			n.Kill()
			n.env = []string{"SLUICE_CRASH_AT=" + phases[i] + ":3"}
			n.start(t)
			select {
			case <-n.Done():
			case <-time.After(30 * time.Second):
				t.Fatalf("the process did not get to %s", phases[i])
			}
			n.env = nil
		} else {
			// Mostly short lives, some long enough to commit a lot.
			life := time.Duration(rnd.IntN(900)) * time.Millisecond
			if rnd.IntN(5) == 0 {
				life += time.Second
			}
			time.Sleep(life)
			n.Kill()
		}
		n.start(t)
	}
	load.end(t)
	n.ready(t)
	n.caughtUp(t, "shop", load.ends(), shopFeeds(load.Shop), 2*time.Minute)
	if err := n.Stop(30 * time.Second); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	n.checkShop(t, load)
}
