package delta

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"strings"
	"time"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
)

// Snapshot is the table at one version. It is immutable and safe for concurrent use; a newer one shares all that did not
// change with it, so that holding many costs little.
type Snapshot struct {
	Version int64
	// Timestamp is the in-commit timestamp where the table has them, else the time of the newest commit's file as it was
	// listed, else the clock of its writer.
	Timestamp time.Time
	Protocol  *Protocol
	Metadata  *Metadata

	table   *Table
	schema  schema.Schema
	files   hamt[*Add]
	tombs   hamt[*Remove]
	txns    hamt[*Txn]
	domains map[string]string
	sums    sums
	// ict is the in-commit timestamp of Version in ms, 0 without.
	ict int64
	// checkpoint is the newest version that a checkpoint was seen of, -1 for none.
	checkpoint int64
}

// sums are kept while replaying, so that they cost nothing to ask for.
type sums struct {
	bytes   int64
	dvs     int64 // files with a deletion vector
	deleted int64 // rows that deletion vectors delete
	records int64 // physical rows, of the files that say how many they have
	unknown int64 // files that don't
}

// Table gives the table that the snapshot is of.
func (s *Snapshot) Table() *Table { return s.table }

// Schema gives the table's schema.
func (s *Snapshot) Schema() schema.Schema { return s.schema }

// Txn gives the progress that an application has recorded (D1).
func (s *Snapshot) Txn(appID string) (version int64, ok bool) {
	t, ok := s.txns.get(hash64(appID), func(t *Txn) bool { return t.AppID == appID })
	if !ok {
		return 0, false
	}
	return t.Version, true
}

// Txns iterates over the progress of all applications.
func (s *Snapshot) Txns() iter.Seq[*Txn] { return s.txns.all() }

// NumFiles is the number of logical files.
func (s *Snapshot) NumFiles() int { return s.files.len() }

// SizeBytes is the size of all data files.
func (s *Snapshot) SizeBytes() int64 { return s.sums.bytes }

// NumDeletionVectors is the number of files that have one.
func (s *Snapshot) NumDeletionVectors() int64 { return s.sums.dvs }

// NumRecords gives the number of live rows. exact is false where files without statistics are left out.
func (s *Snapshot) NumRecords() (rows int64, exact bool) {
	return s.sums.records - s.sums.deleted, s.sums.unknown == 0
}

// Files iterates over the logical files, in an order that depends on nothing but them.
func (s *Snapshot) Files() iter.Seq[*Add] { return s.files.all() }

// File finds a logical file by the path that the log gives it.
func (s *Snapshot) File(path string) (*Add, bool) {
	key := keyPath(path)
	return s.files.get(hash64(key), func(a *Add) bool { return keyPath(a.Path) == key })
}

// Tombstones iterates over the removed files that the log still remembers.
func (s *Snapshot) Tombstones() iter.Seq[*Remove] { return s.tombs.all() }

// NumTombstones is the number of Tombstones.
func (s *Snapshot) NumTombstones() int { return s.tombs.len() }

// Domain gives the configuration of a metadata domain.
func (s *Snapshot) Domain(name string) (configuration string, ok bool) {
	c, ok := s.domains[name]
	return c, ok
}

// Domains iterates over the metadata domains.
func (s *Snapshot) Domains() iter.Seq2[string, string] { return maps.All(s.domains) }

// Property gives a value of the table's configuration.
func (s *Snapshot) Property(name string) (string, bool) {
	v, ok := s.Metadata.Configuration[name]
	return v, ok
}

// PropertyIs tells whether a property is "true".
func (s *Snapshot) PropertyIs(name string) bool {
	return strings.EqualFold(s.Metadata.Configuration[name], "true")
}

// PlainIntegers tells that data files of the table have the encodings of Parquet's version 1 only, which its property
// delta.parquet.format.version asks for. A nil snapshot has no properties.
func (s *Snapshot) PlainIntegers() bool {
	return s != nil && strings.HasPrefix(s.Metadata.Configuration[PropParquetVersion], "1.")
}

// CheckMaintainable tells why the table can't be looked after here (its files rewritten, what it does not use deleted): an *UnsupportedError, or
// nil. Tables whose new rows need SQL, for constraints and generated columns, can.
func (s *Snapshot) CheckMaintainable() error { return maintainable(s.Protocol) }

// CheckWritable tells why the table can't be written here: an *UnsupportedError, or nil.
func (s *Snapshot) CheckWritable() error { return writable(s.Protocol, s.Metadata, s.schema) }

// RowIDColumns gives the columns in which a file holds the ids of rows that were moved to it, and the versions that they are of: their physical
// names, and no columns of the table. ok is false where the table does not track rows, and they need none.
func (s *Snapshot) RowIDColumns() (id, version string, ok bool, err error) {
	if !s.PropertyIs(PropEnableRowTracking) {
		return "", "", false, nil
	}
	id, version = s.Metadata.Configuration[PropRowIDColumn], s.Metadata.Configuration[PropRowVersionColumn]
	if id == "" || version == "" {
		return "", "", false, fmt.Errorf("table %s tracks rows and does not say where: properties %s and %s", s.Table().URL(), PropRowIDColumn, PropRowVersionColumn)
	}
	return id, version, true, nil
}

// keyPath is the form under which paths are compared: one file may be named file:///a, file:/a and /a.
func keyPath(path string) string {
	if rest, ok := strings.CutPrefix(path, "file:"); ok {
		return "/" + strings.TrimLeft(rest, "/")
	}
	return path
}

// replay derives a snapshot from another one, or from nothing.
type replay struct {
	s     *Snapshot // the one being made; its maps are in the editors
	files *heditor[*Add]
	tombs *heditor[*Remove]
	txns  *heditor[*Txn]
	// ownDomains tells that s.domains is not shared.
	ownDomains bool
}

func hashAdd(a *Add) uint64 { return hash64(keyPath(a.Path)) }
func hashTxn(t *Txn) uint64 { return hash64(t.AppID) }

// hashRemove takes the vector in: a file whose vector changes with every commit leaves a tombstone each time, and all of them have one path.
func hashRemove(r *Remove) uint64 { return hashFile(keyPath(r.Path), r.DeletionVector) }

func hashFile(key string, d *dv.Descriptor) uint64 {
	h := hash64(key)
	if d == nil {
		return h
	}
	h = bits.RotateLeft64(h, 32) ^ hash64(d.PathOrInlineDv)
	if d.Offset != nil {
		h ^= uint64(uint32(*d.Offset)+1) * 0x9e3779b97f4a7c15
	}
	return h
}

// sameVector tells whether two descriptors have one UniqueID.
func sameVector(a, b *dv.Descriptor) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.StorageType != b.StorageType || a.PathOrInlineDv != b.PathOrInlineDv || (a.Offset == nil) != (b.Offset == nil) {
		return false
	}
	return a.Offset == nil || *a.Offset == *b.Offset
}

// newReplay begins at base; nil: at the empty table.
func newReplay(t *Table, base *Snapshot) *replay {
	s := &Snapshot{table: t, Version: -1, checkpoint: -1}
	if base != nil {
		c := *base
		s = &c
	}
	return &replay{s: s, files: s.files.editing(hashAdd), tombs: s.tombs.editing(hashRemove), txns: s.txns.editing(hashTxn)}
}

func (s *sums) count(a *Add, sign int64) {
	s.bytes += sign * a.Size
	if n, ok := a.NumRecords(); ok {
		s.records += sign * n
	} else {
		s.unknown += sign
	}
	if a.DeletionVector != nil {
		s.dvs += sign
		s.deleted += sign * a.DeletionVector.Cardinality
	}
}

func (r *replay) add(a *Add) {
	key, vector := keyPath(a.Path), a.DeletionVector
	if old, ok := r.files.set(a, func(o *Add) bool { return keyPath(o.Path) == key && sameVector(o.DeletionVector, vector) }); ok {
		r.s.sums.count(old, -1)
	}
	r.s.sums.count(a, 1)
	r.tombs.del(hashFile(key, vector), func(o *Remove) bool { return keyPath(o.Path) == key && sameVector(o.DeletionVector, vector) })
}

func (r *replay) remove(x *Remove) {
	key, vector := keyPath(x.Path), x.DeletionVector
	if old, ok := r.files.del(hash64(key), func(o *Add) bool { return keyPath(o.Path) == key && sameVector(o.DeletionVector, vector) }); ok {
		r.s.sums.count(old, -1)
	}
	r.tombs.set(x, func(o *Remove) bool { return keyPath(o.Path) == key && sameVector(o.DeletionVector, vector) })
}

// apply folds the actions of one commit, checkpoint file or compaction into the state. Within one commit removes come
// first: for one logical file there is at most one action, and for one path a remove of the old vector goes with an add
// of the new one.
func (r *replay) apply(a *Actions) {
	s := r.s
	if a.Protocol != nil {
		s.Protocol = a.Protocol
	}
	if a.Metadata != nil {
		s.Metadata = a.Metadata
	}
	for _, t := range a.Txns {
		r.txns.set(t, func(o *Txn) bool { return o.AppID == t.AppID })
	}
	for _, x := range a.Removes {
		// A tombstone needs neither statistics nor tags: checkpoints leave them out, and they are most of its memory.
		if x.Stats != "" || x.Tags != nil {
			c := *x
			c.Stats, c.Tags = "", nil
			x = &c
		}
		r.remove(x)
	}
	for _, x := range a.Adds {
		r.add(x)
	}
	for _, d := range a.Domains {
		if !r.ownDomains {
			s.domains = maps.Clone(s.domains)
			if s.domains == nil {
				s.domains = map[string]string{}
			}
			r.ownDomains = true
		}
		if d.Removed {
			delete(s.domains, d.Domain)
		} else {
			s.domains[d.Domain] = d.Configuration
		}
	}
}

// commit is apply for the commit of a version.
func (r *replay) commit(version int64, a *Actions, at time.Time) {
	r.apply(a)
	r.s.Version = version
	r.s.Timestamp = at
	r.s.ict = 0
	if ci := a.CommitInfo; ci != nil {
		switch {
		case ci.InCommitTimestamp != nil && r.s.Metadata != nil && r.s.PropertyIs(PropEnableICT):
			r.s.ict = *ci.InCommitTimestamp
			r.s.Timestamp = timeOfMs(*ci.InCommitTimestamp)
		case at.IsZero() && ci.Timestamp != 0:
			r.s.Timestamp = timeOfMs(ci.Timestamp)
		}
	}
}

// done gives the snapshot, after having checked that we may read it.
func (r *replay) done(base *Snapshot) (*Snapshot, error) {
	s := r.s
	s.files, s.tombs, s.txns = r.files.done(), r.tombs.done(), r.txns.done()
	if s.Protocol == nil {
		return nil, corrupt(s.table.URL(), s.Version, "_delta_log", fmt.Errorf("no protocol up to this version"))
	}
	if s.Metadata == nil {
		return nil, corrupt(s.table.URL(), s.Version, "_delta_log", fmt.Errorf("no metaData up to this version"))
	}
	if base == nil || base.Protocol != s.Protocol {
		if err := readable(s.Protocol); err != nil {
			return nil, fmt.Errorf("open delta table %s: %w", s.table.URL(), err)
		}
	}
	if base == nil || base.Metadata != s.Metadata {
		if p := s.Metadata.Format.Provider; p != "" && !strings.EqualFold(p, "parquet") {
			return nil, fmt.Errorf("open delta table %s: %w", s.table.URL(), &UnsupportedError{Protocol: s.Protocol,
				Reason: fmt.Sprintf("its files are in the format %q, Delta's are Parquet (the engine that wrote the table could)", p)})
		}
		sc, err := s.Metadata.parse()
		var unknown schema.UnknownTypeError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("open delta table %s: %w", s.table.URL(), &UnsupportedError{Protocol: s.Protocol,
				Reason: fmt.Sprintf("%v (a newer release, or the engine that wrote the table, could)", err)})
		}
		if err != nil {
			return nil, corrupt(s.table.URL(), s.Version, "_delta_log", fmt.Errorf("schemaString: %w", err))
		}
		s.schema = sc
	}
	return s, nil
}

// next derives the snapshot after one more commit.
func (s *Snapshot) next(version int64, a *Actions, at time.Time) (*Snapshot, error) {
	r := newReplay(s.table, s)
	r.commit(version, a, at)
	return r.done(s)
}
