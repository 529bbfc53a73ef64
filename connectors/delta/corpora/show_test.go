package corpora

import (
	"flag"
	"fmt"
	"testing"
)

var (
	show        = flag.String("show", "", "print the rows of the table in this folder")
	showVersion = flag.Int64("show-version", -1, "of this version")
)

// TestShow prints a table for people and other programs: go test -run TestShow -show DIR.
func TestShow(t *testing.T) {
	if *show == "" {
		t.Skip("SKIPPED: -show names no folder")
	}
	s, err := snapshot(*show, *showVersion)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := tableLines(s, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		fmt.Println(l)
	}
}
