package dev

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// tableView is what the view shows of one table.
type tableView struct {
	Name        string
	PerSecond   float64 // records read from Kafka
	Bronze      int64   // rows
	Silver      int64   // rows; -1: there is no silver table yet
	Lag         int64   // records in Kafka that silver does not show yet
	P50, P99    time.Duration
	DeadLetters int64
	LastCommit  time.Time // of silver; zero: none
	Trouble     string
}

// view is all that is shown.
type view struct {
	REST, Broker, Lake string
	Written            int64 // by the shop
	Up                 time.Duration
	Tables             []tableView
	Note               string
}

var header = []string{"TABLE", "EVENTS/S", "BRONZE ROWS", "SILVER ROWS", "LAG", "FRESH P50", "P99", "DEAD", "LAST COMMIT"}

// lines renders the view for a terminal.
func (v view) lines(now time.Time) []string {
	rows := [][]string{header}
	for _, t := range v.Tables {
		rows = append(rows, t.cells(now))
	}
	out := []string{
		fmt.Sprintf("sluice dev · up %s · the shop has written %s events · REST %s · Kafka %s",
			v.Up.Truncate(time.Second), count(v.Written), v.REST, v.Broker),
		"",
	}
	out = append(out, align(rows)...)
	for _, t := range v.Tables {
		if t.Trouble != "" {
			out = append(out, "  "+t.Name+": "+t.Trouble)
		}
	}
	if v.Note != "" {
		out = append(out, "  "+v.Note)
	}
	return append(out, "", "Ctrl-C stops; everything is kept in "+v.Lake+" and goes on next time")
}

// plain renders one line for each table, for logs.
func (v view) plain(now time.Time) []string {
	var out []string
	for _, t := range v.Tables {
		c := t.cells(now)
		line := fmt.Sprintf("%s: %s events/s, %s rows in bronze, %s in silver, lag %s, fresh p50 %s p99 %s, %s dead letters, last commit %s",
			c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8])
		if t.Trouble != "" {
			line += "; " + t.Trouble
		}
		out = append(out, line)
	}
	return out
}

func (t tableView) cells(now time.Time) []string {
	silver, last := "-", "-"
	if t.Silver >= 0 {
		silver = count(t.Silver)
	}
	if !t.LastCommit.IsZero() {
		last = ago(now.Sub(t.LastCommit))
	}
	return []string{t.Name, fmt.Sprintf("%.0f", t.PerSecond), count(t.Bronze), silver, count(t.Lag), fresh(t.P50), fresh(t.P99), count(t.DeadLetters), last}
}

func fresh(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func ago(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min ago", int(d.Minutes()))
}

// count prints a number with blanks between thousands.
func count(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// align pads columns: the first and the last to the left, numbers to the right.
func align(rows [][]string) []string {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	out := make([]string, 0, len(rows))
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if i == 0 || i == len(r)-1 {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}
