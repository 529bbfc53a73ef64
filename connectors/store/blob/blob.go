// Package blob keeps a lake in the object stores of clouds, through gocloud.dev/blob: Amazon S3 and what speaks its
// protocol, Google Cloud Storage, Azure Blob Storage.
//
// PutIfAbsent is the store's own conditional write (If-None-Match on S3 and Azure, ifGenerationMatch=0 on GCS). A store that
// takes the condition and ignores it would lose commits: Probe finds out.
//
// It is the only package, with store/stores, that knows a cloud's SDK.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	gblob "gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

// Bucket is a bucket, or the part of it below a prefix. It is safe for concurrent use.
type Bucket struct {
	url    string
	b      *gblob.Bucket
	prefix string // "" or ending in a slash
	// putIfAbsent is the conditional write without retries; nil: through b.
	putIfAbsent func(ctx context.Context, key string, data []byte) error
	// readers gives objects to the driver as readers: the Azure driver's own writer panics when a write fails (it closes a pipe twice).
	readers bool
}

var _ store.Bucket = (*Bucket)(nil)

// New wraps an opened bucket. url is what people see, prefix the part of the bucket that is used.
func New(b *gblob.Bucket, url, prefix string) *Bucket {
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &Bucket{url: url, b: b, prefix: prefix}
}

// URL names the bucket and prefix, without parameters.
func (b *Bucket) URL() string { return b.url }

// Close gives connections back.
func (b *Bucket) Close() error { return b.b.Close() }

// httpStatus finds the status code of a response that an SDK made an error of; 0: there was no response.
func httpStatus(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	var ae *azcore.ResponseError
	if errors.As(err, &ae) {
		return ae.StatusCode
	}
	var ge *googleapi.Error
	if errors.As(err, &ge) {
		return ge.Code
	}
	return 0
}

// plain maps errors of the SDKs to the sentinels of the port.
func plain(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch {
	case refused(err):
		return fmt.Errorf("%w: %w", store.ErrPermission, err)
	case gcerrors.Code(err) == gcerrors.NotFound, httpStatus(err) == http.StatusNotFound:
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}

// refused tells that the store does not let us in, or not do that.
func refused(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		// Not all servers of S3's protocol answer these with 403: versitygw takes a user that it does not know for an object that is not there.
		case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "XAdminUserNotFound", "XAdminNoSuchUser":
			return true
		}
	}
	status := httpStatus(err)
	return status == http.StatusForbidden || status == http.StatusUnauthorized || gcerrors.Code(err) == gcerrors.PermissionDenied
}

// plainPut is plain for a conditional write, where it matters whether it may have taken effect: only an answer that
// refuses the request says that it has not (D3).
func plainPut(err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "PreconditionFailed":
			return store.ErrExists
		case "ConditionalRequestConflict": // two at once: neither was decided, ask again
			return err
		}
	}
	if gcerrors.Code(err) == gcerrors.FailedPrecondition || gcerrors.Code(err) == gcerrors.AlreadyExists {
		return store.ErrExists
	}
	switch code := httpStatus(err); {
	case code == http.StatusPreconditionFailed:
		return store.ErrExists
	case refused(err):
		return fmt.Errorf("%w: %w", store.ErrPermission, err)
	case code >= 400 && code < 500 && code != http.StatusRequestTimeout:
		return err
	case code == http.StatusServiceUnavailable && errors.As(err, &api) && api.ErrorCode() == "SlowDown":
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
}

// Get reads a whole object.
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	data, err := b.b.ReadAll(ctx, b.prefix+key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, plain(err))
	}
	return data, nil
}

// ReadRange reads a part of an object.
func (b *Bucket) ReadRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if offset < 0 {
		return nil, fmt.Errorf("read %s: offset %d", key, offset)
	}
	if length == 0 {
		// Stores answer empty ranges in different ways.
		info, err := b.Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		if offset > info.Size {
			return nil, fmt.Errorf("read %s: offset %d is outside of its %d bytes", key, offset, info.Size)
		}
		return []byte{}, nil
	}
	if length < 0 {
		info, err := b.Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		if offset > info.Size {
			return nil, fmt.Errorf("read %s: offset %d is outside of its %d bytes", key, offset, info.Size)
		}
		if length = info.Size - offset; length == 0 {
			return []byte{}, nil
		}
	}
	r, err := b.b.NewRangeReader(ctx, b.prefix+key, offset, length, nil)
	if err != nil {
		if httpStatus(err) == http.StatusRequestedRangeNotSatisfiable {
			return nil, fmt.Errorf("read %s: offset %d is outside of it: %w", key, offset, io.ErrUnexpectedEOF)
		}
		return nil, fmt.Errorf("read %s: %w", key, plain(err))
	}
	defer r.Close()
	buf := make([]byte, length)
	if n, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read %s: %d bytes at %d asked for, got %d: %w", key, length, offset, n, plain(err))
	}
	return buf, nil
}

// Stat describes an object.
func (b *Bucket) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := ctx.Err(); err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	a, err := b.b.Attributes(ctx, b.prefix+key)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, plain(err))
	}
	return store.Info{Key: key, Size: a.Size, ModTime: a.ModTime}, nil
}

const contentType = "application/octet-stream"

// Put writes an object.
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	err := b.writeAll(ctx, b.prefix+key, data, &gblob.WriterOptions{ContentType: contentType})
	if err != nil {
		return fmt.Errorf("write %s: %w", key, plain(err))
	}
	return nil
}

func (b *Bucket) writeAll(ctx context.Context, key string, data []byte, o *gblob.WriterOptions) error {
	if b.readers {
		return b.b.Upload(ctx, key, bytes.NewReader(data), o)
	}
	return b.b.WriteAll(ctx, key, data, o)
}

// PutIfAbsent writes an object if the key is free.
func (b *Bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	var err error
	if b.putIfAbsent != nil {
		err = b.putIfAbsent(ctx, b.prefix+key, data)
	} else {
		// One part, so that one request decides.
		err = b.writeAll(ctx, b.prefix+key, data, &gblob.WriterOptions{ContentType: contentType, IfNotExist: true,
			BufferSize: max(len(data)+1, 1<<20), MaxConcurrency: 1})
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, plainPut(err))
	}
	return nil
}

// writer cancels the upload when it must not appear.
type writer struct {
	w      io.WriteCloser
	key    string
	ctx    context.Context
	cancel context.CancelFunc
	err    error
	done   bool
}

// Create streams an object, in parts where it is large.
func (b *Bucket) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	if b.readers {
		return &writer{w: b.pipe(ctx, b.prefix+key), key: key, ctx: ctx, cancel: cancel}, nil
	}
	w, err := b.b.NewWriter(ctx, b.prefix+key, &gblob.WriterOptions{ContentType: contentType})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("write %s: %w", key, plain(err))
	}
	return &writer{w: w, key: key, ctx: ctx, cancel: cancel}, nil
}

// piped is an upload from a pipe.
type piped struct {
	ctx  context.Context
	w    *io.PipeWriter
	done chan error
}

// pipe begins an upload; its goroutine ends with Close.
func (b *Bucket) pipe(ctx context.Context, key string) *piped {
	r, w := io.Pipe()
	p := &piped{ctx: ctx, w: w, done: make(chan error, 1)}
	go func() {
		err := guard.Do(func() error { return b.b.Upload(ctx, key, r, &gblob.WriterOptions{ContentType: contentType}) })
		r.CloseWithError(err) // ends a Write that waits
		p.done <- err
	}()
	return p
}

func (p *piped) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p *piped) Close() error {
	p.w.CloseWithError(p.ctx.Err()) // nil: the object is whole
	return <-p.done
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	if err != nil {
		w.err = fmt.Errorf("write %s: %w", w.key, plain(err))
	}
	return n, w.err
}

func (w *writer) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	defer w.cancel()
	if w.err != nil {
		w.cancel() // a cancelled context keeps the object from appearing
		_ = w.w.Close()
		return w.err
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write %s: %w", w.key, plain(err))
	}
	return nil
}

// List gives objects in the order of their keys.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		opts := &gblob.ListOptions{Prefix: b.prefix + prefix}
		if after != "" {
			opts.BeforeList = func(as func(any) bool) error {
				var in *s3.ListObjectsV2Input
				if as(&in) {
					start := b.prefix + after
					in.StartAfter = &start
				}
				var q *storage.Query
				if as(&q) {
					q.StartOffset = b.prefix + after // inclusive; the equal key is left out below
				}
				return nil
			}
		}
		it := b.b.List(opts)
		for {
			if err := ctx.Err(); err != nil {
				yield(store.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				if err = plain(err); errors.Is(err, store.ErrNotFound) { // a prefix without objects is no error
					err = fmt.Errorf("there is no bucket %s: %w", b.url, err)
				}
				yield(store.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			key := strings.TrimPrefix(o.Key, b.prefix)
			if o.IsDir || key <= after || strings.HasSuffix(key, "/") { // folder markers of other tools are no objects
				continue
			}
			if !yield(store.Info{Key: key, Size: o.Size, ModTime: o.ModTime}, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	err := plain(b.b.Delete(ctx, b.prefix+key))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
