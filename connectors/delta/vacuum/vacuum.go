// Package vacuum deletes the files of a Delta table that no version within the retention needs (delta.md §5).
//
// It works in two steps, so that a dry run is the first step alone: a Plan names the files, Execute deletes them after having
// looked at the table again. A file is deleted only when all of this holds: it lies in the table's folder and not in a hidden
// one; it is of no other table below that folder; neither a live file nor a tombstone within the retention refers to it, as
// data or as deletion vector; and it is older than the retention, which keeps the files of commits that are under way, or
// whose outcome is unknown (D3).
package vacuum

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/internal/guard"
)

// DefaultRetention is how long removed files stay where the table does not say (delta.deletedFileRetentionDuration).
const DefaultRetention = 7 * 24 * time.Hour

// ErrRetention: the retention asked for is shorter than the table's.
var ErrRetention = errors.New("the retention is shorter than the table's delta.deletedFileRetentionDuration: readers and writers that are " +
	"under way may lose their files")

// Options say what to delete.
type Options struct {
	// Retention: files younger than this stay; 0: what the table says.
	Retention time.Duration
	// Unsafe allows a Retention shorter than the table's.
	Unsafe bool
	// Protect keeps further files, by key: those of commits of ours whose outcome is unknown, say.
	Protect func(key string) bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Progress is told after each piece of work; total is 0 while it is not known.
	Progress func(done, total int)
}

// Plan says what Execute would delete.
type Plan struct {
	Version   int64         // the version that was looked at
	Retention time.Duration // as used
	Files     []store.Info  // to delete, in the order of their keys
	Bytes     int64
	Scanned   int // files looked at
	Young     int // files without use that are too young
}

// Make plans a vacuum of the table that s is a snapshot of. s must be the newest: Execute looks again.
func Make(ctx context.Context, s *delta.Snapshot, o Options) (*Plan, error) {
	t := s.Table()
	fail := func(err error) (*Plan, error) { return nil, fmt.Errorf("vacuum %s: %w", t.URL(), err) }
	// A writer feature that is not known here may keep files in ways that are not known either (vacuumProtocolCheck).
	if err := s.CheckMaintainable(); err != nil {
		return fail(err)
	}
	own := DefaultRetention
	if v, ok := s.Property(delta.PropDeletedFileRetention); ok {
		d, err := delta.ParseInterval(v)
		if err != nil {
			return fail(err)
		}
		own = d
	}
	retention := o.Retention
	if retention <= 0 {
		retention = own
	}
	if retention < own && !o.Unsafe {
		return fail(fmt.Errorf("%w (%s, the table's is %s)", ErrRetention, retention, own))
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	cutoff := now().Add(-retention)
	used, err := references(s, cutoff)
	if err != nil {
		return fail(err)
	}
	p := &Plan{Version: s.Version, Retention: retention}
	prefix := ""
	if t.Path() != "" {
		prefix = t.Path() + "/"
	}
	var foreign []string
	for info, err := range t.Bucket().List(ctx, prefix, "") {
		if err != nil {
			return fail(err)
		}
		rel := strings.TrimPrefix(info.Key, prefix)
		if i := strings.Index("/"+rel, "/_delta_log/"); i > 0 {
			// Another table lives below this one.
			if root := rel[:i]; len(foreign) == 0 || foreign[len(foreign)-1] != root {
				foreign = append(foreign, root)
			}
			continue
		}
		if hidden(rel) {
			continue
		}
		p.Scanned++
		if o.Progress != nil && p.Scanned%1000 == 0 {
			o.Progress(p.Scanned, 0)
		}
		switch {
		case used[info.Key] || o.Protect != nil && o.Protect(info.Key):
		case info.ModTime.After(cutoff):
			p.Young++
		default:
			p.Files = append(p.Files, info)
		}
	}
	kept := p.Files[:0]
	for _, f := range p.Files {
		if below(foreign, strings.TrimPrefix(f.Key, prefix)) {
			continue
		}
		kept = append(kept, f)
		p.Bytes += f.Size
	}
	p.Files = kept
	return p, nil
}

func below(roots []string, rel string) bool {
	for _, r := range roots {
		if strings.HasPrefix(rel, r) {
			return true
		}
	}
	return false
}

// hidden tells whether a path is none of vacuum's business: a folder or file whose name begins with _ or . is, except the
// change data files and the folders of a partition column whose name begins so.
func hidden(rel string) bool {
	for seg := range strings.SplitSeq(rel, "/") {
		if !strings.HasPrefix(seg, "_") && !strings.HasPrefix(seg, ".") {
			continue
		}
		if seg == "_change_data" || strings.HasPrefix(seg, "_") && strings.Contains(seg, "=") {
			continue
		}
		return true
	}
	return false
}

// references collects the keys that the table needs: data and vectors of live files and of tombstones after cutoff.
func references(s *delta.Snapshot, cutoff time.Time) (map[string]bool, error) {
	t := s.Table()
	used := make(map[string]bool, s.NumFiles())
	need := func(path string, d *dv.Descriptor) error {
		key, err := t.ObjectKey(path)
		if err == nil {
			used[key] = true
		} else if !absolute(path) { // what lies outside of the bucket is not ours to delete
			return err
		}
		if d == nil || d.StorageType == dv.StorageInline {
			return nil
		}
		key, err = dv.Key(t.Bucket().URL(), t.Path(), *d)
		if err != nil && d.StorageType == dv.StoragePath {
			return nil
		}
		if err != nil {
			return err
		}
		used[key] = true
		return nil
	}
	for a := range s.Files() {
		if err := need(a.Path, a.DeletionVector); err != nil {
			return nil, err
		}
	}
	for r := range s.Tombstones() {
		if time.UnixMilli(r.DeletionTimestamp).Before(cutoff) {
			continue
		}
		if err := need(r.Path, r.DeletionVector); err != nil {
			return nil, err
		}
	}
	return used, nil
}

func absolute(path string) bool { return strings.HasPrefix(path, "/") || strings.Contains(path, ":/") }

// Result is what Execute has done.
type Result struct {
	Deleted int
	Bytes   int64
	Kept    int // planned, and needed again since
}

// parallel is how many deletes are under way at a time.
const parallel = 8

// Execute deletes what a plan names, less what the table has come to need since the plan was made. It goes on after an
// error of one file and gives all of them.
func Execute(ctx context.Context, t *delta.Table, p *Plan, o Options) (Result, error) {
	s, err := t.Snapshot(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("vacuum %s: %w", t.URL(), err)
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	used, err := references(s, now().Add(-p.Retention))
	if err != nil {
		return Result{}, fmt.Errorf("vacuum %s: %w", t.URL(), err)
	}
	var (
		mu   sync.Mutex
		res  Result
		errs []error
		wg   sync.WaitGroup
		work = make(chan store.Info)
	)
	for range parallel {
		wg.Go(func() {
			for f := range work {
				err := guard.Do(func() error { return t.Bucket().Delete(ctx, f.Key) })
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					res.Deleted++
					res.Bytes += f.Size
				}
				if o.Progress != nil {
					o.Progress(res.Deleted+res.Kept+len(errs), len(p.Files))
				}
				mu.Unlock()
			}
		})
	}
	for _, f := range p.Files {
		if used[f.Key] || o.Protect != nil && o.Protect(f.Key) {
			mu.Lock()
			res.Kept++
			mu.Unlock()
			continue
		}
		if ctx.Err() != nil {
			break
		}
		work <- f
	}
	close(work)
	wg.Wait()
	errs = append(errs, ctx.Err())
	if err := errors.Join(errs...); err != nil {
		return res, fmt.Errorf("vacuum %s: %w", t.URL(), err)
	}
	return res, nil
}
