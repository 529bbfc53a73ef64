package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/internal/ownership"
)

// request and answer of one client's operation on one connector.
type request struct {
	op, name, value string
}

type answer struct {
	unknown bool
	taken   bool // create: the name was
	absent  bool // delete, read, patch: there was none
	value   string
}

const none = "\x00none"

// connectorModel is one connector as a client may see it: a value or nothing.
var connectorModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, op := range history {
			name := op.Input.(request).name
			byName[name] = append(byName[name], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byName {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return none },
	Step: func(st, in, out any) (bool, any) {
		have, req, ans := st.(string), in.(request), out.(answer)
		switch req.op {
		case "create":
			if have != none {
				return ans.unknown || ans.taken, have
			}
			return ans.unknown || !ans.taken, req.value
		case "put":
			return true, req.value
		case "patch":
			if have == none {
				return ans.unknown || ans.absent, none
			}
			return ans.unknown || !ans.absent, req.value
		case "delete":
			return ans.unknown || ans.absent == (have == none), none
		default:
			return ans.unknown || (ans.absent == (have == none) && (ans.absent || ans.value == have)), have
		}
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// TestWritesAreLinearizable: clients write through every node while nodes are cut off, killed, restarted and
// leadership moves; what they are told fits one order in which each operation took effect at one moment.
func TestWritesAreLinearizable(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SLUICE_TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	rounds := 9
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		rounds = 200
	}
	t.Logf("reproduce: SLUICE_TEST_SEED=%d", seed)
	wire := raftnode.NewNetwork()
	k := newCluster(t, 3, nil, func(_ int, o *Options) {
		o.Network = wire
		o.Timing.Write = 600 * time.Millisecond
	})
	k.startAll()
	k.voters(3)

	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for client := range 5 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := 0; ctx.Err() == nil; i++ {
				req := request{
					op:    []string{"create", "put", "patch", "delete", "read", "read"}[rnd.IntN(6)],
					name:  fmt.Sprint("c", rnd.IntN(3)),
					value: fmt.Sprintf("%d.%d", client, i),
				}
				n := k.nodes[rnd.IntN(3)]
				call := time.Since(began).Nanoseconds()
				ans := ask(n, req)
				ret := time.Since(began).Nanoseconds()
				if ans.unknown {
					if req.op == "read" {
						continue
					}
					ret = time.Hour.Nanoseconds() // it may take effect at any time
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: req, Call: call, Output: ans, Return: ret})
				mu.Unlock()
				time.Sleep(time.Duration(rnd.IntN(8)) * time.Millisecond)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(seed, 99))
	cut := func(i int, on bool) {
		for j := range k.nodes {
			if i != j {
				wire.Cut(k.addrs[i], k.addrs[j], on)
				wire.Cut(k.addrs[j], k.addrs[i], on)
				k.net.set(k.addrs[i], k.addrs[j], on)
			}
		}
	}
	for range rounds {
		i := rnd.IntN(3)
		if rnd.IntN(2) == 0 {
			for j, n := range k.nodes {
				if n.c.leading() != nil {
					i = j
				}
			}
		}
		switch rnd.IntN(2) {
		case 0:
			cut(i, true)
			time.Sleep(time.Duration(100+rnd.IntN(600)) * time.Millisecond)
			cut(i, false)
		default:
			tctx, cancel := context.WithTimeout(ctx, time.Second)
			_ = k.nodes[i].c.TransferLeader(tctx, "")
			cancel()
		}
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
	}
	stop()
	clients.Wait()
	res, info := porcupine.CheckOperationsVerbose(connectorModel, history, 30*time.Second)
	unknown := 0
	for _, op := range history {
		if op.Output.(answer).unknown {
			unknown++
		}
	}
	t.Logf("%d operations, %d of unknown outcome, %d faults", len(history), unknown, rounds)
	switch res {
	case porcupine.Illegal:
		file, err := os.CreateTemp("", "sluice-linear-*.html")
		if err == nil {
			_ = porcupine.Visualize(connectorModel, info, file)
			_ = file.Close()
			t.Logf("picture: %s", file.Name())
		}
		t.Fatal("what clients were told fits no order of their writes")
	case porcupine.Unknown:
		t.Log("the history was too long to be judged in time")
	}
}

// ask runs one operation on a node.
func ask(n *testNode, req request) answer {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	config := map[string]string{"v": req.value}
	var err error
	ans := answer{}
	switch req.op {
	case "create":
		_, err = n.c.Create(ctx, req.name, config, ownership.TargetRunning)
	case "put":
		_, _, err = n.c.Put(ctx, req.name, config)
	case "patch":
		_, err = n.c.Patch(ctx, req.name, map[string]*string{"v": &req.value})
	case "delete":
		err = n.c.Delete(ctx, req.name)
	default:
		if err = n.c.Sync(ctx); err == nil {
			var c ownership.Connector
			c, err = n.c.Connector(req.name)
			ans.value = c.Config["v"]
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, ownership.ErrExists):
		ans.taken = true
	case errors.Is(err, ownership.ErrNotFound):
		ans.absent = true
	default:
		ans.unknown = true
	}
	return ans
}
