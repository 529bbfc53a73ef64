package bronze

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/commit"
)

// A file of a version that somebody has deleted does not come back by trying again: the reader says what is wrong.
func TestDeletedFileIsNoTroubleThatPasses(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	lake, tables := mem.New("lake"), commit.NewTables(nil)
	a := New(Options{
		Connector: "c", Topic: "shop.t", Interval: time.Millisecond, MaxBytes: 1 << 20,
		Bucket: lake, Path: "bronze/t", Tables: tables, NewDecoder: newText,
	})
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	p, err := a.Join(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin(0)
	if err := errors.Join(p.Add(ctx, makeLog(1, 5).from(0, 0, 5)), p.Leave(ctx)); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	ctx = context.Background()
	table, err := tables.Open(ctx, lake, "bronze/t")
	if err != nil {
		t.Fatal(err)
	}
	dec, _ := newText()
	if _, _, err := ReadVersion(ctx, table, 1, dec, ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	files, err := commit.Appended(ctx, table, 1)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := lake.Delete(ctx, "bronze/t/"+files[0].Path); err != nil {
		t.Fatal(err)
	}
	_, _, err = ReadVersion(ctx, table, 1, dec, ReadOptions{})
	if commit.Transient(err) || !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "vacuum") {
		t.Errorf("%v", err)
	}
}
