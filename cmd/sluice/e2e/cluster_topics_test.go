package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice.io/sluice/internal/testkit/proc"
)

// TestClusterTopics: a connector with topics.regex gets partitions and topics that appear while it runs, and does not take a topic that was
// deleted and made again for the one that it was.
func TestClusterTopics(t *testing.T) {
	c := newCluster(t, 2)
	c.load = &shopLoad{}
	w := newWide(t, c, 1, 1, 1000)
	w.fill(t)
	c.startAll(t, []int{1, 0})
	n := c.nodes[0]
	n.put(t, "shop", map[string]string{"connector.class": "LakehouseSink", "topics.regex": `bench\.public\..*`, "commit.interval.ms": "100"})
	n.caughtUp(t, "shop", w.ends, w.feeds(), time.Minute)

	ctx := t.Context()
	admin := kadm.NewClient(c.client)
	grown, err := admin.UpdatePartitions(ctx, 3, w.topics[0])
	if err == nil {
		err = grown.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.parts = 3
	w.ends[w.topics[0]][1], w.ends[w.topics[0]][2] = 0, 0
	// produce writes to a topic as soon as this client knows its partitions.
	produce := func(topic string) {
		t.Helper()
		if topic == w.topics[0] {
			proc.Eventually(t, time.Minute, "the test's own client knows the new partitions", func() (bool, string) {
				c.client.ForceMetadataRefresh()
				leader, _, err := c.client.PartitionLeader(topic, 2)
				return err == nil && leader >= 0, fmt.Sprint(leader, err)
			})
		}
		for id := range 300 {
			if err := c.client.ProduceSync(context.Background(), w.event(topic, id, 'u')).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	produce(w.topics[0])
	n.caughtUp(t, "shop", w.ends, w.feeds(), time.Minute)
	t.Logf("FIGURE two new partitions are in silver %s after their records were written", time.Since(began).Round(10*time.Millisecond))

	w.topics = append(w.topics, "bench.public.late")
	w.ends["bench.public.late"] = map[int32]int64{}
	c.topic("bench.public.late", 3)
	began = time.Now()
	produce("bench.public.late")
	n.caughtUp(t, "shop", w.ends, w.feeds(), time.Minute)
	t.Logf("FIGURE a new topic of topics.regex is in silver %s after it was made", time.Since(began).Round(10*time.Millisecond))

	if gone, err := admin.DeleteTopics(ctx, w.topics[0]); err != nil || gone.Error() != nil {
		t.Fatal(err, gone.Error())
	}
	c.topic(w.topics[0], 3)
	stopped := func(why string) {
		t.Helper()
		proc.Eventually(t, time.Minute, "the tasks of the topic that was made again say: "+why, func() (bool, string) {
			_, body := n.call(t, "GET", "/sluice/v1/connectors/shop/tasks", nil)
			var tasks []struct{ Name, Topic, State, Trace string }
			if err := json.Unmarshal([]byte(body), &tasks); err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, x := range tasks {
				if x.Topic == w.topics[0] && x.State == "FAILED" && strings.Contains(x.Trace, why) {
					failed++
				} else if x.Topic == "bench.public.late" && x.State != "RUNNING" {
					t.Errorf("%s of another topic is %s: %s", x.Name, x.State, x.Trace)
				}
			}
			return failed == 3, fmt.Sprintf("%d tasks say so: %s", failed, body)
		})
	}
	stopped("deleted and created again")
	// Whoever restarts them without having read why meets the table, which remembers the topic.
	if status, body := n.call(t, "POST", "/connectors/shop/restart?includeTasks=true&onlyFailed=true", nil); status >= 300 {
		t.Fatalf("restart: %d %s", status, body)
	}
	stopped("Point bronze.path at another table")
}
