package columnar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// shape is what a Parquet node means: legacy forms of lists and maps come out like the modern ones.
type shape struct {
	kind schema.Kind // Struct, Array, Map; Void for a leaf
	// rep is the repeated node of a list or map.
	rep *parquet.Node
	// elem is the element of a list, where it is another node than rep; key and value those of a map.
	elem, key, value *parquet.Node
}

// shapeOf reads the meaning of a node. hint is the type that the table gives the column (zero: unknown): it decides where old
// writers left the annotation out.
func shapeOf(n *parquet.Node, hint schema.Kind) (shape, error) {
	if n.Rep == parquet.Repeated {
		return shape{kind: schema.Array, rep: n, elem: n}, nil // a bare repeated field is a list of required elements
	}
	return innerShape(n, hint)
}

func innerShape(n *parquet.Node, hint schema.Kind) (shape, error) {
	if n.IsLeaf() {
		return shape{}, nil
	}
	one := len(n.Children) == 1 && n.Children[0].Rep == parquet.Repeated
	isList := n.Logical == parquet.LogicalList || n.Logical == parquet.NoLogical && hint == schema.Array && one
	isMap := n.Logical == parquet.LogicalMap || n.Logical == parquet.LogicalMapKeyValue || n.Logical == parquet.NoLogical && hint == schema.Map && one
	switch {
	case isList:
		if !one {
			return shape{}, fmt.Errorf("%w: list %q without one repeated child", parquet.ErrUnsupported, n.Path())
		}
		r := n.Children[0]
		s := shape{kind: schema.Array, rep: r, elem: r}
		// The rules of the format for lists that were written before it had three levels.
		if !r.IsLeaf() && len(r.Children) == 1 && r.Name != "array" && r.Name != n.Name+"_tuple" && r.Children[0].Rep != parquet.Repeated {
			s.elem = r.Children[0]
		}
		return s, nil
	case isMap:
		if !one || len(n.Children[0].Children) != 2 {
			return shape{}, fmt.Errorf("%w: map %q without repeated pairs", parquet.ErrUnsupported, n.Path())
		}
		r := n.Children[0]
		return shape{kind: schema.Map, rep: r, key: r.Children[0], value: r.Children[1]}, nil
	}
	return shape{kind: schema.Struct}, nil
}

// elementShape is shapeOf for a node that stands for the element itself, its own repetition being the list's.
func elementShape(n, rep *parquet.Node, hint schema.Kind) (shape, error) {
	if n == rep {
		return innerShape(n, hint)
	}
	return shapeOf(n, hint)
}

// fileType gives the Delta type of a node.
func fileType(n *parquet.Node, rep *parquet.Node) (schema.Type, error) {
	s, err := elementShape(n, rep, schema.Void)
	if err != nil {
		return schema.Type{}, err
	}
	switch s.kind {
	case schema.Array:
		e, err := fileType(s.elem, s.rep)
		if err != nil {
			return schema.Type{}, err
		}
		return schema.Type{Kind: schema.Array, Elem: &e, ElemNullable: s.elem != s.rep && s.elem.Rep == parquet.Optional}, nil
	case schema.Map:
		k, err := fileType(s.key, nil)
		if err != nil {
			return schema.Type{}, err
		}
		v, err := fileType(s.value, nil)
		if err != nil {
			return schema.Type{}, err
		}
		return schema.Type{Kind: schema.Map, Key: &k, Elem: &v, ElemNullable: s.value.Rep == parquet.Optional}, nil
	case schema.Struct:
		fields, err := fileFields(n.Children)
		return schema.Type{Kind: schema.Struct, Fields: fields}, err
	}
	return leafType(n)
}

func fileFields(nodes []*parquet.Node) ([]schema.Field, error) {
	out := make([]schema.Field, 0, len(nodes))
	for _, c := range nodes {
		t, err := fileType(c, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, schema.Field{Name: c.Name, Type: t, Nullable: c.Rep == parquet.Optional})
	}
	return out, nil
}

func leafType(n *parquet.Node) (schema.Type, error) {
	if n.Logical == parquet.LogicalDecimal {
		if n.Precision < 1 || n.Precision > 38 || n.Scale < 0 || n.Scale > n.Precision {
			return schema.Type{}, fmt.Errorf("%w: column %q is decimal(%d,%d)", parquet.ErrUnsupported, n.Path(), n.Precision, n.Scale)
		}
		return schema.DecimalOf(int(n.Precision), int(n.Scale)), nil
	}
	switch n.Type {
	case parquet.Boolean:
		return schema.Of(schema.Boolean), nil
	case parquet.Int32:
		switch {
		case n.Logical == parquet.LogicalDate:
			return schema.Of(schema.Date), nil
		case n.Logical == parquet.LogicalNull:
			return schema.Of(schema.Void), nil
		case n.Logical != parquet.LogicalInt || n.BitWidth == 32 && n.Signed:
			return schema.Of(schema.Integer), nil
		case n.BitWidth == 8 && n.Signed:
			return schema.Of(schema.Byte), nil
		case n.BitWidth == 16 && n.Signed || n.BitWidth == 8:
			return schema.Of(schema.Short), nil
		case n.BitWidth == 16:
			return schema.Of(schema.Integer), nil
		}
		return schema.Of(schema.Long), nil
	case parquet.Int64:
		if n.Logical == parquet.LogicalTimestamp {
			if n.UTC {
				return schema.Of(schema.Timestamp), nil
			}
			return schema.Of(schema.TimestampNTZ), nil
		}
		return schema.Of(schema.Long), nil
	case parquet.Int96:
		return schema.Of(schema.Timestamp), nil
	case parquet.Float:
		return schema.Of(schema.Float), nil
	case parquet.Double:
		return schema.Of(schema.Double), nil
	case parquet.ByteArray:
		switch n.Logical {
		case parquet.LogicalString, parquet.LogicalEnum, parquet.LogicalJSON:
			return schema.Of(schema.String), nil
		}
		return schema.Of(schema.Binary), nil
	case parquet.FixedLenByteArray:
		return schema.Of(schema.Binary), nil
	}
	return schema.Type{}, fmt.Errorf("%w: column %q", parquet.ErrUnsupported, n.Path())
}

// readNode is how one node of the wanted schema is made out of a file.
type readNode struct {
	typ   schema.Type
	arrow arrow.DataType
	// missing: the file does not have it; all values are null.
	missing bool
	leaf    *parquet.Node // of a leaf
	conv    converter
	kids    []*readNode // members; element; key and value
	// def is the level from which on a struct, or the list or map itself, is there.
	def uint8
	// rep is the repeated node of a list or map.
	rep *parquet.Node
	// levels is the leaf whose levels tell the shape of a struct, list or map.
	levels *parquet.Node
}

// planner makes readNodes.
type planner struct {
	mapping Mapping
}

// hasFieldIDs tells whether any node below n has an id.
func hasFieldIDs(n *parquet.Node) bool {
	return slices.ContainsFunc(n.Children, func(c *parquet.Node) bool { return c.HasFieldID || hasFieldIDs(c) })
}

// find looks a field up among the nodes of a group: by id or by name; names without regard to case only where that is
// unambiguous and the exact name is not there.
func (p planner) find(f *schema.Field, nodes []*parquet.Node) *parquet.Node {
	if p.mapping == MapID {
		if id, ok := ColumnID(f); ok {
			for _, n := range nodes {
				if n.HasFieldID && n.FieldID == id {
					return n
				}
			}
			return nil
		}
		// Columns that are not the table's (_change_type) have no id.
	}
	name := PhysicalName(f, p.mapping)
	var fold *parquet.Node
	folds := 0
	for _, n := range nodes {
		if n.Name == name {
			return n
		}
		if strings.EqualFold(n.Name, name) {
			fold = n
			folds++
		}
	}
	if folds == 1 {
		return fold
	}
	return nil
}

func (p planner) fields(fields []schema.Field, nodes []*parquet.Node) ([]*readNode, error) {
	out := make([]*readNode, len(fields))
	for i := range fields {
		f := &fields[i]
		n := p.find(f, nodes)
		r, err := p.node(f.Type, n, nil)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		out[i] = r
	}
	return out, nil
}

// node plans a type out of a node, nil where the file has none. rep is the list's repeated node where the node may be it.
func (p planner) node(t schema.Type, n, rep *parquet.Node) (*readNode, error) {
	at, err := ArrowType(t)
	if err != nil {
		return nil, err
	}
	r := &readNode{typ: t, arrow: at}
	if n == nil || t.Kind == schema.Void {
		r.missing = true
		return r, nil
	}
	s, err := elementShape(n, rep, t.Kind)
	if err != nil {
		return nil, err
	}
	mismatch := func() error {
		return fmt.Errorf("%w: the file has %s where the table has %s", ErrType, describe(n), t)
	}
	switch t.Kind {
	case schema.Struct, schema.Variant:
		if s.kind != schema.Struct {
			return nil, mismatch()
		}
		fields := t.Fields
		if t.Kind == schema.Variant {
			if slices.ContainsFunc(n.Children, func(c *parquet.Node) bool { return c.Name == "typed_value" }) {
				return nil, fmt.Errorf("%w: the variant is shredded into columns of its own", parquet.ErrUnsupported)
			}
			fields = variantFields
			p.mapping = MapNone
		}
		if r.kids, err = p.fields(fields, n.Children); err != nil {
			return nil, err
		}
		r.def = n.MaxDef
		r.levels = firstLeaf(n)
		for _, k := range r.kids { // levels of a leaf that is read anyway
			if l := k.anyLeaf(); l != nil && l.MaxRep == n.MaxRep {
				r.levels = l
				break
			}
		}
		return r, nil
	case schema.Array:
		if s.kind != schema.Array {
			return nil, mismatch()
		}
		e, err := p.node(*t.Elem, s.elem, s.rep)
		if err != nil {
			return nil, err
		}
		r.kids = []*readNode{e}
	case schema.Map:
		if s.kind != schema.Map {
			return nil, mismatch()
		}
		k, err := p.node(*t.Key, s.key, nil)
		if err != nil {
			return nil, err
		}
		v, err := p.node(*t.Elem, s.value, nil)
		if err != nil {
			return nil, err
		}
		r.kids = []*readNode{k, v}
	default:
		if s.kind != schema.Void {
			return nil, mismatch()
		}
		r.leaf = n
		if r.conv, err = converterOf(n, t); err != nil {
			return nil, err
		}
		return r, nil
	}
	r.rep = s.rep
	r.def = s.rep.MaxDef - 1
	r.levels = firstLeaf(s.rep)
	for _, k := range r.kids {
		if l := k.anyLeaf(); l != nil {
			r.levels = l
			break
		}
	}
	return r, nil
}

// anyLeaf gives a leaf that is read for the node.
func (r *readNode) anyLeaf() *parquet.Node {
	switch {
	case r.missing:
		return nil
	case r.leaf != nil:
		return r.leaf
	}
	return r.levels
}

func firstLeaf(n *parquet.Node) *parquet.Node {
	for !n.IsLeaf() {
		if len(n.Children) == 0 {
			return nil
		}
		n = n.Children[0]
	}
	return n
}

// leaves calls fn for each leaf that the plan reads.
func (r *readNode) leaves(fn func(*parquet.Node)) {
	if r.missing {
		return
	}
	if r.leaf != nil {
		fn(r.leaf)
		return
	}
	if r.levels != nil {
		fn(r.levels)
	}
	for _, k := range r.kids {
		k.leaves(fn)
	}
}

func describe(n *parquet.Node) string {
	t, err := fileType(n, n)
	if err != nil {
		return n.Type.String()
	}
	return t.String()
}
