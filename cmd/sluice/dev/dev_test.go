package dev

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/internal/shop"
)

func options(t *testing.T, data string) (Options, *bytes.Buffer) {
	t.Helper()
	s, err := settings.Load(settings.Sources{Flags: map[string]string{
		"rest.listen": "127.0.0.1:0", "peer.listen": "127.0.0.1:0", "node.id": "dev", "memory.limit": "512MiB"}})
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	return Options{Data: data, Rate: 2000, Seed: 7, Settings: s, Version: "test", Out: out, Every: 200 * time.Millisecond, Settle: time.Minute,
		Log: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})}, out
}

// seen passes on what is written, and calls then once silver has had rows for some views.
type seen struct {
	*bytes.Buffer
	lines int
	then  func()
}

func (s *seen) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if strings.Contains(s.String(), "first silver rows") {
		if s.lines++; s.lines == 30 {
			s.then()
		}
	}
	return n, err
}

// TestShopReachesSilver runs the whole pipeline twice over one folder and compares silver with the shop's own model.
func TestShopReachesSilver(t *testing.T) {
	data := t.TempDir()
	for round := range 2 {
		o, out := options(t, data)
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		o.Out = &seen{Buffer: out, then: stop}
		err := Run(ctx, o)
		stop()
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, out)
		}
		for _, want := range []string{"first silver rows", "shop.public.orders: ", "sluice table cat", "delta_scan"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("round %d: %q is not said:\n%s", round, want, out)
			}
		}
		f, err := os.Open(filepath.Join(data, "shop.json"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := shop.Load(bufio.NewReader(f))
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if round == 1 && s.Rows(shop.Orders) == 0 {
			t.Fatal("the shop has not gone on")
		}
		if len(s.Drain()) > 0 {
			continue // an event is still held back, and the model counts it as happened
		}
		for i, table := range shop.Tables() {
			if d := cmp.Diff(s.Expected(table), silver(t, data, s.Topics()[i])); d != "" {
				t.Errorf("round %d, %s:\n%s", round, table, d)
			}
		}
	}
}

// silver reads the rows of a silver table without its own columns.
func silver(t *testing.T, data, topic string) []string {
	t.Helper()
	ctx := context.Background()
	b, err := file.Open(filepath.Join(data, "lake"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	table, err := delta.Open(ctx, b, "silver/"+topic)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := table.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var o rows.Options
	for _, f := range snap.Schema().Fields {
		if !strings.HasPrefix(f.Name, "_") {
			o.Columns = append(o.Columns, f.Name)
		}
	}
	sc, err := o.Schema(snap)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for batch, err := range rows.Scan(ctx, snap, o) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(batch.Record.NumRows()) {
			line, err := columnar.AppendCanonicalJSON(nil, batch.Record, sc, i)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(line) {
				t.Fatalf("%s", line)
			}
			out = append(out, string(line))
		}
	}
	slices.Sort(out)
	return out
}
