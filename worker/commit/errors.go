package commit

import (
	"context"
	"errors"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

const checkpointTimeout = 5 * time.Minute

// retryError marks an error that may pass.
type retryError struct{ err error }

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// Retry marks err as one after which trying again may help.
func Retry(err error) error {
	if err == nil {
		return nil
	}
	return &retryError{err}
}

// permanentError marks an error that does not pass.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that needs an operator.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Transient tells whether trying again may help, of errors that come from tables, stores and brokers. What is not known
// to last is taken to pass: a store has more ways to fail for a while than can be listed, and a full disk is one of them.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	var retry *retryError
	if errors.As(err, &retry) {
		return true
	}
	var permanent *permanentError
	var unsupported *delta.UnsupportedError
	var broken *delta.CorruptError
	var defect *guard.PanicError
	switch {
	case errors.As(err, &permanent), errors.As(err, &unsupported), errors.As(err, &broken), errors.As(err, &defect),
		errors.Is(err, store.ErrPermission), errors.Is(err, delta.ErrInvalidCommit), errors.Is(err, delta.ErrAppendOnly),
		errors.Is(err, delta.ErrProgress), errors.Is(err, context.Canceled):
		return false
	}
	return true
}
