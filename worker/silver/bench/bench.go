package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options are the parameters of a run.
type Options struct {
	// Rows are the sizes of the tables.
	Rows []int
	// Updates are the changes of a round; Rounds and TheirRounds how many there are for us and for delta-rs.
	Updates, Rounds, TheirRounds int
	// Work is the folder to work in; Readers that of delta-rs, "" without.
	Work, Readers string
	// Spark lets Spark merge, too, where Readers has it.
	Spark bool
	// Profile is where our rounds write their CPU profile, "" for none.
	Profile string
}

// Run is the program: args are those of the command line, without its name.
func Run(ctx context.Context, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "step=") {
		return runStep(ctx, args)
	}
	switch {
	case len(args) > 0 && args[0] == "lineitem":
		return runLines(ctx, args[1:])
	case len(args) > 0 && args[0] == "sustained":
		return runSustained(ctx, args[1:])
	case len(args) > 0 && args[0] == "skew":
		return runSkew(ctx, args[1:])
	}
	var o Options
	sizes := ""
	flags := flag.NewFlagSet("bench-merge", flag.ContinueOnError)
	flags.StringVar(&sizes, "rows", "100000,1000000,10000000", "sizes of the tables, comma list")
	flags.IntVar(&o.Updates, "updates", 10_000, "changes of a round")
	flags.IntVar(&o.Rounds, "rounds", 15, "rounds of ours; the median counts")
	flags.IntVar(&o.TheirRounds, "their-rounds", 3, "rounds of delta-rs")
	flags.StringVar(&o.Work, "work", "", "folder to work in (default: a new one, removed afterwards)")
	flags.StringVar(&o.Readers, "readers", os.Getenv("READERS_HOME"), "folder of delta-rs")
	flags.BoolVar(&o.Spark, "spark", true, "Spark's MERGE too, where -readers has Spark")
	flags.StringVar(&o.Profile, "cpuprofile", "", "file for the CPU profile of our rounds into the last table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, s := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return fmt.Errorf("-rows: %q is not a number of rows", s)
		}
		o.Rows = append(o.Rows, n)
	}
	if o.Work == "" {
		dir, err := os.MkdirTemp("", "bench-merge")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.Work = dir
	}
	out, err := o.Measure(ctx)
	if err != nil {
		return err
	}
	fmt.Print(out)
	return nil
}

// Ours is what the rounds of ours gave.
type Ours struct {
	OpenSeconds, OpenCPU   float64
	Rows, IndexBytes       int64
	IndexDisk              int64
	Seconds, CPU           []float64 // of each round
	Bytes                  []int64
	UpkeepSeconds, RSS     float64 // of all rounds; MB
	Versions               []int64 // the table's version after each round
	Parts                  []string
	TableBytes             int64
	Files                  int
	FirstSeconds, FirstCPU float64 // of a take-over: from the start of Open to the end of the first merge
	OpenedFrom             string
}

// Theirs is what the rounds of delta-rs gave, or those of Spark.
type Theirs struct {
	Seconds, CPU []float64
	Bytes        []int64
	RSS          float64
}

// peer is another engine that merges the same rows into a copy of the table.
type peer struct {
	name, script string
	args         []string // before the table
	seconds      []float64
}

// peers gives those that are installed.
func (o *Options) peers() []*peer {
	if o.Readers == "" {
		return nil
	}
	out := []*peer{{name: "delta-rs", script: "merge.py"}}
	if _, err := os.Stat(filepath.Join(o.Readers, "jars", "spark")); err == nil && o.Spark {
		out = append(out, &peer{name: "spark", script: "spark.py", args: []string{o.Readers}})
	}
	return out
}

// Measure runs all sizes and gives the report.
func (o *Options) Measure(ctx context.Context) (string, error) {
	var b strings.Builder
	peers := o.peers()
	fmt.Fprintf(&b, "%d updates spread uniformly, p50 of %d rounds (others: %d)\n\n", o.Updates, o.Rounds, o.TheirRounds)
	fmt.Fprintf(&b, "%11s | %9s %9s %9s %9s %8s %8s |", "rows", "merge s", "max s", "CPU s", "MB", "upkeep s", "peak MB")
	for _, p := range peers {
		fmt.Fprintf(&b, " %10s %9s %9s %9s |", p.name+" s", "CPU s", "MB", "peak MB")
	}
	fmt.Fprintf(&b, " %8s %8s %8s %9s %9s %8s | %s\n", "B/key", "on disk", "open s", "open CPU", "fresh s", "peak MB", "rows compared")
	var xs, ys []float64
	for i, n := range o.Rows {
		dir := filepath.Join(o.Work, strconv.Itoa(n))
		profile := ""
		if i == len(o.Rows)-1 {
			profile = o.Profile
		}
		if err := self(ctx, nil, "load", dir, strconv.Itoa(n)); err != nil {
			return "", fmt.Errorf("make a table of %d rows: %w", n, err)
		}
		var ours, over Ours
		if err := self(ctx, &ours, "ours", dir, strconv.Itoa(n), strconv.Itoa(o.Updates), strconv.Itoa(o.Rounds), profile); err != nil {
			return "", fmt.Errorf("merge into %d rows: %w", n, err)
		}
		compared, k := "-", min(o.TheirRounds, len(ours.Parts))
		fmt.Fprintf(&b, "%11d | %9.3f %9.3f %9.3f %9.1f %8.2f %8.0f |", n, median(ours.Seconds), slices.Max(ours.Seconds), median(ours.CPU), median(mb(ours.Bytes)),
			ours.UpkeepSeconds, ours.RSS)
		for _, p := range peers {
			t, err := o.theirs(ctx, p, dir, ours.Parts[:k])
			if err != nil {
				return "", fmt.Errorf("%s into %d rows: %w", p.name, n, err)
			}
			fmt.Fprintf(&b, " %10.3f %9.3f %9.1f %9.0f |", median(t.Seconds), median(t.CPU), median(mb(t.Bytes)), t.RSS)
			p.seconds = append(p.seconds, math.Log10(median(t.Seconds)))
			same, err := compare(ctx, filepath.Join(dir, "ours"), ours.Versions[k-1], filepath.Join(dir, p.name), n)
			if err != nil {
				return "", err
			}
			compared = fmt.Sprintf("%d equal after %d rounds", same, k)
			if err := os.RemoveAll(filepath.Join(dir, p.name)); err != nil {
				return "", err
			}
		}
		if err := self(ctx, &over, "takeover", dir, strconv.Itoa(n), strconv.Itoa(o.Updates), strconv.Itoa(o.Rounds), ""); err != nil {
			return "", fmt.Errorf("take over %d rows: %w", n, err)
		}
		fmt.Fprintf(&b, " %8.1f %8.1f %8.2f %9.2f %9.2f %8.0f | %s\n", float64(ours.IndexBytes)/float64(ours.Rows), float64(ours.IndexDisk)/float64(ours.Rows),
			over.OpenSeconds, over.OpenCPU, over.FirstSeconds, over.RSS, compared)
		xs, ys = append(xs, math.Log10(float64(n))), append(ys, math.Log10(median(ours.CPU)))
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	if len(xs) > 1 {
		fmt.Fprintf(&b, "\nlog-log exponent of CPU seconds: ours %.2f", slope(xs, ys))
		for _, p := range peers {
			fmt.Fprintf(&b, ", of seconds: %s %.2f", p.name, slope(xs, p.seconds))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func mb(bytes []int64) []float64 {
	out := make([]float64, len(bytes))
	for i, n := range bytes {
		out[i] = float64(n) / (1 << 20)
	}
	return out
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Clone(x)
	slices.Sort(s)
	return s[len(s)/2]
}

// spread gives p50, p99 and the largest.
func spread(x []float64) (out [3]float64) {
	s := slices.Clone(x)
	slices.Sort(s)
	if n := len(s); n > 0 {
		out = [3]float64{s[n/2], s[n*99/100], s[n-1]}
	}
	return out
}

// slope is that of the straight line nearest to the points.
func slope(x, y []float64) float64 {
	mx, my, n := 0.0, 0.0, float64(len(x))
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	up, down := 0.0, 0.0
	for i := range x {
		up, down = up+(x[i]-mx)*(y[i]-my), down+(x[i]-mx)*(x[i]-mx)
	}
	return up / down
}

// self runs a step in a process of its own and decodes what it prints.
func self(ctx context.Context, into any, step string, args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	return run(exec.CommandContext(ctx, exe, append([]string{"step=" + step}, args...)...), into)
}

func run(cmd *exec.Cmd, into any) error {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), programEnv+"=1")
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stderr.String())
		return fmt.Errorf("%w: %s", err, text[max(0, len(text)-2000):])
	}
	if into == nil {
		return nil
	}
	line := stdout.Bytes()
	if i := bytes.IndexByte(line, '{'); i > 0 {
		line = line[i:]
	}
	if err := json.Unmarshal(line, into); err != nil {
		return errors.Join(fmt.Errorf("the step printed %q", stdout.String()), err)
	}
	return nil
}

// programEnv makes the test binary the program.
const programEnv = "SLUICE_BENCH_MERGE"

// theirs lets a peer merge the parts into a copy of the table as it was loaded.
func (o *Options) theirs(ctx context.Context, p *peer, dir string, parts []string) (Theirs, error) {
	var t Theirs
	table := filepath.Join(dir, p.name)
	if err := linkTree(filepath.Join(dir, "theirs"), table); err != nil {
		return t, err
	}
	return t, python(ctx, o.Readers, &t, p.script, slices.Concat(p.args, []string{table}, parts)...)
}

// python runs a script of testdata with the readers' Python and decodes what it prints.
func python(ctx context.Context, readers string, into any, name string, args ...string) error {
	p, err := script(name)
	if err != nil {
		return err
	}
	return run(exec.CommandContext(ctx, filepath.Join(readers, "venv", "bin", "python"), append([]string{p}, args...)...), into)
}

// script finds a script from the package's folder, where tests run, and from the root, where make runs.
func script(name string) (string, error) {
	for _, p := range []string{filepath.Join("testdata", name), filepath.Join("worker", "silver", "bench", "testdata", name)} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("testdata/%s is neither here nor below worker/silver/bench: run from the root of the repository", name)
}
