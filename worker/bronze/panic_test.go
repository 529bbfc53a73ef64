package bronze

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/commit"
)

// A panic while rows are taken from a partition ends the Appender: the partition's lock does not stay held, so nobody waits for ever.
func TestPanicOfTheCutEndsTheAppender(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := New(Options{
		Connector: "c", Topic: "shop.t", Interval: time.Millisecond, MaxBytes: 1 << 20,
		Bucket: mem.New("lake"), Path: "bronze/t", Tables: commit.NewTables(nil), NewDecoder: newText,
	})
	p, err := a.Join(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.Begin(0)
	if err := p.Add(ctx, makeLog(1, 5).from(0, 0, 5)); err != nil {
		t.Fatal(err)
	}
	p.buf.rows = nil
	var defect *guard.PanicError
	if err := a.Run(ctx); !errors.As(err, &defect) {
		t.Errorf("Run ended with %v", err)
	}
	if err := p.Leave(ctx); !errors.As(err, &defect) {
		t.Errorf("Leave ended with %v", err)
	}
}
