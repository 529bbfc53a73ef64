package dev

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// screen draws lines in place of those drawn before.
type screen struct {
	out   io.Writer
	width func() int
	drawn int // lines on the screen
}

// draw replaces what was drawn.
func (s *screen) draw(lines []string) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	w := s.width()
	for _, l := range lines {
		b.WriteString(cut(l, w))
		b.WriteString("\x1b[K\n") // and clear what was there to the end of the line
	}
	if more := s.drawn - len(lines); more > 0 {
		b.WriteString("\x1b[J")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.out, b.String()) // a terminal that is gone is noticed by the signal
}

// cut shortens a line that would wrap: a wrapped line takes two rows, and the next draw would be off.
func cut(l string, w int) string {
	if w <= 1 || utf8.RuneCountInString(l) < w {
		return l
	}
	r := []rune(l)
	return string(r[:w-2]) + "…"
}
