package silver_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/config"
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

// A column that the first events leave out, in a format that tells no types, is there for what comes late. Was: the table had no such column yet, so that the row
// did not remember that its value was to come.
func TestLateColumn(t *testing.T) {
	t.Parallel()
	for _, scd := range []int{1, 2} {
		for _, nested := range []bool{false, true} {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprintf("SCD %d, nested %t, one merge %t", scd, nested, together), func(t *testing.T) {
					hole, value, want := `"__debezium_unavailable_value"`, `"text"`, `"text"`
					if nested {
						hole, value, want = `["__debezium_unavailable_value"]`, `["x"]`, `"[\"x\"]"`
					}
					set := func(c *config.Sink) { c.SilverSCDType = scd }
					x, w := newBench(t, set), newWire(t)
					older := at(w.pg("c", 50, 50, 1, `{"id":1,"a":1,"big":`+value+`}`)[0], 1)
					newer := w.pg("u", 60, 60, 1, `{"id":1,"a":2,"big":`+hole+`}`)[0]
					if together {
						x.merge(newer, older)
					} else {
						x.merge(newer)
						x.reopen(set)
						x.merge(older)
					}
					x.wantCurrent(scd, `{"a":2,"big":`+want+`,"id":1}`)
				})
			}
		}
	}
}

// wantCurrent is want for the rows that are current.
func (x *bench) wantCurrent(scd int, want ...string) {
	x.t.Helper()
	var got []string
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
			got = append(got, dataOnly(x.t, l))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		x.t.Errorf("got %v, want %v", got, want)
	}
}
