package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// registers are connectors that clients write through the REST of random nodes while faults go on. What the clients are told has to fit
// one order in which each write took effect at one moment between its request and its answer (linearizability), and so has what
// every node shows when all is over.
type registers struct {
	nodes []*node
	began time.Time
	stop  context.CancelFunc
	wg    sync.WaitGroup
	http  http.Client

	mu      sync.Mutex
	history []porcupine.Operation
}

// registerCount is how many there are: few enough that clients meet, many enough that the check has short histories.
const registerCount = 6

type registerInput struct {
	op    string // post, put, patch, delete, get
	name  int
	value string
}

type registerOutput struct {
	unknown bool // it may have taken effect, now or later
	there   bool // the answer says that there was such a connector before
	value   string
}

// registerModel is one connector: the value of a setting, or "" where there is none.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		out := make([][]porcupine.Operation, registerCount)
		for _, op := range history {
			i := op.Input.(registerInput).name
			out[i] = append(out[i], op)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(st, in, out any) (bool, any) {
		have, req, ans := st.(string), in.(registerInput), out.(registerOutput)
		ok := ans.unknown || ans.there == (have != "")
		switch req.op {
		case "post":
			if have != "" {
				return ok, have
			}
			return ok, req.value
		case "put":
			return ok, req.value
		case "patch":
			if have == "" {
				return ok, ""
			}
			return ok, req.value
		case "delete":
			return ok, ""
		default:
			return ok && ans.value == have, have
		}
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// watchRegisters starts three clients.
func (c *cluster) watchRegisters(seed uint64) *registers {
	ctx, cancel := context.WithCancel(context.Background())
	r := &registers{nodes: c.nodes, began: time.Now(), stop: cancel, http: http.Client{Timeout: 15 * time.Second}}
	for client := range 3 {
		r.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 100+uint64(client)))
			for i := 0; ctx.Err() == nil; i++ {
				in := registerInput{op: []string{"post", "put", "put", "patch", "patch", "delete"}[rnd.IntN(6)], name: rnd.IntN(registerCount), value: strconv.Itoa(1000 + 3*i + client)}
				r.do(ctx, client, r.nodes[rnd.IntN(len(r.nodes))], in)
				select {
				case <-time.After(time.Duration(200+rnd.IntN(600)) * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	return r
}

// do makes a request and notes what came of it. What never got to a node is left out.
func (r *registers) do(ctx context.Context, client int, n *node, in registerInput) {
	name := fmt.Sprintf("register-%d", in.name)
	config := map[string]string{"connector.class": "LakehouseSink", "topics": "nothing-" + name, "commit.interval.ms": in.value}
	method, path, body := "", "/connectors/"+name+"/config", any(config)
	switch in.op {
	case "post":
		config["name"] = name
		method, path, body = "POST", "/connectors", map[string]any{"name": name, "config": config}
	case "put":
		method = "PUT"
	case "patch":
		method, body = "PATCH", map[string]string{"commit.interval.ms": in.value}
	case "delete":
		method, path, body = "DELETE", "/connectors/"+name, nil
	case "get":
		method, body = "GET", nil
	}
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			panic(err) // maps of strings
		}
		rd = bytes.NewReader(b)
	}
	// A client that ends waits for its answer all the same: what it would not hear of is unknown.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, n.rest+path, rd)
	if err != nil {
		panic(err) // the paths are ours
	}
	req.Header.Set("Content-Type", "application/json")
	call := time.Since(r.began)
	resp, err := r.http.Do(req)
	out := registerOutput{unknown: true}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	if err == nil {
		switch {
		case resp.StatusCode == 201:
			out = registerOutput{}
		case resp.StatusCode == 200 || resp.StatusCode == 204:
			out = registerOutput{there: true}
		case resp.StatusCode == 404:
			out = registerOutput{}
		case resp.StatusCode == 409 && bytes.Contains(text, []byte("already exists")):
			out = registerOutput{there: true}
		}
	}
	if in.op == "get" && !out.unknown && out.there {
		var conf map[string]string
		if json.Unmarshal(text, &conf) != nil {
			return
		}
		out.value = conf["commit.interval.ms"]
	}
	end := time.Since(r.began)
	if out.unknown {
		if in.op == "get" {
			return
		}
		end = 24 * time.Hour
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: call.Nanoseconds(), Output: out, Return: end.Nanoseconds()})
}

// end stops the clients. What requests of unknown outcome still wanted is over when it returns, if the cluster has been well since.
func (r *registers) end() {
	r.stop()
	r.wg.Wait()
}

// check reads every register at every node and judges the whole history.
func (r *registers) check(tb testing.TB) {
	tb.Helper()
	for i, n := range r.nodes {
		// Nodes answer reads from what they know, which is all there was before a write of their own.
		r.do(context.Background(), 10+i, n, registerInput{op: "put", value: strconv.Itoa(900 + i)})
		for name := range registerCount {
			r.do(context.Background(), 10+i, n, registerInput{op: "get", name: name})
		}
	}
	for name := range registerCount { // they are no part of what comes after
		r.do(context.Background(), 0, r.nodes[0], registerInput{op: "delete", name: name})
	}
	unknown := 0
	for _, op := range r.history {
		if op.Output.(registerOutput).unknown {
			unknown++
		}
	}
	res, info := porcupine.CheckOperationsVerbose(registerModel, r.history, 2*time.Minute)
	tb.Logf("FIGURE REST writes under faults: %d, of which %d of unknown outcome: %s", len(r.history), unknown, res)
	if res != porcupine.Illegal {
		return
	}
	if file, err := os.CreateTemp("", "sluice-rest-*.html"); err == nil {
		_ = porcupine.Visualize(registerModel, info, file)
		_ = file.Close()
		tb.Logf("picture: %s", file.Name())
	}
	for _, op := range r.history {
		tb.Logf("%8.3f %8.3f client %d: %+v -> %+v", time.Duration(op.Call).Seconds(), time.Duration(op.Return).Seconds(), op.ClientId, op.Input, op.Output)
	}
	tb.Error("what REST has answered fits no order of the writes")
}
