package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice.io/sluice/connectors/store"
)

// putKind is what became of the attempt to make a version.
type putKind uint8

const (
	putDone    putKind = iota // the version is ours
	putLost                   // the version is someone else's
	putFailed                 // nothing was written, surely
	putUnknown                // it can't be known (D3)
)

type putResult struct {
	kind   putKind
	winner *Actions // of putLost
	err    error
}

// putTries bounds the attempts to write and to read back one version.
const putTries = 6

// put makes a version out of data, whose commitInfo carries txnID. Trying again is safe as long as it is the same version
// and the same bytes: whatever attempt of ours lands, the txnId tells that it is ours.
//
// D3: after an attempt of unknown outcome the version is read back; no other version is tried before the name is known to be
// taken.
func (t *Table) put(ctx context.Context, version int64, data []byte, txnID string) putResult {
	key := t.key(logDir + versionName(version) + ".json")
	unknown := false // an attempt may still land
	var last error
	for try := range putTries {
		if try > 0 {
			if err := pause(ctx, try); err != nil {
				break
			}
		}
		err := t.bucket.PutIfAbsent(ctx, key, data)
		switch {
		case err == nil:
			return putResult{kind: putDone}
		case errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, store.ErrExists):
			unknown = unknown || errors.Is(err, store.ErrUnknownOutcome)
			last = err
			res, known := t.readBack(ctx, version, txnID)
			if known {
				return res
			}
			if res.err != nil {
				last = errors.Join(err, res.err)
			}
			// Taken, and what it holds can't be read: nothing to be done but to read again.
			unknown = unknown || errors.Is(err, store.ErrExists)
		case errors.Is(err, store.ErrPermission):
			if !unknown {
				return putResult{kind: putFailed, err: err}
			}
			return putResult{kind: putUnknown, err: err}
		default:
			last = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		last = ctx.Err()
	}
	if unknown {
		return putResult{kind: putUnknown, err: fmt.Errorf("%w: %w", store.ErrUnknownOutcome, last)}
	}
	return putResult{kind: putFailed, err: last}
}

// readBack looks at who made a version. known is false where it is not there or can't be read.
func (t *Table) readBack(ctx context.Context, version int64, txnID string) (putResult, bool) {
	var p parser
	a, err := t.readCommit(ctx, &p, version)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return putResult{}, false
		}
		return putResult{err: err}, false
	}
	if a.CommitInfo != nil && a.CommitInfo.TxnID == txnID {
		return putResult{kind: putDone}, true
	}
	t.remember(version, a)
	return putResult{kind: putLost, winner: a}, true
}

// pause waits a little longer with every try, with jitter.
func pause(ctx context.Context, try int) error {
	d := 10 * time.Millisecond << min(try, 7)
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
