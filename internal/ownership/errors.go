package ownership

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: no connector, task or member of this name.
	ErrNotFound = errors.New("not found")
	// ErrExists: the connector's name is taken.
	ErrExists = errors.New("exists already")
	// ErrNoLeader: no leader was found within the time that a request waits for one.
	ErrNoLeader = errors.New("the cluster has no leader at the moment")
	// ErrStopped: the operation needs a connector in another state, or the node is shutting down.
	ErrStopped = errors.New("stopped")
	// ErrConflict: the operation is at odds with the present state; the wrapping error says how.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: what was asked for is not valid, whoever decides; the wrapping error says why, for people.
	ErrInvalid = errors.New("invalid")
	// ErrTimeout: the time that a request waits has passed; the change may still happen.
	ErrTimeout = errors.New("timed out")
	// ErrTooNew: state, command or peer of a newer version than this binary knows.
	ErrTooNew = errors.New("written by a newer version of sluice")
)

// Errorf makes an error of a kind, one of those above, that says only what the format does: for people, who know from the words what
// kind of error they read. errors.Is finds the kind and what the format wraps.
func Errorf(kind error, format string, args ...any) error {
	return &said{error: fmt.Errorf(format, args...), kind: kind}
}

type said struct {
	error
	kind error
}

func (e *said) Unwrap() []error { return []error{e.kind, e.error} }
