package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childEnv marks a process that a bench has started.
const childEnv = "SLUICE_BENCH_CHILD"

// Child does the work of a process that a bench has started, and tells whether this is one. A main function (or TestMain) that may
// be run by Run calls it first.
func Child(ctx context.Context, args []string, in io.Reader, out io.Writer) (bool, error) {
	if os.Getenv(childEnv) == "" || len(args) < 2 || args[0] != "bench" {
		return false, nil
	}
	switch args[1] {
	case "broker-process":
		return true, brokerMain(ctx, args[2:], in, out)
	case "worker-process":
		return true, workerMain(ctx, args[2:], in, out)
	}
	return false, nil
}

// Options say what is measured, and how often.
type Options struct {
	// Figures: "bronze", "backlog", "fresh".
	Figures []string
	// Runs of each figure, of which the median is told; 0: 3.
	Runs int
	// Events of bronze and of backlog; 0: 4 million and 1 million.
	BronzeEvents, BacklogEvents int
	// FreshSeconds is how long freshness is measured; 0: 30.
	FreshSeconds int
	// MemoryLimit of the worker; 0: 500 MB.
	MemoryLimit int64
	// Dir is where lakes are made and removed; empty: the system's folder for temporary files.
	Dir string
	// Interval is commit.interval.ms, MaxBytes commit.max.bytes; 0: the defaults.
	Interval, MaxBytes int64
	// Profile is a prefix for CPU profiles; empty: none.
	Profile string
	Out     io.Writer
}

func (o *Options) fill() {
	o.Runs = cmp.Or(o.Runs, 3)
	o.BronzeEvents = cmp.Or(o.BronzeEvents, 4_000_000)
	o.BacklogEvents = cmp.Or(o.BacklogEvents, 1_000_000)
	o.FreshSeconds = cmp.Or(o.FreshSeconds, 30)
	o.MemoryLimit = cmp.Or(o.MemoryLimit, 500<<20)
	if len(o.Figures) == 0 {
		o.Figures = []string{"bronze", "backlog", "fresh"}
	}
}

// result is one run.
type result struct {
	measured
	brokerCPU float64
	peak      int64 // bytes
}

// Run measures and prints.
func Run(ctx context.Context, o Options) error {
	o.fill()
	fmt.Fprintln(o.Out, machine())
	for _, f := range o.Figures {
		if err := figure(ctx, o, f); err != nil {
			return fmt.Errorf("measure %s: %w", f, err)
		}
	}
	return nil
}

func figure(ctx context.Context, o Options, what string) error {
	events, partitions := o.BacklogEvents, 4
	switch what {
	case "bronze":
		events, partitions = o.BronzeEvents, 16
	case "fresh":
		events = 10_000
	case "backlog":
	default:
		return fmt.Errorf("there is no figure %q; there are bronze, backlog and fresh", what)
	}
	broker, err := spawn(ctx, nil, "bench", "broker-process", what, strconv.Itoa(events), strconv.Itoa(partitions))
	if err != nil {
		return err
	}
	defer broker.end()
	addr, err := broker.line("ready")
	if err != nil {
		return err
	}
	var runs []result
	for i := range o.Runs {
		r, err := once(ctx, o, what, broker, job{
			What: what, Broker: addr, Events: int64(events), Partitions: int32(partitions), Memory: o.MemoryLimit, Interval: o.Interval, MaxBytes: o.MaxBytes,
		}, i)
		if err != nil {
			return err
		}
		if what == "fresh" {
			events += int(r.Events)
		}
		runs = append(runs, r)
		print(o.Out, what, fmt.Sprintf("  run %d", i+1), r)
	}
	print(o.Out, what, "median "+what, median(runs))
	return nil
}

// once runs one worker process on an empty lake.
func once(ctx context.Context, o Options, what string, broker *process, j job, n int) (result, error) {
	dir, err := os.MkdirTemp(o.Dir, "sluice-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	j.Lake = filepath.Join(dir, "lake")
	if o.Profile != "" {
		j.Profile = fmt.Sprintf("%s-%s-%d.prof", o.Profile, what, n)
	}
	text, err := json.Marshal(j)
	if err != nil {
		return result{}, err
	}
	before := broker.cpu()
	w, err := spawn(ctx, nil, "bench", "worker-process", string(text))
	if err != nil {
		return result{}, err
	}
	if what == "fresh" {
		if _, err := w.line("up"); err != nil {
			return result{}, err
		}
		before = broker.cpu()
		if _, err := broker.ask(fmt.Sprintf("rate 5000 %d", o.FreshSeconds), "done"); err != nil {
			return result{}, err
		}
		time.Sleep(2 * time.Second) // the last ones arrive
		_ = w.in.Close()
	}
	said, err := w.line("measured")
	if err != nil {
		return result{}, err
	}
	var r result
	if err := json.Unmarshal([]byte(said), &r.measured); err != nil {
		return result{}, err
	}
	r.brokerCPU = broker.cpu() - before
	if err := w.end(); err != nil {
		return result{}, err
	}
	if u, ok := w.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.peak = u.Maxrss << 10
	}
	return r, nil
}

// median gives, figure by figure, the median of the runs.
func median(runs []result) result {
	of := func(get func(result) float64) float64 {
		v := make([]float64, len(runs))
		for i, r := range runs {
			v[i] = get(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	var m result
	m.Events = int64(of(func(r result) float64 { return float64(r.Events) }))
	m.Seconds = of(func(r result) float64 { return r.Seconds })
	m.CPU = of(func(r result) float64 { return r.CPU })
	m.Commits = int64(of(func(r result) float64 { return float64(r.Commits) }))
	m.Merges = int64(of(func(r result) float64 { return float64(r.Merges) }))
	m.Rows = int64(of(func(r result) float64 { return float64(r.Rows) }))
	m.P50, m.P99 = of(func(r result) float64 { return r.P50 }), of(func(r result) float64 { return r.P99 })
	m.P999 = of(func(r result) float64 { return r.P999 })
	m.brokerCPU = of(func(r result) float64 { return r.brokerCPU })
	m.peak = int64(of(func(r result) float64 { return float64(r.peak) }))
	return m
}

func print(out io.Writer, what, name string, r result) {
	line := fmt.Sprintf("%-16s %9d events in %6.2f s: %8.0f events/s, %6.2f CPU s = %8.0f events per CPU second, peak %d MB, broker %5.2f CPU s, %d bronze commits",
		name, r.Events, r.Seconds, float64(r.Events)/r.Seconds, r.CPU, float64(r.Events)/r.CPU, r.peak>>20, r.brokerCPU, r.Commits)
	switch what {
	case "backlog":
		line += fmt.Sprintf(", %d merges, %d rows", r.Merges, r.Rows)
	case "fresh":
		line = fmt.Sprintf("%-16s %9d events in %6.2f s: p50 %.0f ms, p99 %.0f ms, p99.9 %.0f ms, %.3f cores, peak %d MB, broker %.3f cores, %d bronze commits, %d merges",
			name, r.Events, r.Seconds, r.P50, r.P99, r.P999, r.CPU/r.Seconds, r.peak>>20, r.brokerCPU/r.Seconds, r.Commits, r.Merges)
	}
	fmt.Fprintln(out, line)
}

// machine says what the figures were measured on.
func machine() string {
	model, memory := "unknown CPU", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "MemTotal:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			memory = fmt.Sprintf(", %d GB", kb>>20)
		}
	}
	return fmt.Sprintf("machine: %d CPUs (%s)%s, %s/%s, %s", runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
