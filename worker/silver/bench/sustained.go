package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/worker/silver"
)

// SustainedOptions are the parameters of a steady stream of updates.
type SustainedOptions struct {
	// Keys is the size of the table, Rate the changes a second, uniform over the keys.
	Keys, Rate int
	// Seconds is how long; Interval how long a commit waits for changes.
	Seconds  int
	Interval time.Duration
	// Unpaced does not wait: commits follow one another, each with the changes of one interval. What the stream leaves of the table shows sooner so; freshness
	// says nothing then.
	Unpaced bool
	Work    string
	Readers string
	Profile string
	Keep    bool // leave the tables in Work
}

// Window is what a part of the time gave.
type Window struct {
	Second        int
	P99, Slowest  float64 // freshness, seconds
	RSS           float64 // MB
	Files         int
	Batch, Upkeep float64 // largest batch, in changes; longest upkeep behind a commit, seconds
	CPU           float64 // cores
	Compactions   int64
	IndexMB       float64
}

// SustainedResult is what the stream gave.
type SustainedResult struct {
	Windows           []Window
	P50, P99, Slowest float64
	// Merge is what a merge took from its beginning to its commit, index included; Upkeep what came behind it; Index what it took the index to follow: p50, p99
	// and the longest, in seconds.
	Merge, Upkeep, Index [3]float64
	Changes, Commits     int64
	Bytes                int64
	CPU, Seconds         float64
	Compactions          int64
	RSS                  float64 // peak
	// Version is that of the table when the stream ended. Then no changes came any more, and the owner went on with its upkeep until there was none: Settled
	// seconds later, with SettledBytes written.
	Version      int64
	Settled      float64
	SettledBytes int64
}

func runSustained(ctx context.Context, args []string) error {
	var o SustainedOptions
	flags := flag.NewFlagSet("bench-sustained", flag.ContinueOnError)
	flags.IntVar(&o.Keys, "keys", 10_000_000, "rows of the table")
	flags.IntVar(&o.Rate, "rate", 20_000, "changes a second, spread uniformly over the keys")
	flags.IntVar(&o.Seconds, "seconds", 600, "how long")
	flags.DurationVar(&o.Interval, "interval", time.Second, "time between the beginnings of commits")
	flags.StringVar(&o.Work, "work", "", "folder to work in (default: a new one, removed afterwards)")
	flags.StringVar(&o.Readers, "readers", os.Getenv("READERS_HOME"), "folder of delta-rs and DuckDB")
	flags.StringVar(&o.Profile, "cpuprofile", "", "file for the CPU profile of the stream")
	flags.BoolVar(&o.Unpaced, "unpaced", false, "do not wait for changes: each commit takes those of one interval (freshness says nothing then)")
	flags.BoolVar(&o.Keep, "keep", false, "leave the tables in -work, which need not be loaded again then")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.Work == "" {
		dir, err := os.MkdirTemp("", "bench-sustained")
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

// Measure loads, streams, and compares what reading the table takes then with reading one that delta-rs writes of the same rows.
func (o *SustainedOptions) Measure(ctx context.Context) (string, error) {
	base, dir := filepath.Join(o.Work, "loaded"), filepath.Join(o.Work, "table")
	if _, err := os.Stat(filepath.Join(base, "ours")); err != nil {
		if err := self(ctx, nil, "load", base, strconv.Itoa(o.Keys)); err != nil {
			return "", fmt.Errorf("make a table of %d rows: %w", o.Keys, err)
		}
	}
	if err := errors.Join(os.RemoveAll(dir), linkTree(base, dir)); err != nil {
		return "", err
	}
	if !o.Keep {
		defer os.RemoveAll(dir)
	}
	var r SustainedResult
	if err := self(ctx, &r, "sustained", dir, strconv.Itoa(o.Keys), strconv.Itoa(o.Rate), strconv.Itoa(o.Seconds), o.Profile, o.Interval.String(),
		strconv.FormatBool(o.Unpaced)); err != nil {
		return "", fmt.Errorf("stream %d changes a second into %d rows: %w", o.Rate, o.Keys, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d changes/s over %d keys, commits every %v, for %d s\n\n", o.Rate, o.Keys, o.Interval, o.Seconds)
	fmt.Fprintf(&b, "%8s | %7s %7s | %9s %9s | %7s %6s %11s | %7s %8s\n", "second", "p99 s", "max s", "batch", "upkeep s", "RSS MB", "files", "compactions", "cores", "index MB")
	for _, w := range r.Windows {
		fmt.Fprintf(&b, "%8d | %7.2f %7.2f | %9.0f %9.2f | %7.0f %6d %11d | %7.2f %8.0f\n", w.Second, w.P99, w.Slowest, w.Batch, w.Upkeep, w.RSS, w.Files, w.Compactions, w.CPU, w.IndexMB)
	}
	fmt.Fprintf(&b, "\np50, p99, longest: merge %.2f s, upkeep behind it %.2f s, index %.2f s\n", r.Merge, r.Upkeep, r.Index)
	fmt.Fprintf(&b, "freshness p50 %.2f s, p99 %.2f s, max %.2f s; %d changes in %d commits, %.0f MB written, %.2f cores with the generator; peak memory %.0f MB; %d compactions\n",
		r.P50, r.P99, r.Slowest, r.Changes, r.Commits, float64(r.Bytes)/(1<<20), r.CPU/r.Seconds, r.RSS, r.Compactions)
	if o.Readers == "" {
		return b.String(), nil
	}
	then, err := o.read(ctx, dir, r.Version, "then")
	fmt.Fprintf(&b, "when the stream ended:  %s\n", then)
	if err != nil {
		return b.String(), err
	}
	after, err := o.read(ctx, dir, -1, "after")
	fmt.Fprintf(&b, "%4.0f s without changes: %s; %.0f MB written meanwhile\n", r.Settled, after, float64(r.SettledBytes)/(1<<20))
	return b.String(), err
}

// read lets delta-rs write the rows of a version anew, and DuckDB read both.
func (o *SustainedOptions) read(ctx context.Context, dir string, version int64, name string) (string, error) {
	var read struct {
		Rows                  int64
		Ours, Fresh           []float64
		OursCPU, FreshCPU     []float64
		OursMB, FreshMB       float64
		OursFiles, FreshFiles int
		Dead                  int64
		Equal                 bool
	}
	fresh := filepath.Join(dir, "fresh-"+name)
	if !o.Keep {
		defer os.RemoveAll(fresh)
	}
	if err := python(ctx, o.Readers, &read, "read.py", filepath.Join(dir, "ours"), fresh, strconv.FormatInt(version, 10)); err != nil {
		return "", fmt.Errorf("read the table: %w", err)
	}
	if !read.Equal || read.Rows != int64(o.Keys) {
		return "", fmt.Errorf("DuckDB reads %d rows, want %d; equal to those that delta-rs wrote: %v", read.Rows, o.Keys, read.Equal)
	}
	return fmt.Sprintf("DuckDB reads it in %.2f s, %.2f CPU s (%d files, %.0f MB, %.1f %% of the rows dead); written anew by delta-rs: %.2f s, %.2f CPU s (%d files, %.0f MB): %.2f times the time, %.2f times the CPU seconds",
		median(read.Ours), median(read.OursCPU), read.OursFiles, read.OursMB, 100*float64(read.Dead)/float64(read.Rows+read.Dead), median(read.Fresh), median(read.FreshCPU), read.FreshFiles,
		read.FreshMB, median(read.Ours)/median(read.Fresh), median(read.OursCPU)/median(read.FreshCPU)), nil
}

// freshBins counts changes by freshness in ms.
type freshBins [60_001]int64

// add counts n changes whose freshness is evenly spread from…to, in seconds.
func (f *freshBins) add(n int64, from, to float64) {
	const parts = 16
	for i := range int64(parts) {
		ms := int((from + (to-from)*(float64(i)+0.5)/parts) * 1000)
		f[max(0, min(ms, len(f)-1))] += n*(i+1)/parts - n*i/parts
	}
}

func (f *freshBins) quantile(q float64) float64 {
	total, seen := int64(0), int64(0)
	for _, n := range f {
		total += n
	}
	for ms, n := range f {
		if seen += n; n > 0 && float64(seen) >= q*float64(total) {
			return float64(ms) / 1000
		}
	}
	return 0
}

func (f *freshBins) join(o *freshBins) {
	for i, n := range o {
		f[i] += n
	}
}

// resident is the memory that the process has now, in MB; 0 where the system does not tell.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}

// stream merges what arrives: change i of the stream arrives i/rate seconds after the beginning. A merge takes all that has arrived, and begins not before
// interval after the one before it; upkeep is done behind the commits, as in a worker.
func stream(ctx context.Context, dir string, keys, rate, seconds int, interval time.Duration, unpaced bool) (SustainedResult, error) {
	var out SustainedResult
	m, c, err := openWith(ctx, dir, silver.Upkeep{})
	if err != nil {
		return out, err
	}
	var all freshBins
	window := &freshBins{}
	var merges, upkeeps, indexes []float64
	w := Window{}
	rng := rand.New(rand.NewPCG(7, 7))
	every := max(seconds/30, 1)
	written := c.n.Load()
	cpu0, _ := usage()
	lastCPU, lastAt := cpu0, 0.0
	total := int64(rate) * int64(seconds)
	began := time.Now()
	in := make([]connectors.Change, 0, 2*rate)
	for next := began.Add(interval); out.Changes < total; next = later(next.Add(interval), time.Now()) {
		wait := time.Until(next)
		if unpaced {
			wait = 0
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(wait):
		}
		arrived := min(int64(time.Since(began).Seconds()*float64(rate)), total)
		if unpaced {
			arrived = min(out.Changes+int64(interval.Seconds()*float64(rate)), total)
		}
		in = in[:0]
		for n := out.Changes; n < arrived; n++ {
			in = append(in, change(int64(keys)+n, rng.Int64N(int64(keys))+1, connectors.Update))
		}
		if len(in) == 0 {
			continue
		}
		res, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Version: m.Progress(feed) + 1, Changes: in}})
		if err != nil {
			return out, err
		}
		if !res.Committed {
			return out, fmt.Errorf("%d changes were not committed: %+v", len(in), res)
		}
		now := time.Since(began)
		merges = append(merges, (res.Took.Total() - res.Took.Upkeep).Seconds())
		upkeeps, indexes = append(upkeeps, res.Took.Upkeep.Seconds()), append(indexes, res.Took.Index.Seconds())
		at := (now - res.Took.Upkeep).Seconds()
		oldest, youngest := at-float64(out.Changes)/float64(rate), at-float64(arrived)/float64(rate)
		window.add(arrived-out.Changes, youngest, oldest)
		w.Slowest, w.Batch, w.Upkeep = max(w.Slowest, oldest), max(w.Batch, float64(len(in))), max(w.Upkeep, res.Took.Upkeep.Seconds())
		out.Changes = arrived
		out.Commits++
		if s := now.Seconds(); s >= float64(w.Second+every) || arrived == total {
			cpu, _ := usage()
			st := m.Stats()
			w.Second, w.P99, w.RSS, w.Files, w.CPU = int(s), window.quantile(0.99), resident(), st.Files, (cpu-lastCPU)/(s-lastAt)
			w.Compactions, w.IndexMB = st.Compactions, float64(st.IndexBytes)/(1<<20)
			out.Windows = append(out.Windows, w)
			out.Slowest = max(out.Slowest, w.Slowest)
			all.join(window)
			window, w = &freshBins{}, Window{Second: w.Second}
			lastCPU, lastAt = cpu, s
		}
	}
	cpu, rss := usage()
	out.P50, out.P99, out.CPU, out.RSS, out.Seconds = all.quantile(0.5), all.quantile(0.99), cpu-cpu0, rss, time.Since(began).Seconds()
	out.Merge, out.Upkeep, out.Index = spread(merges), spread(upkeeps), spread(indexes)
	written, out.Bytes, out.Compactions, out.Version = c.n.Load(), c.n.Load()-written, m.Stats().Compactions, m.Stats().Version
	if out.Settled, err = settle(ctx, m); err != nil {
		return out, err
	}
	out.SettledBytes = c.n.Load() - written
	return out, m.Close(ctx)
}

// idleEvery is how often a worker that commits each second looks for changes, and does a step of upkeep where there are none.
const idleEvery = 500 * time.Millisecond

// settle does what a worker does for a table without changes, until there is nothing to do, and gives the seconds that it took.
func settle(ctx context.Context, m *silver.Merger) (float64, error) {
	began := time.Now()
	for {
		did, err := m.Maintain(ctx)
		if err != nil || !did {
			return time.Since(began).Seconds(), err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(idleEvery):
		}
	}
}

func sustainedStep(ctx context.Context, dir string, nums [3]int, more []string) error {
	if len(more) < 3 {
		return errors.New("the step needs a file for the profile, an interval, and whether not to wait for changes")
	}
	interval, err := time.ParseDuration(more[1])
	if err != nil {
		return err
	}
	stop, err := profileTo(more[0])
	if err != nil {
		return err
	}
	out, err := stream(ctx, dir, nums[0], nums[1], nums[2], interval, more[2] == "true")
	stop()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
