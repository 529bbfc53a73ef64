package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestNodesSayHowTheyAre: any node knows of all others what they say of themselves, and passes levels of loggers on.
func TestNodesSayHowTheyAre(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	levels := map[int]string{}
	k := newCluster(t, 3, nil, func(i int, o *Options) {
		o.Refused = func() int64 { return int64(i) }
		o.SetLevel = func(logger string, level slog.Level) {
			mu.Lock()
			defer mu.Unlock()
			levels[i] = fmt.Sprint(logger, " ", level)
		}
		if i == 2 {
			o.Now = func() time.Time { return time.Now().Add(10 * time.Second) }
		}
	})
	k.startAll()
	k.voters(3)
	ctx := context.Background()
	for _, c := range k.nodes[0].c.Conditions(ctx) {
		i := slices.IndexFunc(k.nodes, func(n *testNode) bool { return n.opts.NodeID == c.Node })
		ahead := time.Duration(c.ClockAheadMs) * time.Millisecond
		if c.Problem != "" || c.RefusedCommits != uint64(i) || !c.HoldsLease || c.CommandVersion != 1 || c.PeerVersion != 1 || (ahead > 5*time.Second) != (i == 2) {
			t.Errorf("%+v", c)
		}
	}
	if err := k.nodes[0].c.SetLevels(ctx, "worker", slog.LevelDebug); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if levels[0] != "" || levels[1] != "worker DEBUG" || levels[2] != "worker DEBUG" {
		t.Errorf("levels set: %v", levels)
	}
	mu.Unlock()
	k.nodes[2].kill()
	if c := k.nodes[0].c.Conditions(ctx); len(c) != 3 || c[2].Problem == "" {
		t.Errorf("of a node that is gone: %+v", c)
	}
	// A node that loses touch stops its tasks, and says so afterwards.
	k.nodes[2].start()
	k.nodes[2].ready()
	k.voters(3)
	for _, a := range k.addrs[:2] {
		k.net.set(k.addrs[2], a, true)
	}
	eventually(t, "the lease to end", func() bool { return !k.nodes[2].c.Condition().HoldsLease })
	for _, a := range k.addrs[:2] {
		k.net.set(k.addrs[2], a, false)
	}
	eventually(t, "the status to tell of it", func() bool {
		c := k.nodes[0].c.Conditions(ctx)[2]
		return c.HoldsLease && c.LeasesLost > 0 && c.LeaseLostMs > 0
	})
}
