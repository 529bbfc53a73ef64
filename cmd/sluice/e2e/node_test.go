package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
)

// node is a `sluice serve` process with folders of its own.
type node struct {
	*proc.Process
	id        string
	dir, lake string
	rest      string
	pid       atomic.Int64 // of the present or last process
	frozen    bool         // stopped by SIGSTOP
	bin       string       // another binary than that under test
	env       []string
	args      []string
}

// newNode prepares a node against a broker; start runs it.
func newNode(tb testing.TB, broker string) *node {
	tb.Helper()
	dir := tb.TempDir()
	n := &node{dir: dir, lake: filepath.Join(dir, "lake")}
	rest := ports.Address(tb)
	n.rest = "http://" + rest
	if err := os.MkdirAll(n.lake, 0o755); err != nil {
		tb.Fatal(err)
	}
	conf := fmt.Sprintf("node:\n  id: n1\ndata.dir: %s\nlake.url: file://%s\nkafka:\n  bootstrap.servers: %s\nrest.listen: %s\npeer.listen: 127.0.0.1:%d\nlog.format: text\n",
		filepath.Join(dir, "data"), n.lake, broker, rest, ports.Free(tb))
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	n.args = []string{"serve", "--config", path}
	return n
}

func (n *node) start(tb testing.TB) {
	tb.Helper()
	bin := n.bin
	if bin == "" {
		bin = proc.Sluice(tb)
	}
	if n.Process != nil {
		n.Quiet() // only the last life's output is printed
	}
	n.Process = proc.Start(tb, strings.TrimSpace("sluice serve "+n.id), n.env, bin, n.args...)
	n.pid.Store(int64(n.Pid()))
}

// ready waits until REST answers.
func (n *node) ready(tb testing.TB) {
	tb.Helper()
	proc.Eventually(tb, time.Minute, "REST answers", func() (bool, string) {
		select {
		case <-n.Done():
			tb.Fatalf("sluice serve ended by itself:\n%s", n.Output())
		default:
		}
		resp, err := http.Get(n.rest + "/health")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == 200, resp.Status
	})
}

// call makes a REST request and gives status and body.
func (n *node) call(tb testing.TB, method, path string, body any) (int, string) {
	tb.Helper()
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			tb.Fatal(err)
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, n.rest+path, rd)
	if err != nil {
		tb.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// put creates or updates a connector and fails the test unless REST accepts it.
func (n *node) put(tb testing.TB, name string, config map[string]string) {
	tb.Helper()
	status, body := n.call(tb, "PUT", "/connectors/"+url.PathEscape(name)+"/config", config)
	if status != 200 && status != 201 {
		tb.Fatalf("PUT connector %s: %d %s", name, status, body)
	}
}

// failedTasks gives the traces of failed tasks, so that a wait ends early and says why.
func (n *node) failedTasks(tb testing.TB, name string) string {
	tb.Helper()
	status, body := n.call(tb, "GET", "/connectors/"+url.PathEscape(name)+"/status", nil)
	if status != 200 {
		return ""
	}
	var st struct {
		Tasks []struct {
			ID           int
			State, Trace string
		}
	}
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		return err.Error()
	}
	out := ""
	for _, t := range st.Tasks {
		if t.State == "FAILED" {
			out += fmt.Sprintf("task %d FAILED: %s\n", t.ID, t.Trace)
		}
	}
	return out
}

// ends are the end offsets of topics by partition.
type ends map[string]map[int32]int64

// feeds names, for each silver table (path in the lake), the topics that it is merged from.
type feeds map[string][]string

// caughtUp waits until bronze holds every offset below want and every silver table has merged the newest bronze version
// of its topics. It looks at nothing but the tables' logs, as any foreign reader could.
func (n *node) caughtUp(tb testing.TB, connector string, want ends, silver feeds, limit time.Duration) {
	tb.Helper()
	ctx := context.Background()
	bucket, err := stores.Open(ctx, n.lake)
	if err != nil {
		tb.Fatal(err)
	}
	defer bucket.Close()
	tables := map[string]*delta.Table{}
	snapshot := func(path string) (*delta.Snapshot, error) {
		t := tables[path]
		if t == nil {
			var err error
			if t, err = delta.Open(ctx, bucket, path); err != nil {
				return nil, err
			}
			tables[path] = t
		}
		return t.Snapshot(ctx)
	}
	lastLook := time.Now()
	proc.Eventually(tb, limit, "bronze and silver are caught up", func() (bool, string) {
		if time.Since(lastLook) > 2*time.Second {
			lastLook = time.Now()
			if f := n.failedTasks(tb, connector); f != "" {
				tb.Fatalf("connector %s: %s", connector, f)
			}
		}
		for topic, parts := range want {
			for p, end := range parts {
				if end == 0 {
					continue
				}
				bronze, err := snapshot("bronze/" + topic)
				if err != nil {
					return false, err.Error()
				}
				if at, _ := bronze.Txn(fmt.Sprintf("sluice/%s/%s/%d", connector, topic, p)); at < end {
					return false, fmt.Sprintf("bronze/%s partition %d is at %d of %d", topic, p, at, end)
				}
			}
		}
		for path, topics := range silver {
			table, err := snapshot(path)
			if err != nil {
				return false, err.Error()
			}
			for _, topic := range topics {
				bronze, err := snapshot("bronze/" + topic)
				if err != nil {
					return false, err.Error()
				}
				at, ok := table.Txn(fmt.Sprintf("sluice/%s/bronze/%s", connector, topic))
				if !ok || at < bronze.Version {
					return false, fmt.Sprintf("%s has merged version %d of %d of bronze/%s", path, at, bronze.Version, topic)
				}
			}
		}
		return true, ""
	})
}
