// Package guard keeps a panic inside the task that it happens in: a goroutine whose panic nobody recovers ends the process, and with it all tasks of the
// node. Goroutines on the path of data run what they do through it, and hand the error to whoever waits for them. A panic stays a defect: the error shows
// where it was, and is not tried again.
package guard

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// PanicError is a panic, and where it was.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Do gives what f gives; where f panics, a *PanicError. What f holds is released by its defers alone.
func Do(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}

// Group is an errgroup.Group for which a function that panics has failed.
type Group struct{ g *errgroup.Group }

// WithContext is as errgroup's.
func WithContext(ctx context.Context) (*Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &Group{g}, ctx
}

// New gives a Group without a context.
func New() *Group { return &Group{new(errgroup.Group)} }

// SetLimit is as errgroup's.
func (g *Group) SetLimit(n int) { g.g.SetLimit(n) }

// Go is as errgroup's.
func (g *Group) Go(f func() error) { g.g.Go(func() error { return Do(f) }) }

// Wait is as errgroup's.
func (g *Group) Wait() error { return g.g.Wait() }
