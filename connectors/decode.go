package connectors

import (
	"errors"
	"fmt"
)

// Decoder turns the bytes of records of one topic into changes. A Decoder is owned by one goroutine: it keeps
// caches (schemas, shapes, sources) and memory that it hands out.
type Decoder interface {
	// Decode appends the changes that rec holds to dst. A record of a known kind that changes nothing gives one
	// Control change: never none, so that bronze has a row for each record (D6).
	//
	// A record that has no meaning in the decoder's format gives a *DecodeError (a dead letter); other errors are
	// of the environment (a schema registry that does not answer) and are to be retried. With a *DecodeError of
	// StageTransform the changes are appended all the same, as Controls: the record has a meaning, and its row in bronze.
	//
	// The changes refer to rec and its bytes; their Rows are valid for ever (they are never reused).
	Decode(dst []Change, rec *Record) ([]Change, error)
}

// Rebuilder is a Decoder that can give the value bytes back from what bronze keeps when Raw.Complete is set.
type Rebuilder interface {
	// Rebuild appends to dst a record value that decodes to the same change: same op, images, source, transaction
	// and capture time.
	Rebuild(dst []byte, opText string, captureTsNs int64, raw Raw) []byte
}

// Error classes of dead letters.
const (
	ClassMalformed   = "malformed"    // not the format's syntax
	ClassUnknown     = "unknown"      // syntax right, meaning unknown (op, record type)
	ClassIncomplete  = "incomplete"   // a member that must be there is missing
	ClassBadValue    = "bad-value"    // a value does not fit its declared type
	ClassBadPosition = "bad-position" // the position does not parse
	ClassTooLarge    = "too-large"
	ClassTransform   = "transform"
	ClassApply       = "apply"
)

// DecodeError says why a record has no meaning. The record goes to the dead letters with it.
type DecodeError struct {
	// Stage is where it went wrong; empty: StageDecode.
	Stage  Stage
	Class  string // one of the Class constants
	Reason string // a sentence for a person, with the member and what was found
	Err    error  // may be nil
}

// Error implements error.
func (e *DecodeError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Class, e.Reason, e.Err)
	}
	return e.Class + ": " + e.Reason
}

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Letter makes the dead letter that the record becomes.
func (e *DecodeError) Letter(rec *Record, connector string) DeadLetter {
	l := DeadLetter{Record: rec, Connector: connector, Stage: e.Stage, Class: e.Class, Reason: e.Reason}
	if l.Stage == "" {
		l.Stage = StageDecode
	}
	if e.Err != nil {
		l.Reason += ": " + e.Err.Error()
	}
	return l
}

// Poison makes a DecodeError.
func Poison(class, format string, args ...any) error {
	return &DecodeError{Class: class, Reason: fmt.Sprintf(format, args...)}
}

// IsPoison tells whether err says that the record itself is bad, and gives the reason.
func IsPoison(err error) (*DecodeError, bool) {
	var d *DecodeError
	ok := errors.As(err, &d)
	return d, ok
}
