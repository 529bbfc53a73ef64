package raftnode

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

type nothing struct{}

func (nothing) Apply(uint64, []byte) (any, error) { return nil, nil }
func (nothing) Snapshot() (func(io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (nothing) Restore(io.Reader) error { return nil }

// Whoever asks while a node closes gets an answer, and nobody waits for one for ever.
func TestCloseAnswersWhatWasAsked(t *testing.T) {
	defer goleak.VerifyNone(t)
	for range 20 {
		n, err := Open(Options{ID: "n1", Address: "n1", Network: NewNetwork(), Machine: nothing{}, Timing: Timing{Heartbeat: 50 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		var asking sync.WaitGroup
		asked := make(chan struct{}, 1000)
		late := time.Now().Add(time.Minute)
		for range 8 {
			asking.Go(func() {
				for {
					// Most of them give up before the answer is there.
					ctx, cancel := context.WithTimeout(context.Background(), 200*time.Microsecond)
					err := n.Verify(ctx)
					cancel()
					if errors.Is(err, ErrClosed) {
						return
					}
					if time.Now().After(late) {
						t.Error("the node does not say that it is closed")
						return
					}
					select {
					case asked <- struct{}{}:
					default:
					}
				}
			})
		}
		for range cap(asked) / 10 {
			<-asked
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		asking.Wait()
		if err := n.Verify(context.Background()); err == nil || !strings.Contains(err.Error(), "shutdown") {
			t.Errorf("asked after the end: %v", err)
		}
	}
}
