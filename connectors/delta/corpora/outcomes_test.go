package corpora

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func refusal(t *testing.T, name, dir string, err error) outcome {
	text := clean(err.Error(), dir)
	if want, ok := reasons[name]; ok && !strings.Contains(text, want) {
		t.Errorf("%s is refused for the wrong reason: %s", name, text)
	}
	return outcome{"refused", text + notes[name]}
}

// clean takes the temporary folder out of a text.
func clean(s, dir string) string {
	s = strings.ReplaceAll(s, filepath.ToSlash(dir), "TABLE")
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "\t", " ")
}

func readOutcomes(t *testing.T) map[string]outcome {
	out := map[string]outcome{}
	b, err := os.ReadFile(outcomesFile)
	if err != nil {
		if *update {
			return out
		}
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 || f[2] == "" {
			t.Fatalf("%s: %q has no sentence", outcomesFile, line)
		}
		out[f[0]] = outcome{f[1], f[2]}
	}
	return out
}

func writeOutcomes(t *testing.T, order []string, got map[string]outcome) {
	var b strings.Builder
	b.WriteString("# What each version of each table gives: see corpora_test.go. Written by go test -update; read every changed line.\n" +
		"# Rows that nothing came with, and all others, were compared with those of delta-rs 1.6.6 (as canonical JSON lines): equal,\n" +
		"# but for type-widening and vacuumProtocolCheck, which it refuses, and data-reader-partition-values, which it reads as UTC.\n")
	slices.SortFunc(order, func(x, y string) int {
		tx, vx, _ := strings.Cut(x, "@")
		ty, vy, _ := strings.Cut(y, "@")
		if c := strings.Compare(tx, ty); c != 0 {
			return c
		}
		nx, _ := strconv.Atoi(vx)
		ny, _ := strconv.Atoi(vy)
		return nx - ny
	})
	for _, name := range order {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", name, got[name].kind, got[name].sentence)
	}
	if err := os.WriteFile(outcomesFile, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}
