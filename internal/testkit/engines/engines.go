// Package engines runs foreign readers and writers of Delta tables beside a test: delta-rs, DuckDB, Polars and Spark (driver.py), the Java kernel
// (Batch.java), each as one process that answers requests, so that many tables cost one start.
package engines

import (
	"bufio"
	"bytes"
	_ "embed" // the programs
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice.io/sluice/internal/testkit"
)

//go:embed driver.py
var driver []byte

//go:embed Batch.java
var batch []byte

// Request is what an engine is asked, as driver.py documents it.
type Request struct {
	Do      string           `json:"do"`
	Engine  string           `json:"engine,omitempty"`
	Path    string           `json:"path,omitempty"`
	Version *int64           `json:"version,omitempty"`
	CDF     *[2]int64        `json:"cdf,omitempty"`
	Where   string           `json:"where,omitempty"`
	Name    string           `json:"name,omitempty"`
	Args    map[string]any   `json:"args,omitempty"`
	Rows    []map[string]any `json:"rows,omitempty"`
	SQL     string           `json:"sql,omitempty"`
}

// ErrRefused wraps what an engine said when it refused a request.
var ErrRefused = errors.New("the engine refuses")

// Engine is a process that answers requests, one at a time; several goroutines may ask.
type Engine struct {
	// Name is the engine that answers where a request names none: delta-rs, duckdb, polars, spark or kernel-java.
	Name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	mu     sync.Mutex
}

// Home gives the folder of the readers, or skips the test; with SLUICE_REAL it fails instead.
func Home(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("READERS_HOME")
	if dir == "" && os.Getenv("SLUICE_REAL") != "" {
		tb.Fatal("SLUICE_REAL is set and READERS_HOME is not: .ci/stack/install readers")
	}
	if dir == "" {
		tb.Skip("SKIPPED: READERS_HOME names no folder of foreign readers; `.ci/stack/install readers` installs them, .ci/real sets it")
	}
	return dir
}

// Start runs an engine's process. It ends with the test.
func Start(tb testing.TB, name string) *Engine {
	tb.Helper()
	dir := Home(tb)
	tools := testkit.Shared(tb, "tools")
	e := &Engine{Name: name}
	if name == "kernel-java" {
		e.cmd = exec.Command("java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC", "-cp",
			filepath.Join(dir, "kernel-java", "classes")+string(os.PathListSeparator)+filepath.Join(dir, "kernel-java", "lib", "*"),
			script(tb, "Batch.java", batch))
	} else {
		e.cmd = exec.Command(filepath.Join(dir, "venv", "bin", "python"), script(tb, "driver.py", driver), filepath.Join(tools, "read-table"))
		e.cmd.Env = append(os.Environ(), "TZ=UTC", "POLARS_MAX_THREADS="+strconv.Itoa(runtime.NumCPU()))
		if name == "spark" {
			e.cmd.Env = append(e.cmd.Env, "SPARK_CONF_DIR="+sparkDefaults(tb))
		}
	}
	var err error
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	e.out = bufio.NewReaderSize(out, 1<<20)
	e.cmd.Stderr = &e.stderr
	if err := e.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", name, err)
	}
	tb.Cleanup(func() {
		e.in.Close()
		if err := e.cmd.Wait(); err != nil {
			tb.Errorf("%s: %v\n%s", name, err, e.stderr.Bytes())
		}
	})
	return e
}

// script writes a program where its interpreter finds it.
func script(tb testing.TB, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// sparkDefaults makes a folder of settings under which a session of many small queries compiles less.
func sparkDefaults(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	text := "spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.timezone=UTC\n" +
		"spark.sql.codegen.wholeStage false\nspark.sql.codegen.factoryMode NO_CODEGEN\nspark.sql.adaptive.enabled false\n" +
		"spark.sql.sources.parallelPartitionDiscovery.parallelism 2\n" + // else VACUUM lists with 10 000 tasks
		"spark.sql.datetime.java8API.enabled true\n" // else a change data feed shows 5 to 14 October 1582 as days that java.sql.Timestamp knows
	if err := os.WriteFile(filepath.Join(dir, "spark-defaults.conf"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Ask sends a request and gives the lines of its answer, sorted. An error that wraps ErrRefused is the engine's own.
func (e *Engine) Ask(q Request) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q.Engine == "" {
		q.Engine = e.Name
	}
	if e.Name == "kernel-java" {
		return e.askJava(q)
	}
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := e.in.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.Name, err, e.stderr.Bytes())
	}
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.Name, err, e.stderr.Bytes())
	}
	var a struct {
		Lines []string
		Error string
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", e.Name, err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, a.Error)
	}
	slices.Sort(a.Lines)
	return a.Lines, nil
}

func (e *Engine) askJava(q Request) ([]string, error) {
	if q.CDF != nil || q.Where != "" || q.Do != "read" {
		return nil, fmt.Errorf("%w: the Java kernel has no such call", ErrRefused)
	}
	line := q.Path
	if q.Version != nil {
		line += "\t" + strconv.FormatInt(*q.Version, 10)
	}
	if _, err := io.WriteString(e.in, line+"\n"); err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.Name, err, e.stderr.Bytes())
	}
	var lines []string
	for {
		line, err := e.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("%s is gone: %w\n%s", e.Name, err, e.stderr.Bytes())
		}
		line = strings.TrimSuffix(line, "\n")
		if end, ok := strings.CutPrefix(line, "\x01"); ok {
			if end != "ok" {
				return nil, fmt.Errorf("%w: %s", ErrRefused, end)
			}
			slices.Sort(lines)
			return lines, nil
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
}
