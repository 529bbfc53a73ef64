package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var seed = flag.Uint64("seed", 0, "run this one history and print what happens in it")

// history runs one seed and gives the error of a violated invariant.
func history(seed uint64, steps int) (*World, error) {
	w := New(seed)
	for i := range steps {
		if i == 200 {
			w.configure()
		}
		if err := w.Step(true); err != nil {
			return w, err
		}
	}
	w.Heal()
	settled := false
	for range 5000 {
		if err := w.Step(false); err != nil {
			return w, err
		}
		if !settled {
			settled = w.Settle()
		} else if w.Settled() {
			return w, agree(w)
		}
	}
	return w, fmt.Errorf("it does not settle after all faults are healed")
}

// agree compares the replicas: what all have applied is the same to the byte.
func agree(w *World) error {
	var first []byte
	for _, n := range w.nodes {
		w.apply(n, len(w.log))
		var buf bytes.Buffer
		if err := n.state.Save(&buf); err != nil {
			return err
		}
		if first == nil {
			first = buf.Bytes()
		} else if !bytes.Equal(first, buf.Bytes()) {
			return fmt.Errorf("the replicas of %s and %s differ", w.nodes[0].id, n.id)
		}
	}
	return nil
}

// TestSim: go test ./coordinator/sim -run Sim -seed N repeats one history; SLUICE_TEST_LONG=1 runs thousands. SLUICE_SEED=N runs others, from
// seed N·1 000 000 on, and SLUICE_SIM_HISTORIES says how many.
func TestSim(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		w, err := history(*seed, 3000)
		for _, line := range w.Trace() {
			t.Log(line)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	histories := 80
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		histories = 5000
	}
	number := func(name string, otherwise int) int {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s=%q is not a number", name, text)
		}
		return n
	}
	histories = number("SLUICE_SIM_HISTORIES", histories)
	first := uint64(number("SLUICE_SEED", 0)) * 1_000_000
	faults := map[string]int{}
	for s := first; s < first+uint64(histories); s++ {
		w, err := history(s+1, 3000)
		if err != nil {
			trace := w.Trace()
			t.Fatalf("seed %d, at %d ms: %v\nlast steps:\n%s\nreproduce: go test ./coordinator/sim -run Sim -seed %d",
				s+1, w.now, err, strings.Join(trace[max(0, len(trace)-30):], "\n"), s+1)
		}
		for k, n := range w.Faults() {
			faults[k] += n
		}
	}
	t.Logf("FIGURE simulation: %d histories from seed %d on, violations 0, faults by kind: %v", histories, first+1, faults)
}

// TestSameSeedSameHistory: otherwise a seed would be of no use.
func TestSameSeedSameHistory(t *testing.T) {
	t.Parallel()
	a, errA := history(7, 2000)
	b, errB := history(7, 2000)
	if fmt.Sprint(errA) != fmt.Sprint(errB) || a.now != b.now || len(a.log) != len(b.log) || !slices.Equal(a.trace, b.trace) {
		t.Fatalf("seed 7 gave two histories: %d and %d entries, %v and %v", len(a.log), len(b.log), errA, errB)
	}
}
