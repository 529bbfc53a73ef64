package coordinator

import (
	"fmt"
	"testing"
	"time"
)

func TestNextVoter(t *testing.T) {
	t.Parallel()
	// V living voter, D voter dead for long, d voter dead for a moment, S fit follower, f follower not fit yet
	for in, want := range map[string]string{
		"V":       "-",
		"VS":      "+2",
		"VSS":     "+2",
		"VVS":     "+3",
		"VVV":     "-",
		"VVVS":    "-", // an even number would need one more for a majority, and survive no more
		"VVVSS":   "+4",
		"VVVVV":   "-",
		"VVVVVS":  "-",
		"VVVVDS":  "-5", // five at most: the dead one goes first
		"VVDS":    "+4",
		"VVVD":    "-4", // after its successor has come
		"VVd":     "-",
		"VVdS":    "+4",
		"VVD":     "-", // nobody to take it, and two voters would be worse than two of three
		"VVVDD":   "-4",
		"VVVDDf":  "-4",
		"VVVVVDf": "-6",
		"Vf":      "-",
	} {
		var all []voter
		for i, r := range in {
			v := voter{id: fmt.Sprint(i + 1)}
			switch r {
			case 'V':
				v.votes, v.alive, v.stable = true, true, true
			case 'D':
				v.votes, v.deadFor = true, time.Hour-time.Duration(i)
			case 'd':
				v.votes = true
			case 'S':
				v.alive, v.stable = true, true
			case 'f':
				v.alive = true
			}
			all = append(all, v)
		}
		got := "-"
		if c, ok := nextVoter(all, time.Minute); ok {
			got = "+" + c.promote
			if c.promote == "" {
				got = "-" + c.demote
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
