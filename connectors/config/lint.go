package config

import (
	"slices"
	"strings"

	"sluice.io/sluice/internal/near"
)

// ownNamespaces are prefixes under which every key is defined: an unknown one is a mistake. Elsewhere unknown keys are
// kept and ignored, as in Kafka Connect (people note owners and tickets there).
var ownNamespaces = []string{"silver.", "bronze.", "lake.", "cdc.", "format.", "commit.", "schema.evolution", "errors.", "tasks.", "topics.", "unavailable."}

// suggest finds the known key that an unknown one was meant to be; "" when none is near.
func suggest(unknown string, known []string) string {
	u, most := near.Fold(unknown), 2
	if len(u) < 5 {
		most = 1
	}
	if best := near.Nearest(unknown, known, most); best != "" {
		return best
	}
	// A word left out: silver.delete for silver.delete.mode, commit.interval for commit.interval.ms.
	var longer []string
	for _, k := range known {
		if strings.HasPrefix(near.Fold(k), u+".") {
			longer = append(longer, k)
		}
	}
	if len(longer) == 1 {
		return longer[0]
	}
	// Another namespace in front: delete.mode for silver.delete.mode.
	longer = longer[:0]
	for _, k := range known {
		if strings.HasSuffix(near.Fold(k), "."+u) && strings.Contains(u, ".") {
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
	if k == "schema.evolution.rename" {
		return "no such key; events tell a rename as a column that goes and one that comes: set schema.evolution.drop and schema.evolution.add"
	}
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
