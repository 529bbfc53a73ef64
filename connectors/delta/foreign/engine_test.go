package foreign

import (
	"bufio"
	"bytes"
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

// request is what testdata/driver.py is asked.
type request struct {
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

// errEngine wraps what an engine said when it refused a request.
var errEngine = errors.New("the engine refuses")

// engine is a process that answers requests, one at a time.
type engine struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	mu     sync.Mutex
}

// home gives the folder of the readers, or skips the test.
func home(tb testing.TB) string {
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

// start runs an engine's process. It ends with the test.
func start(tb testing.TB, name string) *engine {
	tb.Helper()
	dir := home(tb)
	tools := testkit.Shared(tb, "tools")
	e := &engine{name: name}
	if name == "kernel-java" {
		e.cmd = exec.Command("java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC", "-cp",
			filepath.Join(dir, "kernel-java", "classes")+string(os.PathListSeparator)+filepath.Join(dir, "kernel-java", "lib", "*"),
			filepath.Join("testdata", "Batch.java"))
	} else {
		e.cmd = exec.Command(filepath.Join(dir, "venv", "bin", "python"), filepath.Join("testdata", "driver.py"), filepath.Join(tools, "read-table"))
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

// sparkDefaults makes a folder of settings under which a session of many small queries compiles less.
func sparkDefaults(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	text := "spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.timezone=UTC\n" +
		"spark.sql.codegen.wholeStage false\nspark.sql.codegen.factoryMode NO_CODEGEN\nspark.sql.adaptive.enabled false\n" +
		"spark.sql.sources.parallelPartitionDiscovery.parallelism 2\n" // else VACUUM lists with 10 000 tasks
	if err := os.WriteFile(filepath.Join(dir, "spark-defaults.conf"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// ask sends a request and gives the lines of its answer, sorted. An error that wraps errEngine is the engine's own.
func (e *engine) ask(q request) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q.Engine == "" {
		q.Engine = e.name
	}
	if e.name == "kernel-java" {
		return e.askJava(q)
	}
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := e.in.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.name, err, e.stderr.Bytes())
	}
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.name, err, e.stderr.Bytes())
	}
	var a struct {
		Lines []string
		Error string
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", e.name, err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%w: %s", errEngine, a.Error)
	}
	slices.Sort(a.Lines)
	return a.Lines, nil
}

func (e *engine) askJava(q request) ([]string, error) {
	if q.CDF != nil || q.Where != "" || q.Do != "read" {
		return nil, fmt.Errorf("%w: the Java kernel has no such call", errEngine)
	}
	line := q.Path
	if q.Version != nil {
		line += "\t" + strconv.FormatInt(*q.Version, 10)
	}
	if _, err := io.WriteString(e.in, line+"\n"); err != nil {
		return nil, fmt.Errorf("%s is gone: %w\n%s", e.name, err, e.stderr.Bytes())
	}
	var lines []string
	for {
		line, err := e.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("%s is gone: %w\n%s", e.name, err, e.stderr.Bytes())
		}
		line = strings.TrimSuffix(line, "\n")
		if end, ok := strings.CutPrefix(line, "\x01"); ok {
			if end != "ok" {
				return nil, fmt.Errorf("%w: %s", errEngine, end)
			}
			slices.Sort(lines)
			return lines, nil
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
}

// firstDifferences prints what two sorted lists of lines do not have in common, a few of each.
func firstDifferences(got, want []string) string {
	var b strings.Builder
	for i, j, shown := 0, 0, 0; (i < len(got) || j < len(want)) && shown < 6; {
		switch {
		case j == len(want) || i < len(got) && got[i] < want[j]:
			fmt.Fprintf(&b, "  too much: %.600s\n", got[i])
			i, shown = i+1, shown+1
		case i == len(got) || want[j] < got[i]:
			fmt.Fprintf(&b, "  missing:  %.600s\n", want[j])
			j, shown = j+1, shown+1
		default:
			i, j = i+1, j+1
		}
	}
	return b.String()
}
