package rows

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// DiffOptions say what is compared.
type DiffOptions struct {
	// Columns restricts the comparison. nil: the columns of both, which must be the same.
	Columns []string
	// Sample bounds how many rows of each side are kept in the result: 20.
	Sample int
	// MemoryRows bounds how many rows that differ or are yet to be matched are held at once: 8 million (about 24 bytes each). Larger
	// tables are read several times.
	MemoryRows int
	// Parallel bounds how many columns are decoded at once.
	Parallel int
	// Progress is told now and then how many rows were read, of how many (0: not known), from one goroutine. It may be nil.
	Progress func(done, total int64)
}

// Difference is what two snapshots do not have in common, as multisets of rows.
type Difference struct {
	RowsA, RowsB int64
	// OnlyA and OnlyB count rows; SampleA and SampleB are some of them, as canonical JSON.
	OnlyA, OnlyB     int64
	SampleA, SampleB []string
}

// Equal tells that there is no difference.
func (d *Difference) Equal() bool { return d.OnlyA == 0 && d.OnlyB == 0 }

// rowHash names a row. Two hashes of 64 bits: rows that differ are taken for equal about never.
type rowHash [2]uint64

// Diff compares the rows of two snapshots, of one table or of two, whatever their files and order.
func Diff(ctx context.Context, a, b *delta.Snapshot, o DiffOptions) (*Difference, error) {
	if o.Sample <= 0 {
		o.Sample = 20
	}
	if o.MemoryRows <= 0 {
		o.MemoryRows = 8 << 20
	}
	if o.Columns == nil {
		if err := sameColumns(a.Schema(), b.Schema()); err != nil {
			return nil, err
		}
		for _, f := range a.Schema().Fields {
			o.Columns = append(o.Columns, f.Name)
		}
	}
	d := &Difference{}
	passes := 1
	if n, ok := a.NumRecords(); ok && n > int64(o.MemoryRows) {
		passes = int(n/int64(o.MemoryRows)) + 1
	}
	o.Progress = inAll(o.Progress, a, b, passes)
	s1, s2 := maphash.MakeSeed(), maphash.MakeSeed()
	for pass := range passes {
		counts := map[rowHash]int64{}
		each := func(s *delta.Snapshot, fn func(rowHash, []byte)) error {
			return eachLine(ctx, s, o, func(line []byte) {
				h := rowHash{maphash.Bytes(s1, line), maphash.Bytes(s2, line)}
				if int(h[0]%uint64(passes)) == pass {
					fn(h, line)
				}
			})
		}
		err := each(a, func(h rowHash, _ []byte) { d.RowsA++; counts[h]++ })
		if err != nil {
			return nil, err
		}
		err = each(b, func(h rowHash, line []byte) {
			d.RowsB++
			if n := counts[h] - 1; n == 0 {
				delete(counts, h)
			} else {
				counts[h] = n
			}
		})
		if err != nil {
			return nil, err
		}
		if len(counts) == 0 {
			continue
		}
		needA, needB := false, false
		for _, n := range counts {
			if n > 0 {
				d.OnlyA += n
				needA = true
			} else {
				d.OnlyB -= n
				needB = true
			}
		}
		// A second look, for the rows themselves.
		sample := func(s *delta.Snapshot, sign int64, out *[]string) error {
			return each(s, func(h rowHash, line []byte) {
				if n := counts[h] * sign; n > 0 && len(*out) < o.Sample {
					*out = append(*out, string(line))
					counts[h] -= sign
				}
			})
		}
		if needA && len(d.SampleA) < o.Sample {
			if err := sample(a, 1, &d.SampleA); err != nil {
				return nil, err
			}
		}
		if needB && len(d.SampleB) < o.Sample {
			if err := sample(b, -1, &d.SampleB); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(d.SampleA)
	slices.Sort(d.SampleB)
	return d, nil
}

// inAll gives what is to be told after each batch of n rows, so that fn is told of all passes over both sides.
func inAll(fn func(done, total int64), a, b *delta.Snapshot, passes int) func(n, _ int64) {
	if fn == nil {
		return nil
	}
	na, exactA := a.NumRecords()
	nb, exactB := b.NumRecords()
	total := (na + nb) * int64(passes)
	if !exactA || !exactB {
		total = 0
	}
	done := int64(0)
	return func(n, _ int64) {
		done += n
		fn(done, total)
	}
}

func sameColumns(a, b schema.Schema) error {
	for _, f := range a.Fields {
		i := b.Index(f.Name)
		if i < 0 {
			return fmt.Errorf("column %q is in the first table only: name the columns to compare", f.Name)
		}
		if !b.Fields[i].Type.Equal(f.Type) {
			return fmt.Errorf("column %q is %s in the first table and %s in the second", f.Name, f.Type, b.Fields[i].Type)
		}
	}
	for _, f := range b.Fields {
		if a.Index(f.Name) < 0 {
			return fmt.Errorf("column %q is in the second table only: name the columns to compare", f.Name)
		}
	}
	return nil
}

// eachLine calls fn with each row as canonical JSON. fn must not keep the line.
func eachLine(ctx context.Context, s *delta.Snapshot, o DiffOptions, fn func([]byte)) error {
	opts := Options{Columns: o.Columns, Parallel: o.Parallel}
	sc, err := opts.Schema(s)
	if err != nil {
		return err
	}
	var line []byte
	opts.Reuse = true
	for b, err := range Scan(ctx, s, opts) {
		if err != nil {
			return err
		}
		for i := range int(b.Record.NumRows()) {
			if line, err = columnar.AppendCanonicalJSON(line[:0], b.Record, sc, i); err != nil {
				return err
			}
			fn(line)
		}
		if o.Progress != nil {
			o.Progress(b.Record.NumRows(), 0)
		}
	}
	return nil
}

// Digest gives a number that is equal for equal multisets of rows, and the number of rows: the sum of the rows' hashes under a
// fixed key. It is for tests and for comparing tables that are far from each other.
func Digest(ctx context.Context, s *delta.Snapshot, columns []string) (sum uint64, n int64, err error) {
	err = eachLine(ctx, s, DiffOptions{Columns: columns}, func(line []byte) {
		n++
		sum += fixedHash(line)
	})
	return sum, n, err
}

// fixedHash is FNV-1a with a final mix: the same on every machine.
func fixedHash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for len(b) >= 8 {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 1099511628211
		h ^= h >> 29
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}
