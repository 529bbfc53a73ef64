package config

import (
	"slices"
	"strings"
)

// ownNamespaces are prefixes under which every key is defined: an unknown one is a mistake. Elsewhere unknown keys are
// kept and ignored, as in Kafka Connect (people note owners and tickets there).
var ownNamespaces = []string{"silver.", "bronze.", "lake.", "cdc.", "commit.", "schema.evolution", "errors.", "tasks.", "topics.", "unavailable."}

// suggest finds the known key that an unknown one was meant to be; "" when none is near.
func suggest(unknown string, known []string) string {
	norm := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '_' || r == '-' {
				return '.'
			}
			return r
		}, strings.ToLower(s))
	}
	u := norm(unknown)
	best, dist := "", 3
	if len(u) < 5 {
		dist = 2
	}
	for _, k := range known {
		if d := distance(u, norm(k), dist); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return best
	}
	// A word left out: silver.delete for silver.delete.mode, commit.interval for commit.interval.ms.
	var longer []string
	for _, k := range known {
		if strings.HasPrefix(norm(k), u+".") {
			longer = append(longer, k)
		}
	}
	if len(longer) == 1 {
		return longer[0]
	}
	// Another namespace in front: delete.mode for silver.delete.mode.
	longer = longer[:0]
	for _, k := range known {
		if strings.HasSuffix(norm(k), "."+u) && strings.Contains(u, ".") {
			longer = append(longer, k)
		}
	}
	if len(longer) == 1 {
		return longer[0]
	}
	return ""
}

// unknownKey says what is wrong with a key that no definition has; "" when it may stand there.
func unknownKey(k string, known []string) string {
	s := suggest(k, known)
	own := slices.ContainsFunc(ownNamespaces, func(p string) bool { return strings.HasPrefix(k, p) })
	switch {
	case s != "":
		return "no such key; did you mean " + s + "?"
	case own:
		return "no such key; GET /connector-plugins/" + LakehouseClass + "/config lists all that there are"
	}
	return ""
}

// distance is the number of single-character edits, swaps included, between two texts, or limit when it is not less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(b)], limit)
}
