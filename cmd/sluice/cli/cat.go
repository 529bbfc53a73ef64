package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones, wherever the program runs
	"unicode/utf8"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
)

// rowFlags say which rows of a table a command reads.
type rowFlags struct {
	versionFlags
	columns []string
	where   string
	zone    string
	limit   int64
	bar     *progress // of the rows that are read; may be nil
}

func (f *rowFlags) add(c *cobra.Command) {
	f.versionFlags.add(c)
	c.Flags().StringSliceVar(&f.columns, "columns", nil, "columns to read, separated by commas (default: all)")
	c.Flags().StringVar(&f.where, "where", "", "rows to read: a condition of SQL, such as \"status IN ('PAID', 'SENT') AND NOT (total < 100 OR shipped_on IS NULL)\"")
	c.Flags().StringVar(&f.zone, "zone", "UTC", "zone of the writers, such as Europe/Berlin: old ones gave partitions by a timestamp the time of their clocks, and no zone")
	c.Flags().Int64Var(&f.limit, "limit", 0, "how many rows at most; 0: all")
}

// scan gives the names of the columns, then each row as canonical JSON, which is only valid during the call.
func (f *rowFlags) scan(ctx context.Context, s *delta.Snapshot, begin func(columns []string), row func(line []byte) error) error {
	o := rows.Options{Columns: f.columns, Reuse: true}
	sc, err := o.Schema(s)
	if err != nil {
		return fmt.Errorf("%w; there are: %s", err, strings.Join(columnNames(s.Schema()), ", "))
	}
	if f.where != "" {
		if o.Where, err = rows.ParsePredicate(f.where, s.Schema()); err != nil {
			return usageError{fmt.Errorf("--where: %w", err)}
		}
	}
	if o.Zone, err = time.LoadLocation(f.zone); err != nil {
		return usageError{fmt.Errorf("--zone: %w", err)}
	}
	begin(columnNames(sc))
	var line []byte
	n := int64(0)
	total, exact := s.NumRecords()
	if f.limit > 0 {
		total = min(total, f.limit)
	}
	if !exact || f.where != "" { // how many rows will come is not known
		total = 0
	}
	for batch, err := range rows.Scan(ctx, s, o) {
		if err != nil {
			return err
		}
		for i := range int(batch.Record.NumRows()) {
			if f.limit > 0 && n >= f.limit {
				return nil
			}
			if line, err = columnar.AppendCanonicalJSON(line[:0], batch.Record, sc, i); err != nil {
				return err
			}
			if err := row(line); err != nil {
				return err
			}
			n++
		}
		f.bar.set(n, total)
	}
	return ctx.Err()
}

// changes prints the row changes of a range of versions.
func (f *rowFlags) changes(ctx context.Context, t *delta.Table, feed string, p printer) error {
	if f.version >= 0 || f.asOf != "" || f.where != "" || f.zone != "UTC" {
		return usagef("--cdf names versions itself, and takes no --version, --as-of, --where or --zone")
	}
	from, to, _ := strings.Cut(feed, ":")
	o := cdf.Options{To: -1, Columns: f.columns}
	var err error
	if o.From, err = strconv.ParseInt(from, 10, 64); err == nil && to != "" {
		o.To, err = strconv.ParseInt(to, 10, 64)
	}
	if err != nil || o.From < 0 {
		return usagef("--cdf is %q: give FROM:TO, two versions", feed)
	}
	shape, err := cdf.Shape(ctx, t, o)
	if err != nil {
		return err
	}
	sc, err := cdf.Schema(shape, o)
	if err != nil {
		return err
	}
	p.begin(columnNames(sc))
	var line []byte
	n := int64(0)
	for batch, err := range cdf.Read(ctx, t, o) {
		if err != nil {
			return err
		}
		for i := range int(batch.Record.NumRows()) {
			if f.limit > 0 && n >= f.limit {
				return nil
			}
			if line, err = columnar.AppendCanonicalJSON(line[:0], batch.Record, sc, i); err != nil {
				return err
			}
			if err := p.row(line); err != nil {
				return err
			}
			n++
		}
	}
	return ctx.Err()
}

func columnNames(s schema.Schema) []string {
	out := make([]string, 0, len(s.Fields))
	for _, f := range s.Fields {
		out = append(out, f.Name)
	}
	return out
}

func (a *app) tableCat() *cobra.Command {
	var f rowFlags
	var sorted bool
	var feed string
	c := &cobra.Command{
		Use: "cat TABLE", Short: "Print the rows of a table", Args: cobra.ExactArgs(1),
		Long: "Print the rows of a table, in the order in which they lie in its files.\n\n" +
			"With --output json each row is one line of canonical JSON: keys sorted, no blanks, decimals as text with their scale,\n" +
			"binary as base64, timestamps with six digits in UTC, maps as sorted pairs. Two tables have the same rows exactly when\n" +
			"their sorted lines are the same, whichever engine printed them.",
		Example: "  sluice table cat data/lake/silver/shop.public.orders --where \"status = 'PAID'\" --columns id,total --limit 10\n" +
			"  sluice table cat s3://bucket/lake/silver/orders --version 7 --output json --sort",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if sorted || !isTerminal(a.Out) { // else the rows themselves tell
				f.bar = a.progress("reading rows", countText)
			}
			out := bufio.NewWriterSize(a.Out, 1<<16)
			p := printer(&jsonLines{out: out})
			if a.output == "text" {
				p = &textRows{out: out}
			}
			if sorted {
				p = &sortedRows{next: p, limit: f.limit}
				f.limit = 0
			}
			var err error
			if feed != "" {
				var t *delta.Table
				if t, err = openTable(ctx, args[0]); err != nil {
					return err
				}
				err = f.changes(ctx, t, feed, p)
			} else {
				var s *delta.Snapshot
				if s, err = f.open(ctx, args[0]); err != nil {
					return err
				}
				err = f.scan(ctx, s, p.begin, p.row)
			}
			f.bar.done()
			if err == nil {
				err = p.end()
			}
			if flush := out.Flush(); err == nil { // rows before the error are rows of the table too
				return flush
			}
			return tableError(args[0], err)
		},
	}
	f.add(c)
	c.Flags().StringVar(&feed, "cdf", "", "FROM:TO: the row changes of these versions, both included, in place of rows; TO may be left out")
	c.Flags().BoolVar(&sorted, "sort", false, "sort the lines by bytes, to compare tables")
	return c
}

// printer takes rows as canonical JSON lines, after the names of their columns.
type printer interface {
	begin(columns []string)
	row(line []byte) error
	end() error
}

type jsonLines struct{ out *bufio.Writer }

func (j *jsonLines) row(line []byte) error {
	if _, err := j.out.Write(line); err != nil {
		return err
	}
	return j.out.WriteByte('\n')
}

func (j *jsonLines) begin([]string) {}
func (j *jsonLines) end() error     { return nil }

type sortedRows struct {
	next  printer
	limit int64 // 0: all
	lines []string
}

func (s *sortedRows) begin(columns []string) { s.next.begin(columns) }

func (s *sortedRows) row(line []byte) error {
	s.lines = append(s.lines, string(line))
	return nil
}

func (s *sortedRows) end() error {
	slices.Sort(s.lines)
	if s.limit > 0 && int64(len(s.lines)) > s.limit {
		s.lines = s.lines[:s.limit]
	}
	for _, l := range s.lines {
		if err := s.next.row([]byte(l)); err != nil {
			return err
		}
	}
	return s.next.end()
}

// textRows prints rows in columns whose widths fit the first rows, of which it holds no more than these.
type textRows struct {
	out   *bufio.Writer
	held  []map[string]json.RawMessage
	width []int
	cols  []string
	n     int64
}

const (
	heldRows = 200
	maxCell  = 48
)

func (t *textRows) begin(columns []string) { t.cols = columns }

func (t *textRows) row(line []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return err
	}
	t.held = append(t.held, m)
	t.n++
	if len(t.held) == heldRows {
		t.print()
	}
	return nil
}

func (t *textRows) end() error {
	if len(t.held) > 0 || t.width == nil {
		t.print()
	}
	word := "rows"
	if t.n == 1 {
		word = "row"
	}
	_, err := fmt.Fprintf(t.out, "(%s %s)\n", countText(t.n), word)
	return err
}

// print prints the rows that are held.
func (t *textRows) print() {
	block := t.held
	t.held = t.held[:0]
	cells := make([][]string, len(block))
	first := t.width == nil
	if first {
		t.width = make([]int, len(t.cols))
		for i, c := range t.cols {
			t.width[i] = utf8.RuneCountInString(c)
		}
	}
	for r, m := range block {
		cells[r] = make([]string, len(t.cols))
		for i, c := range t.cols {
			cells[r][i] = cellText(m[c])
			if first {
				t.width[i] = max(t.width[i], utf8.RuneCountInString(cells[r][i]))
			}
		}
	}
	if first {
		t.line(t.cols)
		rule := make([]string, len(t.cols))
		for i := range rule {
			rule[i] = strings.Repeat("-", t.width[i])
		}
		t.line(rule)
	}
	for _, r := range cells {
		t.line(r)
	}
}

func (t *textRows) line(cells []string) {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(c)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(0, t.width[i]-utf8.RuneCountInString(c))))
		}
	}
	b.WriteByte('\n')
	_, _ = t.out.WriteString(b.String()) // the error stays in the writer, for Flush
}

// cellText is a value as a person reads it.
func cellText(raw json.RawMessage) string {
	s := string(raw)
	if len(s) > 0 && s[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			s = strings.Map(func(r rune) rune {
				if r < 0x20 || r == 0x7f {
					return ' '
				}
				return r
			}, text)
		}
	} else if s == "null" {
		s = "NULL"
	}
	if utf8.RuneCountInString(s) > maxCell {
		s = string([]rune(s)[:maxCell-1]) + "…"
	}
	return s
}
