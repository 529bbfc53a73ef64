package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"sluice.io/sluice/internal/shop"
	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/proc"
)

// TestRunbooks walks deploy/runbooks/move-a-lake.md and what reset-a-connector.md says of a deleted connector and of smaller offsets, under
// load; lost-majority.md is TestClusterRecover's, upgrade.md TestClusterRoll's.
func TestRunbooks(t *testing.T) {
	br := broker.Start(t, kfake.ClusterID("the-brokers-own-id"))
	load := &shopLoad{Shop: shop.New(shop.Options{Seed: 19, Mishaps: shop.Rough, Unavailable: true, Customers: 50, Orders: 80, MaxOrders: 400})}
	for _, topic := range load.Topics() {
		br.Topic(topic, load.Partitions())
	}
	n := newNode(t, br.Servers())
	n.start(t)
	n.ready(t)
	n.put(t, "shop", shopConfig(load.Shop))
	load.run(br.Client(), 200)
	for _, topic := range load.Topics() {
		proc.Eventually(t, time.Minute, "silver of "+topic+" is there", func() (bool, string) {
			_, err := os.Stat(filepath.Join(n.lake, "silver", topic, "_delta_log", "00000000000000000001.json"))
			return err == nil, ""
		})
	}
	// A column whose values were all NULL so far has no type yet, and no place in the table.
	proc.Eventually(t, time.Minute, "orders have all of their columns", func() (bool, string) {
		return strings.Contains(strings.Join(n.cat(t, "silver/shop.public.orders"), "\n"), `"shipped_on":`), ""
	})
	expect := func(method, path string, body any, want int) string {
		t.Helper()
		status, text := n.call(t, method, path, body)
		if status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, text)
		}
		return text
	}
	idle := func() {
		t.Helper()
		proc.Eventually(t, time.Minute, "the connector has no tasks", func() (bool, string) {
			text := expect("GET", "/connectors/shop/status", nil, 200)
			return strings.Contains(text, `"tasks":[]`), text
		})
	}

	// Move the lake.
	expect("PUT", "/connectors/shop/stop", nil, 204)
	idle()
	moved := filepath.Join(n.dir, "moved")
	if err := os.CopyFS(moved, os.DirFS(n.lake)); err != nil {
		t.Fatal(err)
	}
	for _, topic := range load.Topics() {
		for _, args := range [][]string{
			{"table", "fsck", filepath.Join(moved, "silver", topic)},
			{"table", "verify", filepath.Join(moved, "bronze", topic), "--kafka", br.Servers()},
		} {
			out, err := exec.Command(proc.Sluice(t), args...).CombinedOutput()
			if err != nil {
				t.Errorf("sluice %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	}
	conf := shopConfig(load.Shop)
	conf["lake.url"] = "file://" + moved
	n.put(t, "shop", conf)
	expect("PUT", "/connectors/shop/resume", nil, 202)
	n.lake = moved
	n.caughtUp(t, "shop", load.sofar(), feeds{}, time.Minute)

	// A smaller offset is refused, with the way out; a connector that is made again goes on where it was.
	expect("PUT", "/connectors/shop/stop", nil, 204)
	idle()
	back := map[string]any{"offsets": []any{map[string]any{
		"partition": map[string]any{"kafka_topic": load.Topics()[0], "kafka_partition": 0}, "offset": map[string]any{"kafka_offset": 0},
	}}}
	proc.Eventually(t, time.Minute, "a smaller offset is refused with the way out", func() (bool, string) {
		status, text := n.call(t, "PATCH", "/connectors/shop/offsets", back) // 500 says that it is safe to retry while a task is about to end
		return status == 400 && strings.Contains(text, "sluice table rebuild"), text
	})
	// Nor can the connector write to a table of a topic that is not its own.
	back["offsets"].([]any)[0].(map[string]any)["partition"].(map[string]any)["kafka_topic"] = "of.another"
	if status, text := n.call(t, "PATCH", "/connectors/shop/offsets", back); status != 400 || !strings.Contains(text, "connector shop does not read topic of.another") {
		t.Errorf("offsets of another topic: %d %s", status, text)
	}
	if status, text := n.call(t, "GET", "/", nil); status != 200 || !strings.Contains(text, `"kafka_cluster_id":"the-brokers-own-id"`) {
		t.Errorf("GET /: %d %s", status, text)
	}
	proc.Eventually(t, time.Minute, "the topics of which records have passed are listed", func() (bool, string) {
		status, text := n.call(t, "GET", "/connectors/shop/topics", nil)
		for _, topic := range load.Topics() {
			if status != 200 || !strings.Contains(text, `"`+topic+`"`) {
				return false, text
			}
		}
		return true, ""
	})
	expect("PUT", "/connectors/shop/topics/reset", nil, 202)
	if _, text := n.call(t, "GET", "/connectors/shop/topics", nil); !strings.Contains(text, `{"shop":{"topics":[]}}`) {
		t.Errorf("topics of a stopped connector after their reset: %s", text)
	}
	expect("DELETE", "/connectors/shop", nil, 204)
	n.put(t, "shop", conf)
	load.end(t)
	n.caughtUp(t, "shop", load.ends(), shopFeeds(load.Shop), time.Minute)
	if err := n.Stop(time.Minute); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	n.checkShop(t, load)
}
