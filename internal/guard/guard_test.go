package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPanicBecomesAnError(t *testing.T) {
	if err := Do(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	want := errors.New("plain")
	if err := Do(func() error { return want }); !errors.Is(err, want) {
		t.Fatal(err)
	}
	g, ctx := WithContext(context.Background())
	g.Go(func() error { panic("here") })
	err := g.Wait()
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "panic: here") || !strings.Contains(err.Error(), "guard_test.go") {
		t.Fatalf("%v, want the panic and its place", err)
	}
	if ctx.Err() == nil {
		t.Fatal("the others go on")
	}
	if err := New().Wait(); err != nil {
		t.Fatal(err)
	}
}
