package worker

import (
	"context"
	"errors"
	"testing"
)

// What is larger than the room comes in alone and is not overtaken by small ones; who has some does not wait for more (D9).
func TestColdRoom(t *testing.T) {
	ctx := context.Background()
	room := newColdRoom(100)
	share := func() *coldShare { return &coldShare{room: room, ratio: 1} }
	enter := func(s *coldShare, bytes int64, hold, want bool) {
		t.Helper()
		if ok, err := s.admit(ctx, bytes, hold); err != nil || ok != want {
			t.Fatalf("%d bytes: %v %v", bytes, ok, err)
		}
	}
	first, large, small := share(), share(), share()
	enter(first, 60, false, true)
	enter(first, 60, false, false) // it has some already
	enter(first, 30, false, true)
	in := make(chan error)
	waiting, stop := context.WithCancel(ctx)
	go func() {
		_, err := large.admit(waiting, 1000, false)
		in <- err
	}()
	until(t, "the large one waits", func() bool { return len(room.turn) == 1 })
	enter(small, 1, true, false) // it would fit, but somebody waits
	stop()
	if err := <-in; !errors.Is(err, context.Canceled) {
		t.Fatalf("waiting ended with %v", err)
	}
	go func() {
		_, err := large.admit(ctx, 1000, false)
		in <- err
	}()
	first.release()
	if err := <-in; err != nil {
		t.Fatal(err)
	}
	enter(small, 1, true, false)
	large.correct(1000, 40) // it was less than feared
	enter(small, 1, true, true)
	if large.ratio != 0.04 || room.budget.Used() != 41 {
		t.Errorf("ratio %v, %d bytes are out", large.ratio, room.budget.Used())
	}
	large.release()
	small.release()
	if n := room.budget.Used(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}
