package dev

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func sample() view {
	return view{REST: "http://localhost:8083", Broker: "127.0.0.1:9092", Lake: "/data/lake", Written: 1234567, Up: 61 * time.Second, Tables: []tableView{
		{Name: "shop.public.orders", PerSecond: 120.4, Bronze: 10000, Silver: 345, Lag: 7, P50: 412 * time.Millisecond, P99: 1250 * time.Millisecond, DeadLetters: 2, LastCommit: now.Add(-time.Second)},
		{Name: "shop.public.customers", Silver: -1, Trouble: "waiting for the broker"},
	}}
}

func TestLines(t *testing.T) {
	want := []string{
		"sluice dev · up 1m1s · the shop has written 1 234 567 events · REST http://localhost:8083 · Kafka 127.0.0.1:9092",
		"",
		"TABLE                  EVENTS/S  BRONZE ROWS  SILVER ROWS  LAG  FRESH P50    P99  DEAD  LAST COMMIT",
		"shop.public.orders          120       10 000          345    7     412 ms  1.2 s     2  just now",
		"shop.public.customers         0            0            -    0          -      -     0  -",
		"  shop.public.customers: waiting for the broker",
		"",
		"Ctrl-C stops; everything is kept in /data/lake and goes on next time",
	}
	if d := cmp.Diff(want, sample().lines(now)); d != "" {
		t.Fatal(d)
	}
}

func TestPlain(t *testing.T) {
	got := sample().plain(now)[0]
	want := "shop.public.orders: 120 events/s, 10 000 rows in bronze, 345 in silver, lag 7, fresh p50 412 ms p99 1.2 s, 2 dead letters, last commit just now"
	if got != want {
		t.Fatal(got)
	}
}

func TestScreenDrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	s := screen{out: &out, width: func() int { return 10 }}
	s.draw([]string{"one", "a line that is too long", "three"})
	s.draw([]string{"four"})
	want := "one\x1b[K\na line t…\x1b[K\nthree\x1b[K\n" + "\x1b[3A" + "four\x1b[K\n\x1b[J"
	if out.String() != want {
		t.Fatalf("%q", out.String())
	}
	if strings.Contains(cut("ééééééééééé", 5), "\ufffd") {
		t.Fatal("a letter was cut in two")
	}
}
