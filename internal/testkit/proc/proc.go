// Package proc runs real processes for tests: the sluice binary (built once a test run), a real Kafka broker. Every
// process has an owner, the test, which ends and waits for it.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Root gives the folder of go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		tb.Fatalf("go env GOMOD: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

var build struct {
	sync.Once
	path string
	err  error
}

// Sluice builds the binary once and gives its path. SLUICE_BINARY names one that is built already.
func Sluice(tb testing.TB) string {
	tb.Helper()
	if p := os.Getenv("SLUICE_BINARY"); p != "" {
		return p
	}
	root := Root(tb)
	build.Do(func() {
		dir, err := os.MkdirTemp("", "sluice-bin-")
		if err != nil {
			build.err = err
			return
		}
		build.path = filepath.Join(dir, "sluice")
		cmd := exec.Command("go", "build", "-o", build.path, "./cmd/sluice")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("go build ./cmd/sluice: %w\n%s", err, out)
		}
	})
	if build.err != nil {
		tb.Fatal(build.err)
	}
	return build.path
}

// Process is a running program.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
	err  error

	quiet atomic.Bool
}

// Quiet leaves the program's output out of what a failed test prints.
func (p *Process) Quiet() { p.quiet.Store(true) }

// Start runs a program. At the end of the test it is killed if it still runs; its last output is printed where the
// test failed.
func Start(tb testing.TB, name string, env []string, path string, args ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, log: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second
	if dir := os.Getenv("SLUICE_TEST_LOGS"); dir != "" { // for people who look for something
		f, err := os.CreateTemp(dir, strings.ReplaceAll(name, " ", "-")+"-*.log")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = f.Close() })
		out := io.MultiWriter(p.log, f)
		p.cmd.Stdout, p.cmd.Stderr = out, out
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(func() {
		if tb.Failed() && !p.quiet.Load() && strings.HasPrefix(name, "sluice") {
			_ = p.Signal(syscall.SIGQUIT) // it prints what its goroutines wait for
			select {
			case <-p.done:
			case <-time.After(3 * time.Second):
			}
		}
		p.Kill()
		if tb.Failed() && !p.quiet.Load() {
			tb.Logf("--- last output of %s\n%s", name, p.Output())
		}
	})
	return p
}

// Pid gives the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill sends SIGKILL and waits until the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop sends SIGTERM and waits; after the limit the process is killed and an error says so.
func (p *Process) Stop(limit time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		_ = p.Signal(syscall.SIGQUIT) // a Go program prints what its goroutines wait for
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
		}
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, limit)
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode gives the code of an ended process; -1 when a signal ended it or it still runs.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
	default:
		return -1
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	if p.err != nil {
		return -1
	}
	return 0
}

// Output gives the last 64 KiB of what the process printed.
func (p *Process) Output() string { return p.log.String() }

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*tail)(nil)

const keep = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if extra := t.buf.Len() - keep; extra > keep {
		t.buf.Next(extra)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buf.Bytes()
	return string(b[max(0, len(b)-keep):])
}

// Eventually polls until ok gives true, and fails the test with what was still missing after the limit. The limit
// bounds a broken run; it asserts no speed.
func Eventually(tb testing.TB, limit time.Duration, what string, ok func() (bool, string)) {
	tb.Helper()
	deadline := time.Now().Add(limit)
	for {
		done, missing := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %s: %s", what, limit, missing)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
