package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress draws a bar for long work on a terminal, and nothing elsewhere. A nil one draws nothing.
type progress struct {
	w     io.Writer
	what  string
	units func(int64) string
	next  time.Time
	began time.Time
	drawn bool
}

// progress begins a bar on standard error. It shows once the work has taken a moment.
func (a *app) progress(what string, units func(int64) string) *progress {
	now := time.Now()
	p := &progress{w: a.Err, what: what, units: units, began: now, next: now.Add(500 * time.Millisecond)}
	if !isTerminal(a.Err) {
		p.w = nil
	}
	return p
}

// set draws what is done of total; 0: it is not known how much there is.
func (p *progress) set(done, total int64) {
	if p == nil {
		return
	}
	now := time.Now()
	if p.w == nil || now.Before(p.next) {
		return
	}
	p.next, p.drawn = now.Add(100*time.Millisecond), true
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(done, total, now.Sub(p.began)))
}

const barWidth = 30

func (p *progress) line(done, total int64, took time.Duration) string {
	if total <= 0 {
		return fmt.Sprintf("%s %s", p.what, p.units(done))
	}
	done = min(done, total)
	full := int(done * barWidth / total)
	left := ""
	if done > 0 && took > time.Second {
		left = fmt.Sprintf(", %s left", time.Duration(float64(took)*float64(total-done)/float64(done)).Round(time.Second))
	}
	return fmt.Sprintf("%s [%s%s] %d %%, %s of %s%s", p.what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done*100/total,
		p.units(done), p.units(total), left)
}

// done takes the bar away.
func (p *progress) done() {
	if p != nil && p.drawn {
		p.drawn = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
