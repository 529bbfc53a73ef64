// Package near finds the name that somebody meant who typed another one: the settings of a node, the keys of a connector and
// the properties of a Kafka client all answer an unknown name with it.
package near

import "strings"

var separators = strings.NewReplacer("_", ".", "-", ".")

// Fold makes names equal that differ only in case or in the separators between their words.
func Fold(name string) string { return separators.Replace(strings.ToLower(name)) }

// Nearest gives the known name with the fewest edits to name, both folded, if it takes at most that many; "" if none is
// that near. Of several the first one counts.
func Nearest(name string, known []string, most int) string {
	best, least := "", most+1
	folded := Fold(name)
	for _, k := range known {
		if d := Distance(folded, Fold(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// Distance is the number of bytes to change, add, drop or swap to get from a to b (optimal string alignment), or limit when
// it is not less.
func Distance(a, b string, limit int) int {
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
