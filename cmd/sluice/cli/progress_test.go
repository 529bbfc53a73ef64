package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	p := progress{what: "optimize", units: bytesText}
	for _, c := range []struct {
		done, total int64
		took        time.Duration
		want        string
	}{
		{0, 1 << 20, 0, "optimize [..............................] 0 %, 0 B of 1.0 MiB"},
		{1 << 19, 1 << 20, 10 * time.Second, "optimize [###############...............] 50 %, 512.0 KiB of 1.0 MiB, 10s left"},
		{2 << 20, 1 << 20, 10 * time.Second, "optimize [##############################] 100 %, 1.0 MiB of 1.0 MiB, 0s left"},
		{2048, 0, time.Second, "optimize 2.0 KiB"},
	} {
		if got := p.line(c.done, c.total, c.took); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	var out bytes.Buffer
	a := app{Streams: Streams{Err: &out}}
	q := a.progress("x", countText)
	q.next = time.Time{}
	q.set(1, 2)
	q.done()
	if out.Len() > 0 {
		t.Errorf("a bar where there is no terminal: %q", out.String())
	}
}
