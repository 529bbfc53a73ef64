// Package store is the port to object stores: what a lake's tables are written to. Implementations live in the
// folders below (file, blob); storetest is the suite that each must pass, faultstore breaks one on purpose.
//
// A key is a slash-separated path relative to the bucket's root, without leading slash, "." or ".." segments.
// All methods are safe for concurrent use, and honour ctx.
package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrNotFound: there is no object under the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: PutIfAbsent found the key taken.
	ErrExists = errors.New("object exists already")
	// ErrUnknownOutcome: a write was sent and it is not known whether it took effect (D3). The caller must read back.
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
	// ErrPermission: the store refuses access.
	ErrPermission = errors.New("permission denied")
)

// Info describes an object.
type Info struct {
	Key     string
	Size    int64
	ModTime time.Time
}

// Bucket is one lake location.
type Bucket interface {
	// URL names the bucket for people, without secrets: file:///data/lake, s3://bucket/prefix.
	URL() string
	// Get reads a whole object.
	Get(ctx context.Context, key string) ([]byte, error)
	// ReadRange reads length bytes at offset. Fewer bytes than asked for is an error. length < 0: to the end.
	ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// Stat describes an object.
	Stat(ctx context.Context, key string) (Info, error)
	// Put writes an object, replacing what is there. The object appears whole or not at all and is durable on
	// return.
	Put(ctx context.Context, key string, data []byte) error
	// PutIfAbsent writes an object only if the key is free: exactly one of any number of racing callers gets nil, the
	// others ErrExists. It does not retry by itself; where the outcome can't be known the error wraps
	// ErrUnknownOutcome (D3).
	PutIfAbsent(ctx context.Context, key string, data []byte) error
	// Create streams an object, for large files: written when Close returns nil, absent when the writer is
	// closed after a failed Write or a cancelled ctx.
	Create(ctx context.Context, key string) (io.WriteCloser, error)
	// List gives the objects whose key begins with prefix and is greater than after, in ascending byte order of
	// the key. Hidden or temporary objects of the implementation are not listed.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
	// Delete removes an object. Deleting what is not there is no error.
	Delete(ctx context.Context, key string) error
	// Close gives resources back.
	Close() error
}

// IntoReader is a Bucket that reads into memory of the caller, for those who read one object in many pieces. As with io.ReaderAt, fewer bytes than
// p has come with an error, io.EOF at the object's end.
type IntoReader interface {
	ReadInto(ctx context.Context, key string, p []byte, offset int64) (int, error)
}
