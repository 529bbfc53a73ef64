package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/internal/testkit/proc"
)

// at names a table of the lake, which is a folder or a URL.
func (n *node) at(path string) string { return n.lake + "/" + path }

// cat gives the rows of a table as canonical JSON lines, as the binary prints them.
func (n *node) cat(tb testing.TB, path string, args ...string) []string {
	tb.Helper()
	cmd := exec.Command(proc.Sluice(tb), append([]string{"table", "cat", n.at(path), "--output", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	var rows []string
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		rows = append(rows, sc.Text())
	}
	if err := sc.Err(); err != nil {
		tb.Fatal(err)
	}
	return rows
}

// member gives the members of a canonical JSON line.
func members(tb testing.TB, line string) map[string]json.RawMessage {
	tb.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		tb.Fatalf("row %s: %v", line, err)
	}
	return m
}

// source leaves the columns of the source in the rows, sorted.
func source(tb testing.TB, rows []string) []string {
	tb.Helper()
	out := make([]string, len(rows))
	for i, row := range rows {
		m := members(tb, row)
		for name := range m {
			if strings.HasPrefix(name, "_") {
				delete(m, name)
			}
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m); err != nil {
			tb.Fatal(err)
		}
		out[i] = strings.TrimSuffix(b.String(), "\n")
	}
	slices.Sort(out)
	return out
}

// sameRows compares two multisets of lines and prints the first differences. It tells whether they are equal.
func sameRows(tb testing.TB, what string, got, want []string) bool {
	tb.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return true
	}
	var b strings.Builder
	shown := 0
	for i, j := 0, 0; (i < len(got) || j < len(want)) && shown < 12; {
		switch {
		case j == len(want) || (i < len(got) && got[i] < want[j]):
			fmt.Fprintf(&b, "  too much: %s\n", got[i])
			i, shown = i+1, shown+1
		case i == len(got) || want[j] < got[i]:
			fmt.Fprintf(&b, "  missing:  %s\n", want[j])
			j, shown = j+1, shown+1
		default:
			i, j = i+1, j+1
		}
	}
	tb.Errorf("%s: %d rows, want %d\n%s", what, len(got), len(want), b.String())
	return false
}

// everyOffsetOnce checks D1 and D6 on bronze: exactly the offsets below the ends, each once.
func (n *node) everyOffsetOnce(tb testing.TB, want ends) {
	tb.Helper()
	for topic, parts := range want {
		total := int64(0)
		for _, end := range parts {
			total += end
		}
		if total == 0 {
			continue
		}
		seen := map[[2]int64]int{}
		for _, row := range n.cat(tb, "bronze/"+topic, "--columns", "partition,offset") {
			var r struct{ Partition, Offset int64 }
			if err := json.Unmarshal([]byte(row), &r); err != nil {
				tb.Fatal(err)
			}
			seen[[2]int64{r.Partition, r.Offset}]++
		}
		lost, doubled := 0, 0
		for p, end := range parts {
			for o := range end {
				switch c := seen[[2]int64{int64(p), o}]; {
				case c == 0:
					lost++
				case c > 1:
					doubled++
				}
			}
		}
		if lost+doubled > 0 || int64(len(seen)) != total {
			tb.Errorf("bronze/%s: %d offsets lost, %d doubled, %d different ones of %d", topic, lost, doubled, len(seen), total)
		}
	}
}
