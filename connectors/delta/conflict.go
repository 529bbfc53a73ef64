package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta/dv"
)

// conflicts tells whether the commit can't come after winner (delta.md §4.2). next is the snapshot with the winner in it.
// Deletion vectors of a file that both sides changed are merged here.
func (c *Commit) conflicts(ctx context.Context, winner *Actions, next *Snapshot) error {
	if winner.Protocol != nil {
		if c.metadata != nil || len(c.features) > 0 {
			return ErrProtocolChanged
		}
		check := next.CheckWritable
		if c.rearrange {
			check = next.CheckMaintainable
		}
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrProtocolChanged, err)
		}
	}
	if winner.Metadata != nil {
		return ErrMetadataChanged
	}
	for _, d := range winner.Domains {
		for _, o := range c.domains {
			if d.Domain == o.Domain {
				return fmt.Errorf("%w: %s", ErrDomainChanged, d.Domain)
			}
		}
	}
	// D2 is checked on every base by build; here only to answer before files are looked at.
	for _, p := range c.progress {
		if got, ok := next.Txn(p.appID); ok && got != p.from {
			return fmt.Errorf("%w: %s is at %d, not at %d", ErrProgress, p.appID, got, p.from)
		}
	}
	if err := c.appendConflict(winner); err != nil {
		return err
	}
	return c.removeConflict(ctx, winner, next)
}

func (c *Commit) appendConflict(winner *Actions) error {
	if !c.readsAll && c.metadata == nil || c.rearrange {
		return nil
	}
	blind := winner.CommitInfo != nil && winner.CommitInfo.IsBlindAppend != nil && *winner.CommitInfo.IsBlindAppend
	if blind && c.isolation == WriteSerializable && c.metadata == nil {
		return nil
	}
	for _, a := range winner.Adds {
		if a.DataChange {
			return fmt.Errorf("%w: %s", ErrConcurrentAppend, a.Path)
		}
	}
	return nil
}

func (c *Commit) removeConflict(ctx context.Context, winner *Actions, next *Snapshot) error {
	if len(winner.Removes) == 0 {
		return nil
	}
	removed := make(map[string]*Remove, len(winner.Removes))
	for _, r := range winner.Removes {
		removed[keyPath(r.Path)] = r
		if c.readsAll && r.DataChange && !c.rearrange {
			return fmt.Errorf("%w: %s, and this commit has read the whole table", ErrConcurrentRemove, r.Path)
		}
		if c.reads[keyPath(r.Path)] {
			return fmt.Errorf("%w: %s, which this commit has read", ErrConcurrentRemove, r.Path)
		}
	}
	for _, f := range c.removes {
		if removed[keyPath(f.Path)] != nil {
			return fmt.Errorf("%w: %s, which this commit removes", ErrConcurrentRemove, f.Path)
		}
	}
	for _, d := range c.dvs {
		if removed[keyPath(d.base.Path)] == nil {
			continue
		}
		now, ok := next.File(d.base.Path)
		if !ok {
			return fmt.Errorf("%w: %s, of which this commit deletes rows", ErrConcurrentRemove, d.base.Path)
		}
		if err := c.mergeDV(ctx, d, now); err != nil {
			return err
		}
	}
	return nil
}

// mergeDV rebases a deletion of rows onto a deletion of other rows of the same file (delta.md §4.3): positions are
// absolute in an immutable file, so that disjoint deletions commute.
func (c *Commit) mergeDV(ctx context.Context, d *dvChange, now *Add) error {
	if now.DVID() == d.base.DVID() {
		d.base = now // only statistics or tags changed
		return nil
	}
	read := func(x *dv.Descriptor) (*roaring64.Bitmap, error) {
		if x == nil {
			return roaring64.New(), nil
		}
		return dv.Read(ctx, c.t.bucket, c.t.path, *x)
	}
	base, err := read(d.origin.DeletionVector)
	if err != nil {
		return err
	}
	ours, err := read(&d.ours)
	if err != nil {
		return err
	}
	theirs, err := read(now.DeletionVector)
	if err != nil {
		return err
	}
	mine := roaring64.AndNot(ours, base)
	if mine.Intersects(roaring64.AndNot(theirs, base)) {
		return fmt.Errorf("%w: rows of %s that this commit deletes were deleted", ErrConcurrentRemove, d.base.Path)
	}
	merged := roaring64.Or(theirs, mine) // not ours: what the winner brought back is not deleted again
	ds, _, err := dv.Write(ctx, c.t.bucket, c.t.path, []*roaring64.Bitmap{merged})
	if err != nil {
		return err
	}
	d.base, d.next = now, ds[0]
	return nil
}

// assignRowIDs gives new files their row ids where the table tracks rows (delta.md §1.11). It is done anew on every
// base, above the mark of the winners.
func (c *Commit) assignRowIDs(a *Actions, p *Protocol, m *Metadata) error {
	if !p.Has(FeatureRowTracking) {
		return nil
	}
	if m.Configuration[PropEnableRowTracking] == "true" && !c.blind() {
		for _, f := range c.adds {
			written := f.Written != nil && f.Written.RowIDs
			if f.BaseRowID == nil && !written && (len(a.Removes) > 0 || c.rearrange) {
				return &UnsupportedError{Write: true, Protocol: p, Reason: "row tracking is enabled, and " + f.Path + " does not hold the ids of the rows " +
					"that were moved to it; appends, deletes by vector and optimize are fine"}
			}
		}
	}
	mark := int64(-1)
	if conf, ok := c.base.Domain(domainRowTracking); ok {
		var d struct {
			RowIDHighWaterMark *int64 `json:"rowIdHighWaterMark"`
		}
		if err := json.Unmarshal([]byte(conf), &d); err != nil || d.RowIDHighWaterMark == nil {
			return invalid("row tracking", "the domain %s of the table makes no sense: %s", domainRowTracking, conf)
		}
		mark = *d.RowIDHighWaterMark
	}
	version := c.base.Version + 1
	before := mark
	for _, x := range a.Adds {
		if x.BaseRowID != nil {
			continue
		}
		n, ok := x.NumRecords()
		if !ok {
			return invalid("row tracking", "%s has no numRecords in its statistics", x.Path)
		}
		first := mark + 1
		x.BaseRowID, x.DefaultRowCommitVersion = &first, &version
		mark += n
	}
	if mark != before {
		a.Domains = append(a.Domains, &DomainMetadata{Domain: domainRowTracking,
			Configuration: `{"rowIdHighWaterMark":` + strconv.FormatInt(mark, 10) + `}`})
	}
	return nil
}
