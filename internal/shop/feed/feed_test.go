package feed

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"sluice.io/sluice/internal/devbroker"
	"sluice.io/sluice/internal/shop"
)

// TestGoesOnAfterACrash drops a feed in the middle, without saving, and looks whether the next one writes what is missing
// and nothing twice: the broker ends where an undisturbed shop ends.
func TestGoesOnAfterACrash(t *testing.T) {
	b, err := devbroker.Open(devbroker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := Options{Brokers: []string{b.Addr()}, State: filepath.Join(t.TempDir(), "shop.json"),
		Shop: shop.Options{Seed: 4, Customers: 20, Orders: 20, Mishaps: shop.Rough}}
	for range 3 {
		f, err := Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(ctx, 100); err != nil {
			t.Fatal(err)
		}
		f.Close() // and what was lived since the last save is forgotten
	}
	f, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	have, err := f.ends(ctx)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for topic, ends := range f.Shop().Ends() {
		for p, end := range ends {
			total += end
			if have[topic][p] != end {
				t.Errorf("%s-%d: the broker ends at %d, the shop at %d", topic, p, have[topic][p], end)
			}
		}
	}
	if total < 300 {
		t.Errorf("only %d records", total)
	}
}
