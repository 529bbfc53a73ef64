package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice.io/sluice/internal/ownership"
)

// restError is an error with its status. Its text goes to the client as it is.
type restError struct {
	status  int
	message string
	// bare answers come before a resource was chosen: Connect gives them no Content-Type.
	bare bool
	// retryAfter asks the client to come again.
	retryAfter time.Duration
}

func (e *restError) Error() string { return e.message }

func fail(status int, format string, args ...any) error {
	return &restError{status: status, message: fmt.Sprintf(format, args...)}
}

// statusError is the error of a status without further words, as JAX-RS gives it.
func statusError(status int) error {
	return &restError{status: status, message: fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)), bare: true}
}

// noLeader is the text that Connect's clients look for.
const noLeader = "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway."

// asREST gives every error its status. It is the only place that knows the mapping.
func asREST(ctx context.Context, err error) *restError {
	var r *restError
	var back *BackwardError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &back):
		return &restError{status: http.StatusBadRequest, message: back.Error()}
	case errors.Is(err, ownership.ErrNoLeader):
		// Not 409: no name is taken and no state is at odds. The client is to come again.
		return &restError{status: http.StatusServiceUnavailable, message: noLeader, retryAfter: time.Second}
	case errors.Is(err, ownership.ErrTimeout), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return &restError{status: http.StatusInternalServerError, message: stageOf(ctx).timedOut()}
	case errors.Is(err, ownership.ErrStopped):
		return &restError{status: http.StatusInternalServerError, message: "Worker is shutting down", retryAfter: time.Second}
	case errors.Is(err, ownership.ErrNotFound):
		return &restError{status: http.StatusNotFound, message: err.Error()}
	case errors.Is(err, ownership.ErrExists), errors.Is(err, ownership.ErrConflict):
		return &restError{status: http.StatusConflict, message: err.Error()}
	case errors.Is(err, ownership.ErrInvalid):
		return &restError{status: http.StatusBadRequest, message: err.Error()}
	}
	return &restError{status: http.StatusInternalServerError, message: err.Error()}
}

// stage is what a request is doing, for the text of a time-out.
type stage struct {
	what  string
	began time.Time
}

type stageKey struct{}

func withStage(ctx context.Context) context.Context {
	return context.WithValue(ctx, stageKey{}, &stage{what: "reading the request", began: time.Now()})
}

// doing notes what the request does next. Handlers run on one goroutine per request.
func doing(ctx context.Context, format string, args ...any) {
	if s, ok := ctx.Value(stageKey{}).(*stage); ok {
		s.what, s.began = fmt.Sprintf(format, args...), time.Now()
	}
}

func stageOf(ctx context.Context) *stage {
	if s, ok := ctx.Value(stageKey{}).(*stage); ok {
		return s
	}
	return &stage{what: "handling the request", began: time.Now()}
}

func (s *stage) timedOut() string { return "Request timed out. " + s.text() }

func (s *stage) text() string {
	return fmt.Sprintf("The worker is currently %s, which began at %s.", s.what, s.began.UTC().Format("2006-01-02T15:04:05.000Z"))
}
