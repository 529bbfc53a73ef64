// Package bench measures the Delta room beside delta-rs, in one run, on the same tables: opening a table of 300 000 files, opening a
// log of 10 000 commits without checkpoint, scanning 10 M rows without and with deletion vectors, appending 1 M rows, writing a
// checkpoint of 300 000 files, and the latency of a commit. `make bench-delta` runs it.
//
// Every measurement is a process of its own, so that its peak memory is its own; the time is taken inside, without the start
// of the process. Medians of -n runs. delta-rs is that of READERS_HOME (.ci/stack/install readers); without it our figures stand alone.
// -shared names the folder of the corpora, for the table of 300 000 files; without it these steps are left out.
package bench

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

type options struct {
	n, rows, appended, commits int
	shared, work, readers      string
}

// Run is the program: args are those of the command line, without its name.
func Run(ctx context.Context, args []string) error {
	if len(args) == 4 && args[0] == "step" {
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		took, used, count, err := step(ctx, args[1], args[2], n)
		if err == nil {
			fmt.Println(took.Seconds(), used, count, peak())
		}
		return err
	}
	var o options
	flags := flag.NewFlagSet("bench-delta", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 3, "runs of each step; the median counts")
	flags.IntVar(&o.rows, "rows", 10_000_000, "rows of the tables that are scanned")
	flags.IntVar(&o.appended, "append", 1_000_000, "rows that are appended")
	flags.IntVar(&o.commits, "commits", 10_000, "commits of the log without checkpoint")
	flags.StringVar(&o.shared, "shared", filepath.Join("..", "shared"), "folder with the corpora")
	flags.StringVar(&o.work, "work", "", "folder to work in (default: a new one, removed afterwards)")
	flags.StringVar(&o.readers, "readers", os.Getenv("READERS_HOME"), "folder of delta-rs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.work == "" {
		dir, err := os.MkdirTemp("", "bench-delta")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.work = dir
	}
	return o.all(ctx)
}

func (o *options) all(ctx context.Context) error {
	fmt.Printf("%-46s %10s %10s %7s %9s %9s %7s %9s %9s %7s\n", "", "ours s", "delta-rs s", "ratio", "ours cpu", "d-rs cpu", "ratio", "ours MB", "d-rs MB", "ratio")
	log := filepath.Join(o.work, "log")
	p50, err := commits(ctx, log, o.commits)
	if err != nil {
		return err
	}
	fmt.Printf("%-46s %10.4f\n", "commit on local disk, p50", p50.Seconds())
	if err := o.compare(fmt.Sprintf("open a log of %d commits", o.commits), "open", log, log); err != nil {
		return err
	}
	plain, vectors := filepath.Join(o.work, "plain"), filepath.Join(o.work, "vectors")
	if err := scanTable(ctx, plain, o.rows, false); err != nil {
		return err
	}
	if err := o.compare(fmt.Sprintf("scan %d rows", o.rows), "scan", plain, plain); err != nil {
		return err
	}
	if err := scanTable(ctx, vectors, o.rows, true); err != nil {
		return err
	}
	if err := o.compare(fmt.Sprintf("scan %d rows, 5 %% deleted by vectors", o.rows), "scan", vectors, vectors); err != nil {
		return err
	}
	if err := o.compare(fmt.Sprintf("append %d rows", o.appended), "append", plain, plain); err != nil {
		return err
	}
	archive := filepath.Join(o.shared, "corpora", "delta-kernel", "300k-add-files-100-col-partitioned.tar.zst")
	if _, err := os.Stat(archive); err != nil {
		fmt.Println("left out: the table of 300 000 files, for there is no", archive)
		return nil
	}
	many := filepath.Join(o.work, "many")
	table, err := unpack(archive, many)
	if err != nil {
		return err
	}
	if err := o.compare("open a table of 300 000 files", "open", table, table); err != nil {
		return err
	}
	if err := touch(ctx, table); err != nil {
		return err
	}
	return o.compare("checkpoint a table of 300 000 files", "checkpoint", table, table)
}

// figure is a step: its time, the processor seconds in it (which a busy machine changes less), the peak memory of its process.
type figure struct {
	seconds, cpu, mb float64
	count            int64
}

// cpu gives the processor seconds of this process.
func cpu() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// peak gives the peak of this process's memory in MB; 0: unknown. The usage that a parent is told counts what the parent itself had when it
// made the process.
func peak() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0
	}
	return kb / 1024
}

// compare prints the line of one step.
func (o *options) compare(title, step, ours, theirs string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	a, err := o.measure(step, ours, exe, "step", step, ours, strconv.Itoa(o.appended))
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	if o.readers == "" {
		fmt.Printf("%-46s %10.3f %10s %7s %9.3f %9s %7s %9.0f\n", title, a.seconds, "-", "-", a.cpu, "-", "-", a.mb)
		return nil
	}
	b, err := o.measure(step, theirs, filepath.Join(o.readers, "venv", "bin", "python"), filepath.Join("connectors", "delta", "bench", "testdata", "steps.py"), step, theirs,
		strconv.Itoa(o.appended))
	if err != nil {
		fmt.Printf("%-46s %10.3f %10s %7s %9.3f %9s %7s %9.0f   delta-rs: %.200v\n", title, a.seconds, "failed", "-", a.cpu, "-", "-", a.mb, err)
		return nil
	}
	note := ""
	if a.count != b.count {
		note = fmt.Sprintf("  counts differ: %d, %d", a.count, b.count)
	}
	fmt.Printf("%-46s %10.3f %10.3f %7.2f %9.3f %9.3f %7.2f %9.0f %9.0f %7.2f%s\n", title, a.seconds, b.seconds, a.seconds/b.seconds, a.cpu, b.cpu, a.cpu/b.cpu,
		a.mb, b.mb, a.mb/b.mb, note)
	return nil
}

// measure runs a step some times, each in a process of its own, and gives the medians.
func (o *options) measure(step, table, program string, args ...string) (figure, error) {
	var seconds, cpus, mb []float64
	var f figure
	for range o.n {
		if step == "checkpoint" {
			// The newest checkpoint goes, so that there is one to write; older ones stay to be read from.
			if err := dropCheckpoint(table); err != nil {
				return f, err
			}
		}
		cmd := exec.Command(program, args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return f, fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
		}
		var s, c float64
		var m float64
		if _, err := fmt.Sscan(string(out), &s, &c, &f.count, &m); err != nil {
			return f, fmt.Errorf("%q: %w", out, err)
		}
		seconds, cpus, mb = append(seconds, s), append(cpus, c), append(mb, m)
	}
	slices.Sort(seconds)
	slices.Sort(cpus)
	slices.Sort(mb)
	f.seconds, f.cpu, f.mb = seconds[len(seconds)/2], cpus[len(cpus)/2], mb[len(mb)/2]
	return f, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// dropCheckpoint deletes the checkpoint of the newest version, if there is one.
func dropCheckpoint(table string) error {
	list, err := filepath.Glob(filepath.Join(table, "_delta_log", "*.json"))
	if err != nil || len(list) == 0 {
		return err
	}
	slices.Sort(list)
	newest, err := filepath.Glob(strings.TrimSuffix(list[len(list)-1], "json") + "checkpoint*")
	if err != nil {
		return err
	}
	if len(newest) > 0 { // the hint names it
		newest = append(newest, filepath.Join(table, "_delta_log", "_last_checkpoint"))
	}
	for _, f := range newest {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// unpack extracts an archive and gives the folder of the table in it.
func unpack(archive, dir string) (table string, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return "", err
	}
	defer z.Close()
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		at := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if filepath.Base(filepath.Dir(at)) == "_delta_log" {
			table = filepath.Dir(filepath.Dir(at))
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return "", err
		}
		w, err := os.Create(at)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(w, tr)
		if err := errors.Join(err, w.Close()); err != nil {
			return "", err
		}
	}
	if table == "" {
		return "", fmt.Errorf("%s holds no table", archive)
	}
	return table, nil
}
