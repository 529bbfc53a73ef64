package silver_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
)

// The laws of histories (silver.scd.type=2), beside those of TestLaws. The judge is again the simulated database, which after
// each transaction notes all of its rows:
//
//	as of         the versions that were valid at the time of a transaction's commit are the rows that the database had then
//	intervals     a key's versions follow each other, at most one has not ended
//	count         each change of a row made one version
//	D7            another cut, another interleaving: the same versions

// version is a row of a history.
type version struct {
	data       string
	start, end time.Time
	open       bool
	id         int64
	seq        string
	endSeq     string
	whole      string
}

func (v version) at(t time.Time) bool { return !v.start.After(t) && (v.open || v.end.After(t)) }

func historyOf(t fataler, b store.Bucket) []version {
	var out []version
	for _, l := range canonicalRows(t, b, "silver/t") {
		var m struct {
			ID     int64      `json:"id"`
			Start  time.Time  `json:"__START_AT"`
			End    *time.Time `json:"__END_AT"`
			Seq    []byte     `json:"_cdc_sequence"`
			EndSeq []byte     `json:"_cdc_end_sequence"`
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		v := version{data: dataOnly(t, l), start: m.Start, open: m.End == nil, id: m.ID, seq: string(m.Seq), endSeq: string(m.EndSeq), whole: l}
		if m.End != nil {
			v.end = *m.End
		}
		if v.open != (len(m.EndSeq) == 0) {
			t.Fatalf("__END_AT and _cdc_end_sequence disagree: %s", l)
		}
		out = append(out, v)
	}
	return out
}

func (v version) line() string {
	end := "now"
	if !v.open {
		end = v.end.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s [%s, %s)", v.data, v.start.Format(time.RFC3339Nano), end)
}

func lines(h []version) []string {
	var out []string
	for _, v := range h {
		out = append(out, v.line())
	}
	sort.Strings(out)
	return out
}

func printHistory(h []version) string {
	sort.Slice(h, func(i, j int) bool { return h[i].id < h[j].id || h[i].id == h[j].id && h[i].seq < h[j].seq })
	var b strings.Builder
	for _, v := range h {
		fmt.Fprintf(&b, "    %s  %s…%s\n", v.line(), hex.EncodeToString([]byte(v.seq)), hex.EncodeToString([]byte(v.endSeq)))
	}
	return b.String()
}

func TestHistoryLaws(t *testing.T) {
	for name, mode := range historyModes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				seed := rapid.Uint64().Draw(t, "seed")
				steps := rapid.IntRange(1, 24).Draw(t, "steps")
				rng := rand.New(rand.NewPCG(seed, 1))
				s := newSource(rng, mode)
				for range steps {
					s.step()
				}
				want := s.lines()
				s.publish()
				conf := sinkConfig()
				conf.SilverSCDType = 2
				if rng.IntN(3) == 0 {
					conf.SilverMergeMode = "copy-on-write"
				}
				f := fataler{t}
				r := &simRun{t: t, rng: rng, conf: conf, b: mem.New("lake"), restarts: true, foreign: true}
				in := interleaveParts(rng, s.parts)
				conf.SilverCDF = rng.IntN(3) == 0
				somePartition(rng, conf)
				r.merge("bronze/t", in)
				checkFeed(t, r)
				if !tableThere(r.b) {
					return
				}
				h := historyOf(f, r.b)
				check := func(what string, at time.Time, now bool, want []string) {
					var got []string
					for _, v := range h {
						if now && v.open || !now && v.at(at) {
							got = append(got, v.data)
						}
					}
					sort.Strings(got)
					if d := diff(got, want); d != "" || len(got) != len(want) {
						t.Fatalf("%s %s: %d rows, want %d:\n%s%s%s", what, at.Format(time.RFC3339Nano), len(got), len(want), d, history(in, d), printHistory(h))
					}
				}
				check("now", time.Time{}, true, want)
				for _, c := range s.commits {
					check("as of", time.Unix(0, c.ts), false, c.rows)
				}
				intervals(t, h)
				if !mode.full && len(h) != s.upserts {
					t.Fatalf("%d versions of %d changes\n%s%s", len(h), s.upserts, history(in, `"id":`), printHistory(h))
				}
				all := canonicalRows(f, r.b, "silver/t")
				r.merge("bronze/again", again(in))
				checkFeed(t, r)
				if d := diff(canonicalRows(f, r.b, "silver/t"), all); d != "" && !mode.bare {
					t.Fatalf("a replay changed rows:\n%s%s%s", d, history(in, d), printHistory(h))
				}
				if mode.bare {
					return
				}
				r.b = mem.New("lake")
				r.merge("bronze/t", interleaveParts(rng, s.parts))
				if d := diff(lines(historyOf(f, r.b)), lines(h)); d != "" {
					t.Fatalf("another order made other versions:\n%s%s", d, printHistory(h))
				}
			})
		})
	}
}

func tableThere(b store.Bucket) bool {
	_, err := b.Get(context.Background(), "silver/t/_delta_log/00000000000000000000.json")
	return err == nil
}

// intervals checks that the versions of a key follow each other.
func intervals(t *rapid.T, h []version) {
	byKey := map[int64][]version{}
	for _, v := range h {
		byKey[v.id] = append(byKey[v.id], v)
	}
	for id, l := range byKey {
		sort.Slice(l, func(i, j int) bool { return l[i].seq < l[j].seq })
		for i := range l[:len(l)-1] {
			if l[i].open {
				t.Fatalf("key %d has a version behind one that has not ended:\n%s", id, printHistory(l))
			}
		}
	}
}
