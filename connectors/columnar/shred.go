package columnar

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/internal/guard"
)

// spots are the places of a node's values on the way from a record to levels: spot i is value idx[i] of the node's array, or
// nothing (idx -1) where something above it is null or empty. Without idx (and then without defs and reps), spot i is value i
// and all are there.
type spots struct {
	n    int
	idx  []int32
	defs []uint8
	reps []uint8 // nil: nothing above repeats
}

// shredder turns the arrays of a record into levels and values of leaves.
type shredder struct {
	w        *parquet.FileWriter
	leaf     int
	stats    *statsTree
	parallel int
}

// minParallel is how many rows a record has for which goroutines pay.
const minParallel = 4096

func (s *shredder) record(rec arrow.Record, fields []schema.Field, root *parquet.Node) error {
	if s.parallel > 1 && rec.NumRows() >= minParallel {
		return s.columns(rec, fields, root)
	}
	at := 0
	s.leaf = 0
	for i := range fields {
		if fields[i].Type.Kind == schema.Void {
			continue
		}
		top := spots{n: int(rec.NumRows())}
		if err := s.node(root.Children[at], fields[i].Type, rec.Column(i), top, s.stats.child(i)); err != nil {
			return fmt.Errorf("column %q: %w", fields[i].Name, err)
		}
		at++
	}
	return nil
}

// columns is record for columns side by side.
func (s *shredder) columns(rec arrow.Record, fields []schema.Field, root *parquet.Node) error {
	g := guard.New()
	g.SetLimit(s.parallel)
	at, leaf := 0, 0
	for i := range fields {
		if fields[i].Type.Kind == schema.Void {
			continue
		}
		n, part := root.Children[at], &shredder{w: s.w, leaf: leaf}
		at, leaf = at+1, leaf+countLeaves(n)
		g.Go(func() error {
			if err := part.node(n, fields[i].Type, rec.Column(i), spots{n: int(rec.NumRows())}, s.stats.child(i)); err != nil {
				return fmt.Errorf("column %q: %w", fields[i].Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func countLeaves(n *parquet.Node) int {
	if n.IsLeaf() {
		return 1
	}
	sum := 0
	for _, k := range n.Children {
		sum += countLeaves(k)
	}
	return sum
}

// node writes the leaves of one node. in has the levels of its parent.
func (s *shredder) node(n *parquet.Node, t schema.Type, a arrow.Array, in spots, st *statsTree) error {
	if n.Rep == parquet.Required && a.NullN() > 0 {
		if err := checkRequired(a, in); err != nil {
			return err
		}
	}
	switch t.Kind {
	case schema.Struct, schema.Variant:
		fields := t.Fields
		if t.Kind == schema.Variant {
			fields = variantFields
		}
		str, ok := a.(*array.Struct)
		if !ok || str.NumField() != len(fields) {
			return fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
		}
		out := descend(n, a, in)
		at := 0
		for i := range fields {
			if fields[i].Type.Kind == schema.Void {
				continue
			}
			if err := s.node(n.Children[at], fields[i].Type, str.Field(i), out, st.child(i)); err != nil {
				return fmt.Errorf("member %q: %w", fields[i].Name, err)
			}
			at++
		}
		return nil
	case schema.Array:
		l, ok := a.(*array.List)
		if !ok {
			return fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
		}
		out := descend(n, a, in)
		st.countMissing(out)
		rep := n.Children[0]
		return s.node(rep.Children[0], *t.Elem, l.ListValues(), expand(rep, l, out), nil)
	case schema.Map:
		m, ok := a.(*array.Map)
		if !ok {
			return fmt.Errorf("%w: Arrow's %s as %s", ErrType, a.DataType(), t)
		}
		out := descend(n, a, in)
		st.countMissing(out)
		rep := n.Children[0]
		in := expand(rep, m.List, out)
		if err := s.node(rep.Children[0], *t.Key, m.Keys(), in, nil); err != nil {
			return err
		}
		return s.node(rep.Children[1], *t.Elem, m.Items(), in, nil)
	}
	v, err := leafVector(n, t, a, in)
	if err != nil {
		return err
	}
	col := s.leaf
	s.leaf++
	if st != nil {
		st.column = col
	}
	return s.w.Column(col).Write(v)
}

// checkRequired refuses a null where the column has none; nulls below something that is null itself do not count.
func checkRequired(a arrow.Array, in spots) error {
	for i := range in.n {
		at := i
		if in.idx != nil {
			if at = int(in.idx[i]); at < 0 {
				continue
			}
		}
		if a.IsNull(at) {
			return fmt.Errorf("%w: row %d is null in a column that has no nulls", ErrKind, i)
		}
	}
	return nil
}

// descend adds the definition level of an optional node.
func descend(n *parquet.Node, a arrow.Array, in spots) spots {
	if n.Rep != parquet.Optional {
		return in
	}
	if a.NullN() == 0 && in.idx == nil {
		return in
	}
	out := spots{n: in.n, reps: in.reps, idx: make([]int32, in.n), defs: make([]uint8, in.n)}
	for i := range in.n {
		at := int32(i)
		if in.idx != nil {
			at = in.idx[i]
		}
		switch {
		case at < 0:
			out.idx[i], out.defs[i] = -1, in.defs[i]
		case a.IsNull(int(at)):
			out.idx[i], out.defs[i] = -1, n.MaxDef-1
		default:
			out.idx[i], out.defs[i] = at, n.MaxDef
		}
	}
	return out
}

// listOffsets gives the offsets of a list array, at its slice.
func listOffsets(l *array.List) []int32 {
	if l.Len() == 0 {
		return []int32{0}
	}
	off := l.Data().Offset()
	return l.Offsets()[off : off+l.Len()+1]
}

// expand goes from lists to their elements. rep is the repeated node.
func expand(rep *parquet.Node, l *array.List, in spots) spots {
	offs := listOffsets(l)
	size := in.n
	if l.Len() > 0 {
		size += int(offs[l.Len()] - offs[0])
	}
	out := spots{idx: make([]int32, 0, size), defs: make([]uint8, 0, size), reps: make([]uint8, 0, size)}
	for i := range in.n {
		at := int32(i)
		if in.idx != nil {
			at = in.idx[i]
		}
		first := uint8(0)
		if in.reps != nil {
			first = in.reps[i]
		}
		from, to := int32(0), int32(0)
		def := rep.MaxDef - 1
		if at >= 0 {
			from, to = offs[at], offs[at+1]
		} else {
			def = in.defs[i]
		}
		if from == to {
			out.idx, out.defs, out.reps = append(out.idx, -1), append(out.defs, def), append(out.reps, first)
			continue
		}
		for k := from; k < to; k++ {
			r := first
			if k > from {
				r = rep.MaxRep
			}
			out.idx, out.defs, out.reps = append(out.idx, k), append(out.defs, rep.MaxDef), append(out.reps, r)
		}
	}
	out.n = len(out.idx)
	return out
}

// leafVector gives levels and values of a leaf.
func leafVector(n *parquet.Node, t schema.Type, a arrow.Array, in spots) (*parquet.Vector, error) {
	v := &parquet.Vector{N: in.n, Reps: in.reps}
	if in.idx == nil {
		if a.Len() != in.n {
			return nil, fmt.Errorf("%w: %d values, %d rows", ErrType, a.Len(), in.n)
		}
		if a.NullN() == 0 {
			v.Values = in.n
			return v, fillAll(v, t, a)
		}
		// Values without the nulls, in runs of present ones.
		v.Defs = flatDefs(a, n.MaxDef)
		return v, fillValid(v, t, a)
	}
	out := descend(n, a, in)
	v.Defs = out.defs
	pick := out.idx[:0:0]
	run := true // the values lie side by side: then they are taken as a slice
	for _, at := range out.idx {
		if at >= 0 {
			run = run && (len(pick) == 0 || at == pick[len(pick)-1]+1)
			pick = append(pick, at)
		}
	}
	v.Values = len(pick)
	if len(pick) == 0 {
		return v, nil
	}
	if run {
		s := array.NewSlice(a, int64(pick[0]), int64(pick[len(pick)-1])+1)
		return v, fillAll(v, t, s)
	}
	return v, fillPicked(v, t, a, pick)
}

// flatDefs spreads the validity bitmap into levels.
func flatDefs(a arrow.Array, top uint8) []uint8 {
	n := a.Len()
	out := make([]uint8, n)
	valid := a.NullBitmapBytes()
	off := a.Data().Offset()
	for i := range out {
		p := off + i
		out[i] = top - 1 + valid[p>>3]>>(p&7)&1
	}
	return out
}
