package state

import (
	"errors"

	"sluice.io/sluice/internal/ownership"
)

// codes names the errors that cross the wire and are remembered in snapshots. Names are never changed.
var codes = []struct {
	code string
	err  error
}{
	{"not_found", ownership.ErrNotFound},
	{"exists", ownership.ErrExists},
	{"no_leader", ownership.ErrNoLeader},
	{"stopped", ownership.ErrStopped},
	{"conflict", ownership.ErrConflict},
	{"invalid", ownership.ErrInvalid},
	{"timeout", ownership.ErrTimeout},
	{"too_new", ownership.ErrTooNew},
}

// Code gives the name of err's kind for the wire: empty for nil, "internal" for what callers do not branch on.
func Code(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "internal"
}

// coded is an error that came over the wire: the text of there, the kind of here.
type coded struct {
	text string
	kind error
}

func (e *coded) Error() string { return e.text }
func (e *coded) Unwrap() error { return e.kind }

// FromCode is the inverse of Code: nil for the empty code; errors.Is finds the kind again.
func FromCode(code, text string) error {
	if code == "" {
		return nil
	}
	for _, c := range codes {
		if c.code == code {
			return &coded{text: text, kind: c.err}
		}
	}
	return errors.New(text)
}
