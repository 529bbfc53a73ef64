package parquet

import "fmt"

// schemaElement is a SchemaElement of the footer.
type schemaElement struct {
	node        Node
	hasType     bool
	numChildren int32
	converted   int32
	hasLogical  bool
}

func readSchemaElement(t *thriftReader) schemaElement {
	e := schemaElement{converted: -1}
	n := &e.node
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == tI32:
			n.Type, e.hasType = Type(t.i32()), true
		case id == 2 && typ == tI32:
			n.TypeLength = t.i32()
		case id == 3 && typ == tI32:
			n.Rep = Repetition(t.i32())
		case id == 4 && typ == tBinary:
			n.Name = t.string()
		case id == 5 && typ == tI32:
			e.numChildren = t.i32()
		case id == 6 && typ == tI32:
			e.converted = t.i32()
		case id == 7 && typ == tI32:
			n.Scale = t.i32()
		case id == 8 && typ == tI32:
			n.Precision = t.i32()
		case id == 9 && typ == tI32:
			n.FieldID, n.HasFieldID = t.i32(), true
		case id == 10 && typ == tStruct:
			e.hasLogical = readLogical(t, n)
		default:
			t.skip(typ)
		}
	})
	if !e.hasLogical {
		applyConverted(n, e.converted)
	}
	return e
}

func readLogical(t *thriftReader, n *Node) (known bool) {
	t.fields(func(id int16, typ byte) {
		if typ != tStruct {
			t.skip(typ)
			return
		}
		simple := map[int16]Logical{1: LogicalString, 2: LogicalMap, 3: LogicalList, 4: LogicalEnum, 6: LogicalDate,
			11: LogicalNull, 12: LogicalJSON, 13: LogicalBSON, 14: LogicalUUID, 15: LogicalFloat16, 16: LogicalVariant}
		if l, ok := simple[id]; ok {
			n.Logical, known = l, true
			t.skip(typ)
			return
		}
		switch id {
		case 5:
			n.Logical, known = LogicalDecimal, true
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tI32:
					n.Scale = t.i32()
				case id == 2 && typ == tI32:
					n.Precision = t.i32()
				default:
					t.skip(typ)
				}
			})
		case 7, 8:
			n.Logical, known = LogicalTime, true
			if id == 8 {
				n.Logical = LogicalTimestamp
			}
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && (typ == tTrue || typ == tFalse):
					n.UTC = typ == tTrue
				case id == 2 && typ == tStruct:
					t.fields(func(id int16, typ byte) {
						switch id {
						case 1:
							n.Unit = Millis
						case 2:
							n.Unit = Micros
						case 3:
							n.Unit = Nanos
						}
						t.skip(typ)
					})
				default:
					t.skip(typ)
				}
			})
		case 10:
			n.Logical, known = LogicalInt, true
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == tByte:
					n.BitWidth = int8(t.byte())
				case id == 2 && (typ == tTrue || typ == tFalse):
					n.Signed = typ == tTrue
				default:
					t.skip(typ)
				}
			})
		default:
			t.skip(typ)
		}
	})
	return known
}

// applyConverted translates a ConvertedType. A converted timestamp is an instant.
func applyConverted(n *Node, c int32) {
	switch c {
	case 0:
		n.Logical = LogicalString
	case 1:
		n.Logical = LogicalMap
	case 2:
		n.Logical = LogicalMapKeyValue
	case 3:
		n.Logical = LogicalList
	case 4:
		n.Logical = LogicalEnum
	case 5:
		n.Logical = LogicalDecimal
	case 6:
		n.Logical = LogicalDate
	case 7, 8:
		n.Logical, n.UTC, n.Unit = LogicalTime, true, Unit(c-7)
	case 9, 10:
		n.Logical, n.UTC, n.Unit = LogicalTimestamp, true, Unit(c-9)
	case 11, 12, 13, 14:
		n.Logical, n.BitWidth = LogicalInt, int8(8)<<(c-11)
	case 15, 16, 17, 18:
		n.Logical, n.BitWidth, n.Signed = LogicalInt, int8(8)<<(c-15), true
	case 19:
		n.Logical = LogicalJSON
	case 20:
		n.Logical = LogicalBSON
	case 21:
		n.Logical = LogicalInterval
	}
}

// buildTree makes the tree out of the flat list.
func buildTree(elems []schemaElement) (*Node, error) {
	if len(elems) == 0 {
		return nil, fmt.Errorf("%w: no schema", ErrCorrupt)
	}
	next := 0
	var build func(depth int) (*Node, error)
	build = func(depth int) (*Node, error) {
		if next >= len(elems) {
			return nil, fmt.Errorf("%w: the schema's tree is cut off", ErrCorrupt)
		}
		if depth > 200 {
			return nil, fmt.Errorf("%w: the schema is nested too deeply", ErrUnsupported)
		}
		e := &elems[next]
		next++
		n := &e.node
		if n.Rep < Required || n.Rep > Repeated {
			return nil, fmt.Errorf("%w: column %q has repetition %d", ErrCorrupt, n.Name, n.Rep)
		}
		if e.hasType && e.numChildren == 0 && depth > 0 {
			if n.Type < Boolean || n.Type > FixedLenByteArray {
				return nil, fmt.Errorf("%w: column %q has physical type %d", ErrCorrupt, n.Name, n.Type)
			}
			if n.Type == FixedLenByteArray && (n.TypeLength <= 0 || n.TypeLength > 1<<20) {
				return nil, fmt.Errorf("%w: column %q is of %d fixed bytes", ErrCorrupt, n.Name, n.TypeLength)
			}
			return n, nil
		}
		if e.numChildren < 0 || int(e.numChildren) > len(elems)-next {
			return nil, fmt.Errorf("%w: group %q has %d children", ErrCorrupt, n.Name, e.numChildren)
		}
		n.Children = make([]*Node, 0, e.numChildren)
		for range e.numChildren {
			c, err := build(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, c)
		}
		return n, nil
	}
	root, err := build(0)
	if err != nil {
		return nil, err
	}
	if next != len(elems) {
		return nil, fmt.Errorf("%w: %d schema elements are outside the tree", ErrCorrupt, len(elems)-next)
	}
	return root, nil
}
