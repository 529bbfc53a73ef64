package silver_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/store/mem"
)

// Histories of TestLaws that ended with an older value, or an unknown one, though their events tell it: large values that the source left out, primary
// keys that changed, and events that came late inside their partition. A row that another one followed at its key was taken for the one that left later;
// and what came late for a row did not find it when the delete at its old key came later still.
func TestLateValues(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		mode  string
		seed  uint64
		steps int
	}{{"late placeholders", 22616, 12}, {"late placeholders", 113626, 12}, {"late placeholders", 3098, 40}} {
		for _, soft := range []bool{false, true} {
			rapid.Check(t, func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(x.seed, 7))
				s := newSource(rng, modes()[x.mode])
				for range 1 + rng.IntN(x.steps) {
					s.step()
				}
				want := s.lines()
				s.publish()
				conf := sinkConfig()
				if soft {
					conf.SilverDeleteMode = "soft"
				}
				r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake")}
				in := interleaveParts(rng, s.parts)
				r.merge("bronze/t", in)
				if d := diff(tableLines(t, r.b), want); d != "" {
					t.Fatalf("seed %d:\n%s%s", x.seed, d, history(in, d))
				}
			})
		}
	}
}
