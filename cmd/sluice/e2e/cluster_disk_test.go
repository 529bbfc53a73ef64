package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/proc"
)

func probe(client int, value, note string) map[string]string {
	return map[string]string{"connector.class": "LakehouseSink", "topics": fmt.Sprint("nothing-", client), "commit.interval.ms": value, "transforms.x.note": note}
}

// TestClusterDiskFull fills the disk of a follower's Raft log while writes go on. When there is room again the follower gets what it has
// missed from the leader of before, and the leader can be stopped in good order.
func TestClusterDiskFull(t *testing.T) {
	c := prepare(t, 3, stack{disks: true})
	if c.disks == nil {
		return // mount has said why: this user may not do that
	}
	c.startAll(t, []int{0, 1, 2})
	c.whole(t)
	lead := c.leader(t)
	n, follower := c.nodes[lead], c.nodes[(lead+1)%3]
	// write makes large writes, so that the pages of the log that are free are soon used up, by several clients at once.
	write := func(times int) {
		var clients sync.WaitGroup
		for client := range 4 {
			clients.Go(func() {
				for i := range times {
					status, body := n.call(t, "PUT", fmt.Sprintf("/connectors/probe-%d/config", client), probe(client, fmt.Sprint(1000+i), strings.Repeat(fmt.Sprint(i), 20_000)))
					if status != 200 && status != 201 {
						t.Errorf("write: %d %s", status, body)
					}
				}
			})
		}
		clients.Wait()
	}
	write(5)
	for range 12 {
		c.disks.fill(t, follower.id)
		write(4)
		c.disks.drain(t, follower.id)
		write(2)
	}
	n.put(t, "probe-0", probe(0, "5000", ""))
	proc.Eventually(t, time.Minute, follower.id+" has got the last write", func() (bool, string) {
		status, body := follower.call(t, "GET", "/connectors/probe-0/config", nil)
		return status == 200 && strings.Contains(body, `"5000"`), fmt.Sprint(status, body[:min(len(body), 300)])
	})
	c.whole(t)
	for _, n := range c.nodes {
		if err := n.Stop(time.Minute); err != nil {
			t.Errorf("SIGTERM of %s: %v", n.id, err)
		}
	}
}
