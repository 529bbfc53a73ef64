package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/worker/silver"
)

// LineOptions are the parameters of mixed upserts into lineitem.
type LineOptions struct {
	// Rows is the size of the table, Changes how many a merge takes, one in five of them an insert.
	Rows, Changes int
	Rounds        int
	Work, Readers string
	Theirs        bool // delta-rs too
	Keep          bool // leave the loaded table in Work, and take it from there
}

// LineResult is what the merges gave.
type LineResult struct {
	OpenSeconds, OpenCPU float64
	Seconds, CPU         []float64 // of each merge, the first one cold
	Bytes                []int64
	Index, Keys          int64   // bytes, keys
	Input, RSS           float64 // MB: of the changes of one merge; peak
	Took                 []string
	Part                 string // the data file of the first merge
}

func runLines(ctx context.Context, args []string) error {
	var o LineOptions
	flags := flag.NewFlagSet("bench-lineitem", flag.ContinueOnError)
	flags.IntVar(&o.Rows, "rows", 60_000_000, "rows of the table")
	flags.IntVar(&o.Changes, "changes", 600_000, "changes of a merge: four in five are updates, the others inserts")
	flags.IntVar(&o.Rounds, "rounds", 4, "merges; the first is cold, the median of the others counts")
	flags.StringVar(&o.Work, "work", "", "folder to work in (default: a new one, removed afterwards)")
	flags.StringVar(&o.Readers, "readers", os.Getenv("READERS_HOME"), "folder of delta-rs and DuckDB")
	flags.BoolVar(&o.Theirs, "delta-rs", false, "merge the first round with delta-rs too, into a copy of the table")
	flags.BoolVar(&o.Keep, "keep", false, "leave the table in -work, which need not be loaded again then")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.Work == "" {
		dir, err := os.MkdirTemp("", "bench-lineitem")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.Work = dir
	}
	out, err := o.Measure(ctx)
	fmt.Print(out)
	return err
}

// Measure loads, merges, and compares the sums of the rows with those that the generator gives.
func (o *LineOptions) Measure(ctx context.Context) (string, error) {
	base, dir := filepath.Join(o.Work, "loaded"), filepath.Join(o.Work, "table")
	loaded := ""
	if _, err := os.Stat(filepath.Join(base, "done")); err != nil {
		began := time.Now()
		if err := self(ctx, nil, "load-lines", base, strconv.Itoa(o.Rows)); err != nil {
			return "", fmt.Errorf("make lineitem of %d rows: %w", o.Rows, err)
		}
		if err := os.WriteFile(filepath.Join(base, "done"), nil, 0o644); err != nil {
			return "", err
		}
		loaded = fmt.Sprintf(", made in %.0f s", time.Since(began).Seconds())
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if !o.Keep {
		defer os.RemoveAll(base)
	}
	if err := linkTree(base, dir); err != nil {
		return "", err
	}
	if err := evict(dir); err != nil {
		return "", err
	}
	var r LineResult
	if err := self(ctx, &r, "lines", dir, strconv.Itoa(o.Rows), strconv.Itoa(o.Changes), strconv.Itoa(o.Rounds)); err != nil {
		return "", fmt.Errorf("merge into lineitem: %w", err)
	}
	warm, warmCPU := r.Seconds[1:], r.CPU[1:]
	out := fmt.Sprintf("%d mixed upserts (80/20) into lineitem of %d rows%s\n", o.Changes, o.Rows, loaded)
	out += fmt.Sprintf("cold: open %.2f s (%.1f CPU s), first merge %.2f s, together %.2f s (%.1f CPU s); the files were not in the page cache\n",
		r.OpenSeconds, r.OpenCPU, r.Seconds[0], r.OpenSeconds+r.Seconds[0], r.OpenCPU+r.CPU[0])
	out += fmt.Sprintf("warm: p50 of %d merges %.2f s (%.2f CPU s), %.1f MB written each; %s\n", len(warm), median(warm), median(warmCPU), median(mb(r.Bytes[1:])), r.Took[len(r.Took)-1])
	out += fmt.Sprintf("index: %.1f bytes per key; peak memory %.0f MB, of it index %.0f, the changes of one merge %.0f\n",
		float64(r.Index)/float64(r.Keys), r.RSS, float64(r.Index)/(1<<20), r.Input)
	want := expected(int64(o.Rows), o.Changes, o.Rounds)
	got, by, err := o.read(ctx, filepath.Join(dir, "ours"))
	if err != nil {
		return out, err
	}
	if got != want {
		return out, fmt.Errorf("the rows are not those of the generator, read by %s: %+v, want %+v", by, got, want)
	}
	out += fmt.Sprintf("rows: %d, their sums equal the generator's (read by %s)\n", got.Rows, by)
	if o.Theirs && o.Readers != "" {
		theirs, err := o.theirs(ctx, base, r.Part)
		out += theirs
		return out, err
	}
	return out, nil
}

// linkTree makes a folder of hard links: data files are never changed in place.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}

// touched gives the rows that a round writes: updates of rows that were loaded, each but once, and new ones.
func touched(rows int64, changes, round int) (updates, inserts []int64) {
	rng := rand.New(rand.NewPCG(uint64(round), 17))
	seen := make(map[int64]bool, changes)
	for len(updates) < min(changes*4/5, int(rows)) {
		if n := rng.Int64N(rows); !seen[n] {
			seen[n] = true
			updates = append(updates, n)
		}
	}
	each := int64(changes - changes*4/5)
	for i := range each {
		inserts = append(inserts, rows+int64(round)*each+i)
	}
	return updates, inserts
}

// lineEvents makes the changes of a round, updates and inserts mixed.
func lineEvents(rows int64, changes, round int) []connectors.Change {
	updates, inserts := touched(rows, changes, round)
	out := make([]connectors.Change, 0, len(updates)+len(inserts))
	event := rows + int64(round)*int64(changes)
	for i := 0; len(out) < cap(out); i++ {
		if i < len(updates) {
			out = append(out, lineChange(event, updates[i], round+1))
			event++
		}
		if i%4 == 3 && i/4 < len(inserts) || i >= len(updates) {
			out = append(out, lineChange(event, inserts[min(i/4, len(inserts)-1)], 0))
			event++
		}
	}
	return out
}

// expected sums up the rows as they are after all rounds, from the generator alone.
func expected(rows int64, changes, rounds int) sums {
	var s sums
	for n := range rows {
		l := lineOf(n, 0)
		s.add(&l, 1)
	}
	last := map[int64]int{}
	for round := range rounds {
		updates, inserts := touched(rows, changes, round)
		for _, n := range updates {
			was, is := lineOf(n, last[n]), lineOf(n, round+1)
			last[n] = round + 1
			s.add(&was, -1)
			s.add(&is, 1)
		}
		for _, n := range inserts {
			l := lineOf(n, 0)
			s.add(&l, 1)
		}
	}
	return s
}

// lineMerges opens the table and merges round after round.
func lineMerges(ctx context.Context, dir string, rows int64, changes, rounds int) (LineResult, error) {
	var out LineResult
	_, before := usage()
	in := lineEvents(rows, changes, 0)
	_, after := usage()
	out.Input = after - before
	cpu0, _ := usage()
	began := time.Now()
	m, c, err := open(ctx, dir)
	if err != nil {
		return out, err
	}
	cpu1, _ := usage()
	out.OpenSeconds, out.OpenCPU = time.Since(began).Seconds(), cpu1-cpu0
	for round := range rounds {
		if round > 0 {
			in = nil //nolint:wastedassign // not two rounds in memory at once
			in = lineEvents(rows, changes, round)
		}
		bytes := c.n.Load()
		cpu0, _ := usage()
		began := time.Now()
		res, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Version: m.Progress(feed) + 1, Changes: in}})
		if err != nil {
			return out, err
		}
		cpu1, _ := usage()
		out.Seconds, out.CPU, out.Bytes = append(out.Seconds, time.Since(began).Seconds()), append(out.CPU, cpu1-cpu0), append(out.Bytes, c.n.Load()-bytes)
		if !res.Committed || res.Upserted != len(in) {
			return out, fmt.Errorf("round %d: %+v, want %d rows in a commit", round, res, len(in))
		}
		if round == 0 {
			if out.Part, err = partOf(dir, res.Version); err != nil {
				return out, err
			}
		}
		t := res.Took
		out.Took = append(out.Took, fmt.Sprintf("gather %.2f, decide %.2f, encode %.2f, commit %.2f, index %.2f s",
			t.Gather.Seconds(), t.Fold.Seconds(), t.Emit.Seconds(), t.Commit.Seconds(), t.Index.Seconds()))
	}
	s := m.Stats()
	out.Index, out.Keys = s.IndexBytes, s.Rows
	_, out.RSS = usage()
	return out, m.Close(ctx)
}

// partOf gives the one data file of a version of ours.
func partOf(dir string, version int64) (string, error) {
	parts, err := filepath.Glob(filepath.Join(dir, "ours", fmt.Sprintf("part-%020d-*.parquet", version)))
	if err != nil || len(parts) != 1 {
		return "", errors.Join(fmt.Errorf("version %d has %d data files, want one", version, len(parts)), err)
	}
	return parts[0], nil
}

// read sums up the table's rows: with DuckDB where it is there, else with our reader.
func (o *LineOptions) read(ctx context.Context, table string) (sums, string, error) {
	var s sums
	if o.Readers != "" {
		err := python(ctx, o.Readers, &s, "lines.py", "sum", table)
		return s, "DuckDB", err
	}
	b, err := file.Open(filepath.Dir(table))
	if err != nil {
		return s, "", err
	}
	t, err := delta.Open(ctx, b, filepath.Base(table))
	if err != nil {
		return s, "", err
	}
	cols := []string{"l_orderkey", "l_linenumber", "l_partkey", "l_suppkey", "l_extendedprice", "l_shipdate"}
	for batch, err := range rows.Scan(ctx, t.Cached(), rows.Options{Columns: cols}) {
		if err != nil {
			return s, "", err
		}
		r := batch.Record
		for i := range int(r.NumRows()) {
			at := func(col int, k schema.Kind) int64 { return columnar.ValueAt(r.Column(col), schema.Of(k), i).Int }
			price := int64(0)
			for _, c := range []byte(columnar.ValueAt(r.Column(4), schema.DecimalOf(15, 2), i).Str) {
				price = price<<8 | int64(c)
			}
			s.add(&line{order: at(0, schema.Long), number: int32(at(1, schema.Integer)), part: at(2, schema.Long), supp: at(3, schema.Long),
				price: price, shipped: int32(at(5, schema.Date))}, 1)
		}
	}
	return s, "our reader", nil
}

// theirs lets delta-rs merge the first round into a copy of the loaded table.
func (o *LineOptions) theirs(ctx context.Context, base, part string) (string, error) {
	dir := filepath.Join(o.Work, "theirs")
	defer os.RemoveAll(dir)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := linkTree(base, dir); err != nil {
		return "", err
	}
	if err := plain(ctx, dir); err != nil {
		return "", err
	}
	var t Theirs
	if err := python(ctx, o.Readers, &t, "lines.py", "merge", filepath.Join(dir, "theirs"), part); err != nil {
		return "", fmt.Errorf("delta-rs into %d rows: %w", o.Rows, err)
	}
	var got sums
	if err := python(ctx, o.Readers, &got, "lines.py", "sum", filepath.Join(dir, "theirs")); err != nil {
		return "", err
	}
	if want := expected(int64(o.Rows), o.Changes, 1); got != want {
		return "", fmt.Errorf("delta-rs has other rows: %+v, want %+v", got, want)
	}
	return fmt.Sprintf("delta-rs: %.1f s (%.1f CPU s), %.0f MB written, peak memory %.0f MB, the same rows\n", t.Seconds[0], t.CPU[0], mb(t.Bytes)[0], t.RSS), nil
}
