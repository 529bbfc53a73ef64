package delta

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotTable: there is no Delta table under the path.
	ErrNotTable = errors.New("not a Delta table")
	// ErrTableExists: Create found a table.
	ErrTableExists = errors.New("there is a Delta table already")
	// ErrVersionNotFound: the table has no such version, or no longer has what it needs to show it.
	ErrVersionNotFound = errors.New("version not found")
	// ErrGap: commits are missing between those that are there.
	ErrGap = errors.New("the log has a gap")

	// ErrConflict is wrapped by every error of a commit that lost to a concurrent one. The commit is surely not in the
	// table; the caller reads the new snapshot and decides anew.
	ErrConflict = errors.New("conflict with a concurrent commit")
	// ErrProgress: a txn is not what Progress expected (D2): another writer has advanced it, re-seek from the table. It
	// wraps ErrConflict.
	ErrProgress = fmt.Errorf("%w: the table's progress is not what this commit continues", ErrConflict)
	// ErrConcurrentRemove: a winner removed or changed a file that this commit read, changes or removes.
	ErrConcurrentRemove = fmt.Errorf("%w: a file that this commit reads or changes was removed", ErrConflict)
	// ErrConcurrentAppend: a winner added files that this commit should have read.
	ErrConcurrentAppend = fmt.Errorf("%w: rows were added that this commit should have read", ErrConflict)
	// ErrMetadataChanged: a winner changed schema, partitioning or configuration.
	ErrMetadataChanged = fmt.Errorf("%w: the table's metadata changed", ErrConflict)
	// ErrProtocolChanged: a winner changed the protocol in a way that this commit can't follow.
	ErrProtocolChanged = fmt.Errorf("%w: the table's protocol changed", ErrConflict)
	// ErrDomainChanged: a winner wrote a metadata domain that this commit writes too.
	ErrDomainChanged = fmt.Errorf("%w: a metadata domain changed", ErrConflict)

	// ErrInvalidCommit is wrapped by the error of a commit that breaks a rule of the protocol. Nothing was written.
	ErrInvalidCommit = errors.New("this commit would break the table")
	// ErrAppendOnly: the table's delta.appendOnly forbids the commit.
	ErrAppendOnly = errors.New("the table is append-only")
)

// CorruptError says which file of a table can't be read, and where.
type CorruptError struct {
	Table   string // URL of the table
	Version int64  // -1: the file is of no single version
	File    string // key of the file
	Offset  int64  // byte in the file; -1: unknown
	Line    int    // from 1; 0: not a text file
	Err     error
}

// Error implements error.
func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s", e.Table)
	if e.Version >= 0 {
		fmt.Fprintf(&b, ", version %d", e.Version)
	}
	fmt.Fprintf(&b, ": %s is corrupt", e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, " at line %d", e.Line)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " (byte %d)", e.Offset)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// lineError is a bad line of an NDJSON file, before the file's name is known.
type lineError struct {
	line   int
	offset int64
	err    error
}

func (e *lineError) Error() string {
	return fmt.Sprintf("line %d (byte %d): %v", e.line, e.offset, e.err)
}
func (e *lineError) Unwrap() error { return e.err }

func corrupt(table string, version int64, file string, err error) error {
	c := &CorruptError{Table: table, Version: version, File: file, Offset: -1, Err: err}
	var l *lineError
	if errors.As(err, &l) {
		c.Line, c.Offset, c.Err = l.line, l.offset, l.err
	}
	return c
}

func invalid(rule, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrInvalidCommit, rule, fmt.Sprintf(format, args...))
}
