package bench

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/worker/silver"
)

// SkewOptions are the parameters of the skewed loads: many changes of one content, of one key, or a whole table at once.
type SkewOptions struct {
	// Rows are the numbers of changes; Truncated those of the rows of a table that is truncated.
	Rows, Truncated []int
	// Spilled is the memory in bytes that the key index may have in the cases on disk.
	Spilled int
	// Only is a part of the names of the cases that run; "": all.
	Only string
	Work string
}

// skewCase is one load. It runs in a process of its own.
type skewCase struct {
	name    string
	scd     int
	mode    string // of the merge
	spilled bool
	run     func(ctx context.Context, s *skewRun, n int) error
}

var skewCases = []skewCase{
	{"distinct rows without key", 1, "deletion-vectors", false, distinctRows},
	{"equal rows without key", 1, "deletion-vectors", false, equalRows},
	{"equal rows without key", 1, "copy-on-write", false, equalRows},
	{"equal rows without key", 2, "deletion-vectors", false, equalRows},
	{"equal rows without key", 2, "copy-on-write", false, equalRows},
	{"equal rows without key", 1, "deletion-vectors", true, equalRows},
	{"equal rows without key", 2, "deletion-vectors", true, equalRows},
	{"versions of a key, one batch", 2, "deletion-vectors", false, versionsAtOnce},
	{"versions of a key, 100 batches", 2, "deletion-vectors", false, versionsInOrder},
	{"versions of a key, 100 batches", 2, "deletion-vectors", true, versionsInOrder},
	{"versions of a key, 100 shuffled", 2, "deletion-vectors", false, versionsShuffled},
	{"versions of a key, 100 shuffled", 2, "deletion-vectors", true, versionsShuffled},
	{"truncate", 1, "deletion-vectors", false, truncateAll},
	{"truncate", 2, "deletion-vectors", false, truncateAll},
	{"truncate", 2, "deletion-vectors", true, truncateAll},
}

// skewBatches is over how many merges the versions of a key are spread, skewRows how many rows without key a merge has.
const (
	skewBatches = 100
	skewRows    = 10_000
)

// skewRun is a run of a case.
type skewRun struct {
	c       *skewCase
	dir     string
	memory  int
	m       *silver.Merger
	version int64
	out     SkewResult
}

// SkewResult is what a case cost: seconds and CPU seconds by phase, the peak of memory in MB, what the index had at most.
type SkewResult struct {
	Phases              []string
	Seconds, CPU        []float64
	RSS                 float64
	IndexMB, OnDiskMB   float64
	LiveRows, WantsRows int64
}

func (s *skewRun) open(ctx context.Context) error {
	if s.c.spilled {
		if err := os.Setenv("SLUICE_BENCH_INDEX_BYTES", strconv.Itoa(s.memory)); err != nil {
			return err
		}
	}
	m, _, err := openAs(ctx, s.dir, silver.Upkeep{}, func(c *config.Sink) { c.SilverSCDType, c.SilverMergeMode = s.c.scd, s.c.mode })
	s.m = m
	return err
}

// phase measures f.
func (s *skewRun) phase(name string, f func() error) error {
	cpu, _ := usage()
	began := time.Now()
	err := f()
	after, _ := usage()
	s.out.Phases, s.out.Seconds, s.out.CPU = append(s.out.Phases, name), append(s.out.Seconds, time.Since(began).Seconds()), append(s.out.CPU, after-cpu)
	return err
}

func (s *skewRun) merge(ctx context.Context, in []connectors.Change) error {
	_, err := s.m.Merge(ctx, []silver.Batch{{Feed: feed, Version: s.version, Changes: in}})
	s.version++
	st := s.m.Stats()
	s.out.IndexMB, s.out.OnDiskMB = max(s.out.IndexMB, float64(st.IndexBytes)/(1<<20)), max(s.out.OnDiskMB, float64(st.IndexDisk)/(1<<20))
	return err
}

// batches merges n changes in some merges.
func (s *skewRun) batches(ctx context.Context, n, merges int, make func(i int) connectors.Change) error {
	merges = min(merges, n)
	for b := range merges {
		var in []connectors.Change
		for i := b * n / merges; i < (b+1)*n/merges; i++ {
			in = append(in, make(i))
		}
		if err := s.merge(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

func (s *skewRun) reopen(ctx context.Context) error {
	if err := s.m.Close(ctx); err != nil {
		return err
	}
	return s.phase("open", func() error { return s.open(ctx) })
}

func keyless(at int, content int64, op connectors.Op) connectors.Change {
	c := change(int64(at), content, op)
	row := change(content, content, op).After
	c.Key, c.After, c.Record.Partition = connectors.Row{}, row, 0
	if op == connectors.Delete {
		c.After, c.Before, c.BeforeQuality = connectors.Row{}, row, connectors.BeforeFull
	}
	return c
}

func equalRows(ctx context.Context, s *skewRun, n int) error {
	return s.rows(ctx, n, func(int) int64 { return 7 })
}

func distinctRows(ctx context.Context, s *skewRun, n int) error {
	return s.rows(ctx, n, func(i int) int64 { return int64(i) })
}

// rows inserts n rows, deletes half of them, opens the table anew and deletes the others.
func (s *skewRun) rows(ctx context.Context, n int, content func(i int) int64) error {
	if err := s.phase("insert", func() error {
		return s.batches(ctx, n, 1+n/skewRows, func(i int) connectors.Change { return keyless(1+i, content(i), connectors.Insert) })
	}); err != nil {
		return err
	}
	del := func(name string, from, to int) error {
		return s.phase(name, func() error {
			return s.batches(ctx, to-from, 1+n/2/skewRows, func(i int) connectors.Change { return keyless(1+n+from+i, content(from+i), connectors.Delete) })
		})
	}
	if err := del("delete", 0, n/2); err != nil {
		return err
	}
	if err := s.reopen(ctx); err != nil {
		return err
	}
	if s.c.scd == 2 {
		s.out.WantsRows = int64(n)
	}
	return del("delete on", n/2, n)
}

func versionsAtOnce(ctx context.Context, s *skewRun, n int) error {
	return s.versions(ctx, n, 1, func(i int) int { return i })
}

func versionsInOrder(ctx context.Context, s *skewRun, n int) error {
	return s.versions(ctx, n, skewBatches, func(i int) int { return i })
}

func versionsShuffled(ctx context.Context, s *skewRun, n int) error {
	return s.versions(ctx, n, skewBatches, func(i int) int { return i })
}

func (s *skewRun) versions(ctx context.Context, n, merges int, at func(i int) int) error {
	if strings.Contains(s.c.name, "shuffled") {
		order := rand.New(rand.NewPCG(1, 2)).Perm(n)
		at = func(i int) int { return order[i] }
	}
	s.out.WantsRows = int64(n) + 1
	if err := s.phase("merge", func() error {
		return s.batches(ctx, n, merges, func(i int) connectors.Change { return change(int64(1+at(i)), 1, connectors.Update) })
	}); err != nil {
		return err
	}
	if err := s.reopen(ctx); err != nil {
		return err
	}
	return s.phase("one more", func() error { return s.merge(ctx, []connectors.Change{change(int64(n)+1, 1, connectors.Update)}) })
}

// truncateAll fills a table, truncates it and inserts a hundredth of the rows, before and after it is opened anew.
func truncateAll(ctx context.Context, s *skewRun, n int) error {
	few := max(n/100, 1)
	insert := func(name string, from, n int) error {
		return s.phase(name, func() error {
			return s.batches(ctx, n, max(1, n/200_000), func(i int) connectors.Change {
				return change(int64(from+i), int64(from+i), connectors.Insert)
			})
		})
	}
	if err := insert("fill", 1, n); err != nil {
		return err
	}
	if err := s.phase("truncate", func() error {
		c := change(int64(n)+1, 1, connectors.Truncate)
		c.Kind, c.Key, c.After = connectors.TruncateTable, connectors.Row{}, connectors.Row{}
		return s.merge(ctx, []connectors.Change{c})
	}); err != nil {
		return err
	}
	if err := insert("insert", n+2, few); err != nil {
		return err
	}
	if err := s.reopen(ctx); err != nil {
		return err
	}
	if s.out.WantsRows = int64(2 * few); s.c.scd == 2 {
		s.out.WantsRows += int64(n)
	}
	return insert("insert on", n+2+few, few)
}

// skewStep runs one case: args are its number in skewCases, the rows and the memory of the index.
func skewStep(ctx context.Context, dir string, nums [3]int, profile string) (out SkewResult, err error) {
	stop, err := profileTo(profile)
	if err != nil {
		return out, err
	}
	defer stop()
	s := &skewRun{c: &skewCases[nums[0]], dir: dir, memory: nums[2]}
	if err := s.open(ctx); err != nil {
		return out, err
	}
	if err := s.c.run(ctx, s, nums[1]); err != nil {
		return out, err
	}
	s.out.LiveRows = s.m.Stats().Rows
	if s.out.LiveRows != s.out.WantsRows {
		return out, fmt.Errorf("the table has %d rows, want %d", s.out.LiveRows, s.out.WantsRows)
	}
	_, s.out.RSS = usage()
	return s.out, s.m.Close(ctx)
}

func runSkew(ctx context.Context, args []string) error {
	var o SkewOptions
	rows, truncated, profile := "", "", ""
	flags := flag.NewFlagSet("bench-skew", flag.ContinueOnError)
	flags.StringVar(&rows, "rows", "1000,10000,100000,1000000", "numbers of changes, comma list")
	flags.StringVar(&truncated, "truncated", "1000000,10000000", "rows of the tables that are truncated, comma list")
	flags.IntVar(&o.Spilled, "index-memory", 10<<20, "bytes of memory that the index has in the cases on disk")
	flags.StringVar(&o.Only, "only", "", "a part of the names of the cases that run")
	flags.StringVar(&profile, "cpuprofile", "", "folder for a CPU profile of each case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, l := range []struct {
		text string
		to   *[]int
	}{{rows, &o.Rows}, {truncated, &o.Truncated}} {
		for _, s := range strings.Split(l.text, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil || n < 1 {
				return fmt.Errorf("%q is not a number of rows", s)
			}
			*l.to = append(*l.to, n)
		}
	}
	dir, err := os.MkdirTemp("", "bench-skew")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.Work = dir
	out, err := o.Measure(ctx, profile)
	fmt.Print(out)
	return err
}

// Measure runs the cases and gives the report.
func (o *SkewOptions) Measure(ctx context.Context, profile string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-32s %3s %-6s %-6s %9s | %8s %7s %8s | %s\n", "case", "SCD", "mode", "index", "rows", "CPU µs/r", "peak MB", "index MB", "seconds (CPU) by phase")
	for i := range skewCases {
		c := &skewCases[i]
		name := fmt.Sprintf("%s scd%d %s %s", c.name, c.scd, c.mode, map[bool]string{true: "disk", false: "memory"}[c.spilled])
		if !strings.Contains(name, o.Only) {
			continue
		}
		sizes := o.Rows
		if c.name == "truncate" {
			sizes = o.Truncated
		}
		for _, n := range sizes {
			dir := filepath.Join(o.Work, "skew")
			args := []string{dir, strconv.Itoa(i), strconv.Itoa(n), strconv.Itoa(o.Spilled)}
			if profile != "" {
				args = append(args, filepath.Join(profile, strings.ReplaceAll(name, " ", "-")+"-"+strconv.Itoa(n)))
			}
			var r SkewResult
			if err := self(ctx, &r, "skew", args...); err != nil {
				return b.String(), fmt.Errorf("%s, %d rows: %w", name, n, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				return b.String(), err
			}
			cpu := 0.0
			for _, x := range r.CPU {
				cpu += x
			}
			fmt.Fprintf(&b, "%-32s %3d %-6s %-6s %9d | %8.1f %7.0f %8.1f |", c.name, c.scd, map[bool]string{true: "dv", false: "cow"}[c.mode == "deletion-vectors"],
				map[bool]string{true: "disk", false: "memory"}[c.spilled], n, cpu*1e6/float64(n), r.RSS, r.IndexMB)
			for k, p := range r.Phases {
				fmt.Fprintf(&b, " %s %.2f (%.2f)", p, r.Seconds[k], r.CPU[k])
			}
			if c.spilled {
				fmt.Fprintf(&b, " on disk %.0f MB", r.OnDiskMB)
			}
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}
