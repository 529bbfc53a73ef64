package optimize

import (
	"cmp"
	"slices"

	"sluice.io/sluice/connectors/delta"
)

// Options are the choices of a run. Zero values mean the defaults.
type Options struct {
	// TargetSize is the size that new files aim at, in bytes: 256 MiB.
	TargetSize int64
	// MinSize is the size below which a file is worth merging: half of TargetSize.
	MinSize int64
	// MaxDeleted is the part of a file's rows, deleted by its vector, above which it is rewritten whatever its size: 0.05.
	MaxDeleted float64
	// Purge rewrites every file with a deletion vector, and no others.
	Purge bool
	// Keep, where set, says which files may be touched.
	Keep func(*delta.Add) bool
	// MaxBytes ends a run after this many bytes of input. 0: no limit.
	MaxBytes int64
	// Parallel bounds how many row groups are decoded at once. 0: as many as there are processors.
	Parallel int
	// Name gives the name of a new file, relative to the table's folder. Default: part-<uuid>.parquet.
	Name func() string
	// Progress, where set, is called after each bin with what is done and what there is to do, in bytes of input.
	Progress func(done, total int64)
	// UserMetadata goes to the commits.
	UserMetadata string
}

func (o Options) withDefaults() Options {
	if o.TargetSize <= 0 {
		o.TargetSize = 256 << 20
	}
	if o.MinSize <= 0 {
		o.MinSize = o.TargetSize / 2
	}
	if o.MaxDeleted <= 0 {
		o.MaxDeleted = 0.05
	}
	return o
}

// Bin is a list of files of one partition that become one file, their rows in this order.
type Bin struct {
	Files []*delta.Add
}

// Bytes is the size of the input.
func (b Bin) Bytes() int64 {
	var n int64
	for _, f := range b.Files {
		n += f.Size
	}
	return n
}

// Plan chooses which files are rewritten together. Files are taken in the order in which they were written (modification time, then
// path), neighbours together, so that rows which came together stay together.
func Plan(s *delta.Snapshot, o Options) []Bin {
	o = o.withDefaults()
	groups := map[string][]*delta.Add{}
	var order []string
	for f := range s.Files() {
		if o.Keep != nil && !o.Keep(f) || !o.wanted(f) {
			continue
		}
		k := f.PartitionValues.String()
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], f)
	}
	slices.Sort(order)
	var out []Bin
	var taken int64
	for _, k := range order {
		files := groups[k]
		slices.SortFunc(files, func(a, b *delta.Add) int {
			return cmp.Or(cmp.Compare(a.ModificationTime, b.ModificationTime), cmp.Compare(a.Path, b.Path))
		})
		var bin Bin
		var size int64
		flush := func() {
			if len(bin.Files) > 1 || len(bin.Files) == 1 && o.alone(bin.Files[0]) {
				out = append(out, bin)
				taken += size
			}
			bin, size = Bin{}, 0
		}
		for _, f := range files {
			if size > 0 && size+live(f) > o.TargetSize {
				flush()
			}
			if o.MaxBytes > 0 && taken+size >= o.MaxBytes {
				break
			}
			bin.Files = append(bin.Files, f)
			size += live(f)
		}
		flush()
		if o.MaxBytes > 0 && taken >= o.MaxBytes {
			break
		}
	}
	return out
}

// wanted tells whether a file takes part.
func (o *Options) wanted(f *delta.Add) bool {
	if o.Purge {
		return f.DeletionVector != nil
	}
	return f.Size < o.MinSize || o.worn(f)
}

// worn tells that too many rows of a file are deleted.
func (o *Options) worn(f *delta.Add) bool {
	if f.DeletionVector == nil {
		return false
	}
	n, ok := f.NumRecords()
	return ok && float64(f.DeletionVector.Cardinality) > o.MaxDeleted*float64(n)
}

// alone tells whether it is worth rewriting a file by itself.
func (o *Options) alone(f *delta.Add) bool { return o.Purge && f.DeletionVector != nil || o.worn(f) }

// live is about how many bytes the rows of a file take that are not deleted.
func live(f *delta.Add) int64 {
	if n, ok := f.NumRecords(); ok && n > 0 && f.DeletionVector != nil {
		return int64(float64(f.Size) * float64(n-f.DeletionVector.Cardinality) / float64(n))
	}
	return f.Size
}
