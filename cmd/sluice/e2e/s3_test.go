package e2e

import (
	"testing"
	"time"

	"sluice.io/sluice/internal/shop"
	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/s3"
)

// TestLakeOnS3 runs the shop with its lake on MinIO, kills the node in the middle, and compares silver with the model of the source.
// Foreign readers, where there are any, read the tables from there.
func TestLakeOnS3(t *testing.T) {
	server := s3.Start(t, "minio")
	for k, v := range server.Env() {
		t.Setenv(k, v)
	}
	br := broker.Start(t)
	load := &shopLoad{Shop: shop.New(shop.Options{Seed: 11, Mishaps: shop.Rough, Unavailable: true, Customers: 50, Orders: 80, MaxOrders: 400})}
	for _, topic := range load.Topics() {
		br.Topic(topic, load.Partitions())
	}
	n := newNode(t, br.Servers())
	n.lake = server.URL("shop")
	n.env = []string{"SLUICE_LAKE_URL=" + n.lake}
	n.start(t)
	n.ready(t)
	n.put(t, "shop", shopConfig(load.Shop))
	load.run(br.Client(), 400)
	for range 2 {
		time.Sleep(4 * time.Second) // of life under load, between two deaths
		n.Kill()
		n.start(t)
	}
	load.end(t)
	n.ready(t)
	n.caughtUp(t, "shop", load.ends(), shopFeeds(load.Shop), 3*time.Minute)
	if err := n.Stop(30 * time.Second); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	n.checkShop(t, load)
	rows := 0
	for _, table := range shop.Tables() {
		rows += load.Rows(table)
	}
	t.Logf("FIGURE lake on MinIO: %d rows of silver as the model has them, after two kills", rows)
	var written []lakeTable
	for _, topic := range load.Topics() {
		written = append(written, lakeTable{n, "silver/" + topic, false})
	}
	startReaders(t, "delta-rs", "duckdb").agree(t, written...)
}
