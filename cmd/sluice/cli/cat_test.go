package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestTextRowsHoldsFewRows: rows are printed as they come, whatever their number.
func TestTextRowsHoldsFewRows(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	p := &textRows{out: w}
	p.begin([]string{"id", "s"})
	const n = 5*heldRows + 7
	for i := range n {
		if err := p.row(fmt.Appendf(nil, `{"id":%d,"s":"x"}`, i)); err != nil {
			t.Fatal(err)
		}
		if len(p.held) > heldRows {
			t.Fatalf("%d rows are held", len(p.held))
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != n+4 || lines[0] != "id   s" || lines[2+n-1] != "1006  x" || lines[2+n] != "(1 007 rows)" && lines[2+n] != "(1,007 rows)" {
		t.Errorf("%d lines: %q … %q", len(lines), lines[:2], lines[n:])
	}
}
